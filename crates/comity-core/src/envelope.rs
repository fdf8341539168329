//! One message as the rules see it, whichever door or link it came by and in whichever spelling.
//! See "Messages" in `protocols/local-network.md`.

use crate::channel::Channel;
use crate::id::{MessageId, NodeId, PeerId};
use crate::identity::trust::Trust;
use crate::payload::Payload;
use crate::time::Timestamp;
use std::time::Duration;

/// A message: plain domain values, valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Unique for as long as anybody remembers it. `None` only for heartbeats and for compact
    /// messages of foreign senders, which are not deduplicated.
    pub id: Option<MessageId>,
    /// Who says it wrote this: proven only if it is the UUID of the proven key.
    pub from: PeerId,
    /// Whom it is for.
    pub to: Address,
    /// What it is.
    pub kind: Kind,
    /// The stream it belongs to.
    pub channel: Channel,
    /// How urgent it is.
    pub priority: Priority,
    /// When it was written, by the writer's clock.
    pub timestamp: Timestamp,
    /// For how long it may be delivered.
    pub ttl: Ttl,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// The content.
    pub payload: Payload,
    /// What few messages have; boxed to keep the rest small.
    pub more: Option<Box<More>>,
}

/// The parts of a message that most messages do without.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct More {
    /// A `topic` that does not name the channel, kept as it was.
    pub topic: Option<String>,
    /// The conversation it belongs to.
    pub thread: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The key that signed it, as the message says.
    pub from_key: Option<NodeId>,
    /// The signature, with what was signed.
    pub signature: Option<Signed>,
}

/// A signature and the canonical JSON that it covers, so that it can be checked, and passed on,
/// whatever spelling the message came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Ed25519, 64 bytes.
    pub signature: [u8; 64],
    /// RFC 8785 form of the JSON message without `sig`, exactly as received.
    pub covered: Vec<u8>,
}

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// Everybody who listens to the channel.
    Broadcast,
    /// The same, written `group:<channel>`.
    Group,
    /// One peer.
    Peer(PeerId),
}

/// The types of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What a peer is doing.
    Status,
    /// Something another could do better.
    Suggestion,
    /// Something broken.
    Bug,
    /// Something that went wrong.
    Error,
    /// A question that wants a [`Kind::Response`].
    Query,
    /// The answer to a query, named by `reply_to`.
    Response,
    /// Still here.
    Heartbeat,
    /// Anything else.
    Extended,
}

/// How urgent a message is; the order is the order of urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// May wait for a digest.
    Background,
    /// May wait in the inbox.
    Normal,
    /// Interrupts whoever listens.
    Critical,
}

impl Priority {
    /// All of them, most urgent first.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Normal, Self::Background];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Normal => "normal",
            Self::Background => "background",
        }
    }
}

impl Kind {
    /// All of them, in the order of the protocol.
    pub const ALL: [Self; 8] = [
        Self::Status,
        Self::Suggestion,
        Self::Bug,
        Self::Error,
        Self::Query,
        Self::Response,
        Self::Heartbeat,
        Self::Extended,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Suggestion => "suggestion",
            Self::Bug => "bug",
            Self::Error => "error",
            Self::Query => "query",
            Self::Response => "response",
            Self::Heartbeat => "heartbeat",
            Self::Extended => "extended",
        }
    }
}

/// How long a message may be delivered: 1 to 3,600 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(u16);

/// A time to live outside 0 to 3,600 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ttl is 1 to {} seconds (0 means {})", Ttl::MAX.0, Ttl::DEFAULT.0)]
pub struct BadTtl;

impl Ttl {
    /// What a message lives when it does not say.
    pub const DEFAULT: Self = Self(60);
    /// The longest allowed.
    pub const MAX: Self = Self(3600);

    /// A time to live of so many seconds; 0 means the default.
    pub fn from_seconds(seconds: u64) -> Result<Self, BadTtl> {
        match u16::try_from(seconds) {
            Ok(0) => Ok(Self::DEFAULT),
            Ok(seconds) if seconds <= Self::MAX.0 => Ok(Self(seconds)),
            _ => Err(BadTtl),
        }
    }

    /// The seconds.
    pub fn seconds(self) -> u16 {
        self.0
    }

    /// The same as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

/// A message together with what this node knows about how it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// How far its sender can be trusted.
    pub trust: Trust,
    /// The key that was proven for it, if any.
    pub key: Option<NodeId>,
    /// Which way it came.
    pub via: Via,
    /// When it came, by this node's clock.
    pub received_at: Timestamp,
}

/// The way a message came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// A mutual-TLS link between nodes.
    Link,
    /// `POST /dashflow/message`.
    Post,
    /// A text frame on `GET /dashflow/events`.
    Events,
    /// A call of `send` on `GET /rpc`.
    Rpc,
    /// A topic that spreads from node to node.
    Gossip,
    /// A channel shared with other origins: it was signed by its author and by its hub.
    Federation,
    /// This node itself.
    Own,
}

impl Via {
    /// The name shown to applications.
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Post => "post",
            Self::Events => "events",
            Self::Rpc => "rpc",
            Self::Gossip => "gossip",
            Self::Federation => "federation",
            Self::Own => "own",
        }
    }
}

impl Received {
    /// The same with another form of the message.
    #[must_use]
    pub fn with(&self, message: Message) -> Self {
        Self { message, trust: self.trust, key: self.key, via: self.via, received_at: self.received_at }
    }
}

impl Message {
    /// When it stops being deliverable.
    pub fn expires_at(&self) -> Timestamp {
        self.timestamp + self.ttl.duration()
    }

    /// Roughly what it occupies in a queue: payload plus a header's worth, in bytes.
    pub fn weight(&self) -> usize {
        self.payload.len() + 96
    }
}
