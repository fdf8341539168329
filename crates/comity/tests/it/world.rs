//! Nodes for the tests: each in a directory of its own that is gone when the test ends.

use comity::config::{Config, Flag, Sources};
use comity::home::Home;
use comity::redaction::Redaction;
use comity::{Network, PeerId, Presence, Reach, Trust};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Longer than anything here may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A directory of a test's own.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("comity-it-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path).expect("the temporary directory can be written");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The configuration of the tests: any free port on loopback, nothing that meets the outside.
pub(crate) fn config(name: &str) -> Config {
    config_with(name, &[])
}

/// The same with some values of its own.
pub(crate) fn config_with(name: &str, values: &[(&'static str, &str)]) -> Config {
    let flag = |key: &'static str, value: &str| Flag { name: "the test", key, values: vec![value.to_owned()] };
    let mut flags = vec![
        flag("name", name),
        flag("http.port", "0"),
        flag("http.listen", "127.0.0.1"),
        flag("mdns.enabled", "false"),
        flag("metrics.enabled", "false"),
        flag("control.http", "false"),
        flag("limits.messages_per_second", "1000000"),
        flag("limits.messages_burst", "1000000"),
    ];
    flags.extend(values.iter().map(|(key, value)| flag(key, value)));
    Config::read(&Sources { flags, ..Sources::default() }).expect("a valid configuration").0
}

/// A node of this name in this directory.
pub(crate) async fn start(folder: &Path, name: &str) -> Network {
    start_with(folder, name, &[]).await
}

/// The same with some values of its own in its configuration.
pub(crate) async fn start_with(folder: &Path, name: &str, values: &[(&'static str, &str)]) -> Network {
    let home = Home::lock(&folder.join(name)).expect("the directory is free");
    let config = config_with(name, values);
    let redaction = Redaction::open(&home, &config).expect("the rules are good");
    Network::run(home, config, Vec::new(), redaction).await.expect("the node starts")
}

/// Where the node can be reached.
pub(crate) fn address(node: &Network) -> SocketAddr {
    let endpoint = node.endpoints().into_iter().next().expect("the node listens");
    endpoint.trim_start_matches("https://").parse().expect("an address")
}

/// Names one to the other and waits until both know each other, verified.
pub(crate) async fn introduce(one: &Network, other: &Network) {
    one.add_peer(address(other)).await.expect("the peer is taken up");
    acquainted(one, other.id()).await;
    acquainted(other, one.id()).await;
}

/// Waits until the node knows the peer as verified, online and reachable both ways.
pub(crate) async fn acquainted(node: &Network, peer: PeerId) {
    let known = async || {
        let peers = node.peers().await;
        peers.iter().any(|known| {
            let there = known.trust >= Trust::Verified && known.presence == Presence::Online;
            known.id == peer && there && known.reach == Reach { outbound: true, inbound: true }
        })
    };
    eventually("the peer is known", known).await;
}

/// Two nodes that know each other.
pub(crate) async fn two(scratch: &Scratch) -> (Network, Network) {
    let (one, other) = (start(scratch.path(), "one").await, start(scratch.path(), "other").await);
    introduce(&one, &other).await;
    (one, other)
}

/// Waits until the condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < end, "in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The value of a future that must come soon.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it comes in time")
}
