//! What other origins reach: the well-known document, and signed requests below `/federation/v1`. One middleware checks
//! every request and signs every answer; what is answered is in `federation/answering.rs`. See `protocols/federation.md`.

use super::Door;
use super::guards::Source;
use super::problem::{self, Code, Problem};
use super::streamed::{WAITING_MAX, answer};
use crate::federation::{Budget, Federation, NotAnswered, Refusal, Unknown};
use crate::store::federation::Direction;
use crate::tool;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, OriginalUri, Path, Query, Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use comity_core::federation::Origin;
use comity_core::time::Timestamp;
use comity_core::wire::federation::authorization::{
    Answer, Authorization, BadAuthorization, ContentHash, HEADER, Request as Signed,
};
use comity_core::wire::federation::body::{HeadsWanted, Invite, Membership, path};
use comity_core::wire::federation::{stream, well_known};
use comity_core::wire::strict;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How long others may keep the document: the time in which a change of key or place is not seen.
const DOCUMENT_KEPT: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// Largest answer that is signed, bytes.
const ANSWER_MAX: usize = 8 * 1024 * 1024;

/// Events in one answer when nobody says.
const EVENTS: u64 = 500;

/// Who asks, proven.
#[derive(Debug, Clone)]
struct Caller {
    origin: Origin,
    /// When it signed.
    at: Timestamp,
}

/// What other origins reach of this node.
pub(super) fn router(door: Door, federation: Federation, body_max: usize) -> Router {
    let signed = Router::new()
        .route(path::INVITE, post(invite))
        .route(path::JOIN, post(join))
        .route(path::LEAVE, post(leave))
        .route(path::REMOVE, post(remove))
        .route(path::SEND, put(send))
        .route(path::EVENTS, get(events))
        .route(path::MEMBERS, get(members))
        .route(path::DIGEST, get(digest))
        .route(path::HEADS, post(heads))
        .route(path::CALL, post(call))
        .route(path::CAPABILITIES, get(capabilities))
        .route(path::HEALTH, get(health))
        .layer(middleware::from_fn_with_state(federation.handle().clone(), problem::redact))
        .layer(middleware::from_fn_with_state((door, federation.clone(), body_max), check));
    let open = Router::new().route(well_known::PATH, get(document));
    signed.merge(open).with_state(federation)
}

async fn document(State(federation): State<Federation>) -> Response {
    ([(CACHE_CONTROL, DOCUMENT_KEPT)], Json(federation.well_known())).into_response()
}

/// Checks who asks, in the protocol's order, and signs the answer.
async fn check(
    State((door, federation, body_max)): State<(Door, Federation, usize)>,
    OriginalUri(uri): OriginalUri,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let caller = match parts.extensions.get() {
        Some(caller) => Source::of(caller, &parts.headers, &door.0.config.trusted_proxies),
        None => {
            return Problem::unavailable("the connection does not say who calls", Federation::AGAIN_AFTER)
                .into_response();
        }
    };
    let authorization = match read(&federation, &parts.headers, caller) {
        Ok(authorization) => authorization,
        Err(problem) => return problem.into_response(),
    };
    let Ok(body) = to_bytes(body, body_max).await else {
        return Problem::too_large("the body is too large, or broke off").into_response();
    };
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = format!("{}{target}", federation.config().public_base);
    let content = ContentHash::of(&body);
    let signed = Signed { method: parts.method.as_str(), uri: &target, content };
    let budget = match (&parts.method, parts.uri.path()) {
        (_, path::CALL | path::CAPABILITIES | path::HEALTH | path::INVITE) => Budget::Origin,
        _ => federation.budget_of(&authorization.origin),
    };
    let proven = federation.checks().prove(&authorization, signed, (caller.address, budget)).await;
    let method = parts.method.clone();
    let response = match proven {
        Err(refusal) => problem_of(&refusal).into_response(),
        Ok(()) => {
            federation.keep_key(&authorization.origin).await;
            parts.extensions.insert(Caller { origin: authorization.origin.clone(), at: authorization.at });
            parts.extensions.insert(content);
            parts.extensions.insert(Asked(Arc::new((authorization.clone(), method.clone(), target.clone(), content))));
            next.run(Request::from_parts(parts, Body::from(body))).await
        }
    };
    let signed = Signed { method: method.as_str(), uri: &target, content };
    if response.extensions().get::<SignsItself>().is_some() {
        return response;
    }
    sign(&federation, &authorization, signed, response).await
}

/// An answer that brings its signature at its end.
#[derive(Debug, Clone, Copy)]
struct SignsItself;

/// What an answer at the end of a stream is signed with.
#[derive(Clone)]
struct Asked(Arc<(Authorization, axum::http::Method, String, ContentHash)>);

