//! Work at the nodes that this one knows: it is asked for by long polls, and what became of it is reported there. What
//! they answer is data: bounded, and only tasks that were asked for are taken.

use super::NotDone;
use crate::driver::Handle;
use crate::link::{Asked, Pool, Unanswered, can_be_asked};
use comity_core::id::NodeId;
use comity_core::peers::PeerView;
use comity_core::task::{LEASE_MAX, Leased};
use comity_core::wire::control::{GivenTask, Work};
use comity_core::wire::mesh::task::{BODY_MAX, Claim};
use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Map, Value, json};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Nodes that are asked for work at once, at most.
const ASKED_MAX: usize = 16;

/// How much longer than its wait a claim may take to be answered.
const GRACE: Duration = Duration::from_secs(5);

/// How long a report may take.
const REPORT_TIME: Duration = Duration::from_secs(10);

/// Largest answer to a claim, bytes: what one claim may carry, and what one more may add.
const CLAIMED_MAX: usize = 2 * BODY_MAX;

/// Largest answer to a report, bytes: some hundred for each of its entries.
const REPORTED_MAX: usize = 256 * 1024;

/// The path at which nodes are asked for work.
const CLAIM: &str = "/mesh/compute/claim";

/// The nodes that this one knows, as keepers of tasks.
pub(super) struct Elsewhere {
    handle: Handle,
    pool: Pool,
    /// Who gave work last. A lock and not a message: it is held to read or write one key.
    giver: Mutex<Option<NodeId>>,
}

impl Elsewhere {
    pub(super) fn new(handle: Handle, pool: Pool) -> Self {
        Self { handle, pool, giver: Mutex::default() }
    }

    /// Work from whoever gave some last, at once: it is likely to have more.
    pub(super) async fn last_giver(&self, claim: &Claim) -> Option<Vec<GivenTask>> {
        let giver = (*self.giver.lock().unwrap_or_else(PoisonError::into_inner))?;
        let peer = self.keeper(giver)?;
        let tasks = self.claim_of(&peer, claim).await;
        if tasks.is_none() {
            *self.giver.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        tasks
    }

    /// Work from the first who has some; `None` when nobody has.
    pub(super) async fn claim(&self, claim: &Claim) -> Option<Vec<GivenTask>> {
        let keepers = self.keepers();
        let mut asked: FuturesUnordered<_> = keepers.iter().map(|peer| self.claim_of(peer, claim)).collect();
        while let Some(answered) = asked.next().await {
            let Some(mut tasks) = answered else { continue };
            // Who has answered meanwhile is not passed over: what is too much the worker gives back.
            while let Some(Some(more)) = asked.next().now_or_never() {
                tasks.extend(more.into_iter().flatten());
            }
            return Some(tasks);
        }
        None
    }

    async fn claim_of(&self, peer: &PeerView, claim: &Claim) -> Option<Vec<GivenTask>> {
        let key = peer.key?;
        let body = written(claim).to_string();
        let request = Asked::Post(CLAIM.into(), body.into());
        let answered = self.pool.ask(peer, &request, claim.wait + GRACE, CLAIMED_MAX).await;
        let body = answered.inspect_err(|why| tracing::debug!(node = %key, %why, "no work from a node")).ok()?;
        let read = serde_json::from_slice::<Work>(&body);
        let work = read.inspect_err(|_| tracing::debug!(node = %key, "what a node gives cannot be read")).ok()?;
        let is_wanted = |task: &GivenTask| claim.offer.capabilities.contains(&task.capability);
        let tasks: Vec<_> = work.tasks.into_iter().filter(is_wanted).take(claim.wanted).collect();
        if tasks.is_empty() {
            return None;
        }
        *self.giver.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
        let bounded = |task: GivenTask| GivenTask {
            node: Some(key.to_string()),
            lease_seconds: task.lease_seconds.clamp(1, LEASE_MAX.as_secs()),
            ..task
        };
        Some(tasks.into_iter().map(bounded).collect())
    }

    /// Says something to the node that keeps a task: what it answers, as JSON.
    pub(super) async fn tell(&self, node: &str, path: String, body: Value) -> Result<Value, NotDone> {
        let away = |why: &str| NotDone::Away { node: node.to_owned(), why: why.to_owned() };
        let peer = node.parse::<NodeId>().ok().and_then(|key| self.keeper(key));
        let peer = peer.ok_or_else(|| away("it is away, or not known here"))?;
        let request = Asked::Post(path.into(), body.to_string().into());
        let answered = self.pool.ask(&peer, &request, REPORT_TIME, REPORTED_MAX).await;
        let body = answered.map_err(|why| match why {
            // It has read what was said, and would refuse it again.
            Unanswered::Status(status @ (400 | 413 | 422)) => NotDone::Unwanted { node: node.to_owned(), status },
            why => away(&why.to_string()),
        })?;
        serde_json::from_slice(&body).map_err(|_| away("its answer cannot be read"))
    }

    /// The known node of this key, if it is there.
    fn keeper(&self, key: NodeId) -> Option<PeerView> {
        let view = self.handle.last_view();
        view.peers.iter().find(|peer| peer.key == Some(key) && can_be_asked(&view, peer)).cloned()
    }

    /// The known nodes that are there, as many as are asked at once.
    fn keepers(&self) -> Vec<PeerView> {
        let view = self.handle.last_view();
        view.peers.iter().filter(|peer| can_be_asked(&view, peer)).take(ASKED_MAX).cloned().collect()
    }
}

/// A claim as it goes over the wire.
fn written(claim: &Claim) -> Value {
    let properties: Map<String, Value> =
        claim.offer.properties.iter().map(|(name, has)| (name.clone(), has.to_json())).collect();
    json!({
        "capabilities": claim.offer.capabilities,
        "properties": properties,
        "wanted": claim.wanted,
        "wait_ms": u64::try_from(claim.wait.as_millis()).unwrap_or(u64::MAX),
        "slots_free": claim.slots_free,
        "load": claim.load,
    })
}

/// A task of this node's own queue, for a worker beside it; `None`: what is kept of it is damaged.
pub(super) fn given(leased: &Leased) -> Option<GivenTask> {
    let task = &leased.task;
    Some(GivenTask {
        node: None,
        id: leased.id.0,
        kind: task.kind.clone(),
        capability: task.capability.clone(),
        payload: serde_json::from_str(&task.payload).ok()?,
        token: leased.token,
        attempt: leased.attempt,
        lease_seconds: task.lease.as_secs(),
        submitted_by: task.submitted_by.clone(),
    })
}
