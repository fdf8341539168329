//! The one writer: takes writes as they come, commits them in groups, and says when they are safe. While one group is
//! being synced the next one gathers.

use super::group::Group;
use super::stored::{Invitation, KeptPin, KeptTool};
use crate::store::{database_integer, transaction};
use comity_core::federation::{ChannelId, EventId, Origin};
use comity_core::id::NodeId;
use comity_core::time::Timestamp;
use sqlx::{Connection, SqliteConnection};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval_at, timeout_at};
use tokio_util::sync::CancellationToken;

/// Batches in one group, at most.
const GROUP_MAX: usize = 512;

/// Batches on their way to the disk, at most: whoever writes more waits.
const QUEUE_MAX: usize = 1024;

/// How long what nobody waits for may wait for more.
const LINGER: Duration = Duration::from_millis(20);

/// How often what may be forgotten is swept out.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Something to be written.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// A channel begins.
    Channel { number: u64, id: ChannelId, is_hub: bool, summary: String },
    /// What is kept of a channel besides its events.
    Summary { channel: u64, text: String },
    /// An event of a line, as it goes over the wire.
    Event { channel: u64, seq: u64, id: EventId, author: Origin, author_seq: Option<u64>, body: String },
    /// Events after this one are no longer in the line; those of this author, this origin, are to be said again.
    Withdrawn { channel: u64, after: u64, me: Origin },
    /// Something to be said on another origin's channel.
    Draft { channel: u64, draft: u64, body: String },
    /// It has a number now.
    Own { channel: u64, draft: u64, author_seq: u64, id: EventId, body: String },
    /// An own event is in the line. Those before it are not forgotten by that: one that was refused is judged anew by a
    /// hub that lost part of the line.
    OwnSeen { channel: u64, author_seq: u64 },
    /// Nobody wants own events up to this one any more.
    OwnPast { channel: u64, upto: u64 },
    /// How far a member has the line.
    Sent { channel: u64, member: Origin, seq: u64 },
    /// Up to where this node's own programs have a line.
    Shown { channel: u64, seq: u64 },
    /// The keys of an origin.
    Pin { origin: Origin, pin: Option<Box<KeptPin>> },
    /// An invitation came, or was answered.
    Invitation { channel: ChannelId, invitation: Option<Box<Invitation>> },
    /// A nonce was used.
    Nonce { key: NodeId, nonce: [u8; 16], until: Timestamp },
    /// A transaction begins.
    Transaction { origin: Origin, id: String, hash: [u8; 32], until: Timestamp },
    /// It was answered.
    Answered { origin: Origin, id: String, answer: String },
    /// Proof against a hub.
    Proof { channel: ChannelId, text: String },
    /// A tool of another origin was approved as it is, or is approved no more.
    Approval { origin: Origin, server: String, tool: String, approved: Option<Box<KeptTool>> },
}

/// Writes that are safe together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// What.
    pub(crate) writes: Vec<Write>,
    /// Who is told.
    pub(crate) done: Option<Done>,
}

/// Whoever is told that a batch is safe (`true`) or lost.
#[derive(Debug)]
pub(crate) enum Done {
    /// A channel's rules: up to this write; whether anybody waits for it.
    Channel { channel: u64, upto: u64, is_urgent: bool },
    /// Somebody who waits.
    Waiter(oneshot::Sender<bool>),
    /// Somebody who wants to know, and has time.
    Patient(oneshot::Sender<bool>),
}

impl Batch {
    /// Whether somebody waits for it to be on disk.
    fn is_urgent(&self) -> bool {
        matches!(self.done, Some(Done::Waiter(_) | Done::Channel { is_urgent: true, .. }))
    }
}

/// The writing half of the file.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(super) connection: SqliteConnection,
}

impl Writer {
    pub(super) fn new(connection: SqliteConnection) -> Self {
        Self { connection }
    }

    /// Where batches are put, and where they come from for [`Self::run`].
    pub(crate) fn queue() -> (mpsc::Sender<Batch>, mpsc::Receiver<Batch>) {
        mpsc::channel(QUEUE_MAX)
    }

