//! What is asked of the queue and changes nothing, on a connection of its own, one question after the other.

use super::rows::{COURSE, COURSE_COLUMNS, Loaded, NEW, NEW_COLUMNS, bytes, number, read_new, state, text_of};
use super::writer::{GROUP_TIME_MAX, is_lost};
use super::{QUEUED_COUNTED_MAX, QueueError, integer, time, unsigned};
use crate::store::link::{DatabaseError, Link};
use comity_core::task::{Kept, Line, Lines, State, TaskId};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// Most lines that one answer has.
const LINES_READ_MAX: i64 = 1000;

/// How many tasks of a capability are in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Count {
    /// The capability.
    pub(crate) capability: String,
    /// The state.
    pub(crate) state: State,
    /// How many.
    pub(crate) tasks: u64,
}

type Answer<A> = oneshot::Sender<Result<A, QueueError>>;

/// A question.
#[derive(Debug)]
pub(super) enum Read {
    Whole(TaskId, Answer<Option<Kept>>),
    List((Option<State>, usize, Option<u64>), Answer<Vec<Kept>>),
    Lines((TaskId, u64), Answer<Option<Lines>>),
    Counts(Answer<Vec<Count>>),
    Queued(Answer<u64>),
}

/// Answers until all queues are gone, or `stop` says so and what came before is answered.
pub(super) async fn run(mut link: Link, mut reads: mpsc::Receiver<Read>, mut stop: watch::Receiver<bool>) {
    loop {
        let read = tokio::select! {
            read = reads.recv() => read,
            _ = stop.wait_for(|stop| *stop), if !reads.is_closed() => {
                reads.close();
                continue;
            }
        };
        let Some(read) = read else { return };
        // Twice, where the first connection is found to be lost: the server may be there again.
        macro_rules! told {
            ($answer:expr, $question:ident ($($what:expr)?)) => {{
                let mut told = in_time(async { Ok($question(link.open().await?, $($what)?).await?) }).await;
                if is_retried(&mut link, &told) {
                    told = in_time(async { Ok($question(link.open().await?, $($what)?).await?) }).await;
                }
                // Err: the caller is gone.
                let _ = $answer.send(told);
            }};
        }
        match read {
            Read::Whole(id, answer) => told!(answer, whole(id)),
            Read::List(what, answer) => told!(answer, list(what)),
            Read::Lines(what, answer) => told!(answer, lines(what)),
            Read::Counts(answer) => told!(answer, counts()),
            Read::Queued(answer) => told!(answer, queued()),
        }
    }
}

async fn in_time<A>(asked: impl Future<Output = Result<A, QueueError>>) -> Result<A, QueueError> {
    timeout(GROUP_TIME_MAX, asked).await.unwrap_or_else(|_| Err(DatabaseError::TooSlow.into()))
}

/// Gives the connection up after an error; whether the question is asked again on another.
fn is_retried<A>(link: &mut Link, told: &Result<A, QueueError>) -> bool {
    let Err(error) = told else { return false };
    link.lose();
    matches!(error, QueueError::Database(DatabaseError::Unavailable(error)) if is_lost(error))
}

async fn whole(connection: &mut AnyConnection, id: TaskId) -> Result<Option<Kept>, sqlx::Error> {
    let select = format!(
        "SELECT {COURSE}, {NEW}, c.payload, r.result FROM comity_task t JOIN comity_lane l ON l.seq = t.lane
             JOIN comity_content c ON c.task = t.seq LEFT JOIN comity_result r ON r.task = t.seq WHERE t.id = $1"
    );
    let row = sqlx::query(AssertSqlSafe(select)).bind(bytes(id)).fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(None) };
    let (payload, result) = (COURSE_COLUMNS + NEW_COLUMNS, COURSE_COLUMNS + NEW_COLUMNS + 1);
    let has_result = row.try_get::<Option<Vec<u8>>, _>(result)?.is_some();
    let result = if has_result { Some(text_of(&row, result)?) } else { None };
    Ok(Some(Kept { result, ..kept(&row, text_of(&row, payload)?)? }))
}

