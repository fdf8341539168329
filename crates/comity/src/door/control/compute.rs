//! The queue of tasks as the control door offers it: tasks of this machine, how they go on, and the workers beside the
//! node, who fetch work and report here.

use super::denied::Denied;
use super::desk::Desk;
use super::feed::feed;
use super::read::{LongBody, Params};
use super::{Reply, path};
use crate::compute::{Compute, NotDone};
use crate::door::problem::Problem;
use crate::store::tasks::LIST_MAX;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use comity_core::task::{Kept, Refused, State as TaskState, TaskId};
use comity_core::wire::control::{self, QueueAct, QueueChange, QueuedTask};
use comity_core::wire::mesh::task::{Answered, Shown};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

/// Largest body, bytes: the largest of the wire, and as much for how JSON is written here.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Tasks in one list when nobody says.
const LISTED: usize = 50;

/// How often a task that is watched is looked at without being told: other processes may share the queue.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The paths of the queue.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route(path::QUEUE, get(list).post(submit))
        .route(path::QUEUED, get(whole))
        .route(path::QUEUE_CHANGES, get(changes))
        .route(path::QUEUE_STATE, get(state))
        .route(path::QUEUE_STEPS, post(step))
        .route(path::WORK, post(work))
        .route(path::WORK_REPORTS, post(report))
        .layer(DefaultBodyLimit::max(BYTES_MAX))
}

async fn submit(State(desk): State<Desk>, LongBody(wanted): LongBody<control::TaskToQueue>) -> Reply<control::Queued> {
    Ok(Json(desk.compute()?.submit_own(wanted).await?))
}

/// Which tasks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    state: Option<String>,
    before: Option<u64>,
    limit: Option<usize>,
}

async fn list(State(desk): State<Desk>, Params(which): Params<Which>) -> Reply<control::QueuedTasks> {
    let unknown = || Denied::field("/state", "there is no such state of tasks");
    let state = which.state.map(|name| TaskState::parse(&name).ok_or_else(unknown)).transpose()?;
    let limit = which.limit.unwrap_or(LISTED).clamp(1, LIST_MAX);
    let (tasks, next) = desk.compute()?.list(state, (limit, which.before), None).await?;
    Ok(Json(control::QueuedTasks { tasks: tasks.iter().map(shown).collect::<Result<_, _>>()?, next }))
}

/// Which task.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    id: Uuid,
}

async fn whole(State(desk): State<Desk>, Params(One { id }): Params<One>) -> Reply<QueuedTask> {
    Ok(Json(desk.task(id).await?))
}

async fn state(State(desk): State<Desk>) -> Reply<control::QueueState> {
    let compute = desk.compute()?;
    Ok(Json(control::QueueState { nodes: compute.available(), tasks: compute.counts().await? }))
}

async fn step(State(desk): State<Desk>, LongBody(wanted): LongBody<control::QueueStep>) -> Reply<control::WorkAnswer> {
    let (compute, id) = (desk.compute()?, TaskId(wanted.id));
    let answered = match wanted.step {
        QueueAct::Cancel => compute.cancel(id, None).await?,
        QueueAct::Requeue => compute.requeue(id).await?,
        QueueAct::Discard => compute.discard(id).await?,
    };
    reread::<_, Answered>(&answered).map(Json)
}

async fn work(State(desk): State<Desk>, LongBody(wanted): LongBody<control::WantWork>) -> Reply<control::Work> {
    Ok(Json(desk.compute()?.work(wanted).await?))
}

async fn report(
    State(desk): State<Desk>,
    LongBody(said): LongBody<control::WorkReport>,
) -> Reply<control::WorkReported> {
    Ok(Json(desk.compute()?.report(said).await?))
}

async fn changes(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Params(One { id }): Params<One>,
) -> Result<Response, Denied> {
    let compute = desk.compute()?.clone();
    compute.whole(TaskId(id), None).await?;
    Ok(feed(&desk.handle, &headers, |out| async move {
        // Err: the reader is gone, or the queue: whoever reads sees the end.
        let _ = tell(&compute, TaskId(id), &out).await;
    }))
}

/// Tells what happens to a task, until it is over.
async fn tell(compute: &Compute, id: TaskId, out: &mpsc::Sender<QueueChange>) -> Result<(), Denied> {
    let mut changes = compute.changes();
    let (mut after, mut stood) = (0, None);
    loop {
        changes.mark_unchanged();
        let said = compute.lines(id, after).await?;
        let is_all = said.next == after;
        after = said.next;
        for line in said.lines {
            let line = QueueChange::Said { number: line.number, at: line.at.to_string(), text: line.text };
            out.send(line).await.map_err(|_| Denied::nothing_here())?;
        }
        if !is_all {
            continue;
        }
        let stands = (said.state, said.fraction.to_bits());
        if stood.replace(stands) != Some(stands) {
            let task = Box::new(shown(&compute.whole(id, None).await?)?);
            let change = if task.is_over() {
                QueueChange::Over { task }
            } else {
                QueueChange::Stands { task: Box::new(QueuedTask { payload: None, ..*task }) }
            };
            let is_over = matches!(change, QueueChange::Over { .. });
            out.send(change).await.map_err(|_| Denied::nothing_here())?;
            if is_over {
                return Ok(());
            }
        }
        // Err: nothing was told, and it is looked at anyway.
        let _ = timeout(LOOK_EVERY, changes.changed()).await;
    }
}

impl Desk {
    /// The queue of tasks.
    pub(crate) fn compute(&self) -> Result<&Compute, Denied> {
        let off = || Denied::new(StatusCode::CONFLICT, "conflict", "the mesh is switched off here (mesh.enabled)");
        self.surroundings.compute.as_ref().ok_or_else(off)
    }

    /// A task of the queue, whole.
    pub(crate) async fn task(&self, id: Uuid) -> Result<QueuedTask, Denied> {
        shown(&self.compute()?.whole(TaskId(id), None).await?)
    }
}

fn shown(kept: &Kept) -> Result<QueuedTask, Denied> {
    reread::<_, Shown<'_>>(&Shown::of(kept))
}

/// A shape of the wire as one of this door: it has the same fields.
fn reread<T: DeserializeOwned, W: serde::Serialize>(wire: &W) -> Result<T, Denied> {
    serde_json::from_value(json!(wire))
        .map_err(|wrong| Denied::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", wrong.to_string()))
}

impl From<NotDone> for Denied {
    fn from(error: NotDone) -> Self {
        let unknown = matches!(error, NotDone::Refused(Refused::Unknown));
        let (detail, problem) = (error.to_string(), Problem::from(error));
        let code = if unknown { "unknown_task" } else { problem.code().name() };
        let retry_after = problem.retry_after();
        Self { retry_after, ..Self::new(problem.status(), code, detail) }
    }
}
