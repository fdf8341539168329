//! The queue of the inbox: arrival numbers, the order of taking, and who goes when it is full.
//! It holds what is on disk already; putting it there is the business of the node.

use super::Item;
use crate::envelope::Priority;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What the inbox obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Most items kept; the least urgent, and of those the oldest, goes first.
    pub items_max: usize,
    /// Most bytes kept ([`crate::envelope::Message::weight`]).
    pub weight_max: usize,
    /// How long an item is kept.
    pub kept_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { items_max: 1000, weight_max: 64 << 20, kept_for: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// The items that wait.
#[derive(Debug)]
pub struct Queue {
    config: Config,
    items: BTreeMap<u64, Arc<Item>>,
    by_priority: BTreeMap<Priority, BTreeSet<u64>>,
    weight: usize,
    last_arrival: u64,
}

impl Queue {
    /// A queue with what the disk gave back.
    pub fn new(config: Config, items: Vec<Item>, last_arrival: u64) -> Self {
        let mut queue = Self {
            config,
            items: BTreeMap::new(),
            by_priority: Priority::ALL.into_iter().map(|priority| (priority, BTreeSet::new())).collect(),
            weight: 0,
            last_arrival,
        };
        for item in items {
            queue.insert(Arc::new(item));
        }
        queue
    }

    /// The arrival number of the next item.
    pub fn next_arrival(&mut self) -> u64 {
        self.last_arrival += 1;
        self.last_arrival
    }

    /// Puts an item in and says who had to go for it: perhaps the item itself.
    pub fn push(&mut self, item: Arc<Item>) -> Vec<Arc<Item>> {
        self.insert(item);
        let mut evicted = Vec::new();
        while self.items.len() > self.config.items_max || self.weight > self.config.weight_max {
            let Some(arrival) = self.least_wanted() else { break };
            evicted.extend(self.remove(arrival));
        }
        evicted
    }

    /// The items in the order of taking: critical ones first, then by arrival.
    pub fn in_order(&self) -> impl Iterator<Item = &Arc<Item>> {
        let critical = self.by_priority[&Priority::Critical].iter().map(|arrival| &self.items[arrival]);
        let rest = self.items.values().filter(|item| item.received.message.priority != Priority::Critical);
        critical.chain(rest)
    }

    /// The items that arrived after this number, in the order of arrival.
    pub fn after(&self, arrival: u64) -> impl Iterator<Item = &Arc<Item>> {
        self.items.range(arrival.saturating_add(1)..).map(|(_, item)| item)
    }

    /// Takes an item out.
    pub fn remove(&mut self, arrival: u64) -> Option<Arc<Item>> {
        let item = self.items.remove(&arrival)?;
        self.weight -= item.received.message.weight();
        self.by_priority.entry(item.received.message.priority).or_default().remove(&arrival);
        Some(item)
    }

    /// The items that have been kept long enough.
    pub fn outdated(&self, wall: Timestamp) -> Vec<u64> {
        let old = |item: &&Arc<Item>| wall.since(item.received.received_at) > self.config.kept_for;
        self.items.values().filter(old).map(|item| item.arrival).collect()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The most that may wait.
    pub fn items_max(&self) -> usize {
        self.config.items_max
    }

    /// How many of this priority wait.
    pub fn count(&self, priority: Priority) -> usize {
        self.by_priority[&priority].len()
    }

    fn insert(&mut self, item: Arc<Item>) {
        self.last_arrival = self.last_arrival.max(item.arrival);
        self.weight += item.received.message.weight();
        self.by_priority.entry(item.received.message.priority).or_default().insert(item.arrival);
        if let Some(old) = self.items.insert(item.arrival, item) {
            self.weight -= old.received.message.weight();
        }
    }

    /// The oldest of the lowest priority.
    fn least_wanted(&self) -> Option<u64> {
        self.by_priority.values().find_map(|arrivals| arrivals.first().copied())
    }
}
