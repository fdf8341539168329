//! Every refusal of an HTTP door: a problem document (RFC 9457) with a stable `code`. It says what
//! is wrong to whoever asked; it never repeats a secret or a path of this machine.
//! See "Errors" in `protocols/identity.md`.

use super::shown;
use crate::driver::Handle;
use crate::redaction::labels;
use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use comity_core::identity::signature::BadSignature;
use comity_core::node::Refusal;
use comity_core::payload::BadPayload;
use comity_core::redact::Typed;
use comity_core::wire::json::{BadMessage, BadMessageReason};
use comity_core::wire::strict::BadJsonReason;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::time::Duration;
use utoipa::ToSchema;

/// The media type of a problem document.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The scheme of RFC 9110 under which a caller proves its key: a client certificate, or `sig`.
const PROOF_SCHEME: HeaderValue = HeaderValue::from_static("Comity");

/// Longest `detail`, and longest `pointer`, in characters: both may quote what the caller wrote.
const TEXT_MAX: usize = 256;

/// Largest problem document, bytes: two texts, and some names.
const DOCUMENT_MAX: usize = 16 * 1024;

/// How long to wait when something is full: about a commit of the store, or a digest's worth of
/// queues.
const WHEN_FULL: Duration = Duration::from_secs(1);

/// How long to wait when the disk is at fault: somebody must make room.
const WHEN_DISK: Duration = Duration::from_secs(30);

/// The stable names of what went wrong. The protocol has more; these occur at the doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// The request is not what it should be; `pointer` names the field.
    BadRequest,
    /// A proof of the sender's key is wanted, or the one given is wrong.
    BadSignature,
    /// Meant for somebody else.
    WrongDestination,
    /// Written in the future.
    ClockSkew,
    /// An origin shows another key than before, which the old one did not sign.
    KeyChanged,
    /// Received before.
    Replayed,
    /// Its time is over.
    Expired,
    /// More bytes than allowed.
    TooLarge,
    /// Too many, too fast.
    RateLimited,
    /// No such peer here.
    UnknownPeer,
    /// Nobody here listens to the channel.
    UnknownChannel,
    /// Not a member of the channel.
    NotMember,
    /// Not for this caller.
    Forbidden,
    /// It does not go together with what is there.
    Conflict,
    /// Not now.
    Unavailable,
}

impl Code {
    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BadSignature => "bad_signature",
            Self::WrongDestination => "wrong_destination",
            Self::ClockSkew => "clock_skew",
            Self::KeyChanged => "key_changed",
            Self::Replayed => "replayed",
            Self::Expired => "expired",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::UnknownPeer => "unknown_peer",
            Self::UnknownChannel => "unknown_channel",
            Self::NotMember => "not_member",
            Self::Forbidden => "forbidden",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The code of a refusal, which rides along with its response for whoever counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) &'static str);

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    code: Code,
    detail: String,
    pointer: Option<String>,
    retry_after: Option<Duration>,
}

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// `about:blank`: what `status` and `code` say is all there is to it.
    #[schema(example = "about:blank")]
    r#type: &'static str,
    #[serde(flatten)]
    fields: ProblemFields,
}

/// The fields of a problem document that are not `type`, for answers that have their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ProblemFields {
    /// The phrase of the HTTP status.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What went wrong, for programs.
    code: Code,
    /// What went wrong, for people.
    detail: String,
    /// The field that is wrong, as a JSON pointer (RFC 6901) into the request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// When to try again, in seconds; as in the `Retry-After` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

/// Takes secrets out of problem documents: they may quote what the caller wrote.
pub(super) async fn redact(State(handle): State<Handle>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.headers().get(CONTENT_TYPE) != Some(&PROBLEM_JSON) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // Else it is none of ours, which are far smaller.
    let Ok(problem) = to_bytes(body, DOCUMENT_MAX).await else { return parts.status.into_response() };
    let Ok(value) = serde_json::from_slice::<Value>(&problem) else {
        return Response::from_parts(parts, problem.into());
    };
    let labels = || labels("problem", "", "");
    match handle.redaction().document(&value, &Typed::default(), labels, handle.now().wall) {
        Cow::Borrowed(_) => Response::from_parts(parts, problem.into()),
        Cow::Owned(clean) => {
            parts.headers.remove(CONTENT_LENGTH);
            Response::from_parts(parts, clean.to_string().into())
        }
    }
}

impl Problem {
    /// A problem; the detail is cleaned and cut, since it may quote the caller.
    pub(crate) fn new(status: StatusCode, code: Code, detail: &str) -> Self {
        Self { status, code, detail: shown::text(detail, TEXT_MAX), pointer: None, retry_after: None }
    }

