//! Which worker is asked for first: the one with most free slots, then the least loaded. Whether it can do a task is the
//! queue's to say, and who holds a task, and for how long, is not decided here. See "Compute" in `protocols/mesh.md`.

use super::routing::faster;
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::time::Duration;

/// A worker.
#[derive(Debug, Clone, Copy)]
pub struct Worker<'a> {
    /// The name of its node.
    pub node: &'a str,
    /// What it can do.
    pub capabilities: &'a [String],
    /// How many tasks it could begin now.
    pub slots_free: u32,
    /// How full it is: what is lower is better.
    pub load: f64,
    /// How long it takes to answer, if that is known.
    pub latency: Option<Duration>,
    /// What it has, by name.
    pub has: &'a Map<String, Value>,
}

/// Which of two workers comes first, where both are able: the one with more free slots, then the less loaded, then the
/// faster, then by name.
pub fn rank(one: &Worker<'_>, other: &Worker<'_>) -> Ordering {
    other
        .slots_free
        .cmp(&one.slots_free)
        .then_with(|| one.load.total_cmp(&other.load))
        .then_with(|| faster(one.latency, other.latency))
        .then_with(|| one.node.cmp(other.node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::drawn::Dice;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn free_slots_come_first_then_load_then_latency_then_the_name() {
        let (search, none) = (names(&["search"]), Map::new());
        let worker = |node: &'static str, slots_free, load, latency: Option<u64>| Worker {
            node,
            capabilities: &search,
            slots_free,
            load,
            latency: latency.map(Duration::from_millis),
            has: &none,
        };
        let mut ranked = [
            worker("z", 3, 9.0, None),
            worker("y", 2, 0.5, Some(900)),
            worker("x", 2, 0.6, Some(5)),
            worker("w", 2, 0.6, Some(6)),
            worker("b", 1, 0.0, None),
            worker("c", 1, 0.0, None),
            worker("a", 1, f64::NAN, Some(1)),
        ];
        let wanted: Vec<&str> = ranked.iter().map(|worker| worker.node).collect();
        let mut dice = Dice(5);
        for _ in 0..200 {
            for at in 0..ranked.len() {
                let other = dice.below(ranked.len());
                ranked.swap(at, other);
            }
            ranked.sort_by(rank);
            let nodes: Vec<&str> = ranked.iter().map(|worker| worker.node).collect();
            assert_eq!(nodes, wanted);
        }
    }
}
