//! The journal of the node: what is in it, what proves an entry, all of it, and whose journals it follows.

use crate::{ANSWER_WITHIN, Client, Error, Lines, control, exchange, query};
use comity_core::wire::control::path;
use serde_json::Value;
use std::io::Write;

/// Which entries are wanted. What is not said is any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entries {
    /// Of one of these types; empty: of any.
    pub types: Vec<String>,
    /// About a message of this PeerId.
    pub from_peer: Option<String>,
    /// In the journal of this node.
    pub author: Option<String>,
    /// From this index on.
    pub from: Option<u64>,
    /// Before this index.
    pub to: Option<u64>,
    /// Not earlier than this, as in RFC 3339.
    pub since: Option<String>,
    /// Earlier than this.
    pub until: Option<String>,
    /// At most so many.
    pub limit: Option<u64>,
    /// Only so many of those that are there now.
    pub last: Option<u64>,
    /// And every one that is written from now on.
    pub follow: bool,
}

impl Client {
    /// The node's journal, as it is.
    pub async fn journal(&self) -> Result<control::Journal, Error> {
        self.get(path::JOURNAL).await
    }

    /// Entries of the journal, in order.
    pub async fn entries(&self, wanted: &Entries) -> Result<Lines<control::Journaled>, Error> {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let pairs = [
            ("types", (!wanted.types.is_empty()).then(|| wanted.types.join(","))),
            ("from_peer", wanted.from_peer.clone()),
            ("author", wanted.author.clone()),
            ("from", number(wanted.from)),
            ("to", number(wanted.to)),
            ("since", wanted.since.clone()),
            ("until", wanted.until.clone()),
            ("limit", number(wanted.limit)),
            ("last", number(wanted.last)),
            ("follow", wanted.follow.then(|| "true".to_owned())),
        ];
        self.stream(&query::path(path::ENTRIES, &pairs)).await
    }

    /// Writes the whole journal as JSON Lines; how many bytes. What was written when this fails is not all of it.
    pub async fn export_journal(&self, out: &mut impl Write) -> Result<u64, Error> {
        exchange::save(self, path::EXPORT, ANSWER_WITHIN, out).await
    }

    /// An entry, with what proves that it is in the journal.
    pub async fn prove_entry(&self, index: u64) -> Result<Value, Error> {
        self.get(&query::path(path::PROOF, &[("index", Some(index.to_string()))])).await
    }

    /// The journals that the node follows.
    pub async fn followed_journals(&self) -> Result<Vec<control::Followed>, Error> {
        self.get::<control::Journals>(path::JOURNALS).await.map(|all| all.journals)
    }

    /// Follows a peer's journal, or does so no more: that one, or those that are left.
    pub async fn follow_journal(&self, peer: &str, followed: bool) -> Result<Vec<control::Followed>, Error> {
        let wanted = control::Follow { peer: peer.to_owned(), followed };
        self.put::<control::Journals>(path::JOURNALS, &wanted).await.map(|all| all.journals)
    }

    /// How it goes with the journal of this author, now and whenever that changes.
    pub async fn journal_changes(&self, author: &str) -> Result<Lines<control::Followed>, Error> {
        self.stream(&query::path(path::JOURNAL_CHANGES, &[("author", Some(author.to_owned()))])).await
    }
}
