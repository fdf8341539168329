//! Claims as the control door offers them: whom a task's id means, and the operations of `network::claims`.

use super::Reply;
use super::denied::Denied;
use super::desk::{Desk, name};
use super::feed::feed;
use super::read::Body;
use super::target;
use crate::network::{ClaimError, Claims, Taken, TaskChange, TaskView};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use comity_core::claim::{Refused, Task, TaskId};
use comity_core::id::NodeId;
use comity_core::node::{NodeView, Refusal};
use comity_core::wire::control::{self, Act, MyPart};
use serde_json::Value;

pub(super) async fn list(State(desk): State<Desk>) -> Reply<control::Tasks> {
    let (tasks, view) = (desk.claims()?.list().await, desk.handle.look().await);
    Ok(Json(control::Tasks { tasks: tasks.into_iter().map(|task| shown(&view, task)).collect() }))
}

pub(super) async fn announce(State(desk): State<Desk>, Body(wanted): Body<control::NewTask>) -> Reply<control::Task> {
    let id = wanted.id.unwrap_or_else(|| desk.handle.new_message().0.to_string());
    let task = desk.claims()?.announce(&id, wanted.content).await?;
    Ok(Json(shown(&*desk.handle.look().await, task)))
}

pub(super) async fn step(State(desk): State<Desk>, Body(wanted): Body<control::TaskStep>) -> Reply<control::Stepped> {
    let (claims, view) = (desk.claims()?, desk.handle.look().await);
    if wanted.step == Act::Withdraw {
        let task = claims.withdraw(&wanted.task).await?;
        return Ok(Json(control::Stepped { task: shown(&view, task), ours: None, why: None }));
    }
    let task = meant(claims, &view, &wanted).await?;
    if wanted.step == Act::Take && wanted.wait {
        return taken(&view, claims.take(&task).await?).map(Json);
    }
    let now = match (wanted.step, wanted.said) {
        (Act::Progress, Some(said)) => claims.progress(&task, said).await?,
        (Act::Progress, None) => return Err(Denied::field("/said", "how far it is must be said")),
        (Act::Done, result) => claims.done(&task, result).await?,
        (Act::Fail, Some(Value::String(why))) => claims.failed(&task, &why).await?,
        (Act::Fail, _) => return Err(Denied::field("/said", "why it cannot be done must be said, as a text")),
        (Act::Release, _) => claims.release(&task).await?,
        (Act::Take | Act::Withdraw, _) => claims.claim(&task).await?,
    };
    let task = shown(&view, now);
    let ours = (wanted.step == Act::Take && task.mine == Some(MyPart::Held)).then_some(true);
    Ok(Json(control::Stepped { task, ours, why: None }))
}

/// All tasks, and then every change.
pub(super) async fn changes(State(desk): State<Desk>, headers: HeaderMap) -> Result<Response, Denied> {
    let claims = desk.claims()?.clone();
    // First the changes, then the list: a change between the two is told twice rather than never.
    let mut changes = claims.changes();
    let handle = desk.handle.clone();
    Ok(feed(&desk.handle, &headers, |out| async move {
        let view = handle.look().await;
        for task in claims.list().await {
            let task = Box::new(shown(&view, task));
            if out.send(control::TaskChange::Present { task }).await.is_err() {
                return;
            }
        }
        while let Some(change) = changes.next().await {
            let view = handle.last_view();
            if out.send(change_of(&view, change)).await.is_err() {
                return;
            }
        }
    }))
}

impl Desk {
    fn claims(&self) -> Result<&Claims, Denied> {
        let off = || Denied::new(StatusCode::CONFLICT, "conflict", "gossip is switched off here (gossip.enabled)");
        self.surroundings.topics.as_ref().map(|topics| topics.claims()).ok_or_else(off)
    }
}

