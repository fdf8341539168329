//! Work for workers: of the lanes that a worker is able to do, the tasks of the highest priority, then the oldest. On a
//! server those that another process is just giving away are passed over.

use super::rows::{COURSE, Loaded, NEW, each_padded, read_new, write_back};
use super::settle::{Step, Steps};
use super::{integer, millis};
use crate::store::link::Place;
use comity_core::task::{BACKOFF_MAX, Leased, NewTask, Offer, meets};
use comity_core::time::Timestamp;
use comity_core::wire::mesh::task::{BODY_MAX, read_requirements};
use sqlx::AnyConnection;
use sqlx::Row;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// What one worker wants.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) worker: String,
    pub(super) offer: Offer,
    pub(super) wanted: usize,
    pub(super) now: Timestamp,
}

/// Tasks on their way to the worker that claimed them. Dropped before they are taken, because whoever asked is gone,
/// they are others' at once, and the attempt does not count.
#[derive(Debug)]
pub(crate) struct Given {
    leased: Vec<Leased>,
    worker: String,
    now: Timestamp,
    /// To the writer. It has no bound of its own: there is one word for each claim at most, and those are bounded.
    back: mpsc::UnboundedSender<Steps>,
}

impl Given {
    pub(super) fn new(leased: Vec<Leased>, wanted: &Wanted, back: &mpsc::UnboundedSender<Steps>) -> Self {
        Self { leased, worker: wanted.worker.clone(), now: wanted.now, back: back.clone() }
    }

    /// The tasks, which stay where they are.
    pub(crate) fn tasks(&self) -> &[Leased] {
        &self.leased
    }

    /// The tasks, which are the worker's from now on.
    pub(crate) fn take(mut self) -> Vec<Leased> {
        std::mem::take(&mut self.leased)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let leased = std::mem::take(&mut self.leased);
        if leased.is_empty() {
            return;
        }
        let step = |leased: Leased| (leased.id, Step::GiveBack { worker: self.worker.clone(), token: leased.token });
        // Err: the writer has ended; the leases end by themselves.
        let _ = self.back.send((leased.into_iter().map(step).collect(), self.now));
    }
}

/// A task that may be given away.
struct Ready {
    priority: i64,
    task: Loaded,
}

/// Gives tasks to these workers, and says whether others were looked at that were left: another process may have passed
/// them over.
pub(super) async fn apply(
    (place, connection): (&Place, &mut AnyConnection),
    calls: &[&Wanted],
) -> Result<(Vec<Vec<Leased>>, bool), sqlx::Error> {
    let mut answers: Vec<Vec<Leased>> = calls.iter().map(|_| Vec::new()).collect();
    let mut are_left = false;
    let mut rest: Vec<usize> = (0..calls.len()).collect();
    while let Some(first) = rest.first() {
        let offer = &calls[*first].offer;
        let (alike, others): (Vec<usize>, Vec<usize>) = rest.iter().partition(|place| calls[**place].offer == *offer);
        let alike_calls: Vec<_> = alike.iter().map(|place| calls[*place]).collect();
        let mut ready = ready(place, connection, &alike_calls).await?;
        let given = give(&mut ready, &alike_calls);
        are_left |= !ready.is_empty() && !given.is_empty();
        for (call, leased) in contents(connection, given).await? {
            answers[alike[call]].push(leased);
        }
        rest = others;
    }
    Ok((answers, are_left))
}

