//! The one writer: takes records as they come, commits them in groups, and says when they are safe.
//! While one group is being synced the next one gathers, so the disk sets the pace and never waits
//! for a timer.

use super::rows::each;
use super::transaction;
use super::{DiskHealth, SQLITE_CORRUPT, SQLITE_FULL, SQLITE_NOTADB, Store, database_integer, primary_code, stored};
use comity_core::id::{MessageId, PeerId};
use comity_core::node::{Input, Record};
use comity_core::time::Timestamp;
use sqlx::{Connection, SqliteConnection};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Records in one group, at most, and on their way here: a few hundredths of a second of a busy node,
/// and 1 MiB of ordinary items.
pub(crate) const GROUP_MAX: usize = 1024;

/// How long to wait before a disk that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often ids that may be forgotten are swept out.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// What one group comes to, whatever the order of its records was.
#[derive(Default)]
struct Group {
    upto: u64,
    records: usize,
    added: BTreeMap<u64, Vec<u8>>,
    removed: BTreeSet<u64>,
    seen: Vec<(PeerId, MessageId, Timestamp)>,
    digest: Option<Vec<u8>>,
    settings: BTreeMap<&'static str, Vec<u8>>,
    last_arrival: u64,
}

impl Group {
    fn gather(records: impl Iterator<Item = (u64, Record)>) -> Self {
        let mut group = Self::default();
        for (number, record) in records {
            group.upto = number;
            group.records += 1;
            group.add(record);
        }
        group
    }

    fn add(&mut self, record: Record) {
        match record {
            Record::ItemAdded(item) => {
                self.last_arrival = self.last_arrival.max(item.arrival);
                self.added.insert(item.arrival, stored::encode_item(&item.received));
            }
            Record::ItemRemoved { arrival } => {
                // Come and gone within one group: there is nothing to write.
                if self.added.remove(&arrival).is_none() {
                    self.removed.insert(arrival);
                }
            }
            Record::Seen { from, id, until } => self.seen.push((from, id, until)),
            Record::Digest(digest) => self.digest = Some(stored::encode_digest(&digest)),
            Record::Setting { name, value } => {
                self.settings.insert(name, value.to_string().into_bytes());
            }
        }
    }
}

impl Store {
    /// Writes records until their sender is gone. `inform` hears [`Input::Committed`] for each group
    /// that is safe and [`Input::NotCommitted`] for each that is lost; after a loss nothing is
    /// written until the disk takes a trial write again, so that what was called lost stays lost.
    pub(crate) async fn write<F, Told>(mut self, mut records: mpsc::Receiver<(u64, Record)>, inform: F)
    where
        F: Fn(Input) -> Told,
        Told: Future<Output = ()>,
    {
        let mut arrived = Vec::new();
        let mut sweep_at = Instant::now() + SWEEP_EVERY;
        loop {
            tokio::select! {
                taken = records.recv_many(&mut arrived, GROUP_MAX) => {
                    if taken == 0 {
                        break;
                    }
                }
                () = sleep_until(sweep_at) => {
                    sweep_at = Instant::now() + SWEEP_EVERY;
                    // Err: the sweep is tried again, and the next group reports what is wrong.
                    let _ = self.sweep().await;
                    continue;
                }
            }
            let from = arrived.first().map_or(0, |(number, _)| *number);
            let group = Group::gather(arrived.drain(..));
            match self.commit(&group).await {
                Ok(()) => inform(Input::Committed { upto: group.upto }).await,
                Err(error) => {
                    self.fail(&error);
                    let upto = self.wait_for_disk(from, &mut records, &inform).await.unwrap_or(group.upto);
                    if records.is_closed() && records.is_empty() {
                        break;
                    }
                    inform(Input::Committed { upto: upto.max(group.upto) }).await;
                }
            }
        }
        // Err: what was committed is in the journal, which the next start reads.
        let _ = self.connection.close().await;
    }

