//! The topics of a running node: which it listens to, in which role, and what it says there. Where something may be
//! said, and for whom it is, is decided in `comity_core::topic` and `comity_core::audience`. See `protocols/pubsub.md`.

mod hearing;
mod operations;
mod roles;
mod said;

pub(crate) use hearing::{PROTOCOL, raw};
pub use operations::Handling;
pub use roles::OwnRole;
pub use said::Said;

use super::Error;
use super::claims::{self, Claims};
use super::scribe::{Scribe, Words};
use crate::config;
use crate::driver::Handle;
use crate::link::gossip::{self, Gossip};
use crate::redaction::labels;
use crate::store::journal::NotAppended;
use comity_core::audience::Role;
use comity_core::channel::Channel;
use comity_core::id::{Libp2pId, NodeId, decode_base64};
use comity_core::node::{Answer, Ask, Input, Refusal, SourceHealth};
use comity_core::peers::Source;
use comity_core::redact::{Exempt, Typed};
use comity_core::time::Timestamp;
use comity_core::topic::{About, BadTopic, Topic, Topics as Names};
use comity_core::wire::gossip::{self as wire, BadGossip, Envelope};
use comity_core::wire::strict;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Topics that a node listens to, at most: others refuse more of one peer.
const TOPICS_MAX: usize = 256;

/// The name of the setting in which topics and role are kept across restarts.
const KEPT: &str = "topics";

/// What gossip kept across a restart.
#[derive(Debug, Default)]
pub(super) struct Kept {
    topics: Option<Value>,
    claims: Option<Value>,
}

impl Kept {
    /// Of all that the node kept.
    pub(super) fn of(settings: &[(String, Value)]) -> Self {
        let named = |name: &str| settings.iter().find(|(one, _)| one == name).map(|(_, kept)| kept.clone());
        Self { topics: named(KEPT), claims: named(claims::KEPT) }
    }
}

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
    /// A raw message where only messages of the 31 types are taken, and it is none.
    #[error("{topic} takes messages of a type, and raw ones only if they are such a message: {bad}")]
    NotRaw {
        /// The topic.
        topic: Topic,
        /// Why the message is none.
        bad: BadGossip,
    },
    /// What is said in a role wants one.
    #[error("this node has no role: set one first")]
    NoRole,
    /// The message is not as its type or its topic wants it.
    #[error(transparent)]
    Message(#[from] BadGossip),
    /// It is larger than may be.
    #[error("it is larger than {} bytes", wire::MESSAGE_MAX)]
    TooLarge,
    /// Nobody who is connected listens.
    #[error("nobody who is connected for gossip listens to {0}")]
    Nobody(Topic),
    /// It cannot be journaled, and so it is not said.
    #[error("it was not published, because it cannot be journaled: {0}")]
    NotJournaled(NotAppended),
    /// The connections take no more for now.
    #[error("it could not be published: {0}")]
    Link(String),
    /// It was done, and would be forgotten in a restart.
    #[error("it holds until this node ends, and no longer: {0}")]
    NotKept(Refusal),
}

/// The topics of a node. Cloning shares them.
#[derive(Clone)]
pub struct Topics(Arc<Shared>);

struct Shared {
    handle: Handle,
    gossip: Gossip,
    claims: Claims,
    scribe: Scribe,
    names: Names,
    me: Libp2pId,
    /// A lock and not a message: doors and what is heard look in for a moment each.
    state: Mutex<State>,
    /// Likewise; it is taken when a program sets a handler.
    handlers: Mutex<Vec<(Topic, Handling)>>,
}

struct State {
    /// Those that every node joins, and those that somebody joined.
    joined: BTreeSet<Topic>,
    /// Those that belong to the role.
    of_role: BTreeSet<Topic>,
    role: Option<OwnRole>,
    /// The same, as it is compared.
    audience: Role,
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Topics").field(&self.list()).finish()
    }
}

impl Topics {
    /// Starts gossip in the background, on the topics that every node joins and those that were joined before the last
    /// restart. `accepted` is what the one port takes.
    pub(super) async fn start(
        handle: &Handle,
        scribe: Scribe,
        config: config::Gossip,
        place: gossip::Place,
        accepted: mpsc::Receiver<gossip::Accepted>,
        kept: &Kept,
    ) -> io::Result<Self> {
        let names = Names::new(&config.coordination, &config.meta, &config.context).map_err(io::Error::other)?;
        let counters = handle.counters().clone();
        let (gossip, told, running) = Gossip::start(handle.me().keys(), config, place, accepted, counters)?;
        let me = handle.me().node();
        let audience = Role { node: me, roles: BTreeSet::new(), expertise: BTreeSet::new() };
        let state = State { joined: BTreeSet::new(), of_role: BTreeSet::new(), role: None, audience };
        let (claims, claiming) = Claims::start(handle);
        let topics = Self(Arc::new(Shared {
            handle: handle.clone(),
            gossip,
            claims,
            scribe,
            me: me.into(),
            state: Mutex::new(state),
            handlers: Mutex::default(),
            names,
        }));
        let stop = handle.stop().clone();
        tokio::spawn(async move { stop.run_until_cancelled(running).await });
        for topic in topics.static_topics() {
            // Err: there are three.
            let _ = topics.listen(topic).await;
        }
        topics.restore(kept.topics.as_ref()).await;
        let (stop, claiming) = (handle.stop().clone(), claiming(topics.clone(), kept.claims.as_ref()));
        tokio::spawn(async move { stop.run_until_cancelled(claiming.run()).await });
        let (stop, hearing, offering) = (handle.stop().clone(), topics.clone(), topics.clone());
        tokio::spawn(async move { stop.run_until_cancelled(hearing.hear(told)).await });
        let stop = handle.stop().clone();
        tokio::spawn(async move { stop.run_until_cancelled(offering.offer_peers()).await });
        handle.inform(Input::Source { source: Source::Gossip, health: SourceHealth::Up }).await;
        Ok(topics)
    }

