//! Gossip messages: the envelope that all 31 types share, JSON on the wire, checked by the schemas in
//! `schemas/gossip/` on the way in and out. See "Messages" in `protocols/pubsub.md`. For whom a message is, and on
//! which topic it may be, is decided in [`crate::audience`] and [`crate::topic`]; duplicates are the body's business.
//!
//! What a type says is in `data`, which is kept as it came: the schemas are open. Where the design fixes members,
//! [`body`] and [`task`] read and write them. Members of the envelope that are unknown here are ignored, as in every
//! protocol; GossipSub passes on the bytes, so nothing is lost for others.

pub mod body;
mod kind;
mod schema;
pub mod task;

pub use kind::{ENVELOPE_SCHEMA, Group, Kind};
pub use schema::{Violation, Wanted, check};

use crate::id::Libp2pId;
use crate::journal::EntryKind;
use crate::limits;
use crate::time::Timestamp;
use crate::topic::{Topic, Topics, WrongTopic};
use crate::wire::strict::{self, BadJson, BadJsonReason};
use serde_json::{Map, Value};

/// Largest message, bytes of JSON.
pub const MESSAGE_MAX: usize = 256 * 1024;

/// The most hops at which a message is answered: an answer's answer's answer is, and then nobody goes on.
pub const HOPS_MAX: u8 = 3;

/// Longest unknown type that is repeated in an error, bytes.
const NAME_MAX: usize = 64;

/// A gossip message. Texts are as the author gave them: data, to be cleaned where they are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// What it is.
    pub kind: Kind,
    /// Who wrote it: the peer that signed it.
    pub from: Libp2pId,
    /// When it was written, by the author's clock.
    pub timestamp: Timestamp,
    /// What it says.
    pub data: Map<String, Value>,
    /// How many answers lie between it and what began it.
    pub hop_count: u8,
    /// The role in which the author speaks.
    pub from_role: Option<String>,
    /// The roles that it is for; all, when there are none.
    pub to_roles: Vec<String>,
    /// The kinds of expertise that it is for; all, when there are none.
    pub required_expertise: Vec<String>,
    /// The project that it belongs to.
    pub project_id: Option<String>,
    /// How urgent it is.
    pub priority: Option<Priority>,
    /// The conversation that it belongs to.
    pub thread_id: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

/// How urgent a gossip message is; the order is the order of urgency, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Can wait.
    Low,
    /// As usual.
    Medium,
    /// Before others.
    High,
    /// Now.
    Urgent,
}

/// Why a message was not taken, or cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadGossip {
    /// More than [`MESSAGE_MAX`] bytes.
    #[error("the message has {bytes} bytes: {MESSAGE_MAX} at most")]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// Not JSON, or not as it is read here.
    #[error(transparent)]
    Json(#[from] BadJson),
    /// None of the 31 types; a later version of the protocol may have more.
    #[error("`{name}` is none of the {} types, at /type", Kind::ALL.len())]
    UnknownKind {
        /// The beginning of what stands there.
        name: String,
    },
    /// A member is missing, or is not as the schema of the type wants it.
    #[error(transparent)]
    Schema(#[from] Violation),
    /// `from` is somebody else than who signed.
    #[error("from is not the peer that signed the message, at /from")]
    NotTheAuthor,
    /// The type has no place on the topic.
    #[error(transparent)]
    Topic(#[from] WrongTopic),
}

/// Whose fault it is that a message was not taken: GossipSub's score of a peer depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The author broke the rules: reject it, and lower the peer's score.
    Author,
    /// The author may speak a later version: ignore it.
    Version,
}

impl Priority {
    /// All of them, least urgent first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Urgent];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }
}

impl BadGossip {
    /// What it is counted under.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "gossip_too_large",
            Self::Json(_) => "gossip_json",
            Self::UnknownKind { .. } => "gossip_unknown_type",
            Self::Schema(_) => "gossip_schema",
            Self::NotTheAuthor => "gossip_from",
            Self::Topic(_) => "gossip_topic",
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        if matches!(self, Self::UnknownKind { .. }) { Fault::Version } else { Fault::Author }
    }
}

impl Envelope {
    /// A message of this type that says this, to everybody.
    pub fn new(kind: Kind, from: Libp2pId, timestamp: Timestamp, data: Map<String, Value>) -> Self {
        Self {
            kind,
            from,
            timestamp,
            data,
            hop_count: 0,
            from_role: None,
            to_roles: Vec::new(),
            required_expertise: Vec::new(),
            project_id: None,
            priority: None,
            thread_id: None,
            traceparent: None,
        }
    }

    /// The message that answers this one, in the same conversation and project and as urgent; `None` when it came
    /// over so many hops that nobody answers it.
    pub fn answer(&self, kind: Kind, from: Libp2pId, at: Timestamp, data: Map<String, Value>) -> Option<Self> {
        let hop_count = self.hop_count.checked_add(1).filter(|hops| *hops <= HOPS_MAX + 1)?;
        let (project_id, thread_id) = (self.project_id.clone(), self.thread_id.clone());
        Some(Self { hop_count, project_id, thread_id, priority: self.priority, ..Self::new(kind, from, at, data) })
    }

