//! The queue of tasks at the network door: known peers, and at a coordinator nodes with an API key, submit and follow tasks
//! of their own, and take and report work. A worker's name, and a submitter's, is the key that its node proves by TLS, or
//! the name under which the node of its API key registered; no such name reads as a key that was not proved. See "Compute"
//! in `protocols/mesh.md`.

use super::guards::Source;
use super::mesh::{Guest, known};
use super::problem::{Code, Problem};
use super::registry::Knock;
use super::{Door, Visit};
use crate::compute::Crowded;
use crate::compute::{Compute, NotDone, Word};
use crate::registry::Registry;
use crate::store::tasks::{self, LIST_MAX, NotTaken, QueueError};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest, FromRequestParts, Path, Query as Params, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use comity_core::task::{BadTask, Refused, State, TaskId, check_name};
use comity_core::wire::mesh::task::{BODY_MAX, BadBody, Given, Shown};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Calls a minute of the workers of one known node: those report every two seconds, and fetch work as fast as they do
/// it. A hundred a second is what keeps a queue's disk busy.
pub(super) const WORK_PER_MINUTE: u32 = 6000;

/// How long to wait when the queue's database does not answer.
const WHEN_ILL: Duration = Duration::from_secs(5);

/// How long to wait when too many wait: a claim does so for half a minute at most.
const WHEN_CROWDED: Duration = Duration::from_secs(10);

/// Tasks in one list when nobody says.
const LISTED: usize = 50;

/// Whom work is for.
const FOR_WHOM: &str = "work is for peers that this node knows and that prove their key by TLS, and at a coordinator for \
    nodes with an API key";

/// What peers reach of the queue.
pub(super) fn router(door: Door, compute: Compute, registry: Option<Registry>) -> Router {
    Router::new()
        .route("/mesh/compute/tasks", get(list).post(submit))
        .route("/mesh/compute/tasks/{id}", get(show))
        .route("/mesh/compute/tasks/{id}/cancel", post(cancel))
        .route("/mesh/compute/available", get(available))
        .route("/mesh/compute/claim", post(claim))
        .route("/mesh/compute/renew", post(renew))
        .route("/mesh/compute/complete", post(complete))
        .route("/mesh/compute/fail", post(fail))
        .route("/mesh/compute/{id}/progress", post(progress))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(door)
        .layer(Extension(compute))
        .layer(Extension(registry))
}

/// Who submits and looks, by its key or its registered name, within the pace of all requests: a known peer, or a node with
/// an API key.
pub(super) struct Peer(String);

/// A worker, by its node's key or registered name, within the pace of workers.
pub(super) struct Worker(String, Standing);

/// By what somebody was let in.
enum Standing {
    ApiKey(Box<Knock>, Registry),
    Known(Door, Source),
}

impl Standing {
    /// Whether that holds still: a key may have been revoked, and a peer put out, while its worker waited.
    async fn holds(&self) -> Result<(), Problem> {
        match self {
            Self::ApiKey(knock, registry) => knock.holds(registry),
            Self::Known(door, source) => known(&door.admit(*source).await?, FOR_WHOM).map(drop),
        }
    }
}

impl FromRequestParts<Door> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        if let Some((knock, registry)) = Knock::by_api_key(parts, door).await? {
            return knock.name(&registry).map(Self);
        }
        known(&Visit::from_request_parts(parts, door).await?, FOR_WHOM).map(|key| Self(key.to_string()))
    }
}

impl FromRequestParts<Door> for Worker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        if let Some((knock, registry)) = Knock::by_api_key(parts, door).await? {
            return Ok(Self(knock.worker(&registry)?, Standing::ApiKey(Box::new(knock), registry)));
        }
        let source = Source::from_request_parts(parts, door).await?;
        door.take_work_pace(source)?;
        let key = known(&door.admit(source).await?, FOR_WHOM)?;
        Ok(Self(key.to_string(), Standing::Known(door.clone(), source)))
    }
}

/// The body of a call, within [`BODY_MAX`].
pub(super) struct Said(Bytes);

