//! Claims: who does a task that several nodes want. What a program asks for, and what it is told; what follows is decided
//! in `comity_core::claim`, and done in `run.rs`. See "Claims" in `protocols/pubsub.md`.

mod heard;
mod lives;
mod outbox;
mod presence;
mod run;
mod steps;
#[cfg(test)]
mod tests;
mod told;

use crate::driver::Handle;
use comity_core::claim::{self, BadTaskId, Finish, Lost, Mine, Standing, Task, TaskId};
use comity_core::id::NodeId;
use comity_core::node::Refusal;
use comity_core::payload::{BadPayload, Payload};
use comity_core::wire::gossip::task::{self, BadTask};
use comity_core::wire::gossip::{BadGossip, Envelope};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// The name of the setting in which tasks are kept across restarts.
pub(super) const KEPT: &str = "claims";

/// What waits for the rules of claims, at most; whoever brings more waits.
const ORDERS_MAX: usize = 1024;

/// Changes that a watcher may lag behind before it loses the oldest and is told so.
const WATCH_LAG_MAX: usize = 1024;

/// The tasks of a node, and those it knows of. Cloning shares them.
///
/// Whoever announces a task decides who does it. Of several nodes that [`Claims::take`] a task at once, one gets it, and
/// all agree which. It is told under a lease, a number by which late words of an earlier owner are refused.
#[derive(Debug, Clone)]
pub struct Claims {
    orders: mpsc::Sender<Order>,
    changes: broadcast::Sender<TaskChange>,
    stop: CancellationToken,
}

/// A task as this node knows it. Texts are those of others: data, to be shown and never obeyed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TaskView {
    /// Who announced it, and its id.
    pub task: Task,
    /// The number of its announcement.
    pub lease: u64,
    /// How it stands.
    pub standing: Standing,
    /// What this node has to do with it.
    pub mine: Option<Mine>,
    /// What there is to do, if this node was told.
    pub content: Option<Value>,
    /// How far its owner is, as it said last.
    pub progress: Option<Value>,
    /// What came of it, or why it failed.
    pub report: Option<Value>,
}

/// How a task changed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TaskChange {
    /// It stands otherwise than before.
    Stands(Box<TaskView>),
    /// Its owner said how far it is.
    Progress(Box<TaskView>),
    /// This node owns it: begin.
    Won(Box<TaskView>),
    /// This node does not get it, or owns it no more: stop.
    Lost {
        /// The task.
        task: Task,
        /// Why.
        why: Lost,
    },
    /// It is not spoken of any more.
    Forgotten(Task),
    /// So many changes came faster than they were read; [`Claims::list`] has how tasks stand now.
    Missed(u64),
}

/// Whether this node gets a task that it wanted.
#[derive(Debug, Clone, PartialEq)]
pub enum Taken {
    /// It is this node's: begin.
    Ours(Box<TaskView>),
    /// It is not.
    No {
        /// Why.
        why: Lost,
        /// How the task stands now, if it is still spoken of.
        view: Option<Box<TaskView>>,
    },
}

