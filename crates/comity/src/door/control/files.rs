//! Sending and receiving files, as far as the node takes part: it joins the WebSocket of a command to a
//! stream of packets between two nodes, and knows nothing of what is said there. On the Unix socket only.

use super::denied::Denied;
use super::desk::Desk;
use super::read::Params;
use super::target;
use crate::link::{Admits, Giver, Links, NoStream, Packets, Received, accept_key, socket_config, upgrade_headers};
use axum::extract::{Extension, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use comity_core::wire::control::{self, Named};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Packet;
use tokio_tungstenite::tungstenite::protocol::Role;

/// How long a command may take to read who sends.
const TELL_TIME: Duration = Duration::from_secs(5);

/// To whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whom {
    peer: String,
}

/// Opens a stream to whoever receives at that peer, and joins the command to it.
pub(super) async fn send(
    State(desk): State<Desk>,
    Extension(links): Extension<Links>,
    Params(Whom { peer }): Params<Whom>,
    request: Request,
) -> Result<Response, Denied> {
    let (upgrade, response) = switch(request)?;
    let view = desk.handle.look().await;
    let id = target::peer(&view, &peer)?;
    let key = view.peers.iter().find(|peer| peer.id == id).and_then(|peer| peer.key);
    let key = key.ok_or_else(|| Denied::from(comity_core::node::Refusal::NoKey))?;
    let stream = links.open_stream(key).await.map_err(|none| no_stream(none, &peer))?;
    let stop = desk.handle.stop().clone();
    tokio::spawn(async move {
        if let Some(socket) = socket(upgrade).await {
            stream.join(socket, stop).await;
        }
    });
    Ok(response)
}

/// Whose files are taken.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    from: Option<String>,
    #[serde(default)]
    anyone: bool,
}

/// Waits for a stream from somebody who is admitted, says from whom, and joins the command to it.
pub(super) async fn receive(
    State(desk): State<Desk>,
    Extension(links): Extension<Links>,
    Params(wanted): Params<From>,
    request: Request,
) -> Result<Response, Denied> {
    let (upgrade, response) = switch(request)?;
    let admits = match wanted {
        From { from: Some(peer), .. } => Admits::One(target::key(&*desk.handle.look().await, &peer)?),
        From { anyone: true, .. } => Admits::Anyone,
        From { .. } => Admits::Known,
    };
    let too_many = || Denied::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "too many commands wait for files");
    let mut waiting = links.wait_for_files(admits).ok_or_else(too_many)?;
    let stop = desk.handle.stop().clone();
    tokio::spawn(async move {
        let Some(mut socket) = socket(upgrade).await else { return };
        let received = tokio::select! {
            received = &mut waiting => received.ok(),
            () = gone(&mut socket) => None,
            () = stop.cancelled() => None,
        };
        let Some(Received { mut stream, from }) = received else { return };
        let giver = Packet::text(serde_json::to_string(&giver(from)).unwrap_or_default());
        let told = timeout(TELL_TIME, socket.send(giver)).await;
        if matches!(told, Ok(Ok(()))) && stream.ready().await {
            stream.join(socket, stop).await;
        }
    });
    Ok(response)
}

fn giver(from: Giver) -> control::Giver {
    control::Giver { id: from.key.peer().0, key: from.key.to_string(), name: from.name, trust: Named(from.trust) }
}

/// Ends when the command has gone; it has nothing to say yet.
async fn gone(socket: &mut impl Packets) {
    while let Some(Ok(Packet::Ping(_) | Packet::Pong(_))) = socket.next().await {}
}

/// The answer to a WebSocket handshake, and what becomes of its connection.
fn switch(mut request: Request) -> Result<(OnUpgrade, Response), Denied> {
    let accept = accept_key(request.headers());
    let (Some(accept), Some(upgrade)) = (accept, request.extensions_mut().remove::<OnUpgrade>()) else {
        let sentence = "this path is a WebSocket, which `comity send-file` and `comity receive` speak";
        return Err(Denied::new(StatusCode::UPGRADE_REQUIRED, "bad_request", sentence));
    };
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, upgrade_headers()).into_response();
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok((upgrade, response))
}

async fn socket(upgrade: OnUpgrade) -> Option<impl Packets> {
    let upgraded = TokioIo::new(upgrade.await.ok()?);
    Some(WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(socket_config())).await)
}

fn no_stream(none: NoStream, peer: &str) -> Denied {
    match none {
        NoStream::NoLink => {
            let sentence = format!("no link with {peer} is up: files go only where one is");
            Denied::new(StatusCode::CONFLICT, "no_link", sentence)
        }
        NoStream::Full => Denied::new(StatusCode::TOO_MANY_REQUESTS, "busy", "too many transfers are under way here"),
        NoStream::Unreachable => {
            let sentence = format!("{peer} did not take the stream in time");
            Denied::new(StatusCode::GATEWAY_TIMEOUT, "no_link", sentence)
        }
        NoStream::Refused { code, detail } => match code.as_str() {
            "no_receiver" => Denied::new(StatusCode::NOT_FOUND, "no_receiver", detail),
            "not_trusted" => Denied::new(StatusCode::FORBIDDEN, "not_trusted", detail),
            "busy" => Denied::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail),
            _ => Denied::new(StatusCode::CONFLICT, "refused", detail),
        },
    }
}
