//! What is read from the file: all that must be remembered when a node starts, and parts of lines while it runs.

use super::stored::{self, Invitation, KeptPin, KeptTool};
use crate::store::database_integer;
use comity_core::federation::digesting::Digesting;
use comity_core::federation::event::EventId;
use comity_core::federation::heads::Digest;
use comity_core::federation::{ChannelId, Origin, hub, participant};
use comity_core::id::NodeId;
use comity_core::time::Timestamp;
use comity_core::tool::Approvals;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Events whose ids are read at once for a digest.
const DIGESTED_MAX: i64 = 4096;

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// The channels.
    pub(crate) channels: Vec<RestoredChannel>,
    /// The highest number of a channel, also of one that cannot be read.
    pub(crate) last_number: u64,
    /// The keys of other origins.
    pub(crate) pins: BTreeMap<Origin, KeptPin>,
    /// Invitations that nobody has answered.
    pub(crate) invitations: BTreeMap<ChannelId, Invitation>,
    /// Nonces that were used.
    pub(crate) nonces: Vec<(NodeId, [u8; 16], Timestamp)>,
    /// Up to where this node's own programs have each line, by the channel's number.
    pub(crate) shown: BTreeMap<u64, u64>,
    /// Proofs against hubs.
    pub(crate) proofs: Vec<(ChannelId, String)>,
    /// Tools of other origins that a person approved.
    pub(crate) approvals: Approvals,
}

/// A channel.
#[derive(Debug)]
pub(crate) struct RestoredChannel {
    /// Its number in this file.
    pub(crate) number: u64,
    /// The channel.
    pub(crate) id: ChannelId,
    /// What this origin is in it.
    pub(crate) role: Role,
    /// How far each member has the line, as far as is known.
    pub(crate) sent: BTreeMap<Origin, u64>,
}

/// What an origin is in a channel.
#[derive(Debug)]
pub(crate) enum Role {
    /// It orders it.
    Hub(hub::Summary),
    /// Another does.
    Member(participant::Summary),
}

pub(super) async fn restore(connection: &mut SqliteConnection, now: Timestamp) -> Result<Restored, sqlx::Error> {
    let mut restored = Restored::default();
    for row in sqlx::query("SELECT number, id, is_hub, summary FROM channel").fetch_all(&mut *connection).await? {
        let (number, id): (i64, String) = (row.get(0), row.get(1));
        restored.last_number = restored.last_number.max(number.unsigned_abs());
        let role = role_of(connection, &row).await?;
        let (Some(role), Ok(id)) = (role, id.parse::<ChannelId>()) else {
            tracing::error!(channel = id, "what is kept of a channel cannot be read: it is left alone");
            continue;
        };
        let rows = sqlx::query("SELECT member, seq FROM sent WHERE channel = ?").bind(number);
        let rows = rows.fetch_all(&mut *connection).await?;
        let sent = rows.iter().filter_map(|row| Some((row.get::<&str, _>(0).parse().ok()?, natural(row, 1))));
        restored.channels.push(RestoredChannel { number: number.unsigned_abs(), id, role, sent: sent.collect() });
    }
    for row in sqlx::query("SELECT origin, value FROM pin").fetch_all(&mut *connection).await? {
        if let (Ok(origin), Some(pin)) = (row.get::<&str, _>(0).parse(), KeptPin::of(row.get(1))) {
            restored.pins.insert(origin, pin);
        }
    }
    for row in sqlx::query("SELECT channel, value FROM invitation").fetch_all(&mut *connection).await? {
        if let (Ok(channel), Ok(value)) = (row.get::<&str, _>(0).parse(), serde_json::from_str(row.get(1))) {
            restored.invitations.insert(channel, value);
        }
    }
    let rows = sqlx::query("SELECT key, nonce, until FROM nonce WHERE until > ?").bind(database_integer(now.millis()));
    for row in rows.fetch_all(&mut *connection).await? {
        let (key, nonce): (&[u8], &[u8]) = (row.get(0), row.get(1));
        if let (Ok(key), Ok(nonce)) = (key.try_into(), nonce.try_into()) {
            restored.nonces.push((NodeId::from_bytes(key), nonce, Timestamp::from_millis(natural(&row, 2))));
        }
    }
    for row in sqlx::query("SELECT channel, seq FROM shown").fetch_all(&mut *connection).await? {
        restored.shown.insert(natural(&row, 0), natural(&row, 1));
    }
    for row in sqlx::query("SELECT channel, value FROM proof").fetch_all(&mut *connection).await? {
        if let Ok(channel) = row.get::<&str, _>(0).parse() {
            restored.proofs.push((channel, row.get(1)));
        }
    }
    restored.approvals = approvals(connection).await?;
    Ok(restored)
}

