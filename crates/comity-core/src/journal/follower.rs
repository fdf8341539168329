//! What somebody believes of another node's journal: told heads and handed lines, it believes only what follows
//! from what it believed before, and says which rule of an append-only journal the author broke. It keeps no
//! entries, and asks nobody itself.

use super::chain::{Break, Chain};
use super::head::{Checkpoint, Head};
use super::line::{self, Link};
use super::proof::{BadProof, Consistency};
use super::tree::TreeHash;
use super::verify::{Flaw, Wrong};
use crate::id::NodeId;
use crate::identity::signature::BadSignature;
use std::collections::BTreeMap;

/// Most heads remembered to hold another of the same size against, 50 KB: a journal told of once a minute for four
/// hours.
pub const HEADS_MAX: usize = 256;

/// How a head came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The author itself said on a proven connection that this is its head now.
    Now,
    /// Somebody passed it on, who may have got it long ago.
    Earlier,
}

/// What must be had before a head is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Nothing: it says nothing new.
    Nothing,
    /// The entries from `next` up to `size`; or, for who keeps none, the proof that `size` goes on from `known`.
    Growth {
        /// The size of the head that is believed; 0 when none is.
        known: u64,
        /// The first entry that was not read.
        next: u64,
        /// The size of the new head.
        size: u64,
    },
    /// The proof that the head that is believed goes on from this older one.
    Past {
        /// The size of the older head.
        size: u64,
        /// The size of the one that is believed.
        known: u64,
    },
}

/// How far lines were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// The index after the last entry that was read.
    pub next: u64,
    /// The index after the last entry that a checked signature vouches for. Only up to here is anything believed.
    pub confirmed: u64,
}

/// Why something is not believed. What was believed before still is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The head is somebody else's.
    #[error("the head is of {found}")]
    WrongAuthor {
        /// Whose.
        found: NodeId,
    },
    /// The head is not signed by the author. Whoever handed it on may have made it up.
    #[error("the head is not signed by the author: {0}")]
    BadSignature(#[from] BadSignature),
    /// The author began another journal in place of the one that is known.
    #[error("the author signed for another journal than the one with {} entries that is known", known.size)]
    AnotherJournal {
        /// The head that is known.
        known: Box<Head>,
        /// The head of the other one.
        told: Box<Head>,
    },
    /// The author's journal is shorter than it was: its tail was cut off.
    #[error("the journal had {} entries, and now has {}", known.size, told.size)]
    Rollback {
        /// The head that is known.
        known: Box<Head>,
        /// The shorter one.
        told: Box<Head>,
    },
    /// The author signed two journals of one length. The two heads prove it to anybody.
    #[error("the author signed two journals of {} entries", one.size)]
    Equivocation {
        /// One head.
        one: Box<Head>,
        /// The other.
        other: Box<Head>,
    },
    /// The entries of this size have another root than the author signed: it has another journal for others.
    #[error("the author signed another journal of {} entries than the one it hands out", told.size)]
    Forked {
        /// The head that was told.
        told: Box<Head>,
        /// The root of the entries that were handed out.
        root: TreeHash,
    },
    /// A proof proves nothing: it is not the one wanted, or one of the two heads is of a fork.
    #[error(transparent)]
    BadProof(#[from] BadProof),
    /// A line is wrong.
    #[error("{0}")]
    Entry(Flaw),
    /// The entries that come next were dropped at the author's.
    #[error("entries from {next} to {first} were dropped before they were read")]
    Dropped {
        /// The first that was not read.
        next: u64,
        /// The first that is there.
        first: u64,
    },
}

/// A follower of one journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    confirmed: Chain,
    ahead: Chain,
    known: Option<Head>,
    /// A larger head that nothing proves yet.
    growth: Option<Head>,
    /// A smaller head that nothing proves yet.
    past: Option<Head>,
    heads: BTreeMap<u64, Head>,
}

impl Follower {
    /// Nothing is known of this author's journal.
    pub fn new(author: NodeId) -> Self {
        Self::resumed(Chain::new(author), None)
    }

    /// What was believed when it was kept: how far entries were read, and the last head.
    pub fn resumed(confirmed: Chain, known: Option<Head>) -> Self {
        let heads = known.into_iter().map(|head| (head.size, head)).collect();
        Self { ahead: confirmed.clone(), confirmed, known, growth: None, past: None, heads }
    }

    /// Begins after what the author dropped, when nothing was read before.
    ///
    /// # Errors
    /// [`Fault::Dropped`] when something was, and the entries between are gone: a new follower that begins here is
    /// the way to go on, and the gap is a fact that people should hear of.
    pub fn handle_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Fault> {
        let (next, first) = (self.confirmed.next(), checkpoint.range.size());
        if checkpoint.author != self.confirmed.author() {
            return Err(Fault::WrongAuthor { found: checkpoint.author });
        }
        checkpoint.check()?;
        let journal = self.heads.values().next_back().map(|head| head.journal).or(self.confirmed.journal());
        if journal.is_some_and(|journal| journal != checkpoint.journal) {
            return Err(Fault::Entry(Flaw { index: first, wrong: Wrong::BadCheckpoint }));
        }
        if first <= next {
            return Ok(());
        }
        if next > 0 {
            return Err(Fault::Dropped { next, first });
        }
        self.confirmed = Chain::after(checkpoint);
        self.ahead = self.confirmed.clone();
        Ok(())
    }

