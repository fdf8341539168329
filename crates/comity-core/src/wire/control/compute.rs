//! The queue of tasks at the control door: what is submitted, how it stands, and what workers beside the node ask for
//! and report. How a task goes on is decided in `task.rs`; the tasks of `claims.rs` are others.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// A task for the queue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskToQueue {
    /// What kind of work it is, in its executor's words; `tool` for a call of a tool.
    pub kind: String,
    /// What a worker must be able to do: of a tool `server/tool`, or its name alone.
    pub capability: String,
    /// What it is to be done with: of a tool its arguments.
    #[serde(default)]
    pub payload: Value,
    /// What a worker must have, by name: of numbers as much, of texts and truths the same.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub requirements: Map<String, Value>,
    /// The higher is the sooner.
    #[serde(default)]
    pub priority: i32,
    /// Until when it is of use, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// How often it may be tried; left out: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// How long a worker may be silent, seconds; left out: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<u32>,
    /// Two tasks of one key are one task, with the deadline of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// A task is in the queue, on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Its id.
    pub id: Uuid,
    /// Whether it is new; otherwise it came before under the same key.
    pub new: bool,
    /// How many nodes that can do it asked for work lately. With none it waits.
    pub workers: u64,
}

/// A task of the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedTask {
    /// Its id.
    pub id: Uuid,
    /// What kind of work it is.
    pub kind: String,
    /// What a worker must be able to do.
    pub capability: String,
    /// What it is to be done with; left out in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// What a worker must have.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub requirements: Map<String, Value>,
    /// The higher is the sooner.
    pub priority: i32,
    /// Until when it is of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// `queued`, `leased`, `running`, `succeeded`, `failed`, `cancelled` or `expired`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
    /// How often it may be.
    pub max_attempts: u32,
    /// How long a worker may be silent, seconds.
    pub lease_seconds: u64,
    /// Who submitted it: a node id.
    pub submitted_by: String,
    /// When.
    pub submitted: String,
    /// How much of it is done, 0 to 1.
    pub progress: f64,
    /// The node whose worker had it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The submitter's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// Whether its worker is to be told to stop.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel_requested: bool,
    /// What came of it: data, which its worker's tool wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

impl QueuedTask {
    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        crate::task::State::parse(&self.state).is_none_or(crate::task::State::is_final)
    }
}

/// Tasks of the queue, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedTasks {
    /// The tasks, without payloads and results.
    pub tasks: Vec<QueuedTask>,
    /// What to give as `before` for those that follow; left out: these are the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// What is done to a task of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueAct {
    /// It is not wanted any more: at once, or by telling its worker.
    Cancel,
    /// It failed or expired, and gets all its attempts again.
    Requeue,
    /// It is over, and nobody wants to look at it any more.
    Discard,
}

/// Something is to be done to a task of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueStep {
    /// The task.
    pub id: Uuid,
    /// What.
    pub step: QueueAct,
}

/// Who does tasks of this node, and what there is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueState {
    /// The nodes whose workers asked for work here in the last minute.
    pub nodes: Vec<WorkingNode>,
    /// How many tasks there are.
    pub tasks: Vec<QueueCount>,
}

/// A node whose workers do tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkingNode {
    /// Its id.
    pub node_id: String,
    /// What they can do.
    pub capabilities: Vec<String>,
    /// How many tasks they could begin, as they said last, less what they were given since.
    pub slots_free: u32,
    /// How full that machine is, as they said: what is lower is better.
    pub load: f64,
}

/// How many tasks there are of a capability and a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCount {
    /// The capability.
    pub capability: String,
    /// The state.
    pub state: String,
    /// How many.
    pub tasks: u64,
}

/// What happens while a task is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum QueueChange {
    /// How it stands, at first and whenever that has changed.
    Stands {
        /// The task, without payload and result.
        task: Box<QueuedTask>,
    },
    /// Its worker said something: data.
    Said {
        /// The line's number within the task.
        number: u64,
        /// When.
        at: String,
        /// What.
        text: String,
    },
    /// It is over.
    Over {
        /// The whole task.
        task: Box<QueuedTask>,
    },
}

/// A worker beside the node wants work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantWork {
    /// What it can do.
    pub capabilities: Vec<String>,
    /// What it has.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub properties: Map<String, Value>,
    /// How many tasks it wants.
    pub wanted: u64,
    /// How long it waits for the first, milliseconds.
    pub wait_ms: u64,
    /// How many it could begin now.
    pub slots_free: u32,
    /// How full it is: what is lower is better.
    pub load: f64,
}

/// Work for a worker beside the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// The tasks; none: there were none in time.
    pub tasks: Vec<GivenTask>,
}

/// A task that was given to a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GivenTask {
    /// The node that keeps it; left out: the worker's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its id.
    pub id: Uuid,
    /// What kind of work it is.
    pub kind: String,
    /// What is to be done.
    pub capability: String,
    /// With what.
    #[serde(default)]
    pub payload: Value,
    /// The number of the lease.
    pub token: u64,
    /// Which attempt it is.
    pub attempt: u32,
    /// How long the worker may be silent, seconds.
    pub lease_seconds: u64,
    /// Who submitted it.
    pub submitted_by: String,
}

/// What a worker has to say to one node that keeps tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkReport {
    /// That node; left out: the worker's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Leases that are to go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<Lease>,
    /// Tasks that are done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<DoneWork>,
    /// Tasks that could not be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedWork>,
    /// How far others are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<WorkProgress>,
}

/// A lease of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The task.
    pub id: Uuid,
    /// The lease's number.
    pub token: u64,
}

/// A task that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoneWork {
    /// The task.
    pub id: Uuid,
    /// The lease's number.
    pub token: u64,
    /// What came of it.
    pub result: Value,
}

/// A task that could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedWork {
    /// The task.
    pub id: Uuid,
    /// The lease's number.
    pub token: u64,
    /// Why.
    pub error: String,
    /// Whether another attempt may do better.
    pub retry: bool,
    /// Whether it was begun; otherwise it is given back, and the attempt does not count.
    pub begun: bool,
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkProgress {
    /// The task.
    pub id: Uuid,
    /// The lease's number.
    pub token: u64,
    /// How much of it is done, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// What there is to say.
    pub lines: Vec<String>,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkReported {
    /// Entry by entry: leases, done, failed, progress.
    pub answers: Vec<WorkAnswer>,
}

/// What became of one entry of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkAnswer {
    /// The task.
    pub id: Uuid,
    /// Whether it counts.
    pub ok: bool,
    /// How the task stands, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Whether the worker is to stop.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
    /// Why it does not count, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
