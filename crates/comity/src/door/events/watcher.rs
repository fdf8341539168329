//! One watcher on a WebSocket: what it is sent, the messages it sends, and when it is given up.
//! One task does it all, so that an idle watcher costs little more than its socket.

use super::feed::{Missed, Shown, Watch};
use super::shape;
use crate::door::{Door, Source};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use comity_core::envelope::Via;
use futures_util::SinkExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite;

/// How often an idle watcher is asked whether it is still there, and whether it may still watch. Less would keep phones awake;
/// more would keep half-open connections longer.
pub(in crate::door) const PING_EVERY: Duration = Duration::from_secs(20);

/// Pings without any sign of life before the connection is given up.
pub(in crate::door) const SILENT_MAX: u32 = 2;

/// How long a watcher may take nothing at all while something is to be written.
const WRITE_WITHIN: Duration = Duration::from_secs(20);

/// How long the close frame may take.
pub(in crate::door) const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Events written before they are flushed and before the watcher is listened to again.
pub(in crate::door) const RUN_MAX: usize = 128;

/// A watcher.
pub(super) struct Watcher {
    door: Door,
    source: Source,
    watch: Watch,
    /// Pings since the last sign of life.
    silent: u32,
}

/// Why a watcher's connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::door) enum End {
    /// It closed, broke, or gave no sign of life.
    Gone,
    /// The node leaves.
    Leaving,
    /// It is no longer admitted, or no longer known and watched payloads.
    NotAdmitted,
    /// It sent more than a message may have.
    TooLarge,
    /// It sent what is not text.
    NotText,
    /// It broke the WebSocket protocol.
    Malformed,
}

impl Watcher {
    pub(super) fn new(door: Door, source: Source, watch: Watch) -> Self {
        Self { door, source, watch, silent: 0 }
    }

    /// The most bytes of one frame from a watcher: as for a body.
    pub(super) fn frame_max(&self) -> usize {
        self.door.limits().body_bytes
    }

    /// Serves the watcher until it, or the node, ends.
    pub(super) async fn run(mut self, mut socket: WebSocket, first: Utf8Bytes) {
        let end = self.converse(&mut socket, first).await;
        if let Some(close) = end.close_frame() {
            // Err: it does not matter how a connection that is given up ends.
            let _ = timeout(CLOSE_WITHIN, socket.send(Message::Close(Some(close)))).await;
        }
    }

    async fn converse(&mut self, socket: &mut WebSocket, first: Utf8Bytes) -> End {
        if let Err(end) = send(socket, Message::Text(first)).await {
            return end;
        }
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                event = self.watch.next() => self.show(socket, event).await,
                frame = socket.recv() => self.take(socket, frame).await,
                _ = ping.tick() => self.ping(socket).await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Writes this event and those that wait behind it, then flushes.
    async fn show(&mut self, socket: &mut WebSocket, first: Result<Arc<Shown>, Missed>) -> Result<(), End> {
        self.write(socket, first).await?;
        for _ in 1..RUN_MAX {
            let Some(event) = self.watch.ready() else { break };
            self.write(socket, event).await?;
        }
        in_time(socket.flush()).await
    }

    async fn write(&self, socket: &mut WebSocket, event: Result<Arc<Shown>, Missed>) -> Result<(), End> {
        let text = match event {
            Ok(shown) => shown.text(self.watch.with_payload()).clone(),
            Err(Missed::Some { seq, skipped }) => shape::lagged(seq, skipped).into(),
            Err(Missed::TheEnd) => return Err(End::Leaving),
        };
        in_time(socket.feed(Message::Text(text))).await
    }

    /// Takes what the watcher sent: a text frame is a message and is answered.
    async fn take(&mut self, socket: &mut WebSocket, frame: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        self.silent = 0;
        let Some(text) = text_of(frame)? else { return Ok(()) };
        // Boxed: it is rare and large, and every idle watcher would hold room for it.
        let taken = Box::pin(self.door.take(text.as_bytes(), self.source, Via::Events)).await;
        send(socket, Message::Text(shape::text(&taken.ack()).into())).await
    }

    async fn ping(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        if self.silent >= SILENT_MAX {
            return Err(End::Gone);
        }
        self.silent += 1;
        if !self.door.may_watch(self.source, self.watch.with_payload()).await {
            return Err(End::NotAdmitted);
        }
        send(socket, Message::Ping(axum::body::Bytes::new())).await
    }
}

/// The text of a frame; `None` when the frame only shows that the other side is there.
pub(in crate::door) fn text_of(frame: Option<Result<Message, axum::Error>>) -> Result<Option<Utf8Bytes>, End> {
    match frame {
        Some(Ok(Message::Text(text))) => Ok(Some(text)),
        Some(Ok(Message::Binary(_))) => Err(End::NotText),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err(End::Gone),
        Some(Err(failure)) => Err(End::of(failure)),
    }
}

/// Writes a frame, and flushes.
pub(in crate::door) async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    in_time(socket.send(message)).await
}

/// Gives up a watcher that takes nothing, and one whose connection broke.
pub(in crate::door) async fn in_time(writing: impl Future<Output = Result<(), axum::Error>>) -> Result<(), End> {
    match timeout(WRITE_WITHIN, writing).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(End::Gone),
    }
}

impl End {
    /// Why a connection ends that failed so.
    fn of(failure: axum::Error) -> Self {
        match failure.into_inner().downcast::<tungstenite::Error>().map(|failure| *failure) {
            Ok(tungstenite::Error::Capacity(_)) => Self::TooLarge,
            Ok(tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                Self::Gone
            }
            Ok(tungstenite::Error::Protocol(_)) => Self::Malformed,
            Ok(tungstenite::Error::Utf8(_)) => Self::NotText,
            _ => Self::Gone,
        }
    }

    /// What the other side is told, if it is there.
    pub(in crate::door) fn close_frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Gone => return None,
            Self::Leaving => (close_code::AWAY, "this node is leaving"),
            Self::NotAdmitted => (close_code::POLICY, "this is shown to you no longer"),
            Self::TooLarge => (close_code::SIZE, "the message is too large"),
            Self::NotText => (close_code::UNSUPPORTED, "messages are JSON in text frames"),
            Self::Malformed => (close_code::PROTOCOL, "that is not a WebSocket frame"),
        };
        Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) })
    }
}
