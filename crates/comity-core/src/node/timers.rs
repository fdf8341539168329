//! The table of deadlines: which timer fires when.

use super::Timer;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// All deadlines that are set, in time since the start.
#[derive(Debug, Default)]
pub(super) struct Timers {
    deadlines: BTreeMap<Timer, Duration>,
    order: BTreeSet<(Duration, Timer)>,
}

impl Timers {
    /// Sets a timer, in place of its earlier deadline if it has one.
    pub(super) fn set(&mut self, timer: Timer, at: Duration) {
        self.cancel(timer);
        self.deadlines.insert(timer, at);
        self.order.insert((at, timer));
    }

    /// Sets a timer unless it is set already.
    pub(super) fn set_if_idle(&mut self, timer: Timer, at: Duration) {
        if !self.is_set(timer) {
            self.set(timer, at);
        }
    }

    /// Whether a timer is set.
    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.deadlines.contains_key(&timer)
    }

    /// Takes a deadline back.
    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.deadlines.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// When the next timer fires.
    pub(super) fn next(&self) -> Option<Duration> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out a timer whose deadline is here.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<Timer> {
        let (_, timer) = *self.order.first().filter(|(at, _)| *at <= now)?;
        self.cancel(timer);
        Some(timer)
    }
}
