//! The registry of one coordinator: one SQLite file, `registry.db`, with one writer that commits in groups.

use super::{Restored, Write};
use crate::store::rows::each;
use crate::store::{StoreError, connect, database_integer, schema, transaction};
use comity_core::id::NodeId;
use comity_core::registry::key::{Issued, KeyHash, Token};
use comity_core::registry::profile::NodeName;
use comity_core::registry::roster::{Holder, Kept};
use comity_core::time::Timestamp;
use comity_core::wire::mesh::registry::{read_register, write_register};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};
use std::path::Path;

/// Memory for pages, KiB: a registry is small, and read as a whole once.
pub(super) const CACHE_KIB: i64 = 1024;

/// One step for each version of the file. `node.body` is a registration as it came; `holder` is who may speak for it: a
/// key (`by_key`), or the hash of an API key. `kept` says when heartbeats were written last.
pub(super) const STEPS: &[&str] = &[
    "CREATE TABLE node (name TEXT PRIMARY KEY, body BLOB NOT NULL, by_key INTEGER NOT NULL,
         holder BLOB NOT NULL, last_heartbeat INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE api_key (hash BLOB PRIMARY KEY, node TEXT NOT NULL UNIQUE, issued INTEGER NOT NULL)
         STRICT, WITHOUT ROWID;
     CREATE TABLE token (hash BLOB PRIMARY KEY, uses_left INTEGER NOT NULL, expires INTEGER NOT NULL)
         STRICT, WITHOUT ROWID;
     CREATE TABLE kept (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
    // Whether the key that a node names was proved, and by which token an API key was got. Of what is older neither is
    // known: such a key is a claim.
    "ALTER TABLE node ADD COLUMN key_proved INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE api_key ADD COLUMN token BLOB;",
];

/// The file, open.
#[derive(Debug)]
pub(crate) struct File {
    connection: SqliteConnection,
}

/// Opens the file, made for this user alone if it is missing, and reads all of it.
pub(super) async fn open(path: &Path) -> Result<(File, Restored), StoreError> {
    let mut connection = connect(path, CACHE_KIB).await?;
    schema::upgrade(&mut connection, STEPS, path).await?;
    let restored = restore(&mut connection).await.map_err(|error| StoreError::of(error, path))?;
    Ok((File { connection }, restored))
}

impl File {
    /// Writes what changed, in order; all of it is safe when this returns, or none.
    pub(super) async fn commit(&mut self, writes: &[Write]) -> Result<(), sqlx::Error> {
        transaction::begin(&mut self.connection).await?;
        let written = write_all(&mut self.connection, writes).await;
        transaction::end(&mut self.connection, written).await
    }

    /// Closes the file.
    pub(super) async fn close(self) {
        // Err: what was committed is in SQLite's own journal, which the next start reads.
        let _ = self.connection.close().await;
    }
}

async fn write_all(to: &mut SqliteConnection, writes: &[Write]) -> Result<(), sqlx::Error> {
    for write in writes {
        match write {
            Write::Node(kept) => write_node(to, kept).await?,
            Write::NodeOut(name) => {
                sqlx::query("DELETE FROM node WHERE name = ?").bind(name.to_string()).execute(&mut *to).await?;
            }
            Write::Heard(heard, until) => write_heard(to, heard, *until).await?,
            Write::Key(hash, issued) => {
                sqlx::query("INSERT OR REPLACE INTO api_key (hash, node, issued, token) VALUES (?, ?, ?, ?)")
                    .bind(hash.as_bytes().to_vec())
                    .bind(issued.node.to_string())
                    .bind(database_integer(issued.at.millis()))
                    .bind(issued.token.map(|token| token.as_bytes().to_vec()))
                    .execute(&mut *to)
                    .await?;
            }
            Write::KeyOut(hash) => {
                let query = sqlx::query("DELETE FROM api_key WHERE hash = ?").bind(hash.as_bytes().to_vec());
                query.execute(&mut *to).await?;
            }
            Write::Token(hash, token) => {
                sqlx::query("INSERT OR REPLACE INTO token (hash, uses_left, expires) VALUES (?, ?, ?)")
                    .bind(hash.as_bytes().to_vec())
                    .bind(i64::from(token.uses_left))
                    .bind(database_integer(token.expires.millis()))
                    .execute(&mut *to)
                    .await?;
            }
            Write::TokenOut(hash) => {
                let query = sqlx::query("DELETE FROM token WHERE hash = ?").bind(hash.as_bytes().to_vec());
                query.execute(&mut *to).await?;
            }
        }
    }
    Ok(())
}

async fn write_node(to: &mut SqliteConnection, kept: &Kept) -> Result<(), sqlx::Error> {
    let (by_key, holder) = match kept.holder {
        Holder::Key(key) => (1_i64, key.as_bytes().to_vec()),
        Holder::ApiKey(hash) => (0_i64, hash.as_bytes().to_vec()),
    };
    let insert = "INSERT OR REPLACE INTO node (name, body, by_key, holder, last_heartbeat, key_proved)
         VALUES (?, ?, ?, ?, ?, ?)";
    sqlx::query(insert)
        .bind(kept.registration.node.to_string())
        .bind(write_register(&kept.registration))
        .bind(by_key)
        .bind(holder)
        .bind(database_integer(kept.last_heartbeat.millis()))
        .bind(i64::from(kept.is_key_proved))
        .execute(to)
        .await
        .map(drop)
}

async fn write_heard(
    to: &mut SqliteConnection,
    heard: &[(NodeName, Timestamp)],
    until: Timestamp,
) -> Result<(), sqlx::Error> {
    for (name, at) in heard {
        let query = sqlx::query("UPDATE node SET last_heartbeat = ? WHERE name = ?");
        query.bind(database_integer(at.millis())).bind(name.to_string()).execute(&mut *to).await?;
    }
    let kept = ("INSERT OR REPLACE INTO kept (name, value) ", "");
    each(to, kept, [until], |mut row, until| {
        row.push_bind("heard_until").push_bind(database_integer(until.millis()));
    })
    .await
}

async fn restore(connection: &mut SqliteConnection) -> Result<Restored, sqlx::Error> {
    let mut restored = Restored::default();
    let rows = sqlx::query("SELECT body, by_key, holder, last_heartbeat, key_proved FROM node ORDER BY name");
    for row in rows.fetch_all(&mut *connection).await? {
        match node_of(&row) {
            Some(node) => restored.nodes.push(node),
            None => restored.damaged += 1,
        }
    }
    for row in sqlx::query("SELECT hash, node, issued, token FROM api_key").fetch_all(&mut *connection).await? {
        match (hash_of(&row, 0), NodeName::new(row.get(1))) {
            (Some(hash), Ok(node)) => {
                let token = row.get::<Option<&[u8]>, _>(3).and_then(|token| <[u8; 32]>::try_from(token).ok());
                let issued = Issued { node, at: time_of(&row, 2), token: token.map(KeyHash::from_bytes) };
                restored.keys.push((hash, issued));
            }
            _ => restored.damaged += 1,
        }
    }
    for row in sqlx::query("SELECT hash, uses_left, expires FROM token").fetch_all(&mut *connection).await? {
        match (hash_of(&row, 0), u32::try_from(row.get::<i64, _>(1))) {
            (Some(hash), Ok(uses_left)) => restored.tokens.push((hash, Token { uses_left, expires: time_of(&row, 2) })),
            _ => restored.damaged += 1,
        }
    }
    let query = sqlx::query("SELECT value FROM kept WHERE name = 'heard_until'");
    if let Some(row) = query.fetch_optional(&mut *connection).await? {
        restored.heard_until = time_of(&row, 0);
    }
    Ok(restored)
}

fn node_of(row: &SqliteRow) -> Option<Kept> {
    let holder: [u8; 32] = row.get::<&[u8], _>(2).try_into().ok()?;
    let holder = match row.get::<i64, _>(1) {
        1 => Holder::Key(NodeId::from_bytes(holder)),
        _ => Holder::ApiKey(KeyHash::from_bytes(holder)),
    };
    let registration = read_register(row.get::<&[u8], _>(0)).ok()?;
    let is_key_proved = row.get::<i64, _>(4) == 1;
    Some(Kept { registration, holder, is_key_proved, load: None, last_heartbeat: time_of(row, 3) })
}

fn hash_of(row: &SqliteRow, column: usize) -> Option<KeyHash> {
    row.get::<&[u8], _>(column).try_into().ok().map(KeyHash::from_bytes)
}

fn time_of(row: &SqliteRow, column: usize) -> Timestamp {
    Timestamp::from_millis(u64::try_from(row.get::<i64, _>(column)).unwrap_or(0))
}
