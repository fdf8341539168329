//! The topics of a running node: which it listens to, what it says there, and what becomes of what it hears. What comes
//! is judged here and handed to the rules as every other message is; where it may be said, and for whom it is, is
//! decided in `comity_core::topic` and `comity_core::audience`. See `protocols/pubsub.md`.

use crate::config;
use crate::driver::Handle;
use crate::link::gossip::{self, Gossip, Heard, Met, Told, Verdict};
use comity_core::audience::{self, Role};
use comity_core::channel::Channel;
use comity_core::envelope::{Address, Kind, Message, More, Priority, Ttl, Via};
use comity_core::id::{Libp2pId, MessageId};
use comity_core::node::{Answer, Event, Input, Proof, Refusal, SourceHealth};
use comity_core::payload::Payload;
use comity_core::peers::{PeerView, Source};
use comity_core::time::Timestamp;
use comity_core::topic::{BadTopic, Topic, Topics as Names};
use comity_core::wire::gossip::{self as wire, BadGossip, Envelope, Fault};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Messages that are with the rules at once; more wait in the queue of what was heard.
const AT_ONCE: usize = 256;

/// Topics that a node listens to, at most: others refuse more of one peer.
const TOPICS_MAX: usize = 256;

/// Why a topic cannot be joined, or a message not be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The name can be none.
    #[error("{0}, and here no spaces and at most {max} bytes", max = comity_core::limits::CHANNEL_NAME_MAX)]
    Name(BadTopic),
    /// As many as there may be were joined.
    #[error("this node listens to {TOPICS_MAX} topics already: leave one first")]
    TooMany,
    /// A raw message wants a topic that was joined.
    #[error("this node does not listen to {0}: join it first")]
    NotJoined(Topic),
    /// The message is not as its type or its topic wants it.
    #[error(transparent)]
    Message(#[from] BadGossip),
    /// It is larger than may be.
    #[error("it is larger than {} bytes", wire::MESSAGE_MAX)]
    TooLarge,
    /// Nobody who is connected listens.
    #[error("nobody who is connected for gossip listens to {0}")]
    Nobody(Topic),
    /// The connections take no more for now.
    #[error("it could not be published: {0}")]
    Link(String),
}

/// The topics of a node. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Topics(Arc<Shared>);

struct Shared {
    handle: Handle,
    gossip: Gossip,
    names: Names,
    me: Libp2pId,
    // A lock and not a message: doors and what is heard look in for a moment each.
    joined: Mutex<BTreeSet<Topic>>,
    role: Mutex<Role>,
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Topics").field(&self.joined()).finish()
    }
}

impl Topics {
    /// Starts gossip in the background, on the topics that every node joins. `accepted` is what the one port takes.
    pub(super) async fn start(
        handle: &Handle,
        config: config::Gossip,
        place: gossip::Place,
        accepted: mpsc::Receiver<gossip::Accepted>,
    ) -> io::Result<Self> {
        let names = Names::new(&config.coordination, &config.meta, &config.context).map_err(io::Error::other)?;
        let (gossip, told, running) =
            Gossip::start(handle.me().keys(), config, place, accepted, handle.counters().clone())?;
        let me = handle.me().node();
        let role = Role { node: me, roles: BTreeSet::new(), expertise: BTreeSet::new() };
        let topics = Self(Arc::new(Shared {
            handle: handle.clone(),
            gossip,
            me: me.into(),
            joined: Mutex::default(),
            role: Mutex::new(role),
            names,
        }));
        let stop = handle.stop().clone();
        tokio::spawn(async move { stop.run_until_cancelled(running).await });
        for topic in [topics.0.names.coordination(), topics.0.names.meta(), topics.0.names.context()] {
            // Err: the name was checked with the configuration.
            let _ = topics.join(topic.name()).await;
        }
        let (stop, hearing, offering) = (handle.stop().clone(), topics.clone(), topics.clone());
        tokio::spawn(async move { stop.run_until_cancelled(hearing.hear(told)).await });
        let stop = handle.stop().clone();
        tokio::spawn(async move { stop.run_until_cancelled(offering.offer_peers()).await });
        handle.inform(Input::Source { source: Source::Gossip, health: SourceHealth::Up }).await;
        Ok(topics)
    }