    /// Calls everything lost from `from` on until a trial write succeeds, or nobody sends any more;
    /// the last number that was lost.
    async fn wait_for_disk<F, Told>(
        &mut self,
        from: u64,
        records: &mut mpsc::Receiver<(u64, Record)>,
        inform: &F,
    ) -> Option<u64>
    where
        F: Fn(Input) -> Told,
        Told: Future<Output = ()>,
    {
        let mut last = None;
        let mut lost = Vec::new();
        inform(Input::NotCommitted { from }).await;
        loop {
            let retry_at = Instant::now() + RETRY_AFTER;
            loop {
                tokio::select! {
                    taken = records.recv_many(&mut lost, GROUP_MAX) => {
                        if taken == 0 {
                            return last;
                        }
                        let from = lost.first().map_or(0, |(number, _)| *number);
                        last = lost.drain(..).next_back().map(|(number, _)| number);
                        inform(Input::NotCommitted { from }).await;
                    }
                    () = sleep_until(retry_at) => break,
                }
            }
            match self.try_disk().await {
                Ok(()) => {
                    tracing::info!("the disk takes records again");
                    self.health.send_replace(DiskHealth::Working);
                    return last;
                }
                Err(error) => self.fail(&error),
            }
        }
    }

    fn fail(&self, error: &sqlx::Error) {
        let sentence = match primary_code(error) {
            Some(SQLITE_FULL) => "the disk is full: make room, and messages are kept again within a second".to_owned(),
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => {
                format!(
                    "the database is damaged ({error}): stop the node and put a backup in its place, or move it away"
                )
            }
            _ => format!("the database takes nothing ({error}): look at the disk of the data directory"),
        };
        if *self.health.borrow() == DiskHealth::Working {
            tracing::error!("{sentence}");
        }
        if let Some(counters) = &self.counters {
            counters.failed("store");
        }
        self.health.send_replace(DiskHealth::Failing(sentence));
    }

    async fn commit(&mut self, group: &Group) -> Result<(), sqlx::Error> {
        let started = Instant::now();
        self.commit_rows(group).await?;
        self.last_arrival = self.last_arrival.max(group.last_arrival);
        if let Some(counters) = &self.counters {
            counters.committed(group.records, started.elapsed());
        }
        Ok(())
    }

    async fn commit_rows(&mut self, group: &Group) -> Result<(), sqlx::Error> {
        transaction::begin(&mut self.connection).await?;
        let written = write_group(&mut self.connection, group, self.last_arrival).await;
        transaction::end(&mut self.connection, written).await
    }

    /// Writes something that matters to nobody, to see whether the disk takes it.
    async fn try_disk(&mut self) -> Result<(), sqlx::Error> {
        transaction::begin(&mut self.connection).await?;
        let written = keep(&mut self.connection, "trial", &rand::random::<u64>().to_be_bytes()).await;
        transaction::end(&mut self.connection, written).await
    }

    async fn sweep(&mut self) -> Result<(), sqlx::Error> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        sqlx::query("DELETE FROM seen WHERE until <= ?").bind(now).execute(&mut self.connection).await?;
        Ok(())
    }
}

async fn write_group(connection: &mut SqliteConnection, group: &Group, last_arrival: u64) -> Result<(), sqlx::Error> {
    remove_items(connection, &group.removed).await?;
    let items = ("INSERT INTO item (arrival, content) ", "");
    each(connection, items, &group.added, |mut row, (arrival, content)| {
        row.push_bind(database_integer(*arrival)).push_bind(content.as_slice());
    })
    .await?;
    let seen = ("INSERT INTO seen (sender, id, until) ", "");
    each(connection, seen, &group.seen, |mut row, (from, id, until)| {
        row.push_bind(from.0.as_bytes().as_slice()).push_bind(id.0.as_bytes().as_slice());
        row.push_bind(database_integer(until.millis()));
    })
    .await?;
    if group.last_arrival > last_arrival {
        keep(connection, "last_arrival", &group.last_arrival.to_be_bytes()).await?;
    }
    if let Some(digest) = &group.digest {
        keep(connection, "digest", digest).await?;
    }
    for (name, value) in &group.settings {
        keep(connection, &format!("setting:{name}"), value).await?;
    }
    Ok(())
}

async fn keep(connection: &mut SqliteConnection, name: &str, value: &[u8]) -> Result<(), sqlx::Error> {
    let statement = "INSERT INTO kept (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value";
    sqlx::query(statement).bind(name.to_owned()).bind(value.to_vec()).execute(connection).await?;
    Ok(())
}

/// Removes items run by run: what is acknowledged together mostly arrived together.
async fn remove_items(connection: &mut SqliteConnection, removed: &BTreeSet<u64>) -> Result<(), sqlx::Error> {
    let mut numbers = removed.iter().copied().peekable();
    while let Some(first) = numbers.next() {
        let mut last = first;
        while let Some(next) = numbers.next_if_eq(&(last + 1)) {
            last = next;
        }
        sqlx::query("DELETE FROM item WHERE arrival BETWEEN ? AND ?")
            .bind(database_integer(first))
            .bind(database_integer(last))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
