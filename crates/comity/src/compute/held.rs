//! The tasks that workers beside this node have at hand, of whichever queue, so that the node can say how busy it is.
//! It decides nothing: leases are kept where the tasks are.

use comity_core::wire::control::{GivenTask, WorkReport};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Tasks that are counted at most, some hundred bytes each: far more than the workers of one machine have slots.
const HELD_MAX: usize = 10_000;

/// One task at hand.
#[derive(Debug, Clone, Copy)]
struct Lease {
    length: Duration,
    until: Instant,
}

/// What is at hand. A lock and not a message: it is held to note a task, or to count.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<BTreeMap<Uuid, Lease>>);

impl Held {
    /// A worker was given these.
    pub(super) fn begin(&self, tasks: &[GivenTask]) {
        let (mut held, now) = (self.lock(), Instant::now());
        for task in tasks {
            if held.len() >= HELD_MAX {
                held.retain(|_, lease| lease.until > now);
            }
            if held.len() < HELD_MAX {
                let length = Duration::from_secs(task.lease_seconds);
                held.insert(task.id, Lease { length, until: now + length });
            }
        }
    }

    /// A worker said this.
    pub(super) fn hear(&self, report: &WorkReport) {
        let (mut held, now) = (self.lock(), Instant::now());
        let leases = report.leases.iter().map(|lease| lease.id);
        for id in leases.chain(report.progress.iter().map(|progress| progress.id)) {
            if let Some(lease) = held.get_mut(&id) {
                lease.until = now + lease.length;
            }
        }
        let done = report.done.iter().map(|done| done.id);
        for id in done.chain(report.failed.iter().map(|failed| failed.id)) {
            held.remove(&id);
        }
    }

    /// How many there are; those of workers that died count until their leases end.
    pub(super) fn count(&self) -> usize {
        let (mut held, now) = (self.lock(), Instant::now());
        held.retain(|_, lease| lease.until > now);
        held.len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use comity_core::wire::control;
    use serde_json::Value;

    fn task(id: u128) -> GivenTask {
        GivenTask {
            node: None,
            id: Uuid::from_u128(id),
            kind: "tool".to_owned(),
            capability: "sum".to_owned(),
            payload: Value::Null,
            token: 1,
            attempt: 1,
            lease_seconds: 60,
            submitted_by: "me".to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_count_from_when_they_are_given_until_they_end_or_are_not_heard_of_any_more() {
        let held = Held::default();
        assert_eq!(held.count(), 0);
        held.begin(&[task(1), task(2), task(3)]);
        assert_eq!(held.count(), 3);
        let done = control::DoneWork { id: Uuid::from_u128(1), token: 1, result: Value::Null };
        held.hear(&WorkReport { done: vec![done], ..WorkReport::default() });
        assert_eq!(held.count(), 2);
        tokio::time::advance(Duration::from_secs(40)).await;
        let lease = |id| control::Lease { id: Uuid::from_u128(id), token: 1 };
        held.hear(&WorkReport { leases: vec![lease(2), lease(9)], ..WorkReport::default() });
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(held.count(), 1, "one was renewed, and of the other its worker says nothing");
    }
}
