//! The registry of a mesh at the network door, where this node is its coordinator: registrations, heartbeats, and who is
//! there, for nodes that show an API key or prove a key by TLS. Who may do what is decided behind it, in `registry/`; the
//! pace is that of each node, and only callers that prove nothing are counted by their address. See "Registry" in
//! `protocols/mesh.md`.

use super::Door;
use super::guards::Source;
use super::problem::{Code, Problem};
use crate::link::Caller;
use crate::registry::{Refused, Registry, Shown};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, FromRequestParts, Path, Query as Params};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use comity_core::id::NodeId;
use comity_core::registry::pace::TooSoon;
use comity_core::registry::{key, roster};
use comity_core::time::Now;
use comity_core::wire::mesh::reading::BadBody;
use comity_core::wire::mesh::registry::{self as wire, Page};
use comity_core::wire::strict::BadJsonReason;
use serde::Deserialize;
use std::time::Duration;

/// Largest registration or heartbeat, bytes: a signature and 16 centroids of 4,096 numbers fit.
const BODY_MAX: usize = 1024 * 1024;

/// How long to wait when the registry is full or its disk takes nothing: somebody must make room.
const WHEN_FULL: Duration = Duration::from_secs(30);

/// What nodes reach of the registry.
pub(super) fn router(door: Door, registry: Registry) -> axum::Router {
    axum::Router::new()
        .route("/mesh/register", post(register).layer(DefaultBodyLimit::max(BODY_MAX)))
        .route("/mesh/heartbeat", post(heartbeat).layer(DefaultBodyLimit::max(BODY_MAX)))
        .route("/mesh/nodes", get(nodes))
        .route("/mesh/nodes/{id}", get(node).delete(remove))
        .with_state(door)
        .layer(Extension(registry))
}

/// Somebody who asks the registry: what it shows, and from where it comes.
pub(super) struct Knock {
    shown: Shown,
    source: Source,
    door: Door,
    now: Now,
}

impl FromRequestParts<Door> for Knock {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        let source = Source::from_request_parts(parts, door).await?;
        let is_private = parts
            .extensions
            .get::<Caller>()
            .is_some_and(|caller| caller.tls || caller.address.ip().to_canonical().is_loopback());
        let mut written = parts.headers.get_all(AUTHORIZATION).iter();
        let authorization = match (written.next(), written.next()) {
            (None, _) => None,
            (Some(one), None) => Some(one.to_str().unwrap_or_default().to_owned()),
            (Some(_), Some(_)) => return Err(Problem::bad_request("there is more than one Authorization")),
        };
        let is_known = source.key.is_some_and(|key| door.handle().last_view().known.contains(&key));
        let shown = Shown { authorization, is_private, key: source.key, is_known };
        Ok(Self { shown, source, door: door.clone(), now: door.handle().now() })
    }
}

impl Knock {
    /// Somebody who shows an API key where this node is a coordinator, as `Option<Registry>` among the extensions says.
    /// Elsewhere none is known.
    pub(super) async fn by_api_key(parts: &mut Parts, door: &Door) -> Result<Option<(Self, Registry)>, Problem> {
        let registry = parts.extensions.get::<Option<Registry>>().cloned().flatten();
        let Some(registry) = registry.filter(|_| parts.headers.contains_key(AUTHORIZATION)) else { return Ok(None) };
        Ok(Some((Self::from_request_parts(parts, door).await?, registry)))
    }

    /// Lets in who may see who is registered: its name.
    pub(super) fn name(&self, registry: &Registry) -> Result<String, Problem> {
        let asker = registry.asker(&self.shown, self.now);
        self.answered(asker.and_then(|asker| asker.sees().map(|_| asker.name())))
    }

    /// The same for a worker, within the pace of workers.
    pub(super) fn worker(&self, registry: &Registry) -> Result<String, Problem> {
        let asker = registry.proved(&self.shown, self.now);
        let (holder, name) = self.answered(asker.and_then(|asker| Ok((asker.sees()?, asker.name()))))?;
        self.door.take_work_pace_as(holder, self.source)?;
        Ok(name)
    }

