//! Asking several nodes at once: first those near whose documents the question lies, and where one of them is late or
//! fails, the next best too. How near, and how late, is decided in `comity_core::registry`. See "Routing" in
//! `protocols/mesh.md`.

use super::asking::freshness;
use super::{Mesh, Target};
use comity_core::basin::merge::Answered;
use comity_core::id::NodeId;
use comity_core::registry::latency::Latencies;
use comity_core::registry::profile::NodeName;
use comity_core::registry::routing::{Candidate, route};
use comity_core::wire::mesh::query::{NodeFailed, Query};
use futures_util::future::join_all;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Nodes that one question goes to at first, at most.
const FANOUT: usize = 16;

/// What is kept of a question's time for making one answer of many, so that it is told in time.
const MERGING: Duration = Duration::from_millis(10);

/// How long nodes take to answer. A lock and not a message: it is held for a look into a map.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Latencies>);

/// Nodes that are to be asked.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// At once.
    pub(super) first: Vec<Target>,
    /// In place of those that are late, the best first.
    pub(super) spare: VecDeque<Target>,
}

/// What came of asking them.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// What they have.
    pub(super) answered: Vec<Answered>,
    /// Who has not answered, and why.
    pub(super) failed: Vec<NodeFailed>,
}

impl Pace {
    /// Notes how long a node took, or was waited for.
    pub(super) fn note(&self, node: &NodeId, took: Duration) {
        self.locked().note(&name(node), took);
    }

    fn locked(&self) -> MutexGuard<'_, Latencies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until when nodes may answer a question of this time.
pub(super) fn until(begun: Instant, timeout: Duration) -> Instant {
    begun + timeout - MERGING.min(timeout / 10)
}

fn name(node: &NodeId) -> NodeName {
    NodeName::new(&node.to_string()).expect("a node id is 51 visible characters")
}

impl Mesh {
    /// Of nodes that could be asked those that a question at this point goes to.
    pub(super) fn routed(&self, unit: &[f32], targets: Vec<Target>) -> Round {
        let elsewhere = self.0.elsewhere.borrow();
        let mut by_name: BTreeMap<String, Target> =
            targets.into_iter().filter_map(|target| Some((target.peer.key?.to_string(), target))).collect();
        let pace = self.0.pace.locked();
        let candidate = |(node, target): (_, &Target)| {
            let key = target.peer.key?;
            let centroids = elsewhere.get(&key).map_or(&[][..], Vec::as_slice);
            let latency = pace.estimate(&name(&key));
            let freshness = freshness(Some(target.peer.presence));
            Some(Candidate { node, service_name: "", centroids, freshness, latency })
        };
        let candidates: Vec<Candidate<'_>> =
            by_name.iter().filter_map(|(node, target)| candidate((node.as_str(), target))).collect();
        let chosen = route(unit, &candidates, usize::MAX);
        let mut ranked: VecDeque<Target> =
            chosen.into_iter().filter_map(|choice| by_name.remove(&choice.node)).collect();
        let spare = ranked.split_off(ranked.len().min(FANOUT));
        Round { first: ranked.into(), spare }
    }

    /// Asks them, until all have answered or the question's time is over.
    pub(super) async fn ask_all(&self, round: Round, (query, until): (&Query, Instant)) -> Heard {
        let spare = Mutex::new(round.spare);
        let asked = round.first.into_iter().map(|target| self.ask_hedged(target, &spare, (query, until)));
        let mut heard = Heard::default();
        for one in join_all(asked).await.into_iter().flatten() {
            match one {
                Ok(one) => heard.answered.push(one),
                Err(one) => heard.failed.push(one),
            }
        }
        heard
    }

    /// Asks one node, and another one too when it is late or fails.
    async fn ask_hedged(
        &self,
        target: Target,
        spare: &Mutex<VecDeque<Target>>,
        (query, until): (&Query, Instant),
    ) -> Vec<Result<Answered, NodeFailed>> {
        let late = target.peer.key.map(|key| self.0.pace.locked().hedge_after(&name(&key))).unwrap_or(query.timeout);
        let first = self.ask(target, query, until);
        tokio::pin!(first);
        let early = timeout(late, &mut first).await;
        if let Ok(Ok(answered)) = early {
            return vec![Ok(answered)];
        }
        let next = spare.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let second = async {
            match next {
                Some(next) => Some(self.ask(next, query, until).await),
                None => None,
            }
        };
        let (first, second) = match early {
            Ok(failed) => (failed, second.await),
            Err(_) => tokio::join!(first, second),
        };
        [Some(first), second].into_iter().flatten().collect()
    }
}
