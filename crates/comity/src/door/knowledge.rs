//! Knowledge at the network door: known peers, and at a coordinator nodes with an API key, hand over entries, ask for some,
//! and read all that is kept here, in its order. Who signed an entry is proven by its signature, whoever hands it over. See
//! the rows of knowledge in `protocols/mesh.md`.

use super::Door;
use super::mesh::Guest;
use super::problem::{Code, Problem};
use crate::search::{KnowledgeError, Mesh, NotTaken};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Extension, Query as Params};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use comity_core::wire::mesh::knowledge::{Batch, path, read_request};
use serde::Deserialize;
use std::time::Duration;

/// Largest entry that is read, bytes: the longest content, written with escapes, and the longest vector.
const ENTRY_BYTES: usize = 1024 * 1024;

/// How long to wait when the disk is at fault.
const WHEN_DISK: Duration = Duration::from_secs(30);

/// What peers reach of knowledge.
pub(super) fn router() -> Router<Door> {
    Router::new()
        .route(path::SHARE, post(share).layer(DefaultBodyLimit::max(ENTRY_BYTES)))
        .route(path::REQUEST, post(request))
        .route(path::REPLICATE, get(replicate))
}

/// An entry that a known peer hands over, or at a coordinator a node with an API key, its own or another node's. It is kept
/// when whoever it names (`source_node`; else whoever proves its key by TLS and hands it over) has signed it; of one id of
/// one signer, the newest counts. An API key proves no key: `source_node` is wanted then.
#[utoipa::path(post, path = "/mesh/knowledge/share", tag = "network",
    request_body(content = Object,
        description = "`{id, topic, topic_basin?, content, source?, confidence, created, sig, source_node?}`"),
    responses(
        (status = 200, description = "`{ok}`: it is safe, or was there", body = Object), super::openapi::MeshRefusals,
    ))]
pub(super) async fn share(
    guest: Guest,
    Extension(mesh): Extension<Mesh>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let giver = guest.giver()?;
    Ok(json(mesh.knowledge().take(giver, whole(body)?).await?))
}

/// What this node knows of a topic, or near a vector, the best first, for peers that this node knows, and at a coordinator
/// for nodes with an API key: of its own word, and of others'. Each entry is signed by the node that it names.
#[utoipa::path(post, path = "/mesh/knowledge/request", tag = "network",
    request_body(content = Object, description = "`{topic | topic_basin, limit?, min_confidence?}`"),
    responses(
        (status = 200, description = "`{knowledge}`", body = Object), super::openapi::MeshRefusals,
    ))]
pub(super) async fn request(
    _: Guest,
    Extension(mesh): Extension<Mesh>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let request = read_request(&whole(body)?)?;
    Ok(json(mesh.knowledge().answer(&request).await?))
}

/// Where to begin, and how many.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    /// A cursor as it was given; default: the beginning.
    cursor: Option<String>,
    /// Entries, 1 to 1,000; default 100.
    batch_size: Option<String>,
}

/// What this node knows, in the order in which it came, for peers that this node knows, and at a coordinator for nodes with
/// an API key. No entries: there are no more yet. A cursor of a log that is no more: 410.
#[utoipa::path(get, path = "/mesh/knowledge/replicate", tag = "network", params(
    ("cursor" = Option<String>, Query, description = "A cursor as it was given; default: the beginning"),
    ("batch_size" = Option<u64>, Query, description = "Entries, 1 to 1,000; default 100"),
), responses(
    (status = 200, description = "`{knowledge, next_cursor}`", body = Object), super::openapi::SyncRefusals,
))]
pub(super) async fn replicate(
    _: Guest,
    Extension(mesh): Extension<Mesh>,
    begin: Result<Params<Begin>, QueryRejection>,
) -> Result<Response, Problem> {
    let Params(Begin { cursor, batch_size }) = begin.map_err(|wrong| Problem::bad_request(&wrong.body_text()))?;
    let wanted = Batch::read(cursor.as_deref(), batch_size.as_deref());
    let wanted = wanted.map_err(|bad| Problem::bad_request(&bad.to_string()))?;
    let page = mesh.knowledge().page(&wanted).await?.map_err(|bad| Problem::bad_request(&bad.to_string()))?;
    page.map(json).ok_or_else(|| {
        let detail = "this cursor is of a log that is no more: start over, without one";
        Problem::new(StatusCode::GONE, Code::Expired, detail)
    })
}

/// A body that came whole.
fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large("the body is larger than an entry can be"),
        // Whoever broke the connection does not read this; whoever was too slow does.
        _ => Problem::slow_body(),
    })
}

fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

impl From<KnowledgeError> for Problem {
    fn from(error: KnowledgeError) -> Self {
        Self::unavailable(&error.to_string(), WHEN_DISK)
    }
}

impl From<NotTaken> for Problem {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Body(bad) => bad.into(),
            NotTaken::Signer => Self::unprocessable(&error.to_string()).at("/source_node".to_owned()),
            // The caller has proven who it is: it is the entry that proves nothing.
            NotTaken::Signature(bad) => Self::unprocessable(&bad.to_string()).at("/sig".to_owned()),
            NotTaken::Store(error) => error.into(),
        }
    }
}
