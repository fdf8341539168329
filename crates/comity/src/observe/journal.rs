//! What is counted of the journal: read off it when somebody asks for the figures. It writes nothing there.

use super::counters::{set, set_counter};
use crate::store::journal::{Disk, Figures, Journal};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::sync::OnceLock;

/// The figures of one journal.
pub(super) struct Journaled {
    /// The journal, once it is open.
    journal: OnceLock<Journal>,
    entries: Gauge,
    bytes: Gauge,
    segments: Gauge,
    groups: Counter,
    refused: Counter,
    dropped: Counter,
    working: Gauge,
    missed: Counter,
}

impl Journaled {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self {
            journal: OnceLock::new(),
            entries: Gauge::default(),
            bytes: Gauge::default(),
            segments: Gauge::default(),
            groups: Counter::default(),
            refused: Counter::default(),
            dropped: Counter::default(),
            working: Gauge::default(),
            missed: Counter::default(),
        };
        registry.register("journal_entries", "Entries that the journal keeps", this.entries.clone());
        registry.register_with_unit("journal_size", "Size of the journal", Unit::Bytes, this.bytes.clone());
        registry.register("journal_segments", "Files of the journal", this.segments.clone());
        registry.register("journal_groups", "Groups of entries that were written and signed", this.groups.clone());
        registry.register("journal_refused_entries", "Entries that the disk did not take", this.refused.clone());
        let help = "Entries that were dropped under a checkpoint";
        registry.register("journal_dropped_entries", help, this.dropped.clone());
        registry.register("journal_disk_working", "Whether the disk took the last group", this.working.clone());
        let help = "What was heard or happened and is not in the journal";
        registry.register("journal_missed_entries", help, this.missed.clone());
        this
    }

    pub(super) fn open(&self, journal: Journal) {
        // Err: it was set before; a node has one journal.
        let _ = self.journal.set(journal);
    }

    pub(super) fn missed(&self) {
        self.missed.inc();
    }

    pub(super) fn take(&self) {
        let Some(journal) = self.journal.get() else { return };
        let Figures { first, size, bytes, segments, groups, refused, dropped } = journal.figures();
        let gauge = |figure: u64| i64::try_from(figure).unwrap_or(i64::MAX);
        self.entries.set(gauge(size - first));
        self.bytes.set(gauge(bytes));
        set(&self.segments, segments);
        set_counter(&self.groups, groups);
        set_counter(&self.refused, refused);
        set_counter(&self.dropped, dropped);
        self.working.set((*journal.disk().borrow() == Disk::Working).into());
    }
}
