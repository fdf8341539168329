//! The one writer of `knowledge.db`. What is written together is safe together, or not at all.

use super::super::rows::each;
use super::super::{database_integer, transaction};
use super::read::{COLUMNS, entry_of};
use super::words;
use comity_core::id::NodeId;
use comity_core::knowledge::Knowledge;
use comity_core::wire::mesh::sync::Cursor;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};
use std::collections::BTreeMap;

/// Ids of the log that are remembered. Whoever has a cursor of an older one reads from the beginning.
const STARTS_MAX: usize = 1000;

/// What an entry takes beside its texts and its vector, bytes.
const WEIGHT_EACH: u64 = 256;

/// An entry that is kept, and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// The entry.
    pub(crate) knowledge: Knowledge,
    /// Who says it.
    pub(crate) signer: NodeId,
    /// That node's signature.
    pub(crate) signature: [u8; 64],
    /// Who handed it over; `None`: it was said here, or whoever did proved no key.
    pub(crate) via: Option<NodeId>,
}

/// An entry that is to be written in the place of whatever is there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Write {
    /// The entry.
    pub(crate) entry: Entry,
    /// Whether this node says it: it is never given up for others'.
    pub(crate) own: bool,
    /// Where that one is in the log whose place it takes.
    pub(crate) before: Option<u64>,
}

/// How many there are, and how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Entries.
    pub(crate) entries: u64,
    /// Bytes, about.
    pub(crate) bytes: u64,
}

/// How it stands after writing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// The last place in the log.
    pub(crate) seq: u64,
    /// This node's own.
    pub(crate) own: Count,
    /// Those of others.
    pub(crate) others: Count,
    /// Entries of others that were given up since the file was made.
    pub(crate) dropped: u64,
}

/// How much there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Entries, at most.
    pub(crate) entries: u64,
    /// Bytes, at most.
    pub(crate) bytes: u64,
}

/// The ids of the log since the file was made, each with the place at which it began; the last is the present one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Starts(Vec<(u64, u64)>);

impl Starts {
    /// The cursor at this place.
    pub(crate) fn cursor(&self, after: u64) -> Cursor {
        Cursor { log: self.0.last().map_or(0, |(log, _)| *log), after }
    }

    /// The place after which somebody reads on who has this cursor; `None`: it was given out by a log that is no more,
    /// as when an older copy of the file was put back. `seq` is the last place that is safe.
    pub(crate) fn place(&self, cursor: Cursor, seq: u64) -> Option<u64> {
        let at = self.0.iter().position(|(log, _)| *log == cursor.log)?;
        let end = self.0.get(at + 1).map_or(seq, |(_, next)| *next);
        Some(cursor.after).filter(|after| *after <= end)
    }
}

/// The writing half of the file.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: SqliteConnection,
    written: Written,
    starts: Starts,
    sources: BTreeMap<NodeId, String>,
}

impl Writer {
    pub(super) async fn new(mut connection: SqliteConnection, log: u64) -> Result<Self, sqlx::Error> {
        let written = restore(&mut connection).await?;
        // SQLite has signed numbers only.
        let log = (log & i64::MAX.unsigned_abs()).max(1);
        let starts = start(&mut connection, log, written.seq).await?;
        let rows = sqlx::query("SELECT key, cursor FROM source").fetch_all(&mut connection).await?;
        let sources = rows.iter().filter_map(|row| Some((row.get::<&str, _>(0).parse().ok()?, row.get(1))));
        let sources = sources.collect();
        Ok(Self { connection, written, starts, sources })
    }

    /// How it stands.
    pub(crate) fn written(&self) -> &Written {
        &self.written
    }

    /// The ids of the log.
    pub(crate) fn starts(&self) -> &Starts {
        &self.starts
    }

    /// How far the logs of other nodes were read.
    pub(crate) fn sources(&self) -> &BTreeMap<NodeId, String> {
        &self.sources
    }

