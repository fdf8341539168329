//! What topics bring: each message is judged, handed to the rules as every other message is, and passed on or not.
//! Peers that were found otherwise are named to libp2p here. What a message means is decided in `comity_core::topic`
//! and `comity_core::audience`.

use super::Topics;
use crate::link::gossip::{Heard, Met, Told, Verdict};
use crate::network::scribe::Words;
use comity_core::audience;
use comity_core::channel::Channel;
use comity_core::envelope::{Address, Kind, Message, More, Priority, Ttl, Via};
use comity_core::id::{MessageId, decode_base64};
use comity_core::node::{Answer, Event, Input, Proof, Refusal};
use comity_core::payload::Payload;
use comity_core::peers::PeerView;
use comity_core::time::Timestamp;
use comity_core::topic::Topic;
use comity_core::wire::gossip::{self as wire, BadGossip, Envelope, Fault};
use comity_core::wire::pack;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

/// Under which name a message is shown that is neither JSON nor text.
const BASE64: &str = "base64";

/// Messages that are with the rules at once; more wait in the queue of what was heard.
const AT_ONCE: usize = 256;

/// How often all who are there are named to libp2p again: it dials those with whom it is not connected.
const OFFERED_EVERY: Duration = Duration::from_secs(30);

/// What a card calls a node that speaks libp2p at its port.
pub(crate) const PROTOCOL: &str = "libp2p";

