//! What is read of `knowledge.db`, beside its writer: each question sees the file as one commit left it.

use super::super::database_integer;
use super::words;
use super::write::Entry;
use comity_core::knowledge::{About, Created, Knowledge, Request, select};
use futures_util::TryStreamExt;
use sqlx::query_builder::QueryBuilder;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use std::borrow::Borrow;
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};

/// What is read of an entry, in the order of [`entry_of`].
pub(super) const COLUMNS: &str = "seq, signer, id, topic, basin, content, source, confidence, created, signature, via";

/// Entries that are held in memory beside the best ones while a question is answered.
const AT_ONCE: usize = 500;

/// The reading half of the file. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Reader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A lock each and not a message: whoever has a permit finds one that is free.
    connections: Vec<Mutex<SqliteConnection>>,
    free: Semaphore,
}

impl Borrow<Knowledge> for Entry {
    fn borrow(&self) -> &Knowledge {
        &self.knowledge
    }
}

impl Reader {
    pub(super) fn new(connections: Vec<SqliteConnection>) -> Self {
        let free = Semaphore::new(connections.len());
        Self(Arc::new(Shared { connections: connections.into_iter().map(Mutex::new).collect(), free }))
    }

    async fn connection(&self) -> (MutexGuard<'_, SqliteConnection>, SemaphorePermit<'_>) {
        let permit = self.0.free.acquire().await.expect("the semaphore is never closed");
        let free = self.0.connections.iter().find_map(|connection| connection.try_lock().ok());
        let connection = match free {
            Some(connection) => connection,
            // A permit goes back before its connection does: that one is free in a moment.
            None => self.0.connections[0].lock().await,
        };
        (connection, permit)
    }

    /// The entries that answer a request, the best first, as `comity_core::knowledge::select` says. Only a part of them
    /// is in memory at any time.
    pub(crate) async fn answer(&self, request: &Request) -> Result<Vec<Entry>, sqlx::Error> {
        let (mut connection, _permit) = self.connection().await;
        let mut query = QueryBuilder::new("SELECT ");
        query.push(COLUMNS).push(" FROM entry WHERE confidence >= ");
        query.push_bind(request.min_confidence.unwrap_or(0.0));
        match &request.about {
            About::Topic(topic) => {
                query.push(" AND seq IN (SELECT seq FROM word WHERE word IN (");
                let mut list = query.separated(", ");
                for word in words(topic) {
                    list.push_bind(word);
                }
                query.push("))");
            }
            About::Basin(basin) => {
                let bytes = i64::try_from(8 * basin.len()).unwrap_or(i64::MAX);
                query.push(" AND length(basin) = ").push_bind(bytes);
            }
        }
        let mut rows = query.build().fetch(&mut *connection);
        let mut best: Vec<Entry> = Vec::new();
        let mut more = Vec::with_capacity(AT_ONCE);
        while let Some(row) = rows.try_next().await? {
            more.extend(entry_of(&row).map(|(_, entry)| entry));
            if more.len() == AT_ONCE {
                best = select(best.into_iter().chain(more.drain(..)), request);
            }
        }
        Ok(select(best.into_iter().chain(more), request))
    }

    /// Entries whose last change is after this place in the log, in its order.
    pub(crate) async fn since(&self, after: u64, limit: usize) -> Result<Vec<(u64, Entry)>, sqlx::Error> {
        let (mut connection, _permit) = self.connection().await;
        let statement = format!("SELECT {COLUMNS} FROM entry WHERE seq > ? ORDER BY seq LIMIT ?");
        let query = sqlx::query(AssertSqlSafe(statement)).bind(database_integer(after));
        let rows = query.bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(&mut *connection).await?;
        Ok(rows.iter().filter_map(entry_of).collect())
    }
}

/// An entry and its place in the log; `None`: what is there is damaged.
pub(super) fn entry_of(row: &SqliteRow) -> Option<(u64, Entry)> {
    let via: &str = row.get(10);
    let knowledge = Knowledge {
        id: row.get(2),
        topic: row.get(3),
        topic_basin: row.get::<Option<&[u8]>, _>(4).map(basin_of),
        content: row.get(5),
        source: row.get(6),
        confidence: row.get(7),
        created: Created::read(row.get(8))?,
    };
    let signer = row.get::<&str, _>(1).parse().ok()?;
    let signature = row.get::<&[u8], _>(9).try_into().ok()?;
    let via = if via.is_empty() { None } else { Some(via.parse().ok()?) };
    Some((u64::try_from(row.get::<i64, _>(0)).ok()?, Entry { knowledge, signer, signature, via }))
}

fn basin_of(bytes: &[u8]) -> Vec<f64> {
    let numbers = bytes.as_chunks::<8>().0;
    numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}