impl<S: Send + Sync> FromRequest<S> for Said {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Bytes::from_request(request, state).await.map(Self).map_err(|unread| match unread.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(&BadBody::TooLarge.to_string()),
            _ => Problem::bad_request("the body broke off"),
        })
    }
}

/// A worker's call, whose body says something of its tasks.
pub(super) struct Report {
    worker: String,
    standing: Standing,
    body: Bytes,
}

impl FromRequest<Door> for Report {
    type Rejection = Problem;

    async fn from_request(request: Request, door: &Door) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Worker(worker, standing) = Worker::from_request_parts(&mut parts, door).await?;
        let Said(body) = Said::from_request(Request::from_parts(parts, body), door).await?;
        Ok(Self { worker, standing, body })
    }
}

impl Report {
    /// What the queue answers to it.
    async fn heard(self, word: Word, compute: &Compute) -> Result<Json<Value>, Problem> {
        Ok(Json(compute.hear(&self.worker, word, &self.body).await?))
    }
}

/// A known peer, or at a coordinator a node with an API key, submits tasks, one or up to a hundred. What is answered is on
/// disk. One submitter's tasks of one `Idempotency-Key` are one task.
#[utoipa::path(post, path = "/mesh/compute/tasks", tag = "network",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes one task of all that are sent under it")),
    request_body(content = Object, description = "`{kind, capability, payload?, requirements?, priority?, deadline?, max_attempts?, lease_seconds?, idempotency_key?}`, or a list of them"),
    responses(
        (status = 200, description = "`{tasks[{id, new} | {code, error}]}`, in their order", body = Object),
        (status = 409, description = "The key was used for another task", body = super::problem::ProblemBody, content_type = "application/problem+json"),
        super::openapi::MeshRefusals,
    ))]
pub(super) async fn submit(
    Peer(peer): Peer,
    Extension(compute): Extension<Compute>,
    headers: HeaderMap,
    Said(body): Said,
) -> Result<Json<Value>, Problem> {
    let key = headers.get("idempotency-key").map(|key| key.to_str()).transpose();
    let key = key.map_err(|_| Problem::bad_request("the Idempotency-Key is not plain text"))?;
    key.map(|key| check_name("Idempotency-Key", key)).transpose().map_err(|bad| NotDone::from(BadBody::from(bad)))?;
    let mut answers = compute.submit(&body, &peer, key).await?;
    if let [Err(_)] = answers.as_slice()
        && let Some(Err(refused)) = answers.pop()
    {
        return Err(NotDone::from(refused).into());
    }
    let shown = |answer: Result<tasks::Submitted, NotTaken>| match answer {
        Ok(submitted) => json!({ "id": submitted.id.to_string(), "new": submitted.is_new }),
        Err(refused) => json!({ "code": code(refused).name(), "error": refused.to_string() }),
    };
    Ok(Json(json!({ "tasks": answers.into_iter().map(shown).collect::<Vec<_>>() })))
}

/// Which tasks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    state: Option<String>,
    limit: Option<usize>,
    before: Option<u64>,
}

/// The tasks that this caller has submitted, the newest first, without payloads and results.
#[utoipa::path(get, path = "/mesh/compute/tasks", tag = "network", params(
    ("state" = Option<String>, Query, description = "queued, leased, running, succeeded, failed, cancelled or expired"),
    ("limit" = Option<u64>, Query, description = "1 to 200; default 50"),
    ("before" = Option<u64>, Query, description = "`next` of the answer before"),
), responses(
    (status = 200, description = "`{tasks, next?}`", body = Object), super::openapi::MeshRefusals,
))]
pub(super) async fn list(
    Peer(peer): Peer,
    Extension(compute): Extension<Compute>,
    which: Result<Params<Which>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Params(Which { state, limit, before }) = which.map_err(|wrong| Problem::bad_request(&wrong.body_text()))?;
    let limit = limit.unwrap_or(LISTED).clamp(1, LIST_MAX);
    let (tasks, next) = compute.list(state_of(state.as_deref())?, (limit, before), Some(&peer)).await?;
    Ok(written(&json!({ "tasks": tasks.iter().map(Shown::of).collect::<Vec<_>>(), "next": next })))
}

