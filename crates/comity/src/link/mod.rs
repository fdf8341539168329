//! Connections to other nodes: the listening port, links between nodes, dials, and requests to
//! peers that have no links. Bytes become domain values here and go to the driver; what a node
//! does with them is decided in `comity_core::node`. See "Links" in `protocols/local-network.md`.

mod body;
mod dial;
pub(crate) mod gossip;
mod hello;
mod listen;
mod mesh;
mod pool;
mod post;
mod rtc;
mod stream;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use listen::{Caller, Limits, Speaks, listen};
pub(crate) use mesh::{Packets, accept_key, upgrade_headers};
pub(crate) use pool::{Asked, Pool, can_be_asked};
pub(crate) use post::{Requests, Unanswered, Whom};
pub(crate) use rtc::{Declined, Ice, OfferedBy, SIGNALING, Server, relay_tls};
pub(crate) use stream::{Admits, Giver, NoStream, Received, socket_config};
pub(crate) use tls::{OriginCertificate, Tls};

use crate::driver::Handle;
use axum::Router;
use comity_core::card::Card;
use comity_core::channel::Channel;
use comity_core::envelope::Message;
use comity_core::id::{DialId, LinkId, NodeId};
use comity_core::node::Boot;
use comity_core::peers::Way;
use comity_core::wire::frame::{Frame, Hello};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

/// Writes that wait for one link's writer, at most. Each may hold many messages: how many messages
/// are under way is bounded by the rules, which wait for `Input::Written`.
pub(crate) const WRITES_MAX: usize = 256;

/// POSTs under way to peers without links, at most; each holds a socket for up to five seconds.
const POSTS_MAX: usize = 64;

/// Most memory of messages and control frames that were read and that the driver has not taken yet,
/// bytes, over all links. Less slows many busy links down; more is what peers can make a node hold whose disk is
/// behind.
const ROOM: usize = 64 * 1024 * 1024;

/// A link that is up: both hellos are through. Its reader speaks only after this was handed over.
#[derive(Debug)]
pub(crate) struct Established {
    /// The new link.
    pub(crate) id: LinkId,
    /// The dial that made it; `None` when the other side dialled.
    pub(crate) dial: Option<DialId>,
    /// The key that the other side proved.
    pub(crate) key: NodeId,
    /// The other side's address.
    pub(crate) remote: SocketAddr,
    /// What its packets go through.
    pub(crate) way: Way,
    /// What the other side said of itself; its signature was checked.
    pub(crate) card: Box<Card>,
    /// The other side's start.
    pub(crate) boot: Boot,
    /// What the other side listens to, and whether without background messages.
    pub(crate) subscriptions: Vec<(Channel, bool)>,
    /// What this node said of itself: the driver tells what has changed since.
    pub(crate) ours: Arc<Hello>,
    /// Takes what is to be written. When the last sender is dropped, the link closes.
    pub(crate) writer: mpsc::Sender<Write>,
}

/// What a link's writer is told.
#[derive(Debug)]
pub(crate) enum Write {
    /// Send these, in this order.
    Messages(Vec<Arc<Message>>),
    /// Send this control frame after what was told before.
    Frame(Frame),
    /// Close, after what was told before.
    Close {
        /// Whether to say goodbye.
        goodbye: bool,
    },
}

/// All that the links of one node share. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Links(Arc<Shared>);

struct Shared {
    handle: Handle,
    tls: Tls,
    posts: Semaphore,
    room: Arc<Semaphore>,
    rtc: rtc::Rtc,
    streams: stream::Streams,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Links")
    }
}

impl Links {
    /// The links of the node behind `handle`. They end when the node does. Without `ice` there are none by
    /// WebRTC.
    pub(crate) fn new(handle: Handle, tls: Tls, ice: Option<Ice>) -> Self {
        let (posts, room) = (Semaphore::new(POSTS_MAX), Arc::new(Semaphore::new(ROOM)));
        let (rtc, streams, tasks) = (rtc::Rtc::new(ice), stream::Streams::default(), TaskTracker::new());
        Self(Arc::new(Shared { handle, tls, posts, room, rtc, streams, tasks }))
    }

    /// The routes by which other nodes open links and streams to this one.
    pub(crate) fn router(&self) -> Router {
        let links = Router::new().route(mesh::PATH, axum::routing::get(mesh::accept));
        links.route(stream::PATH, axum::routing::get(stream::accept)).with_state(self.clone())
    }

    /// Waits in line for files from other nodes; `None` when too many wait.
    pub(crate) fn wait_for_files(&self, admits: Admits) -> Option<stream::Waiting> {
        self.0.streams.wait(admits)
    }

    /// Waits until every link, dial and POST has ended; the node was stopped before.
    pub(crate) async fn ended(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn refused(&self, cause: Cause) {
        self.0.handle.counters().turned_away(cause.name());
    }

    /// Runs a task that ends with the node.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.0.handle.stop().clone();
        drop(self.0.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        }));
    }
}

/// Why a connection was refused or cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// All seats for connections were taken.
    Full,
    /// All seats for one address were taken.
    FullAddress,
    /// The system had no socket left.
    NoSocket,
    /// A client did not finish its handshake or the head of its request in time.
    Slow,
    /// A TLS handshake failed.
    Handshake,
    /// A client broke HTTP.
    Http,
    /// A link's hello was late, wrong, or of another version.
    Hello,
    /// A node with our own key answered.
    Twin,
    /// A link sent what is not the link protocol.
    Malformed,
    /// A WebRTC candidate named an address that is not tried.
    Candidate,
    /// A WebRTC offer or its signature was no good.
    Signal,
}

impl Cause {
    /// The name in the metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::FullAddress => "full_address",
            Self::NoSocket => "no_socket",
            Self::Slow => "slow",
            Self::Handshake => "handshake",
            Self::Http => "http",
            Self::Hello => "hello",
            Self::Twin => "twin",
            Self::Malformed => "malformed",
            Self::Candidate => "candidate",
            Self::Signal => "signal",
        }
    }
}
