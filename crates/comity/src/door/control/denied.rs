//! Why the control door refuses, as `application/problem+json`. See "Errors" in
//! `protocols/identity.md`.

use crate::door::problem::{Problem, Refused, seconds};
use crate::network::TopicError;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use comity_core::channel::{BadChannel, Channel};
use comity_core::node::{Answer, Refusal};
use comity_core::payload::BadPayload;
use serde_json::json;
use std::time::Duration;

/// A refusal: a status, a stable code, and a sentence that names what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    pub(crate) pointer: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

impl Denied {
    /// A refusal with this sentence.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), pointer: None, retry_after: None }
    }

    /// A field of the request is wrong; `pointer` is its JSON pointer.
    pub(crate) fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let pointer = Some(pointer.into());
        Self { pointer, ..Self::new(StatusCode::BAD_REQUEST, "bad_request", detail) }
    }

    /// There is no such path.
    pub(crate) fn nothing_here() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "the control door has nothing at this path")
    }

    /// The peer is not in the peer book.
    pub(crate) fn unknown_peer(named: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_peer", format!("no peer {named} is known here"))
    }

    /// The rules answered something that does not belong to the question.
    pub(crate) fn unexpected(answer: Answer) -> Self {
        match answer {
            Answer::Refused(refusal) => refusal.into(),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the node answered another question"),
        }
    }
}

impl From<TopicError> for Denied {
    fn from(error: TopicError) -> Self {
        let sentence = error.to_string();
        match error {
            TopicError::Name(_) => Self::field("/topic", sentence),
            TopicError::NotKept(refusal) => Self { detail: sentence, ..refusal.into() },
            TopicError::TooMany | TopicError::NotJoined(_) | TopicError::NoRole => {
                Self::new(StatusCode::CONFLICT, "conflict", sentence)
            }
            TopicError::Message(_) | TopicError::NotRaw { .. } => Self::field("/payload", sentence),
            TopicError::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", sentence),
            TopicError::Nobody(_) | TopicError::Link(_) | TopicError::NotJournaled(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", sentence)
            }
        }
    }
}

impl From<Refusal> for Denied {
    /// As at the network door, but for what only askers of this node meet.
    fn from(refusal: Refusal) -> Self {
        let (status, code, retry_after) = match &refusal {
            Refusal::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, "timed_out", None),
            Refusal::NoAnswerer => (StatusCode::NOT_FOUND, "no_answerer", None),
            other => {
                let problem = Problem::of_refusal(other, true);
                (problem.status(), problem.code().name(), problem.retry_after())
            }
        };
        Self { retry_after, ..Self::new(status, code, refusal.to_string()) }
    }
}

impl From<BadPayload> for Denied {
    fn from(bad: BadPayload) -> Self {
        match bad {
            BadPayload::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", bad.to_string()),
            BadPayload::Malformed(_) => Self::field("/payload", bad.to_string()),
        }
    }
}

/// A channel's name from a request.
pub(crate) fn channel(name: &str) -> Result<Channel, Denied> {
    Channel::new(name).map_err(|bad: BadChannel| Denied::field("/channel", bad.to_string()))
}

impl IntoResponse for Denied {
    fn into_response(self) -> axum::response::Response {
        let title = self.status.canonical_reason().unwrap_or("refused");
        let mut problem = json!({
            "type": "about:blank", "title": title, "status": self.status.as_u16(), "code": self.code, "detail": self.detail,
        });
        if let Some(pointer) = self.pointer {
            problem["pointer"] = pointer.into();
        }
        let mut response = Response::new(axum::body::Body::from(problem.to_string()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        response.extensions_mut().insert(Refused(self.code));
        response
    }
}
