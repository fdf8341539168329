//! Signed requests to other origins, and their answers: what is not signed by the origin that was asked proves nothing.
//! See "Signed requests" in `protocols/federation.md`.

mod streamed;

use super::http::{Answer, Unanswered};
use super::origins::{Known, Origins, Unknown};
use crate::driver::Handle;
use axum::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use bytes::Bytes;
use comity_core::federation::Origin;
use comity_core::time::Timestamp;
use comity_core::wire::federation::authorization::{Authorization, BadAnswer, ContentHash, HEADER, Request};
use comity_core::wire::strict;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer may take.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Largest answer, bytes: a page of events, or what a tool gave.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// Why there is no answer that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The other origin is not known, or shows another key.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// It is not asked: this node does not deal with it.
    #[error("{0} is blocked here (federation.blocked)")]
    Blocked(Origin),
    /// Nobody answered.
    #[error("{origin}: {why}")]
    Unanswered {
        /// Who was asked.
        origin: Origin,
        /// What happened.
        why: Unanswered,
    },
    /// The answer is not signed by the origin that was asked.
    #[error("the answer of {origin} proves nothing: {why} (HTTP status {status})")]
    Unproven {
        /// Who was asked.
        origin: Origin,
        /// Its status.
        status: u16,
        /// Why not.
        why: String,
    },
    /// It refused.
    #[error("{origin} refuses: {detail} ({code})")]
    Refused {
        /// Who.
        origin: Origin,
        /// The HTTP status.
        status: u16,
        /// Why, for programs.
        code: String,
        /// Why, for people.
        detail: String,
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// The answer says something else than it should.
    #[error("{origin} answers something else: {why}")]
    Unreadable {
        /// Who.
        origin: Origin,
        /// What.
        why: String,
    },
}

impl Failure {
    /// Whether the other origin judged the request, and will not judge it otherwise.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Refused { status: 400 | 403 | 404 | 409 | 410 | 413 | 415 | 422, .. })
    }

    /// Whether less at once may do: one side may not have been able to read all of it.
    pub(crate) fn may_be_too_much(&self) -> bool {
        matches!(
            self,
            Self::Unreadable { .. }
                | Self::Unanswered { why: Unanswered::TooLarge(_), .. }
                | Self::Refused { status: 400 | 413 | 422, .. }
                | Self::Unproven { status: 413, .. }
        )
    }

    /// Whether it may be because of one of many that were asked about at once.
    pub(crate) fn may_be_of_one(&self) -> bool {
        self.may_be_too_much() || matches!(self, Self::Refused { status: 403 | 404 | 410 | 500..=599, .. })
    }

    /// Whether the other origin does not let this one know.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Refused { status: 403 | 410, .. })
    }

    /// Whether the other origin does not know the question, which not all others have.
    pub(crate) fn is_unknown_there(&self) -> bool {
        matches!(self, Self::Refused { status: 404 | 405, .. } | Self::Unproven { status: 404 | 405, .. })
    }

    /// When it may be tried again, if the other side said so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Asks other origins in the name of this one. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Client {
    me: Origin,
    /// Who is asked nothing, and sent nothing.
    blocked: Arc<[Origin]>,
    handle: Handle,
    origins: Origins,
}

impl Client {
    /// In the name of this origin.
    pub(crate) fn new((me, blocked): (Origin, &[Origin]), handle: Handle, origins: Origins) -> Self {
        Self { me, blocked: blocked.into(), handle, origins }
    }

    /// Whether this node does not deal with an origin.
    pub(crate) fn is_blocked(&self, origin: &Origin) -> bool {
        self.blocked.contains(origin)
    }

    /// What another origin answers to a question.
    pub(crate) async fn get<T: DeserializeOwned>(&self, to: &Origin, path: &str) -> Result<T, Failure> {
        Ok(self.get_at(to, path).await?.0)
    }

    /// The same, and when the other origin signed its answer.
    pub(crate) async fn get_at<T: DeserializeOwned>(&self, to: &Origin, path: &str) -> Result<(T, Timestamp), Failure> {
        let (body, at) = self.ask(to, (Method::GET, path), Bytes::new(), ANSWER_TIME).await?;
        Ok((read(to, &body)?, at))
    }