/// What was approved. What cannot be read is not.
async fn approvals(connection: &mut SqliteConnection) -> Result<Approvals, sqlx::Error> {
    let mut approvals = Approvals::default();
    for row in sqlx::query("SELECT origin, server, tool, value FROM approval").fetch_all(&mut *connection).await? {
        let (server, tool): (&str, String) = (row.get(1), row.get(2));
        let (origin, kept) = (row.get::<&str, _>(0).parse(), serde_json::from_str::<KeptTool>(row.get(3)));
        if let (Ok(origin), Ok(kept)) = (origin, kept)
            && !approvals.approve(&origin, server, kept.named(tool))
        {
            tracing::warn!(%origin, server, "there are too many approved tools: this one is not");
        }
    }
    Ok(approvals)
}

/// What this origin is in the channel of a row; `None`: what is kept of it cannot be read.
async fn role_of(connection: &mut SqliteConnection, row: &SqliteRow) -> Result<Option<Role>, sqlx::Error> {
    let (number, is_hub, summary): (i64, bool, String) = (row.get(0), row.get(2), row.get(3));
    Ok(if is_hub {
        let mut recent = recent(connection, number).await?;
        stored::hub_of(&summary, &mut recent).map(Role::Hub)
    } else {
        stored::member_of(&summary).map(Role::Member)
    })
}

/// The last events of each author, the oldest first.
async fn recent(
    connection: &mut SqliteConnection,
    channel: i64,
) -> Result<BTreeMap<String, VecDeque<(Option<u64>, EventId)>>, sqlx::Error> {
    let authors = sqlx::query("SELECT DISTINCT author FROM event WHERE channel = ?").bind(channel);
    let authors: Vec<String> = authors.fetch_all(&mut *connection).await?.iter().map(|row| row.get(0)).collect();
    let mut recent = BTreeMap::new();
    for author in authors {
        let rows =
            sqlx::query("SELECT author_seq, id FROM event WHERE channel = ? AND author = ? ORDER BY seq DESC LIMIT ?")
                .bind(channel)
                .bind(&author)
                .bind(database_integer(hub::RECENT_MAX as u64))
                .fetch_all(&mut *connection)
                .await?;
        let event = |row: &SqliteRow| {
            let number = row.get::<Option<i64>, _>(0).map(i64::unsigned_abs);
            let id = <[u8; 20]>::try_from(row.get::<&[u8], _>(1)).ok()?;
            Some((number, EventId::from_bytes(id)))
        };
        recent.insert(author, rows.iter().rev().filter_map(event).collect());
    }
    Ok(recent)
}

fn natural(row: &SqliteRow, column: usize) -> u64 {
    row.get::<i64, _>(column).unsigned_abs()
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptEvent {
    /// Its number: in the line, or of its author.
    pub(crate) number: u64,
    /// Its id.
    pub(crate) id: EventId,
    /// It, as it goes over the wire.
    pub(crate) body: String,
}

fn read_row(row: &SqliteRow) -> Option<KeptEvent> {
    let id = <[u8; 20]>::try_from(row.get::<&[u8], _>(1)).ok()?;
    Some(KeptEvent { number: natural(row, 0), id: EventId::from_bytes(id), body: row.get(2) })
}

/// From where events are read, and which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Those after this one, the oldest first.
    After(u64),
    /// Those before this one, the latest first.
    Before(u64),
}

impl Direction {
    /// The same way, from an event on that was read.
    pub(crate) fn past(self, number: u64) -> Self {
        match self {
            Self::After(_) => Self::After(number),
            Self::Before(_) => Self::Before(number),
        }
    }
}

/// The reading half of the file. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    /// A lock and not a message: each read is short, and whoever reads waits for it anyway.
    connection: Arc<Mutex<SqliteConnection>>,
}

impl Lines {
    pub(super) fn new(connection: SqliteConnection) -> Self {
        Self { connection: Arc::new(Mutex::new(connection)) }
    }

    /// Events of a line between these two, both included, as they go over the wire, with their numbers.
    pub(crate) async fn events(
        &self,
        channel: u64,
        from: Direction,
        (first, last): (u64, u64),
        limit: u64,
    ) -> Result<Vec<KeptEvent>, sqlx::Error> {
        let (query, (first, last)) = match from {
            Direction::After(after) => (
                "SELECT seq, id, body FROM event WHERE channel = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
                (first.max(after.saturating_add(1)), last),
            ),
            Direction::Before(before) => (
                "SELECT seq, id, body FROM event WHERE channel = ? AND seq BETWEEN ? AND ? ORDER BY seq DESC LIMIT ?",
                (first, last.min(before.saturating_sub(1))),
            ),
        };
        let rows = sqlx::query(query)
            .bind(database_integer(channel))
            .bind(database_integer(first))
            .bind(database_integer(last))
            .bind(database_integer(limit))
            .fetch_all(&mut *self.connection.lock().await)
            .await?;
        Ok(rows.iter().filter_map(read_row).collect())
    }