    /// Hears of a head; what must be had for it to be believed.
    ///
    /// # Errors
    /// [`Fault`] when it is not the author's, or shows that the author broke the rules.
    pub fn handle_head(&mut self, head: Head, told: Told) -> Result<Want, Fault> {
        if head.author != self.confirmed.author() {
            return Err(Fault::WrongAuthor { found: head.author });
        }
        head.check()?;
        self.remember(head)?;
        let known = self.known.map_or(0, |known| known.size);
        // What the author signed it had, also where nobody has read it yet.
        let largest = self.growth.filter(|growth| growth.size > known).or(self.known);
        if let Some(before) = largest.filter(|before| told == Told::Now && before.size > head.size) {
            return Err(Fault::Rollback { known: Box::new(before), told: Box::new(head) });
        }
        if known > head.size {
            self.past = Some(head);
            return Ok(Want::Past { size: head.size, known });
        }
        if head.size == known {
            return Ok(Want::Nothing);
        }
        if head.size <= self.ahead.next() {
            // What was read beyond it is read again, to be held against it on the way.
            self.ahead.clone_from(&self.confirmed);
        }
        if self.growth.is_none_or(|growth| growth.size < head.size) {
            self.growth = Some(head);
        }
        Ok(Want::Growth { known, next: self.ahead.next(), size: head.size })
    }

    /// Believes a head without more, as the first that is known of this journal: there is nothing yet that it could
    /// contradict. Whoever keeps entries reads them instead.
    pub fn trust_first(&mut self) {
        if self.known.is_none() {
            self.known = self.growth.take();
        }
    }

    /// Takes a proof that was wanted.
    ///
    /// # Errors
    /// [`Fault::BadProof`] when it does not join the two heads.
    pub fn handle_proof(&mut self, proof: &Consistency) -> Result<(), Fault> {
        let known = self.known.ok_or(BadProof)?;
        if let Some(growth) = self.growth.filter(|growth| growth.size == proof.to && known.size == proof.from) {
            proof.check(&known.root, &growth.root)?;
            self.known = Some(growth);
            self.growth = None;
            return Ok(());
        }
        let past = self.past.filter(|past| past.size == proof.from && known.size == proof.to).ok_or(BadProof)?;
        proof.check(&past.root, &known.root)?;
        self.past = None;
        Ok(())
    }

    /// Reads lines, whole ones with their ends, that follow what was read before.
    ///
    /// # Errors
    /// [`Fault`] at the first that is wrong; what no signature vouches for is forgotten, and is to be had again.
    pub fn handle_lines(&mut self, lines: &[u8]) -> Result<Read, Fault> {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if let Err(fault) = self.read_line(line) {
                self.ahead.clone_from(&self.confirmed);
                return Err(fault);
            }
        }
        Ok(Read { next: self.ahead.next(), confirmed: self.confirmed.next() })
    }

    /// The head that is believed.
    pub fn known(&self) -> Option<Head> {
        self.known
    }

    /// How far entries were read that signatures vouch for: what is to be kept, with [`Self::known`].
    pub fn confirmed(&self) -> &Chain {
        &self.confirmed
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let due = self.ahead.next();
        let flaw = |wrong| Fault::Entry(Flaw { index: due, wrong });
        let line = line.strip_suffix(b"\n").ok_or(flaw(Wrong::TornTail))?;
        let link = line::read_checked(line).map_err(|_| flaw(Wrong::Changed))?;
        let head = self.ahead.step(&link).map_err(|broken| flaw(wrong(broken, &link, due)))?;
        let told = self.heads.get(&self.ahead.next()).copied();
        if let Some(head) = head {
            head.check().map_err(|_| flaw(Wrong::BadSignature { from: self.confirmed.next() }))?;
            self.remember(head)?;
        } else if let Some(told) = told {
            let root = self.ahead.range().root();
            if told.root != root {
                return Err(Fault::Forked { told: Box::new(told), root });
            }
        }
        let Some(head) = head.or(told) else { return Ok(()) };
        self.confirmed.clone_from(&self.ahead);
        if self.known.is_none_or(|known| known.size < head.size) {
            self.known = Some(head);
        }
        self.growth = self.growth.filter(|growth| growth.size > head.size);
        Ok(())
    }

    /// Remembers a head that the author signed, after holding it against those of the same size and journal.
    fn remember(&mut self, head: Head) -> Result<(), Fault> {
        let known = self.known.or_else(|| self.heads.values().next_back().copied());
        if let Some(known) = known.filter(|known| known.journal != head.journal) {
            return Err(Fault::AnotherJournal { known: Box::new(known), told: Box::new(head) });
        }
        if let Some(one) = self.heads.get(&head.size).filter(|one| one.root != head.root) {
            return Err(Fault::Equivocation { one: Box::new(*one), other: Box::new(head) });
        }
        self.heads.insert(head.size, head);
        if self.heads.len() > HEADS_MAX {
            self.heads.pop_first();
        }
        Ok(())
    }
}

/// What is wrong with a line that does not come next.
fn wrong(broken: Break, link: &Link, due: u64) -> Wrong {
    match broken {
        Break::Author => Wrong::WrongAuthor { found: link.author },
        Break::Index if link.index > due => Wrong::Missing { until: link.index },
        Break::Index => Wrong::Reordered { found: link.index },
        Break::Prev => Wrong::Changed,
    }
}