    /// What another origin answers to a document.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        to: &Origin,
        (method, path): (Method, &str),
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        Ok(self.post_at(to, (method, path), body).await?.0)
    }

    /// The same, and when the other origin signed its answer.
    pub(crate) async fn post_at<T: DeserializeOwned>(
        &self,
        to: &Origin,
        (method, path): (Method, &str),
        body: &impl Serialize,
    ) -> Result<(T, Timestamp), Failure> {
        let body = serde_json::to_vec(body).expect("texts and numbers are JSON");
        let (body, at) = self.ask(to, (method, path), body.into(), ANSWER_TIME).await?;
        Ok((read(to, &body)?, at))
    }

    /// One signed request; the body of a signed answer, if it is a good one, and when it was signed.
    pub(crate) async fn ask(
        &self,
        to: &Origin,
        (method, path): (Method, &str),
        body: Bytes,
        within: Duration,
    ) -> Result<(Bytes, Timestamp), Failure> {
        let (asked, headers) = self.sign(to, (method, path), &body).await?;
        let target = (asked.method.clone(), asked.uri.clone());
        let answer = self.origins.http().request(target, headers, body, (within, ANSWER_MAX)).await;
        let answer = answer.map_err(|why| Failure::Unanswered { origin: to.clone(), why })?;
        self.judge(&asked, answer).await
    }

    /// Signs a request: what it was, and its headers.
    async fn sign(
        &self,
        to: &Origin,
        (method, path): (Method, &str),
        body: &Bytes,
    ) -> Result<(Asked, HeaderMap), Failure> {
        if self.is_blocked(to) {
            return Err(Failure::Blocked(to.clone()));
        }
        let known = self.origins.find(to).await?;
        let target = known.endpoint.target(path);
        let uri = uri_of(to, &known, &target)?;
        let content = ContentHash::of(body);
        let request = Request { method: method.as_str(), uri: &target, content };
        let keys = self.handle.me().keys();
        let signed = Authorization::sign(keys, (&self.me, to), request, (self.handle.now().wall, rand::random()));
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(HEADER, header(&signed));
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok((Asked { to: to.clone(), method, uri, target, content, signed }, headers))
    }

    /// What an answer comes to that is here as a whole.
    async fn judge(&self, asked: &Asked, answer: Answer) -> Result<(Bytes, Timestamp), Failure> {
        let header = answer.headers.get(HEADER).and_then(|header| header.to_str().ok());
        let missing = || asked.unproven(answer.status, format!("{HEADER} is missing{}", said(&answer)));
        let header = header.ok_or_else(missing)?;
        let at = self.prove(asked, header, answer.status, ContentHash::of(&answer.body)).await?;
        if answer.status.is_success() { Ok((answer.body, at)) } else { Err(refused(&asked.to, &answer)) }
    }

    /// Checks that an answer is the other origin's, and to this request; when it was signed.
    async fn prove(
        &self,
        asked: &Asked,
        header: &str,
        status: StatusCode,
        content: ContentHash,
    ) -> Result<Timestamp, Failure> {
        let key = asked.signed.check_answer(header, asked.request(), status.as_u16(), content);
        let (key, at) = key.map_err(|bad: BadAnswer| asked.unproven(status, bad.to_string()))?;
        self.origins.check_key(&asked.to, &key, self.handle.now().wall, None).await?;
        Ok(at)
    }
}

/// A request that was signed.
struct Asked {
    to: Origin,
    method: Method,
    uri: Uri,
    /// The URI as it was signed.
    target: String,
    content: ContentHash,
    signed: Authorization,
}

impl Asked {
    fn request(&self) -> Request<'_> {
        Request { method: self.method.as_str(), uri: &self.target, content: self.content }
    }

    fn unproven(&self, status: StatusCode, why: String) -> Failure {
        Failure::Unproven { origin: self.to.clone(), status: status.as_u16(), why }
    }
}

/// What an unsigned refusal says, for people.
fn said(answer: &Answer) -> String {
    if answer.status == StatusCode::OK {
        return String::new();
    }
    let problem = strict::parse(&answer.body).unwrap_or_default();
    let detail = problem.get("detail").and_then(Value::as_str).unwrap_or_default();
    if detail.is_empty() { String::new() } else { format!("; it says {:?}", cut(detail)) }
}

fn refused(origin: &Origin, answer: &Answer) -> Failure {
    let problem = strict::parse(&answer.body).unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(Value::as_str).map(cut).unwrap_or_default();
    let seconds = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Failure::Refused {
        origin: origin.clone(),
        status: answer.status.as_u16(),
        code: text("code"),
        detail: text("detail"),
        retry_after: seconds.map(Duration::from_secs),
    }
}

/// What another origin wrote, as it is shown: short, and without control characters.
fn cut(text: &str) -> String {
    const LENGTH: usize = 256;
    crate::door::shown::text(text, LENGTH)
}

fn read<T: DeserializeOwned>(origin: &Origin, body: &[u8]) -> Result<T, Failure> {
    let unreadable = |why: String| Failure::Unreadable { origin: origin.clone(), why };
    let value = strict::parse(body).map_err(|bad| unreadable(bad.to_string()))?;
    serde_json::from_value(value).map_err(|bad| unreadable(bad.to_string()))
}

fn header(signed: &Authorization) -> HeaderValue {
    HeaderValue::try_from(signed.to_header()).expect("origins, keys and numbers are visible text")
}

/// The URL of a target at an origin's endpoint.
fn uri_of(origin: &Origin, known: &Known, target: &str) -> Result<Uri, Failure> {
    let base = known.endpoint.to_string();
    let host = base.find("://").and_then(|at| base[at + 3..].find('/').map(|slash| at + 3 + slash));
    let base = &base[..host.unwrap_or(base.len())];
    let bad = |_| Failure::Unreadable { origin: origin.clone(), why: "its endpoint is no URL".to_owned() };
    format!("{base}{target}").parse().map_err(bad)
}
