//! How events are written: the shapes of the protocol, and which of them anybody on the network
//! may see. It knows neither WebSockets nor watchers.

use crate::door::dashflow::Doing;
use crate::door::shown;
use comity_core::channel::Channel;
use comity_core::envelope::{Address, Received};
use comity_core::node::Event;
use comity_core::payload::Payload;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// Longest topic shown beside a payload, in characters.
const TEXT_MAX: usize = 256;

/// An event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::door) enum EventBody {
    /// A message was admitted, for everybody.
    MessageReceived {
        /// Rises by one with every event of the stream.
        seq: u64,
        /// Foreign senders may leave it out.
        id: Option<Uuid>,
        from: Uuid,
        msg_type: &'static str,
        channel: String,
        priority: &'static str,
        /// With `payload=1` only.
        #[serde(flatten)]
        content: Option<Content>,
    },
    /// A peer became present.
    PeerJoined {
        /// Rises by one with every event of the stream.
        seq: u64,
        id: Uuid,
        name: String,
        capabilities: Vec<String>,
    },
    /// A peer said goodbye or was lost.
    PeerLeft {
        /// Rises by one with every event of the stream.
        seq: u64,
        id: Uuid,
        name: String,
    },
    /// A peer said what it is doing.
    PeerStatusChanged {
        /// Rises by one with every event of the stream.
        seq: u64,
        id: Uuid,
        status: Option<Doing>,
    },
    /// This node said what it is doing.
    StatusUpdate {
        /// Rises by one with every event of the stream.
        seq: u64,
        working_on: Option<String>,
        /// From 0 to 1.
        progress: Option<f64>,
    },
    /// The watcher was too slow and missed events.
    Lagged {
        /// The number of the last event missed.
        seq: u64,
        /// How many were missed, wanted or not.
        skipped: u64,
    },
}

/// What a known peer is told of a message besides its head: the sender's words are data, never
/// instruction.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::door) struct Content {
    #[schema(value_type = Object)]
    payload: Value,
    /// A topic that does not name the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// How far the sender can be trusted.
    trust: &'static str,
    /// The sender's key, if it was proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Which way it came.
    via: &'static str,
    #[schema(format = DateTime)]
    received_at: String,
}

/// What an event is about, and what it is called, if everybody on the network may see it.
pub(super) enum Seen {
    /// A message, in two lengths.
    Message(Arc<Received>),
    /// Anything else.
    Other(&'static str, EventBody),
}

impl Seen {
    /// The event with this number; `None` when it is not for the network.
    pub(super) fn of(event: &Event, seq: u64) -> Option<Self> {
        Some(match event {
            Event::Message(received) if is_public(received) => Self::Message(Arc::clone(received)),
            Event::PeerJoined(peer) => {
                let (id, name, capabilities) = (peer.id.0, peer.name.clone(), peer.capabilities.clone());
                Self::Other("peer_joined", EventBody::PeerJoined { seq, id, name, capabilities })
            }
            Event::PeerLeft { peer, name, .. } => {
                Self::Other("peer_left", EventBody::PeerLeft { seq, id: peer.0, name: shown::text(name, TEXT_MAX) })
            }
            Event::PeerStatus { peer, status } => {
                let status = status.as_ref().map(|said| Doing::of(said, None));
                Self::Other("peer_status_changed", EventBody::PeerStatusChanged { seq, id: peer.0, status })
            }
            Event::OwnStatus(status) => {
                let doing = Doing::of(status.as_ref().unwrap_or(&Value::Null), None);
                let (working_on, progress) = (doing.working_on, doing.progress);
                Self::Other("status_update", EventBody::StatusUpdate { seq, working_on, progress })
            }
            // For whoever keeps this node, by its other doors.
            Event::Message(_) | Event::PeerUpdated(_) | Event::Twin { .. } | Event::Evicted { .. } => return None,
        })
    }

    /// The channel by which watchers choose it.
    pub(super) fn channel(&self) -> Option<Channel> {
        match self {
            Self::Message(received) => Some(received.message.channel.clone()),
            Self::Other("peer_joined" | "peer_left", _) => Channel::new("_presence").ok(),
            Self::Other(..) => Channel::new("_status").ok(),
        }
    }
}

/// Whether a message is for everybody: neither directed nor sealed.
fn is_public(received: &Received) -> bool {
    !matches!(received.message.to, Address::Peer(_)) && !matches!(received.message.payload, Payload::Sealed(_))
}

/// A message as an event, with or without its content.
pub(super) fn message(received: &Received, seq: u64, with_payload: bool) -> String {
    let message = &received.message;
    text(&EventBody::MessageReceived {
        seq,
        id: message.id.map(|id| id.0),
        from: message.from.0,
        msg_type: message.kind.name(),
        channel: message.channel.to_string(),
        priority: message.priority.name(),
        content: with_payload.then(|| Content::of(received)),
    })
}

impl Content {
    fn of(received: &Received) -> Self {
        let topic = received.message.more.as_ref().and_then(|more| more.topic.as_deref());
        Self {
            payload: received.message.payload.to_value(),
            topic: topic.map(|topic| shown::text(topic, TEXT_MAX)),
            trust: received.trust.name(),
            key: received.key.map(|key| key.to_string()),
            via: received.via.name(),
            received_at: received.received_at.to_string(),
        }
    }
}

/// What a watcher who was too slow is told.
pub(super) fn lagged(seq: u64, skipped: u64) -> String {
    text(&EventBody::Lagged { seq, skipped })
}

/// A shape as JSON text.
pub(super) fn text(shape: &impl Serialize) -> String {
    serde_json::to_string(shape).expect("the doors' shapes have text keys and no failing parts")
}
