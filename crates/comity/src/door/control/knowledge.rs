//! What this node says to know, and what it asks others, as the control door offers it.

use super::denied::Denied;
use super::desk::Desk;
use super::index::mesh;
use super::read::Body;
use super::{Reply, path};
use crate::search::{KnowledgeError, NotSaid};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use comity_core::wire::control;
use std::time::Duration;

/// How long to wait when the disk is at fault: somebody must make room.
const WHEN_DISK: Duration = Duration::from_secs(30);

/// The paths of knowledge.
pub(super) fn routes() -> Router<Desk> {
    Router::new().route(path::KNOWLEDGE, post(say)).route(path::KNOWLEDGE_ASK, post(ask))
}

async fn say(State(desk): State<Desk>, Body(fact): Body<control::NewFact>) -> Reply<control::SharedFact> {
    Ok(Json(mesh(&desk)?.knowledge().say(fact).await?))
}

async fn ask(State(desk): State<Desk>, Body(wanted): Body<control::AskKnowledge>) -> Reply<control::Facts> {
    Ok(Json(mesh(&desk)?.knowledge().ask(wanted).await?))
}

impl From<NotSaid> for Denied {
    fn from(error: NotSaid) -> Self {
        let sentence = error.to_string();
        match error {
            NotSaid::Field { pointer, why } => Self::field(pointer, why),
            NotSaid::Older | NotSaid::Full => Self::new(StatusCode::CONFLICT, "conflict", sentence),
            NotSaid::Store(error) => error.into(),
        }
    }
}

impl From<KnowledgeError> for Denied {
    fn from(error: KnowledgeError) -> Self {
        let denied = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string());
        Self { retry_after: Some(WHEN_DISK), ..denied }
    }
}
