//! Tasks that come in: each gets its number, its lane and its payload's place; of one submitter's tasks with one key,
//! only the first.

use super::lanes::Lanes;
use super::rows::{self, Bound, bytes, each_padded, id_of, lease_ms, number};
use super::transaction::{Transaction, Way, notify};
use super::{Limits, integer, millis, time, unsigned};
use comity_core::task::{BadTask, NewTask, State, TaskId};
use comity_core::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use std::collections::BTreeMap;
use uuid::{NoContext, Uuid};

/// A task that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Submitted {
    /// Its id.
    pub(crate) id: TaskId,
    /// Whether it is new; otherwise it came before under the same key.
    pub(crate) is_new: bool,
}

/// Why a task was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Its submitter has used the key for another one.
    #[error("the idempotency key was used for another task, {first}")]
    Conflict {
        /// That one.
        first: TaskId,
    },
    /// There is no room for more.
    #[error("the queue is full: it takes tasks again when others were swept")]
    Full,
    /// Nobody needs so many kinds of workers.
    #[error("there are too many different capabilities and requirements in the queue, of this submitter or of all")]
    TooManyLanes,
    /// It breaks a bound.
    #[error(transparent)]
    Bad(#[from] BadTask),
}

/// What is kept, as far as it is known: counted at times, and what came since.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) limits: Limits,
    pub(super) tasks: u64,
    pub(super) bytes: u64,
}

impl Room {
    /// Counts all that is kept.
    pub(super) async fn count(&mut self, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
        const COUNT: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM comity_task";
        let row = sqlx::query(COUNT).fetch_one(connection).await?;
        (self.tasks, self.bytes) = (unsigned(row.try_get(0)?), unsigned(row.try_get(1)?));
        Ok(())
    }

    fn take(&mut self, bytes: usize, is_own: bool) -> Result<(), NotTaken> {
        let bytes = bytes as u64;
        let of = |most: u64| if is_own { most } else { most - most / 10 };
        let (tasks_max, bytes_max) = (of(self.limits.tasks_max), of(self.limits.bytes_max));
        if self.tasks >= tasks_max || self.bytes.saturating_add(bytes) > bytes_max {
            return Err(NotTaken::Full);
        }
        self.tasks += 1;
        self.bytes += bytes;
        Ok(())
    }
}

/// Tasks as one submitter has them taken in.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) tasks: Vec<NewTask>,
    pub(super) now: Timestamp,
    /// Whether whoever owns the queue does.
    pub(super) is_own: bool,
}

/// A task on its way in.
struct Entry<'a> {
    id: TaskId,
    lane: i64,
    digest: [u8; 32],
    now: Timestamp,
    task: &'a NewTask,
}

/// Takes all of these in, as far as they may be.
pub(super) async fn apply(
    transaction: &mut Transaction<'_>,
    calls: impl Iterator<Item = &Offered>,
    (room, lanes): (&mut Room, &mut Lanes),
) -> Result<Vec<Vec<Result<Submitted, NotTaken>>>, sqlx::Error> {
    let (mut entries, mut answers) = (Vec::new(), Vec::new());
    for Offered { tasks, now, is_own } in calls {
        let mut answers_of_call = Vec::new();
        for task in tasks {
            let entered = enter(transaction, (task, *is_own), (room, lanes)).await?;
            answers_of_call.push(entered.map(|lane| {
                let id = new_id(*now);
                entries.push(Entry { id, lane, digest: task.digest(), now: *now, task });
                Submitted { id, is_new: true }
            }));
        }
        answers.push(answers_of_call);
    }
    lanes.keep();
    let numbers = insert(transaction, &entries).await?;
    let mut others = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !numbers.contains_key(&entry.id)) {
        others.insert(entry.id, first(transaction, entry).await?);
    }
    for answer in answers.iter_mut().flatten() {
        if let Ok(Submitted { id, .. }) = answer
            && let Some(other) = others.remove(id)
        {
            *answer = other;
        }
    }
    Ok(answers)
}

/// The time and chance: ids of tasks that come one after the other lie beside each other in the index.
fn new_id(now: Timestamp) -> TaskId {
    let (seconds, rest) = (now.millis() / 1000, now.millis() % 1000);
    let nanos = u32::try_from(rest * 1_000_000).unwrap_or(0);
    TaskId(Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanos)))
}