    /// Tasks that nodes announce and claim here.
    pub fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// The names of the three topics that every node joins.
    pub fn names(&self) -> &Names {
        &self.0.names
    }

    /// Listens to a topic, also after restarts; `false` when it did already.
    ///
    /// # Errors
    /// [`TopicError`].
    pub async fn join(&self, name: &str) -> Result<bool, TopicError> {
        let topic = read(name)?;
        let is_new = self.listen(topic).await?;
        if is_new {
            self.keep().await?;
        }
        Ok(is_new)
    }

    /// Listens no more, and frees all that the topic held; `false` when it did not. The three topics that every node
    /// joins, and those of its role, are joined again when it starts.
    ///
    /// # Errors
    /// [`TopicError`].
    pub async fn leave(&self, name: &str) -> Result<bool, TopicError> {
        let topic = read(name)?;
        let was = {
            let mut state = self.state();
            state.joined.remove(&topic) | state.of_role.remove(&topic)
        };
        if was {
            self.0.handlers().retain(|(handled, _)| *handled != topic);
            self.0.gossip.leave(topic.name().to_owned()).await;
            self.keep().await?;
        }
        Ok(was)
    }

    /// The topics that are listened to, by name.
    pub fn list(&self) -> Vec<Topic> {
        let state = self.state();
        state.joined.union(&state.of_role).cloned().collect()
    }

    /// This node's PeerId.
    pub fn me(&self) -> &Libp2pId {
        &self.0.me
    }

    /// Where others reach this node by libp2p.
    pub async fn addresses(&self) -> Vec<String> {
        self.0.gossip.addresses().await
    }

    /// Publishes a message of one of the 31 types on a topic that takes them. Secrets are taken out of what it says.
    ///
    /// # Errors
    /// [`TopicError`].
    pub async fn publish_to(&self, name: &str, said: Said) -> Result<(), TopicError> {
        let topic = read(name)?;
        let envelope = said.envelope(self.0.me.clone(), self.now());
        self.publish(topic, envelope).await
    }

    /// Publishes bytes as they are, but for secrets in what is text, on a topic that was joined. Where only messages of
    /// the 31 types are taken, they must be one, of this node.
    ///
    /// # Errors
    /// [`TopicError`].
    pub async fn publish_raw(&self, name: &str, data: Vec<u8>) -> Result<(), TopicError> {
        let topic = read(name)?;
        if !self.listens_to(&topic) {
            return Err(TopicError::NotJoined(topic));
        }
        if data.len() > wire::MESSAGE_MAX {
            return Err(TopicError::TooLarge);
        }
        let data = self.redacted(&topic, data);
        // Others would take this node for a liar.
        let said = self.decoded(&data, &self.0.me, &topic);
        said.map_err(|bad| TopicError::NotRaw { topic: topic.clone(), bad })?;
        let written = data.clone();
        self.say(&topic, data, Words::Raw { from: &self.0.me, data: &written }).await
    }

    /// Publishes a message that is ready but for its secrets.
    pub(crate) async fn publish(&self, topic: Topic, mut envelope: Envelope) -> Result<(), TopicError> {
        let data = Value::Object(std::mem::take(&mut envelope.data));
        let labels = || labels("gossip", topic.name(), envelope.kind.name());
        let clean = self.0.handle.redaction().document(&data, &own_fields(envelope.kind, &data), labels, self.now());
        envelope.data = object(clean.into_owned());
        let text = wire::encode(&envelope, &self.0.names, &topic)?;
        self.say(&topic, text, Words::Message(&envelope)).await
    }

    /// The bytes without secrets: what is JSON as such, what is text as such, anything else as it is. JSON that names a
    /// member twice is text: a reader keeps only one of them.
    fn redacted(&self, topic: &Topic, data: Vec<u8>) -> Vec<u8> {
        let redaction = self.0.handle.redaction();
        let labels = || labels("gossip", topic.name(), "raw");
        if let Ok(value) = strict::parse(&data) {
            let clean = redaction.document(&value, &Typed::default(), labels, self.now());
            return if *clean == value { data } else { clean.to_string().into_bytes() };
        }
        match String::from_utf8(data) {
            Ok(text) => redaction.text(&text, labels, self.now()).into_owned().into_bytes(),
            Err(none) => none.into_bytes(),
        }
    }

