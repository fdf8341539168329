//! What is written into a journal: what an entry says, of which type it is, and what it may not be.
//! How it stands in a line is in `line.rs`. See "Journal" in `protocols/pubsub.md`.

use crate::id::NodeId;
use crate::identity::canonical;
use crate::limits;
use crate::time::Timestamp;
use crate::wire::strict;
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;

/// Largest `data` of an entry in its canonical form, bytes: a pub/sub message of 256 KiB whose numbers
/// are written out at length still fits.
pub const DATA_MAX: usize = 512 * 1024;

/// Deepest nesting of `data`: a message of the greatest depth, and the object that it is journaled in.
pub const DATA_DEPTH_MAX: usize = limits::JSON_DEPTH_MAX + 1;

/// What kind of thing an entry records: its `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A task was announced.
    TaskAnnounced,
    /// Somebody claimed a task.
    TaskClaimed,
    /// A task went on.
    TaskProgress,
    /// A task is done.
    TaskCompleted,
    /// A task failed.
    TaskFailed,
    /// A node said what it can do.
    CapabilityBroadcast,
    /// Something of the network: who is free, what was indexed.
    NetworkEvent,
    /// Nodes talked of work: discussions, help, roles.
    Collaboration,
    /// People were called.
    Escalation,
    /// Context was judged.
    ContextFeedback,
    /// Context was asked for or given.
    ContextRequest,
    /// A peer came.
    PeerJoined,
    /// A peer went.
    PeerLeft,
    /// Nodes agreed.
    ConsensusReached,
    /// Somebody called a tool of this node, or tried to.
    ToolCalled,
}

/// A text that is no type of entry, or no type of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a type of journal entries")]
pub struct NoSuchKind;

impl EntryKind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::TaskAnnounced,
        Self::TaskClaimed,
        Self::TaskProgress,
        Self::TaskCompleted,
        Self::TaskFailed,
        Self::CapabilityBroadcast,
        Self::NetworkEvent,
        Self::Collaboration,
        Self::Escalation,
        Self::ContextFeedback,
        Self::ContextRequest,
        Self::PeerJoined,
        Self::PeerLeft,
        Self::ConsensusReached,
        Self::ToolCalled,
    ];

    /// The text of `type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TaskAnnounced => "task_announced",
            Self::TaskClaimed => "task_claimed",
            Self::TaskProgress => "task_progress",
            Self::TaskCompleted => "task_completed",
            Self::TaskFailed => "task_failed",
            Self::CapabilityBroadcast => "capability_broadcast",
            Self::NetworkEvent => "network_event",
            Self::Collaboration => "collaboration",
            Self::Escalation => "escalation",
            Self::ContextFeedback => "context_feedback",
            Self::ContextRequest => "context_request",
            Self::PeerJoined => "peer_joined",
            Self::PeerLeft => "peer_left",
            Self::ConsensusReached => "consensus_reached",
            Self::ToolCalled => "tool_called",
        }
    }

    /// Its bit in a set of types.
    pub fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl FromStr for EntryKind {
    type Err = NoSuchKind;

    fn from_str(text: &str) -> Result<Self, NoSuchKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(NoSuchKind)
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// What is to be journaled, in the form in which it will stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub(super) kind: EntryKind,
    pub(super) timestamp: Timestamp,
    pub(super) data: Box<[u8]>,
}

/// Why something cannot be journaled. It is the caller's fault, and the journal is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDraft {
    /// It is too much for one entry.
    #[error("data takes {bytes} bytes, and an entry has room for {DATA_MAX}")]
    TooLarge {
        /// What it takes in its canonical form.
        bytes: usize,
    },
    /// It is nested too deep to be read again.
    #[error("data is nested {depth} deep, and may be {DATA_DEPTH_MAX}")]
    TooDeep {
        /// How deep it is.
        depth: usize,
    },
    /// It has too many values to be read again.
    #[error("data has more than {} values", strict::VALUES_MAX)]
    TooManyValues,
}

impl Draft {
    /// What is to be journaled. `timestamp` is when it happened, by this node's clock; integers of
    /// `data` beyond 2^53 lose their last digits, as everywhere in canonical JSON.
    ///
    /// # Errors
    /// [`BadDraft`] when it is too large or too deep.
    pub fn new(kind: EntryKind, timestamp: Timestamp, data: Map<String, Value>) -> Result<Self, BadDraft> {
        let data = Value::Object(data);
        let depth = strict::depth(&data);
        if depth > DATA_DEPTH_MAX {
            return Err(BadDraft::TooDeep { depth });
        }
        if values(&data) > strict::VALUES_MAX {
            return Err(BadDraft::TooManyValues);
        }
        let data = canonical::to_vec(&data);
        if data.len() > DATA_MAX {
            return Err(BadDraft::TooLarge { bytes: data.len() });
        }
        Ok(Self { kind, timestamp, data: data.into_boxed_slice() })
    }

    /// Its type.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// When it happened.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// How many bytes of the journal it will take, about.
    pub fn weight(&self) -> usize {
        self.data.len() + super::line::FRAME
    }
}

/// How many values a value is made of.
fn values(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(values).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(values).sum::<usize>(),
        _ => 1,
    }
}

/// One entry, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its place, counted from 0.
    pub index: u64,
    /// When it happened, by the author's clock, which may have been set back: order is by index.
    pub timestamp: Timestamp,
    /// Whose journal it is in.
    pub author: NodeId,
    /// Its type.
    pub kind: EntryKind,
    /// What it says.
    pub data: Map<String, Value>,
    /// The hash of the entry before it.
    pub prev_hash: super::TreeHash,
    /// Its own hash, which is a leaf of the tree.
    pub hash: super::TreeHash,
    /// The signature of the tree that ends with it, if a group does.
    pub signature: Option<[u8; 64]>,
}