    /// Writes until nobody has anything any more, or what came before `stop` was cancelled is written. `tell` hears of
    /// each channel's writes whether they are safe. What could not be written is lost, and its writer told so.
    pub(crate) async fn run(
        mut self,
        mut batches: mpsc::Receiver<Batch>,
        (tell, now): (impl Fn(u64, u64, bool), impl Fn() -> Timestamp),
        stop: CancellationToken,
    ) {
        let mut arrived = Vec::new();
        let mut sweep = interval_at(Instant::now() + SWEEP_EVERY, SWEEP_EVERY);
        loop {
            tokio::select! {
                taken = batches.recv_many(&mut arrived, GROUP_MAX) => if taken == 0 { break },
                () = stop.cancelled(), if !batches.is_closed() => {
                    batches.close();
                    continue;
                }
                _ = sweep.tick() => {
                    // Err: the next sweep does it.
                    let _ = self.sweep(now()).await;
                    continue;
                }
            }
            linger(&mut arrived, &mut batches, &stop).await;
            let is_safe = match self.commit(&arrived).await {
                Ok(()) => true,
                Err(error) => {
                    tracing::error!(%error, "federation.db cannot be written: what came just now is refused");
                    false
                }
            };
            for batch in arrived.drain(..) {
                match batch.done {
                    Some(Done::Channel { channel, upto, .. }) => tell(channel, upto, is_safe),
                    // Err: nobody waits any more.
                    Some(Done::Waiter(waiter) | Done::Patient(waiter)) => drop(waiter.send(is_safe)),
                    None => {}
                }
            }
        }
        let _ = self.connection.close().await;
    }

    async fn commit(&mut self, batches: &[Batch]) -> Result<(), sqlx::Error> {
        transaction::begin(&mut self.connection).await?;
        let written = write_all(&mut self.connection, batches).await;
        transaction::end(&mut self.connection, written).await
    }

    async fn sweep(&mut self, now: Timestamp) -> Result<(), sqlx::Error> {
        let now = database_integer(now.millis());
        sqlx::query("DELETE FROM nonce WHERE until < ?").bind(now).execute(&mut self.connection).await?;
        sqlx::query("DELETE FROM txn WHERE until < ?").bind(now).execute(&mut self.connection).await?;
        Ok(())
    }
}

/// Waits a little for more, if nobody waits for what has come: a sync costs the same for all of it.
async fn linger(arrived: &mut Vec<Batch>, batches: &mut mpsc::Receiver<Batch>, stop: &CancellationToken) {
    let (until, mut looked_at) = (Instant::now() + LINGER, 0);
    while arrived.len() < GROUP_MAX && !arrived[looked_at..].iter().any(Batch::is_urgent) {
        looked_at = arrived.len();
        let more = batches.recv_many(arrived, GROUP_MAX - looked_at);
        tokio::select! {
            more = timeout_at(until, more) => if matches!(more, Ok(0) | Err(_)) { return },
            () = stop.cancelled() => return,
        }
    }
}

async fn write_all(to: &mut SqliteConnection, batches: &[Batch]) -> Result<(), sqlx::Error> {
    let mut group = Group::default();
    for write in batches.iter().flat_map(|batch| &batch.writes) {
        if let Some(alone) = group.take(write) {
            group.write(to).await?;
            apply(to, alone).await?;
        }
    }
    group.write(to).await
}

