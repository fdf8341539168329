//! What happens at this node, as a stream for watchers: `GET /dashflow/events` as WebSocket or
//! SSE. Each event is written as JSON once and its bytes are shared by all watchers. Directed and
//! sealed messages are never in it. See "Network door" in `protocols/local-network.md`.

mod feed;
pub(super) mod shape;
mod watcher;

#[cfg(test)]
mod tests;

pub(super) use feed::{Feed, Missed, Shown, Watch};
pub(super) use shape::EventBody;
pub(super) use watcher::{CLOSE_WITHIN, End, PING_EVERY, RUN_MAX, SILENT_MAX, in_time, send, text_of};

use super::problem::{Code, Problem};
use super::{Door, Source, Visit};
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Utf8Bytes, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, UPGRADE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use comity_core::channel::Channel;
use comity_core::limits;
use futures_util::stream;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use watcher::Watcher;

/// Bytes read at once from a watcher, who rarely says anything: it is held for as long as the
/// connection, by each of thousands.
pub(super) const READ_BUFFER: usize = 1024;

/// Bytes gathered before they are written: some 40 events in one write. It grows only while events
/// come faster than the network takes them.
pub(super) const WRITE_BUFFER: usize = 8 * 1024;

/// How often a comment is sent on an idle SSE stream, and how often it is asked whether its reader
/// may still watch: proxies commonly cut after 30 s or more.
const SSE_KEEPALIVE: Duration = Duration::from_secs(15);

/// What the query of the stream may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    channels: Option<String>,
    payload: Option<String>,
}

/// Which events a watcher wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// Only of these channels; `None`: all.
    pub(super) channels: Option<BTreeSet<Channel>>,
    /// Messages with their payloads.
    pub(super) payload: bool,
}

impl Filter {
    fn of(params: &Params) -> Result<Self, Problem> {
        let names = params.channels.as_deref().filter(|names| !names.is_empty());
        let channels = names.map(|names| names.split(',').map(channel).collect()).transpose()?;
        if channels.as_ref().is_some_and(|channels: &BTreeSet<_>| channels.len() > limits::SUBSCRIPTIONS_MAX) {
            return Err(Problem::bad_request("there are more than 256 channels in the query"));
        }
        let payload = match params.payload.as_deref() {
            None | Some("" | "0" | "false") => false,
            Some("1" | "true") => true,
            Some(_) => return Err(Problem::bad_request("payload is 0 or 1 in the query")),
        };
        Ok(Self { channels, payload })
    }
}

fn channel(name: &str) -> Result<Channel, Problem> {
    Channel::new(name).map_err(|bad| Problem::bad_request(&format!("in the query's channels: {bad}")))
}

/// What happens at this node: a WebSocket, or server-sent events with `Accept: text/event-stream`.
///
/// The first frame is the status object of `GET /dashflow/status`; then come events. Text frames
/// of a WebSocket client are messages as for `POST /dashflow/message`, each answered by an ack.
#[utoipa::path(get, path = "/dashflow/events", tag = "network",
    params(
        ("channels" = Option<String>, Query, description = "Only these channels, comma separated. Peers come and go on `_presence`, statuses are on `_status`"),
        ("payload" = Option<String>, Query, description = "1: messages with their payloads, for known peers"),
    ),
    responses(
        (status = 101, description = "A WebSocket: first a `Status`, then `Event`s; an `Ack` for each message sent"),
        (status = 200, description = "Server-sent events: first `status`, then events by their type", body = EventBody,
            content_type = "text/event-stream"),
        super::openapi::EventRefusals,
    ))]
pub(super) async fn events(
    State(door): State<Door>,
    visit: Visit,
    query: Result<Query<Params>, QueryRejection>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let Query(params) = query.map_err(|rejection| Problem::bad_request(&rejection.body_text()))?;
    let filter = Filter::of(&params)?;
    if filter.payload && !visit.is_known() {
        return Err(Problem::forbidden("payloads are shown to known peers only"));
    }
    let wants_sse = headers.get_all(ACCEPT).iter().any(|accept| accept.to_str().is_ok_and(names_sse));
    if wants_sse && !headers.contains_key(UPGRADE) {
        let watch = door.watch(filter).await?;
        let first = first_frame(&door, &visit);
        return Ok(server_sent(door, visit.source, watch, first));
    }
    let upgrade = upgrade.map_err(|_| not_a_websocket())?;
    let watch = door.watch(filter).await?;
    let first = first_frame(&door, &visit);
    Ok(accept(upgrade, Watcher::new(door, visit.source, watch), first))
}

fn names_sse(accept: &str) -> bool {
    accept.split(',').any(|range| range.split(';').next().is_some_and(|range| range.trim() == "text/event-stream"))
}

fn not_a_websocket() -> Problem {
    let detail = "a WebSocket upgrade (version 13), or Accept: text/event-stream, is wanted";
    Problem::new(StatusCode::UPGRADE_REQUIRED, Code::BadRequest, detail)
}

fn first_frame(door: &Door, visit: &Visit) -> Utf8Bytes {
    Utf8Bytes::from(shape::text(&door.status(&visit.view)))
}

fn accept(upgrade: WebSocketUpgrade, watcher: Watcher, first: Utf8Bytes) -> Response {
    let frame_max = watcher.frame_max();
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(frame_max)
        .max_frame_size(frame_max)
        .on_upgrade(move |socket| watcher.run(socket, first))
}

impl Door {
    /// What happens from now on.
    pub(super) async fn watch(&self, filter: Filter) -> Result<Watch, Problem> {
        let joined = self.feed().join(filter).await;
        joined.ok_or_else(|| Problem::unavailable("this node is leaving", Duration::from_secs(1)))
    }
}

fn server_sent(door: Door, source: Source, watch: Watch, first: Utf8Bytes) -> Response {
    let mut admitted = interval_at(Instant::now() + SSE_KEEPALIVE, SSE_KEEPALIVE);
    admitted.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stream = stream::unfold(
        (door, watch, admitted, Some(first)),
        move |(door, mut watch, mut admitted, first)| async move {
            if let Some(status) = first {
                let event = sse::Event::default().event("status").data(status.as_str());
                return Some((Ok::<_, Infallible>(event), (door, watch, admitted, None)));
            }
            loop {
                tokio::select! {
                    biased;
                    _ = admitted.tick() => if !door.may_watch(source, watch.with_payload()).await { return None },
                    event = sse_event(&mut watch) => return Some((Ok(event?), (door, watch, admitted, None))),
                }
            }
        },
    );
    Sse::new(stream).keep_alive(KeepAlive::new().interval(SSE_KEEPALIVE)).into_response()
}

/// The next event for this watcher; `None` when the node ends.
async fn sse_event(watch: &mut Watch) -> Option<sse::Event> {
    let event = sse::Event::default();
    match watch.next().await {
        Ok(shown) => {
            let id = shown.seq.to_string();
            Some(event.event(shown.kind).id(id).data(shown.text(watch.with_payload()).as_str()))
        }
        Err(Missed::Some { seq, skipped }) => {
            Some(event.event("lagged").id(seq.to_string()).data(shape::lagged(seq, skipped)))
        }
        Err(Missed::TheEnd) => None,
    }
}
