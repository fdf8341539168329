//! What topics bring: each message is judged, handed to the rules as every other message is, and passed on or not.
//! Peers that were found otherwise are named to libp2p here. What a message means is decided in `comity_core::topic`
//! and `comity_core::audience`.

use super::Topics;
use crate::link::gossip::{Heard, Met, Told, Verdict};
use crate::network::scribe::Words;
use comity_core::audience;
use comity_core::channel::Channel;
use comity_core::envelope::{Address, Kind, Message, More, Priority, Ttl, Via};
use comity_core::id::{Libp2pId, MessageId};
use comity_core::node::{Answer, Event, Input, Proof, Refusal};
use comity_core::payload::Payload;
use comity_core::peers::PeerView;
use comity_core::topic::{About, Topic};
use comity_core::wire::gossip::{self as wire, BadGossip, Envelope, Fault};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::net::Ipv4Addr;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Under which name a message is shown that is text and no JSON, and one that is neither.
const TEXT: &str = "text";
const BASE64: &str = "base64";

/// Messages that are with the rules at once; more wait in the queue of what was heard.
const AT_ONCE: usize = 256;

/// What a card calls a node that speaks libp2p at its port.
pub(crate) const PROTOCOL: &str = "libp2p";

/// A message that was accepted.
struct Taken {
    topic: Topic,
    /// Its envelope, if it has one.
    envelope: Option<Envelope>,
}

impl Topics {
    /// Takes what comes, in order, and says of each message whether it is passed on once the rules have decided.
    pub(super) async fn hear(&self, mut told: mpsc::Receiver<Told>) {
        let mut deciding = FuturesUnordered::new();
        loop {
            tokio::select! {
                next = told.recv(), if deciding.len() < AT_ONCE => match next {
                    Some(Told::Heard(heard)) => {
                        let mut decision = Box::pin(self.decide(heard));
                        // It reaches the rules before what comes after it.
                        if futures_util::poll!(&mut decision).is_pending() {
                            deciding.push(decision);
                        }
                    }
                    Some(Told::Met(Met { node, remote, dialed })) => {
                        self.0.handle.inform(Input::Met { key: node, remote, dialed }).await;
                    }
                    Some(Told::Parted(key)) => self.0.handle.inform(Input::Parted { key }).await,
                    None => return,
                },
                Some(()) = deciding.next() => {}
            }
        }
    }

    async fn decide(&self, heard: Heard) {
        let (verdict, taken) = self.judged(&heard).await;
        self.0.gossip.judge(&heard, verdict).await;
        // Others need not wait for this node's disk.
        if let Some(Taken { topic, envelope }) = taken {
            let from = Libp2pId::from(heard.author);
            let raw = Words::Raw { from: &from, data: &heard.data };
            self.0.scribe.hear(&topic, envelope.as_ref().map_or(raw, Words::Message)).await;
        }
    }

    /// What becomes of it, and what of it is for this node's journal.
    async fn judged(&self, heard: &Heard) -> (Verdict, Option<Taken>) {
        // libp2p lets nothing else through.
        let Ok(topic) = Topic::new(&heard.topic) else { return (Verdict::NotNow, None) };
        if !self.listens_to(&topic) {
            return (Verdict::NotNow, None);
        }
        let (message, envelope) = match self.message(heard, &topic) {
            Ok(Some(taken)) => taken,
            // It is for others, who get it from here.
            Ok(None) => return (Verdict::Good, None),
            Err(bad) => {
                tracing::debug!(author = %heard.author, topic = heard.topic, %bad, "a message of a topic is no good");
                self.0.handle.counters().turned_away("gossip");
                return (if bad.fault() == Fault::Author { Verdict::Bad } else { Verdict::NotNow }, None);
            }
        };
        let proof = Proof { via: Via::Gossip, address: Ipv4Addr::LOCALHOST.into(), key: Some(heard.author) };
        match self.0.handle.arrive(message, proof).await {
            Answer::Refused(Refusal::Forged | Refusal::FromTheFuture { .. } | Refusal::Expired) => {
                (Verdict::NotNow, None)
            }
            Answer::Accepted => (Verdict::Good, Some(Taken { topic, envelope })),
            // Others may have room for it.
            _ => (Verdict::Good, None),
        }
    }

