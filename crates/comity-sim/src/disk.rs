//! A disk that loses what was not synced.

use comity_core::inbox::Item;
use comity_core::node::{Record, Restored};
use std::collections::{BTreeMap, BTreeSet};

/// What a node has on disk, and what is on its way there.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    synced: Restored,
    items: BTreeMap<u64, Item>,
    pending: Vec<(u64, Record)>,
}

impl Disk {
    pub(crate) fn write(&mut self, number: u64, record: Record) {
        self.pending.push((number, record));
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.pending.is_empty()
    }

    /// Syncs what is pending; the number of the last record.
    pub(crate) fn sync(&mut self) -> Option<u64> {
        let last = self.pending.last().map(|(number, _)| *number);
        for (_, record) in std::mem::take(&mut self.pending) {
            self.apply(record);
        }
        last
    }

    /// Fails to sync after so many of the pending records: the rest is lost; the number of the first lost one.
    pub(crate) fn fail(&mut self, after: usize) -> Option<u64> {
        let lost = self.pending.split_off(after.min(self.pending.len().saturating_sub(1)));
        self.sync();
        lost.first().map(|(number, _)| *number)
    }

    /// How many records are pending.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What is there after a crash.
    pub(crate) fn crash(&mut self) -> Restored {
        self.pending.clear();
        Restored { items: self.items.values().cloned().collect(), ..self.synced.clone() }
    }

    /// The synced items that no pending record removes.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Item> {
        let removed: BTreeSet<u64> = self
            .pending
            .iter()
            .filter_map(|(_, record)| match record {
                Record::ItemRemoved { arrival } => Some(*arrival),
                _ => None,
            })
            .collect();
        self.items.values().filter(move |item| !removed.contains(&item.arrival))
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::ItemAdded(item) => {
                self.synced.last_arrival = self.synced.last_arrival.max(item.arrival);
                self.items.insert(item.arrival, Item::clone(&item));
            }
            Record::ItemRemoved { arrival } => {
                self.items.remove(&arrival);
            }
            Record::Seen { from, id, until } => self.synced.seen.push((from, id, until)),
            Record::Digest(digest) => self.synced.digest = Some(*digest),
            Record::Setting { name, value } => {
                self.synced.settings.retain(|(known, _)| known != name);
                self.synced.settings.push((name.to_owned(), value));
            }
        }
    }
}
