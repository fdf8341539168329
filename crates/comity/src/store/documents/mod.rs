//! What a node knows of documents, its own and those of others: one SQLite file, `mesh.db`, with one writer that commits
//! in groups and a few connections for reading. The numbers of a document are not in it but in the shelf beside it, at
//! the document's place; the order of writing keeps both true: numbers first, then rows. It decides nothing.
//! See "Basins" and "Delta sync" in `protocols/mesh.md`.

mod read;
mod write;

pub(crate) use read::{Held, Listed, Reader, Row, Standing, Whole};
pub(crate) use write::{Write, Writer};

use super::{StoreError, connect, schema};
use std::path::Path;

/// Memory for pages of the writer, KiB: rows are looked up by their ids, which are spread over the whole file.
const WRITER_CACHE_KIB: i64 = 8 * 1024;

/// Memory for pages of each reader, KiB.
const READER_CACHE_KIB: i64 = 2 * 1024;

/// Connections for reading: a search holds one for a fraction of a millisecond.
const READERS: usize = 4;

/// The number of this node among the sources.
pub(crate) const OWN: u32 = 0;

/// One step for each version of the file; `user_version` says how many it has been through.
///
/// `document` has one row for each document of each source, those that were deleted too: `place` is where its numbers are,
/// and null when it is deleted; `seq` is the place of its last change in the log, `stamp` the time of that change, which
/// never goes back within the log. `tag` has what documents can be filtered by. `touched` says which places have changed
/// since the graph was last written. `source` numbers the nodes whose documents are here, and how far each was read.
const STEPS: &[&str] = &[
    "CREATE TABLE document (source INTEGER NOT NULL, doc_id TEXT NOT NULL, place INTEGER, version INTEGER NOT NULL,
         seq INTEGER NOT NULL, stamp INTEGER NOT NULL, written INTEGER NOT NULL, metadata TEXT NOT NULL,
         signature BLOB NOT NULL, url TEXT, excerpt TEXT, file TEXT, PRIMARY KEY (source, doc_id)) STRICT, WITHOUT ROWID;
     CREATE UNIQUE INDEX document_place ON document (place) WHERE place IS NOT NULL;
     CREATE UNIQUE INDEX document_seq ON document (source, seq);
     CREATE INDEX document_url ON document (source, url) WHERE url IS NOT NULL AND place IS NOT NULL;
     CREATE TABLE tag (name TEXT NOT NULL, value TEXT NOT NULL, place INTEGER NOT NULL,
         PRIMARY KEY (name, value, place)) STRICT, WITHOUT ROWID;
     CREATE INDEX tag_place ON tag (place);
     CREATE TABLE touched (seq INTEGER NOT NULL, place INTEGER NOT NULL) STRICT;
     CREATE TABLE source (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, cursor TEXT) STRICT;
     CREATE TABLE kept (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;",
    "CREATE INDEX document_stamp ON document (source, stamp, seq, place);",
];

/// Opens the file, made if it is missing: its writer and its readers.
pub(crate) async fn open(path: &Path) -> Result<(Writer, Reader), StoreError> {
    let mut connection = connect(path, WRITER_CACHE_KIB).await?;
    schema::upgrade(&mut connection, STEPS, path).await?;
    let writer = Writer::new(connection, path).await?;
    let mut readers = Vec::with_capacity(READERS);
    for _ in 0..READERS {
        readers.push(connect(path, READER_CACHE_KIB).await?);
    }
    Ok((writer, Reader::new(readers)))
}