    /// Whether it would be let in still.
    pub(super) fn holds(&self, registry: &Registry) -> Result<(), Problem> {
        let asker = registry.proved(&self.shown, self.door.handle().now());
        self.answered(asker.and_then(|asker| asker.sees().map(drop)))
    }

    /// The key that it proved by TLS, and whether this node knows it.
    pub(super) fn key(&self) -> (Option<NodeId>, bool) {
        (self.source.key, self.shown.is_known)
    }

    /// What the registry answers, or what its refusal is at the door. Whoever proves nothing is counted by its address.
    fn answered<T>(&self, answer: Result<T, Refused>) -> Result<T, Problem> {
        answer.map_err(|why| {
            if matches!(why, Refused::Unproven(_) | Refused::NotTheirs(_))
                && let Err(too_soon) = self.door.take_pace(self.source)
            {
                return too_soon;
            }
            why.into()
        })
    }
}

fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// Registers a node, or takes what it says of itself now: with an enrolment token the first time, for which it gets an API
/// key, shown this once; or with an API key, or as a known node by its TLS key.
#[utoipa::path(post, path = "/mesh/register", tag = "network",
    request_body(content = Object, description = "`{node_id, service_name, endpoint, capabilities, basin_signature, \
        dim?, metric?, projection?, encoder?, centroids?, key?}`"),
    responses(
        (status = 200, description = "`{node_id, api_key?, heartbeat_interval_seconds, nodes}`", body = Object),
        super::openapi::RegistryRefusals,
    ))]
pub(super) async fn register(
    knock: Knock,
    Extension(registry): Extension<Registry>,
    body: Bytes,
) -> Result<Response, Problem> {
    let registered = registry.register(&knock.shown, &body, knock.now).await;
    Ok(json(knock.answered(registered)?.write()))
}

/// A registered node says that it is there, how full it is, and where its documents lie if that changed.
#[utoipa::path(post, path = "/mesh/heartbeat", tag = "network",
    request_body(content = Object, description = "`{node_id, load: {running, queued, cpu, memory}, basin_signature?, \
        centroids?}`"),
    responses(
        (status = 200, description = "`{ok, peers_changed_since?}`", body = Object),
        super::openapi::RegistryRefusals,
    ))]
pub(super) async fn heartbeat(
    knock: Knock,
    Extension(registry): Extension<Registry>,
    body: Bytes,
) -> Result<Response, Problem> {
    let since = knock.answered(registry.heartbeat(&knock.shown, &body, knock.now))?;
    Ok(json(wire::write_beaten(since)))
}

/// Which part of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// The nodes after this one.
    after: Option<String>,
    /// At most so many.
    limit: Option<String>,
}

/// The nodes that are not gone, by name.
#[utoipa::path(get, path = "/mesh/nodes", tag = "network", params(
    ("after" = Option<String>, Query, description = "The nodes after this one: `next` of the page before"),
    ("limit" = Option<u64>, Query, description = "Nodes, 1 to 500; default 500"),
), responses(
    (status = 200, description = "`{nodes, next?}`", body = Object), super::openapi::RegistryRefusals,
))]
pub(super) async fn nodes(
    knock: Knock,
    Extension(registry): Extension<Registry>,
    part: Result<Params<Part>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Params(Part { after, limit }) = part.map_err(|wrong| Problem::bad_request(&wrong.body_text()))?;
    let page = Page::read(after.as_deref(), limit.as_deref()).map_err(|bad| Problem::bad_request(&bad.to_string()))?;
    let (nodes, next) = knock.answered(registry.nodes(&knock.shown, &page, knock.now))?;
    Ok(json(wire::write_nodes(&nodes, next.as_ref())))
}

