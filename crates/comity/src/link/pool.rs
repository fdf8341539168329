//! Connections to other nodes on which they are asked, kept between questions: a handshake takes longer than most
//! answers.

use super::{Links, Requests, Unanswered};
use bytes::Bytes;
use comity_core::id::NodeId;
use comity_core::node::NodeView;
use comity_core::peers::{PeerView, Presence};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Idle connections to one node, at most: more than so many questions at once are rare.
const IDLE_EACH: usize = 4;

/// Idle connections in all, at most.
const IDLE_MAX: usize = 64;

/// How long after one address the next is tried.
const APART: Duration = Duration::from_millis(25);

/// How long a connection may be idle. Nodes close theirs after some more.
const IDLE_TIME: Duration = Duration::from_secs(20);

/// Connections by the key that answers there. Cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    links: Links,
    /// A lock and not a message: it is held to take a connection, or to put it back.
    idle: Mutex<BTreeMap<NodeId, Vec<(Requests, Instant)>>>,
}

/// What is asked of a node.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// A POST of JSON.
    Post(Cow<'static, str>, Bytes),
    /// A GET.
    Get(String),
}

/// Whether a peer is a node that this one knows, and that has not left: such are asked.
pub(crate) fn can_be_asked(view: &NodeView, peer: &PeerView) -> bool {
    peer.key.is_some_and(|key| view.known.contains(&key)) && peer.presence != Presence::Offline
}

impl Pool {
    pub(crate) fn new(links: Links) -> Self {
        Self(Arc::new(Shared { links, idle: Mutex::default() }))
    }

    /// What a node answers within that time, up to so many bytes. An idle connection may have been closed at the other
    /// end just now: then it is asked once more on a new one.
    pub(crate) async fn ask(
        &self,
        peer: &PeerView,
        asked: &Asked,
        within: Duration,
        answer_max: usize,
    ) -> Result<Bytes, Unanswered> {
        let Some(key) = peer.key else { return Err(Unanswered::WrongKey) };
        let exchange = async {
            if let Some(mut open) = self.idle(key) {
                match send(&mut open, asked, answer_max).await {
                    Err(Unanswered::Unreachable) => {}
                    ended => return self.ended(key, open, ended),
                }
            }
            let mut open = self.open(peer, key).await?;
            let ended = send(&mut open, asked, answer_max).await;
            self.ended(key, open, ended)
        };
        timeout(within, exchange).await.unwrap_or(Err(Unanswered::Unreachable))
    }

    fn ended(&self, key: NodeId, open: Requests, ended: Result<Bytes, Unanswered>) -> Result<Bytes, Unanswered> {
        if ended.is_ok() {
            self.keep(key, open);
        }
        ended
    }

    /// A new connection, by the first address that takes one: while one says nothing the next is tried (RFC 8305).
    async fn open(&self, peer: &PeerView, key: NodeId) -> Result<Requests, Unanswered> {
        let attempt = async |(number, address): (u32, &SocketAddr)| {
            sleep(APART * number).await;
            self.0.links.open(*address, key).await
        };
        let mut attempts: FuturesUnordered<_> = (0..).zip(&peer.addresses).map(attempt).collect();
        let mut last = Unanswered::Unreachable;
        while let Some(opened) = attempts.next().await {
            match opened {
                Ok(open) => return Ok(open),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn idle(&self, key: NodeId) -> Option<Requests> {
        let mut idle = self.lock();
        let waiting = idle.get_mut(&key)?;
        while let Some((open, since)) = waiting.pop() {
            if open.is_open() && since.elapsed() < IDLE_TIME {
                return Some(open);
            }
        }
        idle.remove(&key);
        None
    }

    fn keep(&self, key: NodeId, open: Requests) {
        let mut idle = self.lock();
        idle.retain(|_, waiting| {
            waiting.retain(|(open, since)| open.is_open() && since.elapsed() < IDLE_TIME);
            !waiting.is_empty()
        });
        if idle.values().map(Vec::len).sum::<usize>() >= IDLE_MAX {
            return;
        }
        let waiting = idle.entry(key).or_default();
        if waiting.len() < IDLE_EACH {
            waiting.push((open, Instant::now()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Vec<(Requests, Instant)>>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send(open: &mut Requests, asked: &Asked, answer_max: usize) -> Result<Bytes, Unanswered> {
    match asked {
        Asked::Post(path, json) => open.post(path, json.clone(), answer_max).await,
        Asked::Get(path) => open.get(path, answer_max).await,
    }
}
