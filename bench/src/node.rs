//! Nodes of ours for the measurements: in this process, on loopback, with limits that no
//! measurement meets; everything else as shipped.

use comity::config::{Config, Flag, Sources};
use comity::home::{Home, Place};
use comity::{Mode, Network, PeerId, Presence};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A node and its folder, which is removed when this is dropped.
pub(crate) struct Own {
    pub(crate) network: Network,
    folder: PathBuf,
}

impl Own {
    /// Starts a node that is found by address only.
    pub(crate) async fn start(name: &str) -> Result<Self, String> {
        Self::with(name, [("mdns.enabled", "false"), ("http.listen", "127.0.0.1")]).await
    }

    /// Starts a node that looks for others by mDNS.
    pub(crate) async fn discovering(name: &str) -> Result<Self, String> {
        Self::with(name, [("mdns.enabled", "true")]).await
    }

    /// Starts a node that hands over every message at once.
    async fn with<const N: usize>(name: &str, more: [(&'static str, &str); N]) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("comity-bench-{name}-{}", std::process::id()));
        let place = Place::Named(folder.clone());
        let (home, _) = Home::open(&place).map_err(|error| error.to_string())?;
        let set = |key: &'static str, value: &str| Flag { name: "bench", key, values: vec![value.to_owned()] };
        let mut flags = vec![
            set("name", name),
            set("http.port", "0"),
            set("control.http", "false"),
            set("metrics.enabled", "false"),
            set("limits.messages_per_second", "10000000"),
            set("limits.messages_burst", "10000000"),
            set("limits.seen", "16000000"),
        ];
        flags.extend(more.map(|(key, value)| set(key, value)));
        let sources = Sources { flags, ..Sources::default() };
        let (config, origins) = Config::read(&sources).map_err(|error| error.to_string())?;
        let network = Network::run(home, config, origins).await.map_err(|error| error.to_string())?;
        network.set_attention_mode(Mode::Realtime).await.map_err(|error| error.to_string())?;
        Ok(Self { network, folder })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Result<SocketAddr, String> {
        let endpoints = self.network.endpoints();
        let first = endpoints.first().and_then(|url| url.strip_prefix("https://")).ok_or("no endpoint")?;
        first.parse().map_err(|_| format!("{first} is no address"))
    }

    /// Makes the two know each other, and waits until the link has settled.
    pub(crate) async fn meet(&self, other: &Self) -> Result<PeerId, String> {
        self.network.add_peer(other.address()?).await.map_err(|error| error.to_string())?;
        let wanted = other.network.id();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let peers = self.network.peers().await;
            let met = |peer: &&comity::PeerView| {
                peer.id == wanted && peer.presence == Presence::Online && peer.reach.outbound && peer.reach.inbound
            };
            if peers.iter().find(met).is_some() {
                return Ok(wanted);
            }
            if Instant::now() > deadline {
                return Err(format!("the nodes do not meet: {peers:?}"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Leaves.
    pub(crate) async fn end(self) {
        self.network.leave("measured").await;
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Err: it is gone already.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