    /// Says it, once the journal has it. Where nobody listens nothing is said, and nothing written.
    async fn say(&self, topic: &Topic, data: Vec<u8>, words: Words<'_>) -> Result<(), TopicError> {
        if !self.0.gossip.is_listened_to(topic.name().to_owned()).await {
            return Err(TopicError::Nobody(topic.clone()));
        }
        self.0.scribe.say(topic, words).await.map_err(TopicError::NotJournaled)?;
        match self.0.gossip.publish(topic.name().to_owned(), data).await {
            Ok(()) => Ok(()),
            Err(gossip::NotPublished::Nobody) => Err(TopicError::Nobody(topic.clone())),
            Err(gossip::NotPublished::TooLarge) => Err(TopicError::TooLarge),
            Err(other) => Err(TopicError::Link(other.to_string())),
        }
    }

    fn static_topics(&self) -> [Topic; 3] {
        let names = &self.0.names;
        [names.coordination(), names.meta(), names.context()].map(Clone::clone)
    }

    /// Whether it is new that it listens there.
    async fn listen(&self, topic: Topic) -> Result<bool, TopicError> {
        {
            let mut state = self.state();
            if state.joined.contains(&topic) {
                return Ok(false);
            }
            if state.joined.len() + state.of_role.len() >= TOPICS_MAX {
                return Err(TopicError::TooMany);
            }
            state.joined.insert(topic.clone());
        }
        self.0.gossip.join(topic.name().to_owned()).await;
        Ok(true)
    }

    /// The message that this author put into these bytes; `None` where anything may be said, and it is something else.
    fn decoded(&self, data: &[u8], author: &Libp2pId, topic: &Topic) -> Result<Option<Envelope>, BadGossip> {
        let about = self.0.names.read(topic);
        match wire::decode(data, author, &self.0.names, topic) {
            Ok(envelope) => Ok(Some(envelope)),
            Err(bad @ BadGossip::TooLarge { .. }) => Err(bad),
            // A room may hand on what somebody else wrote.
            Err(bad @ BadGossip::NotTheAuthor) if about == About::Custom => Err(bad),
            Err(_) if matches!(about, About::Room(_) | About::Custom) => Ok(None),
            Err(bad) => Err(bad),
        }
    }

    fn listens_to(&self, topic: &Topic) -> bool {
        let state = self.state();
        state.joined.contains(topic) || state.of_role.contains(topic)
    }

    /// Keeps topics and role across restarts.
    async fn keep(&self) -> Result<(), TopicError> {
        let value = {
            let (state, always) = (self.state(), self.static_topics());
            let joined: Vec<&str> =
                state.joined.iter().filter(|topic| !always.contains(topic)).map(Topic::name).collect();
            json!({ "joined": joined, "role": state.role.as_ref().map(OwnRole::to_value) })
        };
        match self.0.handle.ask(Ask::Keep { name: KEPT, value }).await {
            Answer::Done => Ok(()),
            other => match super::error::unexpected(other) {
                Error::Refused(refusal) => Err(TopicError::NotKept(refusal)),
                _ => Err(TopicError::NotKept(Refusal::Leaving)),
            },
        }
    }

    /// Takes up what was kept. What cannot be read is left out: a later version may have written it.
    async fn restore(&self, kept: Option<&Value>) {
        let Some(kept) = kept else { return };
        let joined = kept["joined"].as_array().into_iter().flatten().filter_map(Value::as_str);
        if let Some(role) = OwnRole::of_value(&kept["role"]) {
            // Err: its names were good when it was kept.
            let _ = self.take_role(Some(role)).await;
        }
        for topic in joined.filter_map(|name| read(name).ok()) {
            if let Err(full) = self.listen(topic).await {
                tracing::warn!(%full, "a topic that was joined is not joined again");
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.0.handle.now().wall
    }
}

impl Shared {
    fn handlers(&self) -> MutexGuard<'_, Vec<(Topic, Handling)>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A topic as a node has it: a channel's name, too, under which its messages are watched.
fn read(name: &str) -> Result<Topic, TopicError> {
    let topic = Topic::new(name).map_err(TopicError::Name)?;
    Channel::new(name).map(|_| topic).map_err(|_| TopicError::Name(BadTopic::Topic))
}

/// Fields that look like secrets and are Comity's own: who does a task, and who signed that. Where something else stands
/// in one, it is not.
fn own_fields(kind: wire::Kind, data: &Value) -> Typed {
    let text = |field: &str| data.pointer(field).and_then(Value::as_str);
    let is_node = |field: &str| text(field).is_some_and(|text| text.parse::<NodeId>().is_ok());
    let is_signature = |field: &str| text(field).and_then(decode_base64).is_some_and(|bytes| bytes.len() == 64);
    let of_tasks = ["/announcer", "/claimant", "/assigned_to"].into_iter().filter(|field| is_node(field));
    let fields = of_tasks.chain(["/sig"].into_iter().filter(|field| is_signature(field)));
    Typed::Kept(if kind.group() == wire::Group::Coordination { Exempt::new(fields) } else { Exempt::default() })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
