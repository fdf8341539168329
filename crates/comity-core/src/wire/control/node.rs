//! The node, its peers and how both are, as the control door tells of them.

use super::Named;
use super::named::rfc3339;
use crate::identity::trust::Trust;
use crate::inbox::Mode;
use crate::peers::{PeerView, Presence, Source, Way};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use uuid::Uuid;

/// This node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its UUID on the local network.
    pub id: Uuid,
    /// Its node id, `ed25519:…`.
    pub node: String,
    /// Its name.
    pub name: String,
    /// The version of the program that runs it.
    pub version: String,
    /// What it says it can do.
    pub capabilities: Vec<String>,
    /// Where peers reach it, as URLs.
    pub endpoints: Vec<String>,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// How much it wants to be interrupted.
    pub attention_mode: Named<Mode>,
    /// What it says it is doing.
    pub status: Option<Value>,
    /// The channels it listens to.
    pub subscriptions: Vec<Subscription>,
    /// Messages in the inbox, by priority.
    pub inbox: BTreeMap<String, u64>,
    /// Messages counted in the digest.
    pub digest_total: u64,
    /// Peers it has heard of.
    pub peers_total: u64,
    /// Those that are present now.
    pub peers_online: u64,
    /// How each source of discovery is.
    pub sources: Vec<SourceState>,
    /// The links that are up.
    pub links: Vec<Link>,
    /// What was dropped, evicted, refused or delayed, by cause.
    pub counters: BTreeMap<String, u64>,
    /// Its data directory.
    pub data_dir: String,
    /// Where browsers and MCP clients on this machine reach the control door, if it is open there.
    pub control_url: Option<String>,
}

/// A link to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The peer.
    pub peer: Uuid,
    /// The peer's name.
    pub name: String,
    /// The other side's address.
    pub remote: SocketAddr,
    /// Whether this node dialled.
    pub dialed: bool,
    /// What the last ping took, in microseconds.
    pub round_trip_us: Option<u64>,
    /// How far the other clock is ahead, in milliseconds.
    pub skew_ms: i64,
    /// Messages taken from it.
    pub received: u64,
    /// Messages put on it.
    pub sent: u64,
}

/// How a source of discovery is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// Which.
    pub source: Named<Source>,
    /// `up`, `off` or `failed`.
    pub state: String,
    /// Why it failed, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A channel that the node listens to, or should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// The channel.
    pub channel: String,
    /// Leave out background messages.
    #[serde(default)]
    pub quiet: bool,
}

/// A channel to listen to no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsubscribe {
    /// The channel.
    pub channel: String,
}

/// Everybody the node has heard of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peers {
    /// By name, then by id.
    pub peers: Vec<Peer>,
}

/// Whom to put on the list of known nodes, or take off it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trusted {
    /// A peer by name, UUID or node id; a node id may be of a node that was never met.
    pub peer: String,
    /// On the list, or off it.
    pub known: bool,
}

/// The list of known nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownNodes {
    /// By node id.
    pub known: Vec<KnownNode>,
}

/// A node on the list of known ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownNode {
    /// Its node id.
    pub key: String,
    /// Its UUID as a peer.
    pub id: Uuid,
    /// Its name, if it was met since this node started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A peer. Texts are the peer's own: data, to be cleaned where they are shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its UUID.
    pub id: Uuid,
    /// Its node id, once proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it says it can do.
    pub capabilities: Vec<String>,
    /// How far it is trusted.
    pub trust: Named<Trust>,
    /// How present it is.
    pub presence: Named<Presence>,
    /// In which directions it and this node have reached each other: `none`, `out`, `in`, `both`.
    pub reach: String,
    /// What the link with it goes through: `mesh` (its port), `webrtc`, `webrtc-relay`; `null` without one.
    #[serde(default)]
    pub link: Option<Named<Way>>,
    /// Who told of it.
    pub sources: Vec<Named<Source>>,
    /// Where it can be reached, best first.
    pub addresses: Vec<SocketAddr>,
    /// What it said it is doing.
    pub status: Option<Value>,
    /// What else it said of itself.
    pub metadata: BTreeMap<String, String>,
    /// When it was first heard of.
    #[serde(with = "rfc3339")]
    pub discovered_at: Timestamp,
    /// When it was last heard of.
    #[serde(with = "rfc3339")]
    pub last_seen: Timestamp,
    /// Why it cannot be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl From<&PeerView> for Peer {
    fn from(view: &PeerView) -> Self {
        Self {
            id: view.id.0,
            key: view.key.map(|key| key.to_string()),
            name: view.name.clone(),
            version: view.version.clone(),
            capabilities: view.capabilities.clone(),
            trust: Named(view.trust),
            presence: Named(view.presence),
            reach: view.reach.name().to_owned(),
            link: view.way.map(Named),
            sources: view.sources.iter().copied().map(Named).collect(),
            addresses: view.addresses.clone(),
            status: view.status.clone(),
            metadata: view.metadata.clone(),
            discovered_at: view.discovered_at,
            last_seen: view.last_seen,
            trouble: view.trouble.clone(),
        }
    }
}

/// A change among the peers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum PeerChange {
    /// It was there when the stream began.
    Present {
        /// The peer.
        peer: Box<Peer>,
    },
    /// It became present.
    Joined {
        /// The peer.
        peer: Box<Peer>,
    },
    /// Something about it changed.
    Updated {
        /// The peer.
        peer: Box<Peer>,
    },
    /// It said what it is doing.
    Status {
        /// The peer's UUID.
        id: Uuid,
        /// What it said.
        status: Option<Value>,
    },
    /// It said goodbye or was lost.
    Left {
        /// The peer's UUID.
        id: Uuid,
        /// Its name.
        name: String,
        /// Whether it said goodbye.
        goodbye: bool,
    },
    /// The reader was too slow: so many changes are missing.
    Lagged {
        /// How many.
        skipped: u64,
    },
}
