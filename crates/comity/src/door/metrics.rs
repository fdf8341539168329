//! `GET /metrics`, and the counting of what a door answers. What is counted, and under which names,
//! is in `observe::Counters`. See "Health and metrics" in `protocols/pubsub.md`.

use super::problem::Refused;
use crate::driver::Handle;
use crate::observe::Door;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::time::Instant;

/// The media type of the OpenMetrics text format.
const OPENMETRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// The media type of the older text format, for whoever does not ask for OpenMetrics.
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// `GET /metrics`: everything that is counted, and the node as it is now.
pub(super) async fn metrics(State(handle): State<Handle>, headers: HeaderMap) -> Response {
    let view = handle.look().await;
    let named =
        |accept: &HeaderValue| accept.to_str().is_ok_and(|accept| accept.contains("application/openmetrics-text"));
    if headers.get_all(ACCEPT).iter().any(named) {
        ([(CONTENT_TYPE, OPENMETRICS)], handle.counters().render(&view)).into_response()
    } else {
        ([(CONTENT_TYPE, PLAIN)], handle.counters().render_plain(&view)).into_response()
    }
}

/// Counts every request of a door, how it was answered and how long that took.
pub(super) async fn count(State((handle, door)): State<(Handle, Door)>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let response = next.run(request).await;
    let counters = handle.counters();
    counters.answered(door, response.status().as_u16(), begun.elapsed());
    if let Some(Refused(code)) = response.extensions().get() {
        counters.refused(door, code);
    }
    response
}
