//! Copies of what other nodes know, of those that the configuration trusts fully as sources: their logs are read from where
//! the last reading ended, now and then, and when one comes. Each entry counts by its signer's signature.

use super::super::sync::encoded;
use super::entries::Entries;
use super::exchange::checked;
use crate::config::{MeshSources, SourceTrust};
use crate::driver::Handle;
use crate::link::{Asked, Pool, Unanswered, can_be_asked};
use comity_core::id::NodeId;
use comity_core::node::Event;
use comity_core::peers::PeerView;
use comity_core::wire::mesh::knowledge::{PAGE_BYTES_MAX, path, read_pulled};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

/// Entries that are asked for at once.
const BATCH: usize = 1000;

/// Largest page that is read, bytes: as large as nodes of this kind write them, and one entry more.
const PAGE_MAX: usize = PAGE_BYTES_MAX + 1024 * 1024;

/// How long a page may take.
const PAGE_TIME: Duration = Duration::from_secs(30);

/// Pages of one source in one round, at most: fewer than a node lets another have in a minute. The next round goes on.
const PAGES_MAX: usize = 100;

/// What copies are made with.
pub(in crate::search) struct Pull {
    pub(in crate::search) entries: Entries,
    pub(in crate::search) handle: Handle,
    pub(in crate::search) pool: Pool,
    pub(in crate::search) sources: MeshSources,
    pub(in crate::search) every: Duration,
}

impl Pull {
    /// Reads logs until the node ends.
    pub(in crate::search) async fn run(&self) {
        if self.sources.is_empty() {
            return;
        }
        let mut next_round = Instant::now();
        let mut events = self.handle.peer_events();
        loop {
            let joined = tokio::select! {
                () = sleep_until(next_round) => None,
                event = events.recv() => match event.as_deref() {
                    Ok(Event::PeerJoined(peer)) if peer.key.is_some() => peer.key,
                    _ => continue,
                },
            };
            if joined.is_none() {
                next_round = Instant::now() + self.every;
            }
            let view = self.handle.look().await;
            let due = view.peers.iter().filter(|peer| can_be_asked(&view, peer)).filter_map(|peer| {
                let key = peer.key.filter(|key| self.sources.trust(key) == Some(SourceTrust::Full))?;
                joined.is_none_or(|joined| joined == key).then_some((key, peer))
            });
            join_all(due.map(|(key, peer)| self.read(key, peer))).await;
        }
    }

    /// Reads one log to its end.
    async fn read(&self, key: NodeId, peer: &PeerView) {
        let mut cursor = self.entries.read(&key);
        for _ in 0..PAGES_MAX {
            match self.page(key, peer, cursor.as_deref()).await {
                Err(Unanswered::Status(410)) if cursor.is_some() => cursor = None,
                Ok(Some(next)) if Some(&next) != cursor.as_ref() => cursor = Some(next),
                Ok(_) => return,
                Err(why) => {
                    tracing::debug!(node = %key, %why, "what a source knows could not be read");
                    return;
                }
            }
        }
    }

    /// Takes a page: where the next one begins; `None`: there is none.
    async fn page(&self, key: NodeId, peer: &PeerView, cursor: Option<&str>) -> Result<Option<String>, Unanswered> {
        let cursor = cursor.map_or_else(String::new, |cursor| format!("cursor={}&", encoded(cursor)));
        let wanted = Asked::Get(format!("{}?{cursor}batch_size={BATCH}", path::REPLICATE));
        let bytes = self.pool.ask(peer, &wanted, PAGE_TIME, PAGE_MAX).await?;
        let read = spawn_blocking(move || {
            let page = read_pulled(&bytes)?;
            Ok::<_, comity_core::wire::mesh::reading::BadBody>((
                checked(page.entries.items, page.entries.refused, key),
                page.next_cursor,
            ))
        });
        let ((entries, refused), next) = read.await.expect("reading a page does not panic").map_err(|bad| {
            tracing::warn!(node = %key, %bad, "a page of what a source knows cannot be read");
            Unanswered::NotJson
        })?;
        if refused > 0 {
            tracing::warn!(node = %key, refused, "some of what a source knows does not count");
        }
        let is_end = entries.is_empty() && refused == 0;
        let read = next.clone().map(|next| (key, next));
        if self.entries.take(entries, read).await.is_err() {
            // The log says what the disk did; the next round begins where this one did.
            return Ok(None);
        }
        Ok(next.filter(|_| !is_end))
    }
}
