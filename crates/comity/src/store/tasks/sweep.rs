//! What the time brings: leases that ran out, deadlines that passed, tasks that were kept long enough. A bounded number
//! of each at once, so that nobody waits long; the next sweep takes the rest.

use super::lanes::Lanes;
use super::rows::{COURSE, Loaded, bytes, each_padded, write_back};
use super::transaction::Transaction;
use super::{Limits, millis};
use comity_core::task::{Lapse, TaskId};
use comity_core::time::Timestamp;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most tasks of one kind that a sweep deals with: some tenths of a second.
const SWEEP_MAX: i64 = 2000;

/// How often everything is counted, and what is seldom due is swept: a look at all tasks.
const RARELY: Duration = Duration::from_secs(600);

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Leases that ran out, and whose tasks wait for another attempt.
    pub(crate) requeued: u64,
    /// Leases that ran out for the last time.
    pub(crate) dead: u64,
    /// Deadlines that passed.
    pub(crate) expired: u64,
    /// Leases that ran out after their tasks were wanted back.
    pub(crate) cancelled: u64,
    /// Tasks that were kept long enough.
    pub(crate) removed: u64,
}

/// When the last sweeps were.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Swings {
    last: Timestamp,
    rare: Option<Timestamp>,
}

/// Does what is due, and says whether there is work that was not there before, and whether it is time to count.
pub(super) async fn apply(
    transaction: &mut Transaction<'_>,
    now: Timestamp,
    (limits, swings, lanes): (Limits, &mut Swings, &mut Lanes),
) -> Result<(Swept, bool, bool), sqlx::Error> {
    let mut swept = lapse(transaction, now).await?;
    let connection = transaction.connection().await?;
    const OVER: &str = "DELETE FROM comity_task WHERE seq IN (SELECT seq FROM comity_task WHERE state IN (3, 5, 6)
         AND finished <= $1 ORDER BY finished LIMIT $2)";
    swept.removed = delete(connection, OVER, millis(now - limits.kept)).await?;
    // A clock that was set back counts as due.
    let is_due = swings.rare.is_none_or(|at| at > now || now.since(at) >= RARELY);
    if is_due {
        const DEAD: &str = "DELETE FROM comity_task WHERE seq IN (SELECT seq FROM comity_task WHERE state = 4
             AND finished <= $1 LIMIT $2)";
        swept.removed += delete(connection, DEAD, millis(now - limits.dead_kept)).await?;
        const LANES: &str = "DELETE FROM comity_lane WHERE NOT EXISTS (SELECT 1 FROM comity_task
             WHERE comity_task.lane = comity_lane.seq)";
        sqlx::query(LANES).execute(&mut *connection).await?;
        lanes.forget();
        swings.rare = Some(now);
    }
    const AGAIN: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM comity_task WHERE state = 0 AND attempts > 0
         AND due > $1 AND due <= $2 LIMIT 1) AS again";
    let since = swings.last.min(now);
    let row = sqlx::query(AGAIN).bind(millis(since)).bind(millis(now)).fetch_one(connection).await?;
    swings.last = now;
    Ok((swept, row.try_get::<i64, _>(0)? > 0, is_due))
}

async fn delete(connection: &mut AnyConnection, text: &'static str, before: i64) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(text).bind(before).bind(SWEEP_MAX).execute(connection).await?.rows_affected())
}

/// Lets the time pass for the tasks that it concerns.
async fn lapse(transaction: &mut Transaction<'_>, now: Timestamp) -> Result<Swept, sqlx::Error> {
    let lock = transaction.lock("FOR UPDATE OF t SKIP LOCKED");
    let due = [
        "t.state IN (1, 2) AND t.due <= $1",
        "t.state IN (1, 2) AND (t.due - t.lease_ms) > $1",
        "t.state IN (0, 1, 2) AND t.deadline IS NOT NULL AND t.deadline <= $1",
    ];
    let mut tasks = BTreeMap::new();
    for condition in due {
        let select = format!("SELECT {COURSE} FROM comity_task t WHERE {condition} LIMIT $2 {lock}");
        let query = sqlx::query(AssertSqlSafe(select)).bind(millis(now)).bind(SWEEP_MAX);
        for row in query.fetch_all(transaction.connection().await?).await? {
            let task = Loaded::read(&row)?;
            tasks.insert(task.seq, task);
        }
    }
    let mut swept = Swept::default();
    for task in tasks.values_mut() {
        match task.course.lapse(now) {
            Some(Lapse::Requeued) => swept.requeued += 1,
            Some(Lapse::Dead) => swept.dead += 1,
            Some(Lapse::Expired) => swept.expired += 1,
            Some(Lapse::Cancelled) => swept.cancelled += 1,
            None => {}
        }
    }
    write_back(transaction, &tasks.values().collect::<Vec<_>>()).await?;
    Ok(swept)
}

/// Takes those of these tasks out that are over.
pub(super) async fn discard(transaction: &mut Transaction<'_>, ids: &[TaskId]) -> Result<u64, sqlx::Error> {
    const DISCARD: &str = "DELETE FROM comity_task WHERE state IN (3, 4, 5, 6) AND id IN ({}) RETURNING seq";
    let rows = each_padded(transaction, (DISCARD, 1), ids, |query, id| query.bind(bytes(*id))).await?;
    Ok(rows.len() as u64)
}
