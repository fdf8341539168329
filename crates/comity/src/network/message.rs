//! A message as an application is handed it: what it says, and how far that can be trusted.

use super::topics;
use comity_core::channel::Channel;
use comity_core::envelope::{Address, Kind, Priority, Received, Via};
use comity_core::id::{MessageId, NodeId, PeerId};
use comity_core::identity::trust::Trust;
use comity_core::inbox::Item;
use comity_core::payload::Payload;
use comity_core::time::Timestamp;
use serde_json::Value;
use std::sync::Arc;

/// A message that came. Cloning shares it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    received: Arc<Received>,
    arrival: Option<u64>,
}

impl Message {
    pub(super) fn new(received: Arc<Received>) -> Self {
        Self { received, arrival: None }
    }

    pub(super) fn of_inbox(item: &Item) -> Self {
        Self { received: Arc::new(item.received.clone()), arrival: Some(item.arrival) }
    }

    /// Its id; `None` for messages of senders that give none.
    pub fn id(&self) -> Option<MessageId> {
        self.received.message.id
    }

    /// Who wrote it: proven when [`Self::key`] is there, else only claimed.
    pub fn from(&self) -> PeerId {
        self.received.message.from
    }

    /// Whether it was for this node alone.
    pub fn is_direct(&self) -> bool {
        matches!(self.received.message.to, Address::Peer(_))
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.received.message.kind
    }

    /// The channel it came on.
    pub fn channel(&self) -> &Channel {
        &self.received.message.channel
    }

    /// How urgent its sender finds it.
    pub fn priority(&self) -> Priority {
        self.received.message.priority
    }

    /// When it was written, by its sender's clock.
    pub fn sent_at(&self) -> Timestamp {
        self.received.message.timestamp
    }

    /// When it came, by this node's clock.
    pub fn received_at(&self) -> Timestamp {
        self.received.received_at
    }

    /// The message it answers.
    pub fn reply_to(&self) -> Option<MessageId> {
        self.received.message.reply_to
    }

    /// The conversation it belongs to.
    pub fn thread(&self) -> Option<&str> {
        self.received.message.more.as_ref()?.thread.as_deref()
    }

    /// Its W3C trace context.
    pub fn traceparent(&self) -> Option<&str> {
        self.received.message.more.as_ref()?.traceparent.as_deref()
    }

    /// What it says. Read from the wire form each time: keep the value if it is needed twice.
    pub fn payload(&self) -> Value {
        self.received.message.payload.to_value()
    }

    /// The bytes of a message on a topic, as they were published.
    pub fn raw(&self) -> Vec<u8> {
        topics::raw(&self.received.message.payload)
    }

    /// Whether it is sealed and this node cannot open it; its payload then reads `{"sealed":"…"}`.
    pub fn is_closed(&self) -> bool {
        matches!(self.received.message.payload, Payload::Sealed(_))
    }

    /// How far its sender is trusted.
    pub fn trust(&self) -> Trust {
        self.received.trust
    }

    /// The key that was proven for it.
    pub fn key(&self) -> Option<NodeId> {
        self.received.key
    }

    /// Which way it came.
    pub fn via(&self) -> Via {
        self.received.via
    }

    /// Its number in the inbox, by which it is acknowledged; `None` when it was handed over at once.
    pub fn arrival(&self) -> Option<u64> {
        self.arrival
    }
}
