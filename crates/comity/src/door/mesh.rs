//! The mesh at the network door: questions to this node's index, and its changes, for the peers that this node knows, and
//! where it is a coordinator, for nodes with an API key. It answers from its own documents alone, but for a coordinator:
//! that answers for the nodes that are registered with it. What a client may ask of others it asks at the control door. See
//! `protocols/mesh.md`.

use super::knowledge;
use super::problem::{Code, Problem};
use super::registry::Knock;
use super::{Door, Visit};
use crate::registry::Registry;
use crate::search::{IndexError, Mesh, NotAsked, NotTold};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, FromRequestParts, Query as Params};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use comity_core::id::NodeId;
use comity_core::time::Now;
use comity_core::wire::mesh::form::{BadForm, Fault};
use comity_core::wire::mesh::query::Query;
use comity_core::wire::mesh::sync::{PAGE_BYTES_MAX, SyncQuery};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long to wait when the index cannot be read.
const WHEN_UNREADABLE: Duration = Duration::from_secs(30);

/// Whom the mesh is for.
const FOR_WHOM: &str = "the mesh is for peers that this node knows and that prove their key by TLS, and at a coordinator \
    for nodes with an API key";

/// Whom a broadcast is for.
const BROADCAST_FOR_WHOM: &str =
    "a broadcast is for peers that this node knows and that prove their key by TLS: an API key proves none";

/// What peers reach of the mesh.
pub(super) fn router(door: Door, mesh: Mesh, registry: Option<Registry>) -> axum::Router {
    axum::Router::new()
        .route("/mesh/query", post(query))
        .route("/mesh/sync", get(sync))
        .route("/mesh/basins/broadcast", post(broadcast).layer(DefaultBodyLimit::max(PAGE_BYTES_MAX)))
        .merge(knowledge::router())
        .with_state(door)
        .layer(Extension(mesh))
        .layer(Extension(registry))
}

/// Somebody who may read here: a peer that this node knows, the coordinator that it was told to register with, or where it
/// is a coordinator itself, a node with an API key.
pub(super) struct Guest {
    /// The key that it proved by TLS.
    key: Option<NodeId>,
    /// Whether this node knows that key.
    is_known: bool,
    /// Whether it has shown an API key.
    has_api_key: bool,
    /// The registry, where this node answers for all of its nodes.
    registry: Option<Registry>,
    now: Now,
}

impl FromRequestParts<Door> for Guest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        let now = door.handle().now();
        if let Some((knock, registry)) = Knock::by_api_key(parts, door).await? {
            knock.name(&registry)?;
            let (key, is_known) = knock.key();
            return Ok(Self { key, is_known, has_api_key: true, registry: Some(registry), now });
        }
        let registry = parts.extensions.get::<Option<Registry>>().cloned().flatten();
        let visit = Visit::from_request_parts(parts, door).await?;
        let key = visit.source.key;
        // A person named it, by its key, as the one by whom the nodes of a mesh share.
        let is_coordinator = key.is_some() && key == door.coordinator();
        if !is_coordinator {
            known(&visit, FOR_WHOM)?;
        }
        Ok(Self { key, is_known: visit.is_known(), has_api_key: false, registry, now })
    }
}

impl Guest {
    /// Lets in who may also hand something over, which the coordinator that this node registers with may not: the key that
    /// it proved, if it did.
    pub(super) fn giver(&self) -> Result<Option<NodeId>, Problem> {
        if self.is_known || self.has_api_key { Ok(self.key) } else { Err(Problem::forbidden(FOR_WHOM)) }
    }

    /// The key of somebody who reads what this node's own log has, where that is known: others are not told of changes.
    fn reader(&self) -> Option<NodeId> {
        self.key.filter(|_| self.is_known)
    }
}

/// The documents of this node that are nearest to a text or a vector, for peers that this node knows. Of other nodes that
/// `include_nodes` names the answer says that they are to be asked themselves. A coordinator asks the nodes that are
/// registered with it, at most 16 of them, where nobody is named; its nodes may ask it with their API keys.
#[utoipa::path(post, path = "/mesh/query", tag = "network",
    request_body(content = Object, description = "`{query | basin, limit?, include_nodes?, timeout_ms?, filter?}`"),
    responses(
        (status = 200, description = "`{results, nodes_queried, nodes_failed, total_time_ms, metric}`", body = Object),
        super::openapi::MeshRefusals,
    ))]
