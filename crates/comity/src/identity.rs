//! Who this node is, while it runs: its key, its card, and the sealing and opening of messages,
//! which cost time and need no state and so are done on the task of whoever wants them.
//! See `protocols/identity.md`.

use crate::observe::Counters;
use comity_core::card::{self, Card};
use comity_core::envelope::{Address, Message, More, Received};
use comity_core::id::{NodeId, PeerId};
use comity_core::identity::key::KeyPair;
use comity_core::identity::seal::{self, CannotSeal};
use comity_core::inbox::Item;
use comity_core::node::{Answer, Boot, Send};
use comity_core::payload::Payload;
use comity_core::time::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Who this node is.
pub(crate) struct Identity {
    keys: KeyPair,
    node: NodeId,
    peer: PeerId,
    boot: Boot,
    started_at: Timestamp,
    about: About,
}

/// What a node says about itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    /// The name people see.
    pub(crate) name: String,
    /// The version of the program.
    pub(crate) version: String,
    /// What it can do.
    pub(crate) capabilities: Vec<String>,
    /// The protocols it speaks.
    pub(crate) protocols: Vec<String>,
    /// What else it says; empty unless somebody chose to say it.
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Identity {
    /// A node with this key that starts now.
    pub(crate) fn start(keys: KeyPair, about: About, now: Timestamp) -> Self {
        let (node, peer) = (keys.node(), keys.peer());
        Self { keys, node, peer, boot: Boot(Uuid::new_v4()), started_at: now, about }
    }

    /// Its key pair.
    pub(crate) fn keys(&self) -> &KeyPair {
        &self.keys
    }

    /// Its public key.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Its UUID.
    pub(crate) fn peer(&self) -> PeerId {
        self.peer
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.about.name
    }

    /// What it says about itself.
    pub(crate) fn about(&self) -> &About {
        &self.about
    }

    /// This start.
    pub(crate) fn boot(&self) -> Boot {
        self.boot
    }

    /// When it started.
    pub(crate) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Its card, signed, of now.
    pub(crate) fn card(&self, endpoints: Vec<String>, now: Timestamp) -> Value {
        let detail = (!self.about.metadata.is_empty())
            .then(|| Map::from_iter([("metadata".to_owned(), json!(self.about.metadata))]));
        let card = Card {
            node: Some(self.node),
            name: self.about.name.clone(),
            service: "comity".to_owned(),
            version: self.about.version.clone(),
            protocol: card::PROTOCOL.to_owned(),
            capabilities: self.about.capabilities.clone(),
            protocols: self.about.protocols.clone(),
            endpoints,
            started_at: self.started_at,
            issued_at: now,
            expires_at: now + card::LIFETIME_MAX,
            detail,
            ..Card::default()
        };
        comity_core::wire::card::sign(&card, &self.keys)
    }

    /// Seals a message for the node with this key, which must be its addressee.
    pub(crate) fn seal(&self, send: &mut Send, to: &NodeId, now: Timestamp) -> Result<(), CannotSeal> {
        let mut message = Message {
            id: Some(send.id),
            from: self.peer,
            to: send.to.map_or(Address::Broadcast, Address::Peer),
            kind: send.kind,
            channel: send.channel.clone(),
            priority: send.priority,
            timestamp: now,
            ttl: send.ttl,
            reply_to: send.reply_to,
            payload: send.payload.clone(),
            more: Some(Box::new(More { from_key: Some(self.node), ..More::default() })),
        };
        seal::seal(&mut message, to, &self.keys, rand::random())?;
        send.payload = message.payload;
        send.sealed_at = Some(message.timestamp);
        Ok(())
    }

    /// The message with its seal opened, if it has one and this node can; else as it is, and
    /// counted at every look.
    pub(crate) fn open(&self, received: Arc<Received>, counters: &Counters) -> Arc<Received> {
        if !matches!(received.message.payload, Payload::Sealed(_)) {
            return received;
        }
        let opened = received.key.map(|from| seal::open(&received.message, &self.keys, &from));
        let Some(Ok(payload)) = opened else {
            counters.unreadable();
            return received;
        };
        Arc::new(received.with(Message { payload, ..received.message.clone() }))
    }

    /// The answer with the messages in it opened.
    pub(crate) fn open_answer(&self, answer: Answer, counters: &Counters) -> Answer {
        match answer {
            Answer::Response(received) => Answer::Response(self.open(received, counters)),
            Answer::Items(items) => {
                Answer::Items(items.into_iter().map(|item| self.open_item(item, counters)).collect())
            }
            other => other,
        }
    }

    fn open_item(&self, item: Arc<Item>, counters: &Counters) -> Arc<Item> {
        if !matches!(item.received.message.payload, Payload::Sealed(_)) {
            return item;
        }
        let received = self.open(Arc::new(item.received.clone()), counters);
        Arc::new(Item { arrival: item.arrival, received: Arc::unwrap_or_clone(received) })
    }
}
