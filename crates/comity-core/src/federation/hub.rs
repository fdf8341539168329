//! The hub of one channel: takes what members say, gives each event its one place, and says it was taken when it is on
//! disk. See "Channels" in `protocols/federation.md`. Signatures were checked before, and places are signed after; what
//! goes to members is `outbox.rs`.

mod recovering;
mod strangers;

use super::roster::{Change, Forbidden, Roster, Standing};
use super::{Authored, ChannelId, Event, EventId, Origin};
use crate::id::Ticket;
use crate::time::{Now, Timestamp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Events of an author whose ids are remembered: as many as one may have sent and not heard of, and sends again.
pub const RECENT_MAX: usize = 256;

/// Answers that wait for the disk, at most.
const WAITING_MAX: usize = 1024;

/// What is said while nothing can be judged.
const UNAVAILABLE: Outcome = Outcome::Later(Delay::Unavailable);

/// What a hub obeys.
#[derive(Debug, Clone)]
pub struct Config {
    /// The channel, whose origin this node is.
    pub channel: ChannelId,
    /// Events a second that one member may say, and as many at once: 500.
    pub per_second: u32,
    /// Bytes of events that one member may have stored here.
    pub bytes_max: u64,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A member's transaction, or this origin's own events; signatures hold, and count for their author.
    Submitted {
        /// Answered exactly once, unless nobody submits.
        ticket: Ticket,
        /// Who proved to be the sender.
        from: Origin,
        /// The events, in order.
        events: Vec<Arc<Authored>>,
    },
    /// All up to this write is on disk.
    Stored {
        /// Its number.
        upto: u64,
    },
    /// The disk took none of what is not yet stored: this hub must be opened anew from what is there.
    NotStored,
    /// A member says where its line ends, and in which term.
    Head {
        /// Who.
        member: Origin,
        /// The number of its last event: 0 for none.
        seq: u64,
        /// The term of that event, as it says: 0 for none. What it has proves it.
        term: u64,
    },
    /// A member gave events that were asked for: of this hub, with its signatures, which hold; those after
    /// [`Effect::Fetch::after`] that it has, in order; none if it has none. Who does not answer is asked again.
    Recovered {
        /// Who.
        member: Origin,
        /// The events.
        events: Vec<Event>,
    },
    /// An origin that is no member here asks for what members may see, or is asked something that only a member knows: it
    /// may have joined after the backup that this hub comes from.
    Stranger {
        /// Who.
        origin: Origin,
    },
    /// What an origin that is no member here answers to [`Effect::AskHead`].
    StrangersHead {
        /// Who.
        origin: Origin,
        /// The last event that it has, with this hub's signature, which holds; `None`: it shows none.
        shown: Option<Shown>,
    },
    /// The line goes on without those that were not reached, in the next term: it has waited long enough, or a person
    /// says so. What those have that answered comes first; said once more, the line goes on without that too.
    Forced,
}

/// The last event that an origin has of this hub's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Its number.
    pub seq: u64,
    /// Its term.
    pub term: u64,
    /// Whether the very same stands in that place here.
    pub is_here: bool,
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
    /// Answer a transaction: what became of each event, in order.
    Answer {
        /// Which one.
        ticket: Ticket,
        /// What became of them.
        outcomes: Vec<Outcome>,
    },
    /// Events up to this one are on disk, and go to the members.
    Ready {
        /// The last of them.
        seq: u64,
    },
    /// Ask an origin where its line ends: a member ([`Input::Head`]), or one that may have been one
    /// ([`Input::StrangersHead`]).
    AskHead(Origin),
    /// Ask a member for events; [`Input::Recovered`].
    Fetch {
        /// Whom.
        member: Origin,
        /// The last one that is here.
        after: u64,
    },
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// An event in its place, which is signed as it is written.
    Place(Box<Place>),
    /// An event that was placed before, and lost here.
    Recovered(Box<Event>),
    /// The summary alone.
    Summary,
}

