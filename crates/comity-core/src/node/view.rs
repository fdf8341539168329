//! What a node shows of itself: a snapshot for doors, health checks and metrics.

use super::SourceHealth;
use crate::channel::Channel;
use crate::envelope::Priority;
use crate::id::{LinkId, NodeId, PeerId};
use crate::inbox::Mode;
use crate::ledger::FateKind;
use crate::peers::{PeerView, Source, Way};
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// A snapshot of a node.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Its key.
    pub node: NodeId,
    /// Its UUID.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// What else it says of itself.
    pub metadata: BTreeMap<String, String>,
    /// What it is doing.
    pub status: Option<Value>,
    /// When it said so.
    pub status_at: Option<Timestamp>,
    /// How much it wants to be interrupted.
    pub mode: Mode,
    /// The channels it listens to, and whether without background messages.
    pub subscriptions: BTreeMap<Channel, bool>,
    /// The keys it knows.
    pub known: BTreeSet<NodeId>,
    /// Everybody it has heard of.
    pub peers: Vec<PeerView>,
    /// Its links.
    pub links: Vec<LinkView>,
    /// How its sources of discovery are.
    pub sources: BTreeMap<Source, SourceHealth>,
    /// Items in the inbox by priority.
    pub inbox: BTreeMap<Priority, usize>,
    /// The most items the inbox holds.
    pub inbox_max: usize,
    /// Messages counted in the digest that was not taken.
    pub digest_total: u64,
    /// Messages waiting to be sent, over all peers.
    pub outbound: usize,
    /// Queries waiting for their answer.
    pub requests: usize,
    /// Message ids remembered.
    pub seen: usize,
    /// Messages admitted since the start.
    pub admitted: u64,
    /// What became of messages that came in, since the start.
    pub fates_in: BTreeMap<FateKind, u64>,
    /// What became of messages that were sent, since the start.
    pub fates_out: BTreeMap<FateKind, u64>,
    /// The median of how far the peers' clocks are ahead of this one's, in milliseconds.
    pub skew_ms: i64,
    /// Where a node with the same key answered, if one did.
    pub twin: Option<SocketAddr>,
    /// The addresses of this machine.
    pub interfaces: Vec<ipnet::IpNet>,
    /// Whether the disk took the last record.
    pub disk_ok: bool,
    /// How long the node has run.
    pub uptime: Duration,
}

/// A link as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkView {
    /// Which one.
    pub link: LinkId,
    /// To whom.
    pub peer: PeerId,
    /// The other side's address.
    pub remote: SocketAddr,
    /// What its packets go through.
    pub way: Way,
    /// Whether this node dialled.
    pub dialed: bool,
    /// The last round trip of a ping.
    pub round_trip: Option<Duration>,
    /// How far the other clock is ahead, in milliseconds.
    pub skew_ms: i64,
    /// Messages with an id taken from it.
    pub received: u64,
    /// Messages put on it.
    pub sent: u64,
}
