//! The WebSocket between a command and its node: packets in and out.

use super::Broken;
use crate::exchange;
use crate::query;
use crate::{ANSWER_WITHIN, Client, Error};
use comity_core::wire::control::{self, path};
use comity_core::wire::transfer::{CHUNK_MAX, Say, Why};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// How long the last word may take.
const LINGER: Duration = Duration::from_secs(1);

/// A stream of packets to the other side's command.
pub(super) struct Socket(WebSocketStream<TokioIo<Upgraded>>);

/// What comes on it.
pub(super) enum Packet {
    Said(Say),
    Piece(tokio_tungstenite::tungstenite::Bytes),
}

impl Socket {
    async fn open(client: &Client, path: &str) -> Result<Self, Error> {
        let stream = exchange::websocket(client, path, ANSWER_WITHIN).await?;
        let config = WebSocketConfig::default()
            .write_buffer_size(0)
            .max_write_buffer_size(4 * CHUNK_MAX)
            .max_message_size(Some(CHUNK_MAX))
            .max_frame_size(Some(CHUNK_MAX));
        Ok(Self(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await))
    }

    /// Opens one to whoever receives at this peer.
    pub(super) async fn to(client: &Client, peer: &str) -> Result<Self, Error> {
        Self::open(client, &query::path(path::SEND_FILES, &[("peer", Some(peer.to_owned()))])).await
    }

    /// What the other side sends next.
    pub(super) async fn next(&mut self) -> Result<Packet, Broken> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    let said = Say::parse(text.as_bytes());
                    return said
                        .map(Packet::Said)
                        .map_err(|_| comity_core::transfer::Fault::Unexpected("no packet").into());
                }
                Some(Ok(Message::Binary(bytes))) => return Ok(Packet::Piece(bytes)),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Broken::Off),
            }
        }
    }

    pub(super) async fn say(&mut self, said: &Say) -> Result<(), Broken> {
        self.0.send(Message::text(said.encode())).await.map_err(|_| Broken::Off)
    }

    pub(super) async fn piece(&mut self, bytes: Vec<u8>) -> Result<(), Broken> {
        self.0.send(Message::binary(bytes)).await.map_err(|_| Broken::Off)
    }

    /// Says the last word and closes; the other side may have gone. Reading on keeps the word from being lost.
    pub(super) async fn close(mut self, last: Option<Say>) {
        let closing = async {
            if let Some(last) = last {
                self.say(&last).await?;
            }
            self.0.close(None).await.map_err(|_| Broken::Off)?;
            while let Some(Ok(_)) = self.0.next().await {}
            Ok::<_, Broken>(())
        };
        // Err: there is nobody to tell.
        let _ = tokio::time::timeout(LINGER, closing).await;
    }
}

/// A transfer that another node began.
pub struct Incoming {
    /// Who sends.
    pub from: control::Giver,
    pub(super) socket: Socket,
}

impl Incoming {
    /// Sends whoever sends away for now, with this sentence.
    pub async fn put_off(self, because: &'static str) {
        self.socket.close(Some(Say::failed(Why::Busy, because))).await;
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Incoming").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Client {
    /// Waits until another node sends files: a known one, the one that is named, or anyone.
    pub async fn receive(&self, from: Option<&str>, anyone: bool) -> Result<Incoming, Error> {
        self.wait_for_files(from, anyone).await?.next().await
    }

    /// The same in two steps: what this returns is in line already.
    pub async fn wait_for_files(&self, from: Option<&str>, anyone: bool) -> Result<InLine, Error> {
        let pairs = [("from", from.map(str::to_owned)), ("anyone", anyone.then(|| "true".to_owned()))];
        Socket::open(self, &query::path(path::RECEIVE_FILES, &pairs)).await.map(InLine)
    }
}

/// A place in the line of those who wait for files.
pub struct InLine(Socket);

impl InLine {
    /// Waits for the next transfer.
    pub async fn next(mut self) -> Result<Incoming, Error> {
        loop {
            match self.0.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    let from = serde_json::from_str(&text);
                    let from = from.map_err(|wrong| Error::NotUnderstood(wrong.to_string()))?;
                    return Ok(Incoming { from, socket: self.0 });
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return Err(Error::Broken("the node stopped".to_owned())),
            }
        }
    }
}