/// One node.
#[utoipa::path(get, path = "/mesh/nodes/{id}", tag = "network", params(
    ("id" = String, Path, description = "Its `node_id`"),
), responses(
    (status = 200, description = "A node, as in the list", body = Object), super::openapi::RegistryRefusals,
))]
pub(super) async fn node(
    knock: Knock,
    Extension(registry): Extension<Registry>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(json(knock.answered(registry.node(&knock.shown, &id, knock.now))?.write()))
}

/// A node leaves: it takes out itself, and no other. Its API key stays good.
#[utoipa::path(delete, path = "/mesh/nodes/{id}", tag = "network", params(
    ("id" = String, Path, description = "Its own `node_id`"),
), responses(
    (status = 200, description = "`{ok}`", body = Object), super::openapi::RegistryRefusals,
))]
pub(super) async fn remove(
    knock: Knock,
    Extension(registry): Extension<Registry>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    knock.answered(registry.remove(&knock.shown, &id, knock.now).await)?;
    Ok(json(wire::write_removed()))
}

impl Problem {
    fn of_roster(why: roster::Refused) -> Self {
        let detail = why.to_string();
        match why {
            roster::Refused::Bad(_) => Self::unprocessable(&detail).at(field_of(&detail)),
            roster::Refused::Differs(_) | roster::Refused::Held | roster::Refused::OtherKey => {
                Self::new(StatusCode::CONFLICT, Code::Conflict, &detail).at(field_of(&detail))
            }
            roster::Refused::NotItsKey => Self::forbidden(&detail).at(field_of(&detail)),
            roster::Refused::Full => Self::unavailable(&detail, WHEN_FULL),
            roster::Refused::Unknown => Self::new(StatusCode::NOT_FOUND, Code::UnknownPeer, &detail),
        }
    }
}

/// The field that the sentence begins with, as a pointer.
fn field_of(detail: &str) -> String {
    format!("/{}", detail.split(':').next().unwrap_or_default())
}

impl From<BadBody> for Problem {
    fn from(bad: BadBody) -> Self {
        let detail = bad.to_string();
        match bad {
            BadBody::Json(json) if json.reason == BadJsonReason::TooLarge => Self::too_large(&detail),
            BadBody::Json(json) => Self::bad_request(&detail).at(json.pointer),
            BadBody::TooLarge => Self::too_large(&detail),
            BadBody::TooMany { list, .. } => Self::unprocessable(&detail).at(format!("/{list}")),
            BadBody::Field { pointer, .. } => Self::unprocessable(&detail).at(pointer),
            BadBody::Registration(_) => Self::unprocessable(&detail).at(field_of(&detail)),
            BadBody::Knowledge(_) => Self::unprocessable(&detail),
        }
    }
}

impl From<Refused> for Problem {
    fn from(why: Refused) -> Self {
        let detail = why.to_string();
        match why {
            Refused::Unproven(_) => Self::unproven(&detail),
            Refused::NotTheirs(_) => Self::forbidden(&detail),
            Refused::Body(bad) => bad.into(),
            Refused::Roster(why) => Self::of_roster(why),
            Refused::Key(why) => match why {
                key::Refused::UnknownToken | key::Refused::Expired => Self::unproven(&detail),
                key::Refused::OtherNode => Self::forbidden(&detail),
                key::Refused::HasKey => {
                    Self::new(StatusCode::CONFLICT, Code::Conflict, &detail).at("/node_id".to_owned())
                }
                key::Refused::Full => Self::unavailable(&detail, WHEN_FULL),
            },
            Refused::Pace(TooSoon::Often { retry_after }) => Self::rate_limited(&detail, retry_after),
            Refused::Pace(TooSoon::Crowded { retry_after }) => Self::unavailable(&detail, retry_after),
            Refused::Disk | Refused::NoRandomness => Self::unavailable(&detail, WHEN_FULL),
            Refused::Bounds(_) => Self::unprocessable(&detail),
        }
    }
}
