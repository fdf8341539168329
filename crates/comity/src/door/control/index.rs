//! The index and searches as the control door offers them.

use super::denied::Denied;
use super::desk::Desk;
use super::read::{Body, LongBody, Params};
use super::{Reply, path};
use crate::search::encoding::NotEncoded;
use crate::search::{IndexError, Mesh, NotAsked, NotIndexed, standing};
use crate::store::documents::Standing;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use comity_core::wire::control;
use comity_core::wire::mesh::document::{self, BadDocument, Content, Document};
use comity_core::wire::mesh::form::BadForm;
use comity_core::wire::mesh::query::Query;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// Largest body of documents, bytes: a few with the longest texts, or a thousand of the usual ones.
const DOCUMENTS_BYTES: usize = 16 * 1024 * 1024;

/// Documents, ids or URLs in one request.
const DOCUMENTS_MAX: usize = 1000;

/// Documents in one list when nobody says.
const LISTED: usize = 100;

/// How long to wait when the disk is at fault: somebody must make room.
const WHEN_DISK: Duration = Duration::from_secs(30);

/// The paths of the index.
pub(super) fn routes() -> Router<Desk> {
    let documents = get(list).post(add).delete(remove).layer(DefaultBodyLimit::max(DOCUMENTS_BYTES));
    Router::new()
        .route(path::INDEX, documents)
        .route(path::INDEX_FILES, post(files))
        .route(path::INDEX_STATS, get(stats))
        .route(path::SEARCH, post(search))
        .route(path::MESH_QUERY, post(query))
        .route(path::BASINS, post(basins).layer(DefaultBodyLimit::max(DOCUMENTS_BYTES)))
        .route(path::BASIN, delete(basin))
}

async fn add(State(desk): State<Desk>, LongBody(wanted): LongBody<control::NewDocuments>) -> Reply<control::Indexed> {
    at_most(wanted.documents.len(), "/documents")?;
    Ok(Json(mesh(&desk)?.add(wanted.documents).await?))
}

async fn remove(State(desk): State<Desk>, Body(wanted): Body<control::Unindex>) -> Reply<control::Unindexed> {
    at_most(wanted.doc_ids.len(), "/doc_ids")?;
    let mesh = mesh(&desk)?;
    if wanted.doc_ids.is_empty() && wanted.url_prefix.as_deref().unwrap_or_default().is_empty() {
        return Err(Denied::field("/doc_ids", "ids are wanted, or what URLs begin with"));
    }
    let mut ids = Vec::with_capacity(wanted.doc_ids.len());
    for (at, id) in wanted.doc_ids.iter().enumerate() {
        let bad = |bad: comity_core::basin::NotADocId| Denied::field(format!("/doc_ids/{at}"), bad.to_string());
        ids.push(id.parse().map_err(bad)?);
    }
    let mut removed = mesh.remove(ids).await?;
    if let Some(prefix) = wanted.url_prefix.filter(|prefix| !prefix.is_empty()) {
        removed += mesh.remove_below(&prefix).await?;
    }
    Ok(Json(control::Unindexed { removed }))
}

async fn files(State(desk): State<Desk>, Body(wanted): Body<control::Files>) -> Reply<control::KnownFiles> {
    at_most(wanted.urls.len(), "/urls")?;
    Ok(Json(control::KnownFiles { files: mesh(&desk)?.index().files(&wanted.urls).await? }))
}

/// Which documents.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    prefix: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
    all: Option<bool>,
}

async fn list(State(desk): State<Desk>, Params(which): Params<Which>) -> Reply<control::Documents> {
    let limit = which.limit.unwrap_or(LISTED).clamp(1, DOCUMENTS_MAX);
    let prefix = which.prefix.unwrap_or_default();
    let after = which.after.as_deref().map_or_else(|| Some(Standing::default()), standing);
    let after = after.ok_or_else(|| Denied::field("/after", "what a list said as `next` is wanted"))?;
    Ok(Json(mesh(&desk)?.list((&prefix, &after), which.all.unwrap_or(false), limit).await?))
}

async fn stats(State(desk): State<Desk>) -> Reply<control::IndexStats> {
    Ok(Json(mesh(&desk)?.stats().await?))
}

