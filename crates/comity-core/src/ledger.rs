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

/// Most steps kept, 64 bytes each; the oldest go when more than this happens in ten minutes.
pub const STEPS_MAX: usize = 65_536;

/// Most steps kept of messages beyond a sender's rate, of duplicates and of what cannot be read. All others are bounded by
/// the rates; these cost their sender nothing, so they push out only each other.
pub const BEYOND_RATE_MAX: usize = 8192;

/// The fates of late, one step after the other. Noting one is a push; looking one up reads all,
/// which happens only when somebody asks.
#[derive(Debug, Default)]
pub struct Ledger {
    steps: VecDeque<(MessageId, Fate)>,
    beyond_rate: VecDeque<(MessageId, Fate)>,
    counts: BTreeMap<FateKind, u64>,
}

impl Ledger {
    /// Notes one step of a message; `None` for messages without an id, which are only counted.
    pub fn note(&mut self, id: Option<MessageId>, peer: Option<PeerId>, kind: FateKind, at: Timestamp) {
        *self.counts.entry(kind).or_default() += 1;
        let Some(id) = id else { return };
        let (steps, steps_max) = match kind {
            FateKind::RateLimited | FateKind::Duplicate | FateKind::Unreadable => {
                (&mut self.beyond_rate, BEYOND_RATE_MAX)
            }
            _ => (&mut self.steps, STEPS_MAX),
        };
        if steps.len() >= steps_max {
            steps.pop_front();
        }
        steps.push_back((id, Fate { at, peer, kind }));
    }

    /// What became of a message, oldest step first.
    pub fn fates(&self, id: MessageId) -> Vec<Fate> {
        let steps = self.steps.iter().chain(&self.beyond_rate).filter(|(noted, _)| *noted == id);
        let mut fates: Vec<Fate> = steps.map(|(_, fate)| fate.clone()).collect();
        fates.sort_by_key(|fate| fate.at);
        fates
    }

    /// How often each fate was noted since the start.
    pub fn counts(&self) -> &BTreeMap<FateKind, u64> {
        &self.counts
    }

    /// Forgets what is older than [`KEPT_FOR`].
    pub fn sweep(&mut self, wall: Timestamp) {
        for steps in [&mut self.steps, &mut self.beyond_rate] {
            while steps.front().is_some_and(|(_, fate)| wall.since(fate.at) > KEPT_FOR) {
                steps.pop_front();
            }
            if steps.is_empty() {
                steps.shrink_to_fit();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn what_is_beyond_a_rate_pushes_out_no_other_fate() {
        let mut ledger = Ledger::default();
        let (at, first) = (Timestamp::from_millis(1000), MessageId(Uuid::from_u128(1)));
        ledger.note(Some(first), None, FateKind::Sent, at);
        let flood = 2 * STEPS_MAX as u128;
        for number in 2..flood {
            ledger.note(Some(MessageId(Uuid::from_u128(number))), None, FateKind::RateLimited, at);
        }
        assert_eq!(ledger.fates(first).len(), 1);
        assert_eq!(ledger.fates(MessageId(Uuid::from_u128(flood - 1))).len(), 1);
        assert_eq!(ledger.counts().get(&FateKind::RateLimited), Some(&(2 * STEPS_MAX as u64 - 2)));
        ledger.sweep(at + KEPT_FOR + Duration::from_secs(1));
        assert_eq!(ledger.steps.len() + ledger.beyond_rate.len(), 0);
    }
}
