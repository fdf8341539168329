//! What is to be said about tasks, in order, until it has been said: the connections take only so much at once. A later
//! word of the same kind about a task takes the place of an earlier one, so that there are never more than tasks.

use comity_core::claim::{Task, Word};
use comity_core::id::NodeId;
use serde_json::Value;
use std::collections::BTreeMap;

/// How often a word is tried that the connections do not take. The rules bring it again anyway.
const TRIES_MAX: u8 = 5;

/// Something to be said.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Saying {
    /// A word of the rules.
    Word(Word),
    /// How far this node is with a task.
    Progress(Task, Value),
}

/// Of which one about a task is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Stands,
    Claim,
    Finish,
    Progress,
}

/// A bare claim has no announcer; this node says none.
type Key = (Option<NodeId>, comity_core::claim::TaskId, Sort);

/// What waits, the next first.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: BTreeMap<u64, (Key, Saying, u8)>,
    places: BTreeMap<Key, u64>,
    next: u64,
}

impl Outbox {
    /// Takes something up: in the place of what it is instead of, else last.
    pub(super) fn put(&mut self, saying: Saying) {
        let key = key(&saying);
        let at = *self.places.entry(key.clone()).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.waiting.insert(at, (key, saying, 0));
    }

    /// What is to be said next; it is gone then.
    pub(super) fn pop(&mut self) -> Option<(Saying, u8)> {
        let (_, (key, saying, tries)) = self.waiting.pop_first()?;
        self.places.remove(&key);
        Some((saying, tries))
    }

    /// Takes back what was not taken, to be said first unless there is a later word in its place; `false` when it was
    /// tried too often.
    pub(super) fn put_back(&mut self, saying: Saying, tries: u8) -> bool {
        let key = key(&saying);
        if tries + 1 >= TRIES_MAX {
            return false;
        }
        if !self.places.contains_key(&key) {
            let first = self.waiting.first_key_value().map_or(self.next, |(at, _)| at.saturating_sub(1));
            // What was popped left this place free.
            self.places.insert(key.clone(), first);
            self.waiting.insert(first, (key, saying, tries + 1));
        }
        true
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn key(saying: &Saying) -> Key {
    match saying {
        Saying::Word(Word::Stands { id, .. }) => (None, id.clone(), Sort::Stands),
        Saying::Word(Word::Claim { announcer, id, .. }) => (*announcer, id.clone(), Sort::Claim),
        Saying::Word(Word::Finish { task, .. }) => (Some(task.announcer), task.id.clone(), Sort::Finish),
        Saying::Progress(task, _) => (Some(task.announcer), task.id.clone(), Sort::Progress),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use comity_core::claim::{Lease, Standing, TaskId};
    use serde_json::json;

    fn stands(id: &str, lease: u64) -> Saying {
        let id = TaskId::new(id).expect("an id");
        Saying::Word(Word::Stands { id, lease: Lease(lease), standing: Standing::Open, content: None })
    }

    #[test]
    fn a_later_word_takes_the_place_of_an_earlier_one() {
        let mut outbox = Outbox::default();
        let task = Task { announcer: NodeId::from_bytes([1; 32]), id: TaskId::new("a").expect("an id") };
        for saying in [stands("a", 1), stands("b", 1), Saying::Progress(task, json!(1)), stands("a", 2)] {
            outbox.put(saying);
        }
        assert_eq!(outbox.pop(), Some((stands("a", 2), 0)));
        assert_eq!(outbox.pop(), Some((stands("b", 1), 0)));
        assert!(!outbox.is_empty() && outbox.pop().is_some() && outbox.is_empty() && outbox.pop().is_none());
        assert!(outbox.places.is_empty());
    }

    #[test]
    fn what_was_not_taken_comes_first_again_until_it_was_tried_too_often() {
        let mut outbox = Outbox::default();
        for saying in [stands("a", 1), stands("b", 1), stands("c", 1)] {
            outbox.put(saying);
        }
        for tries in 0..TRIES_MAX - 1 {
            assert_eq!(outbox.pop(), Some((stands("a", 1), tries)));
            assert!(outbox.put_back(stands("a", 1), tries));
        }
        let (saying, tries) = outbox.pop().expect("it waits");
        outbox.put(stands("d", 1));
        assert!(!outbox.put_back(saying, tries));
        let rest: Vec<_> = std::iter::from_fn(|| outbox.pop()).map(|(saying, _)| saying).collect();
        assert_eq!(rest, [stands("b", 1), stands("c", 1), stands("d", 1)]);
        // Unless there is a later word.
        outbox.put(stands("a", 1));
        let (saying, tries) = outbox.pop().expect("it waits");
        outbox.put(stands("a", 2));
        assert!(outbox.put_back(saying, tries));
        assert_eq!((outbox.pop(), outbox.pop()), (Some((stands("a", 2), 0)), None));
    }
}
