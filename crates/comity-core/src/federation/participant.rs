//! A member of a channel that another origin orders: takes the line as it comes, shows what is on disk, and says what it
//! has to say once, in its order. See "Channels" in `protocols/federation.md`. Signatures were checked before; events are
//! signed as they are written; what goes to the hub is `outbox.rs`.

use super::hub::{Delay, Outcome, Refusal};
use super::roster::{Change, Roster};
use super::{ChannelId, Event, EventId, Origin};
use crate::id::Ticket;
use std::collections::{BTreeMap, VecDeque};

/// Own events that have a number and that the hub has not decided on, at most. Others wait without one: what is refused
/// for its number need be numbered anew.
const NUMBERED_MAX: u64 = 200;

/// Answers that wait for the disk, at most.
const WAITING_MAX: usize = 1024;

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// The hub invited this origin, perhaps again.
    Invited,
    /// Somebody here has something to say; it is valid, and fits.
    Said {
        /// Answered exactly once.
        ticket: Ticket,
    },
    /// Events of the line came, in order; their ids and signatures hold, and count for author and hub.
    Received {
        /// The events.
        events: Vec<Event>,
        /// The last event that the hub has for this origin, if it said so.
        head: Option<u64>,
    },
    /// The hub decided on own events.
    Decided {
        /// Each by its number, in order.
        outcomes: Vec<(u64, Outcome)>,
    },
    /// All up to this write is on disk.
    Stored {
        /// Its number.
        upto: u64,
    },
    /// The disk took none of what is not yet stored: this must be opened anew from what is there.
    NotStored,
}

/// What must be done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write this; all writes of one step are one, with [`State::summary`] as it is after the step.
    Write {
        /// Its number; they rise by one.
        number: u64,
        /// What.
        what: Write,
    },
    /// Answer: whether it will be said. `Err`: the disk took it not, or too many wait for it.
    Answer {
        /// Which one.
        ticket: Ticket,
        /// The answer.
        is_kept: Result<(), NotKept>,
    },
    /// Events up to this one are on disk, and can be shown.
    Ready {
        /// The last of them.
        seq: u64,
    },
    /// Own events wait for the hub: those after `done`, also if some of them went there before. They are kept until they
    /// are seen in the line.
    Outgoing {
        /// The last that need not go there.
        done: u64,
        /// The last that has a number and is on disk.
        last: u64,
    },
    /// Ask the hub for events; [`Input::Received`], with its head.
    Fetch {
        /// The last one that is here.
        after: u64,
    },
    /// The hub gave an event a place that is taken here: compare it with the one that has it. Two that the hub signed
    /// for one place of one term are proof against it.
    Compare(Box<Event>),
    /// Something is wrong with the line: show it.
    Fault(Fault),
    /// The hub refused an own event for good.
    Refused {
        /// Its number.
        author_seq: u64,
        /// Why.
        why: Refusal,
    },
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// An event of the line.
    Event(Box<Event>),
    /// What is to be said, without a number.
    Draft {
        /// Which: they are counted, from 1.
        draft: u64,
    },
    /// A draft becomes an event, which is signed as it is written.
    Number {
        /// Which.
        draft: u64,
        /// Its number.
        author_seq: u64,
        /// The last event that is here.
        prev_seen: Option<EventId>,
    },
    /// The summary alone.
    Summary,
}

/// What is said was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// The disk.
    #[error("it is not on disk")]
    Disk,
    /// Too many wait for the disk.
    #[error("too much waits for the disk")]
    Busy,
    /// This origin is no member.
    #[error("this origin is not a member of the channel")]
    NotMember,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An event does not follow from the one before.
    #[error("event {seq} does not follow from the event before it here: the hub shows several histories")]
    Broken {
        /// Its number.
        seq: u64,
    },
    /// Events of an author are missing.
    #[error("of {author}, events {after} to {before} were not passed on: they were refused, or are held back")]
    Withheld {
        /// Whose.
        author: Origin,
        /// The first that is missing.
        after: u64,
        /// The last.
        before: u64,
    },
    /// An event came of a time when this origin was no member.
    #[error("event {seq} came after this origin had left")]
    NotMember {
        /// Its number.
        seq: u64,
    },
}

/// What is kept besides the events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Who is a member, as far as this origin saw.
    pub roster: Roster,
    /// The last event: its number, id and term.
    pub last: Option<(u64, EventId, u64)>,
    /// The number of the last event of each author.
    pub authors: BTreeMap<Origin, u64>,
    /// The last own event that has a number, and the last that the hub decided on.
    pub numbered: u64,
    /// See [`Self::numbered`].
    pub decided: u64,
    /// The last whose refusal was told.
    pub told: u64,
    /// The last draft, and the last that was given a number.
    pub drafts: u64,
    /// See [`Self::drafts`].
    pub drafts_numbered: u64,
}