/// A place that is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The event.
    pub authored: Arc<Authored>,
    /// Its number.
    pub seq: u64,
    /// The event before it.
    pub prev: Option<EventId>,
    /// When it was given.
    pub at: Timestamp,
    /// The term.
    pub term: u64,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has a place, now or since it was sent before.
    Taken,
    /// It has none, and never will.
    Refused(Refusal),
    /// It has none yet: it may be sent again.
    Later(Delay),
}

/// Why an event gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The members' rules.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Its author is not who sends it.
    #[error("an origin submits its own events only")]
    NotYours,
    /// Its author signs what it says, and did not sign this.
    #[error("its author has signed what it said on this channel before, and must go on to")]
    NotSigned,
    /// Another event of its author has its number.
    #[error("another event of its author has this author_seq, or it is long past")]
    Repeated,
    /// Its author has stored as much as it may.
    #[error("its author has as many bytes stored on this channel as it may")]
    Full,
}

/// Why an event must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Delay {
    /// An event before it is missing.
    #[error("author_seq {expected} comes first")]
    Gap {
        /// The next one.
        expected: u64,
    },
    /// Too many at once.
    #[error("too many events a second")]
    TooFast {
        /// When to try again.
        retry_after: Duration,
    },
    /// The hub, or its disk, cannot take any now.
    #[error("the hub takes no events just now")]
    Unavailable,
    /// The hub says that there is no such channel: it may have lost it, and get it back. No hub says so by these rules,
    /// which are a channel's.
    #[error("the hub does not know the channel")]
    Unknown,
}

/// What is kept of a hub besides its events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Who is a member.
    pub roster: Roster,
    /// The term.
    pub term: u64,
    /// The last event.
    pub last: Option<(u64, EventId)>,
    /// What is known of each author.
    pub authors: BTreeMap<Origin, Author>,
}

/// What is known of an author.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Author {
    /// The number of its last event that was taken or refused.
    pub last: u64,
    /// The last of those that were taken: their numbers (none of those that the hub attested) and ids.
    pub recent: VecDeque<(Option<u64>, EventId)>,
    /// Bytes that are stored of it.
    pub bytes: u64,
}

/// The rules of one channel at its hub.
#[derive(Debug)]
pub struct State {
    config: Config,
    summary: Summary,
    /// Members that have not said where their lines end since this node started, or that have more of it than is here.
    unheard: BTreeSet<Origin>,
    /// What is known of the lines of those.
    recovery: recovering::Recovery,
    /// Who is no member here, and may have been one.
    strangers: strangers::Strangers,
    /// Whether the next place begins a term.
    is_term_due: bool,
    /// The numbers of the last write, and of the last that is on disk.
    writes: (u64, u64),
    /// Places that are not on disk: the number of the write, and their own.
    placed: VecDeque<(u64, u64)>,
    /// Who waits for which write.
    waiting: VecDeque<(u64, Ticket, Vec<Outcome>)>,
    /// When each author's bucket will be full again.
    full_at: BTreeMap<Origin, Duration>,
    /// The disk failed: nothing is done until this is opened anew.
    is_broken: bool,
    effects: Vec<Effect>,
}

impl State {
    /// The hub of a channel that is made now: what its first two events say of it is for the caller to submit.
    pub fn new(config: Config) -> Self {
        Self::opened(config, Summary { term: 1, ..Summary::default() })
    }

    /// The hub of a channel from what is on disk. It takes nothing until every member has said where its line ends: what
    /// they have of this hub, and it lost, comes first. The places that it gives then are of a term of their own: nobody
    /// knows whether all who had something of this hub were asked, and no place of one term may be given twice.
    pub fn restored(config: Config, summary: Summary) -> Self {
        let mut state = Self::opened(config, summary);
        state.is_term_due = true;
        state.strangers = strangers::Strangers::expected();
        state.ask_heads();
        state
    }

