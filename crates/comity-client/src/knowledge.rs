//! What the node knows, and what it asks others.

use crate::{ANSWER_WITHIN, Client, Error, GRACE, exchange};
use comity_core::wire::control::{self, path};
use std::time::Duration;

/// How long a question may take when nobody says.
const ASK_TIME: Duration = Duration::from_secs(1);

impl Client {
    /// Has the node know something, and tell the nodes that it knows.
    pub async fn know(&self, fact: &control::NewFact) -> Result<control::SharedFact, Error> {
        exchange::post(self, path::KNOWLEDGE, fact, ANSWER_WITHIN).await
    }

    /// What this node and others know of a topic.
    pub async fn ask_knowledge(&self, wanted: &control::AskKnowledge) -> Result<control::Facts, Error> {
        let within = wanted.timeout_ms.map_or(ASK_TIME, Duration::from_millis);
        exchange::post(self, path::KNOWLEDGE_ASK, wanted, within.saturating_add(GRACE)).await
    }
}
