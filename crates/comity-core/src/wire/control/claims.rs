//! Tasks that nodes announce and claim, as the control door takes and gives them.

use crate::claim::{Lost, Mine, Outcome, Standing};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// A task to be announced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// Its id; one is made where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What there is to do.
    pub content: Value,
}

/// Something to be done about a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskStep {
    /// Its id.
    pub task: String,
    /// Who announced it, where several nodes have a task of this id: name, UUID or node id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// What.
    pub step: Act,
    /// What there is to say: how far it is, what came of it, why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Value>,
    /// Whether the announcer's decision is waited for.
    #[serde(default)]
    pub wait: bool,
}

/// What can be done about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// This node wants to do it.
    Take,
    /// This node says how far it is.
    Progress,
    /// It is done.
    Done,
    /// It cannot be done.
    Fail,
    /// Somebody else shall do it.
    Release,
    /// Its announcer, this node, takes it back.
    Withdraw,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stepped {
    /// How the task stands now.
    pub task: Task,
    /// Whether this node does it, once that is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ours: Option<bool>,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<WhyLost>,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id: unique for its announcer.
    pub id: String,
    /// Who announced it, and decides: a node id.
    pub announcer: String,
    /// The announcer's UUID.
    pub announcer_id: Uuid,
    /// The announcer's name, as far as this node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcer_name: Option<String>,
    /// The number of its announcement.
    pub lease: u64,
    /// How it stands.
    pub state: TaskState,
    /// Who does it, or did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The owner's name, as far as this node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_name: Option<String>,
    /// What this node has to do with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mine: Option<MyPart>,
    /// What there is to do, as far as this node was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Value>,
    /// How far its owner is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Value>,
    /// What came of it, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Value>,
}

/// Tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tasks {
    /// By announcer and id.
    pub tasks: Vec<Task>,
}

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Whoever can may take it.
    Open,
    /// Somebody does it.
    Assigned,
    /// It is done.
    Completed,
    /// It could not be done.
    Failed,
    /// Its announcer took it back.
    Withdrawn,
}

/// What a node has to do with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MyPart {
    /// It has claimed it, and waits for the decision.
    Claimed,
    /// It does it.
    Held,
    /// It is through with it, and waits until its announcer knows.
    Finished,
}

/// Why a node does not get a task, or loses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyLost {
    /// Another node does it.
    ToAnother,
    /// It is over.
    Ended,
    /// It was announced again.
    AnnouncedAgain,
    /// The claim was not decided in time.
    Void,
    /// Its announcer was not heard of for too long.
    Unheard,
}

/// How tasks change, in a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum TaskChange {
    /// It was there when the stream began.
    Present {
        /// The task.
        task: Box<Task>,
    },
    /// It stands otherwise than before.
    Stands {
        /// The task.
        task: Box<Task>,
    },
    /// Its owner said how far it is.
    Progress {
        /// The task.
        task: Box<Task>,
    },
    /// This node does it from now on.
    Won {
        /// The task.
        task: Box<Task>,
    },
    /// This node does not get it, or does it no more.
    Lost {
        /// The task.
        id: String,
        /// Who announced it.
        announcer: String,
        /// Why.
        why: WhyLost,
    },
    /// It is not spoken of any more.
    Forgotten {
        /// The task.
        id: String,
        /// Who announced it.
        announcer: String,
    },
    /// So many changes came faster than they were read.
    Lagged {
        /// How many.
        skipped: u64,
    },
}

impl From<Standing> for TaskState {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Open => Self::Open,
            Standing::Assigned(_) => Self::Assigned,
            Standing::Ended { outcome: Outcome::Completed, .. } => Self::Completed,
            Standing::Ended { outcome: Outcome::Failed, .. } => Self::Failed,
            Standing::Ended { outcome: Outcome::Withdrawn, .. } => Self::Withdrawn,
        }
    }
}

impl From<Mine> for MyPart {
    fn from(mine: Mine) -> Self {
        match mine {
            Mine::Claimed => Self::Claimed,
            Mine::Held => Self::Held,
            Mine::Finished => Self::Finished,
        }
    }
}

impl From<Lost> for WhyLost {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::ToAnother => Self::ToAnother,
            Lost::Ended => Self::Ended,
            Lost::AnnouncedAgain => Self::AnnouncedAgain,
            Lost::Void => Self::Void,
            Lost::Unheard => Self::Unheard,
        }
    }
}
