//! What is read of `mesh.db`, beside its writer: each question sees the file as one commit left it.

use super::super::database_integer;
use super::OWN;
use super::write::place_of;
use sqlx::query_builder::QueryBuilder;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row as _, SqliteConnection};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard, Semaphore, SemaphorePermit};

/// Places that one question asks for.
const PLACES: usize = 512;

/// What the writer wants to know of a document before it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its version.
    pub(crate) version: u64,
    /// Where its numbers are; `None`: it is deleted.
    pub(crate) place: Option<u32>,
    /// Its metadata.
    pub(crate) metadata: String,
    /// Its source's signature.
    pub(crate) signature: Vec<u8>,
    /// Its URL.
    pub(crate) url: Option<String>,
    /// The beginning of its text.
    pub(crate) excerpt: Option<String>,
    /// How the file was that it was read from.
    pub(crate) file: Option<String>,
}

/// What a search shows of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Where its numbers are.
    pub(crate) place: u32,
    /// Whose it is.
    pub(crate) source: u32,
    /// Its id.
    pub(crate) doc_id: String,
    /// The place of its last change in the log.
    pub(crate) seq: u64,
    /// Its metadata.
    pub(crate) metadata: String,
    /// The beginning of its text.
    pub(crate) excerpt: Option<String>,
}

/// A document as other nodes are given it, but for its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Its id.
    pub(crate) doc_id: String,
    /// Where its numbers are; `None`: it is deleted.
    pub(crate) place: Option<u32>,
    /// Its version.
    pub(crate) version: u64,
    /// The place of its last change in the log.
    pub(crate) seq: u64,
    /// When it was written, ms.
    pub(crate) written: u64,
    /// Its metadata.
    pub(crate) metadata: String,
    /// Its source's signature.
    pub(crate) signature: Vec<u8>,
}

/// A document in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Whose it is.
    pub(crate) source: u32,
    /// Its id.
    pub(crate) doc_id: String,
    /// Its version.
    pub(crate) version: u64,
    /// When it was written, ms.
    pub(crate) written: u64,
    /// Its URL.
    pub(crate) url: Option<String>,
    /// Its metadata.
    pub(crate) metadata: String,
    /// How the file was that it was read from.
    pub(crate) file: Option<String>,
}

/// Where a document stands in a list: by its URL, or its id where it has none; of several with one URL by their ids,
/// and those of one id by whose they are. The least stands before all documents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    /// Its URL, or its id.
    pub(crate) by: String,
    /// Its id.
    pub(crate) doc_id: String,
    /// Whose it is.
    pub(crate) source: u32,
}

impl Listed {
    /// Where it stands.
    pub(crate) fn standing(&self) -> Standing {
        let by = self.url.clone().unwrap_or_else(|| self.doc_id.clone());
        Standing { by, doc_id: self.doc_id.clone(), source: self.source }
    }
}

/// The reading half of the file. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Reader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A lock each and not a message: whoever has a permit finds one that is free; none when the file is closed.
    connections: Vec<Mutex<Option<SqliteConnection>>>,
    free: Semaphore,
}

/// A connection for one question.
type Reading<'a> = (MappedMutexGuard<'a, SqliteConnection>, SemaphorePermit<'a>);

impl Reader {
    pub(super) fn new(connections: Vec<SqliteConnection>) -> Self {
        let free = Semaphore::new(connections.len());
        let connections = connections.into_iter().map(|connection| Mutex::new(Some(connection))).collect();
        Self(Arc::new(Shared { connections, free }))
    }