/// For whom a message is.
enum Meant {
    /// For this node's own listeners; and what it says, if it is of one of the types.
    ForUs(Box<(Message, Option<Envelope>)>),
    /// For others; and when it was written.
    ForOthers(Timestamp),
}

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
                    Some(Told::Met(Met { node, reached_at, dialed })) => {
                        self.0.handle.inform(Input::Met { key: node, remote: reached_at, dialed }).await;
                    }
                    Some(Told::Listens(topic)) if topic == self.names().coordination().name() => {
                        self.0.claims.listened().await;
                    }
                    Some(Told::Listens(_)) => {}
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
            let raw = Words::Raw { from: &heard.author, data: &heard.data };
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
            Ok(Meant::ForUs(meant)) => *meant,
            // Others get it from here, unless somebody says again what was said long ago.
            Ok(Meant::ForOthers(written)) => {
                return (if self.is_current(written) { Verdict::Good } else { Verdict::NotNow }, None);
            }
            Err(bad) => {
                tracing::debug!(author = %heard.author, topic = heard.topic, %bad, "a message of a topic is no good");
                self.0.handle.counters().dropped(bad.cause(), 1);
                return (if bad.fault() == Fault::Author { Verdict::Bad } else { Verdict::NotNow }, None);
            }
        };
        let author = heard.author.node();
        // What was written long ago is refused below; until then nobody acts on it.
        let is_of_now = |envelope: &&Envelope| self.is_current(envelope.timestamp);
        let of_tasks = envelope.as_ref().filter(|_| topic == *self.names().coordination()).filter(is_of_now);
        if let (Some(author), Some(said)) = (author, of_tasks) {
            match self.0.claims.hear(author, said.clone()).await {
                Ok(true) => {}
                // It is known here, and others may not know it. What a node can do, it says once.
                Ok(false) => {
                    let kept = envelope.filter(|envelope| envelope.kind == wire::Kind::CapabilityBroadcast);
                    return (Verdict::Good, kept.map(|envelope| Taken { topic, envelope: Some(envelope) }));
                }
                Err(bad) => {
                    tracing::debug!(author = %heard.author, %bad, "a word about a task is no good");
                    self.0.handle.counters().unheeded("malformed");
                    return (Verdict::NotNow, None);
                }
            }
        }
        // Authors whom nobody knows cost nothing to make: those that came by one neighbour share a bucket.
        let proof = Proof { via: Via::Gossip, address: heard.brought_from, key: author };
        match self.0.handle.arrive(message, proof).await {
            // Who passes on what was said before, keeps it going round for ever.
            Answer::Refused(
                Refusal::Forged | Refusal::FromTheFuture { .. } | Refusal::Expired | Refusal::Duplicate,
            ) => (Verdict::NotNow, None),
            Answer::Accepted => (Verdict::Good, Some(Taken { topic, envelope })),
            // Others may have room for it.
            _ => (Verdict::Good, None),
        }
    }

    /// Whether this was written within the time for which messages are remembered.
    fn is_current(&self, written: Timestamp) -> bool {
        let now = self.now();
        let away = written.since(now).max(now.since(written));
        away <= Ttl::MAX.duration()
    }

    /// For whom a message is.
    fn message(&self, heard: &Heard, topic: &Topic) -> Result<Meant, BadGossip> {
        let envelope = self.decoded(&heard.data, &heard.author, topic)?;
        let role = self.state().audience.clone();
        let written = envelope.as_ref().map_or_else(|| self.now(), |envelope| envelope.timestamp);
        if envelope.as_ref().is_some_and(|envelope| audience::admits(envelope, &role).is_err()) {
            return Ok(Meant::ForOthers(written));
        }
        let Some(message) = self.received(heard, topic, envelope.as_ref()) else {
            tracing::debug!(author = %heard.author, topic = heard.topic, "a message cannot be shown here");
            self.0.handle.counters().dropped("gossip_not_shown", 1);
            return Ok(Meant::ForOthers(written));
        };
        Ok(Meant::ForUs(Box::new((message, envelope))))
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
        let mut again = interval(OFFERED_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event.as_deref() {
                    Ok(Event::PeerJoined(peer) | Event::PeerUpdated(peer)) => self.offer(peer).await,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => again.reset_immediately(),
                    Err(RecvError::Closed) => return,
                },
                _ = again.tick() => {
                    for peer in &self.0.handle.look().await.peers {
                        self.offer(peer).await;
                    }
                }
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
    let mut name = heard.author.to_bytes();
    name.extend(heard.sequence.to_be_bytes());
    MessageId(Uuid::new_v5(&Uuid::NAMESPACE_OID, &name))
}

fn priority(envelope: Option<&Envelope>) -> Priority {
    // What nodes say of themselves, time and again, interrupts nobody and fills no inbox; and by what is said under a
    // lease they agree on who does a task: people ask `claims` how it stands.
    let is_chatter = |envelope: &Envelope| {
        use wire::Kind::{AvailabilityBroadcast, CapabilityBroadcast, TaskClaim, TaskProgress};
        let of_lease = envelope.kind.group() == wire::Group::Coordination && envelope.data.contains_key("lease");
        of_lease || matches!(envelope.kind, AvailabilityBroadcast | CapabilityBroadcast | TaskClaim | TaskProgress)
    };
    match envelope.map(|envelope| (envelope.priority, envelope)) {
        Some((Some(wire::Priority::Urgent), _)) => Priority::Critical,
        Some((Some(wire::Priority::Low), _)) => Priority::Background,
        Some((None, envelope)) if is_chatter(envelope) => Priority::Background,
        Some((Some(wire::Priority::Medium | wire::Priority::High) | None, _)) | None => Priority::Normal,
    }
}

/// What was published, of what is shown of it.
pub(crate) fn raw(shown: &Payload) -> Vec<u8> {
    match shown.to_value() {
        Value::String(text) => text.into_bytes(),
        value => of_base64(&value).unwrap_or_else(|| shown.bytes().to_vec()),
    }
}

fn of_base64(shown: &Value) -> Option<Vec<u8>> {
    let members = shown.as_object().filter(|members| members.len() == 1)?;
    decode_base64(members.get(BASE64)?.as_str()?)
}

/// What is shown of a message: its JSON; a text that is none as a string, and other bytes in base64url. JSON that would
/// be taken for one of these two is shown as the text it is.
fn payload(data: &[u8]) -> Option<Payload> {
    if let Ok(json) = Payload::from_json(data.to_vec()) {
        let value = json.to_value();
        if !value.is_string() && of_base64(&value).is_none() {
            return Some(json);
        }
    }
    // As JSON it would be up to twice as long, and the longest would not fit.
    let packed = match std::str::from_utf8(data) {
        Ok(text) => pack::from_value(&text.into()),
        Err(_) => packed_bytes(data)?,
    };
    Payload::from_pack(packed).ok()
}

/// `{"base64": …}` in MessagePack, with the bytes as they are: they read as base64url.
fn packed_bytes(data: &[u8]) -> Option<Vec<u8>> {
    const MAP_OF_ONE: u8 = 0x81;
    const TEXT_OF_SIX: u8 = 0xa6;
    const BINARY: u8 = 0xc6;
    let length = u32::try_from(data.len()).ok()?.to_be_bytes();
    Some([&[MAP_OF_ONE, TEXT_OF_SIX], BASE64.as_bytes(), &[BINARY], &length, data].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whatever_is_published_is_given_back_as_it_was() {
        let published: [&[u8]; 9] = [
            b"plain words",
            b"{\"n\": 1}",
            b"\"a JSON string\"",
            b"{\"text\":\"x\"}",
            b"{\"base64\":\"AQID\"}",
            b"{\"base64\":\"no!\"}",
            b"12",
            &[0xff, 0, 1],
            b"",
        ];
        for data in published {
            let shown = payload(data).expect("it can be shown");
            assert_eq!(raw(&shown), data, "{}", shown.to_value());
        }
        // As long as may be but for a few bytes.
        for long in [vec![b'\n'; wire::MESSAGE_MAX - 16], vec![0xff; wire::MESSAGE_MAX - 16]] {
            assert_eq!(raw(&payload(&long).expect("it can be shown")), long);
        }
        assert_eq!(payload(b"plain words").expect("a text").to_value(), "plain words");
        assert_eq!(payload(&[0xff]).expect("bytes").to_value(), json!({ "base64": "_w" }));
    }
}