/// The tasks that these workers, who are able to do the same, may get, the last first.
async fn ready(place: &Place, connection: &mut AnyConnection, calls: &[&Wanted]) -> Result<Vec<Ready>, sqlx::Error> {
    let Some(first) = calls.first() else { return Ok(Vec::new()) };
    let now = calls.iter().map(|call| call.now).max().unwrap_or_default();
    let limit = calls.iter().map(|call| call.wanted as u64).sum();
    let lock = if place.is_server() { "FOR UPDATE OF t SKIP LOCKED" } else { "" };
    let select = format!(
        "SELECT {COURSE}, t.priority FROM comity_task t WHERE t.lane = $1 AND t.state = 0
             AND (t.due <= $2 OR t.due > $3) AND (t.deadline IS NULL OR t.deadline > $2)
             ORDER BY t.priority DESC, t.seq LIMIT $4 {lock}"
    );
    let mut found = Vec::new();
    for lane in lanes(connection, &first.offer).await? {
        let query = sqlx::query(sqlx::AssertSqlSafe(select.as_str()));
        let query = query.bind(lane).bind(millis(now)).bind(millis(now + BACKOFF_MAX)).bind(integer(limit));
        for row in query.fetch_all(&mut *connection).await? {
            found.push(Ready { task: Loaded::read(&row)?, priority: row.try_get(super::rows::COURSE_COLUMNS)? });
        }
    }
    found.sort_by_key(|ready| Reverse((Reverse(ready.priority), ready.task.seq)));
    Ok(found)
}

/// The lanes whose tasks somebody who offers this is able to do.
async fn lanes(connection: &mut AnyConnection, offer: &Offer) -> Result<Vec<i64>, sqlx::Error> {
    const LANES: &str = "SELECT seq, requirements FROM comity_lane WHERE capability IN ({})";
    let capabilities: Vec<_> = offer.capabilities.iter().collect();
    let rows = each_padded(connection, (LANES, 1), &capabilities, |query, name| query.bind((*name).clone())).await?;
    let mut lanes = Vec::new();
    for row in rows {
        let requirements: String = row.try_get(1)?;
        if read_requirements(&requirements).is_ok_and(|wanted| meets(&wanted, &offer.properties)) {
            lanes.push(row.try_get(0)?);
        }
    }
    Ok(lanes)
}

/// Leases tasks to the callers in turn, until each has what it wants, or what one answer may carry.
fn give(ready: &mut Vec<Ready>, calls: &[&Wanted]) -> Vec<(usize, Loaded)> {
    let mut given = Vec::new();
    for (place, call) in calls.iter().enumerate() {
        let mut room = integer(BODY_MAX as u64);
        for _ in 0..call.wanted {
            let Some(next) = ready.last() else { return given };
            room -= next.task.size;
            if room < 0 {
                break;
            }
            if let Some(Ready { mut task, .. }) = ready.pop() {
                task.course.lease_to(&call.worker, call.now);
                given.push((place, task));
            }
        }
    }
    given
}

/// Writes leases down, and adds what is to be done.
async fn contents(
    connection: &mut AnyConnection,
    given: Vec<(usize, Loaded)>,
) -> Result<Vec<(usize, Leased)>, sqlx::Error> {
    write_back(connection, &given.iter().map(|(_, task)| task).collect::<Vec<_>>()).await?;
    let select = format!(
        "SELECT {NEW}, c.payload, t.seq FROM comity_task t JOIN comity_lane l ON l.seq = t.lane
             JOIN comity_content c ON c.task = t.seq WHERE t.seq IN ({{}})"
    );
    let rows = each_padded(connection, (&select, 1), &given, |query, (_, task)| query.bind(task.seq)).await?;
    let mut contents = BTreeMap::<i64, NewTask>::new();
    for row in &rows {
        let column = super::rows::NEW_COLUMNS;
        let task = read_new(row, 0, super::rows::text_of(row, column)?)?;
        contents.insert(row.try_get(column + 1)?, task);
    }
    let leased = given.into_iter().filter_map(|(call, Loaded { seq, id, course, .. })| {
        let mut task = contents.remove(&seq)?;
        (task.deadline, task.attempts_max, task.lease) = (course.deadline, course.attempts_max, course.lease);
        Some((call, Leased { id, task, token: course.token, attempt: course.attempts, until: course.due }))
    });
    Ok(leased.collect())
}
