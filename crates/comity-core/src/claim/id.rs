//! The ids of tasks, which their announcers choose: any short text. An id alone names no task: two announcers may choose
//! the same.

use std::fmt;
use std::sync::Arc;

/// Longest id of a task, bytes.
pub const TASK_ID_MAX: usize = 256;

/// The id of a task: unique for its announcer. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Arc<str>);

/// A text that cannot be the id of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a task has 1 to {TASK_ID_MAX} bytes and no control characters")]
pub struct BadTaskId;

impl TaskId {
    /// An id of this text, if it can be one.
    pub fn new(text: &str) -> Result<Self, BadTaskId> {
        let fits = (1..=TASK_ID_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(Self(text.into())) } else { Err(BadTaskId) }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}
