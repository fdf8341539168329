//! What workers, submitters and people do to tasks: the tasks are loaded and locked, each is asked by its rules, and
//! all that changed is written back, with lines and results.

use super::rows::{COURSE, COURSE_COLUMNS, Loaded, bytes, each_padded, insert, write_back};
use super::transaction::Transaction;
use super::{integer, millis};
use comity_core::task::{LINES_KEPT_MAX, Refused, Renewed, State, TaskId};
use comity_core::time::Timestamp;
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};

/// One thing that is done to a task.
#[derive(Debug)]
pub(super) enum Step {
    Renew { worker: String, token: u64 },
    Progress { worker: String, token: u64, fraction: Option<f64>, lines: Vec<String> },
    Complete { worker: String, token: u64, result: String },
    Fail { worker: String, token: u64, cause: String, is_worth_another: bool },
    GiveBack { worker: String, token: u64 },
    Cancel,
    Requeue,
}

/// How a task stands after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    pub(super) state: State,
    until: Timestamp,
    is_cancel_asked: bool,
}

impl Settled {
    pub(super) fn renewed(self) -> Renewed {
        Renewed { until: self.until, is_cancel_asked: self.is_cancel_asked }
    }
}

/// Several steps, as one caller has them done.
pub(super) type Steps = (Vec<(TaskId, Step)>, Timestamp);

/// What became of each.
pub(super) type Answers = Vec<Result<Settled, Refused>>;

/// A line on its way in.
struct NewLine<'a> {
    task: i64,
    number: i64,
    at: Timestamp,
    start: i64,
    text: &'a str,
}

/// What a group of steps comes to.
#[derive(Default)]
struct Outcome<'a> {
    changed: BTreeSet<TaskId>,
    lines: Vec<NewLine<'a>>,
    results: Vec<(i64, &'a str)>,
    is_work: bool,
}

/// Does all of these, and says whether there is work that was not there before, and how many bytes of results there are
/// more.
pub(super) async fn apply(
    transaction: &mut Transaction<'_>,
    calls: impl Iterator<Item = &Steps> + Clone,
) -> Result<(Vec<Answers>, bool, u64), sqlx::Error> {
    let ids: BTreeSet<_> = calls.clone().flat_map(|(steps, _)| steps.iter().map(|(id, _)| *id)).collect();
    let mut tasks = load(transaction, &Vec::from_iter(ids)).await?;
    let mut outcome = Outcome::default();
    let mut answers = Vec::new();
    for (steps, now) in calls {
        let settled = steps.iter().map(|(id, step)| {
            let task = tasks.get_mut(id).ok_or(Refused::Unknown)?;
            let before = task.clone();
            let settled = take(task, step, *now, &mut outcome);
            // Also a refusal may have changed it: a deadline is noticed by whoever comes first.
            if *task != before {
                outcome.changed.insert(*id);
            }
            settled
        });
        answers.push(settled.collect());
    }
    let changed: Vec<_> = outcome.changed.iter().filter_map(|id| tasks.get(id)).collect();
    write_back(transaction, &changed).await?;
    write_lines(transaction, &outcome.lines, &changed).await?;
    const RESULT: &str = "INSERT INTO comity_result (task, result)";
    insert(transaction, (RESULT, 2), &outcome.results, |query, (task, result)| {
        query.bind(*task).bind(result.as_bytes().to_vec())
    })
    .await?;
    let bytes = outcome.results.iter().map(|(_, result)| result.len() as u64).sum();
    Ok((answers, outcome.is_work, bytes))
}

/// Loads tasks, in the order of their ids, so that two processes never wait for each other in a circle.
async fn load(transaction: &mut Transaction<'_>, ids: &[TaskId]) -> Result<BTreeMap<TaskId, Loaded>, sqlx::Error> {
    let (version, lock) = (transaction.version(), transaction.lock("ORDER BY t.id FOR UPDATE OF t"));
    let select = format!("SELECT {COURSE}, {version} FROM comity_task t WHERE t.id IN ({{}}) {lock}");
    let rows = each_padded(transaction, (&select, 1), ids, |query, id| query.bind(bytes(*id))).await?;
    let loaded = rows.iter().map(|row| {
        let task = Loaded { version: row.try_get(COURSE_COLUMNS)?, ..Loaded::read(row)? };
        Ok((task.id, task))
    });
    loaded.collect()
}

/// One step of one task.
fn take<'a>(task: &mut Loaded, step: &'a Step, now: Timestamp, outcome: &mut Outcome<'a>) -> Result<Settled, Refused> {
    let course = &mut task.course;
    match step {
        Step::Renew { worker, token } => {
            course.renew(worker, *token, now)?;
        }
        Step::Progress { worker, token, fraction, lines } => {
            course.progress(worker, *token, *fraction, now)?;
            for text in lines {
                let (number, start) = (task.lines + 1, task.line_bytes);
                outcome.lines.push(NewLine { task: task.seq, number, at: now, start, text });
                task.lines = number;
                task.line_bytes += kept_bytes(text);
            }
        }
        Step::Complete { worker, token, result } => {
            if course.complete(worker, *token, now)? {
                task.size += integer(result.len() as u64);
                outcome.results.push((task.seq, result));
            }
        }
        Step::Fail { worker, token, cause, is_worth_another } => {
            course.fail(worker, *token, (cause, *is_worth_another), now)?;
        }
        Step::GiveBack { worker, token } => {
            course.give_back(worker, *token, now)?;
            outcome.is_work = true;
        }
        Step::Cancel => {
            course.cancel(now)?;
        }
        Step::Requeue => {
            course.requeue(now)?;
            outcome.is_work = true;
        }
    }
    let course = &task.course;
    Ok(Settled { state: course.state, until: course.due, is_cancel_asked: course.is_cancel_asked })
}

/// What a line counts: itself and its end, so that empty ones are bounded as well.
fn kept_bytes(text: &str) -> i64 {
    integer(text.len() as u64 + 1)
}

/// Writes lines, and takes the oldest away where there are more than are kept.
async fn write_lines(
    transaction: &mut Transaction<'_>,
    lines: &[NewLine<'_>],
    tasks: &[&Loaded],
) -> Result<(), sqlx::Error> {
    const LINE: &str = "INSERT INTO comity_line (task, number, at, start, text)";
    insert(transaction, (LINE, 5), lines, |query, line| {
        query.bind(line.task).bind(line.number).bind(millis(line.at)).bind(line.start).bind(line.text.to_owned())
    })
    .await?;
    let said: BTreeSet<_> = lines.iter().map(|line| line.task).collect();
    for task in tasks.iter().filter(|task| said.contains(&task.seq)) {
        let from = task.line_bytes - integer(LINES_KEPT_MAX as u64);
        if from > 0 {
            let delete = sqlx::query("DELETE FROM comity_line WHERE task = $1 AND start < $2");
            delete.bind(task.seq).bind(from).execute(transaction.connection().await?).await?;
        }
    }
    Ok(())
}
