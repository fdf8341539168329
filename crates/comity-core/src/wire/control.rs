//! What goes through the control door, in JSON: what commands, programs and browsers on this
//! machine ask of the node, and its answers. Shared by the door (`comity`) and its client
//! (`comity-client`). It is no network protocol: no peer ever speaks it.

use crate::envelope::{Address, Kind, Priority, Received, Via};
use crate::id::PeerId;
use crate::identity::trust::Trust;
use crate::inbox::{Item, Mode};
use crate::ledger::{Fate, FateKind};
use crate::peers::{PeerView, Presence, Source};
use crate::time::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use uuid::Uuid;

/// The paths of the control door.
pub mod path {
    /// `GET`: this node, a [`super::Node`].
    pub const NODE: &str = "/control/node";
    /// `GET`: everybody it has heard of, [`super::Peers`].
    pub const PEERS: &str = "/control/peers";
    /// `GET`: a stream of [`super::PeerChange`], beginning with everybody who is there.
    pub const PEER_CHANGES: &str = "/control/peers/changes";
    /// `GET ?target=`: a stream of [`super::Watched`]. `POST` [`super::Send`]: [`super::Sent`].
    pub const MESSAGES: &str = "/control/messages";
    /// `GET`: a stream of queries, [`super::Watched`], each to be answered at [`ANSWERS`].
    /// `POST` [`super::Ask`]: the answer, a [`super::Message`].
    pub const QUERIES: &str = "/control/queries";
    /// `POST` [`super::Respond`]: [`super::Sent`].
    pub const ANSWERS: &str = "/control/answers";
    /// `GET ?after=&limit=`: [`super::Inbox`].
    pub const INBOX: &str = "/control/inbox";
    /// `GET ?after=`: a stream of [`super::Arrival`], as the inbox grows.
    pub const ARRIVALS: &str = "/control/inbox/arrivals";
    /// `POST` [`super::Acknowledge`]: [`super::Done`].
    pub const ACKNOWLEDGE: &str = "/control/inbox/acknowledge";
    /// `GET`: the [`super::Digest`] so far. `POST`: the same, and it begins anew.
    pub const DIGEST: &str = "/control/digest";
    /// `PUT` [`super::Attention`]: [`super::Done`].
    pub const ATTENTION: &str = "/control/attention";
    /// `POST` [`super::Subscription`]: [`super::Done`].
    pub const SUBSCRIBE: &str = "/control/subscribe";
    /// `POST` [`super::Unsubscribe`]: [`super::Done`].
    pub const UNSUBSCRIBE: &str = "/control/unsubscribe";
    /// `PUT` [`super::OwnStatus`]: [`super::Done`].
    pub const STATUS: &str = "/control/status";
    /// `GET ?message=`: [`super::Why`].
    pub const WHY: &str = "/control/why";
    /// `GET`: [`super::Checkup`].
    pub const CHECKUP: &str = "/control/checkup";
    /// `GET`: [`super::Settings`].
    pub const SETTINGS: &str = "/control/settings";
    /// `POST`, only over the Unix socket: [`super::OneTimeCode`].
    pub const CODES: &str = "/control/codes";
    /// `GET` with `Upgrade: mcp`: the connection becomes an MCP stdio transport.
    pub const MCP_STDIO: &str = "/control/mcp";
    /// `POST` [`super::Redeem`], only over TCP: a session cookie.
    pub const SESSION: &str = "/session";
    /// MCP over streamable HTTP.
    pub const MCP: &str = "/mcp";
}

/// The name of the Unix socket in the `control` folder of the data directory.
pub const SOCKET: &str = "door.sock";

/// The name of the bearer token's file in the `control` folder of the data directory.
pub const TOKEN: &str = "token";

/// The folder in the data directory that holds [`SOCKET`] and [`TOKEN`].
pub const FOLDER: &str = "control";

/// A value of a closed list, written by its name. An unknown name is an error that lists the
/// known ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named<T>(pub T);

/// A closed list of which every value has a name.
pub trait Name: Copy + 'static {
    /// What the list is of, for errors.
    const WHAT: &'static str;
    /// All values.
    const VALUES: &'static [Self];
    /// The name of this one.
    fn text(self) -> &'static str;

    /// The value of this name.
    fn of(text: &str) -> Option<Self> {
        Self::VALUES.iter().copied().find(|value| value.text() == text)
    }

    /// All names, separated by commas.
    fn choices() -> String {
        Self::VALUES.iter().map(|value| value.text()).collect::<Vec<_>>().join(", ")
    }
}

macro_rules! name {
    ($($list:ty, $what:literal, $values:expr;)*) => {$(
        impl Name for $list {
            const WHAT: &'static str = $what;
            const VALUES: &'static [Self] = &$values;
            fn text(self) -> &'static str {
                self.name()
            }
        }
    )*};
}