    /// What a signer has said under an id, and where that is in the log.
    pub(crate) async fn held(&mut self, signer: &NodeId, id: &str) -> Result<Option<(u64, Entry)>, sqlx::Error> {
        let statement = format!("SELECT {COLUMNS} FROM entry WHERE signer = ? AND id = ?");
        let query = sqlx::query(AssertSqlSafe(statement)).bind(signer.to_string()).bind(id.to_owned());
        let row = query.fetch_optional(&mut self.connection).await?;
        Ok(row.as_ref().and_then(entry_of))
    }

    /// Writes entries, each id of each signer at most once, and how far a source was read with them; and gives up the
    /// oldest of others' while there is more than there is room for.
    pub(crate) async fn commit(
        &mut self,
        writes: &[Write],
        read: Option<(NodeId, &str)>,
        room: Room,
    ) -> Result<(), sqlx::Error> {
        transaction::begin(&mut self.connection).await?;
        let mut after = self.written.clone();
        let written = write_all(&mut self.connection, writes, (read, room), &mut after).await;
        transaction::end(&mut self.connection, written).await?;
        self.written = after;
        if let Some((key, cursor)) = read {
            self.sources.insert(key, cursor.to_owned());
        }
        Ok(())
    }

    /// Closes the file.
    pub(crate) async fn close(self) {
        // Err: what was committed is in SQLite's own journal, which the next start reads.
        let _ = self.connection.close().await;
    }
}

async fn restore(connection: &mut SqliteConnection) -> Result<Written, sqlx::Error> {
    let mut written = Written::default();
    for row in sqlx::query("SELECT own, count(*), sum(weight), max(seq) FROM entry GROUP BY own")
        .fetch_all(&mut *connection)
        .await?
    {
        let number = |at: usize| u64::try_from(row.get::<i64, _>(at)).unwrap_or(0);
        let count = Count { entries: number(1), bytes: number(2) };
        written.seq = written.seq.max(number(3));
        if row.get::<bool, _>(0) {
            written.own = count;
        } else {
            written.others = count;
        }
    }
    for row in sqlx::query("SELECT name, value FROM kept").fetch_all(&mut *connection).await? {
        let value = u64::try_from(row.get::<i64, _>(1)).unwrap_or(0);
        match row.get::<&str, _>(0) {
            // The last entries of the log may have been given up: their places are not used again.
            "seq" => written.seq = written.seq.max(value),
            "dropped" => written.dropped = value,
            _ => {}
        }
    }
    Ok(written)
}

/// Begins a new part of the log, and forgets the oldest ones.
async fn start(connection: &mut SqliteConnection, log: u64, seq: u64) -> Result<Starts, sqlx::Error> {
    transaction::begin(connection).await?;
    let begun = async {
        let query = sqlx::query("INSERT INTO start (log, seq) VALUES (?, ?)");
        query.bind(database_integer(log)).bind(database_integer(seq)).execute(&mut *connection).await?;
        let forget = "DELETE FROM start WHERE number <= (SELECT max(number) FROM start) - ?";
        sqlx::query(forget).bind(STARTS_MAX as i64).execute(&mut *connection).await.map(drop)
    };
    let begun = begun.await;
    transaction::end(connection, begun).await?;
    let rows = sqlx::query("SELECT log, seq FROM start ORDER BY number").fetch_all(connection).await?;
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(Starts(rows.iter().map(|row| (number(row.get(0)), number(row.get(1)))).collect()))
}