/// Which task is meant: ids are their announcers' own, so that two may have the same.
async fn meant(claims: &Claims, view: &NodeView, wanted: &control::TaskStep) -> Result<Task, Denied> {
    let id = TaskId::new(&wanted.task).map_err(|bad| Denied::field("/task", bad.to_string()))?;
    if let Some(of) = &wanted.of {
        let own = *of == view.name || *of == view.node.to_string() || *of == view.peer.0.to_string();
        let announcer = if own { view.node } else { target::key(view, of)? };
        return Ok(Task { announcer, id });
    }
    let named = claims.named(id.text()).await;
    match named.as_slice() {
        [] => Err(unknown(&wanted.task)),
        [one] => Ok(one.task.clone()),
        several => {
            let announcers: Vec<_> = several.iter().map(|task| announcer(view, task.task.announcer)).collect();
            let (count, announcers) = (several.len(), announcers.join(", "));
            let sentence = format!("{count} nodes have a task {}: say whose is meant, of {announcers}", wanted.task);
            Err(Denied {
                pointer: Some("/of".to_owned()),
                ..Denied::new(StatusCode::CONFLICT, "ambiguous_task", sentence)
            })
        }
    }
}

fn announcer(view: &NodeView, node: NodeId) -> String {
    name(view, node.peer()).map_or_else(|| node.to_string(), |name| format!("{name} ({node})"))
}

fn unknown(id: &str) -> Denied {
    Denied::new(StatusCode::NOT_FOUND, "unknown_task", format!("no task {id} is known here"))
}

fn taken(view: &NodeView, taken: Taken) -> Result<control::Stepped, Denied> {
    match taken {
        Taken::Ours(task) => Ok(control::Stepped { task: shown(view, *task), ours: Some(true), why: None }),
        Taken::No { why, view: Some(task) } => {
            Ok(control::Stepped { task: shown(view, *task), ours: Some(false), why: Some(why.into()) })
        }
        Taken::No { view: None, .. } => {
            Err(Denied::new(StatusCode::NOT_FOUND, "unknown_task", "its announcer was not heard of for too long"))
        }
    }
}

fn shown(view: &NodeView, task: TaskView) -> control::Task {
    let (announcer, owner) = (task.task.announcer, task.standing.owner());
    control::Task {
        id: task.task.id.text().to_owned(),
        announcer: announcer.to_string(),
        announcer_id: announcer.peer().0,
        announcer_name: name(view, announcer.peer()),
        lease: task.lease,
        state: task.standing.into(),
        owner: owner.map(|owner| owner.to_string()),
        owner_name: owner.and_then(|owner| name(view, owner.peer())),
        mine: task.mine.map(MyPart::from),
        content: task.content,
        progress: task.progress,
        report: task.report,
    }
}

fn change_of(view: &NodeView, change: TaskChange) -> control::TaskChange {
    let boxed = |task: Box<TaskView>| Box::new(shown(view, *task));
    let named = |task: Task| (task.id.text().to_owned(), task.announcer.to_string());
    match change {
        TaskChange::Stands(task) => control::TaskChange::Stands { task: boxed(task) },
        TaskChange::Progress(task) => control::TaskChange::Progress { task: boxed(task) },
        TaskChange::Won(task) => control::TaskChange::Won { task: boxed(task) },
        TaskChange::Lost { task, why } => {
            let (id, announcer) = named(task);
            control::TaskChange::Lost { id, announcer, why: why.into() }
        }
        TaskChange::Forgotten(task) => {
            let (id, announcer) = named(task);
            control::TaskChange::Forgotten { id, announcer }
        }
        TaskChange::Missed(skipped) => control::TaskChange::Lagged { skipped },
    }
}

impl From<ClaimError> for Denied {
    fn from(error: ClaimError) -> Self {
        let sentence = error.to_string();
        match error {
            ClaimError::Id(_) | ClaimError::Secret => Self::field("/id", sentence),
            ClaimError::Payload(bad) => bad.into(),
            ClaimError::NotJson(_) | ClaimError::Message(_) => Self::field("/content", sentence),
            ClaimError::Refused(Refused::Unknown) => Self::new(StatusCode::NOT_FOUND, "unknown_task", sentence),
            ClaimError::Refused(Refused::Full) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "full", sentence),
            ClaimError::Refused(_) => Self::new(StatusCode::CONFLICT, "conflict", sentence),
            ClaimError::Disk => Self { detail: sentence, ..Refusal::Disk.into() },
            ClaimError::NotKept(refusal) => Self { detail: sentence, ..refusal.into() },
            ClaimError::Leaving => Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", sentence),
        }
    }
}
