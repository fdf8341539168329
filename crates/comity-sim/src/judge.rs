//! What must hold in every run, whatever the network and the disks do.

use comity_core::envelope::{Priority, Received};
use comity_core::id::{MessageId, PeerId};
use comity_core::ledger::FateKind;
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
    /// Messages that came to each host in its present start, and items it was restored with.
    came: BTreeMap<usize, u64>,
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

    /// A message was handed to a listener.
    pub(crate) fn handled_live(&mut self, host: usize, start: u64, received: &Received) {
        let Some(id) = received.message.id else { return };
        self.handled += 1;
        let from = received.message.from;
        if !self.live.insert((host, start, from, id)) || self.durable.contains(&(host, from, id)) {
            self.blame(format!("host {host} handled {id} of {from} twice (live)"));
        }
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
