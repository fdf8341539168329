//! JSON-RPC 2.0 over WebSocket, `GET /rpc`: what other calls of the network door answer, for programs
//! that speak this instead. Proofs, admission, pace and limits are those of the other calls, and
//! nothing is decided here. See `ws-jsonrpc` in `protocols/mqtt-discovery.md`.

mod call;
pub(super) mod client;

#[cfg(test)]
mod tests;

use super::events::{READ_BUFFER, WRITE_BUFFER};
use super::openapi::VisitRefusals;
use super::problem::{Code, Problem, ProblemBody};
use super::{Door, Visit};
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::StatusCode;
use axum::response::Response;
use client::Client;

/// JSON-RPC 2.0 over WebSocket: one call, or a batch of at most 32, in each text frame.
///
/// | method | parameters | result |
/// | --- | --- | --- |
/// | `status` | | what `GET /dashflow/status` answers |
/// | `peers` | | what `GET /dashflow/peers` answers |
/// | `send` | `message` | what `POST /dashflow/message` answers with 202; the message may also be the parameters themselves |
/// | `subscribe` | `channels`, a list, all if left out; `payload`, a boolean, for known peers | `{"subscription": number}` |
/// | `unsubscribe` | `subscription` | `{"unsubscribed": true}` |
///
/// Parameters go by name, or by position in this order. A subscriber is notified by the method `event`, with
/// `{"subscription": number, "event": …}`; the events are those of `GET /dashflow/events`. Errors have the codes of the
/// specification: -32700, -32600, -32601, -32602; what the node refuses has -32000. Their `data` is the problem that the
/// other calls answer with.
#[utoipa::path(get, path = "/rpc", tag = "network", responses(
    (status = 101, description = "A WebSocket that carries JSON-RPC 2.0"),
    (status = 426, description = "A WebSocket was not asked for", body = ProblemBody, content_type = "application/problem+json"),
    VisitRefusals,
))]
pub(super) async fn rpc(
    State(door): State<Door>,
    visit: Visit,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let wanted = "a WebSocket upgrade (version 13) is wanted";
    let upgrade = upgrade.map_err(|_| Problem::new(StatusCode::UPGRADE_REQUIRED, Code::BadRequest, wanted))?;
    let frame_max = door.limits().body_bytes;
    let client = Client::new(door, visit.source);
    let upgrade = upgrade.read_buffer_size(READ_BUFFER).write_buffer_size(WRITE_BUFFER);
    Ok(upgrade.max_message_size(frame_max).max_frame_size(frame_max).on_upgrade(|socket| client.run(socket)))
}
