//! Connections to other nodes: the listening port, links between nodes, dials, and requests to
//! peers that have no links. Bytes become domain values here and go to the driver; what a node
//! does with them is decided in `comity_core::node`. See "Links" in `protocols/local-network.md`.

mod dial;
mod hello;
mod listen;
mod mesh;
mod post;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use listen::{Caller, Limits, listen};
pub(crate) use post::{Unanswered, Whom};
pub(crate) use tls::{BadTls, OriginCertificate, Tls};

use crate::driver::Handle;
use axum::Router;
use comity_core::card::Card;
use comity_core::channel::Channel;
use comity_core::envelope::Message;
use comity_core::id::{DialId, LinkId, NodeId};
use comity_core::node::Boot;
use comity_core::wire::frame::{Frame, Hello};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Writes that wait for one link's writer, at most. Each may hold many messages: how many messages
/// are under way is bounded by the rules, which wait for `Input::Written`.
pub(crate) const WRITES_MAX: usize = 256;

/// POSTs under way to peers without links, at most; each holds a socket for up to five seconds.
const POSTS_MAX: usize = 64;

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
    tally: Tally,
    posts: Semaphore,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Links {
    /// The links of the node behind `handle`. They end when `stop` is cancelled.
    pub(crate) fn new(handle: Handle, tls: Tls, tally: Tally, stop: CancellationToken) -> Self {
        let posts = Semaphore::new(POSTS_MAX);
        Self(Arc::new(Shared { handle, tls, tally, posts, tasks: TaskTracker::new(), stop }))
    }

    /// The route by which other nodes open links to this one.
    pub(crate) fn router(&self) -> Router {
        Router::new().route(mesh::PATH, axum::routing::get(mesh::accept)).with_state(self.clone())
    }

    /// Waits until every link, dial and POST has ended; the caller has cancelled `stop`.
    pub(crate) async fn ended(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Runs a task that ends with the links.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.0.stop.clone();
        drop(self.0.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        }));
    }
}

/// What connections and links refused, dropped or lost since the start, by cause.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Family<Label, Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    cause: Cause,
}

/// Why something was refused, dropped or lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Cause {
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
    /// A link sent what is not the link protocol, and was closed.
    Malformed,
    /// Messages of a link that could not be understood, and were dropped.
    Message,
    /// Control frames of a link that could not be understood, and were dropped.
    Frame,
    /// Messages that fit no frame, and were not sent.
    TooLarge,
}

impl Tally {
    /// Shows the counts in this registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Connections, links and messages refused, dropped or lost, by cause";
        registry.register("comity_errors_links", help, self.0.clone());
    }

    fn count(&self, cause: Cause) {
        self.add(cause, 1);
    }

    fn add(&self, cause: Cause, times: u64) {
        if times > 0 {
            self.0.get_or_create(&Label { cause }).inc_by(times);
        }
    }

    #[cfg(test)]
    fn of(&self, cause: Cause) -> u64 {
        self.0.get_or_create(&Label { cause }).get()
    }
}
