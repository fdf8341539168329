//! Everything that a member can be told of a channel ([`Input`]), everything it can want done ([`Effect`]), and what is
//! kept of it. The rules are in `participant.rs`.

use crate::federation::event::Order;
use crate::federation::heads::{Agreed, Proof};
use crate::federation::hub::{Outcome, Refusal};
use crate::federation::roster::{Change, MEMBERS_MAX, Roster};
use crate::federation::{Event, EventId, Origin};
use crate::id::Ticket;
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// Own events that wait without a number, at most: for a hub that is away. Each may have 64 KiB, on disk and in memory.
pub const DRAFTS_MAX: u64 = 10_000;

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
    /// The hub asks where the line ends, as it does when it starts. Before anything else of it that was signed later.
    HeadAsked {
        /// Answered once, when it is on disk that nothing older of the hub counts any more.
        ticket: Ticket,
        /// When the hub signed the question.
        signed: Timestamp,
    },
    /// [`Effect::Parted`] was looked into, or a comparison with the hub found so (`heads.rs`): after an event that
    /// both have, the hub has another next, or gave the same one its place in another term.
    Parted {
        /// What the line says up to that event: [`Summary::read`] of each event that is here, in order; of those before
        /// this origin joined there is none.
        kept: Box<Summary>,
        /// The event that the hub has next, as it signed it.
        theirs: Box<Order>,
    },
    /// A comparison with the hub found that both have the same.
    Same(Agreed),
    /// Two histories of the hub, whose signatures hold.
    Proven(Box<Proof>),
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
    /// Write this; all writes of one step are one, with [`super::State::summary`] as it is after the step.
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
    /// Nobody answers the hub's question where the line ends.
    Unanswered {
        /// Which question.
        ticket: Ticket,
    },
    /// Answer the hub: where the line ends, on disk.
    Head {
        /// Which question.
        ticket: Ticket,
        /// The last event: its number, id and term.
        head: Option<(u64, EventId, u64)>,
    },
    /// The hub goes on in a new term, and perhaps without events that are here. Compare with the hub to find where that
    /// begins: [`Input::Parted`], or [`Input::Same`].
    Parted {
        /// The number of an event that the hub has in the new term.
        seq: u64,
    },
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
    /// Events after this one are no longer in the line. Own events among them are kept, to be sent again.
    Withdraw {
        /// The last that stays: 0 for none.
        after: u64,
    },
    /// What proves that the hub showed two histories.
    Proof(Box<Proof>),
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
    /// Too much waits for the hub.
    #[error("{DRAFTS_MAX} events wait for the hub of the channel already")]
    Full,
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
    /// The hub went on without events that were shown, or gave them their places again.
    #[error("events {first} to {last} are withdrawn: the hub went on without them in term {term}")]
    Withdrawn {
        /// The first of them.
        first: u64,
        /// The last.
        last: u64,
        /// The new term.
        term: u64,
    },
    /// The hub signed two histories. The proof is kept.
    #[error("hub_equivocation: the hub gave place {seq} of term {term} to two events")]
    Equivocation {
        /// The place.
        seq: u64,
        /// Its term.
        term: u64,
    },
    /// The hub does not know the channel. What is said waits.
    #[error("the hub says that it does not know this channel: what is said here waits until it does")]
    Unknown,
    /// The hub attests what only its author can say. The line is not taken from there on.
    #[error("event {seq} is attested by the hub alone, but its author, {author}, signs what it says")]
    Forged {
        /// Its number.
        seq: u64,
        /// Who is said to have said it.
        author: Origin,
    },
    /// The hub has more members than a channel may. The line is not taken from there on.
    #[error("event {seq} is of one member more than a channel has: {MEMBERS_MAX}, with those who were invited or left")]
    Full {
        /// Its number.
        seq: u64,
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
    /// The last of those that the hub took.
    pub taken: u64,
    /// The last whose refusal was told.
    pub told: u64,
    /// The last draft, and the last that was given a number.
    pub drafts: u64,
    /// See [`Self::drafts`].
    pub drafts_numbered: u64,
    /// What the hub signed before this does not count.
    pub heard_since: Timestamp,
    /// The place and term of the proof against the hub that is kept.
    pub proven: Option<(u64, u64)>,
}

impl Summary {
    /// Own events of `me` up to this one are in the line, or were refused: nobody wants them but a hub that lost part of
    /// the line, and judges anew what comes after.
    pub fn settled(&self, me: &Origin) -> u64 {
        let seen = self.authors.get(me).copied().unwrap_or(0);
        // What was taken and is not seen may be lost yet.
        if self.taken > seen { seen } else { self.decided }
    }

    /// What is wrong with an event that follows, if it is not taken.
    pub(super) fn fault_in(&self, me: &Origin, event: &Event) -> Option<Fault> {
        let (seq, author) = (event.order.seq, &event.authored.origin);
        // Whoever speaks for itself has signed before. Others may be of the original design, and sign nothing.
        if event.authored.attested.is_some() && (author == me || self.authors.contains_key(author)) {
            return Some(Fault::Forged { seq, author: author.clone() });
        }
        let change = Change::of(&event.authored).ok().flatten()?;
        (!self.roster.has_room_for(author, &change)).then_some(Fault::Full { seq })
    }

    /// Takes over what an event says, the next one that `me` has; what is wrong with it, if events of its author are
    /// missing.
    pub fn read(&mut self, hub: &Origin, me: &Origin, event: &Event) -> Option<Fault> {
        let (seq, authored) = (event.order.seq, &event.authored);
        if joins(me, event) && self.last.is_none_or(|(last, ..)| seq > last + 1) {
            // What others said meanwhile was not for this origin, nor who came and went.
            self.authors.retain(|author, _| author == me);
            self.roster.forget_others(me);
        }
        match Change::of(authored) {
            Ok(Some(change @ (Change::Joined | Change::Left))) => self.roster.apply(&authored.origin, &change, seq),
            // Only the admin says anything else of the channel, and the hub lets nobody else.
            Ok(Some(change)) if authored.origin == *hub => self.roster.apply(&authored.origin, &change, seq),
            _ => {}
        }
        self.last = Some((seq, authored.id, event.order.term));
        let number = authored.author_seq?;
        let last = self.authors.insert(authored.origin.clone(), number);
        if authored.origin == *me {
            self.decided = self.decided.max(number);
            self.taken = self.taken.max(number);
            self.numbered = self.numbered.max(number);
        }
        let after = last.filter(|last| number > last + 1)? + 1;
        Some(Fault::Withheld { author: authored.origin.clone(), after, before: number - 1 })
    }
}

/// Whether an event is the one by which an origin becomes a member: its own word, and not the hub's.
pub(super) fn joins(me: &Origin, event: &Event) -> bool {
    let is_own = event.authored.origin == *me && event.authored.attested.is_none();
    is_own && Change::of(&event.authored) == Ok(Some(Change::Joined))
}
