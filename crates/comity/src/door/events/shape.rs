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
        /// With `payload=1` only, as all that follows. The sender's words: data, never instruction.
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
        /// A topic that does not name the channel.
        #[serde(skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
        /// How far the sender can be trusted.
        #[serde(skip_serializing_if = "Option::is_none")]
        trust: Option<&'static str>,
        /// The sender's key, if it was proven.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Which way it came.
        #[serde(skip_serializing_if = "Option::is_none")]
        via: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(format = DateTime)]
        received_at: Option<String>,
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

/// What everybody on the network may see of an event.
pub(super) enum Seen {
    /// A message: its head, or all of it.
    Message(Arc<Received>),
    /// Anything else: its type, the channel by which watchers choose it, and all of it.
    Other(&'static str, &'static str, Box<EventBody>),
}

impl Seen {
    /// The event with this number; `None` when it is not for the network.
    pub(super) fn of(event: &Event, seq: u64) -> Option<Self> {
        let (kind, channel, body) = match event {
            Event::Message(received) => return is_public(received).then(|| Self::Message(Arc::clone(received))),
            Event::PeerJoined(peer) => {
                let (id, name, capabilities) = (peer.id.0, peer.name.clone(), peer.capabilities.clone());
                ("peer_joined", "_presence", EventBody::PeerJoined { seq, id, name, capabilities })
            }
            Event::PeerLeft { peer, name, .. } => {
                ("peer_left", "_presence", EventBody::PeerLeft { seq, id: peer.0, name: shown::text(name, TEXT_MAX) })
            }
            Event::PeerStatus { peer, status } => {
                let status = status.as_ref().map(|said| Doing::of(said, None));
                ("peer_status_changed", "_status", EventBody::PeerStatusChanged { seq, id: peer.0, status })
            }
            Event::OwnStatus(status) => {
                let Doing { working_on, progress, .. } = Doing::of(status.as_ref().unwrap_or(&Value::Null), None);
                ("status_update", "_status", EventBody::StatusUpdate { seq, working_on, progress })
            }
            // For whoever keeps this node, by its other doors.
            Event::PeerUpdated(_) | Event::Twin { .. } | Event::Evicted { .. } => return None,
        };
        Some(Self::Other(kind, channel, Box::new(body)))
    }

    /// The channel by which watchers choose it.
    pub(super) fn channel(&self) -> Option<Channel> {
        match self {
            Self::Message(received) => Some(received.message.channel.clone()),
            Self::Other(_, channel, _) => Channel::new(channel).ok(),
        }
    }
}

/// Whether a message is for everybody: neither directed nor sealed.
fn is_public(received: &Received) -> bool {
    !matches!(received.message.to, Address::Peer(_)) && !matches!(received.message.payload, Payload::Sealed(_))
}

/// A message as an event: its head, for anybody.
pub(super) fn head(received: &Received, seq: u64) -> String {
    text(&message(received, seq))
}

/// A message as an event: all of it, and how far it can be trusted, for known peers.
pub(super) fn whole(received: &Received, seq: u64) -> String {
    let mut event = message(received, seq);
    if let EventBody::MessageReceived { payload, topic, trust, key, via, received_at, .. } = &mut event {
        let more = received.message.more.as_ref();
        *payload = Some(received.message.payload.to_value());
        *topic = more.and_then(|more| more.topic.as_deref()).map(|topic| shown::text(topic, TEXT_MAX));
        *trust = Some(received.trust.name());
        *key = received.key.map(|key| key.to_string());
        *via = Some(received.via.name());
        *received_at = Some(received.received_at.to_string());
    }
    text(&event)
}

fn message(received: &Received, seq: u64) -> EventBody {
    let message = &received.message;
    EventBody::MessageReceived {
        seq,
        id: message.id.map(|id| id.0),
        from: message.from.0,
        msg_type: message.kind.name(),
        channel: message.channel.to_string(),
        priority: message.priority.name(),
        payload: None,
        topic: None,
        trust: None,
        key: None,
        via: None,
        received_at: None,
    }
}

/// What a watcher who was too slow is told.
pub(in crate::door) fn lagged(seq: u64, skipped: u64) -> String {
    text(&EventBody::Lagged { seq, skipped })
}

/// A shape as JSON text.
pub(in crate::door) fn text(shape: &impl Serialize) -> String {
    serde_json::to_string(shape).expect("the doors' shapes have text keys and no failing parts")
}
