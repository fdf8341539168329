//! What federation keeps on disk: the lines of channels, what waits to be said, pinned keys, invitations, nonces and
//! transactions. One SQLite file of its own, `federation.db`, with one writer that commits in groups and one connection
//! for reading. It decides nothing.

mod group;
mod read;
mod stored;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use read::{Direction, KeptEvent, Lines, Restored, Role};
pub(crate) use stored::{Invitation, KeptPin, KeptTool, draft_of, hub_to_text, member_to_text};
pub(crate) use writer::{Batch, Done, Write, Writer};

use super::{StoreError, connect, schema};
use comity_core::time::Timestamp;
use std::path::Path;

/// Memory for pages of each connection, KiB: events are appended, and the last ones read.
const CACHE_KIB: i64 = 1024;

/// One step for each version of the file; `user_version` says how many it has been through.
///
/// `event` holds the lines as they go over the wire; `own` what this origin says on channels of others, until it is seen
/// in their lines; `draft` the same before it has a number; `sent` how far each member has a line, as far as is known;
/// `shown` up to where this node's own programs have it; `approval` what tools of others were when a person approved them.
const STEPS: &[&str] = &[
    "CREATE TABLE channel (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, is_hub INTEGER NOT NULL,
         summary TEXT NOT NULL) STRICT;
     CREATE TABLE event (channel INTEGER NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL, author TEXT NOT NULL,
         author_seq INTEGER, body TEXT NOT NULL, PRIMARY KEY (channel, seq)) STRICT;
     CREATE INDEX event_author ON event (channel, author, seq);
     CREATE TABLE own (channel INTEGER NOT NULL, author_seq INTEGER NOT NULL, id BLOB NOT NULL,
         body TEXT NOT NULL, PRIMARY KEY (channel, author_seq)) STRICT, WITHOUT ROWID;
     CREATE TABLE draft (channel INTEGER NOT NULL, draft INTEGER NOT NULL, body TEXT NOT NULL,
         PRIMARY KEY (channel, draft)) STRICT, WITHOUT ROWID;
     CREATE TABLE sent (channel INTEGER NOT NULL, member TEXT NOT NULL, seq INTEGER NOT NULL,
         PRIMARY KEY (channel, member)) STRICT, WITHOUT ROWID;
     CREATE TABLE shown (channel INTEGER PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
     CREATE TABLE pin (origin TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE invitation (channel TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE nonce (key BLOB NOT NULL, nonce BLOB NOT NULL, until INTEGER NOT NULL) STRICT;
     CREATE TABLE txn (origin TEXT NOT NULL, id TEXT NOT NULL, hash BLOB NOT NULL, answer TEXT, until INTEGER NOT NULL,
         PRIMARY KEY (origin, id)) STRICT, WITHOUT ROWID;
     CREATE TABLE proof (channel TEXT NOT NULL, value TEXT NOT NULL) STRICT;",
    "CREATE TABLE approval (origin TEXT NOT NULL, server TEXT NOT NULL, tool TEXT NOT NULL, value TEXT NOT NULL,
         PRIMARY KEY (origin, server, tool)) STRICT, WITHOUT ROWID;",
];

/// Opens the file, made if it is missing: its writer, its reader, and what must be remembered after `now`.
pub(crate) async fn open(path: &Path, now: Timestamp) -> Result<(Writer, Lines, Restored), StoreError> {
    let mut connection = connect(path, CACHE_KIB).await?;
    schema::upgrade(&mut connection, STEPS, path).await?;
    let restored = read::restore(&mut connection, now).await.map_err(|error| StoreError::of(error, path))?;
    let lines = Lines::new(connect(path, CACHE_KIB).await?);
    Ok((Writer::new(connection), lines, restored))
}
