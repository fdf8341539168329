//! The one writer of `mesh.db`. What is written together is safe together, or not at all.

use super::super::rows::each;
use super::super::{StoreError, database_integer, transaction};
use super::OWN;
use super::read::{Held, held};
use comity_core::id::NodeId;
use sqlx::query_builder::QueryBuilder;
use sqlx::{Connection, Row, SqliteConnection};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Ids that one question asks for.
const IDS: usize = 512;

/// The newest state of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// Whose it is.
    pub(crate) source: u32,
    /// Its id.
    pub(crate) doc_id: String,
    /// Where its numbers are; `None`: it is deleted.
    pub(crate) place: Option<u32>,
    /// Where its numbers were.
    pub(crate) place_before: Option<u32>,
    /// Its version.
    pub(crate) version: u64,
    /// The place of this change in the log.
    pub(crate) seq: u64,
    /// When, ms: never less than that of the change before.
    pub(crate) stamp: u64,
    /// When its source wrote it, ms.
    pub(crate) written: u64,
    /// Its metadata, as they were signed.
    pub(crate) metadata: String,
    /// Its source's signature.
    pub(crate) signature: Vec<u8>,
    /// Its URL, if it has one.
    pub(crate) url: Option<String>,
    /// What it can be filtered by.
    pub(crate) tags: Vec<(String, String)>,
    /// The beginning of its text.
    pub(crate) excerpt: Option<String>,
    /// How the file was that it was read from, in words that only the reader compares.
    pub(crate) file: Option<String>,
}

/// What there is one of. Each lasts until it is kept anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The id of the log; 0: there is none yet.
    pub(crate) log: u64,
    /// The last place in the log that was used.
    pub(crate) seq: u64,
    /// The stamp of that change.
    pub(crate) stamp: u64,
    /// Up to where the graph on disk has everything: what was touched before is not known any more.
    pub(crate) untouched: u64,
    /// What the index is made for, in words; empty: nothing yet.
    pub(crate) settings: String,
}

/// The writing half of the file.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: SqliteConnection,
    kept: Kept,
    sources: BTreeMap<NodeId, (u32, Option<String>)>,
}

impl Writer {
    pub(super) async fn new(mut connection: SqliteConnection, path: &Path) -> Result<Self, StoreError> {
        let read = restore(&mut connection).await;
        let (kept, sources) = read.map_err(|error| StoreError::of(error, path))?;
        Ok(Self { connection, kept, sources })
    }

    /// What there is one of.
    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The other nodes whose documents are here: number, and how far each was read.
    pub(crate) fn sources(&self) -> &BTreeMap<NodeId, (u32, Option<String>)> {
        &self.sources
    }

    /// Keeps the id of the log, and what the index is made for.
    pub(crate) async fn begin_log(&mut self, log: u64, settings: &str) -> Result<(), sqlx::Error> {
        transaction::begin(&mut self.connection).await?;
        let written = async {
            keep(&mut self.connection, "log", &log.to_be_bytes()).await?;
            keep(&mut self.connection, "settings", settings.as_bytes()).await
        };
        let written = written.await;
        transaction::end(&mut self.connection, written).await?;
        (self.kept.log, self.kept.settings) = (log, settings.to_owned());
        Ok(())
    }

    /// What is kept of these documents of a source.
    pub(crate) async fn held(&mut self, source: u32, ids: &[&str]) -> Result<BTreeMap<String, Held>, sqlx::Error> {
        let mut found = BTreeMap::new();
        for ids in ids.chunks(IDS) {
            held(&mut self.connection, source, ids, &mut found).await?;
        }
        Ok(found)
    }

