//! What submitters and workers are answered: the shapes of JSON, made from the rules' values.

use crate::task::{Kept, Leased, Lines, NewTask, Refused, Renewed, State, TaskId};
use crate::time::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A task as its submitter sees it.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    id: String,
    #[serde(flatten)]
    what: What<'a>,
    state: &'static str,
    attempts: u32,
    max_attempts: u32,
    lease_seconds: u64,
    submitted_by: &'a str,
    submitted: String,
    progress: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cancel_requested: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Raw<'a>>,
}

/// A task as its worker gets it.
#[derive(Debug, Serialize)]
pub struct Given<'a> {
    id: String,
    #[serde(flatten)]
    what: What<'a>,
    token: u64,
    attempt: u32,
    max_attempts: u32,
    lease_seconds: u64,
    lease_until: String,
    submitted_by: &'a str,
}

/// What was submitted.
#[derive(Debug, Serialize)]
struct What<'a> {
    kind: &'a str,
    capability: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    requirements: Map<String, Value>,
    priority: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
}

/// A JSON text that goes out as it came in.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Raw<'a>(&'a RawValue);

/// What was said while a task was done.
#[derive(Debug, Serialize)]
pub struct LinesShown<'a> {
    lines: Vec<LineShown<'a>>,
    next: u64,
    dropped: u64,
    progress: f64,
    state: &'static str,
}

/// One line of it.
#[derive(Debug, Serialize)]
pub struct LineShown<'a> {
    number: u64,
    at: String,
    text: &'a str,
}

/// What became of one entry of a batch.
#[derive(Debug, Serialize)]
pub struct Answered {
    id: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_until: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cancel: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a> Shown<'a> {
    /// Shows a task.
    pub fn of(kept: &'a Kept) -> Self {
        let Kept { task, course, .. } = kept;
        Self {
            id: kept.id.to_string(),
            what: What::of(task, course.deadline),
            state: course.state.name(),
            attempts: course.attempts,
            max_attempts: course.attempts_max,
            lease_seconds: course.lease.as_secs(),
            submitted_by: &task.submitted_by,
            submitted: kept.submitted.to_string(),
            progress: course.fraction,
            worker: course.worker.as_deref(),
            idempotency_key: task.idempotency_key.as_deref(),
            error: course.cause.as_deref(),
            finished: course.finished.map(|at| at.to_string()),
            cancel_requested: course.is_cancel_asked,
            result: kept.result.as_deref().map(Raw::of),
        }
    }
}

impl<'a> Given<'a> {
    /// Hands a task to its worker.
    pub fn of(leased: &'a Leased) -> Self {
        let task = &leased.task;
        Self {
            id: leased.id.to_string(),
            what: What::of(task, task.deadline),
            token: leased.token,
            attempt: leased.attempt,
            max_attempts: task.attempts_max,
            lease_seconds: task.lease.as_secs(),
            lease_until: leased.until.to_string(),
            submitted_by: &task.submitted_by,
        }
    }
}

impl<'a> What<'a> {
    fn of(task: &'a NewTask, deadline: Option<Timestamp>) -> Self {
        Self {
            kind: &task.kind,
            capability: &task.capability,
            payload: Some(&*task.payload).filter(|payload| !payload.is_empty()).map(Raw::of),
            requirements: task.requirements.iter().map(|(name, wanted)| (name.clone(), wanted.to_json())).collect(),
            priority: task.priority,
            deadline: deadline.map(|at| at.to_string()),
        }
    }
}

impl<'a> Raw<'a> {
    /// The text; `null` where it is not JSON, which a damaged store may give.
    fn of(text: &'a str) -> Self {
        Self(serde_json::from_str(text).unwrap_or(RawValue::NULL))
    }
}

impl<'a> LinesShown<'a> {
    /// Shows what was said.
    pub fn of(lines: &'a Lines) -> Self {
        let shown = lines.lines.iter();
        Self {
            lines: shown
                .map(|line| LineShown { number: line.number, at: line.at.to_string(), text: &line.text })
                .collect(),
            next: lines.next,
            dropped: lines.dropped,
            progress: lines.fraction,
            state: lines.state.name(),
        }
    }
}

impl Answered {
    fn begin(id: TaskId, refused: Option<Refused>) -> Self {
        let (code, error) = (refused.map(Refused::code), refused.map(|refused| refused.to_string()));
        Self { id: id.to_string(), ok: refused.is_none(), state: None, lease_until: None, cancel: false, code, error }
    }

    /// What became of a lease that was to be renewed, or of progress.
    pub fn renewed(id: TaskId, answer: Result<Renewed, Refused>) -> Self {
        let begun = Self::begin(id, answer.err());
        match answer {
            Ok(renewed) => {
                Self { lease_until: Some(renewed.until.to_string()), cancel: renewed.is_cancel_asked, ..begun }
            }
            Err(_) => begun,
        }
    }

    /// How a task stands that was to be ended, cancelled or queued again.
    pub fn stands(id: TaskId, answer: Result<State, Refused>) -> Self {
        Self { state: answer.ok().map(State::name), ..Self::begin(id, answer.err()) }
    }
}
