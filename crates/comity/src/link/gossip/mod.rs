//! Gossip: topics that spread from node to node without a broker, by libp2p's GossipSub under the node's own key. Its
//! TCP connections come and go by the node's one port, told apart by their first byte. What a message means, and
//! whether it is passed on, is decided above. See `protocols/pubsub.md`.

mod gate;
pub mod memory;
mod parts;
mod pong;
mod reach;
mod run;
#[cfg(test)]
mod tests;
mod transport;

pub(crate) use transport::{Accepted, door};

use crate::config::Gossip as Config;
use crate::observe::Counters;
use comity_core::id::{Libp2pId, NodeId};
use comity_core::identity::key::KeyPair;
use gate::Gate;
use ipnet::IpNet;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, Swarm, gossipsub};
use parts::Parts;
use reach::Reach;
use run::Runner;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use transport::{address_of, quic_address_of};

/// Orders that wait for libp2p, at most: who orders more waits.
const ORDERS_MAX: usize = 256;

/// What the node has not taken yet, at most: the validation queue of the protocol.
const TOLD_MAX: usize = 256;

/// The first byte of a libp2p connection: the length of `/multistream/1.0.0` and a line end (multistream-select).
pub(crate) const FIRST_BYTE: u8 = 0x13;

/// What libp2p is told to do.
#[derive(Debug)]
enum Order {
    Join(String),
    Leave(String),
    Publish { topic: String, data: Vec<u8>, reply: oneshot::Sender<Result<(), NotPublished>> },
    Listened { topic: String, reply: oneshot::Sender<bool> },
    Judge { message: gossipsub::MessageId, verdict: Verdict },
    Offer { node: NodeId, addresses: Vec<SocketAddr> },
    Locate(oneshot::Sender<Vec<String>>),
}

/// What libp2p tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A message came, signed by its author. It is not passed on until it is judged.
    Heard(Heard),
    /// A connection with a node is up: it proved its key.
    Met(Met),
    /// A node that is connected began to listen to this topic, to which this node listens too.
    Listens(String),
    /// The last connection with a node is gone.
    Parted(NodeId),
}

/// A message of a topic.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    id: gossipsub::MessageId,
    /// Who wrote and signed it, with whichever kind of key.
    pub(crate) author: Libp2pId,
    /// What its author counts it by.
    pub(crate) sequence: u64,
    /// On which topic.
    pub(crate) topic: String,
    /// What it says.
    pub(crate) data: Vec<u8>,
    /// The address of whoever brought it, or of the relay by which it came; unspecified where that is not known.
    pub(crate) brought_from: IpAddr,
}

/// A connection with a node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Met {
    /// Who.
    pub(crate) node: NodeId,
    /// Where this node reached a node of its own kind by TCP; `None` until that is known, and of all others.
    pub(crate) reached_at: Option<SocketAddr>,
    /// Whether this node dialled.
    pub(crate) dialed: bool,
}

/// What becomes of a message that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is passed on.
    Good,
    /// It is not passed on, and that is nobody's fault.
    NotNow,
    /// It is not passed on, and counts against whoever brought it.
    Bad,
}

/// Why a message was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPublished {
    /// Nobody that this node is connected with listens to the topic.
    #[error("nobody who can be reached listens to that topic")]
    Nobody,
    /// It is larger than a frame may be.
    #[error("it is too large")]
    TooLarge,
    /// Every peer is too slow to take more.
    #[error("all peers are too slow to take more")]
    Full,
    /// It was said before, or libp2p refuses it.
    #[error("it cannot be published")]
    Refused,
    /// The node ends.
    #[error("the node is leaving")]
    Leaving,
}

/// What the node holds of its gossip. Cloning shares it; when the last is dropped, the connections end.
#[derive(Debug, Clone)]
pub(crate) struct Gossip(mpsc::Sender<Order>);

impl Gossip {
    /// Starts it: what listens on the one port comes by `accepted`. The task is given back to be run.
    pub(crate) fn start(
        keys: &KeyPair,
        config: Config,
        place: Place,
        accepted: mpsc::Receiver<Accepted>,
        counters: Counters,
    ) -> io::Result<(Self, mpsc::Receiver<Told>, impl Future<Output = ()> + Send + use<>)> {
        let reach = Arc::new(Reach::new(place.is_on_loopback(), place.private.clone()));
        let gate = Gate::new(counters);
        let swarm = parts::swarm(&key(keys)?, &config, accepted, Arc::clone(&reach), gate.clone())?;
        Ok(Self::begin(swarm, config, reach, place, gate))
    }

