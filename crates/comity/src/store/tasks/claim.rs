//! Work for workers: of the lanes that a worker is able to do, the tasks of the highest priority, then the oldest. On a
//! server those that another process is just giving away are passed over.

use super::lanes::Lanes;
use super::rows::{
    COURSE, COURSE_COLUMNS, Loaded, NEW, NEW_COLUMNS, each_padded, padded, read_new, text_of, values, write_back,
};
use super::settle::{Step, Steps};
use super::transaction::{Transaction, Way};
use super::{integer, millis};
use comity_core::task::{BACKOFF_MAX, Leased, NewTask, Offer, PAYLOAD_MAX, meets};
use comity_core::time::Timestamp;
use comity_core::wire::mesh::task::BODY_MAX;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// Most tasks of which all is read when it is not yet known which are given away: no more than one answer carries. Of
/// few it is faster than to ask again.
pub(super) const WHOLE_MAX: u64 = (BODY_MAX / PAYLOAD_MAX) as u64;

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
    /// What is to be done, where it was read at once.
    new: Option<NewTask>,
}

impl Ready {
    /// Reads the columns of [`COURSE`], the version and the priority, and where it is whole, those of [`NEW`] and the
    /// payload.
    fn read(row: &AnyRow, is_whole: bool) -> Result<Self, sqlx::Error> {
        let from = COURSE_COLUMNS + 2;
        let new = if is_whole { Some(read_new(row, from, text_of(row, from + NEW_COLUMNS)?)?) } else { None };
        let task = Loaded { version: row.try_get(COURSE_COLUMNS)?, ..Loaded::read(row)? };
        Ok(Self { priority: row.try_get(COURSE_COLUMNS + 1)?, task, new })
    }
}

/// Gives tasks to these workers, and says whether others were looked at that were left: another process may have passed
/// them over.
pub(super) async fn apply(
    transaction: &mut Transaction<'_>,
    lanes: &mut Lanes,
    calls: &[&Wanted],
) -> Result<(Vec<Vec<Leased>>, bool), sqlx::Error> {
    let mut answers: Vec<Vec<Leased>> = calls.iter().map(|_| Vec::new()).collect();
    let mut are_left = false;
    let mut rest: Vec<usize> = (0..calls.len()).collect();
    while let Some(first) = rest.first() {
        let offer = &calls[*first].offer;
        let (alike, others): (Vec<usize>, Vec<usize>) = rest.iter().partition(|place| calls[**place].offer == *offer);
        let alike_calls: Vec<_> = alike.iter().map(|place| calls[*place]).collect();
        let mut ready = match (transaction.way(), &alike_calls[..]) {
            (Way::Checking, [call]) => ready_for(transaction, call).await?,
            _ => {
                let able = lanes.able(transaction, offer).await?;
                ready(transaction, &able, &alike_calls).await?
            }
        };
        let given = give(&mut ready, &alike_calls);
        are_left |= !ready.is_empty() && !given.is_empty();
        for (call, leased) in contents(transaction, given).await? {
            answers[alike[call]].push(leased);
        }
        rest = others;
    }
    Ok((answers, are_left))
}

/// What is to be done of a task: its content.
const CONTENT: &str = "(SELECT c.payload FROM comity_content c WHERE c.task = t.seq)";

/// Which tasks of a lane may be given away, the first first; of the times now and after the longest pause.
fn ready_in(lane: &str, (now, later): (&str, &str)) -> String {
    format!(
        "t.lane = {lane} AND t.state = 0 AND (t.due <= {now} OR t.due > {later})
             AND (t.deadline IS NULL OR t.deadline > {now}) ORDER BY t.priority DESC, t.seq"
    )
}

/// The tasks that this worker may get, the last first, found with their lanes at once where nothing is locked for it. It
/// cannot be asked so where tasks that it is not able to do come before others.
async fn ready_for(transaction: &mut Transaction<'_>, call: &Wanted) -> Result<Vec<Ready>, sqlx::Error> {
    let Some(last) = call.offer.capabilities.last() else { return Ok(Vec::new()) };
    let size = padded(call.offer.capabilities.len());
    let (version, is_ready) = (transaction.version(), ready_in("l.seq", ("$1", "$2")));
    let select = format!(
        "SELECT {COURSE}, t.version, t.priority, {NEW}, {CONTENT} FROM (
             SELECT r.* FROM comity_lane l CROSS JOIN LATERAL (
                 SELECT t.*, {version} AS version FROM comity_task t WHERE {is_ready} LIMIT $3
             ) AS r WHERE l.capability IN ({}) ORDER BY r.priority DESC, r.seq LIMIT $3
         ) AS t JOIN comity_lane l ON l.seq = t.lane",
        values((size, 1), 3)
    );
    let (connection, text) = transaction.begin_with(select).await?;
    let query = sqlx::query(text).bind(millis(call.now)).bind(millis(call.now + BACKOFF_MAX));
    let query = query.bind(integer(call.wanted as u64));
    let capabilities = call.offer.capabilities.iter().chain(std::iter::repeat(last)).take(size);
    let query = capabilities.fold(query, |query, name| query.bind(name.clone()));
    let mut found = Vec::new();
    for row in query.fetch_all(connection).await? {
        // One that cannot be read is passed over with its lane, as is one that it is not able to do.
        let ready = Ready::read(&row, true).ok();
        let is_able = |new: &NewTask| meets(&new.requirements, &call.offer.properties);
        match ready.filter(|ready| ready.new.as_ref().is_some_and(is_able)) {
            Some(ready) => found.push(ready),
            None => transaction.not_checking()?,
        }
    }
    last_first(&mut found);
    Ok(found)
}