async fn search(State(desk): State<Desk>, Body(wanted): Body<control::Search>) -> Reply<Value> {
    Ok(Json(mesh(&desk)?.search(wanted).await?.to_value()))
}

/// What [`search`] does, for programs that were made for the mesh.
async fn query(State(desk): State<Desk>, body: Bytes) -> Reply<Value> {
    let query = Query::read(&body).map_err(bad_form)?;
    Ok(Json(mesh(&desk)?.search_by(query).await?.to_value()))
}

/// What [`add`] does, for programs that were made for the mesh: one document, a list, or one in each line.
async fn basins(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Reply<control::Indexed> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let read = if content_type.starts_with("application/x-ndjson") {
        let lines = body.split(|byte| *byte == b'\n').enumerate();
        lines.filter_map(|(at, line)| document::read_line(at, line).transpose()).collect()
    } else {
        document::read_batch(&body).map_err(bad_form)?
    };
    at_most(read.len(), "")?;
    let (mut documents, mut places, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for (place, one) in (0..).zip(read) {
        match one {
            Ok(one) => {
                places.push(place);
                documents.push(brought(one));
            }
            Err(BadDocument { form, .. }) => {
                let (field, why) = (form.field.to_owned(), form.to_string());
                refused.push(control::RefusedDocument { document: place, field, why });
            }
        }
    }
    let mut indexed = mesh(&desk)?.add(documents).await?;
    for one in &mut indexed.refused {
        one.document = usize::try_from(one.document).ok().and_then(|at| places.get(at).copied()).unwrap_or_default();
    }
    indexed.refused.extend(refused);
    Ok(Json(indexed))
}

fn brought(document: Document) -> control::NewDocument {
    let Document { doc_id, url, title, content, metadata } = document;
    let (text, basin) = match content {
        Content::Text(text) => (Some(text), None),
        Content::Basin(numbers) => (None, Some(numbers)),
    };
    let doc_id = Some(doc_id.to_string());
    control::NewDocument { url, doc_id, title, text, basin, metadata: metadata.to_map(), file: None }
}

async fn basin(State(desk): State<Desk>, Path(doc_id): Path<String>) -> Reply<control::Unindexed> {
    let doc_id = doc_id.parse().map_err(|bad: comity_core::basin::NotADocId| Denied::field("", bad.to_string()))?;
    let removed = mesh(&desk)?.remove(vec![doc_id]).await?;
    if removed == 0 {
        return Err(Denied::new(StatusCode::NOT_FOUND, "not_found", "this node has no document of that id"));
    }
    Ok(Json(control::Unindexed { removed }))
}

fn bad_form(bad: BadForm) -> Denied {
    Denied::field(bad.pointer(), bad.to_string())
}

pub(crate) fn mesh(desk: &Desk) -> Result<&Mesh, Denied> {
    let off = || Denied::new(StatusCode::CONFLICT, "conflict", "the mesh is switched off here (mesh.enabled)");
    desk.surroundings.mesh.as_ref().ok_or_else(off)
}

fn at_most(count: usize, pointer: &str) -> Result<(), Denied> {
    if count <= DOCUMENTS_MAX {
        return Ok(());
    }
    Err(Denied::field(pointer, format!("at most {DOCUMENTS_MAX} are wanted in one request")))
}

impl From<IndexError> for Denied {
    fn from(error: IndexError) -> Self {
        let denied = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string());
        Self { retry_after: Some(WHEN_DISK), ..denied }
    }
}

impl From<NotAsked> for Denied {
    fn from(error: NotAsked) -> Self {
        match error {
            NotAsked::Field { pointer, why } => Self::field(pointer, why),
            NotAsked::Encoder(error) => unencoded(&error),
            NotAsked::Index(error) => error.into(),
        }
    }
}

impl From<NotIndexed> for Denied {
    fn from(error: NotIndexed) -> Self {
        match error {
            NotIndexed::Encoder(error) => unencoded(&error),
            NotIndexed::Index(error) => error.into(),
        }
    }
}

fn unencoded(error: &NotEncoded) -> Denied {
    Denied::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
}