/// The list of tasks, of this state if one is given, by the indexes by number and by state.
pub(super) fn list_text(state: Option<State>) -> String {
    let of_state = state.map_or_else(String::new, |state| format!("AND (t.state + 0) = {}", number(state)));
    format!(
        "SELECT {COURSE}, {NEW} FROM comity_task t JOIN comity_lane l ON l.seq = t.lane
             WHERE t.seq < $1 {of_state} ORDER BY t.seq DESC LIMIT $2"
    )
}

async fn list(
    connection: &mut AnyConnection,
    (state, limit, before): (Option<State>, usize, Option<u64>),
) -> Result<Vec<Kept>, sqlx::Error> {
    let query = sqlx::query(AssertSqlSafe(list_text(state)));
    let query = query.bind(before.map_or(i64::MAX, integer)).bind(integer(limit as u64));
    query.fetch_all(connection).await?.iter().map(|row| kept(row, String::new())).collect()
}

fn kept(row: &AnyRow, payload: String) -> Result<Kept, sqlx::Error> {
    let Loaded { seq, id, course, .. } = Loaded::read(row)?;
    let mut task = read_new(row, COURSE_COLUMNS, payload)?;
    (task.deadline, task.attempts_max, task.lease) = (course.deadline, course.attempts_max, course.lease);
    let submitted = time(row.try_get(COURSE_COLUMNS + NEW_COLUMNS - 1)?);
    Ok(Kept { id, number: unsigned(seq), submitted, task, course, result: None })
}

async fn lines(connection: &mut AnyConnection, (id, after): (TaskId, u64)) -> Result<Option<Lines>, sqlx::Error> {
    const TASK: &str = "SELECT seq, state, fraction, lines FROM comity_task WHERE id = $1";
    let Some(row) = sqlx::query(TASK).bind(bytes(id)).fetch_optional(&mut *connection).await? else { return Ok(None) };
    let (seq, said): (i64, i64) = (row.try_get(0)?, row.try_get(3)?);
    let (state, fraction) = (state(row.try_get(1)?)?, row.try_get(2)?);
    const FIRST: &str = "SELECT MIN(number) FROM comity_line WHERE task = $1";
    let first: Option<i64> = sqlx::query(FIRST).bind(seq).fetch_one(&mut *connection).await?.try_get(0)?;
    const LINES: &str =
        "SELECT number, at, text FROM comity_line WHERE task = $1 AND number > $2 ORDER BY number LIMIT $3";
    let query = sqlx::query(LINES).bind(seq).bind(integer(after)).bind(LINES_READ_MAX);
    let rows = query.fetch_all(connection).await?;
    let line =
        |row: &AnyRow| Ok(Line { number: unsigned(row.try_get(0)?), at: time(row.try_get(1)?), text: row.try_get(2)? });
    let lines = rows.iter().map(line).collect::<Result<Vec<_>, sqlx::Error>>()?;
    let next = lines.last().map_or(after, |line| line.number);
    let dropped = first.map_or(unsigned(said), |first| unsigned(first).saturating_sub(1));
    Ok(Some(Lines { lines, next, dropped, fraction, state }))
}

async fn counts(connection: &mut AnyConnection) -> Result<Vec<Count>, sqlx::Error> {
    const COUNTS: &str =
        "SELECT l.capability, t.state, COUNT(*) FROM comity_task t JOIN comity_lane l ON l.seq = t.lane
         GROUP BY l.capability, t.state ORDER BY l.capability, t.state";
    let rows = sqlx::query(COUNTS).fetch_all(connection).await?;
    let count = |row: &AnyRow| {
        Ok(Count { capability: row.try_get(0)?, state: state(row.try_get(1)?)?, tasks: unsigned(row.try_get(2)?) })
    };
    rows.iter().map(count).collect()
}

async fn queued(connection: &mut AnyConnection) -> Result<u64, sqlx::Error> {
    const QUEUED: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM comity_task WHERE (state + 0) = 0 LIMIT $1) AS queued";
    let row = sqlx::query(QUEUED).bind(integer(QUEUED_COUNTED_MAX)).fetch_one(connection).await?;
    Ok(unsigned(row.try_get(0)?))
}
