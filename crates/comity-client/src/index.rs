//! The index of the node's documents, and searches over all nodes.

use crate::{ANSWER_WITHIN, Client, Error, GRACE, exchange};
use comity_core::basin::Settings;
use comity_core::wire::control::{self, path};
use comity_core::wire::mesh::query::Answer;
use std::time::Duration;

/// Documents that are listed at once.
const PAGE: u64 = 1000;

/// How long a search may take when nobody says.
const SEARCH_TIME: Duration = Duration::from_secs(1);

impl Client {
    /// Indexes documents: they are found when this returns.
    pub async fn index(&self, documents: &control::NewDocuments) -> Result<control::Indexed, Error> {
        exchange::post(self, path::INDEX, documents, ANSWER_WITHIN * 4).await
    }

    /// Takes documents out of the index.
    pub async fn unindex(&self, wanted: &control::Unindex) -> Result<control::Unindexed, Error> {
        exchange::delete(self, path::INDEX, wanted, ANSWER_WITHIN * 4).await
    }

    /// How the files of these URLs were when they were indexed.
    pub async fn known_files(&self, urls: Vec<String>) -> Result<control::KnownFiles, Error> {
        exchange::post(self, path::INDEX_FILES, &control::Files { urls }, ANSWER_WITHIN).await
    }

    /// A page of the documents whose URL begins so, after one: of this node, or with `all` of others, too, that are kept
    /// here.
    pub async fn documents(&self, prefix: &str, after: Option<String>, all: bool) -> Result<control::Documents, Error> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let pairs = [
            ("prefix", some(prefix)),
            ("after", after),
            ("limit", Some(PAGE.to_string())),
            ("all", all.then(|| "true".to_owned())),
        ];
        self.get(&crate::query::path(path::INDEX, &pairs)).await
    }

    /// What the index has, and what it costs.
    pub async fn index_stats(&self) -> Result<control::IndexStats, Error> {
        self.get(path::INDEX_STATS).await
    }

    /// Searches this node and others.
    pub async fn search(&self, search: &control::Search) -> Result<Answer, Error> {
        let within = search.timeout_ms.map_or(SEARCH_TIME, Duration::from_millis);
        let body =
            exchange::post::<serde_json::Value>(self, path::SEARCH, search, within.saturating_add(GRACE)).await?;
        // The node has checked its distances by its own settings: those of the sphere have room for all.
        let read = Answer::read(body.to_string().as_bytes(), &Settings::default(), usize::MAX);
        read.map(|(answer, _)| answer).map_err(|bad| Error::NotUnderstood(bad.to_string()))
    }
}
