//! What a node keeps on disk: the inbox, ids that must be remembered, the digest, its own settings; and, in files of
//! its own, the journal. One SQLite file, one connection, one writer. It decides nothing: records come from the rules,
//! and the rules hear when they are safe.

pub(crate) mod documents;
pub(crate) mod federation;
pub mod journal;
pub(crate) mod knowledge;
pub(crate) mod link;
pub(crate) mod registry;
mod rows;
mod schema;
mod steps;
mod stored;
pub(crate) mod tasks;
#[cfg(test)]
mod tests;
mod transaction;
mod wake;
mod writer;

pub(crate) use writer::GROUP_MAX;

use crate::observe::Counters;
use comity_core::id::{MessageId, PeerId};
use comity_core::inbox::Item;
use comity_core::node::Restored;
use comity_core::time::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Row, SqliteConnection};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// Memory for pages, KiB. The writer appends and seldom reads: more would be idle memory, less
/// would read pages again within one group.
const CACHE_KIB: i64 = 512;

/// How long to wait for somebody who has opened the file beside us (a backup, `sqlite3`).
const BUSY_MAX: Duration = Duration::from_secs(5);

/// Prepared statements kept: a writer uses fewer than this (`rows.rs`).
const STATEMENTS: usize = 128;

/// A node's database, open and of the newest schema.
#[derive(Debug)]
pub(crate) struct Store {
    connection: SqliteConnection,
    last_arrival: u64,
    health: watch::Sender<DiskHealth>,
    counters: Option<Counters>,
}

/// How the disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DiskHealth {
    /// The last group of records is safe.
    Working,
    /// It takes nothing; the sentence says why and what to do.
    Failing(String),
}

impl Store {
    /// Opens the database, made if it is missing, and reads what must be remembered after `now`.
    pub(crate) async fn open(path: &Path, now: Timestamp) -> Result<(Self, Restored), StoreError> {
        let mut connection = connect(path, CACHE_KIB).await?;
        schema::upgrade(&mut connection, schema::STEPS, path).await?;
        let restored = restore(&mut connection, now).await.map_err(|error| StoreError::of(error, path))?;
        let health = watch::Sender::new(DiskHealth::Working);
        Ok((Self { connection, last_arrival: restored.last_arrival, health, counters: None }, restored))
    }

    /// The same store, counting what it commits.
    pub(crate) fn counted_by(self, counters: Counters) -> Self {
        Self { counters: Some(counters), ..self }
    }

    /// How the disk is, now and from now on.
    pub(crate) fn health(&self) -> watch::Receiver<DiskHealth> {
        self.health.subscribe()
    }
}

/// Opens a database, made for this user alone if it is missing: what it has committed is synced. `cache_kib` is its
/// memory for pages.
async fn connect(path: &Path, cache_kib: i64) -> Result<SqliteConnection, StoreError> {
    // SQLite gives its journal files the mode of the database.
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map_err(|cause| StoreError::Io { path: path.to_owned(), cause })?;
    let connection = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_MAX)
        .statement_cache_capacity(STATEMENTS)
        .pragma("cache_size", format!("-{cache_kib}"))
        .disable_statement_logging()
        .connect()
        .await;
    connection.map_err(|error| StoreError::of(error, path))
}

async fn restore(connection: &mut SqliteConnection, now: Timestamp) -> Result<Restored, sqlx::Error> {
    let mut restored = Restored::default();
    let rows = sqlx::query("SELECT arrival, content FROM item ORDER BY arrival").fetch_all(&mut *connection).await?;
    restored.last_arrival = rows.last().map_or(0, arrival_of);
    restored.items = rows.iter().filter_map(read_item).collect();
    let rows = sqlx::query("SELECT sender, id, until FROM seen WHERE until > ?")
        .bind(database_integer(now.millis()))
        .fetch_all(&mut *connection)
        .await?;
    restored.seen = rows.iter().filter_map(read_seen).collect();
    for row in sqlx::query("SELECT name, value FROM kept").fetch_all(&mut *connection).await? {
        let (name, value): (String, Vec<u8>) = (row.get(0), row.get(1));
        match name.as_str() {
            "last_arrival" => {
                let number = value.try_into().map_or(0, u64::from_be_bytes);
                restored.last_arrival = restored.last_arrival.max(number);
            }
            "digest" => restored.digest = stored::decode_digest(&value).ok(),
            _ => {
                if let (Some(name), Ok(value)) = (name.strip_prefix("setting:"), serde_json::from_slice(&value)) {
                    restored.settings.push((name.to_owned(), value));
                }
            }
        }
    }
    Ok(restored)
}

fn arrival_of(row: &SqliteRow) -> u64 {
    u64::try_from(row.get::<i64, _>(0)).unwrap_or(0)
}

/// A damaged item is left out, not fatal: the others are still worth reading.
fn read_item(row: &SqliteRow) -> Option<Item> {
    let arrival = arrival_of(row);
    match stored::decode_item(arrival, row.get::<&[u8], _>(1)) {
        Ok(item) => Some(item),
        Err(error) => {
            tracing::error!(arrival, %error, "an inbox item cannot be read and is left out");
            None
        }
    }
}

fn read_seen(row: &SqliteRow) -> Option<(PeerId, MessageId, Timestamp)> {
    let sender = Uuid::from_slice(row.get::<&[u8], _>(0)).ok()?;
    let id = Uuid::from_slice(row.get::<&[u8], _>(1)).ok()?;
    let until = u64::try_from(row.get::<i64, _>(2)).ok()?;
    Some((PeerId(sender), MessageId(id), Timestamp::from_millis(until)))
}

/// SQLite's integers are signed; arrival numbers and times stay far below the sign.
fn database_integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Why the database cannot be used. The file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It was written by a newer version of this program.
    #[error(
        "{} was written by a newer version of comity (schema {found}, this one knows {known}): run that version, or use another --data-dir",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema known here.
        known: usize,
    },
    /// It is damaged, or not a database at all.
    #[error(
        "{path} is damaged ({cause}): put a backup in its place, or move it away (mv {path} {path}.damaged) and start with an empty inbox; the node's key is not in it",
        path = path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        cause: String,
    },
    /// There is no room for it.
    #[error("the disk that holds {} is full: make room and start again", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The database.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// SQLite refused for another reason.
    #[error("{}: {cause}", path.display())]
    Refused {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        cause: sqlx::Error,
    },
}

/// Primary result codes of SQLite (sqlite3.h).
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_FULL: u32 = 13;
const SQLITE_NOTADB: u32 = 26;

impl StoreError {
    fn of(error: sqlx::Error, path: &Path) -> Self {
        let path = path.to_owned();
        match primary_code(&error) {
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => Self::Damaged { path, cause: error.to_string() },
            Some(SQLITE_FULL) => Self::Full { path },
            _ => Self::Refused { path, cause: error },
        }
    }
}

fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