/// The rules of one channel at a member.
#[derive(Debug)]
pub struct State {
    channel: ChannelId,
    me: Origin,
    summary: Summary,
    /// Whether all that the hub had was seen since this node started: only then are own events given numbers, for a
    /// restored backup has forgotten some.
    is_caught_up: bool,
    is_fetching: bool,
    is_broken: bool,
    writes: (u64, u64),
    /// The last own event that has a number and is on disk.
    numbered_stored: u64,
    /// Events that are not on disk: the number of the write, and their own.
    placed: VecDeque<(u64, u64)>,
    /// Own events that are not on disk.
    numbers: VecDeque<(u64, u64)>,
    waiting: VecDeque<(u64, Ticket)>,
    effects: Vec<Effect>,
}

impl State {
    /// A channel that this origin joins, or is a member of: what is on disk of it. What the hub has more is asked for.
    pub fn restored(channel: ChannelId, me: Origin, summary: Summary) -> Self {
        let mut state = Self {
            channel,
            me,
            numbered_stored: summary.numbered,
            summary,
            is_caught_up: false,
            is_fetching: false,
            is_broken: false,
            writes: (0, 0),
            placed: VecDeque::new(),
            numbers: VecDeque::new(),
            waiting: VecDeque::new(),
            effects: Vec::new(),
        };
        state.fetch();
        state
    }

    /// What must be done since this was asked last.
    pub fn effects(&mut self) -> impl Iterator<Item = Effect> + use<> {
        std::mem::take(&mut self.effects).into_iter()
    }

