//! The table of deadlines: which timer fires when. What a timer means is its owner's business.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// All deadlines that are set, in time since the start.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    deadlines: BTreeMap<T, Duration>,
    order: BTreeSet<(Duration, T)>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { deadlines: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<T: Clone + Ord> Timers<T> {
    /// Sets a timer, in place of its earlier deadline if it has one.
    pub(crate) fn set(&mut self, timer: T, at: Duration) {
        self.cancel(timer.clone());
        self.deadlines.insert(timer.clone(), at);
        self.order.insert((at, timer));
    }

    /// Sets a timer unless it is set already.
    pub(crate) fn set_if_idle(&mut self, timer: T, at: Duration) {
        if !self.is_set(timer.clone()) {
            self.set(timer, at);
        }
    }

    /// Whether a timer is set.
    pub(crate) fn is_set(&self, timer: T) -> bool {
        self.deadlines.contains_key(&timer)
    }

    /// Takes a deadline back.
    pub(crate) fn cancel(&mut self, timer: T) {
        if let Some((timer, at)) = self.deadlines.remove_entry(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// When a timer fires, if it is set.
    pub(crate) fn deadline(&self, timer: &T) -> Option<Duration> {
        self.deadlines.get(timer).copied()
    }

    /// All that are set, the next first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.order.iter().map(|(_, timer)| timer)
    }

    /// When the next timer fires.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out a timer whose deadline is here.
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<T> {
        self.order.first().filter(|(at, _)| *at <= now)?;
        let (_, timer) = self.order.pop_first()?;
        self.deadlines.remove(&timer);
        Some(timer)
    }
}
