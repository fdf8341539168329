//! How long each node takes to answer, and when it is late enough to ask another one too: a smoothed mean and deviation,
//! as RFC 6298 keeps of round trips. What is asked instead is the body's business. See "Routing" in `protocols/mesh.md`.

use super::profile::NodeName;
use super::roster::NODES_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Nodes of which it is known; who was asked longest ago is forgotten first.
pub const KNOWN_MAX: usize = NODES_MAX;

/// How much a new answer counts in the mean and in the deviation (RFC 6298, 2.3).
const MEAN_SHARE: f64 = 1.0 / 8.0;
const DEVIATION_SHARE: f64 = 1.0 / 4.0;

/// So many deviations beyond the mean an answer is late: about one of twenty is, of a node as it usually is.
const DEVIATIONS: f64 = 2.5;

/// How soon another node is asked where nothing is known of the first.
pub const HEDGE_UNKNOWN: Duration = Duration::from_millis(200);

/// Never sooner, lest a jitter of the network doubles all queries, and never later, lest the answer comes after the
/// second that a query has.
pub const HEDGE_MIN: Duration = Duration::from_millis(10);
/// See [`HEDGE_MIN`].
pub const HEDGE_MAX: Duration = Duration::from_millis(500);

/// Longest answer that counts as what it took; longer ones count as this.
const TOOK_MAX: Duration = Duration::from_secs(60);

/// How long nodes take to answer.
#[derive(Debug)]
pub struct Latencies {
    known_max: usize,
    estimates: BTreeMap<NodeName, Estimate>,
    /// All of them, by when they were noted last.
    order: BTreeSet<(u64, NodeName)>,
    noted: u64,
}

/// Of one node, in seconds.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    mean: f64,
    deviation: f64,
    noted: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new(KNOWN_MAX)
    }
}

impl Latencies {
    /// Nothing is known, and of at most so many nodes it will be.
    pub fn new(known_max: usize) -> Self {
        Self { known_max: known_max.max(1), estimates: BTreeMap::new(), order: BTreeSet::new(), noted: 0 }
    }

    /// Notes how long a node took; of one that did not answer, how long it was waited for.
    pub fn note(&mut self, node: &NodeName, took: Duration) {
        let took = took.min(TOOK_MAX).as_secs_f64();
        self.noted += 1;
        let estimate = match self.estimates.get(node) {
            None => Estimate { mean: took, deviation: took / 2.0, noted: self.noted },
            Some(known) => {
                self.order.remove(&(known.noted, node.clone()));
                let deviation = known.deviation + DEVIATION_SHARE * ((took - known.mean).abs() - known.deviation);
                Estimate { mean: known.mean + MEAN_SHARE * (took - known.mean), deviation, noted: self.noted }
            }
        };
        self.estimates.insert(node.clone(), estimate);
        self.order.insert((self.noted, node.clone()));
        while self.estimates.len() > self.known_max {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.estimates.remove(&oldest);
        }
    }

    /// Forgets a node that is gone.
    pub fn forget(&mut self, node: &NodeName) {
        if let Some(known) = self.estimates.remove(node) {
            self.order.remove(&(known.noted, node.clone()));
        }
    }

    /// How long a node takes, if that is known.
    pub fn estimate(&self, node: &NodeName) -> Option<Duration> {
        self.estimates.get(node).map(|known| Duration::from_secs_f64(known.mean.max(0.0)))
    }

    /// After how long without an answer of this node another one is asked too.
    pub fn hedge_after(&self, node: &NodeName) -> Duration {
        let Some(known) = self.estimates.get(node) else { return HEDGE_UNKNOWN };
        let late = known.mean + DEVIATIONS * known.deviation;
        Duration::from_secs_f64(late.max(0.0)).clamp(HEDGE_MIN, HEDGE_MAX)
    }

    /// Of how many nodes it is known.
    pub fn len(&self) -> usize {
        self.estimates.len()
    }

    /// Whether it is known of none.
    pub fn is_empty(&self) -> bool {
        self.estimates.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::drawn::Dice;

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn millis(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn few_answers_of_a_node_that_is_as_usual_come_after_another_was_asked() {
        let (mut dice, mut latencies, node) = (Dice(3), Latencies::default(), name("a"));
        let mut hedged = 0;
        for number in 0..2000 {
            // 20 to 60 ms, and one of fifty takes a second.
            let took = if dice.below(50) == 0 { millis(1000) } else { millis(20 + dice.below(40) as u64) };
            hedged += u32::from(number >= 100 && took > latencies.hedge_after(&node));
            latencies.note(&node, took);
        }
        assert!((19..190).contains(&hedged), "{hedged} of 1900: the slow, and of the others few");
    }

    #[test]
    fn nobody_is_asked_at_once_or_too_late() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.hedge_after(&name("a")), HEDGE_UNKNOWN);
        assert_eq!(latencies.estimate(&name("a")), None);
        for took in [Duration::ZERO, Duration::MAX] {
            (0..200).for_each(|_| latencies.note(&name("a"), took));
            let after = latencies.hedge_after(&name("a"));
            assert_eq!(after, if took.is_zero() { HEDGE_MIN } else { HEDGE_MAX });
        }
        assert!(latencies.estimate(&name("a")).unwrap() <= TOOK_MAX);
    }

    #[test]
    fn who_was_asked_longest_ago_is_forgotten_first() {
        let mut latencies = Latencies::new(2);
        for text in ["a", "b", "a", "c"] {
            latencies.note(&name(text), millis(40));
        }
        assert_eq!((latencies.len(), latencies.estimate(&name("b"))), (2, None));
        assert_eq!(latencies.estimate(&name("a")), Some(millis(40)));
        latencies.forget(&name("a"));
        assert_eq!((latencies.len(), latencies.order.len()), (1, 1));
    }
}
