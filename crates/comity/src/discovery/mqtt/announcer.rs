//! What this node says of itself to one broker: topics and signed bodies, made anew each time.

use super::connection::Publication;
use comity_core::identity::key::KeyPair;
use comity_core::time::Timestamp;
use comity_core::wire::announce::{self, PeerInfo, Topics};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How many intervals an announcement counts.
const INTERVALS: u32 = 3;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Advertised {
    /// Where it takes signaling: to each broker is said the one on the way to it, else the first.
    pub(crate) urls: Vec<String>,
    /// What it can do.
    pub(crate) capabilities: Vec<String>,
    /// The protocols it serves, of the fixed set of `protocols/mqtt-discovery.md`.
    pub(crate) protocols: Vec<String>,
    /// Version of the program.
    pub(crate) version: String,
    /// When it started.
    pub(crate) started_at: Timestamp,
    /// What else it says, if its owner wants that.
    pub(crate) metadata: Map<String, Value>,
    /// Whether the application chose the metadata: then the configuration's does not replace it.
    pub(crate) chosen: bool,
}

/// One connection's voice.
pub(super) struct Announcer {
    keys: Arc<KeyPair>,
    topics: Topics,
    interval: Duration,
    id: String,
    /// The address of this machine that the broker is reached from.
    local: IpAddr,
    /// This connection, for goodbyes.
    session: String,
    last_seen: Timestamp,
    /// The capabilities that have a topic now.
    told: BTreeSet<String>,
}

impl Announcer {
    pub(super) fn new(keys: Arc<KeyPair>, topics: Topics, interval: Duration, local: IpAddr) -> Self {
        let id = keys.peer().to_string();
        let session = uuid::Uuid::now_v7().to_string();
        Self { keys, topics, interval, id, local, session, last_seen: Timestamp::default(), told: BTreeSet::new() }
    }

    /// What the broker is to say when the connection breaks.
    pub(super) fn will(&self) -> (String, Vec<u8>) {
        (self.topics.goodbye(&self.id), self.goodbye_body("connection lost"))
    }

    /// Everything that is to be said now.
    pub(super) fn announce(&mut self, said: &Advertised, now: Timestamp) -> Vec<Publication> {
        // Nobody believes what is not later than what was said before, and a clock may be set back a little.
        self.last_seen = now.max(self.last_seen + Duration::from_millis(1));
        let expiry = Some(self.interval * INTERVALS);
        let capabilities: BTreeSet<String> = said.capabilities.iter().cloned().collect();
        let mut out = vec![Publication {
            topic: self.topics.announce(&self.id),
            body: bytes(&announce::sign_info(&self.info(said), &self.keys)),
            retain: true,
            expiry,
        }];
        for name in &capabilities {
            let Some(topic) = self.topics.capability(&self.id, name) else { continue };
            let body = announce::sign_capability(name, &said.version, &self.session, &self.keys);
            out.push(Publication { topic, body: bytes(&body), retain: true, expiry });
        }
        let withdrawn: Vec<String> = self.told.difference(&capabilities).cloned().collect();
        out.extend(withdrawn.iter().filter_map(|name| self.topics.capability(&self.id, name)).map(withdrawal));
        self.told = capabilities;
        out
    }

    /// Everything that is to be said on leaving.
    pub(super) fn leave(&self, reason: &str) -> Vec<Publication> {
        let mut out = vec![withdrawal(self.topics.announce(&self.id))];
        let capabilities = self.told.iter().filter_map(|name| self.topics.capability(&self.id, name));
        out.extend(capabilities.map(withdrawal));
        let (topic, body) = (self.topics.goodbye(&self.id), self.goodbye_body(reason));
        out.push(Publication { topic, body, retain: false, expiry: None });
        out
    }

    fn info(&self, said: &Advertised) -> PeerInfo {
        let mut metadata = said.metadata.clone();
        metadata.insert("version".to_owned(), said.version.clone().into());
        metadata.insert("startedAt".to_owned(), said.started_at.to_string().into());
        metadata.insert("uptime".to_owned(), self.last_seen.since(said.started_at).as_secs().into());
        PeerInfo {
            id: self.id.clone(),
            url: self.url(said),
            capabilities: said.capabilities.clone(),
            protocols: said.protocols.clone(),
            protocol_version: Some(comity_core::card::PROTOCOL.to_owned()),
            metadata,
            last_seen: Some(self.last_seen),
            key: None,
            expires_at: Some(self.last_seen + self.interval * INTERVALS),
            session: Some(self.session.clone()),
        }
    }

    fn url(&self, said: &Advertised) -> Option<String> {
        let is_there = |url: &&String| {
            let authority = url.split('/').nth(2).unwrap_or_default();
            authority.parse::<SocketAddr>().is_ok_and(|address| address.ip() == self.local)
        };
        said.urls.iter().find(is_there).or(said.urls.first()).cloned()
    }

    fn goodbye_body(&self, reason: &str) -> Vec<u8> {
        bytes(&announce::sign_goodbye(reason, &self.session, &self.keys))
    }
}

/// What a broker kept is taken back by an empty body.
fn withdrawal(topic: String) -> Publication {
    Publication { topic, body: Vec::new(), retain: true, expiry: None }
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