    async fn connection(&self) -> Result<Reading<'_>, sqlx::Error> {
        let permit = self.0.free.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let free = self.0.connections.iter().find_map(|connection| connection.try_lock().ok());
        let connection = match free {
            Some(connection) => connection,
            // A permit goes back before its connection does: that one is free in a moment.
            None => self.0.connections[0].lock().await,
        };
        let connection = MutexGuard::try_map(connection, Option::as_mut).map_err(|_| sqlx::Error::PoolClosed)?;
        Ok((connection, permit))
    }

    /// Closes the file once nobody reads it any more.
    pub(crate) async fn close(&self) {
        self.0.free.close();
        for connection in &self.0.connections {
            if let Some(connection) = connection.lock().await.take() {
                // Err: nothing was written by it.
                let _ = connection.close().await;
            }
        }
    }

    /// What is at these places, in any order; what was deleted meanwhile is left out.
    pub(crate) async fn rows(&self, places: &[u32]) -> Result<Vec<Row>, sqlx::Error> {
        let (mut connection, _permit) = self.connection().await?;
        let mut found = Vec::with_capacity(places.len());
        for places in places.chunks(PLACES) {
            let mut query = QueryBuilder::new(
                "SELECT place, source, doc_id, seq, metadata, excerpt FROM document WHERE place IN (",
            );
            let mut list = query.separated(", ");
            for place in places {
                list.push_bind(i64::from(*place));
            }
            let rows = query.push(")").build().fetch_all(&mut *connection).await?;
            found.extend(rows.iter().map(|row| Row {
                place: place_of(row.get(0)),
                source: place_of(row.get(1)),
                doc_id: row.get(2),
                seq: number_of(row, 3),
                metadata: row.get(4),
                excerpt: row.get(5),
            }));
        }
        Ok(found)
    }

    /// The places of all documents that have this tag.
    pub(crate) async fn tagged(&self, name: &str, value: &str) -> Result<Vec<u32>, sqlx::Error> {
        let (mut connection, _permit) = self.connection().await?;
        let query = sqlx::query("SELECT place FROM tag WHERE name = ? AND value = ? ORDER BY place");
        let rows = query.bind(name.to_owned()).bind(value.to_owned()).fetch_all(&mut *connection).await?;
        Ok(rows.iter().map(|row| place_of(row.get(0))).collect())
    }

    /// This node's documents whose last change is after this place in its log, in the order of the log.
    pub(crate) async fn since(&self, after: u64, limit: usize) -> Result<Vec<Whole>, sqlx::Error> {
        let (mut connection, _permit) = self.connection().await?;
        let statement = "SELECT doc_id, place, version, seq, written, metadata, signature FROM document
             WHERE source = ? AND seq > ? ORDER BY seq LIMIT ?";
        let query = sqlx::query(statement).bind(i64::from(OWN)).bind(database_integer(after));
        let rows = query.bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(&mut *connection).await?;
        let whole = |row: &SqliteRow| Whole {
            doc_id: row.get(0),
            place: row.get::<Option<i64>, _>(1).map(place_of),
            version: number_of(row, 2),
            seq: number_of(row, 3),
            written: number_of(row, 4),
            metadata: row.get(5),
            signature: row.get(6),
        };
        Ok(rows.iter().map(whole).collect())
    }

    /// The place in the log after which all changes are that were made at this time (ms) or later. It may be too early.
    pub(crate) async fn before(&self, time: u64) -> Result<u64, sqlx::Error> {
        let (mut connection, _permit) = self.connection().await?;
        // Stamps never fall in the order of the log.
        let statement = "SELECT seq FROM document WHERE source = ? AND stamp < ? ORDER BY stamp DESC, seq DESC LIMIT 1";
        let query = sqlx::query(statement).bind(i64::from(OWN)).bind(database_integer(time));
        let row = query.fetch_optional(&mut *connection).await?;
        Ok(row.map_or(0, |row| number_of(&row, 0)))
    }

    /// What is kept of documents of this node by their URLs: how the file of each was.
    pub(crate) async fn files(&self, urls: &[String]) -> Result<BTreeMap<String, Option<String>>, sqlx::Error> {
        let (mut connection, _permit) = self.connection().await?;
        let mut found = BTreeMap::new();
        for urls in urls.chunks(PLACES) {
            let mut query = QueryBuilder::new("SELECT url, file FROM document WHERE place IS NOT NULL AND source = ");
            query.push_bind(i64::from(OWN)).push(" AND url IN (");
            let mut list = query.separated(", ");
            for url in urls {
                list.push_bind(url.clone());
            }
            let rows = query.push(")").build().fetch_all(&mut *connection).await?;
            found.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
        }
        Ok(found)
    }

    /// Documents whose URL begins so, as they stand, after one; of this node, or of all that are here.
    pub(crate) async fn list(
        &self,
        (prefix, after): (&str, &Standing),
        own: bool,
        limit: usize,
    ) -> Result<Vec<Listed>, sqlx::Error> {
        let (mut connection, _permit) = self.connection().await?;
        // Sorted by what each row is found by: a URL, or the id where there is none.
        let statement = "SELECT source, doc_id, version, written, url, metadata, file FROM document
             WHERE place IS NOT NULL AND (source = 0 OR NOT ?1)
                 AND (coalesce(url, doc_id), doc_id, source) > (?2, ?3, ?4)
                 AND substr(coalesce(url, doc_id), 1, length(?5)) = ?5
             ORDER BY coalesce(url, doc_id), doc_id, source LIMIT ?6";
        let query = sqlx::query(statement).bind(own).bind(after.by.clone()).bind(after.doc_id.clone());
        let query = query.bind(i64::from(after.source)).bind(prefix.to_owned());
        let rows = query.bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(&mut *connection).await?;
        let listed = |row: &SqliteRow| Listed {
            source: place_of(row.get(0)),
            doc_id: row.get(1),
            version: number_of(row, 2),
            written: number_of(row, 3),
            url: row.get(4),
            metadata: row.get(5),
            file: row.get(6),
        };
        Ok(rows.iter().map(listed).collect())
    }

    /// The ids of the documents of a source that are not deleted.
    pub(crate) async fn ids(&self, source: u32) -> Result<Vec<String>, sqlx::Error> {
        let (mut connection, _permit) = self.connection().await?;
        let query = sqlx::query("SELECT doc_id FROM document WHERE source = ? AND place IS NOT NULL");
        let rows = query.bind(i64::from(source)).fetch_all(&mut *connection).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// How many documents there are of each source: live, and deleted.
    pub(crate) async fn counts(&self) -> Result<BTreeMap<u32, (u64, u64)>, sqlx::Error> {
        let (mut connection, _permit) = self.connection().await?;
        let statement = "SELECT source, count(place), count(*) - count(place) FROM document GROUP BY source";
        let rows = sqlx::query(statement).fetch_all(&mut *connection).await?;
        Ok(rows.iter().map(|row| (place_of(row.get(0)), (number_of(row, 1), number_of(row, 2)))).collect())
    }
}

pub(super) async fn held(
    connection: &mut SqliteConnection,
    source: u32,
    ids: &[&str],
    found: &mut BTreeMap<String, Held>,
) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::new(
        "SELECT doc_id, version, place, metadata, signature, url, excerpt, file FROM document WHERE source = ",
    );
    query.push_bind(i64::from(source)).push(" AND doc_id IN (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind((*id).to_owned());
    }
    let rows = query.push(")").build().fetch_all(connection).await?;
    found.extend(rows.iter().map(|row| {
        let held = Held {
            version: number_of(row, 1),
            place: row.get::<Option<i64>, _>(2).map(place_of),
            metadata: row.get(3),
            signature: row.get(4),
            url: row.get(5),
            excerpt: row.get(6),
            file: row.get(7),
        };
        (row.get(0), held)
    }));
    Ok(())
}

fn number_of(row: &SqliteRow, column: usize) -> u64 {
    u64::try_from(row.get::<i64, _>(column)).unwrap_or(0)
}
