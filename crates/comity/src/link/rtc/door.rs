//! The HTTP side of signaling, in the shape of WHIP (RFC 9725): an offer is POSTed and answered, more
//! addresses and new offers are PATCHed to what the answer names, and DELETE ends it. All of it is
//! signed by the key that offers.

use super::route::{FRAGMENT, Route, SDP, headers};
use super::session::Order;
use super::{Declined, PATH};
use crate::link::{Caller, Cause, Links};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{patch, post};
use comity_core::wire::signal::{HEADER, Kind, SDP_MAX, Signal};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

/// How long a session may take to answer an offer of new paths.
const REOFFER_TIME: Duration = Duration::from_secs(3);

/// The routes of the network door by which connections are made.
pub(in crate::link) fn router(links: Links) -> Router {
    let resource = format!("{PATH}/{{session}}");
    Router::new()
        .route(PATH, post(offer))
        .route(&resource, patch(change).delete(end))
        .layer(DefaultBodyLimit::max(SDP_MAX))
        .with_state(links)
}

async fn offer(
    State(links): State<Links>,
    Extension(caller): Extension<Caller>,
    head: HeaderMap,
    body: Bytes,
) -> Response {
    let signal = match signal_of(&links, &head, &body, SDP) {
        Ok(signal) if signal.kind == Kind::Offer => signal,
        Ok(_) => return refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad_request", "an offer is wanted"),
        Err(refused) => return refused,
    };
    let (session, from, all) = (signal.session, caller.address.ip(), links.clone());
    // Not on this request's own task: the connection goes on when the request is over.
    let answer =
        links.0.tasks.spawn(async move { all.take_offer(signal, Route::Asked, Some(from)).await });
    let mut response = match answer.await {
        Ok(Ok(answer)) => answered(&links, StatusCode::CREATED, answer),
        Ok(Err(Declined::Yield)) => {
            return refusal(StatusCode::CONFLICT, "conflict", "this node's own offer to you goes first");
        }
        Ok(Err(Declined::Full)) => {
            let full = refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "too many connections are being made");
            return ([(header::RETRY_AFTER, "5")], full).into_response();
        }
        Ok(Err(Declined::Because(why))) => {
            links.refused(Cause::Signal);
            return refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad_request", &why);
        }
        Err(_) => return refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the node is leaving"),
    };
    if let Ok(at) = HeaderValue::try_from(format!("{PATH}/{session}")) {
        response.headers_mut().insert(header::LOCATION, at);
    }
    response
}

async fn change(State(links): State<Links>, Path(session): Path<Uuid>, head: HeaderMap, body: Bytes) -> Response {
    let kind = if is_of(&head, FRAGMENT) { FRAGMENT } else { SDP };
    let signal = match signal_of(&links, &head, &body, kind) {
        Ok(signal) => signal,
        Err(refused) => return refused,
    };
    let Some(orders) = links.0.rtc.orders(session, signal.from).filter(|_| signal.session == session) else {
        return refusal(StatusCode::NOT_FOUND, "unknown_peer", "there is no such connection with this key");
    };
    if signal.kind == Kind::Candidates {
        // Err: the session has ended.
        let _ = orders.send(Order::Signal(signal)).await;
        return StatusCode::NO_CONTENT.into_response();
    }
    let (reply, answer) = oneshot::channel();
    let _ = orders.send(Order::Reoffer(signal, Some(reply))).await;
    match timeout(REOFFER_TIME, answer).await {
        Ok(Ok(Ok(answer))) => answered(&links, StatusCode::OK, answer),
        _ => refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad_request", "the offer is none that can be answered"),
    }
}

async fn end(State(links): State<Links>, Path(session): Path<Uuid>, head: HeaderMap, body: Bytes) -> Response {
    let signal = match signal_of(&links, &head, &body, SDP) {
        Ok(signal) => signal,
        Err(refused) => return refused,
    };
    match links.0.rtc.orders(session, signal.from).filter(|_| signal.session == session && signal.kind == Kind::End) {
        Some(orders) => {
            // Err: the session has ended.
            let _ = orders.send(Order::Signal(signal)).await;
            StatusCode::OK.into_response()
        }
        None => refusal(StatusCode::NOT_FOUND, "unknown_peer", "there is no such connection with this key"),
    }
}

/// The signal of a request, if it is signed and for this node.
fn signal_of(links: &Links, head: &HeaderMap, body: &[u8], kind: &str) -> Result<Signal, Response> {
    if !is_of(head, kind) {
        let wanted = "application/sdp, or application/trickle-ice-sdpfrag for addresses, is wanted";
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request", wanted));
    }
    let handle = &links.0.handle;
    let sdp = std::str::from_utf8(body)
        .map_err(|_| refusal(StatusCode::BAD_REQUEST, "bad_request", "the description is not UTF-8"))?;
    let header = head.get(HEADER).and_then(|header| header.to_str().ok()).ok_or_else(|| {
        refusal(StatusCode::UNAUTHORIZED, "bad_signature", "an offer is signed, in the header comity-signal")
    })?;
    Signal::from_header(header, sdp, &handle.me().node(), handle.now().wall).map_err(|refused| {
        links.refused(Cause::Signal);
        refusal(StatusCode::UNAUTHORIZED, "bad_signature", &refused.to_string())
    })
}

fn is_of(head: &HeaderMap, kind: &str) -> bool {
    let given = head.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    given.split(';').next().is_some_and(|given| given.trim().eq_ignore_ascii_case(kind))
}

fn answered(links: &Links, status: StatusCode, answer: Signal) -> Response {
    let head = headers(answer.to_header(links.0.handle.me().keys()), SDP);
    (status, head, answer.sdp).into_response()
}

fn refusal(status: StatusCode, code: &'static str, detail: &str) -> Response {
    let body = serde_json::json!({ "status": status.as_u16(), "code": code, "detail": detail }).to_string();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}
