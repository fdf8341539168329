//! The journal at the network door: its head for whoever proves a key, so that a tail that is cut off is noticed, and
//! its entries for the peers that this node knows. See "Journal" in `protocols/pubsub.md`, and `docs/journal.md`.

use super::problem::{Code, Problem};
use super::{Door, Visit};
use crate::store::journal::{Journal, JournalError};
use axum::Json;
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use comity_core::wire::journal as wire;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use utoipa::ToSchema;

/// Bytes of entries in one answer, at most, unless one entry alone is more.
const PIECE: usize = 1024 * 1024;

/// The longest that somebody may wait for news, seconds: less than what proxies cut.
const WAIT_MAX: u64 = 25;

/// How long to wait when the journal cannot be read.
const WHEN_UNREADABLE: Duration = Duration::from_secs(30);

/// How far the journal goes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Head {
    /// The first entry that is kept.
    first: u64,
    /// The signed head, `{author, journal, root, signature, size}`; null while there is no entry.
    #[schema(value_type = Option<Object>)]
    head: Option<Value>,
}

/// What is news.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct News {
    /// Answer once there are more entries than so many; default: at once.
    after: Option<u64>,
    /// Or after so many seconds, at most 25.
    wait: Option<u64>,
}

/// Where to begin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    /// The first entry that is wanted.
    from: u64,
}

/// Of which sizes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Growth {
    /// The size of the older head.
    from: u64,
    /// The size of the newer one.
    to: u64,
}

/// How far this node's journal goes, for whoever proves a key by TLS. It says nothing of what is in it.
#[utoipa::path(get, path = "/dashflow/journal", tag = "network", params(
    ("after" = Option<u64>, Query, description = "Answer once there are more entries than so many; default: at once"),
    ("wait" = Option<u64>, Query, description = "Or after so many seconds, at most 25"),
), responses(
    (status = 200, description = "The signed head", body = Head), super::openapi::VisitRefusals,
))]
pub(super) async fn head(
    State(door): State<Door>,
    visit: Visit,
    Extension(journal): Extension<Option<Journal>>,
    news: Result<Query<News>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Head>, Problem> {
    let Query(News { after, wait }) = news.map_err(|wrong| Problem::bad_request(&wrong.body_text()))?;
    if visit.source.key.is_none() {
        return Err(Problem::unproven("the head of the journal is for whoever proves a key by TLS"));
    }
    let journal = journal.ok_or_else(Problem::no_such_path)?;
    if let Some(after) = after {
        let mut growth = journal.growth();
        let news = door.handle().stop().run_until_cancelled(growth.wait_for(|size| *size > after));
        // Err: there are none.
        let _ = timeout(Duration::from_secs(wait.unwrap_or(0).min(WAIT_MAX)), news).await;
    }
    Ok(Json(Head { first: journal.range().start, head: journal.head().as_ref().map(wire::head_to_value) }))
}

/// Entries as JSON Lines, from one on, for peers that this node knows: a bounded piece, at least one. Where the first
/// that is wanted was dropped, the checkpoint stands before the first that is kept. Nothing: there is none yet.
#[utoipa::path(get, path = "/dashflow/journal/lines", tag = "network", params(
    ("from" = u64, Query, description = "The first entry that is wanted"),
), responses(
    (status = 200, description = "Lines as in docs/journal.md", body = String, content_type = "application/x-ndjson"),
    super::openapi::VisitRefusals,
))]
pub(super) async fn lines(
    visit: Visit,
    Extension(journal): Extension<Option<Journal>>,
    from: Result<Query<Begin>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Begin { from }) = from.map_err(|wrong| Problem::bad_request(&wrong.body_text()))?;
    let journal = open(&visit, journal)?;
    let piece = spawn_blocking(move || piece(&journal, from)).await.map_err(|_| unreadable())??;
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], piece).into_response())
}

/// What proves that the journal of one size goes on from that of another, for peers that this node knows.
#[utoipa::path(get, path = "/dashflow/journal/growth", tag = "network", params(
    ("from" = u64, Query, description = "The size of the older head"),
    ("to" = u64, Query, description = "The size of the newer one"),
), responses(
    (status = 200, description = "`{from, path, to}`, RFC 6962, section 2.1.2", body = Object),
    super::openapi::VisitRefusals,
))]
pub(super) async fn growth(
    visit: Visit,
    Extension(journal): Extension<Option<Journal>>,
    growth: Result<Query<Growth>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Growth { from, to }) = growth.map_err(|wrong| Problem::bad_request(&wrong.body_text()))?;
    let journal = open(&visit, journal)?;
    if from == 0 || from > to {
        return Err(Problem::bad_request("`from` is to be at least 1 and at most `to`"));
    }
    let proof = spawn_blocking(move || journal.prove_growth(from, to)).await.map_err(|_| unreadable())??;
    Ok(Json(wire::consistency_to_value(&proof)))
}

/// The journal, for those who may read it.
fn open(visit: &Visit, journal: Option<Journal>) -> Result<Journal, Problem> {
    if visit.source.key.is_none() {
        return Err(Problem::unproven("the journal is for peers that prove their key by TLS and that this node knows"));
    }
    if !visit.is_known() {
        return Err(Problem::forbidden("the journal is for peers that this node knows"));
    }
    journal.ok_or_else(Problem::no_such_path)
}

/// The lines from an entry on, after the checkpoint if that entry was dropped.
fn piece(journal: &Journal, from: u64) -> Result<Vec<u8>, JournalError> {
    let there = journal.range();
    if from >= there.end {
        return Ok(Vec::new());
    }
    let mut piece = Vec::new();
    if from < there.start
        && let Some(checkpoint) = journal.checkpoint()?
    {
        piece.extend(checkpoint);
        piece.push(b'\n');
    }
    piece.extend(journal.lines(from.max(there.start), PIECE)?.lines);
    Ok(piece)
}

fn unreadable() -> Problem {
    Problem::unavailable("the journal cannot be read now", WHEN_UNREADABLE)
}

impl From<JournalError> for Problem {
    /// Without paths: it goes over the network.
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Beyond { size } => {
                Self::new(StatusCode::CONFLICT, Code::Conflict, &format!("the journal has {size} entries"))
            }
            JournalError::Dropped { first } => {
                Self::new(StatusCode::CONFLICT, Code::Conflict, &format!("entries before {first} were dropped"))
            }
            _ => unreadable(),
        }
    }
}