name! {
    Priority, "priority", Priority::ALL;
    Kind, "type", Kind::ALL;
    Mode, "attention mode", Mode::ALL;
    FateKind, "fate", FateKind::ALL;
    Source, "source", Source::ALL;
    Trust, "trust level", [Trust::Unverified, Trust::Verified, Trust::Known];
    Via, "way", [Via::Link, Via::Post, Via::Events, Via::Own];
    Presence, "presence", [Presence::Seen, Presence::Online, Presence::Stale, Presence::Unreachable, Presence::Offline];
}

impl<T: Name> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.0.text())
    }
}

impl<'de, T: Name> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        let unknown = || D::Error::custom(format!("unknown {} `{text}`: one of {}", T::WHAT, T::choices()));
        T::of(&text).map(Self).ok_or_else(unknown)
    }
}

/// Times as RFC 3339.
mod rfc3339 {
    use super::*;

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(from)?;
        Timestamp::parse(&text).ok_or_else(|| D::Error::custom("a time as in RFC 3339 is wanted"))
    }
}

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
pub struct Subscription {
    /// The channel.
    pub channel: String,
    /// Leave out background messages.
    #[serde(default)]
    pub quiet: bool,
}

/// A channel to listen to no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// A message as applications are handed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id; foreign senders may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Who says it wrote this; proven when `key` is there.
    pub from: Uuid,
    /// The sender's name, as far as this node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_name: Option<String>,
    /// `broadcast`, `group:<channel>`, or a peer's UUID.
    pub to: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Named<Kind>,
    /// The stream it belongs to.
    pub channel: String,
    /// A topic that does not name the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// What it says: the sender's, data and never an instruction.
    pub payload: Value,
    /// How urgent it is.
    pub priority: Named<Priority>,
    /// When it was written, by the sender's clock.
    #[serde(with = "rfc3339")]
    pub timestamp: Timestamp,
    /// For how many seconds it may be delivered.
    pub ttl: u16,
    /// The message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Uuid>,
    /// The conversation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// How far its sender can be trusted.
    pub trust: Named<Trust>,
    /// The key that was proven for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Which way it came.
    pub via: Named<Via>,
    /// When it came, by this node's clock.
    #[serde(with = "rfc3339")]
    pub received_at: Timestamp,
}

impl Message {
    /// The form of a message for applications; `name` gives the names of peers.
    pub fn of(received: &Received, name: impl Fn(PeerId) -> Option<String>) -> Self {
        let message = &*received.message;
        let more = message.more.as_deref();
        Self {
            id: message.id.map(|id| id.0),
            from: message.from.0,
            from_name: name(message.from),
            to: match message.to {
                Address::Broadcast => "broadcast".to_owned(),
                Address::Group => format!("group:{}", message.channel),
                Address::Peer(peer) => peer.to_string(),
            },
            kind: Named(message.kind),
            channel: message.channel.to_string(),
            topic: more.and_then(|more| more.topic.clone()),
            payload: message.payload.to_value(),
            priority: Named(message.priority),
            timestamp: message.timestamp,
            ttl: message.ttl.seconds(),
            reply_to: message.reply_to.map(|id| id.0),
            thread: more.and_then(|more| more.thread.clone()),
            traceparent: more.and_then(|more| more.traceparent.clone()),
            trust: Named(received.trust),
            key: received.key.map(|key| key.to_string()),
            via: Named(received.via),
            received_at: received.received_at,
        }
    }
}

/// What a watcher of messages is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Watched {
    /// A message was admitted.
    Message {
        /// The message.
        message: Box<Message>,
    },
    /// The reader was too slow: so many messages are missing here (not in the inbox).
    Lagged {
        /// How many.
        skipped: u64,
    },
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Send {
    /// A peer (name, UUID, node id or its first eight characters) or a channel.
    pub target: String,
    /// What it says.
    pub payload: Value,
    /// The channel of a message to one peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// What it is; by default what the channel is for.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Named<Kind>>,
    /// How urgent it is; by default as the channel is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Named<Priority>>,
    /// For how many seconds it may be delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// Sealed: readable by that one peer only.
    #[serde(default)]
    pub sealed: bool,
    /// The message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Uuid>,
    /// The conversation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

/// A message was taken up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Its id, for `comity why`.
    pub id: Uuid,
    /// How many peers it was queued for.
    pub peers: u64,
    /// The channel it went to.
    pub channel: String,
    /// The one peer it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Uuid>,
}

/// A question to one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// The peer: name, UUID, node id or its first eight characters.
    pub peer: String,
    /// The question.
    pub question: Value,
    /// How long to wait for the answer, in milliseconds; 30 s when it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Respond {
    /// The query's id.
    pub query: Uuid,
    /// Who asked.
    pub to: Uuid,
    /// The answer.
    pub payload: Value,
}

