//! Queries that wait for their answer. See "Requests" in `protocols/local-network.md`.

use crate::id::{MessageId, PeerId, Ticket};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest that a query waits, whatever the asker says: nobody is there to hear an answer later.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Most queries that may wait at once.
pub const WAITING_MAX: usize = 16_384;

/// The queries of this node that are not yet answered.
#[derive(Debug, Default)]
pub struct Requests {
    waiting: BTreeMap<MessageId, Waiting>,
}

/// A query that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Who asked here.
    pub ticket: Ticket,
    /// Who was asked: nobody else may answer.
    pub peer: PeerId,
    /// How long it waits in all.
    pub timeout: Duration,
}

impl Requests {
    /// Remembers a query; `false` when too many wait already.
    pub fn wait(&mut self, query: MessageId, waiting: Waiting) -> bool {
        let room = self.waiting.len() < WAITING_MAX;
        if room {
            self.waiting.insert(query, waiting);
        }
        room
    }

    /// Whether this peer's answer to this query is waited for.
    pub fn expects(&self, query: MessageId, peer: PeerId) -> bool {
        self.waiting.get(&query).is_some_and(|waiting| waiting.peer == peer)
    }

    /// Stops waiting: the answer is here, or will not come.
    pub fn end(&mut self, query: MessageId) -> Option<Waiting> {
        self.waiting.remove(&query)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
