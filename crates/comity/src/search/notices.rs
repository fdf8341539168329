//! Tells the nodes that copy this one's documents that something has changed, as `POST /mesh/basins/broadcast`: they read it
//! at once instead of with their next round. Who read this node's log lately is told; a notice that is lost costs a
//! round's time, no more.

use super::index::Index;
use crate::driver::Handle;
use crate::link::{Asked, Pool};
use bytes::Bytes;
use comity_core::id::NodeId;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Readers that are told, at most: those who read last.
const READERS_MAX: usize = 64;

/// Rounds after which a reader that did not come again is told no more.
const ROUNDS: u32 = 5;

/// How far apart notices are: what changes meanwhile is told together.
const APART: Duration = Duration::from_millis(100);

/// How long a reader may take to hear a notice.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// Largest answer to a notice that is read, bytes.
const ANSWER_MAX: usize = 16 * 1024;

/// The path at which nodes are told.
const PATH: &str = "/mesh/basins/broadcast";

/// Who is told of changes.
pub(super) struct Notices {
    handle: Handle,
    pool: Pool,
    every: Duration,
    /// When each read this node's log last. A lock and not a message: it is held to note a reader.
    readers: Mutex<BTreeMap<NodeId, Instant>>,
}

impl Notices {
    pub(super) fn new(handle: Handle, pool: Pool, every: Duration) -> Self {
        Self { handle, pool, every, readers: Mutex::default() }
    }

    /// Notes who reads this node's log.
    pub(super) fn remember(&self, reader: NodeId) {
        let mut readers = self.readers();
        readers.insert(reader, Instant::now());
        if readers.len() > READERS_MAX
            && let Some(oldest) = readers.iter().min_by_key(|(_, at)| **at).map(|(reader, _)| *reader)
        {
            readers.remove(&oldest);
        }
    }

    /// Tells readers whenever something has changed, until the node ends.
    pub(super) async fn run(&self, index: &Index) {
        let mut changed = index.changed();
        changed.mark_unchanged();
        while changed.changed().await.is_ok() {
            let view = self.handle.look().await;
            let readers: Vec<NodeId> = {
                let mut readers = self.readers();
                let kept = (self.every * ROUNDS).max(Duration::from_secs(60));
                readers.retain(|_, at| at.elapsed() < kept);
                readers.keys().copied().collect()
            };
            let tell = |key: NodeId| {
                let peer = view.peers.iter().find(|peer| peer.key == Some(key)).cloned();
                async move {
                    let Some(peer) = peer else { return };
                    // Without the updates themselves: the reader's own cursor says exactly what it lacks.
                    let notice = Asked::Post(PATH.into(), Bytes::from_static(b"[]"));
                    if let Err(why) = self.pool.ask(&peer, &notice, TOLD_WITHIN, ANSWER_MAX).await {
                        tracing::debug!(node = %key, %why, "a reader of this node's documents is not told that some changed");
                    }
                }
            };
            join_all(readers.into_iter().map(tell)).await;
            sleep(APART).await;
        }
    }

    fn readers(&self) -> MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