/// Some of the inbox, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inbox {
    /// The items.
    pub items: Vec<Arrival>,
}

/// An item of the inbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arrival {
    /// Its arrival number, by which it is acknowledged.
    pub arrival: u64,
    /// The message.
    pub message: Message,
}

impl Arrival {
    /// The form of an item for applications; `name` gives the names of peers.
    pub fn of(item: &Item, name: impl Fn(PeerId) -> Option<String>) -> Self {
        Self { arrival: item.arrival, message: Message::of(&item.received, name) }
    }
}

/// Items to be taken off the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledge {
    /// Their arrival numbers.
    pub arrivals: Vec<u64>,
}

/// It is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// What happened while nobody looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// When the period began.
    #[serde(with = "rfc3339")]
    pub since: Timestamp,
    /// When it was cut; left out while it still grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// All messages of the period.
    pub total: u64,
    /// Messages by type.
    pub by_type: BTreeMap<String, u64>,
    /// Messages by channel.
    pub by_channel: BTreeMap<String, u64>,
    /// Messages pushed out of the full inbox meanwhile.
    pub evicted: u64,
    /// At most ten, spread over the period.
    pub samples: Vec<Sample>,
    /// The same in a sentence.
    pub text: String,
}

/// One message of a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When it came.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// From whom.
    pub from: Uuid,
    /// The sender's name, as far as this node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_name: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Named<Kind>,
    /// Its channel.
    pub channel: String,
    /// The beginning of what it said, as JSON text.
    pub text: String,
}

/// How much the node should be interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// The mode.
    pub mode: Named<Mode>,
}

/// What the node says it is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnStatus {
    /// The status; null for nothing.
    pub status: Option<Value>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The message.
    pub message: Uuid,
    /// Oldest first; empty when nothing is known (any more).
    pub fates: Vec<Step>,
}

/// One step in the life of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// The peer it concerns; left out for this node itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Uuid>,
    /// The peer's name, as far as this node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_name: Option<String>,
    /// What happened.
    pub fate: Named<FateKind>,
}

impl Step {
    /// The form of a fate for applications; `name` gives the names of peers.
    pub fn of(fate: &Fate, name: impl Fn(PeerId) -> Option<String>) -> Self {
        Self {
            at: fate.at,
            peer: fate.peer.map(|peer| peer.0),
            peer_name: fate.peer.and_then(name),
            fate: Named(fate.kind),
        }
    }
}

/// How the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkup {
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it is.
    pub state: Health,
    /// In a sentence, with what to do if it is not well.
    pub detail: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Well,
    /// It works, but a person should know.
    Noted,
    /// It does not work.
    Ill,
}

/// The configuration the node runs with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Every key, sorted.
    pub settings: Vec<Setting>,
}

/// One value of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its key, with dots.
    pub key: String,
    /// Its value as TOML; `unset` when there is none, `(hidden)` when it is a secret.
    pub value: String,
    /// Where it comes from: `default`, a file, an environment variable, a flag.
    pub origin: String,
}

/// A code that a browser on this machine exchanges for a session, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneTimeCode {
    /// The code.
    pub code: String,
    /// Where to exchange it.
    pub url: String,
    /// For how many seconds it is good.
    pub expires_in_seconds: u64,
}

/// A code to be exchanged for a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redeem {
    /// The code.
    pub code: String,
}

/// Why something was refused (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// One sentence for the caller.
    #[serde(default)]
    pub detail: String,
    /// The field that is wrong, as a JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let wrong = serde_json::from_str::<Attention>(r#"{"mode":"asleep"}"#).expect_err("no such mode");
        assert!(
            wrong.to_string().contains("unknown attention mode `asleep`: one of realtime, focused, minimal"),
            "{wrong}"
        );
        let right: Attention = serde_json::from_str(r#"{"mode":"minimal"}"#).expect("a mode");
        assert_eq!(right.mode, Named(Mode::Minimal));
    }

    #[test]
    fn every_name_is_read_back() {
        fn check<T: Name + PartialEq + std::fmt::Debug>() {
            for value in T::VALUES {
                assert_eq!(T::of(value.text()), Some(*value));
            }
        }
        check::<Priority>();
        check::<Kind>();
        check::<Mode>();
        check::<FateKind>();
        check::<Source>();
        check::<Trust>();
        check::<Via>();
        check::<Presence>();
    }

    #[test]
    fn a_stream_line_names_its_change() {
        let line = serde_json::to_string(&PeerChange::Lagged { skipped: 3 }).expect("it is JSON");
        assert_eq!(line, r#"{"change":"lagged","skipped":3}"#);
    }
}
