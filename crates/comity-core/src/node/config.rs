//! What a node obeys: everything about its rules that can be configured.

use super::Boot;
use crate::id::NodeId;
use crate::identity::guard;
use crate::identity::trust::Admission;
use crate::{inbox, outbound, throttle};
use std::collections::BTreeMap;
use std::time::Duration;

/// The configuration of a node's rules.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its key.
    pub node: NodeId,
    /// The name people see.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// What else it says of itself.
    pub metadata: BTreeMap<String, String>,
    /// This start.
    pub boot: Boot,
    /// A random number: keys the tables and spreads redials.
    pub seed: u64,
    /// Who is admitted at all.
    pub admission: Admission,
    /// How fast each sender may send.
    pub throttle: throttle::Config,
    /// How much waits in the inbox.
    pub inbox: inbox::queue::Config,
    /// How much waits for each peer.
    pub outbound: outbound::Config,
    /// How many message ids are remembered, at most 32 bytes each. When it is full, new messages
    /// are refused until old ids may be forgotten.
    pub seen_max: usize,
    /// How far in the future a message may have been written.
    pub future_max: Duration,
    /// How often the digest is cut.
    pub digest_every: Duration,
    /// Which addresses may be dialled.
    pub guard: guard::Config,
    /// How many peers that only brokers told of are dialled by themselves, besides those on the list: 64. Who comes
    /// later is dialled when somebody sends to it. Less delays the first message; more opens as many connections in
    /// large networks.
    pub mqtt_connect_max: usize,
}

impl Config {
    /// The defaults for a node with this key, name and start.
    pub fn new(node: NodeId, name: impl Into<String>, boot: Boot, seed: u64) -> Self {
        Self {
            node,
            name: name.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: Vec::new(),
            metadata: BTreeMap::new(),
            boot,
            seed,
            admission: Admission::Open,
            throttle: throttle::Config::default(),
            inbox: inbox::queue::Config::default(),
            outbound: outbound::Config::default(),
            seen_max: 1 << 20,
            future_max: Duration::from_secs(60),
            digest_every: Duration::from_secs(60),
            guard: guard::Config::default(),
            mqtt_connect_max: 64,
        }
    }
}
