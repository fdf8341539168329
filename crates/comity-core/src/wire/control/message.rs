//! Messages as the control door takes and gives them: sent, asked, watched, waiting in the inbox.

use super::Named;
use super::named::rfc3339;
use crate::envelope::{Address, Kind, Priority, Received, Via};
use crate::id::PeerId;
use crate::identity::trust::Trust;
use crate::inbox::Item;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

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
        let message = &received.message;
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
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// Their arrival numbers.
    pub arrivals: Vec<u64>,
}

/// It is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}