    /// The number of a source, which it gets now if it has none.
    pub(crate) async fn source(&mut self, key: NodeId) -> Result<u32, sqlx::Error> {
        if let Some((number, _)) = self.sources.get(&key) {
            return Ok(*number);
        }
        let number = self.sources.values().map(|(number, _)| *number).max().unwrap_or(OWN) + 1;
        sqlx::query("INSERT INTO source (number, key, cursor) VALUES (?, ?, NULL)")
            .bind(i64::from(number))
            .bind(key.to_string())
            .execute(&mut self.connection)
            .await?;
        self.sources.insert(key, (number, None));
        Ok(number)
    }

    /// Writes the newest states of documents, each document at most once, and how far a source was read with them.
    pub(crate) async fn commit(&mut self, writes: &[Write], read: Option<(NodeId, &str)>) -> Result<(), sqlx::Error> {
        transaction::begin(&mut self.connection).await?;
        let written = write_all(&mut self.connection, writes, read, self.kept.seq).await;
        transaction::end(&mut self.connection, written).await?;
        if let Some(last) = writes.last() {
            (self.kept.seq, self.kept.stamp) = (last.seq, last.stamp);
        }
        if let Some((key, cursor)) = read
            && let Some((_, held)) = self.sources.get_mut(&key)
        {
            *held = Some(cursor.to_owned());
        }
        Ok(())
    }

    /// The places that have changed after `mark`, and whether each has a document now.
    pub(crate) async fn touched(&mut self, mark: u64) -> Result<BTreeMap<u32, bool>, sqlx::Error> {
        let statement = "SELECT DISTINCT touched.place, document.place IS NOT NULL FROM touched
             LEFT JOIN document ON document.place = touched.place WHERE touched.seq > ?";
        let rows = sqlx::query(statement).bind(database_integer(mark)).fetch_all(&mut self.connection).await?;
        Ok(rows.iter().map(|row| (place_of(row.get(0)), row.get::<bool, _>(1))).collect())
    }

    /// Forgets which places had changed up to `mark`: the graph on disk has them.
    pub(crate) async fn untouch(&mut self, mark: u64) -> Result<(), sqlx::Error> {
        transaction::begin(&mut self.connection).await?;
        let written = async {
            let query = sqlx::query("DELETE FROM touched WHERE seq <= ?").bind(database_integer(mark));
            query.execute(&mut self.connection).await?;
            keep(&mut self.connection, "untouched", &mark.to_be_bytes()).await
        };
        let written = written.await;
        transaction::end(&mut self.connection, written).await?;
        self.kept.untouched = mark;
        Ok(())
    }

    /// The place and the source of every document that is not deleted, by place.
    pub(crate) async fn places(&mut self) -> Result<Vec<(u32, u32)>, sqlx::Error> {
        let statement = "SELECT place, source FROM document WHERE place IS NOT NULL ORDER BY place";
        let rows = sqlx::query(statement).fetch_all(&mut self.connection).await?;
        Ok(rows.iter().map(|row| (place_of(row.get(0)), place_of(row.get(1)))).collect())
    }

    /// Closes the file.
    pub(crate) async fn close(self) {
        // Err: what was committed is in SQLite's own journal, which the next start reads.
        let _ = self.connection.close().await;
    }
}