    /// Listens to a topic; `false` when it did already.
    pub(crate) async fn join(&self, name: &str) -> Result<bool, TopicError> {
        let topic = read(name)?;
        {
            let mut joined = self.joined();
            if joined.contains(&topic) {
                return Ok(false);
            }
            if joined.len() >= TOPICS_MAX {
                return Err(TopicError::TooMany);
            }
            joined.insert(topic.clone());
        }
        self.0.gossip.join(topic.name().to_owned()).await;
        Ok(true)
    }

    /// Listens no more; `false` when it did not.
    pub(crate) async fn leave(&self, name: &str) -> Result<bool, TopicError> {
        let topic = read(name)?;
        let was = self.joined().remove(&topic);
        if was {
            self.0.gossip.leave(topic.name().to_owned()).await;
        }
        Ok(was)
    }

    /// The topics that are listened to, by name.
    pub(crate) fn list(&self) -> Vec<Topic> {
        self.joined().iter().cloned().collect()
    }

    /// This node's PeerId.
    pub(crate) fn me(&self) -> &Libp2pId {
        &self.0.me
    }

    /// Where others reach this node by libp2p.
    pub(crate) async fn addresses(&self) -> Vec<String> {
        self.0.gossip.addresses().await
    }

    /// Publishes a message of one of the 31 types.
    pub(crate) async fn publish(&self, name: &str, said: Said) -> Result<(), TopicError> {
        let topic = read(name)?;
        let now = self.0.handle.now().wall;
        let envelope = Envelope {
            from_role: said.from_role,
            to_roles: said.to_roles,
            required_expertise: said.required_expertise,
            project_id: said.project_id,
            priority: said.priority,
            thread_id: said.thread_id,
            ..Envelope::new(said.kind, self.0.me.clone(), now, said.data)
        };
        let text = wire::encode(&envelope, &self.0.names, &topic)?;
        self.say(topic, text).await
    }

    /// Publishes bytes as they are, on a topic that was joined.
    pub(crate) async fn publish_raw(&self, name: &str, data: Vec<u8>) -> Result<(), TopicError> {
        let topic = read(name)?;
        if !self.joined().contains(&topic) {
            return Err(TopicError::NotJoined(topic));
        }
        if data.len() > wire::MESSAGE_MAX {
            return Err(TopicError::TooLarge);
        }
        self.say(topic, data).await
    }

    async fn say(&self, topic: Topic, data: Vec<u8>) -> Result<(), TopicError> {
        match self.0.gossip.publish(topic.name().to_owned(), data).await {
            Ok(()) => Ok(()),
            Err(gossip::NotPublished::Nobody) => Err(TopicError::Nobody(topic)),
            Err(gossip::NotPublished::TooLarge) => Err(TopicError::TooLarge),
            Err(other) => Err(TopicError::Link(other.to_string())),
        }
    }