pub(super) async fn query(guest: Guest, Extension(mesh): Extension<Mesh>, body: Bytes) -> Result<Json<Value>, Problem> {
    let query = Query::read(&body)?;
    let answer = match &guest.registry {
        Some(registry) if query.include_nodes.is_empty() => {
            let routed = |numbers: &[f32], me| registry.routed(numbers, &[Some(me), guest.key], guest.now);
            mesh.relay(&query, routed).await?
        }
        _ => mesh.answer(&query).await?,
    };
    Ok(Json(answer.to_value()))
}

/// Where to begin, and how many.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    /// An RFC 3339 time, or a cursor as it was given; default: the beginning.
    since: Option<String>,
    /// Updates, 1 to 10,000; default 1,000.
    limit: Option<String>,
}

/// The changes of this node's index after a time or a cursor, in the order in which they were made, each document as it is
/// now, for peers that this node knows, and at a coordinator for nodes with an API key. No updates: there are none yet. A
/// cursor of a log that is no more: 410.
#[utoipa::path(get, path = "/mesh/sync", tag = "network", params(
    ("since" = Option<String>, Query, description = "An RFC 3339 time, or a cursor as it was given; default: the beginning"),
    ("limit" = Option<u64>, Query, description = "Updates, 1 to 10,000; default 1,000"),
), responses(
    (status = 200, description = "`{updates, next_cursor}`", body = Object), super::openapi::SyncRefusals,
))]
pub(super) async fn sync(
    guest: Guest,
    Extension(mesh): Extension<Mesh>,
    begin: Result<Params<Begin>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Params(Begin { since, limit }) = begin.map_err(|wrong| Problem::bad_request(&wrong.body_text()))?;
    let wanted =
        SyncQuery::read(since.as_deref(), limit.as_deref()).map_err(|bad| Problem::bad_request(&bad.to_string()))?;
    let page = mesh.page(wanted, guest.reader()).await?.ok_or_else(|| {
        let detail = "this cursor is of a log that is no more: start over, without one";
        Problem::new(StatusCode::GONE, Code::Expired, detail)
    })?;
    Ok(([(CONTENT_TYPE, "application/json")], page).into_response())
}

/// A known peer says that documents of its own have changed, with them or without. They are taken where this node keeps
/// copies of that peer's documents, and where the peer signed them; and its log is read soon. Only a key proved by TLS says
/// whose documents they are: an API key is not enough.
#[utoipa::path(post, path = "/mesh/basins/broadcast", tag = "network",
    request_body(content = Object, description = "An update as of `/mesh/sync`, a list of them, or `{updates}`"),
    responses(
        (status = 200, description = "`{taken, refused}`: how many updates", body = Object), super::openapi::MeshRefusals,
    ))]
pub(super) async fn broadcast(
    visit: Visit,
    Extension(mesh): Extension<Mesh>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let sender = known(&visit, BROADCAST_FOR_WHOM)?;
    let (taken, refused) = mesh.told(sender, body).await?;
    Ok(Json(json!({ "taken": taken, "refused": refused })))
}

/// Lets nobody in but known peers, and tells others whom this is for: the key that the peer proved.
pub(super) fn known(visit: &Visit, for_whom: &str) -> Result<NodeId, Problem> {
    let key = visit.source.key.ok_or_else(|| Problem::unproven(for_whom))?;
    if visit.is_known() { Ok(key) } else { Err(Problem::forbidden(for_whom)) }
}

impl From<BadForm> for Problem {
    fn from(bad: BadForm) -> Self {
        let detail = bad.to_string();
        let problem = match bad.fault {
            Fault::TooLarge { .. } if bad.field.is_empty() => Self::too_large(&detail),
            Fault::Syntax { .. } | Fault::NotText | Fault::Twice => Self::bad_request(&detail),
            _ => Self::unprocessable(&detail),
        };
        if bad.field.is_empty() { problem } else { problem.at(bad.pointer()) }
    }
}

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Self {
        Self::unavailable(&error.to_string(), WHEN_UNREADABLE)
    }
}

impl From<NotAsked> for Problem {
    fn from(error: NotAsked) -> Self {
        match error {
            NotAsked::Field { pointer, why } => Self::unprocessable(&why).at(pointer.to_owned()),
            NotAsked::Encoder(error) => {
                // What its server says is for this node's owner.
                tracing::warn!(%error, "a question of another node cannot be encoded");
                Self::unavailable("the encoder of this node does not answer", WHEN_UNREADABLE)
            }
            NotAsked::Index(error) => error.into(),
        }
    }
}

impl From<NotTold> for Problem {
    fn from(error: NotTold) -> Self {
        match error {
            NotTold::Form(bad) => bad.into(),
            NotTold::Index(error) => error.into(),
        }
    }
}