fn last_first(found: &mut [Ready]) {
    found.sort_by_key(|ready| Reverse((Reverse(ready.priority), ready.task.seq)));
}

/// The tasks of these lanes that these workers, who are able to do them all, may get, the last first.
async fn ready(transaction: &mut Transaction<'_>, lanes: &[i64], calls: &[&Wanted]) -> Result<Vec<Ready>, sqlx::Error> {
    let now = calls.iter().map(|call| call.now).max().unwrap_or_default();
    let limit: u64 = calls.iter().map(|call| call.wanted as u64).sum();
    let (version, lock) = (transaction.version(), transaction.lock("FOR UPDATE OF t SKIP LOCKED"));
    let is_whole = limit.saturating_mul(lanes.len() as u64) <= WHOLE_MAX;
    let whole = format!(", {NEW}, {CONTENT}");
    let (new, join) = if is_whole { (&*whole, "JOIN comity_lane l ON l.seq = t.lane") } else { ("", "") };
    let select = format!(
        "SELECT {COURSE}, {version}, t.priority{new} FROM comity_task t {join} WHERE {} LIMIT $4 {lock}",
        ready_in("$1", ("$2", "$3"))
    );
    let mut found = Vec::new();
    for lane in lanes {
        let (connection, text) = transaction.begin_with(select.clone()).await?;
        let query = sqlx::query(text).bind(*lane).bind(millis(now)).bind(millis(now + BACKOFF_MAX));
        for row in query.bind(integer(limit)).fetch_all(connection).await? {
            found.push(Ready::read(&row, is_whole)?);
        }
    }
    last_first(&mut found);
    Ok(found)
}

/// Leases tasks to the callers in turn, until each has what it wants, or what one answer may carry.
fn give(ready: &mut Vec<Ready>, calls: &[&Wanted]) -> Vec<(usize, Ready)> {
    let mut given = Vec::new();
    for (place, call) in calls.iter().enumerate() {
        let mut room = integer(BODY_MAX as u64);
        for _ in 0..call.wanted {
            let Some(next) = ready.last() else { return given };
            room -= next.task.size;
            if room < 0 {
                break;
            }
            if let Some(mut next) = ready.pop() {
                next.task.course.lease_to(&call.worker, call.now);
                given.push((place, next));
            }
        }
    }
    given
}

/// Writes leases down, and adds what is to be done where it was not read at once.
async fn contents(
    transaction: &mut Transaction<'_>,
    given: Vec<(usize, Ready)>,
) -> Result<Vec<(usize, Leased)>, sqlx::Error> {
    write_back(transaction, &given.iter().map(|(_, ready)| &ready.task).collect::<Vec<_>>()).await?;
    let unread = given.iter().filter(|(_, ready)| ready.new.is_none()).map(|(_, ready)| ready.task.seq);
    let unread: Vec<_> = unread.collect();
    let select = format!(
        "SELECT {NEW}, c.payload, t.seq FROM comity_task t JOIN comity_lane l ON l.seq = t.lane
             JOIN comity_content c ON c.task = t.seq WHERE t.seq IN ({{}})"
    );
    let rows = each_padded(transaction, (&select, 1), &unread, |query, seq| query.bind(*seq)).await?;
    let mut contents = BTreeMap::<i64, NewTask>::new();
    for row in &rows {
        let task = read_new(row, 0, text_of(row, NEW_COLUMNS)?)?;
        contents.insert(row.try_get(NEW_COLUMNS + 1)?, task);
    }
    let leased = given.into_iter().filter_map(|(call, Ready { task: Loaded { seq, id, course, .. }, new, .. })| {
        let mut task = new.or_else(|| contents.remove(&seq))?;
        (task.deadline, task.attempts_max, task.lease) = (course.deadline, course.attempts_max, course.lease);
        Some((call, Leased { id, task, token: course.token, attempt: course.attempts, until: course.due }))
    });
    Ok(leased.collect())
}
