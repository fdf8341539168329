//! How connections by WebRTC are asked for over HTTP, in the shape of WHIP (RFC 9725): an offer is
//! POSTed and answered, more addresses and new offers are PATCHed to the place that the answer
//! names, and DELETE ends it. All of it is signed, in the header `comity-signal`. See "WebRTC" in
//! `protocols/mqtt-discovery.md`.

use super::Door;
use super::guards::Source;
use super::openapi::SignalRefusals;
use super::problem::{Code, Problem};
use crate::link::{Declined, Links, OfferedBy, SIGNALING};
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use comity_core::node::Input;
use comity_core::wire::signal::{BadSignal, FRAGMENT, HEADER, Kind, SDP, Signal};
use std::time::Duration;

/// Whether offers come from the owner of the node, by the session of the control door, who stands for the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByOwner(pub(super) bool);

/// When to try again while too many connections are being made.
const FULL_FOR: Duration = Duration::from_secs(5);

/// Offers a connection.
#[utoipa::path(post, path = "/dashflow/rtc", tag = "network",
    request_body(content = String, content_type = "application/sdp", description = "The offer (RFC 8866)"),
    params(("comity-signal" = String, Header, description = "What is signed, JSON in base64url")),
    responses(
        (status = 201, description = "The answer; `Location` takes what comes later", body = String, content_type = "application/sdp"),
        SignalRefusals,
))]
pub(super) async fn offer(
    State(door): State<Door>,
    Extension(links): Extension<Links>,
    Extension(ByOwner(by_owner)): Extension<ByOwner>,
    source: Source,
    head: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let signal = signal_of(&door, source, &head, &body, &[SDP])?;
    if signal.kind != Kind::Offer {
        return Err(Problem::unprocessable("an offer is wanted"));
    }
    if by_owner {
        door.handle().inform(Input::Vouched { key: signal.from }).await;
    }
    let place = format!("{SIGNALING}/{}", signal.session);
    let by = if by_owner { OfferedBy::Owner } else { OfferedBy::Address(source.address) };
    let answer = links.offered(signal, by).await.map_err(declined)?;
    Ok((StatusCode::CREATED, [(LOCATION, place)], answered(&door, answer)).into_response())
}

/// Tells more addresses, or offers new paths.
#[utoipa::path(patch, path = "/dashflow/rtc/{session}", tag = "network",
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag",
        description = "Addresses (RFC 8840); as application/sdp an offer of new paths"),
    params(("session" = String, Path, format = Uuid), ("comity-signal" = String, Header, description = "What is signed, JSON in base64url")),
    responses(
        (status = 200, description = "The answer to an offer", body = String, content_type = "application/sdp"),
        (status = 204, description = "The addresses were taken"),
        SignalRefusals,
))]
pub(super) async fn change(
    State(door): State<Door>,
    Extension(links): Extension<Links>,
    source: Source,
    Path(session): Path<String>,
    head: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let signal = signal_of(&door, source, &head, &body, &[FRAGMENT, SDP])?;
    if !is_of(&signal, &session) || !matches!(signal.kind, Kind::Offer | Kind::Candidates) {
        return Err(Problem::unprocessable("addresses or an offer for this connection are wanted"));
    }
    match links.changed(signal).await.map_err(declined)? {
        Some(answer) => Ok(answered(&door, answer).into_response()),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// Ends a connection.
#[utoipa::path(delete, path = "/dashflow/rtc/{session}", tag = "network",
    params(("session" = String, Path, format = Uuid), ("comity-signal" = String, Header, description = "What is signed, JSON in base64url")),
    responses((status = 200, description = "It ends"), SignalRefusals))]
pub(super) async fn end(
    State(door): State<Door>,
    Extension(links): Extension<Links>,
    source: Source,
    Path(session): Path<String>,
    head: HeaderMap,
) -> Result<StatusCode, Problem> {
    let signal = read(&door, source, &head, &[])?;
    if !is_of(&signal, &session) || signal.kind != Kind::End {
        return Err(Problem::unprocessable("the end of this connection is wanted"));
    }
    links.changed(signal).await.map_err(declined)?;
    Ok(StatusCode::OK)
}

/// The signal of a request, of one of these types, within the pace of whoever calls.
fn signal_of(door: &Door, source: Source, head: &HeaderMap, body: &[u8], kinds: &[&str]) -> Result<Signal, Problem> {
    let given = head.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if !kinds.iter().any(|kind| given.eq_ignore_ascii_case(kind)) {
        let detail = format!("Content-Type: {} is wanted", kinds.join(" or "));
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::BadRequest, &detail));
    }
    read(door, source, head, body)
}

fn read(door: &Door, source: Source, head: &HeaderMap, body: &[u8]) -> Result<Signal, Problem> {
    let handle = door.handle();
    door.take_pace(source)?;
    let sdp = std::str::from_utf8(body).map_err(|_| Problem::bad_request("the description is not UTF-8"))?;
    let header = head.get(HEADER).and_then(|header| header.to_str().ok());
    let unsigned = || {
        Problem::new(StatusCode::UNAUTHORIZED, Code::BadSignature, "it has to be signed, in the header comity-signal")
    };
    Signal::from_header(header.ok_or_else(unsigned)?, sdp, &handle.me().node(), handle.now().wall).map_err(|bad| {
        match bad {
            BadSignal::TooLarge => Problem::too_large(&bad.to_string()),
            _ => Problem::new(StatusCode::UNAUTHORIZED, Code::BadSignature, &bad.to_string()),
        }
    })
}

/// Whether a signal belongs to the connection that the path names.
fn is_of(signal: &Signal, session: &str) -> bool {
    session.parse() == Ok(signal.session)
}

fn answered(door: &Door, answer: Signal) -> impl IntoResponse {
    let signed = answer.to_header(door.handle().me().keys());
    ([(CONTENT_TYPE.as_str(), SDP.to_owned()), (HEADER, signed)], answer.sdp)
}

fn declined(declined: Declined) -> Problem {
    match declined {
        Declined::Yield => {
            Problem::new(StatusCode::CONFLICT, Code::Conflict, "this node's own offer to you goes first")
        }
        Declined::Full => Problem::unavailable("too many connections are being made", FULL_FOR),
        Declined::Unknown => {
            Problem::new(StatusCode::NOT_FOUND, Code::UnknownPeer, "there is no such connection with this key")
        }
        Declined::Because(why) => Problem::unprocessable(&why),
    }
}
