//! A member of a channel that another origin orders: takes the line as it comes, shows what is on disk, and says what it
//! has to say once, in its order. See "Channels" in `protocols/federation.md`. Signatures were checked before; events are
//! signed as they are written; what goes to the hub is `outbox.rs`.

mod contract;
mod going_back;

pub use contract::{DRAFTS_MAX, Effect, Fault, Input, NotKept, Summary, Write};

use super::hub::{Delay, Outcome};
use super::roster::{Change, History};
use super::{ChannelId, Event, EventId, Origin};
use crate::id::Ticket;
use crate::time::Timestamp;
use std::collections::VecDeque;

/// Own events that have a number and that the hub has not decided on, at most. Others wait without one: what is refused
/// for its number need be numbered anew.
const NUMBERED_MAX: u64 = 200;

/// Answers without use after which the hub is asked again only in a while.
const FRUITLESS_MAX: u32 = 3;

/// Answers that wait for the disk, at most.
const WAITING_MAX: usize = 1024;

/// Where a line ends: the number, id and term of its last event.
type End = (u64, EventId, u64);

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
    /// Answers one after the other with which the hub says that it has more, and gives nothing that follows here.
    fruitless: u32,
    is_broken: bool,
    /// When the hub signed what it says, by a clock that was checked: see [`Self::heard`].
    heard_at: Timestamp,
    /// Whether the hub goes on in a new term without events that are here, and it is not known yet from where.
    is_parted: bool,
    /// The last term that the hub was seen to be in, and when it gave a place in it. Its line may begin with less of the
    /// term before than is here, and with events of one that is older still.
    newest: (u64, Timestamp),
    /// The last event up to which the hub has the same, in a line that ends in this term.
    same: Option<(EventId, u64)>,
    writes: (u64, u64),
    /// The last own event that has a number and is on disk.
    numbered_stored: u64,
    /// Events that are not on disk: the number of the write, and their own.
    placed: VecDeque<(u64, u64)>,
    /// Own events that are not on disk.
    numbers: VecDeque<(u64, u64)>,
    waiting: VecDeque<(u64, Ticket)>,
    /// Where the line ended when the hub asked, until that is on disk.
    heads: VecDeque<(u64, Ticket, Option<End>)>,
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
            fruitless: 0,
            is_broken: false,
            heard_at: Timestamp::from_millis(u64::MAX),
            is_parted: false,
            newest: (0, Timestamp::from_millis(0)),
            same: None,
            writes: (0, 0),
            placed: VecDeque::new(),
            numbers: VecDeque::new(),
            waiting: VecDeque::new(),
            heads: VecDeque::new(),
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

    /// Whether all that the hub had was seen once since this node started, and all that it took of this origin. The line
    /// may have gone on since: whoever hears so looks again.
    pub fn is_settled(&self) -> bool {
        self.is_caught_up && self.seen() >= self.summary.taken
    }

    /// The last own event that was seen in the line.
    fn seen(&self) -> u64 {
        self.summary.authors.get(&self.me).copied().unwrap_or(0)
    }

    /// Whether what the hub signed at this time counts, a request or an answer: not if it has asked since where the line
    /// ends. A hub that lost part of the line may give its places anew, and what is still under way must not meet that.
    pub fn hears(&self, signed: Timestamp) -> bool {
        signed >= self.summary.heard_since
    }

    /// What is told next came in a request or an answer that the hub signed at this time, which is about now. The times
    /// in the line are the hub's own, and nobody checks them: what they say counts up to this one.
    pub fn heard(&mut self, signed: Timestamp) {
        self.heard_at = signed;
    }

    /// What the hub signed before it gave an event of a new term its place does not follow any more.
    fn hear_from(&mut self, placed: Timestamp) {
        self.summary.heard_since = self.summary.heard_since.max(placed.min(self.heard_at));
    }

    /// The first and the last event that another origin may be given of what is here, no last one while it is a member.
    /// `listed` is the event by which it joined, if the hub lists it as a member, in a list that was asked for since this
    /// origin joined (an older one may name who was removed meanwhile): that counts for those whose joining is not here.
    /// `None`: it may be given none.
    pub fn view_of(&self, other: &Origin, listed: Option<u64>) -> Option<(u64, Option<u64>)> {
        let roster = &self.summary.roster;
        match roster.standing(other) {
            _ if other == self.channel.hub() => Some((1, None)),
            None => listed.map(|since| (if roster.history() == History::All { 1 } else { since }, None)),
            Some(_) => roster.view(other),
        }
    }

    /// Tells what happened.
    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Invited => self.handle_invited(),
            Input::Said { ticket } => self.handle_said(ticket),
            Input::Received { events, head } => self.handle_received(events, head),
            Input::Decided { outcomes } => self.handle_decided(outcomes),
            Input::HeadAsked { ticket, signed } => self.handle_head_asked(ticket, signed),
            Input::Parted { kept, theirs } => self.handle_parted(*kept, &theirs),
            Input::Same(agreed) => self.handle_same(agreed),
            Input::Proven(proof) => self.handle_proven(proof),
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
            _ if self.summary.drafts - self.summary.drafts_numbered >= DRAFTS_MAX => Some(NotKept::Full),
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
        // What the hub sends by itself is no answer.
        self.is_fetching &= head.is_none();
        if self.is_broken {
            return;
        }
        let newest = events.iter().map(|event| (event.order.term, event.order.at)).max();
        self.newest = newest.filter(|newest| newest.0 > self.newest.0).unwrap_or(self.newest);
        let before = self.summary.last;
        // Fetched events may ask for more at once.
        self.fruitless += u32::from(head.is_some());
        let are_taken = events.into_iter().all(|event| self.receive(event));
        let last = self.summary.last.map_or(0, |(seq, ..)| seq);
        // An end without what the hub took is of no use either: it is to be sent again, and will be taken again.
        let is_lost = self.seen() < self.summary.taken;
        if self.summary.last != before || (head == Some(last) && !is_lost) {
            self.fruitless = 0;
        }
        match head {
            _ if !are_taken => {}
            Some(head) if head > last => self.fetch(),
            Some(_) => {
                self.is_caught_up = true;
                self.number();
                // What the hub took, and lost before anybody saw it, is sent again.
                if is_lost {
                    self.send_again(self.seen());
                }
            }
            None => {}
        }
    }

    /// Takes one event; whether those after it can be taken.
    fn receive(&mut self, event: Event) -> bool {
        let seq = event.order.seq;
        if self.joins_again(&event) {
            self.begin_anew(&event.order);
        }
        // The hub may have gone on without what is here. That the event before has the same id does not tell: who said
        // it may have said it again.
        if let Some((last, id, term)) = self.summary.last
            && event.order.term > term
            && seq <= last + 1
            && !self.same.is_some_and(|(same, of)| same == id && of >= event.order.term)
        {
            self.part(seq);
            return false;
        }
        let is_over = self.summary.roster.view(&self.me).and_then(|view| view.1).is_some_and(|until| seq > until);
        if is_over && !self.joins(&event) {
            if self.summary.last.is_some_and(|(last, _, term)| event.order.term > term && seq > last + 1) {
                // The hub may have lost that this origin left, or have let it in again: what is between tells.
                self.fetch();
                return false;
            }
            if !self.may_have_returned() {
                self.effects.push(Effect::Fault(Fault::NotMember { seq }));
                return false;
            }
        }
        match self.summary.last {
            Some((last, ..)) if seq <= last => {
                self.effects.push(Effect::Compare(Box::new(event)));
                return true;
            }
            None if seq == 1 && event.order.prev.is_some() => {
                self.effects.push(Effect::Fault(Fault::Broken { seq }));
                return false;
            }
            // What this origin sees begins where it joined; what is between two memberships it does not see.
            None if seq > 1 && !self.begins(&event) => {
                self.fetch();
                return false;
            }
            Some((last, ..)) if seq > last + 1 && !self.begins(&event) => {
                self.fetch();
                return false;
            }
            // The hub went back to a term before, and on from there, or will when it has anything to say.
            Some((last, id, term))
                if seq == last + 1
                    && event.order.term < term
                    && (self.newest.0 > term || self.may_differ(id, &event)) =>
            {
                self.part(seq);
                return false;
            }
            Some((last, id, term)) if seq == last + 1 && (event.order.prev != Some(id) || event.order.term < term) => {
                self.effects.push(Effect::Fault(Fault::Broken { seq }));
                return false;
            }
            _ => {}
        }
        if let Some(fault) = self.summary.fault_in(&self.me, &event) {
            self.effects.push(Effect::Fault(fault));
            return false;
        }
        self.place(event);
        true
    }

    /// Whether the hub may have another event than the last one here in its place: the next does not follow from it, and
    /// the two were not compared yet.
    fn may_differ(&self, last: EventId, next: &Event) -> bool {
        next.order.prev != Some(last) && self.same.is_none_or(|(same, _)| same != last)
    }

    /// Whether an event is the one by which this origin becomes a member.
    fn joins(&self, event: &Event) -> bool {
        contract::joins(&self.me, event)
    }

    /// Whether what this origin sees begins with this event, whatever was before it.
    fn begins(&self, event: &Event) -> bool {
        self.joins(event) && self.summary.roster.history() == History::FromJoining
    }

    /// Whether this origin, which is no member by what it has seen, may be one again that sees all of the line: it said
    /// something that is neither refused nor in the line. The invitation may have come before its end did.
    fn may_have_returned(&self) -> bool {
        let Summary { taken, decided, numbered, drafts, drafts_numbered, .. } = self.summary;
        let waits = taken > self.seen() || numbered > decided || drafts > drafts_numbered;
        waits && self.summary.roster.history() == History::All
    }

    fn place(&mut self, event: Event) {
        let seq = event.order.seq;
        if self.summary.last.is_some_and(|(_, _, term)| event.order.term > term) {
            self.hear_from(event.order.at);
        }
        if let Some(withheld) = self.summary.read(self.channel.hub(), &self.me, &event) {
            self.effects.push(Effect::Fault(withheld));
        }
        self.write(Write::Event(Box::new(event)));
        self.placed.push_back((self.writes.0, seq));
    }

    fn handle_decided(&mut self, outcomes: Vec<(u64, Outcome)>) {
        let (before, taken_before) = (self.summary.decided, self.summary.taken);
        for (author_seq, outcome) in outcomes {
            match outcome {
                // A hub from a backup has forgotten events of this origin.
                Outcome::Later(Delay::Gap { expected }) if expected <= self.summary.decided => {
                    return self.send_again(expected.saturating_sub(1));
                }
                Outcome::Later(delay) => {
                    if delay == Delay::Unknown {
                        self.effects.push(Effect::Fault(Fault::Unknown));
                    }
                    break;
                }
                _ if author_seq != self.summary.decided + 1 => continue,
                Outcome::Taken => (self.summary.decided, self.summary.taken) = (author_seq, author_seq),
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
            // It is a member by now, and may read what was said before.
            if self.summary.taken > taken_before && !self.summary.roster.is_member(&self.me) {
                self.fetch();
            }
        }
    }

    /// The hub has no own event after this one, whatever it said.
    fn send_again(&mut self, after: u64) {
        (self.summary.decided, self.summary.taken) = (after, self.summary.taken.min(after));
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
        while let Some((_, ticket, head)) = self.heads.pop_front_if(|(write, ..)| *write <= upto) {
            self.effects.push(Effect::Head { ticket, head });
        }
    }

    fn handle_not_stored(&mut self) {
        self.is_broken = true;
        self.effects.extend(self.heads.drain(..).map(|(_, ticket, _)| Effect::Unanswered { ticket }));
        for (_, ticket) in std::mem::take(&mut self.waiting) {
            self.effects.push(Effect::Answer { ticket, is_kept: Err(NotKept::Disk) });
        }
    }

    fn fetch(&mut self) {
        if self.fruitless < FRUITLESS_MAX && !std::mem::replace(&mut self.is_fetching, true) {
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