/// A state by its name.
fn state_of(name: Option<&str>) -> Result<Option<State>, Problem> {
    let unknown = || Problem::bad_request("there is no such state of tasks");
    name.map(|name| State::parse(name).ok_or_else(unknown)).transpose()
}

/// A task that this caller has submitted, whole.
#[utoipa::path(get, path = "/mesh/compute/tasks/{id}", tag = "network",
    params(("id" = String, Path, description = "The task")),
    responses(
        (status = 200, description = "The task, with `result` when it succeeded", body = Object),
        (status = 404, description = "This caller has submitted no such task", body = super::problem::ProblemBody, content_type = "application/problem+json"),
        super::openapi::MeshRefusals,
    ))]
pub(super) async fn show(
    Peer(peer): Peer,
    Extension(compute): Extension<Compute>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let kept = compute.whole(task_of(&id)?, Some(&peer)).await?;
    Ok(written(&json!(Shown::of(&kept))))
}

/// The caller takes back a task that it has submitted: at once, or by telling whoever is at it.
#[utoipa::path(post, path = "/mesh/compute/tasks/{id}/cancel", tag = "network",
    params(("id" = String, Path, description = "The task")),
    responses(
        (status = 200, description = "`{id, ok, state}`", body = Object),
        (status = 404, description = "This caller has submitted no such task", body = super::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is over", body = super::problem::ProblemBody, content_type = "application/problem+json"),
        super::openapi::MeshRefusals,
    ))]
pub(super) async fn cancel(
    Peer(peer): Peer,
    Extension(compute): Extension<Compute>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(json!(compute.cancel(task_of(&id)?, Some(&peer)).await?)))
}

/// The nodes whose workers asked for work here in the last minute, each by its key, or where it showed an API key, by its
/// registered name.
#[utoipa::path(get, path = "/mesh/compute/available", tag = "network", responses(
    (status = 200, description = "`{nodes[{node_id, capabilities, slots_free, load}]}`", body = Object),
    super::openapi::MeshRefusals,
))]
pub(super) async fn available(_: Guest, Extension(compute): Extension<Compute>) -> Json<Value> {
    Json(json!({ "nodes": compute.available() }))
}

/// A worker takes work, and waits for it: of those who wait, whoever has the most free slots, then the least load, is
/// given the next task.
#[utoipa::path(post, path = "/mesh/compute/claim", tag = "network",
    request_body(content = Object, description = "`{capabilities, properties?, wanted? (1 to 100), wait_ms? (up to 30000), slots_free?, load?}`"),
    responses(
        (status = 200, description = "`{tasks[{id, kind, capability, payload, token, attempt, lease_seconds, lease_until, …}]}`", body = Object),
        super::openapi::MeshRefusals,
    ))]
pub(super) async fn claim(
    Extension(compute): Extension<Compute>,
    Report { worker, standing, body }: Report,
) -> Result<Response, Problem> {
    let given = compute.claim(&worker, &body).await?;
    standing.holds().await?;
    let given: Vec<_> = given.into_iter().flat_map(tasks::Given::take).collect();
    Ok(written(&json!({ "tasks": given.iter().map(Given::of).collect::<Vec<_>>() })))
}

/// A worker is still at its tasks.
#[utoipa::path(post, path = "/mesh/compute/renew", tag = "network",
    request_body(content = Object, description = "`{leases[{id, token}]}`"),
    responses(
        (status = 200, description = "`{answers[{id, ok, lease_until?, cancel?, code?, error?}]}`", body = Object),
        super::openapi::MeshRefusals,
    ))]
pub(super) async fn renew(Extension(compute): Extension<Compute>, report: Report) -> Result<Json<Value>, Problem> {
    report.heard(Word::Renew, &compute).await
}