async fn write_all(
    to: &mut SqliteConnection,
    writes: &[Write],
    (read, room): (Option<(NodeId, &str)>, Room),
    after: &mut Written,
) -> Result<(), sqlx::Error> {
    for before in writes.iter().filter_map(|write| write.before) {
        remove(to, before, after).await?;
    }
    let mut numbered = Vec::with_capacity(writes.len());
    for write in writes {
        after.seq += 1;
        let weight = weight(&write.entry);
        let count = if write.own { &mut after.own } else { &mut after.others };
        (count.entries, count.bytes) = (count.entries + 1, count.bytes + weight);
        numbered.push((after.seq, weight, write));
    }
    write_entries(to, &numbered).await?;
    while after.own.entries + after.others.entries > room.entries || after.own.bytes + after.others.bytes > room.bytes {
        let oldest = sqlx::query("SELECT min(seq) FROM entry WHERE own = 0").fetch_one(&mut *to).await?;
        let Some(oldest) = oldest.get::<Option<i64>, _>(0).and_then(|seq| u64::try_from(seq).ok()) else { break };
        remove(to, oldest, after).await?;
        after.dropped += 1;
    }
    if let Some((key, cursor)) = read {
        let statement = "INSERT INTO source (key, cursor) VALUES (?, ?)
             ON CONFLICT DO UPDATE SET cursor = excluded.cursor";
        sqlx::query(statement).bind(key.to_string()).bind(cursor.to_owned()).execute(&mut *to).await?;
    }
    for (name, value) in [("seq", after.seq), ("dropped", after.dropped)] {
        let statement = "INSERT INTO kept (name, value) VALUES (?, ?)
             ON CONFLICT DO UPDATE SET value = excluded.value";
        sqlx::query(statement).bind(name).bind(database_integer(value)).execute(&mut *to).await?;
    }
    Ok(())
}

async fn write_entries(to: &mut SqliteConnection, numbered: &[(u64, u64, &Write)]) -> Result<(), sqlx::Error> {
    let statement = (
        "INSERT INTO entry (seq, signer, id, own, topic, basin, content, source, confidence, created, signature, via,
             weight) ",
        "",
    );
    each(to, statement, numbered, |mut row, (seq, weight, Write { entry, own, .. })| {
        let Entry { knowledge, signer, signature, via } = entry;
        let via = via.map_or_else(String::new, |via| via.to_string());
        row.push_bind(database_integer(*seq)).push_bind(signer.to_string()).push_bind(knowledge.id.clone());
        row.push_bind(*own).push_bind(knowledge.topic.clone());
        row.push_bind(knowledge.topic_basin.as_deref().map(bytes_of)).push_bind(knowledge.content.clone());
        row.push_bind(knowledge.source.clone()).push_bind(knowledge.confidence);
        row.push_bind(knowledge.created.as_str().to_owned()).push_bind(signature.to_vec()).push_bind(via);
        row.push_bind(database_integer(*weight));
    })
    .await?;
    let words: Vec<(u64, String)> = numbered
        .iter()
        .flat_map(|(seq, _, write)| words(&write.entry.knowledge.topic).map(|word| (*seq, word)))
        .collect();
    each(to, ("INSERT INTO word (word, seq) ", ""), words, |mut row, (seq, word)| {
        row.push_bind(word).push_bind(database_integer(seq));
    })
    .await
}

async fn remove(from: &mut SqliteConnection, seq: u64, after: &mut Written) -> Result<(), sqlx::Error> {
    let seq = database_integer(seq);
    let statement = "DELETE FROM entry WHERE seq = ? RETURNING own, weight";
    if let Some(row) = sqlx::query(statement).bind(seq).fetch_optional(&mut *from).await? {
        let count = if row.get::<bool, _>(0) { &mut after.own } else { &mut after.others };
        count.entries = count.entries.saturating_sub(1);
        count.bytes = count.bytes.saturating_sub(u64::try_from(row.get::<i64, _>(1)).unwrap_or(0));
    }
    sqlx::query("DELETE FROM word WHERE seq = ?").bind(seq).execute(from).await.map(drop)
}

/// What an entry takes, bytes, about.
pub(crate) fn weight(entry: &Entry) -> u64 {
    let Knowledge { id, topic, topic_basin, content, source, .. } = &entry.knowledge;
    let texts = id.len() + 3 * topic.len() + content.len() + source.as_ref().map_or(0, String::len);
    let basin = topic_basin.as_ref().map_or(0, |basin| 8 * basin.len());
    WEIGHT_EACH + (texts + basin) as u64
}

fn bytes_of(basin: &[f64]) -> Vec<u8> {
    basin.iter().flat_map(|number| number.to_le_bytes()).collect()
}
