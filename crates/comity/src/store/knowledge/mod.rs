//! What a node knows by its own word and by that of others: one SQLite file, `knowledge.db`, with one writer that commits
//! in groups and a few connections for reading. It decides nothing, but for which entries go when there are too many.
//! See the rows of knowledge in `protocols/mesh.md`.

mod read;
mod write;

pub(crate) use read::Reader;
pub(crate) use write::{Entry, Room, Starts, Write, Writer, Written, weight};

use super::{StoreError, connect, schema};
use comity_core::knowledge::topic_words;
use std::path::Path;

/// Memory for pages of the writer, KiB: entries are looked up by their ids, which are spread over the whole file.
const WRITER_CACHE_KIB: i64 = 2 * 1024;

/// Memory for pages of each reader, KiB.
const READER_CACHE_KIB: i64 = 1024;

/// Connections for reading: a question about a topic holds one for a few milliseconds.
const READERS: usize = 2;

/// One step for each version of the file; `user_version` says how many it has been through.
///
/// `entry` has the newest entry of each id of each signer: `seq` is the place of its last change in the log, `own` whether
/// this node said it, `via` who handed it over (empty: it was said here, or whoever did proved no key), `basin`
/// little-endian doubles, `weight` the bytes it takes. `word` has what entries are found by: the words of their topics, and `=` and the whole topic. `start`
/// has the ids of the log: a new one whenever the file was opened, at the place where it then was. `source` says how far
/// the log of another node was read.
const STEPS: &[&str] =
    &["CREATE TABLE entry (seq INTEGER PRIMARY KEY, signer TEXT NOT NULL, id TEXT NOT NULL, own INTEGER NOT NULL,
         topic TEXT NOT NULL, basin BLOB, content TEXT NOT NULL, source TEXT, confidence REAL NOT NULL,
         created TEXT NOT NULL, signature BLOB NOT NULL, via TEXT NOT NULL, weight INTEGER NOT NULL,
         UNIQUE (signer, id)) STRICT;
     CREATE INDEX entry_other ON entry (seq) WHERE own = 0;
     CREATE TABLE word (word TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (word, seq)) STRICT, WITHOUT ROWID;
     CREATE INDEX word_seq ON word (seq);
     CREATE TABLE start (number INTEGER PRIMARY KEY, log INTEGER NOT NULL, seq INTEGER NOT NULL) STRICT;
     CREATE TABLE source (key TEXT PRIMARY KEY, cursor TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE kept (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"];

/// Opens the file, made if it is missing: its writer and its readers. `log` is a number that no other start has.
pub(crate) async fn open(path: &Path, log: u64) -> Result<(Writer, Reader), StoreError> {
    let mut connection = connect(path, WRITER_CACHE_KIB).await?;
    schema::upgrade(&mut connection, STEPS, path).await?;
    let writer = Writer::new(connection, log).await.map_err(|error| StoreError::of(error, path))?;
    let mut readers = Vec::with_capacity(READERS);
    for _ in 0..READERS {
        readers.push(connect(path, READER_CACHE_KIB).await?);
    }
    Ok((writer, Reader::new(readers)))
}

/// What an entry of this topic is found by.
fn words(topic: &str) -> impl Iterator<Item = String> {
    topic_words(topic).into_iter().chain([format!("={}", topic.to_lowercase())])
}
