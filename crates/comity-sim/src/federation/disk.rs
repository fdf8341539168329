//! The disks of sites: what is synced, and what a crash loses.

use comity_core::federation::event::{Authored, Event};
use comity_core::federation::heads::Proof;
use comity_core::federation::{hub, participant};
use comity_core::time::Timestamp;
use std::collections::BTreeMap;

/// What an author wants to say: each of its sayings has another number.
pub(super) type Saying = u64;

/// One write.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// An event of the line.
    Event(Box<Event>),
    /// What is to be said.
    Draft(u64, Saying),
    /// An own event that has its number.
    Own(Box<Authored>),
    /// Events after this one are no longer in the line.
    Withdraw(u64),
    /// A proof against the hub.
    Proof(Box<Proof>),
}

/// What is on a disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) line: BTreeMap<u64, Event>,
    pub(super) drafts: BTreeMap<u64, Saying>,
    pub(super) own: BTreeMap<u64, Authored>,
    pub(super) proofs: Vec<Proof>,
    /// What is said without a signature, and when, until the hub took it.
    pub(super) unsigned: BTreeMap<Saying, Timestamp>,
    pub(super) hub: Option<hub::Summary>,
    pub(super) member: participant::Summary,
}

/// A step's writes, and the summary after it.
#[derive(Debug, Clone)]
struct Pending {
    number: u64,
    entries: Vec<Entry>,
    hub: Option<hub::Summary>,
    member: Option<participant::Summary>,
}

/// A disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) synced: Content,
    pending: Vec<Pending>,
    backup: Option<Content>,
}

impl Disk {
    /// Notes a step's writes up to this number.
    pub(super) fn write(
        &mut self,
        number: u64,
        entries: Vec<Entry>,
        (hub, member): (Option<hub::Summary>, Option<participant::Summary>),
    ) {
        self.pending.push(Pending { number, entries, hub, member });
    }

    pub(super) fn is_clean(&self) -> bool {
        self.pending.is_empty()
    }

    /// Syncs what is pending; the number of the last write.
    pub(super) fn sync(&mut self) -> Option<u64> {
        let mut last = None;
        for step in std::mem::take(&mut self.pending) {
            for entry in step.entries {
                match entry {
                    Entry::Event(event) => drop(self.synced.line.insert(event.order.seq, *event)),
                    Entry::Draft(draft, saying) => drop(self.synced.drafts.insert(draft, saying)),
                    Entry::Own(own) => drop(self.synced.own.insert(own.author_seq.unwrap_or(0), *own)),
                    Entry::Withdraw(after) => drop(self.synced.line.split_off(&(after + 1))),
                    Entry::Proof(proof) => self.synced.proofs.push(*proof),
                }
            }
            if step.hub.is_some() {
                self.synced.hub = step.hub;
            }
            if let Some(member) = step.member {
                self.synced.member = member;
            }
            last = Some(step.number);
        }
        last
    }

    pub(super) fn crash(&mut self) {
        self.pending.clear();
    }

    pub(super) fn is_backed_up(&self) -> bool {
        self.backup.is_some()
    }

    pub(super) fn back_up(&mut self) {
        self.backup = Some(self.synced.clone());
    }

    /// The disk is what was copied, if it ever was.
    pub(super) fn restore(&mut self) -> bool {
        if let Some(backup) = &self.backup {
            self.synced = backup.clone();
        }
        self.backup.is_some()
    }
}