/// The lane of a task, if it may come in.
async fn enter(
    transaction: &mut Transaction<'_>,
    (task, is_own): (&NewTask, bool),
    (room, lanes): (&mut Room, &mut Lanes),
) -> Result<Result<i64, NotTaken>, sqlx::Error> {
    if let Err(bad) = task.check() {
        return Ok(Err(bad.into()));
    }
    let name = (task.capability.clone(), task.requirements_text());
    let maker = (!is_own).then_some(&*task.submitted_by);
    let Some(lane) = lanes.of(transaction, name, maker).await? else { return Ok(Err(NotTaken::TooManyLanes)) };
    Ok(room.take(task.payload.len(), is_own).map(|()| lane))
}

/// Inserts tasks with what they carry, and says which number each got; one whose key is taken gets none.
async fn insert(
    transaction: &mut Transaction<'_>,
    entries: &[Entry<'_>],
) -> Result<BTreeMap<TaskId, i64>, sqlx::Error> {
    const INSERT: &str = "INSERT INTO comity_task (id, lane, kind, submitted_by, idempotency_key, digest, priority,
         submitted, size, lease_ms, attempts_max, state, attempts, token, due, deadline, cancel_asked, fraction, lines,
         line_bytes) VALUES {} ON CONFLICT DO NOTHING RETURNING id, seq";
    const CONTENT: &str = "INSERT INTO comity_content (task, payload)";
    fn bind<'q>(query: Bound<'q>, entry: &Entry<'_>) -> Bound<'q> {
        let task = entry.task;
        query
            .bind(bytes(entry.id))
            .bind(entry.lane)
            .bind(task.kind.clone())
            .bind(task.submitted_by.clone())
            .bind(task.idempotency_key.clone())
            .bind(entry.digest.to_vec())
            .bind(i64::from(task.priority))
            .bind(millis(entry.now))
            .bind(integer(task.payload.len() as u64))
            .bind(lease_ms(task.lease))
            .bind(i64::from(task.attempts_max))
            .bind(number(State::Queued))
            .bind(0_i64)
            .bind(0_i64)
            .bind(0_i64)
            .bind(task.deadline.map(millis))
            .bind(0_i64)
            .bind(0_f64)
            .bind(0_i64)
            .bind(0_i64)
    }
    fn payload(entry: &Entry<'_>) -> Vec<u8> {
        entry.task.payload.as_bytes().to_vec()
    }
    fn numbers(rows: &[AnyRow]) -> Result<BTreeMap<TaskId, i64>, sqlx::Error> {
        rows.iter().map(|row| Ok((id_of(row, 0)?, row.try_get(1)?))).collect()
    }
    if let (Way::Checking, [entry]) = (transaction.way(), entries) {
        let put = INSERT.replace("{}", &rows::values((1, 20), 0));
        let text = format!(
            "WITH put AS ({put}), part AS ({CONTENT} SELECT seq, $21 FROM put) SELECT id, seq, {} FROM put",
            notify()
        );
        let query = bind(sqlx::query(AssertSqlSafe(text)), entry).bind(payload(entry));
        return numbers(&transaction.only(query).await?);
    }
    let rows = each_padded(transaction, (INSERT, 20), entries, |query, entry| bind(query, entry)).await?;
    let numbers = numbers(&rows)?;
    let kept: Vec<_> = entries.iter().filter_map(|entry| Some((*numbers.get(&entry.id)?, entry))).collect();
    rows::insert(transaction, (CONTENT, 2), &kept, |query, (seq, entry)| query.bind(*seq).bind(payload(entry))).await?;
    Ok(numbers)
}

/// What holds the key of a task that was not inserted.
async fn first(
    transaction: &mut Transaction<'_>,
    entry: &Entry<'_>,
) -> Result<Result<Submitted, NotTaken>, sqlx::Error> {
    const FIRST: &str = "SELECT id, digest, deadline FROM comity_task WHERE submitted_by = $1 AND idempotency_key = $2";
    let query = sqlx::query(FIRST).bind(&entry.task.submitted_by).bind(&entry.task.idempotency_key);
    // None: it was swept in between, and the group is tried again.
    let row = query.fetch_one(transaction.connection().await?).await?;
    let (first, digest) = (id_of(&row, 0)?, row.try_get::<Vec<u8>, _>(1)?);
    let deadline = row.try_get::<Option<i64>, _>(2)?.map(time);
    // Digests that were kept before had the deadline in them.
    let is_same = digest == entry.digest || digest == entry.task.digest_with(deadline);
    Ok(if is_same { Ok(Submitted { id: first, is_new: false }) } else { Err(NotTaken::Conflict { first }) })
}
