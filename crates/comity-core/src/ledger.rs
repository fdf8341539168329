//! What became of messages, for ten minutes: nothing is dropped in silence.
//! See "No silence" in `protocols/local-network.md`.

use crate::id::{MessageId, PeerId};
use crate::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// One step in the life of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// When, by this node's clock.
    pub at: Timestamp,
    /// Which peer it concerns: the receiver of a message sent, the sender of one received;
    /// `None` for this node itself.
    pub peer: Option<PeerId>,
    /// What happened.
    pub kind: FateKind,
}

/// What happened to a message. The names are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FateKind {
    /// Waits in the sender's queue for the peer.
    Queued,
    /// Written to a link, or POSTed.
    Sent,
    /// Arrived, and was handed to somebody who listens.
    Delivered,
    /// Arrived, and waits in the inbox.
    Inbox,
    /// Was taken out of the inbox.
    Read,
    /// Arrived, and was counted in a digest.
    Digested,
    /// Pushed out of a full queue by more urgent messages.
    Evicted,
    /// Its ttl ran out.
    Expired,
    /// Refused because of the rate limit.
    RateLimited,
    /// Refused because it was received before.
    Duplicate,
    /// Refused because nobody there listens to the channel.
    NotSubscribed,
    /// Refused because `from` is not the sender.
    Forged,
    /// Refused because the sender is not admitted.
    NotAdmitted,
    /// Refused because it was for somebody else.
    WrongDestination,
    /// Refused because it came from the future.
    FromTheFuture,
    /// Refused because the receiver could not keep it.
    Unavailable,
    /// Could not be opened, or its signature is wrong.
    Unreadable,
    /// A query that nobody there answers.
    NoAnswerer,
    /// A response that nobody waits for any more.
    Late,
    /// Given up after the last try.
    Failed,
}

impl FateKind {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Queued,
        Self::Sent,
        Self::Delivered,
        Self::Inbox,
        Self::Read,
        Self::Digested,
        Self::Evicted,
        Self::Expired,
        Self::RateLimited,
        Self::Duplicate,
        Self::NotSubscribed,
        Self::Forged,
        Self::NotAdmitted,
        Self::WrongDestination,
        Self::FromTheFuture,
        Self::Unavailable,
        Self::Unreadable,
        Self::NoAnswerer,
        Self::Late,
        Self::Failed,
    ];

    /// The name on the wire and in `comity why`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Inbox => "inbox",
            Self::Read => "read",
            Self::Digested => "digested",
            Self::Evicted => "evicted",
            Self::Expired => "expired",
            Self::RateLimited => "rate_limited",
            Self::Duplicate => "duplicate",
            Self::NotSubscribed => "not_subscribed",
            Self::Forged => "forged",
            Self::NotAdmitted => "not_admitted",
            Self::WrongDestination => "wrong_destination",
            Self::FromTheFuture => "from_the_future",
            Self::Unavailable => "unavailable",
            Self::Unreadable => "unreadable",
            Self::NoAnswerer => "no_answerer",
            Self::Late => "late",
            Self::Failed => "failed",
        }
    }

    /// Whether the receiver, or the way to it, did not take the message.
    pub fn is_refusal(self) -> bool {
        !matches!(
            self,
            Self::Queued | Self::Sent | Self::Delivered | Self::Inbox | Self::Read | Self::Digested | Self::Duplicate
        )
    }

    /// The fate of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fate| fate.name() == name)
    }
}

/// For how long fates are kept.
pub const KEPT_FOR: Duration = Duration::from_secs(600);

/// Most steps kept, 64 bytes each; under a flood the oldest go before their ten minutes are over.
pub const STEPS_MAX: usize = 65_536;

/// The fates of late, one step after the other. Noting one is a push; looking one up reads all,
/// which happens only when somebody asks.
#[derive(Debug, Default)]
pub struct Ledger {
    steps: VecDeque<(MessageId, Fate)>,
    counts: BTreeMap<FateKind, u64>,
}

impl Ledger {
    /// Notes one step of a message; `None` for messages without an id, which are only counted.
    pub fn note(&mut self, id: Option<MessageId>, peer: Option<PeerId>, kind: FateKind, at: Timestamp) {
        *self.counts.entry(kind).or_default() += 1;
        let Some(id) = id else { return };
        if self.steps.len() >= STEPS_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back((id, Fate { at, peer, kind }));
    }

    /// What became of a message, oldest step first.
    pub fn fates(&self, id: MessageId) -> Vec<Fate> {
        self.steps.iter().filter(|(noted, _)| *noted == id).map(|(_, fate)| fate.clone()).collect()
    }

    /// How often each fate was noted since the start.
    pub fn counts(&self) -> &BTreeMap<FateKind, u64> {
        &self.counts
    }

    /// Forgets what is older than [`KEPT_FOR`].
    pub fn sweep(&mut self, wall: Timestamp) {
        while self.steps.front().is_some_and(|(_, fate)| wall.since(fate.at) > KEPT_FOR) {
            self.steps.pop_front();
        }
        if self.steps.is_empty() {
            self.steps.shrink_to_fit();
        }
    }
}