    /// Own events that have these numbers, after the first and up to the last.
    pub(crate) async fn own(&self, channel: u64, after: u64, upto: u64) -> Result<Vec<KeptEvent>, sqlx::Error> {
        let query = "SELECT author_seq, id, body FROM own WHERE channel = ? AND author_seq > ? AND author_seq <= ? \
                     ORDER BY author_seq";
        let rows = sqlx::query(query)
            .bind(database_integer(channel))
            .bind(database_integer(after))
            .bind(database_integer(upto))
            .fetch_all(&mut *self.connection.lock().await)
            .await?;
        Ok(rows.iter().filter_map(read_row).collect())
    }

    /// What this origin is in a channel, read anew.
    pub(crate) async fn channel(&self, number: u64) -> Result<Option<Role>, sqlx::Error> {
        let mut connection = self.connection.lock().await;
        let query = sqlx::query("SELECT number, id, is_hub, summary FROM channel WHERE number = ?");
        match query.bind(database_integer(number)).fetch_optional(&mut *connection).await? {
            Some(row) => role_of(&mut connection, &row).await,
            None => Ok(None),
        }
    }

    /// The digest of a part of a line: of the events after the first of these, up to the second.
    pub(crate) async fn digest(&self, channel: u64, mut after: u64, upto: u64) -> Result<Digest, sqlx::Error> {
        let mut digesting = Digesting::default();
        loop {
            let query = "SELECT seq, id FROM event WHERE channel = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?";
            let query = sqlx::query(query).bind(database_integer(channel)).bind(database_integer(after));
            let query = query.bind(database_integer(upto)).bind(DIGESTED_MAX);
            // The lock is given back after each of them: others read meanwhile.
            let rows = query.fetch_all(&mut *self.connection.lock().await).await?;
            let ids = rows.iter().filter_map(|row| row.get::<&[u8], _>(1).try_into().ok());
            ids.for_each(|id| digesting.add(&EventId::from_bytes(id)));
            match rows.last() {
                Some(row) => after = natural(row, 0),
                None => return Ok(digesting.end()),
            }
        }
    }

    /// What proves that the hub of a channel showed two histories, if there is anything.
    pub(crate) async fn proof(&self, channel: &ChannelId) -> Result<Option<String>, sqlx::Error> {
        let query = sqlx::query("SELECT value FROM proof WHERE channel = ? LIMIT 1").bind(channel.to_string());
        Ok(query.fetch_optional(&mut *self.connection.lock().await).await?.map(|row| row.get(0)))
    }

    /// The event of this number, if it is here.
    pub(crate) async fn event(&self, channel: u64, seq: u64) -> Result<Option<KeptEvent>, sqlx::Error> {
        Ok(self.events(channel, Direction::After(seq.saturating_sub(1)), (seq, seq), 1).await?.pop())
    }

    /// Whose events a line has.
    pub(crate) async fn authors(&self, channel: u64) -> Result<Vec<Origin>, sqlx::Error> {
        let query = sqlx::query("SELECT DISTINCT author FROM event WHERE channel = ?").bind(database_integer(channel));
        let rows = query.fetch_all(&mut *self.connection.lock().await).await?;
        Ok(rows.iter().filter_map(|row| row.get::<&str, _>(0).parse().ok()).collect())
    }

    /// What is to be said and has no number yet, by its place.
    pub(crate) async fn drafts(&self, channel: u64) -> Result<BTreeMap<u64, String>, sqlx::Error> {
        let query = "SELECT draft, body FROM draft WHERE channel = ? ORDER BY draft";
        let rows = sqlx::query(query).bind(database_integer(channel));
        let rows = rows.fetch_all(&mut *self.connection.lock().await).await?;
        Ok(rows.iter().map(|row| (natural(row, 0), row.get(1))).collect())
    }

    /// The transaction of this id: the hash of its body, and its answer if it was given.
    pub(crate) async fn transaction(
        &self,
        origin: &Origin,
        id: &str,
    ) -> Result<Option<([u8; 32], Option<String>)>, sqlx::Error> {
        let query = sqlx::query("SELECT hash, answer FROM txn WHERE origin = ? AND id = ?");
        let row = query.bind(origin.as_str()).bind(id).fetch_optional(&mut *self.connection.lock().await).await?;
        Ok(row.and_then(|row| Some((row.get::<&[u8], _>(0).try_into().ok()?, row.get(1)))))
    }
}
