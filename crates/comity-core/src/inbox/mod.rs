//! What waits for the application: the durable queue, the three attention modes, the digest.
//! See "Priority and attention" in `protocols/local-network.md`.

use crate::channel::Channel;
use crate::envelope::{Kind, Priority, Received};
use crate::id::PeerId;
use crate::identity::trust::Trust;
use crate::time::Timestamp;
use std::collections::BTreeMap;

pub mod digest;
pub mod queue;

/// An item of the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its arrival number: rises by one, never given twice, kept across restarts.
    pub arrival: u64,
    /// The message.
    pub received: Received,
}

/// How much a node wants to be interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// Everything at once.
    Realtime,
    /// Critical at once, normal to the inbox, background to the digest.
    #[default]
    Focused,
    /// Critical at once, the rest to the digest.
    Minimal,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Realtime, Self::Focused, Self::Minimal];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Realtime => "realtime",
            Self::Focused => "focused",
            Self::Minimal => "minimal",
        }
    }

    /// Where a message of this priority goes.
    pub fn place(self, priority: Priority) -> Place {
        match (self, priority) {
            (Self::Realtime, _) | (_, Priority::Critical) => Place::AtOnce,
            (Self::Focused, Priority::Normal) => Place::Inbox,
            (Self::Focused, Priority::Background) | (Self::Minimal, _) => Place::Digest,
        }
    }
}

/// Where attention sends a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// To whoever listens; to the inbox when nobody does.
    AtOnce,
    /// To the inbox.
    Inbox,
    /// Into the digest.
    Digest,
}

/// What happened while nobody looked, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// When the period began.
    pub since: Timestamp,
    /// When it was cut; `None` while it still grows.
    pub until: Option<Timestamp>,
    /// Messages by type.
    pub by_kind: BTreeMap<Kind, u64>,
    /// Messages by channel.
    pub by_channel: BTreeMap<Channel, u64>,
    /// Messages that were pushed out of the full inbox meanwhile.
    pub evicted: u64,
    /// At most ten, spread over the period.
    pub samples: Vec<Sample>,
    /// One message in so many is sampled.
    pub stride: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            since: Timestamp::default(),
            until: None,
            by_kind: BTreeMap::new(),
            by_channel: BTreeMap::new(),
            evicted: 0,
            samples: Vec::new(),
            stride: 1,
        }
    }
}

/// One message of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When it came.
    pub at: Timestamp,
    /// From whom.
    pub from: PeerId,
    /// How far its sender could be trusted.
    pub trust: Trust,
    /// Its type.
    pub kind: Kind,
    /// Its channel.
    pub channel: Channel,
    /// The beginning of what it said, at most 200 characters, as JSON text.
    pub text: String,
}