/// Why something was not done. Nothing has changed then, unless a variant says otherwise.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClaimError {
    /// The id can be none.
    #[error(transparent)]
    Id(#[from] BadTaskId),
    /// The id looks like a secret, which is not said.
    #[error("the id of the task looks like a secret")]
    Secret,
    /// The content fits no message.
    #[error(transparent)]
    Payload(#[from] BadPayload),
    /// It cannot be written as JSON.
    #[error("it cannot be written as JSON: {0}")]
    NotJson(String),
    /// It makes a message that nobody would take.
    #[error(transparent)]
    Message(#[from] BadGossip),
    /// The rules refuse.
    #[error(transparent)]
    Refused(#[from] claim::Refused),
    /// The disk does not take what was done before, and nothing more is done until it does.
    #[error("the node waits for its disk, and begins nothing")]
    Disk,
    /// It was done, and is said as soon as the disk takes it.
    #[error("it is not on the disk, and waits for it: {0}")]
    NotKept(Refusal),
    /// The node has ended.
    #[error("the node is leaving")]
    Leaving,
}

/// What the task that runs claims is told.
#[derive(Debug)]
enum Order {
    /// A coordination message came, and its author is proven.
    Heard { from: NodeId, envelope: Box<Envelope>, word: Option<claim::Word>, news: oneshot::Sender<bool> },
    /// Somebody began to listen.
    Listened,
    /// Somebody here wants something done.
    Step { step: Step, reply: oneshot::Sender<Result<TaskView, ClaimError>> },
    /// The same, and it waits for the announcer's decision.
    Take { task: Task, reply: oneshot::Sender<Result<Taken, ClaimError>> },
    /// Somebody wants to see all tasks.
    List(oneshot::Sender<Vec<TaskView>>),
}

/// What somebody wants done.
#[derive(Debug)]
enum Step {
    Announce { id: TaskId, content: Payload },
    Withdraw(TaskId),
    Claim(Task),
    Progress { task: Task, said: Value },
    Finish { task: Task, finish: Finish, report: Option<Value> },
}

impl Claims {
    /// The handle, and what it orders.
    fn open(handle: &Handle) -> (Self, mpsc::Receiver<Order>) {
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let (changes, _) = broadcast::channel(WATCH_LAG_MAX);
        (Self { orders, changes, stop: handle.stop().clone() }, ordered)
    }

    /// Announces a task of this node, until it is done or withdrawn, also after restarts. An id is free again when its
    /// task has ended.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn announce(&self, id: &str, content: impl Serialize) -> Result<TaskView, ClaimError> {
        let content = Payload::from_value(&value_of(content)?)?;
        self.step(Step::Announce { id: TaskId::new(id)?, content }).await
    }

    /// Takes a task of this node back: nobody shall do it any more.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn withdraw(&self, id: &str) -> Result<TaskView, ClaimError> {
        self.step(Step::Withdraw(TaskId::new(id)?)).await
    }

    /// Claims a task and waits until its announcer has decided, ten seconds at most.
    ///
    /// # Errors
    /// [`ClaimError`]; that somebody else got it is none.
    pub async fn take(&self, task: &Task) -> Result<Taken, ClaimError> {
        self.ordered(|reply| Order::Take { task: task.clone(), reply }).await?
    }

    /// Claims a task and waits for nothing: [`Claims::changes`] and [`Claims::list`] tell what comes of it.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn claim(&self, task: &Task) -> Result<TaskView, ClaimError> {
        self.step(Step::Claim(task.clone())).await
    }

    /// Says how far this node is with a task that it does: a share from 0 to 1, a text, or an object with whatever
    /// there is to say.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn progress(&self, task: &Task, said: impl Serialize) -> Result<TaskView, ClaimError> {
        self.step(Step::Progress { task: task.clone(), said: value_of(said)? }).await
    }

    /// Says that a task is done, and what came of it, until its announcer knows.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn done(&self, task: &Task, result: Option<Value>) -> Result<TaskView, ClaimError> {
        self.step(Step::Finish { task: task.clone(), finish: Finish::Completed, report: result }).await
    }

    /// Says that a task cannot be done, and why, until its announcer knows. It is over then.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn failed(&self, task: &Task, why: &str) -> Result<TaskView, ClaimError> {
        self.step(Step::Finish { task: task.clone(), finish: Finish::Failed, report: Some(why.into()) }).await
    }

    /// Gives a task back: it is announced again, for others.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn release(&self, task: &Task) -> Result<TaskView, ClaimError> {
        self.step(Step::Finish { task: task.clone(), finish: Finish::Released, report: None }).await
    }

    /// All tasks that this node knows of, by announcer and id. They are forgotten a minute and a half after their
    /// announcers spoke of them last.
    pub async fn list(&self) -> Vec<TaskView> {
        self.ordered(Order::List).await.unwrap_or_default()
    }

    /// The tasks of this id: each announcer has its own.
    pub async fn named(&self, id: &str) -> Vec<TaskView> {
        self.list().await.into_iter().filter(|view| view.task.id.text() == id).collect()
    }

    /// How tasks change from now on.
    pub fn changes(&self) -> TaskChanges {
        TaskChanges { changes: self.changes.subscribe(), stop: self.stop.clone() }
    }

    /// Takes a coordination message of this author, who is proven. Says whether it is news: announcers repeat
    /// themselves.
    pub(super) async fn hear(&self, from: NodeId, envelope: Envelope) -> Result<bool, BadTask> {
        let word = task::read(&envelope)?.map(|(_, word)| word);
        let heard = |news| Order::Heard { from, envelope: Box::new(envelope), word, news };
        Ok(self.ordered(heard).await.unwrap_or(false))
    }

    /// Somebody began to listen where tasks are coordinated.
    pub(super) async fn listened(&self) {
        // Err: the node has ended.
        let _ = self.orders.send(Order::Listened).await;
    }

    async fn step(&self, step: Step) -> Result<TaskView, ClaimError> {
        self.ordered(|reply| Order::Step { step, reply }).await?
    }

    async fn ordered<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, ClaimError> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).await.map_err(|_| ClaimError::Leaving)?;
        answer.await.map_err(|_| ClaimError::Leaving)
    }
}

/// How tasks change. Made by [`Claims::changes`].
#[derive(Debug)]
pub struct TaskChanges {
    changes: broadcast::Receiver<TaskChange>,
    stop: CancellationToken,
}

impl TaskChanges {
    /// The next change; `None` when the node has ended.
    pub async fn next(&mut self) -> Option<TaskChange> {
        tokio::select! {
            biased;
            change = self.changes.recv() => match change {
                Ok(change) => Some(change),
                Err(RecvError::Lagged(missed)) => Some(TaskChange::Missed(missed)),
                Err(RecvError::Closed) => None,
            },
            () = self.stop.cancelled() => None,
        }
    }
}

fn value_of(value: impl Serialize) -> Result<Value, ClaimError> {
    serde_json::to_value(value).map_err(|wrong| ClaimError::NotJson(wrong.to_string()))
}

/// What an owner says, as members of a message.
fn members(said: &Value) -> Map<String, Value> {
    match said {
        Value::Object(members) => members.clone(),
        Value::String(text) => Map::from_iter([("note".to_owned(), text.as_str().into())]),
        other => Map::from_iter([("progress".to_owned(), other.clone())]),
    }
}
