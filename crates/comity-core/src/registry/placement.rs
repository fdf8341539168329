//! Which worker gets a task: one that can do it, has a free slot, and is the least loaded. Who holds it, and for how long,
//! is not decided here. See "Compute" in `protocols/mesh.md`.

use super::routing::faster;
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::time::Duration;

/// What a task needs.
#[derive(Debug, Clone, Copy)]
pub struct Needs<'a> {
    /// What its worker must be able to do.
    pub capability: &'a str,
    /// What it must have besides, by name.
    pub requirements: &'a Map<String, Value>,
}

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

/// The worker that a task goes to: of those that are able, the one with most free slots, then the least loaded, then the
/// fastest, then the first by name. `None` when none is able: the task waits.
pub fn place<'a>(needs: &Needs<'_>, workers: &[Worker<'a>]) -> Option<&'a str> {
    workers.iter().filter(|worker| is_able(needs, worker)).min_by(|one, other| rank(one, other)).map(|best| best.node)
}

/// Whether a worker could begin a task now.
pub fn is_able(needs: &Needs<'_>, worker: &Worker<'_>) -> bool {
    worker.slots_free > 0
        && worker.capabilities.iter().any(|capability| capability == needs.capability)
        && needs.requirements.iter().all(|(name, wanted)| worker.has.get(name).is_some_and(|has| meets(has, wanted)))
}

/// Whether what a worker has is enough: of numbers at least as much, of a list all that is wanted, else the same.
pub fn meets(has: &Value, wanted: &Value) -> bool {
    match (has, wanted) {
        (Value::Number(has), Value::Number(wanted)) => has.as_f64() >= wanted.as_f64(),
        (Value::Array(has), Value::Array(wanted)) => wanted.iter().all(|wanted| has.contains(wanted)),
        (Value::Array(has), wanted) => has.contains(wanted),
        (has, wanted) => has == wanted,
    }
}

/// Which of two workers comes first, where both are able: see [`place`].
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
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_who_can_has_room_and_meets_the_requirements_gets_a_task() {
        let (search, none) = (names(&["search"]), Map::new());
        let (has, wants) = (map(json!({"ram": 16, "arch": "arm"})), map(json!({"ram": 8})));
        let able = Worker { node: "a", capabilities: &search, slots_free: 1, load: 9.0, latency: None, has: &has };
        let needs = Needs { capability: "search", requirements: &wants };
        assert_eq!(place(&needs, &[able]), Some("a"));
        assert_eq!(place(&Needs { capability: "sear", ..needs }, &[able]), None);
        assert_eq!(place(&needs, &[Worker { slots_free: 0, ..able }, Worker { has: &none, ..able }]), None);
        assert_eq!(place(&needs, &[]), None);
    }

    #[test]
    fn a_requirement_is_met_by_as_much_by_all_of_a_list_or_by_the_same() {
        for (has, wanted, is_met) in [
            (json!(8), json!(8.0), true),
            (json!(7.9), json!(8), false),
            (json!("8"), json!(8), false),
            (json!(["a", "b"]), json!("a"), true),
            (json!(["a", "b"]), json!(["b"]), true),
            (json!(["a"]), json!(["a", "b"]), false),
            (json!(true), json!(true), true),
            (json!({"a": 1}), json!({"a": 1}), true),
            (json!(null), json!(false), false),
        ] {
            assert_eq!(meets(&has, &wanted), is_met, "{has} for {wanted}");
        }
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
        let (needs, mut dice) = (Needs { capability: "search", requirements: &none }, Dice(5));
        for _ in 0..200 {
            for at in 0..ranked.len() {
                let other = dice.below(ranked.len());
                ranked.swap(at, other);
            }
            let mut left = ranked.to_vec();
            let mut placed = Vec::new();
            while let Some(node) = place(&needs, &left) {
                placed.push(node);
                left.retain(|worker| worker.node != node);
            }
            assert_eq!(placed, wanted);
        }
    }
}
