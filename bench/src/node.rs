//! Nodes of ours for the measurements: in this process, on loopback, with limits that no
//! measurement meets; everything else as shipped.

use crate::server::Folder;
use comity::config::{Config, Flag, Sources};
use comity::home::{Home, Place};
use comity::redaction::Redaction;
use comity::{Mode, Network, PeerId, PeerView, Presence, Reach};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Limits that no measurement meets; by their keys.
pub(crate) const UNLIMITED: [(&str, &str); 4] = [
    ("limits.messages_per_second", "10000000"),
    ("limits.messages_burst", "10000000"),
    ("limits.requests_per_minute", "10000000"),
    ("limits.seen", "16000000"),
];

/// A node that is found by address only, on this machine.
pub(crate) const BY_ADDRESS: &[(&str, &str)] = &[("mdns.enabled", "false"), ("http.listen", "127.0.0.1")];

/// A node and its folder, which is removed when this is dropped.
pub(crate) struct Own {
    pub(crate) network: Network,
    _folder: Folder,
}

impl Own {
    /// Starts a node that is found by address only and hands over every message at once.
    pub(crate) async fn start(name: &str) -> Result<Self, String> {
        let own = Self::with(name, &[&UNLIMITED, BY_ADDRESS].concat()).await?;
        own.network.set_attention_mode(Mode::Realtime).await.map_err(|error| error.to_string())?;
        Ok(own)
    }

    /// Starts a node as it comes, but for these keys.
    pub(crate) async fn with(name: &str, keys: &[(&'static str, &str)]) -> Result<Self, String> {
        let folder = Folder::new();
        let place = Place::Named(folder.path().to_owned());
        let (home, _) = Home::open(&place).map_err(|error| error.to_string())?;
        let set = |key: &'static str, value: &str| Flag { name: "bench", key, values: vec![value.to_owned()] };
        let mut flags = vec![
            set("name", name),
            set("http.port", "0"),
            set("control.http", "false"),
            set("metrics.enabled", "false"),
        ];
        flags.extend(keys.iter().map(|(key, value)| set(key, value)));
        let sources = Sources { flags, ..Sources::default() };
        let (config, origins) = Config::read(&sources).map_err(|error| error.to_string())?;
        let redaction = Redaction::open(&home, &config).map_err(|error| error.to_string())?;
        let network = Network::run(home, config, origins, redaction).await.map_err(|error| error.to_string())?;
        Ok(Self { network, _folder: folder })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Result<SocketAddr, String> {
        let endpoints = self.network.endpoints();
        let first = endpoints.first().and_then(|url| url.strip_prefix("https://")).ok_or("no endpoint")?;
        first.parse().map_err(|_| format!("{first} is no address"))
    }

    /// Makes the two know each other, and waits until the link has settled: either has found that
    /// it reaches the other.
    pub(crate) async fn meet(&self, other: &Self) -> Result<PeerId, String> {
        self.reach(other.address()?, |reach| reach.outbound && reach.inbound).await
    }

    /// Dials the node at the address, and waits until the two are linked.
    pub(crate) async fn link(&self, address: SocketAddr) -> Result<PeerId, String> {
        self.reach(address, |reach| reach.outbound).await
    }

    async fn reach(&self, address: SocketAddr, enough: impl Fn(&Reach) -> bool) -> Result<PeerId, String> {
        self.network.add_peer(address).await.map_err(|error| error.to_string())?;
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let peers = self.network.peers().await;
            let met = |peer: &&PeerView| {
                peer.presence == Presence::Online && peer.addresses.contains(&address) && enough(&peer.reach)
            };
            if let Some(peer) = peers.iter().find(met) {
                return Ok(peer.id);
            }
            if Instant::now() > deadline {
                return Err(format!("{} does not meet the node at {address}", self.network.name()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Leaves.
    pub(crate) async fn end(self) {
        self.network.leave("measured").await;
    }
}
