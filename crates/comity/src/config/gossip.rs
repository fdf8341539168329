//! What the section `[gossip]` means: whom to start from, and what this node does for others.

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use std::str::FromStr;

/// Gossip between nodes, by libp2p.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gossip {
    /// Nodes to start from.
    pub bootstrap: Vec<Bootstrap>,
    /// What this node does for the DHT.
    pub dht: Dht,
    /// Whether it relays for those that cannot reach each other.
    pub relay: bool,
    /// Relays by which it can be reached itself.
    pub relays: Vec<Bootstrap>,
    /// Whether it looks for libp2p's own nodes by mDNS: where mDNS is on, and on all interfaces.
    pub mdns: bool,
    /// The topic of task coordination.
    pub coordination: String,
    /// The topic of meta-discussion and roles.
    pub meta: String,
    /// The topic of context feedback.
    pub context: String,
}

/// A node's part in the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dht {
    /// None.
    Off,
    /// It asks, and is not asked.
    Client,
    /// It answers others.
    Server,
    /// It answers once others have reached it.
    Auto,
}

/// The address of a node, with its PeerId.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// Who answers there.
    pub peer: PeerId,
    /// Where, without the PeerId.
    pub address: Multiaddr,
}

/// A text that is no such address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotABootstrap;

impl FromStr for Bootstrap {
    type Err = NotABootstrap;

    fn from_str(text: &str) -> Result<Self, NotABootstrap> {
        let mut address: Multiaddr = text.parse().map_err(|_| NotABootstrap)?;
        match address.pop() {
            Some(Protocol::P2p(peer)) if !address.is_empty() => Ok(Self { peer, address }),
            _ => Err(NotABootstrap),
        }
    }
}