/// A number that was written as a `u32`.
pub(super) fn place_of(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

async fn restore(
    connection: &mut SqliteConnection,
) -> Result<(Kept, BTreeMap<NodeId, (u32, Option<String>)>), sqlx::Error> {
    let mut kept = Kept::default();
    for row in sqlx::query("SELECT name, value FROM kept").fetch_all(&mut *connection).await? {
        let (name, value): (String, Vec<u8>) = (row.get(0), row.get(1));
        let number = || value.as_slice().try_into().map_or(0, u64::from_be_bytes);
        match name.as_str() {
            "log" => kept.log = number(),
            "seq" => kept.seq = number(),
            "stamp" => kept.stamp = number(),
            "untouched" => kept.untouched = number(),
            "settings" => kept.settings = String::from_utf8_lossy(&value).into_owned(),
            _ => {}
        }
    }
    let rows = sqlx::query("SELECT number, key, cursor FROM source").fetch_all(&mut *connection).await?;
    let sources = rows.iter().filter_map(|row| {
        let key = row.get::<&str, _>(1).parse().ok()?;
        Some((key, (place_of(row.get(0)), row.get(2))))
    });
    Ok((kept, sources.collect()))
}

async fn keep(connection: &mut SqliteConnection, name: &'static str, value: &[u8]) -> Result<(), sqlx::Error> {
    let statement = "INSERT INTO kept (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value";
    sqlx::query(statement).bind(name).bind(value.to_vec()).execute(connection).await.map(drop)
}

async fn write_all(
    to: &mut SqliteConnection,
    writes: &[Write],
    read: Option<(NodeId, &str)>,
    seq_before: u64,
) -> Result<(), sqlx::Error> {
    let freed: BTreeSet<u32> = writes.iter().filter_map(|write| write.place_before).collect();
    let freed: Vec<u32> = freed.into_iter().collect();
    for places in freed.chunks(IDS) {
        let mut query = QueryBuilder::new("DELETE FROM tag WHERE place IN (");
        let mut list = query.separated(", ");
        for place in places {
            list.push_bind(i64::from(*place));
        }
        query.push(")").build().execute(&mut *to).await?;
    }
    write_documents(to, writes).await?;
    let tags: Vec<_> = writes.iter().filter_map(|write| Some((write.place?, &write.tags))).collect();
    let tags: Vec<_> = tags.iter().flat_map(|(place, tags)| tags.iter().map(move |tag| (*place, tag))).collect();
    let statement = ("INSERT OR IGNORE INTO tag (name, value, place) ", "");
    each(to, statement, tags, |mut row, (place, (name, value))| {
        row.push_bind(name.clone()).push_bind(value.clone()).push_bind(i64::from(place));
    })
    .await?;
    let touched = writes
        .iter()
        .flat_map(|write| write.place.into_iter().chain(write.place_before).map(|place| (write.seq, place)));
    let touched: Vec<_> = touched.collect();
    each(to, ("INSERT INTO touched (seq, place) ", ""), touched, |mut row, (seq, place)| {
        row.push_bind(database_integer(seq)).push_bind(i64::from(place));
    })
    .await?;
    if let Some(last) = writes.last().filter(|last| last.seq > seq_before) {
        keep(to, "seq", &last.seq.to_be_bytes()).await?;
        keep(to, "stamp", &last.stamp.to_be_bytes()).await?;
    }
    if let Some((key, cursor)) = read {
        let statement = "UPDATE source SET cursor = ? WHERE key = ?";
        sqlx::query(statement).bind(cursor.to_owned()).bind(key.to_string()).execute(&mut *to).await?;
    }
    Ok(())
}

async fn write_documents(to: &mut SqliteConnection, writes: &[Write]) -> Result<(), sqlx::Error> {
    let statement = (
        "INSERT INTO document (source, doc_id, place, version, seq, stamp, written, metadata, signature, url, excerpt,
             file) ",
        " ON CONFLICT (source, doc_id) DO UPDATE SET place = excluded.place, version = excluded.version,
             seq = excluded.seq, stamp = excluded.stamp, written = excluded.written, metadata = excluded.metadata,
             signature = excluded.signature, url = excluded.url, excerpt = excluded.excerpt, file = excluded.file",
    );
    each(to, statement, writes, |mut row, write| {
        row.push_bind(i64::from(write.source)).push_bind(write.doc_id.clone());
        row.push_bind(write.place.map(i64::from)).push_bind(database_integer(write.version));
        row.push_bind(database_integer(write.seq)).push_bind(database_integer(write.stamp));
        row.push_bind(database_integer(write.written)).push_bind(write.metadata.clone());
        row.push_bind(write.signature.clone()).push_bind(write.url.clone());
        row.push_bind(write.excerpt.clone()).push_bind(write.file.clone());
    })
    .await
}