/// Does what is not done many at once.
pub(super) async fn apply(to: &mut SqliteConnection, write: &Write) -> Result<(), sqlx::Error> {
    let int = |number: &u64| database_integer(*number);
    let query = match write {
        Write::Channel { number, id, is_hub, summary } => {
            sqlx::query("INSERT INTO channel (number, id, is_hub, summary) VALUES (?, ?, ?, ?)")
                .bind(int(number))
                .bind(id.to_string())
                .bind(*is_hub)
                .bind(summary)
        }
        Write::Summary { channel, text } => {
            let kept = sqlx::query("UPDATE channel SET summary = ? WHERE number = ?").bind(text).bind(int(channel));
            // Events of a channel that is not there would never be found again.
            return match kept.execute(&mut *to).await?.rows_affected() {
                0 => Err(sqlx::Error::RowNotFound),
                _ => Ok(()),
            };
        }
        Write::Withdrawn { channel, after, me } => {
            let own = "INSERT OR IGNORE INTO own (channel, author_seq, id, body) \
                       SELECT channel, author_seq, id, body FROM event \
                       WHERE channel = ? AND seq > ? AND author = ? AND author_seq IS NOT NULL";
            let own = sqlx::query(own).bind(int(channel)).bind(int(after)).bind(me.as_str());
            own.execute(&mut *to).await?;
            // What comes in their places was not shown.
            let shown = sqlx::query("UPDATE shown SET seq = min(seq, ?) WHERE channel = ?");
            shown.bind(int(after)).bind(int(channel)).execute(&mut *to).await?;
            sqlx::query("DELETE FROM event WHERE channel = ? AND seq > ?").bind(int(channel)).bind(int(after))
        }
        other => return apply_rest(to, other).await,
    };
    query.execute(&mut *to).await.map(drop)
}

/// What is kept besides lines.
async fn apply_rest(to: &mut SqliteConnection, write: &Write) -> Result<(), sqlx::Error> {
    let int = |number: &u64| database_integer(*number);
    let query = match write {
        Write::Pin { origin, pin: None } => sqlx::query("DELETE FROM pin WHERE origin = ?").bind(origin.as_str()),
        Write::Pin { origin, pin: Some(pin) } => {
            sqlx::query("INSERT OR REPLACE INTO pin (origin, value) VALUES (?, ?)")
                .bind(origin.as_str())
                .bind(pin.to_text())
        }
        Write::Invitation { channel, invitation: None } => {
            sqlx::query("DELETE FROM invitation WHERE channel = ?").bind(channel.to_string())
        }
        Write::Invitation { channel, invitation: Some(invitation) } => {
            sqlx::query("INSERT OR REPLACE INTO invitation (channel, value) VALUES (?, ?)")
                .bind(channel.to_string())
                .bind(serde_json::to_string(invitation).unwrap_or_default())
        }
        Write::Transaction { origin, id, hash, until } => {
            sqlx::query("INSERT OR IGNORE INTO txn (origin, id, hash, until) VALUES (?, ?, ?, ?)")
                .bind(origin.as_str())
                .bind(id)
                .bind(hash.as_slice())
                .bind(int(&until.millis()))
        }
        Write::Answered { origin, id, answer } => sqlx::query("UPDATE txn SET answer = ? WHERE origin = ? AND id = ?")
            .bind(answer)
            .bind(origin.as_str())
            .bind(id),
        Write::Proof { channel, text } => {
            sqlx::query("INSERT INTO proof (channel, value) VALUES (?, ?)").bind(channel.to_string()).bind(text)
        }
        Write::Approval { origin, server, tool, approved: None } => {
            sqlx::query("DELETE FROM approval WHERE origin = ? AND server = ? AND tool = ?")
                .bind(origin.as_str())
                .bind(server)
                .bind(tool)
        }
        Write::Approval { origin, server, tool, approved: Some(approved) } => {
            sqlx::query("INSERT OR REPLACE INTO approval (origin, server, tool, value) VALUES (?, ?, ?, ?)")
                .bind(origin.as_str())
                .bind(server)
                .bind(tool)
                .bind(serde_json::to_string(approved).unwrap_or_default())
        }
        // Done above, or many at once: named here, so that nothing new is lost in silence.
        Write::Channel { .. }
        | Write::Summary { .. }
        | Write::Withdrawn { .. }
        | Write::Event { .. }
        | Write::Draft { .. }
        | Write::Own { .. }
        | Write::OwnSeen { .. }
        | Write::OwnPast { .. }
        | Write::Sent { .. }
        | Write::Shown { .. }
        | Write::Nonce { .. } => return Ok(()),
    };
    query.execute(&mut *to).await.map(drop)
}