    /// What is to be kept besides the events.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Whether all that the hub had was seen.
    pub fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }

    /// Tells what happened.
    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Invited => self.handle_invited(),
            Input::Said { ticket } => self.handle_said(ticket),
            Input::Received { events, head } => self.handle_received(events, head),
            Input::Decided { outcomes } => self.handle_decided(outcomes),
            Input::Stored { upto } => self.handle_stored(upto),
            Input::NotStored => self.handle_not_stored(),
        }
    }

    fn handle_invited(&mut self) {
        if !self.summary.roster.is_member(&self.me) {
            let (hub, me) = (self.channel.hub(), self.me.clone());
            self.summary.roster.apply(hub, &Change::Invited(me), 0);
            self.write(Write::Summary);
        }
    }

    fn handle_said(&mut self, ticket: Ticket) {
        let gone = self.summary.roster.view(&self.me).is_some_and(|(_, until)| until.is_some());
        let refused = match (gone, self.is_broken) {
            (true, _) => Some(NotKept::NotMember),
            (_, true) => Some(NotKept::Disk),
            _ => (self.waiting.len() >= WAITING_MAX).then_some(NotKept::Busy),
        };
        if let Some(why) = refused {
            self.effects.push(Effect::Answer { ticket, is_kept: Err(why) });
            return;
        }
        self.summary.drafts += 1;
        self.write(Write::Draft { draft: self.summary.drafts });
        self.waiting.push_back((self.writes.0, ticket));
        self.number();
    }

    /// Gives numbers to drafts, as far as that is safe.
    fn number(&mut self) {
        let prev_seen = self.summary.last.map(|(_, id, _)| id);
        while self.is_caught_up
            && self.summary.drafts_numbered < self.summary.drafts
            && self.summary.numbered < self.summary.decided + NUMBERED_MAX
        {
            self.summary.drafts_numbered += 1;
            self.summary.numbered += 1;
            let (draft, author_seq) = (self.summary.drafts_numbered, self.summary.numbered);
            self.write(Write::Number { draft, author_seq, prev_seen });
            self.numbers.push_back((self.writes.0, author_seq));
        }
    }

    fn handle_received(&mut self, events: Vec<Event>, head: Option<u64>) {
        self.is_fetching = false;
        if self.is_broken {
            return;
        }
        for event in events {
            if !self.receive(event) {
                return;
            }
        }
        let last = self.summary.last.map_or(0, |(seq, ..)| seq);
        match head {
            Some(head) if head > last => self.fetch(),
            Some(_) => {
                self.is_caught_up = true;
                self.number();
                // What the hub took, and lost before anybody saw it, is sent again.
                let seen = self.summary.authors.get(&self.me).copied().unwrap_or(0);
                if seen < self.summary.decided {
                    self.send_again(seen);
                }
            }
            None => {}
        }
    }

    /// Takes one event; whether those after it can be taken.
    fn receive(&mut self, event: Event) -> bool {
        let seq = event.order.seq;
        if self.summary.roster.view(&self.me).and_then(|view| view.1).is_some_and(|until| seq > until)
            && !self.joins(&event)
        {
            self.effects.push(Effect::Fault(Fault::NotMember { seq }));
            return false;
        }
        match self.summary.last {
            Some((last, ..)) if seq <= last => {
                self.effects.push(Effect::Compare(Box::new(event)));
                return true;
            }
            // What this origin sees begins where it joined; what is between two memberships it does not see.
            None if seq > 1 && !self.joins(&event) => {
                self.fetch();
                return false;
            }
            Some((last, ..)) if seq > last + 1 && !self.joins(&event) => {
                self.fetch();
                return false;
            }
            Some((last, id, term)) if seq == last + 1 && (event.order.prev != Some(id) || event.order.term < term) => {
                self.effects.push(Effect::Fault(Fault::Broken { seq }));
                return false;
            }
            _ => {}
        }
        self.place(event);
        true
    }

    /// Whether an event is the one by which this origin becomes a member.
    fn joins(&self, event: &Event) -> bool {
        event.authored.origin == self.me && Change::of(&event.authored) == Ok(Some(Change::Joined))
    }

    fn place(&mut self, event: Event) {
        if self.joins(&event) {
            // What others said meanwhile was not for this origin.
            self.summary.authors.retain(|author, _| *author == self.me);
        }
        let (seq, authored) = (event.order.seq, &event.authored);
        let is_hub = authored.origin == *self.channel.hub();
        match Change::of(authored) {
            Ok(Some(change @ (Change::Joined | Change::Left))) => {
                self.summary.roster.apply(&authored.origin, &change, seq)
            }
            // Only the admin says anything else of the channel, and the hub lets nobody else.
            Ok(Some(change)) if is_hub => self.summary.roster.apply(&authored.origin, &change, seq),
            _ => {}
        }
        if let Some(number) = authored.author_seq {
            let last = self.summary.authors.insert(authored.origin.clone(), number);
            if let Some(last) = last.filter(|last| number > last + 1) {
                let (author, after, before) = (authored.origin.clone(), last + 1, number - 1);
                self.effects.push(Effect::Fault(Fault::Withheld { author, after, before }));
            }
            if authored.origin == self.me {
                self.summary.decided = self.summary.decided.max(number);
                self.summary.numbered = self.summary.numbered.max(number);
            }
        }
        self.summary.last = Some((seq, authored.id, event.order.term));
        self.write(Write::Event(Box::new(event)));
        self.placed.push_back((self.writes.0, seq));
    }

    fn handle_decided(&mut self, outcomes: Vec<(u64, Outcome)>) {
        let before = self.summary.decided;
        for (author_seq, outcome) in outcomes {
            match outcome {
                // A hub from a backup has forgotten events of this origin.
                Outcome::Later(Delay::Gap { expected }) if expected <= self.summary.decided => {
                    return self.send_again(expected - 1);
                }
                Outcome::Later(_) => break,
                _ if author_seq != self.summary.decided + 1 => continue,
                Outcome::Taken => self.summary.decided = author_seq,
                Outcome::Refused(why) => {
                    self.summary.decided = author_seq;
                    if author_seq > self.summary.told {
                        self.summary.told = author_seq;
                        self.effects.push(Effect::Refused { author_seq, why });
                    }
                }
            }
        }
        if self.summary.decided > before {
            self.write(Write::Summary);
            self.number();
        }
    }

    /// The hub has no own event after this one, whatever it said.
    fn send_again(&mut self, after: u64) {
        self.summary.decided = after;
        self.write(Write::Summary);
        self.effects.push(Effect::Outgoing { done: after, last: self.numbered_stored });
    }

    fn handle_stored(&mut self, upto: u64) {
        self.writes.1 = self.writes.1.max(upto);
        let mut ready = None;
        while let Some((_, seq)) = self.placed.pop_front_if(|(write, _)| *write <= upto) {
            ready = Some(seq);
        }
        self.effects.extend(ready.map(|seq| Effect::Ready { seq }));
        let mut last = None;
        while let Some((_, author_seq)) = self.numbers.pop_front_if(|(write, _)| *write <= upto) {
            (self.numbered_stored, last) = (author_seq, Some(author_seq));
        }
        let done = self.summary.decided;
        self.effects.extend(last.map(|last| Effect::Outgoing { done, last }));
        while let Some((_, ticket)) = self.waiting.pop_front_if(|(write, _)| *write <= upto) {
            self.effects.push(Effect::Answer { ticket, is_kept: Ok(()) });
        }
    }

    fn handle_not_stored(&mut self) {
        self.is_broken = true;
        for (_, ticket) in std::mem::take(&mut self.waiting) {
            self.effects.push(Effect::Answer { ticket, is_kept: Err(NotKept::Disk) });
        }
    }

    fn fetch(&mut self) {
        if !std::mem::replace(&mut self.is_fetching, true) {
            let after = self.summary.last.map_or(0, |(seq, ..)| seq);
            self.effects.push(Effect::Fetch { after });
        }
    }

    fn write(&mut self, what: Write) {
        self.writes.0 += 1;
        self.effects.push(Effect::Write { number: self.writes.0, what });
    }
}

#[cfg(test)]
mod tests;
