//! SQL texts for many rows at once, and the rows of tasks. Statements come in few sizes, so that each is prepared once;
//! the values of the largest stay below what both databases take.

use super::transaction::{Transaction, Way, version_of};
use super::{integer, length, millis, time, unsigned};
use comity_core::task::{Course, NewTask, State, TaskId};
use comity_core::wire::mesh::task::read_requirements;
use sqlx::Row;
use sqlx::any::{Any, AnyArguments, AnyRow};
use sqlx::query::Query;
use std::fmt::Write as _;
use std::time::Duration;
use uuid::Uuid;

/// Rows of one statement, largest first.
const SIZES: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// The same where rows are small, so that a few more cost less than another statement.
const SIZES_PADDED: [usize; 3] = [64, 16, 4];

/// How many rows a statement has for so many, of which the last is repeated.
pub(super) fn padded(count: usize) -> usize {
    let fits = SIZES_PADDED.into_iter().rev().find(|size| *size >= count);
    if count == 1 { 1 } else { fits.unwrap_or(SIZES_PADDED[0]) }
}

/// A statement to which values are bound.
pub(super) type Bound<'q> = Query<'q, Any, AnyArguments>;

/// `($1, $2), ($3, $4)`: so many rows of so many values, numbered after so many others.
pub(super) fn values((rows, columns): (usize, usize), others: usize) -> String {
    let mut text = String::new();
    for row in 0..rows {
        for column in 0..columns {
            let before = match (row, column) {
                (0, 0) => "(",
                (_, 0) => "), (",
                _ => ", ",
            };
            let _ = write!(text, "{before}${}", others + row * columns + column + 1);
        }
    }
    text + ")"
}

/// Runs a statement over the values of these rows, so many for each, which stand where it has `{}`; the rows that it
/// returns.
async fn each<T>(
    transaction: &mut Transaction<'_>,
    (statement, columns): (&str, usize),
    items: &[T],
    bind: impl for<'q> Fn(Bound<'q>, &T) -> Bound<'q>,
) -> Result<Vec<AnyRow>, sqlx::Error> {
    let (mut rest, mut returned) = (items, Vec::new());
    for size in SIZES {
        while rest.len() >= size {
            let (now, later) = rest.split_at(size);
            let text = statement.replace("{}", &values((size, columns), 0));
            let (connection, text) = transaction.begin_with(text).await?;
            let query = now.iter().fold(sqlx::query(text), &bind);
            returned.extend(query.fetch_all(connection).await?);
            rest = later;
        }
    }
    Ok(returned)
}

/// The same in fewer statements, for which a row that is there twice is as one that is there once: the last one is
/// repeated until a size is full.
pub(super) async fn each_padded<T>(
    transaction: &mut Transaction<'_>,
    (statement, columns): (&str, usize),
    items: &[T],
    bind: impl for<'q> Fn(Bound<'q>, &T) -> Bound<'q>,
) -> Result<Vec<AnyRow>, sqlx::Error> {
    let mut returned = Vec::new();
    for now in items.chunks(SIZES_PADDED[0]) {
        let Some(last) = now.last() else { break };
        let size = padded(now.len());
        let text = statement.replace("{}", &values((size, columns), 0));
        let (connection, text) = transaction.begin_with(text).await?;
        let padded = now.iter().chain(std::iter::repeat(last)).take(size);
        let query = padded.fold(sqlx::query(text), &bind);
        returned.extend(query.fetch_all(connection).await?);
    }
    Ok(returned)
}

/// Inserts these rows by a statement that lacks its values. A single one waits for what comes next; where that is
/// checked, it is not there unless the task was as it was read.
pub(super) async fn insert<T>(
    transaction: &mut Transaction<'_>,
    (statement, columns): (&str, usize),
    items: &[T],
    bind: impl for<'q> Fn(Bound<'q>, &T) -> Bound<'q>,
) -> Result<(), sqlx::Error> {
    if let [item] = items {
        let values = values((1, columns), transaction.waiting());
        let row = match transaction.way() {
            Way::Checking => format!("SELECT {} FROM part0", values.trim_matches(['(', ')'])),
            Way::Alone | Way::Locking => format!("VALUES {values}"),
        };
        return transaction.later(format!("{statement} {row}"), |query| bind(query, item));
    }
    if !items.is_empty() {
        transaction.not_checking()?;
    }
    each(transaction, (&format!("{statement} VALUES {{}}"), columns), items, bind).await.map(drop)
}

/// The columns of a task by which it goes on, in the order in which [`Loaded::read`] takes them.
pub(super) const COURSE: &str = "t.seq, t.id, t.state, t.attempts, t.attempts_max, t.lease_ms, t.token, t.worker, t.due, \
     t.deadline, t.cancel_asked, t.fraction, t.cause, t.finished, t.lines, t.line_bytes, t.size";

/// How many they are.
pub(super) const COURSE_COLUMNS: usize = 17;

/// The columns of what was submitted, but for those of [`COURSE`] and the payload; the last is when.
pub(super) const NEW: &str =
    "t.kind, l.capability, l.requirements, t.priority, t.submitted_by, t.idempotency_key, t.submitted";

/// How many they are.
pub(super) const NEW_COLUMNS: usize = 7;

