//! Tasks as the store gives them out: whole, leased, and what was said while they were done. Plain values, without
//! rules.

use super::{Course, NewTask, State, TaskId};
use crate::time::Timestamp;

/// A task that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Its id.
    pub id: TaskId,
    /// Its place in the order in which tasks came, which is the cursor of a list.
    pub number: u64,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// What was submitted; its payload is empty where tasks are listed.
    pub task: NewTask,
    /// How it stands.
    pub course: Course,
    /// What came of it, a JSON text, once it succeeded.
    pub result: Option<String>,
}

/// A task that was given to a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Leased {
    /// Its id.
    pub id: TaskId,
    /// What is to be done.
    pub task: NewTask,
    /// The lease's number, by which the worker proves that it has the task.
    pub token: u64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When the lease ends, unless it is renewed.
    pub until: Timestamp,
}

/// Something that a worker said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number within its task, from 1.
    pub number: u64,
    /// When it came.
    pub at: Timestamp,
    /// The text.
    pub text: String,
}

/// What was said since a cursor, and how far the task is.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines {
    /// What is kept of it, oldest first.
    pub lines: Vec<Line>,
    /// The cursor for what comes next.
    pub next: u64,
    /// How many lines of the task are no longer kept.
    pub dropped: u64,
    /// How much of it is done, 0 to 1.
    pub fraction: f64,
    /// How it stands.
    pub state: State,
}