    /// The message for this node's own listeners, and what it was read as; `None` when it is not for them.
    fn message(&self, heard: &Heard, topic: &Topic) -> Result<Option<(Message, Option<Envelope>)>, BadGossip> {
        let raw = matches!(self.0.names.read(topic), About::Room(_) | About::Custom);
        let author = Libp2pId::from(heard.author);
        let envelope = match wire::decode(&heard.data, &author, &self.0.names, topic) {
            Ok(envelope) => Some(envelope),
            // Rooms and topics of one's own take anything.
            Err(_) if raw => None,
            Err(bad) => return Err(bad),
        };
        let role = self.state().audience.clone();
        if envelope.as_ref().is_some_and(|envelope| audience::admits(envelope, &role).is_err()) {
            return Ok(None);
        }
        Ok(self.received(heard, topic, envelope.as_ref()).map(|message| (message, envelope)))
    }

    fn received(&self, heard: &Heard, topic: &Topic, envelope: Option<&Envelope>) -> Option<Message> {
        let thread = envelope.and_then(|envelope| envelope.thread_id.clone());
        let more = thread.map(|thread| Box::new(More { thread: Some(thread), ..More::default() }));
        Some(Message {
            id: Some(id_of(heard)),
            from: heard.author.peer(),
            to: Address::Broadcast,
            kind: Kind::Extended,
            channel: Channel::new(topic.name()).ok()?,
            priority: priority(envelope),
            timestamp: envelope.map_or_else(|| self.now(), |envelope| envelope.timestamp),
            ttl: Ttl::MAX,
            reply_to: None,
            payload: payload(&heard.data)?,
            more,
        })
    }

    /// Names to libp2p whoever was found otherwise and has proven its key.
    pub(super) async fn offer_peers(&self) {
        let mut events = self.0.handle.peer_events();
        for peer in &self.0.handle.look().await.peers {
            self.offer(peer).await;
        }
        loop {
            match events.recv().await.as_deref() {
                Ok(Event::PeerJoined(peer) | Event::PeerUpdated(peer)) => self.offer(peer).await,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => {
                    for peer in &self.0.handle.look().await.peers {
                        self.offer(peer).await;
                    }
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn offer(&self, peer: &PeerView) {
        let speaks = |card: &comity_core::card::Card| card.protocols.iter().any(|protocol| protocol == PROTOCOL);
        if let Some(key) = peer.key
            && peer.presence.is_here()
            && peer.card.as_deref().is_some_and(speaks)
            && !peer.addresses.is_empty()
        {
            self.0.gossip.offer(key, peer.addresses.clone()).await;
        }
    }
}

/// Author and number of a message, which it signed: whoever brings it again brings the same id.
fn id_of(heard: &Heard) -> MessageId {
    let mut name = heard.author.as_bytes().to_vec();
    name.extend(heard.sequence.to_be_bytes());
    MessageId(Uuid::new_v5(&Uuid::NAMESPACE_OID, &name))
}

fn priority(envelope: Option<&Envelope>) -> Priority {
    match envelope.and_then(|envelope| envelope.priority) {
        Some(wire::Priority::Urgent) => Priority::Critical,
        Some(wire::Priority::Low) => Priority::Background,
        Some(wire::Priority::Medium | wire::Priority::High) | None => Priority::Normal,
    }
}

/// What was published, of what is shown of it.
pub(crate) fn raw(shown: &Payload) -> Vec<u8> {
    let value = shown.to_value();
    let wrapped = |name: &str| value.as_object().filter(|members| members.len() == 1)?.get(name)?.as_str();
    if let Some(text) = wrapped(TEXT) {
        return text.as_bytes().to_vec();
    }
    let bytes = wrapped(BASE64).and_then(|text| comity_core::id::decode_base64(text));
    bytes.unwrap_or_else(|| shown.bytes().to_vec())
}

/// What is shown of a message: its JSON; a text that is none as a text, and other bytes in base64url.
fn payload(data: &[u8]) -> Option<Payload> {
    if let Ok(json) = Payload::from_json(data.to_vec()) {
        return Some(json);
    }
    let text = match std::str::from_utf8(data) {
        Ok(text) => serde_json::json!({ TEXT: text }),
        Err(_) => serde_json::json!({ BASE64: comity_core::id::encode_base64(data) }),
    };
    Payload::from_value(&text).ok()
}