impl Asked {
    /// The header of an answer with this content.
    fn sign(&self, federation: &Federation, content: ContentHash) -> String {
        let (authorization, method, uri, asked) = &*self.0;
        let request = Signed { method: method.as_str(), uri, content: *asked };
        let answer = Answer { status: StatusCode::OK.as_u16(), content, at: federation.handle().now().wall };
        authorization.sign_answer(federation.handle().me().keys(), federation.origin(), request, answer)
    }
}

/// The request's header, if it is for this origin and of now.
fn read(federation: &Federation, headers: &HeaderMap, source: Source) -> Result<Authorization, Problem> {
    let mut lines = headers.get_all(HEADER).iter();
    let header = match (lines.next(), lines.next()) {
        (None, _) => return Err(Problem::unproven(&format!("{HEADER} is missing"))),
        (Some(_), Some(_)) => return Err(Problem::bad_request(&format!("{HEADER} is there twice"))),
        (Some(header), None) => header,
    };
    let Ok(header) = header.to_str() else {
        return Err(Problem::bad_request(&format!("{HEADER} has letters that are not ASCII")));
    };
    federation.checks().read(header, source.address).map_err(|refusal| problem_of(&refusal))
}

/// Signs an answer: its status and its whole body.
async fn sign(
    federation: &Federation,
    authorization: &Authorization,
    request: Signed<'_>,
    response: Response,
) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, ANSWER_MAX).await else {
        return Problem::unavailable("the answer broke off", Federation::AGAIN_AFTER).into_response();
    };
    let answer =
        Answer { status: parts.status.as_u16(), content: ContentHash::of(&body), at: federation.handle().now().wall };
    let keys = federation.handle().me().keys();
    let header = authorization.sign_answer(keys, federation.origin(), request, answer);
    if let Ok(header) = HeaderValue::try_from(header) {
        parts.headers.insert(HEADER, header);
    }
    Response::from_parts(parts, Body::from(body))
}

fn problem_of(refusal: &Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::Header(BadAuthorization::Missing(_)) => Problem::unproven(&detail),
        Refusal::Header(_) => Problem::bad_request(&detail),
        Refusal::WrongDestination { .. } => {
            Problem::new(StatusCode::MISDIRECTED_REQUEST, Code::WrongDestination, &detail)
        }
        Refusal::Clock { .. } => Problem::new(StatusCode::UNAUTHORIZED, Code::ClockSkew, &detail),
        Refusal::TooMany { retry_after } => Problem::rate_limited(&detail, *retry_after),
        Refusal::Unknown(Unknown::KeyChanged(_)) => Problem::new(StatusCode::UNAUTHORIZED, Code::KeyChanged, &detail),
        Refusal::Unknown(Unknown::TooMany) => Problem::rate_limited(&detail, Federation::AGAIN_AFTER),
        Refusal::Unknown(_) | Refusal::Signature => Problem::unproven(&detail),
        Refusal::Replayed => Problem::new(StatusCode::UNAUTHORIZED, Code::Replayed, &detail),
        Refusal::Full => Problem::unavailable(&detail, Federation::AGAIN_AFTER),
        Refusal::Blocked => Problem::forbidden(&detail),
    }
}

impl From<NotAnswered> for Problem {
    fn from(why: NotAnswered) -> Self {
        let detail = why.to_string();
        match why {
            NotAnswered::Bad { pointer, .. } if pointer.is_empty() => Self::bad_request(&detail),
            NotAnswered::Bad { pointer, .. } => Self::bad_request(&detail).at(pointer),
            NotAnswered::NotMember(_) => Self::new(StatusCode::FORBIDDEN, Code::NotMember, &detail),
            NotAnswered::Forbidden(_) => Self::forbidden(&detail),
            NotAnswered::Conflict => Self::new(StatusCode::CONFLICT, Code::Conflict, &detail),
            NotAnswered::TooMany { retry_after } => Self::rate_limited(&detail, retry_after),
            NotAnswered::Unavailable(_) | NotAnswered::Later(_) => Self::unavailable(&detail, Federation::AGAIN_AFTER),
        }
    }
}

/// The body as JSON, with no name twice and no deeper than a document may be.
fn parse(body: &Bytes) -> Result<Value, Problem> {
    strict::parse(body).map_err(|bad| Problem::bad_request(&bad.to_string()))
}

fn parsed<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_value(parse(body)?).map_err(|bad| Problem::bad_request(&bad.to_string()))
}

fn json(text: String) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

async fn send(
    State(federation): State<Federation>,
    Extension(caller): Extension<Caller>,
    Extension(content): Extension<ContentHash>,
    Path(txn): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let read = (parse(&body)?, content.0);
    Ok(json(federation.transaction((&caller.origin, caller.at), &txn, read).await?))
}

async fn join(federation: State<Federation>, caller: Extension<Caller>, body: Bytes) -> Result<Response, Problem> {
    membership(federation, caller, &body, 0).await
}