    fn opened(config: Config, summary: Summary) -> Self {
        Self {
            config,
            summary,
            unheard: BTreeSet::new(),
            recovery: recovering::Recovery::default(),
            strangers: strangers::Strangers::default(),
            is_term_due: false,
            writes: (0, 0),
            placed: VecDeque::new(),
            waiting: VecDeque::new(),
            full_at: BTreeMap::new(),
            is_broken: false,
            effects: Vec::new(),
        }
    }

    /// What must be done since this was asked last.
    pub fn effects(&mut self) -> impl Iterator<Item = Effect> + use<> {
        std::mem::take(&mut self.effects).into_iter()
    }

    /// What is to be kept besides the events.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Members that this hub waits for before it takes events: they were not heard, or have what it lost and are not
    /// done giving it.
    pub fn unheard(&self) -> impl Iterator<Item = &Origin> {
        self.unheard.iter()
    }

    /// Tells what happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Submitted { ticket, from, events } => self.handle_submitted(ticket, &from, events, now),
            Input::Stored { upto } => self.handle_stored(upto),
            Input::NotStored => self.handle_not_stored(),
            Input::Head { member, seq, term } => self.handle_head(&member, (term, seq), now.wall),
            Input::Recovered { member, events } => self.handle_recovered(&member, events, now.wall),
            Input::Stranger { origin } => self.handle_stranger(&origin),
            Input::StrangersHead { origin, shown } => self.handle_strangers_head(&origin, shown, now.wall),
            Input::Forced => self.handle_forced(now.wall),
        }
    }

    fn handle_submitted(&mut self, ticket: Ticket, from: &Origin, events: Vec<Arc<Authored>>, now: Now) {
        let can_wait = self.waiting.len() < WAITING_MAX && !self.is_broken && self.unheard.is_empty();
        let take = |event| if can_wait { self.take(from, event, now) } else { UNAVAILABLE };
        let outcomes: Vec<Outcome> = events.into_iter().map(take).collect();
        // What was taken before, and is sent again, may not be on disk either.
        let nothing_is_said = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Later(_)));
        if nothing_is_said || self.writes.0 == self.writes.1 {
            self.effects.push(Effect::Answer { ticket, outcomes });
        } else {
            self.waiting.push_back((self.writes.0, ticket, outcomes));
        }
    }

    fn take(&mut self, from: &Origin, authored: Arc<Authored>, now: Now) -> Outcome {
        if authored.origin != *from {
            return Outcome::Refused(Refusal::NotYours);
        }
        let known = self.summary.authors.get(from);
        let (last, bytes) = known.map_or((0, 0), |author| (author.last, author.bytes));
        if known.is_some_and(|author| author.recent.iter().any(|(_, id)| *id == authored.id)) {
            return Outcome::Taken;
        }
        // Members do not take it from the hub either.
        if authored.attested.is_some() && last > 0 {
            return Outcome::Refused(Refusal::NotSigned);
        }
        // Of strangers no numbers are remembered: what may not be said is refused in any order. Who is invited, and has said
        // something before, may have joined in what this hub lost: what it said first is wanted first.
        let has_joined = || {
            self.summary.roster.standing(from) == Some(Standing::Invited)
                && authored.author_seq.is_some_and(|number| number > last + 1)
        };
        if known.is_none()
            && !has_joined()
            && let Err(why) = self.summary.roster.judge(self.config.channel.hub(), &authored)
        {
            return if self.may_have_joined(from, why) { UNAVAILABLE } else { Outcome::Refused(why.into()) };
        }
        match authored.author_seq {
            Some(number) if number <= last => return Outcome::Refused(Refusal::Repeated),
            Some(number) if number > last + 1 => return Outcome::Later(Delay::Gap { expected: last + 1 }),
            _ => {}
        }
        // What is refused is work too, and written.
        if let Err(delay) = self.pace(from, now.mono) {
            return Outcome::Later(delay);
        }
        let change = match self.summary.roster.judge(self.config.channel.hub(), &authored) {
            Ok(change) => change,
            Err(why) if self.may_have_joined(from, why) => return UNAVAILABLE,
            Err(why) => return self.refuse(&authored, why.into()),
        };
        let size = crate::wire::federation::event::size(&authored) as u64;
        if bytes + size > self.config.bytes_max && change.is_none() {
            return self.refuse(&authored, Refusal::Full);
        }
        self.place(authored, change.as_ref(), size, now.wall);
        Outcome::Taken
    }

    /// Refuses an event for good. Its number is used up: those after it do not wait for it.
    fn refuse(&mut self, authored: &Authored, why: Refusal) -> Outcome {
        // Strangers are not remembered.
        if let (Some(author), Some(number)) = (self.summary.authors.get_mut(&authored.origin), authored.author_seq) {
            author.last = number;
            self.write(Write::Summary);
        }
        Outcome::Refused(why)
    }

    /// Takes one event from the author's bucket.
    fn pace(&mut self, author: &Origin, now: Duration) -> Result<(), Delay> {
        let step = Duration::from_secs(1) / self.config.per_second.max(1);
        let full_at = self.full_at.get(author).copied().unwrap_or_default().max(now);
        let next = full_at + step;
        if next > now + Duration::from_secs(1) {
            return Err(Delay::TooFast { retry_after: next - (now + Duration::from_secs(1)) });
        }
        self.full_at.insert(author.clone(), next);
        Ok(())
    }

    fn place(&mut self, authored: Arc<Authored>, change: Option<&Change>, size: u64, at: Timestamp) {
        if std::mem::take(&mut self.is_term_due) {
            self.summary.term = self.next_term(at);
        }
        let (seq, prev) = self.summary.last.map_or((1, None), |(seq, id)| (seq + 1, Some(id)));
        self.summary.note(&authored, change, (seq, size));
        let place = Place { authored, seq, prev, at, term: self.summary.term };
        self.write(Write::Place(Box::new(place)));
        self.placed.push_back((self.writes.0, seq));
    }

    fn write(&mut self, what: Write) {
        self.writes.0 += 1;
        self.effects.push(Effect::Write { number: self.writes.0, what });
    }

    fn handle_stored(&mut self, upto: u64) {
        self.writes.1 = self.writes.1.max(upto);
        let mut ready = None;
        while let Some((_, seq)) = self.placed.pop_front_if(|(write, _)| *write <= upto) {
            ready = Some(seq);
        }
        self.effects.extend(ready.map(|seq| Effect::Ready { seq }));
        while let Some((_, ticket, outcomes)) = self.waiting.pop_front_if(|(write, ..)| *write <= upto) {
            self.effects.push(Effect::Answer { ticket, outcomes });
        }
    }

    fn handle_not_stored(&mut self) {
        self.is_broken = true;
        for (_, ticket, outcomes) in std::mem::take(&mut self.waiting) {
            let outcomes = vec![UNAVAILABLE; outcomes.len()];
            self.effects.push(Effect::Answer { ticket, outcomes });
        }
    }
}

impl Summary {
    /// Takes over an event at this place, of this size.
    fn note(&mut self, authored: &Authored, change: Option<&Change>, (seq, size): (u64, u64)) {
        if let Some(change) = change {
            self.roster.apply(&authored.origin, change, seq);
        }
        let author = self.authors.entry(authored.origin.clone()).or_default();
        author.last = authored.author_seq.unwrap_or(0).max(author.last);
        author.bytes += size;
        if author.recent.len() == RECENT_MAX {
            author.recent.pop_front();
        }
        author.recent.push_back((authored.author_seq, authored.id));
        self.last = Some((seq, authored.id));
    }
}

#[cfg(test)]
mod tests;
