//! Links by WebRTC: connections between nodes that cannot reach each other's port, through NATs and
//! relays. To the rules they are links like others: the same frames go over a data channel. See
//! "WebRTC" in `protocols/mqtt-discovery.md`.

mod agent;
mod channel;
mod pipe;
mod ports;
mod reflexive;
mod relay;
mod server;

#[cfg(test)]
mod tests;

use server::Server;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// How connections find their way.
#[derive(Debug)]
pub(crate) struct Ice {
    /// The servers that are asked.
    pub(crate) servers: Vec<Server>,
    /// The UDP ports that may be used; any when `None`.
    pub(crate) ports: Option<RangeInclusive<u16>>,
    /// How the certificates of `turns:` servers are checked.
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

/// Which way the packets of a connection go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// From one side to the other.
    Direct,
    /// Through a relay of either side.
    Relay,
}
