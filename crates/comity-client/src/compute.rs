//! The queue of tasks: what is submitted and how it goes on, and work for a worker beside the node.

use crate::{ANSWER_WITHIN, Client, Error, GRACE, Lines, exchange};
use comity_core::wire::control::{self, QueueAct, path};
use std::time::Duration;
use uuid::Uuid;

impl Client {
    /// Puts a task into the queue: it is on disk when this returns.
    pub async fn queue_task(&self, task: &control::TaskToQueue) -> Result<control::Queued, Error> {
        self.post(path::QUEUE, task).await
    }

    /// A page of the queue, the newest first, before a cursor.
    pub async fn queued_tasks(&self, state: Option<&str>, before: Option<u64>) -> Result<control::QueuedTasks, Error> {
        let before = before.map(|cursor| cursor.to_string());
        let pairs = [("state", state.map(str::to_owned)), ("before", before), ("limit", Some("200".to_owned()))];
        self.get(&crate::query::path(path::QUEUE, &pairs)).await
    }

    /// A task of the queue, whole.
    pub async fn queued_task(&self, id: Uuid) -> Result<control::QueuedTask, Error> {
        self.get(&crate::query::path(path::QUEUED, &[("id", Some(id.to_string()))])).await
    }

    /// What happens to a task of the queue, until it is over.
    pub async fn queue_changes(&self, id: Uuid) -> Result<Lines<control::QueueChange>, Error> {
        self.stream(&crate::query::path(path::QUEUE_CHANGES, &[("id", Some(id.to_string()))])).await
    }

    /// Who does tasks of this node, and what there is to do.
    pub async fn queue_state(&self) -> Result<control::QueueState, Error> {
        self.get(path::QUEUE_STATE).await
    }

    /// Takes a task of the queue back, gives a dead one all its attempts again, or discards one that is over.
    pub async fn queue_step(&self, id: Uuid, step: QueueAct) -> Result<control::WorkAnswer, Error> {
        self.post(path::QUEUE_STEPS, &control::QueueStep { id, step }).await
    }

    /// Work for a worker beside the node; it waits for it as long as it says.
    pub async fn work(&self, wanted: &control::WantWork) -> Result<control::Work, Error> {
        let wait = Duration::from_millis(wanted.wait_ms);
        exchange::post(self, path::WORK, wanted, ANSWER_WITHIN.saturating_add(wait).saturating_add(GRACE)).await
    }

    /// What a worker has to say of its tasks.
    pub async fn report_work(&self, report: &control::WorkReport) -> Result<control::WorkReported, Error> {
        exchange::post(self, path::WORK_REPORTS, report, ANSWER_WITHIN * 2).await
    }
}
