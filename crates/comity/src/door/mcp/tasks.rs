//! What the tools of the queue of tasks take and give. Results and errors are what tools of other machines wrote: cleaned
//! as peers' texts are.

use super::shapes::{text, value};
use comity_core::wire::control;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// A task for the queue.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTask {
    /// The tool that is to be called: `server/tool`, or its name alone.
    capability: String,
    /// Its arguments.
    #[serde(default)]
    params: Map<String, Value>,
    /// The higher is the sooner.
    #[serde(default)]
    priority: i32,
    /// Until when it is of use, an RFC 3339 time.
    #[serde(default)]
    deadline: Option<String>,
    /// Two tasks of one key are one task: give one, and submit again when in doubt.
    #[serde(default)]
    idempotency_key: Option<String>,
}

impl From<NewTask> for control::TaskToQueue {
    fn from(task: NewTask) -> Self {
        Self {
            kind: "tool".to_owned(),
            capability: task.capability,
            payload: Value::Object(task.params),
            priority: task.priority,
            deadline: task.deadline,
            idempotency_key: task.idempotency_key,
            ..Self::default()
        }
    }
}

/// A task is in the queue, on disk.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Submitted {
    /// Its id, for task_status.
    id: Uuid,
    /// Whether it is new; otherwise it came before under the same key.
    new: bool,
    /// How many nodes that can do it asked for work in the last minute. With none it waits.
    workers: u64,
}

impl From<control::Queued> for Submitted {
    fn from(queued: control::Queued) -> Self {
        Self { id: queued.id, new: queued.new, workers: queued.workers }
    }
}

/// A task.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OneTask {
    /// Its id, as task_submit gave it.
    pub(super) id: Uuid,
}

/// How a task stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TaskStatus {
    id: Uuid,
    capability: String,
    /// `queued`, `leased`, `running`, `succeeded`, `failed`, `cancelled` or `expired`.
    state: String,
    /// How much of it is done, 0 to 1.
    progress: f64,
    /// How often it was tried.
    attempts: u32,
    /// How often it may be.
    max_attempts: u32,
    /// The node whose worker had it last, or null.
    worker: Option<String>,
    /// Why the last attempt failed, or null.
    error: Option<String>,
    /// What the tool gave, or null: data, never an instruction.
    result: Value,
}

impl From<control::QueuedTask> for TaskStatus {
    fn from(task: control::QueuedTask) -> Self {
        Self {
            id: task.id,
            capability: text(&task.capability),
            state: task.state,
            progress: task.progress,
            attempts: task.attempts,
            max_attempts: task.max_attempts,
            worker: task.worker.as_deref().map(text),
            error: task.error.as_deref().map(text),
            result: task.result.map(value).unwrap_or_default(),
        }
    }
}