/// What was submitted, from the columns of [`NEW`], which begin at `from`. What is also in its course is to be put in
/// from there.
pub(super) fn read_new(row: &AnyRow, from: usize, payload: String) -> Result<NewTask, sqlx::Error> {
    let (kind, capability): (String, String) = (row.try_get(from)?, row.try_get(from + 1)?);
    let requirements: String = row.try_get(from + 2)?;
    let submitted_by: String = row.try_get(from + 4)?;
    Ok(NewTask {
        requirements: read_requirements(&requirements).map_err(|_| damaged("requirements"))?,
        priority: i32::try_from(row.try_get::<i64, _>(from + 3)?).map_err(|_| damaged("priority"))?,
        idempotency_key: row.try_get(from + 5)?,
        ..NewTask::plain(&kind, &capability, payload, &submitted_by)
    })
}

/// A task as it was loaded, to be asked and written back.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Loaded {
    pub(super) seq: i64,
    pub(super) id: TaskId,
    pub(super) course: Course,
    /// How many lines its workers said.
    pub(super) lines: i64,
    /// How many bytes they were.
    pub(super) line_bytes: i64,
    /// Bytes of its payload, and of its result when it is done.
    pub(super) size: i64,
    /// Its [`Transaction::version`], where that was read.
    pub(super) version: i64,
}

impl Loaded {
    /// Reads the columns of [`COURSE`].
    pub(super) fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let count = |column| row.try_get::<i64, _>(column).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        let course = Course {
            state: state(row.try_get(2)?)?,
            attempts: count(3)?,
            attempts_max: count(4)?,
            lease: Duration::from_millis(unsigned(row.try_get(5)?)),
            token: unsigned(row.try_get(6)?),
            worker: row.try_get(7)?,
            due: time(row.try_get(8)?),
            deadline: row.try_get::<Option<i64>, _>(9)?.map(time),
            is_cancel_asked: row.try_get::<i64, _>(10)? != 0,
            fraction: row.try_get(11)?,
            cause: row.try_get(12)?,
            finished: row.try_get::<Option<i64>, _>(13)?.map(time),
        };
        let (lines, line_bytes, size) = (row.try_get(14)?, row.try_get(15)?, row.try_get(16)?);
        Ok(Self { seq: row.try_get(0)?, id: id_of(row, 1)?, course, lines, line_bytes, size, version: 0 })
    }
}

/// Writes back how tasks stand.
pub(super) async fn write_back(transaction: &mut Transaction<'_>, tasks: &[&Loaded]) -> Result<(), sqlx::Error> {
    const UPDATE: &str = "UPDATE comity_task SET state = v.column2, attempts = v.column3, token = v.column4,
         worker = v.column5, due = v.column6, deadline = v.column7, cancel_asked = v.column8, fraction = v.column9,
         cause = v.column10, finished = v.column11, lines = v.column12, line_bytes = v.column13,
         size = v.column14 FROM (VALUES {}) AS v WHERE comity_task.seq = v.column1";
    fn bind_course<'q>(query: Bound<'q>, task: &Loaded) -> Bound<'q> {
        let course = &task.course;
        query
            .bind(task.seq)
            .bind(number(course.state))
            .bind(i64::from(course.attempts))
            .bind(integer(course.token))
            .bind(course.worker.clone())
            .bind(millis(course.due))
            .bind(course.deadline.map(millis))
            .bind(i64::from(course.is_cancel_asked))
            .bind(course.fraction)
            .bind(course.cause.clone())
            .bind(course.finished.map(millis))
            .bind(task.lines)
            .bind(task.line_bytes)
            .bind(task.size)
    }
    if let [task] = tasks {
        let is_checking = transaction.way() == Way::Checking;
        let columns = if is_checking { 15 } else { 14 };
        let update = UPDATE.replace("{}", &values((1, columns), transaction.waiting()));
        if is_checking {
            let version = version_of("comity_task");
            let update = format!("{update} AND {version} = v.column15 RETURNING comity_task.seq");
            return transaction.later(update, |query| bind_course(query, task).bind(task.version));
        }
        return transaction.later(update, |query| bind_course(query, task));
    }
    if !tasks.is_empty() {
        transaction.not_checking()?;
    }
    each_padded(transaction, (UPDATE, 14), tasks, |query, task| bind_course(query, task)).await.map(drop)
}

/// The number of a state in the store.
pub(super) fn number(state: State) -> i64 {
    State::ALL.iter().position(|other| *other == state).and_then(|place| i64::try_from(place).ok()).unwrap_or(-1)
}

/// The state of this number.
pub(super) fn state(number: i64) -> Result<State, sqlx::Error> {
    let state = usize::try_from(number).ok().and_then(|place| State::ALL.get(place));
    state.copied().ok_or_else(|| damaged("state"))
}

/// The id in this column.
pub(super) fn id_of(row: &AnyRow, column: usize) -> Result<TaskId, sqlx::Error> {
    let bytes: Vec<u8> = row.try_get(column)?;
    Uuid::from_slice(&bytes).map(TaskId).map_err(|_| damaged("id"))
}

/// A JSON text in this column, which is kept as bytes.
pub(super) fn text_of(row: &AnyRow, column: usize) -> Result<String, sqlx::Error> {
    String::from_utf8(row.try_get(column)?).map_err(|_| damaged("text"))
}

/// What the database holds there was not written by us.
pub(super) fn damaged(column: &str) -> sqlx::Error {
    sqlx::Error::Protocol(format!("what the queue's column {column} holds is not readable"))
}

/// The bytes of an id, as they are bound.
pub(super) fn bytes(id: TaskId) -> Vec<u8> {
    id.0.as_bytes().to_vec()
}

/// Milliseconds of a lease.
pub(super) fn lease_ms(lease: Duration) -> i64 {
    length(lease)
}
