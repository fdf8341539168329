//! Asking another node for its journal, at each of its addresses until it answers at one. What is asked for, and what is
//! believed of the answer, is the caller's business.

use super::Follow;
use crate::link::{Unanswered, Whom};
use bytes::Bytes;
use comity_core::id::NodeId;
use comity_core::journal::Head;
use comity_core::wire::journal as wire;
use comity_core::wire::strict;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// Largest answer, bytes: what an author hands out at once, with the longest line and a checkpoint.
const ANSWER_MAX: usize = 2 * 1024 * 1024;

/// Why there is no answer, in a sentence for people.
#[derive(Debug)]
pub(super) struct NoAnswer(pub(super) String);

impl Follow {
    /// What an author answers to a GET.
    pub(super) async fn ask(&self, author: NodeId, path: &str, within: Duration) -> Result<Bytes, NoAnswer> {
        let view = self.0.handle.look().await;
        let peer = view.peers.iter().find(|peer| peer.key == Some(author));
        let addresses: Vec<SocketAddr> = peer.map(|peer| peer.addresses.clone()).unwrap_or_default();
        let mut sentence = "the author is not there, or cannot be reached at its port".to_owned();
        for address in addresses {
            let whom = Whom { address, key: Some(author) };
            match self.0.links.read(whom, path, within, ANSWER_MAX).await {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::Status(status)) => return Err(NoAnswer(refused(status))),
                Err(why) => sentence = format!("at {address}: {why}"),
            }
        }
        Err(NoAnswer(sentence))
    }

    /// The head that an author tells; `None`: it has no entry.
    pub(super) async fn ask_for_head(
        &self,
        author: NodeId,
        path: &str,
        within: Duration,
    ) -> Result<Option<Head>, NoAnswer> {
        let answer = self.ask(author, path, within).await?;
        let not_understood = || NoAnswer("its answer is no head of a journal".to_owned());
        let answer = strict::parse(&answer).map_err(|_| not_understood())?;
        match answer.get("head") {
            None => Err(not_understood()),
            Some(Value::Null) => Ok(None),
            Some(head) => wire::read_head(head).map(Some).map_err(|_| not_understood()),
        }
    }
}

fn refused(status: u16) -> String {
    match status {
        403 => {
            "the author lets only nodes that it knows read its journal: `comity trust` this node over there".to_owned()
        }
        404 => "the author has no journal to be followed".to_owned(),
        429 => "the author is asked too often".to_owned(),
        other => Unanswered::Status(other).to_string(),
    }
}