    /// What its entry in the journal is: what its type is there, but for a task that failed.
    pub fn entry_kind(&self) -> EntryKind {
        let failed = self.data.get(task::STATUS).and_then(Value::as_str) == Some(task::FAILED);
        if self.kind == Kind::TaskComplete && failed { EntryKind::TaskFailed } else { self.kind.entry_kind() }
    }
}

/// Reads a message that came on this topic and that this peer signed.
pub fn decode(body: &[u8], author: &Libp2pId, topics: &Topics, topic: &Topic) -> Result<Envelope, BadGossip> {
    within(body.len())?;
    let value = strict::parse(body)?;
    let kind = kind_of(&value)?;
    check(kind, &value)?;
    let envelope = Fields(value).envelope(kind)?;
    if envelope.from != *author {
        return Err(BadGossip::NotTheAuthor);
    }
    topics.takes(topic, kind)?;
    Ok(envelope)
}

/// The message as JSON text, for this topic.
pub fn encode(envelope: &Envelope, topics: &Topics, topic: &Topic) -> Result<Vec<u8>, BadGossip> {
    topics.takes(topic, envelope.kind)?;
    let value = to_value(envelope);
    if strict::depth(&value) > limits::JSON_DEPTH_MAX {
        return Err(BadJson { pointer: "/data".to_owned(), reason: BadJsonReason::TooDeep }.into());
    }
    check(envelope.kind, &value)?;
    let text = value.to_string().into_bytes();
    within(text.len())?;
    Ok(text)
}

/// The message as a JSON value, unchecked. What is absent is left out.
pub fn to_value(envelope: &Envelope) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    let text = |text: &Option<String>| text.clone().map(Value::from);
    let list = |list: &Vec<String>| (!list.is_empty()).then(|| Value::from(list.clone()));
    put("type", Some(envelope.kind.name().into()));
    put("from", Some(envelope.from.to_string().into()));
    put("timestamp", Some(envelope.timestamp.to_string().into()));
    put("data", Some(Value::Object(envelope.data.clone())));
    put("hop_count", (envelope.hop_count > 0).then(|| envelope.hop_count.into()));
    put("from_role", text(&envelope.from_role));
    put("to_roles", list(&envelope.to_roles));
    put("required_expertise", list(&envelope.required_expertise));
    put("project_id", text(&envelope.project_id));
    put("priority", envelope.priority.map(|priority| priority.name().into()));
    put("thread_id", text(&envelope.thread_id));
    put("traceparent", text(&envelope.traceparent));
    Value::Object(members)
}

fn within(bytes: usize) -> Result<(), BadGossip> {
    if bytes > MESSAGE_MAX { Err(BadGossip::TooLarge { bytes }) } else { Ok(()) }
}

/// What the message says it is: which schema it must keep to.
fn kind_of(value: &Value) -> Result<Kind, BadGossip> {
    let members = value.as_object();
    let members = members.ok_or(Violation { pointer: String::new(), wanted: Wanted::Type(vec!["object"]) })?;
    let name = members.get("type").ok_or_else(|| Violation::of("type", Wanted::Present))?;
    let name = name.as_str().ok_or_else(|| Violation::of("type", Wanted::Type(vec!["string"])))?;
    let unknown = || name[..name.floor_char_boundary(NAME_MAX)].to_owned();
    Kind::parse(name).ok_or_else(|| BadGossip::UnknownKind { name: unknown() })
}

/// The members of a message that keeps to its schema: their types are right, and null is absent.
struct Fields(Value);

impl Fields {
    fn envelope(mut self, kind: Kind) -> Result<Envelope, Violation> {
        let form = |member: &str, wanted| Violation::of(member, Wanted::Form(wanted));
        let from = self.text("from").and_then(|text| text.parse().ok());
        let timestamp = self.text("timestamp").and_then(|text| Timestamp::parse(&text));
        let priority = self.text("priority");
        let hop_count = self.0.get("hop_count").and_then(Value::as_f64).unwrap_or_default();
        Ok(Envelope {
            kind,
            from: from.ok_or_else(|| form("from", "a libp2p PeerId"))?,
            timestamp: timestamp.ok_or_else(|| form("timestamp", "an RFC 3339 time from 1970 on"))?,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the schema wants a whole number up to 255"
            )]
            hop_count: hop_count as u8,
            from_role: self.text("from_role"),
            to_roles: self.texts("to_roles"),
            required_expertise: self.texts("required_expertise"),
            project_id: self.text("project_id"),
            priority: Priority::ALL.into_iter().find(|one| priority.as_deref() == Some(one.name())),
            thread_id: self.text("thread_id"),
            traceparent: self.text("traceparent"),
            data: match self.0.get_mut("data").map(Value::take) {
                Some(Value::Object(data)) => data,
                _ => Map::new(),
            },
        })
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().map(str::to_owned)
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let items = self.0.get(name).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}