async fn leave(federation: State<Federation>, caller: Extension<Caller>, body: Bytes) -> Result<Response, Problem> {
    membership(federation, caller, &body, 1).await
}

async fn remove(federation: State<Federation>, caller: Extension<Caller>, body: Bytes) -> Result<Response, Problem> {
    membership(federation, caller, &body, 2).await
}

async fn membership(
    State(federation): State<Federation>,
    Extension(caller): Extension<Caller>,
    body: &Bytes,
    which: usize,
) -> Result<Response, Problem> {
    let wanted: Membership = parsed(body)?;
    let kind = crate::federation::kinds()[which];
    Ok(Json(federation.membership((&caller.origin, caller.at), wanted, kind).await?).into_response())
}

/// Which events.
#[derive(Debug, Deserialize)]
struct Wanted {
    after: Option<u64>,
    before: Option<u64>,
    limit: Option<u64>,
}

async fn events(
    State(federation): State<Federation>,
    Extension(caller): Extension<Caller>,
    Path(channel): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let direction = match (wanted.after, wanted.before) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("after or before is wanted, not both")),
        (None, Some(before)) => Direction::Before(before),
        (after, None) => Direction::After(after.unwrap_or(0)),
    };
    let limit = wanted.limit.unwrap_or(EVENTS);
    Ok(json(federation.page(&caller.origin, &channel, (direction, limit)).await?))
}

async fn members(
    State(federation): State<Federation>,
    Extension(caller): Extension<Caller>,
    Path(channel): Path<String>,
) -> Result<Response, Problem> {
    Ok(Json(federation.members(&caller.origin, &channel).await?).into_response())
}

/// Which part of a line.
#[derive(Debug, Deserialize)]
struct Part {
    after: u64,
    upto: u64,
}

async fn digest(
    State(federation): State<Federation>,
    Extension(caller): Extension<Caller>,
    Path(channel): Path<String>,
    Query(part): Query<Part>,
) -> Result<Response, Problem> {
    Ok(Json(federation.digest(&caller.origin, &channel, (part.after, part.upto)).await?).into_response())
}

async fn heads(
    State(federation): State<Federation>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Response, Problem> {
    let wanted: HeadsWanted = parsed(&body)?;
    Ok(Json(federation.heads((&caller.origin, caller.at), wanted).await?).into_response())
}

async fn invite(
    State(federation): State<Federation>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Response, Problem> {
    let wanted: Invite = parsed(&body)?;
    Ok(Json(federation.invite(&caller.origin, wanted).await?).into_response())
}

async fn call(
    State(federation): State<Federation>,
    Extension(caller): Extension<Caller>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    if caller.at < federation.handle().me().started_at() {
        let detail = "it was signed before this node started, and may have been run then: sign it again";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, Code::ClockSkew, detail));
    }
    let wanted = federation.wanted(&caller.origin, parsed(&body)?)?;
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains(stream::CONTENT_TYPE) {
        return Ok(streamed(&federation, asked, wanted));
    }
    Ok(Json(federation.called(wanted).await).into_response())
}

/// Answers a call event by event; the last one signs them all.
fn streamed(federation: &Federation, asked: Asked, call: tool::Call) -> Response {
    let federation = federation.clone();
    let handle = federation.handle().clone();
    let framing = (|event: Bytes| event, b":\n\n".as_slice());
    let produce = |events| events_of(federation, asked, call, events);
    let mut response = answer(&handle, stream::CONTENT_TYPE, framing, produce);
    response.extensions_mut().insert(SignsItself);
    response
}

async fn events_of(federation: Federation, asked: Asked, call: tool::Call, events: mpsc::Sender<Bytes>) {
    let (progress, mut said) = mpsc::channel::<Value>(WAITING_MAX);
    let calling = federation.called(tool::Call { progress: Some(progress), ..call });
    let telling = async {
        let mut chain = stream::Chain::default();
        while let Some(said) = said.recv().await {
            let said = said.to_string();
            chain.add(said.as_bytes());
            // Err: the caller is gone, and this ends with it.
            let _ = events.send(event(stream::PROGRESS, &said)).await;
        }
        chain
    };
    let (called, mut chain) = tokio::join!(calling, telling);
    let result = serde_json::to_string(&called).expect("texts and numbers are JSON");
    chain.add(result.as_bytes());
    let signature = asked.sign(&federation, chain.content());
    for event in [event(stream::RESULT, &result), event(stream::SIGNATURE, &signature)] {
        if events.send(event).await.is_err() {
            return;
        }
    }
}

fn event(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

async fn capabilities(State(federation): State<Federation>, Extension(caller): Extension<Caller>) -> Response {
    Json(federation.capabilities(&caller.origin)).into_response()
}

async fn health(State(federation): State<Federation>) -> Result<Response, Problem> {
    Ok(Json(federation.health().await?).into_response())
}
