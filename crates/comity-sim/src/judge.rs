//! What must hold in every run, whatever the network and the disks do: nothing is handled twice,
//! nothing goes missing, and both sides of a message say the same of it.

use comity_core::envelope::{Kind, Priority, Received};
use comity_core::id::{MessageId, PeerId};
use comity_core::ledger::{Fate, FateKind};
use comity_core::node::NodeView;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A rule that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What went wrong, with the facts.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.what)
    }
}

/// Keeps the books of a run, independently of the nodes' own.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// How often each message was handled, by host: live ones by start of the host.
    live: BTreeSet<(usize, u64, PeerId, MessageId)>,
    durable: BTreeSet<(usize, PeerId, MessageId)>,
    /// What must not be done twice and was handed over live, by start of the host; and those whose
    /// host has since stopped in peace.
    urgent: BTreeSet<(usize, u64, PeerId, MessageId)>,
    done: BTreeSet<(usize, PeerId, MessageId)>,
    /// Messages that came to each host in its present start, and items it was restored with.
    came: BTreeMap<usize, u64>,
    /// To how many peers each message was said to go.
    copies: BTreeMap<MessageId, usize>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) handled: u64,
}

impl Judge {
    pub(crate) fn blame(&mut self, what: String) {
        self.violations.push(Violation { what });
    }

    pub(crate) fn started(&mut self, host: usize, restored: usize) {
        self.came.insert(host, restored as u64);
    }

    pub(crate) fn came(&mut self, host: usize, count: usize) {
        *self.came.entry(host).or_default() += count as u64;
    }

    pub(crate) fn sent(&mut self, id: MessageId, peers: usize) {
        self.copies.insert(id, peers);
    }

    /// The sender knows something of every copy of a message that it said it took.
    pub(crate) fn all_copies_told(&mut self, sender: usize, id: MessageId, fates: &[Fate]) {
        let told = fates.iter().map(|fate| fate.peer).collect::<BTreeSet<_>>().len();
        let taken = self.copies.get(&id).copied().unwrap_or(told);
        if taken != told {
            self.blame(format!("host {sender} took {taken} copies of {id} and knows of {told}"));
        }
    }

    /// One copy of a message, as its sender saw it, and its receiver if it still knows.
    pub(crate) fn ended(
        &mut self,
        sender: usize,
        receiver: usize,
        id: MessageId,
        said: &[FateKind],
        did: Option<&[FateKind]>,
    ) {
        let last = said.last().copied().unwrap_or(FateKind::Queued);
        let is_taken = |fate: &FateKind| matches!(fate, FateKind::Delivered | FateKind::Inbox | FateKind::Digested);
        let taken = did.and_then(|did| match did.iter().rfind(|fate| **fate != FateKind::Duplicate) {
            Some(FateKind::Delivered | FateKind::Inbox | FateKind::Digested | FateKind::Read) => Some(true),
            // It was taken, and what happened to it later may have happened while its sender was not
            // linked and could not be told.
            Some(FateKind::Evicted | FateKind::Expired) if did.contains(&FateKind::Inbox) => None,
            Some(FateKind::Unavailable) if did.contains(&FateKind::Delivered) => None,
            _ => Some(did.iter().any(is_taken)),
        });
        let fits = match last {
            // It is on its way for ever, or was refused as its own double.
            FateKind::Queued | FateKind::Sent | FateKind::Duplicate => false,
            FateKind::Delivered | FateKind::Inbox | FateKind::Digested | FateKind::Read => taken != Some(false),
            // The sender gave it up: before it was ever sent, or because no receipt came.
            FateKind::Failed | FateKind::Evicted | FateKind::Expired if !said.contains(&FateKind::Sent) => {
                did.is_none_or(<[_]>::is_empty)
            }
            FateKind::Failed | FateKind::Evicted | FateKind::Expired => true,
            refused => did.is_none_or(|did| did.contains(&refused)) && taken != Some(true),
        };
        if !fits {
            self.blame(format!("{id} from host {sender} to host {receiver}: said {said:?}, did {did:?}"));
        }
    }

    /// A message was handed to a listener.
    pub(crate) fn handled_live(&mut self, host: usize, start: u64, received: &Received) {
        let Some(id) = received.message.id else { return };
        self.handled += 1;
        let from = received.message.from;
        if !self.live.insert((host, start, from, id)) || self.durable.contains(&(host, from, id)) {
            self.blame(format!("host {host} handled {id} of {from} twice (live)"));
        }
        if self.done.contains(&(host, from, id)) {
            self.blame(format!("host {host} handled {id} of {from} twice (after it had left)"));
        }
        if received.message.kind == Kind::Query || received.message.priority == Priority::Critical {
            self.urgent.insert((host, start, from, id));
        }
    }

    /// A host left, and its node ended.
    pub(crate) fn stopped(&mut self, host: usize, start: u64) {
        let done = self.urgent.iter().filter(|(of, at, ..)| (*of, *at) == (host, start));
        self.done.extend(done.map(|(host, _, from, id)| (*host, *from, *id)));
    }

    /// A message was taken out of the inbox for good.
    pub(crate) fn handled_durably(&mut self, host: usize, start: u64, received: &Received) {
        let Some(id) = received.message.id else { return };
        self.handled += 1;
        let from = received.message.from;
        if !self.durable.insert((host, from, id)) || self.live.contains(&(host, start, from, id)) {
            self.blame(format!("host {host} handled {id} of {from} twice (inbox)"));
        }
    }

    /// A listener gave a message back: it was not handled.
    pub(crate) fn not_handled(&mut self, host: usize, start: u64, received: &Received) {
        if let Some(id) = received.message.id {
            self.live.remove(&(host, start, received.message.from, id));
            self.urgent.remove(&(host, start, received.message.from, id));
            self.came(host, 1);
        }
    }

    /// Something was pushed out of an inbox: nothing less urgent may be left in it.
    pub(crate) fn evicted(&mut self, host: usize, priority: Priority, kept: impl Iterator<Item = Priority>) {
        if let Some(lower) = kept.into_iter().find(|kept| *kept < priority) {
            self.blame(format!("host {host} lost a {} message and kept a {} one", priority.name(), lower.name()));
        }
    }

    /// What came is what became of it, cause by cause.
    pub(crate) fn balance(&mut self, host: usize, view: &NodeView) {
        let came = self.came.get(&host).copied().unwrap_or(0);
        let final_fates = view.fates_in.iter().filter(|(fate, _)| **fate != FateKind::Inbox);
        let ended: u64 = final_fates.map(|(_, count)| count).sum();
        let waiting = view.inbox.values().sum::<usize>() as u64;
        if came != ended + waiting {
            self.blame(format!("host {host}: {came} came, {ended} ended, {waiting} wait: {:?}", view.fates_in));
        }
    }
}