    fn joined(&self) -> MutexGuard<'_, BTreeSet<Topic>> {
        self.0.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what comes, in order, and says of each message whether it is passed on once the rules have decided.
    async fn hear(&self, mut told: mpsc::Receiver<Told>) {
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
                    Some(Told::Parted(key)) => self.0.handle.inform(Input::Parted { key }).await,
                    None => return,
                },
                Some(()) = deciding.next() => {}
            }
        }
    }

    async fn decide(&self, heard: Heard) {
        let verdict = self.judged(&heard).await;
        self.0.gossip.judge(&heard, verdict).await;
    }

    async fn judged(&self, heard: &Heard) -> Verdict {
        // libp2p lets nothing else through.
        let Ok(topic) = Topic::new(&heard.topic) else { return Verdict::NotNow };
        if !self.joined().contains(&topic) {
            return Verdict::NotNow;
        }
        let message = match self.message(heard, &topic) {
            Ok(Meant::ForUs(message)) => *message,
            // Others get it from here, unless somebody says again what was said long ago.
            Ok(Meant::ForOthers(written)) => {
                return if self.is_current(written) { Verdict::Good } else { Verdict::NotNow };
            }
            Err(bad) => {
                tracing::debug!(author = %heard.author, topic = heard.topic, %bad, "a message of a topic is no good");
                self.0.handle.counters().dropped(bad.cause(), 1);
                return if bad.fault() == Fault::Author { Verdict::Bad } else { Verdict::NotNow };
            }
        };
        let proof = Proof { via: Via::Gossip, address: Ipv4Addr::LOCALHOST.into(), key: heard.author.node() };
        match self.0.handle.arrive(message, proof).await {
            // Who passes on what was said before, keeps it going round for ever.
            Answer::Refused(
                Refusal::Forged | Refusal::FromTheFuture { .. } | Refusal::Expired | Refusal::Duplicate,
            ) => Verdict::NotNow,
            // Others may have room for it.
            _ => Verdict::Good,
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
        let raw =
            matches!(self.0.names.read(topic), comity_core::topic::About::Room(_) | comity_core::topic::About::Custom);
        let envelope = match wire::decode(&heard.data, &heard.author, &self.0.names, topic) {
            Ok(envelope) => Some(envelope),
            Err(bad @ BadGossip::TooLarge { .. }) => return Err(bad),
            // Rooms and topics of one's own take anything.
            Err(_) if raw => None,
            Err(bad) => return Err(bad),
        };
        let role = self.0.role.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let written = envelope.as_ref().map_or_else(|| self.now(), |envelope| envelope.timestamp);
        if envelope.as_ref().is_some_and(|envelope| audience::admits(envelope, &role).is_err()) {
            return Ok(Meant::ForOthers(written));
        }
        let message = self.received(heard, topic, envelope.as_ref());
        Ok(message.map_or(Meant::ForOthers(written), |message| Meant::ForUs(Box::new(message))))
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

    fn now(&self) -> Timestamp {
        self.0.handle.now().wall
    }

    /// Names to libp2p whoever was found otherwise and has proven its key.
    async fn offer_peers(&self) {
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

/// What a card calls a node that speaks libp2p at its port.
pub(crate) const PROTOCOL: &str = "libp2p";

/// For whom a message is.
enum Meant {
    /// For this node's own listeners.
    ForUs(Box<Message>),
    /// For others; and when it was written.
    ForOthers(Timestamp),
}

/// What somebody wants to say on a topic.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) kind: wire::Kind,
    pub(crate) data: serde_json::Map<String, serde_json::Value>,
    pub(crate) from_role: Option<String>,
    pub(crate) to_roles: Vec<String>,
    pub(crate) required_expertise: Vec<String>,
    pub(crate) project_id: Option<String>,
    pub(crate) priority: Option<wire::Priority>,
    pub(crate) thread_id: Option<String>,
}

/// A topic as a node has it: a channel's name, too, under which its messages are watched.
fn read(name: &str) -> Result<Topic, TopicError> {
    let topic = Topic::new(name).map_err(TopicError::Name)?;
    Channel::new(name).map(|_| topic).map_err(|_| TopicError::Name(BadTopic::Topic))
}

/// Author and number of a message, which it signed: whoever brings it again brings the same id.
fn id_of(heard: &Heard) -> MessageId {
    let mut name = heard.author.to_bytes();
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

/// What is shown of a message: its JSON; a text that is none as a text, and other bytes in base64url.
fn payload(data: &[u8]) -> Option<Payload> {
    if let Ok(json) = Payload::from_json(data.to_vec()) {
        return Some(json);
    }
    let text = match std::str::from_utf8(data) {
        Ok(text) => serde_json::json!({ "text": text }),
        Err(_) => serde_json::json!({ "base64": comity_core::id::encode_base64(data) }),
    };
    Payload::from_value(&text).ok()
}