    /// What is the same whatever the connections go by: it listens at this place.
    fn begin(
        swarm: Swarm<Parts>,
        config: Config,
        reach: Arc<Reach>,
        place: Place,
        gate: Gate,
    ) -> (Self, mpsc::Receiver<Told>, impl Future<Output = ()> + Send + use<>) {
        let (order, orders) = mpsc::channel(ORDERS_MAX);
        let (tell, told) = mpsc::channel(TOLD_MAX);
        let runner = Runner::new(swarm, config, reach, (orders, tell), gate);
        (Self(order), told, runner.run(place))
    }

    /// Listens to a topic from now on.
    pub(crate) async fn join(&self, topic: String) {
        self.order(Order::Join(topic)).await;
    }

    /// Listens no more, and frees what the topic held.
    pub(crate) async fn leave(&self, topic: String) {
        self.order(Order::Leave(topic)).await;
    }

    /// Says this to all who listen to the topic.
    pub(crate) async fn publish(&self, topic: String, data: Vec<u8>) -> Result<(), NotPublished> {
        let (reply, published) = oneshot::channel();
        self.order(Order::Publish { topic, data, reply }).await;
        published.await.unwrap_or(Err(NotPublished::Leaving))
    }

    /// Whether anybody who is connected listens to the topic: else nothing can be published there.
    pub(crate) async fn is_listened_to(&self, topic: String) -> bool {
        let (reply, listened) = oneshot::channel();
        self.order(Order::Listened { topic, reply }).await;
        listened.await.unwrap_or(false)
    }

    /// Says what becomes of a message.
    pub(crate) async fn judge(&self, heard: &Heard, verdict: Verdict) {
        self.order(Order::Judge { message: heard.id.clone(), verdict }).await;
    }

    /// Names a node that was found otherwise, at addresses that the dial guard permits.
    pub(crate) async fn offer(&self, node: NodeId, addresses: Vec<SocketAddr>) {
        self.order(Order::Offer { node, addresses }).await;
    }

    /// Where others reach this node by libp2p, as they write it: with its PeerId, and by relays, too.
    pub(crate) async fn addresses(&self) -> Vec<String> {
        let (reply, located) = oneshot::channel();
        self.order(Order::Locate(reply)).await;
        // Err: the node is leaving, and is reached nowhere.
        located.await.unwrap_or_default()
    }

    async fn order(&self, order: Order) {
        // Err: it has ended with the node.
        let _ = self.0.send(order).await;
    }
}

/// Where gossip takes place.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The one port as others reach it, and QUIC at the same ports.
    listens: Vec<Multiaddr>,
    /// Where the one port is reached.
    reached: Vec<SocketAddr>,
    /// Addresses that are never dialled: the node's own doors.
    private: Vec<SocketAddr>,
}

impl Place {
    /// The place of a node with these network doors, on a machine with these addresses.
    pub(crate) fn new(bound: &[SocketAddr], interfaces: &[IpNet], private: Vec<SocketAddr>) -> Self {
        // On a machine without a network its own nodes still reach each other.
        let alone = interfaces.iter().all(|net| net.addr().is_loopback());
        let far = |net: &&IpNet| alone || !net.addr().is_loopback();
        let reached = |door: &SocketAddr| -> Vec<SocketAddr> {
            if !door.ip().is_unspecified() {
                return vec![*door];
            }
            let same = interfaces.iter().filter(far).filter(|net| net.addr().is_ipv4() == door.is_ipv4());
            same.map(|net| SocketAddr::new(net.addr(), door.port())).collect()
        };
        let reached: Vec<SocketAddr> = bound.iter().flat_map(reached).collect();
        let listens = reached.iter().copied().map(address_of).chain(bound.iter().map(quic_address_of)).collect();
        Self { listens, reached, private }
    }

    fn is_on_loopback(&self) -> bool {
        self.reached.iter().all(|address| address.ip().is_loopback())
    }
}

/// The node's key as libp2p has it.
fn key(keys: &KeyPair) -> io::Result<Keypair> {
    let mut seed = *keys.seed();
    Keypair::ed25519_from_bytes(&mut seed).map_err(io::Error::other)
}