    /// A request that is not what it should be.
    pub(crate) fn bad_request(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::BadRequest, detail)
    }

    /// The caller may not.
    pub(crate) fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, Code::Forbidden, detail)
    }

    /// The caller has to prove who it is.
    pub(crate) fn unproven(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Code::BadSignature, detail)
    }

    /// Not now.
    pub(crate) fn unavailable(detail: &str, retry_after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, detail).after(retry_after)
    }

    /// Too many, too fast.
    pub(crate) fn rate_limited(detail: &str, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, Code::RateLimited, detail).after(retry_after)
    }

    /// More bytes than allowed.
    pub(crate) fn too_large(detail: &str) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge, detail)
    }

    /// The body did not arrive in time.
    pub(crate) fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, Code::BadRequest, "the body did not arrive in time")
    }

    /// The answer to a path that does not exist.
    pub(crate) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::BadRequest, "there is nothing at this path")
    }

    /// The answer to a method that a path does not have; the router adds `Allow`.
    pub(crate) fn no_such_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::BadRequest, "this path does not have that method")
    }

    /// Well formed, and not what is wanted.
    pub(crate) fn unprocessable(detail: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::BadRequest, detail)
    }

    /// What the rules' refusal of a message is in HTTP. `proven`: whether a key was proven for it.
    pub(crate) fn of_refusal(refusal: &Refusal, proven: bool) -> Self {
        let (status, code) = match refusal {
            Refusal::NotAdmitted { .. } | Refusal::Forged if proven => (StatusCode::FORBIDDEN, Code::Forbidden),
            Refusal::NotAdmitted { .. } | Refusal::Forged => (StatusCode::UNAUTHORIZED, Code::BadSignature),
            Refusal::Expired => (StatusCode::GONE, Code::Expired),
            Refusal::FromTheFuture { .. } => (StatusCode::UNPROCESSABLE_ENTITY, Code::ClockSkew),
            Refusal::Duplicate => (StatusCode::CONFLICT, Code::Replayed),
            Refusal::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, Code::RateLimited),
            Refusal::UnknownChannel(_) => (StatusCode::NOT_FOUND, Code::UnknownChannel),
            Refusal::UnknownPeer(_) => (StatusCode::NOT_FOUND, Code::UnknownPeer),
            Refusal::WrongDestination => (StatusCode::MISDIRECTED_REQUEST, Code::WrongDestination),
            Refusal::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge),
            Refusal::NoKey | Refusal::Late | Refusal::Undelivered { .. } => (StatusCode::CONFLICT, Code::Conflict),
            Refusal::Unreachable
            | Refusal::Full { .. }
            | Refusal::Disk
            | Refusal::TimedOut { .. }
            | Refusal::NoAnswerer
            | Refusal::Leaving => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
        };
        let problem = Self::new(status, code, &refusal.to_string());
        match refusal {
            Refusal::RateLimited { retry_after } => problem.after(*retry_after),
            Refusal::Disk => problem.after(WHEN_DISK),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => problem.after(WHEN_FULL),
            Refusal::Forged => problem.at("/from".to_owned()),
            Refusal::WrongDestination => problem.at("/to".to_owned()),
            Refusal::UnknownChannel(_) => problem.at("/channel".to_owned()),
            Refusal::Expired | Refusal::FromTheFuture { .. } => problem.at("/timestamp".to_owned()),
            _ => problem,
        }
    }

    /// The same, naming the field.
    #[must_use]
    pub(crate) fn at(self, pointer: String) -> Self {
        Self { pointer: Some(shown::text(&pointer, TEXT_MAX)), ..self }
    }

    /// The same, saying when to try again.
    #[must_use]
    fn after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// What went wrong, for programs.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// What went wrong, for people.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// When to try again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The problem document.
    pub(crate) fn body(&self) -> ProblemBody {
        ProblemBody { r#type: "about:blank", fields: self.fields() }
    }

    /// The document without `type`.
    pub(crate) fn fields(&self) -> ProblemFields {
        ProblemFields {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail.clone(),
            pointer: self.pointer.clone(),
            retry_after: self.retry_after.map(seconds),
        }
    }

    /// An answer with this body and the headers of the problem.
    pub(crate) fn answer(&self, body: impl Serialize) -> Response {
        let mut response = (self.status, self.headers(), Json(body)).into_response();
        response.extensions_mut().insert(Refused(self.code.name()));
        response
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        match self.status {
            StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, PROOF_SCHEME)),
            StatusCode::UPGRADE_REQUIRED => drop(headers.insert(UPGRADE, HeaderValue::from_static("websocket"))),
            _ => {}
        }
        headers
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.answer(self.body())
    }
}

impl From<BadMessage> for Problem {
    fn from(bad: BadMessage) -> Self {
        let detail = bad.reason.to_string();
        let problem = match bad.reason {
            BadMessageReason::Json(BadJsonReason::TooLarge) | BadMessageReason::Payload(BadPayload::TooLarge) => {
                Self::too_large(&detail)
            }
            BadMessageReason::Json(_) => Self::bad_request(&detail),
            _ => Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::BadRequest, &detail),
        };
        problem.at(bad.pointer)
    }
}

impl From<BadSignature> for Problem {
    fn from(bad: BadSignature) -> Self {
        Self::unproven(&bad.to_string()).at("/sig".to_owned())
    }
}

/// Whole seconds, rounded up, at least one: `Retry-After` knows nothing finer.
pub(crate) fn seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}
