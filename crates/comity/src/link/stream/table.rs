//! Which links are up, who waits for files, which calls wait for their stream, and how many streams there are.

use super::{Packeted, Stream};
use crate::link::Write;
use comity_core::id::{LinkId, NodeId};
use comity_core::identity::trust::Trust;
use comity_core::peers::Way;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Streams with one node at once, in both directions. What nobody reads of them yet waits in its connection, which
/// holds 12 MiB for all of them.
const WITH_ONE_MAX: usize = 4;

/// Streams of a node at once.
const ALL_MAX: usize = 64;

/// Commands that may wait for files at once.
const WAITING_MAX: usize = 64;

/// A link that is up, as far as streams care.
#[derive(Clone)]
pub(crate) struct Up {
    pub(crate) key: NodeId,
    pub(crate) remote: SocketAddr,
    pub(crate) way: Way,
    /// This side dialled, and so can dial again.
    pub(crate) dialed: bool,
    /// Weak: the link closes when its owner drops the writer.
    pub(crate) writer: mpsc::WeakSender<Write>,
}

/// Whose files a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admits {
    /// Those of known nodes.
    Known,
    /// Those of this node.
    One(NodeId),
    /// Everybody's whose key is proven.
    Anyone,
}

/// Who sends.
#[derive(Debug, Clone)]
pub(crate) struct Giver {
    /// The key that was proven.
    pub(crate) key: NodeId,
    /// Its name, as it says.
    pub(crate) name: Option<String>,
    /// How far it can be trusted.
    pub(crate) trust: Trust,
}

/// A stream that another node opened, and which.
pub(crate) struct Received {
    pub(crate) stream: Stream,
    pub(crate) from: Giver,
}

/// A place in the line of those who wait for files.
pub(crate) type Waiting = oneshot::Receiver<Received>;

/// The streams of a node.
#[derive(Default)]
pub(crate) struct Streams {
    // A lock and not a message: links, doors and dropped streams look in for a moment each.
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    up: BTreeMap<LinkId, Up>,
    waiting: VecDeque<(Admits, oneshot::Sender<Received>)>,
    calls: BTreeMap<Uuid, (NodeId, oneshot::Sender<Packeted>)>,
    open: BTreeMap<NodeId, (usize, CancellationToken)>,
    all: usize,
}

/// A stream's place, given back when it is dropped.
pub(crate) struct Seat {
    key: NodeId,
    unlinked: CancellationToken,
    table: Arc<Mutex<Table>>,
}

impl Seat {
    /// Ends when no link with the other node is up any more.
    pub(crate) async fn unlinked(&self) {
        self.unlinked.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.all -= 1;
        if let Some((count, _)) = table.open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                table.open.remove(&self.key);
            }
        }
    }
}

impl Streams {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link is up.
    pub(crate) fn link_up(&self, link: LinkId, up: Up) {
        self.table().up.insert(link, up);
    }

    /// A link is no longer up. The streams with its node end with the last one.
    pub(crate) fn link_down(&self, link: LinkId) {
        let mut table = self.table();
        let Some(Up { key, .. }) = table.up.remove(&link) else { return };
        if !table.up.values().any(|up| up.key == key)
            && let Some((_, unlinked)) = table.open.get(&key)
        {
            unlinked.cancel();
        }
    }

    /// The link that this is, if it is up.
    pub(crate) fn link(&self, link: LinkId) -> Option<Up> {
        self.table().up.get(&link).cloned()
    }

    /// Whether a link with this node is up.
    pub(crate) fn is_up(&self, key: NodeId) -> bool {
        self.table().up.values().any(|up| up.key == key)
    }

    /// The link with this node by which a stream is opened best.
    pub(crate) fn link_with(&self, key: NodeId) -> Option<Up> {
        let table = self.table();
        let links = table.up.values().filter(|up| up.key == key);
        links.min_by_key(|up| (up.way != Way::Mesh, !up.dialed)).cloned()
    }

    /// A place for one more stream with this node.
    pub(crate) fn seat(&self, key: NodeId) -> Option<Seat> {
        let mut table = self.table();
        if table.all >= ALL_MAX || !table.up.values().any(|up| up.key == key) {
            return None;
        }
        let (count, unlinked) = table.open.entry(key).or_default();
        if unlinked.is_cancelled() {
            // The last ones end with the link that went; this one belongs to the link that came.
            *unlinked = CancellationToken::new();
        }
        if *count >= WITH_ONE_MAX {
            return None;
        }
        *count += 1;
        let unlinked = unlinked.clone();
        table.all += 1;
        Some(Seat { key, unlinked, table: Arc::clone(&self.table) })
    }

    /// Waits in line for a stream; `None` when too many wait.
    pub(crate) fn wait(&self, admits: Admits) -> Option<Waiting> {
        let mut table = self.table();
        table.waiting.retain(|(_, waiting)| !waiting.is_closed());
        if table.waiting.len() >= WAITING_MAX {
            return None;
        }
        let (sender, waiting) = oneshot::channel();
        table.waiting.push_back((admits, sender));
        Some(waiting)
    }

    /// The first in line who takes files from there; else whether anybody waits at all.
    pub(super) fn waiting_for(&self, from: &Giver) -> Result<oneshot::Sender<Received>, bool> {
        let mut table = self.table();
        table.waiting.retain(|(_, waiting)| !waiting.is_closed());
        let admits = |admits: &Admits| match admits {
            Admits::Known => from.trust == Trust::Known,
            Admits::One(key) => *key == from.key,
            Admits::Anyone => true,
        };
        let first = table.waiting.iter().position(|(wanted, _)| admits(wanted));
        let somebody = !table.waiting.is_empty();
        first.and_then(|first| table.waiting.remove(first)).map(|(_, waiting)| waiting).ok_or(somebody)
    }

    pub(super) fn expect_call(&self, call: Uuid, key: NodeId, reply: oneshot::Sender<Packeted>) {
        self.table().calls.insert(call, (key, reply));
    }

    pub(super) fn forget_call(&self, call: Uuid) {
        self.table().calls.remove(&call);
    }

    /// The stream of a call has come.
    pub(super) fn answer(&self, key: NodeId, call: Uuid, packets: Packeted) {
        let mut table = self.table();
        if table.calls.get(&call).is_some_and(|(called, _)| *called == key)
            && let Some((_, reply)) = table.calls.remove(&call)
        {
            // Err: nobody waits for it any more.
            drop(reply.send(packets));
        }
    }
}