/// A worker has done tasks. A lease that was given to somebody else since does not count.
#[utoipa::path(post, path = "/mesh/compute/complete", tag = "network",
    request_body(content = Object, description = "`{done[{id, token, result?}]}`"),
    responses(
        (status = 200, description = "`{answers[{id, ok, state?, code?, error?}]}`", body = Object),
        super::openapi::MeshRefusals,
    ))]
pub(super) async fn complete(Extension(compute): Extension<Compute>, report: Report) -> Result<Json<Value>, Problem> {
    report.heard(Word::Complete, &compute).await
}

/// A worker could not do tasks, or gives back what it has not begun.
#[utoipa::path(post, path = "/mesh/compute/fail", tag = "network",
    request_body(content = Object, description = "`{failed[{id, token, error, retry?, begun?}]}`"),
    responses(
        (status = 200, description = "`{answers[{id, ok, state?, code?, error?}]}`", body = Object),
        super::openapi::MeshRefusals,
    ))]
pub(super) async fn fail(Extension(compute): Extension<Compute>, report: Report) -> Result<Json<Value>, Problem> {
    report.heard(Word::Fail, &compute).await
}

/// A worker says how far it is, and what there is to say; its lease is renewed by that.
#[utoipa::path(post, path = "/mesh/compute/{id}/progress", tag = "network",
    params(("id" = String, Path, description = "The task")),
    request_body(content = Object, description = "`{token, fraction?, line?, lines?}`"),
    responses(
        (status = 200, description = "`{id, ok, lease_until?, cancel?, code?, error?}`", body = Object),
        super::openapi::MeshRefusals,
    ))]
pub(super) async fn progress(
    Path(id): Path<String>,
    Extension(compute): Extension<Compute>,
    report: Report,
) -> Result<Json<Value>, Problem> {
    report.heard(Word::Progress(task_of(&id)?), &compute).await
}

fn task_of(id: &str) -> Result<TaskId, Problem> {
    id.parse().map_err(|_| Problem::bad_request("the id of a task is a UUID"))
}

fn written(answer: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}

fn code(refused: NotTaken) -> Code {
    match refused {
        NotTaken::Conflict { .. } => Code::Conflict,
        NotTaken::Full | NotTaken::TooManyLanes => Code::Unavailable,
        NotTaken::Bad(_) => Code::BadRequest,
    }
}

impl From<NotDone> for Problem {
    fn from(error: NotDone) -> Self {
        let detail = error.to_string();
        match error {
            NotDone::Body(BadBody::TooLarge | BadBody::Task(BadTask::TooLarge(_)))
            | NotDone::Queue(QueueError::Bad(BadTask::TooLarge(_))) => Self::too_large(&detail),
            NotDone::Body(BadBody::Form { .. }) => Self::bad_request(&detail),
            NotDone::Body(_) | NotDone::Queue(QueueError::Bad(_)) | NotDone::Unwanted { .. } => {
                Self::unprocessable(&detail)
            }
            NotDone::Refused(Refused::Unknown) => Self::new(StatusCode::NOT_FOUND, Code::BadRequest, &detail),
            NotDone::Refused(_) | NotDone::NotOver(_) => Self::new(StatusCode::CONFLICT, Code::Conflict, &detail),
            NotDone::NotTaken(refused) => match code(refused) {
                Code::Conflict => Self::new(StatusCode::CONFLICT, Code::Conflict, &detail),
                Code::Unavailable => Self::unavailable(&detail, WHEN_ILL),
                _ => Self::unprocessable(&detail),
            },
            NotDone::Queue(error) => {
                // What the database says may name its place.
                tracing::warn!(%error, "the queue of tasks does not answer");
                Self::unavailable("the queue of tasks does not answer now", WHEN_ILL)
            }
            NotDone::Crowded(Crowded::OfOne) => Self::rate_limited(&detail, WHEN_CROWDED),
            NotDone::Crowded(Crowded::OfAll) => Self::unavailable(&detail, WHEN_CROWDED),
            NotDone::Away { .. } => Self::unavailable(&detail, WHEN_ILL),
        }
    }
}
