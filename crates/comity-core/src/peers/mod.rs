//! The one peer book: everybody this node has heard of, from whatever source, with what is
//! claimed, what is proven, and how each can be reached.

use crate::card::Card;
use crate::id::{NodeId, PeerId};
use crate::identity::trust::Trust;
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

pub mod book;
pub mod owners;

/// The protocol by which nodes connect that know each other by a broker alone.
pub const WEBRTC: &str = "webrtc-data";

/// A source of discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// mDNS and DNS-SD on the local network.
    Mdns,
    /// Named by a person: `--peer`, configuration.
    Manual,
    /// Told by a verified peer.
    Exchange,
    /// It came to us: a link, or a message by a door.
    Inbound,
    /// Told by an MQTT broker.
    Mqtt,
    /// Connected with for gossip.
    Gossip,
    /// Told by the registry of a mesh.
    Registry,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Mdns, Self::Manual, Self::Exchange, Self::Inbound, Self::Mqtt, Self::Gossip, Self::Registry];

    /// The name shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mdns => "mdns",
            Self::Manual => "manual",
            Self::Exchange => "exchange",
            Self::Inbound => "inbound",
            Self::Mqtt => "mqtt",
            Self::Gossip => "gossip",
            Self::Registry => "registry",
        }
    }
}

/// What a source saw of a peer: claims, until a handshake proves the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Who saw it.
    pub source: Source,
    /// The address the news came from: the mDNS packet's, the telling peer's, the connection's.
    pub told_by: Option<IpAddr>,
    /// The UUID it claims.
    pub peer: PeerId,
    /// The key it claims.
    pub key: Option<NodeId>,
    /// The name it claims.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it says it can do.
    pub capabilities: Vec<String>,
    /// Where it says it answers.
    pub candidates: Vec<Candidate>,
    /// `meta` of the TXT record, or `metadata` of an exchange.
    pub metadata: BTreeMap<String, String>,
    /// How it says it can be met, if the source tells.
    pub rendezvous: Option<Rendezvous>,
}

impl Sighting {
    /// The UUID of the peer that is meant: that of the key, if it claims one.
    pub fn id(&self) -> PeerId {
        self.key.map_or(self.peer, |key| key.peer())
    }
}

/// How a peer says it can be met when nobody knows an address of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendezvous {
    /// Where it takes signaling.
    pub url: Option<String>,
    /// The protocols it serves.
    pub protocols: Vec<String>,
}

impl Rendezvous {
    /// Whether it takes WebRTC connections.
    pub fn serves_webrtc(&self) -> bool {
        self.protocols.iter().any(|protocol| protocol == WEBRTC)
    }

    /// The address and the path of its signaling, if the URL names an address. Names are not resolved:
    /// whoever writes one would have this node ask for it.
    pub fn place(&self) -> Option<(SocketAddr, String)> {
        let url = self.url.as_deref()?;
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        Some((authority.parse().ok()?, path.to_owned()))
    }
}

/// An address at which a peer may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Candidate {
    /// Where.
    pub address: SocketAddr,
    /// Who said so.
    pub source: Source,
}

/// How present a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// A source named it; nobody has answered yet.
    Seen,
    /// Heard of lately.
    Online,
    /// Three heartbeats, or three pings, were missed.
    Stale,
    /// A connection failed.
    Unreachable,
    /// It said goodbye.
    Offline,
}

impl Presence {
    /// The name shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Online => "online",
            Self::Stale => "stale",
            Self::Unreachable => "unreachable",
            Self::Offline => "offline",
        }
    }

    /// Whether the peer counts as there: it joined, and has not left.
    pub fn is_here(self) -> bool {
        matches!(self, Self::Online | Self::Stale)
    }
}

/// In which directions a peer and this node have reached each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// This node has reached the peer at one of its addresses.
    pub outbound: bool,
    /// The peer has reached this node.
    pub inbound: bool,
}

impl Reach {
    /// The name shown: `none`, `out`, `in`, `both`.
    pub fn name(self) -> &'static str {
        match (self.outbound, self.inbound) {
            (false, false) => "none",
            (true, false) => "out",
            (false, true) => "in",
            (true, true) => "both",
        }
    }
}

/// What the packets of a link go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// A connection to the other side's port.
    Mesh,
    /// WebRTC, from one side to the other.
    Rtc,
    /// WebRTC, through a relay of either side.
    RtcRelay,
}

impl Way {
    /// The name shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::Rtc => "webrtc",
            Self::RtcRelay => "webrtc-relay",
        }
    }
}

/// A peer as everybody outside the peer book sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerView {
    /// Its UUID.
    pub id: PeerId,
    /// Its key, once proven.
    pub key: Option<NodeId>,
    /// Its name, cleaned for showing.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it says it can do.
    pub capabilities: Vec<String>,
    /// How far it is trusted.
    pub trust: Trust,
    /// How present it is.
    pub presence: Presence,
    /// Which directions work.
    pub reach: Reach,
    /// What its link goes through, if it has one.
    pub way: Option<Way>,
    /// Who told of it.
    pub sources: BTreeSet<Source>,
    /// Where it can be reached, best first.
    pub addresses: Vec<SocketAddr>,
    /// What it said it is doing.
    pub status: Option<Value>,
    /// What else it said of itself.
    pub metadata: BTreeMap<String, String>,
    /// When it was first heard of.
    pub discovered_at: Timestamp,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// Its card, if it gave one.
    pub card: Option<Box<Card>>,
    /// Why it cannot be reached, for people.
    pub trouble: Option<String>,
}
