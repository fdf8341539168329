//! A link: a WebSocket over mutual TLS between two nodes. One task reads and writes: frames become
//! messages for the driver, what the driver hands over becomes frames, as many messages in one as
//! are there. It knows the wire and no rule. See "Links" in `protocols/local-network.md`.

mod tables;

use super::hello::{self, Greeted};
use super::listen::Caller;
use super::stream::{Calls, Up};
use super::wire::Wire;
use super::{Cause, Established, Links, ROOM, WRITES_MAX, Write};
use crate::observe::Direction;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use comity_core::channel::Channel;
use comity_core::envelope::Message;
use comity_core::id::{DialId, LinkId, NodeId};
use comity_core::limits::{FRAME_MAX, PAYLOAD_JSON_MAX};
use comity_core::node::{DialFailure, Input, LinkLoss};
use comity_core::peers::Way;
use comity_core::wire::compact::{self, ChannelTable, Unreadable};
use comity_core::wire::frame::{self, BadFrame, Frame, Incoming};
use comity_core::wire::json::{self, Spelling};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tables::{Tables, name_channels, table};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout};
use tokio_rustls::{TlsStream, client, server};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message as Packet};

/// Where links are opened.
pub(super) const PATH: &str = "/dashflow/link";

/// Where a frame of messages is full enough to be sent, bytes: TLS writes as much in one system
/// call, a receiver can start on it, and no kept payload holds more memory than this. One message
/// may take the frame as far beyond it as one message is long, which stays below [`FRAME_MAX`].
const FRAME_FULL: usize = 60 * 1024;

/// Largest text frame, bytes: a JSON message with the largest payload, which base64 makes a third
/// longer when it is sealed, and its other fields.
const TEXT_MAX: usize = PAYLOAD_JSON_MAX / 3 * 4 + 16 * 1024;

/// What an idle link keeps for reading, bytes. Frames larger than this get a buffer of their own.
const READ_BUFFER: usize = 4 * 1024;

/// Below this many bytes what is written waits for the flush that ends each batch.
const WRITE_BUFFER: usize = 16 * 1024;

/// Writes taken from the queue at once.
const WRITES_AT_ONCE: usize = 64;

/// How long a closing link is still read, so that what was written last is not lost to a reset,
/// and how long that last writing may take.
const LINGER: Duration = Duration::from_secs(1);

/// The WebSocket of a link, whichever side dialled.
pub(super) type Socket = WebSocketStream<TlsStream<Wire>>;

/// What a link speaks over: packets as a WebSocket has them. A WebSocket, or a data channel.
pub(crate) trait Packets:
    Stream<Item = Result<Packet, SocketError>> + Sink<Packet, Error = SocketError> + Unpin + Send + 'static
{
}
impl<T> Packets for T where
    T: Stream<Item = Result<Packet, SocketError>> + Sink<Packet, Error = SocketError> + Unpin + Send + 'static
{
}

fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(4 * FRAME_MAX)
        .max_message_size(Some(TEXT_MAX))
        .max_frame_size(Some(TEXT_MAX))
}

/// Opens the WebSocket on a TLS connection that this node dialled.
pub(super) async fn open(stream: client::TlsStream<Wire>, address: SocketAddr) -> Result<Socket, DialFailure> {
    open_at(TlsStream::from(stream), (address, PATH), socket_config()).await
}

/// The same, for any path of the network door.
pub(super) async fn open_at(
    stream: TlsStream<Wire>,
    (address, path): (SocketAddr, &str),
    config: WebSocketConfig,
) -> Result<Socket, DialFailure> {
    let request = format!("wss://{address}{path}").into_client_request().map_err(|_| DialFailure::Refused)?;
    let shake = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
    match timeout(hello::HELLO_TIME, Box::pin(shake)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(SocketError::Http(response))) if response.status() == StatusCode::NOT_FOUND => {
            Err(DialFailure::Incompatible)
        }
        Ok(Err(_)) | Err(_) => Err(DialFailure::Refused),
    }
}

/// `GET /dashflow/link`: switches to a WebSocket when the client proved a key.
pub(super) async fn accept(
    State(links): State<Links>,
    Extension(caller): Extension<Caller>,
    mut request: Request,
) -> Response {
    let Some(key) = caller.key else {
        return refusal(StatusCode::UNAUTHORIZED, "bad_signature", "a link needs mutual TLS with ALPN comity/1");
    };
    let (Some(accept), Some(upgrade)) = (accept_key(request.headers()), request.extensions_mut().remove::<OnUpgrade>())
    else {
        let refused = refusal(StatusCode::UPGRADE_REQUIRED, "bad_request", "a link is a WebSocket, version 13");
        return (upgrade_headers(), refused).into_response();
    };
    let task = links.clone();
    links.spawn(async move { task.welcome(upgrade, key, caller.address).await });
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, upgrade_headers()).into_response();
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

pub(crate) fn upgrade_headers() -> [(header::HeaderName, HeaderValue); 2] {
    [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
    ]
}

pub(super) fn refusal(status: StatusCode, code: &'static str, detail: &'static str) -> Response {
    let body = serde_json::json!({ "status": status.as_u16(), "code": code, "detail": detail }).to_string();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

/// The answer to a WebSocket handshake (RFC 6455, 4.2); `None` when the request is none.
pub(crate) fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let upgrade = headers.get(header::UPGRADE)?.to_str().ok()?;
    let version = headers.get(header::SEC_WEBSOCKET_VERSION)?;
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let wanted = upgrade.eq_ignore_ascii_case("websocket") && version == "13";
    wanted.then(|| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()).flatten()
}

/// The WebSocket of a connection that another node opened by TLS.
pub(super) async fn upgraded(upgrade: OnUpgrade, config: WebSocketConfig) -> Option<Socket> {
    let parts = upgrade::downcast::<TokioIo<server::TlsStream<Wire>>>(upgrade.await.ok()?).ok()?;
    let (stream, early) = (TlsStream::from(parts.io.into_inner()), parts.read_buf.to_vec());
    Some(WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await)
}

impl Links {
    /// Waits until what was read before leaves room for so many bytes.
    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, LinkLoss> {
        let bytes = u32::try_from(bytes.min(ROOM)).unwrap_or(u32::MAX);
        // Err: the semaphore was closed, which nobody does.
        Arc::clone(&self.0.room).acquire_many_owned(bytes).await.map_err(|_| LinkLoss::Closed)
    }

    /// Takes a link that another node opened.
    async fn welcome(&self, upgrade: OnUpgrade, key: NodeId, remote: SocketAddr) {
        let Ok(Some(mut socket)) = timeout(hello::HELLO_TIME, upgraded(upgrade, socket_config())).await else {
            return self.refused(Cause::Hello);
        };
        match hello::exchange(&mut socket, &self.0.handle, key).await {
            Ok(greeted) => drop(self.establish(socket, greeted, key, (remote, Way::Mesh), None).await),
            Err(failure) => {
                self.note_hello(failure, remote);
                if failure == DialFailure::Twin {
                    self.0.handle.inform(Input::Twin { address: remote }).await;
                }
                let _ = timeout(LINGER, socket.close(None)).await;
            }
        }
    }

    pub(super) fn note_hello(&self, failure: DialFailure, remote: SocketAddr) {
        if failure == DialFailure::Twin {
            return self.refused(Cause::Twin);
        }
        tracing::debug!(%remote, ?failure, "a link got no further than its hello");
        self.refused(Cause::Hello);
    }

    /// Hands a link to the driver and runs it until it ends.
    pub(super) async fn establish(
        &self,
        socket: impl Packets,
        greeted: Greeted,
        key: NodeId,
        (remote, way): (SocketAddr, Way),
        dial: Option<DialId>,
    ) -> LinkId {
        let id = self.0.handle.new_link();
        let (writer, queue) = mpsc::channel(WRITES_MAX);
        let up = Up { key, remote, way, dialed: dial.is_some(), writer: writer.downgrade() };
        let Greeted { card, theirs, ours } = greeted;
        let tables = Tables { incoming: table(&theirs.channels), outgoing: table(&ours.channels) };
        let (boot, subscriptions) = (theirs.boot, theirs.subscriptions);
        let established = Established { id, dial, key, remote, way, card, boot, subscriptions, ours, writer };
        self.0.handle.linked(established).await;
        self.0.streams.link_up(id, up);
        self.clone().spawn_link(id, socket, queue, tables);
        id
    }

    fn spawn_link(self, id: LinkId, socket: impl Packets, queue: mpsc::Receiver<Write>, tables: Tables) {
        let links = self.clone();
        // Not by `spawn`: a link that is stopped still tells the driver, and closes.
        drop(self.0.tasks.spawn(async move { links.run(id, socket, queue, tables).await }));
    }

    async fn run(self, id: LinkId, socket: impl Packets, queue: mpsc::Receiver<Write>, tables: Tables) {
        let (sink, mut stream) = socket.split();
        let mut writer = Writer::new(&self, id, sink, tables.outgoing);
        let loss = tokio::select! {
            loss = read(&self, id, &mut stream, tables.incoming) => loss,
            loss = writer.run(queue) => loss,
            () = self.0.handle.stop().cancelled() => LinkLoss::Closed,
        };
        self.0.streams.link_down(id);
        if loss == LinkLoss::Malformed {
            self.refused(Cause::Malformed);
        }
        let farewell = async {
            let mut goodbye = false;
            if writer.close().await.is_ok() {
                while let Some(Ok(packet)) = stream.next().await {
                    goodbye |= self.is_goodbye(&packet);
                }
            }
            goodbye
        };
        let down = async |loss| self.0.handle.inform(Input::LinkDown { link: id, loss }).await;
        // Err: the other side does not read; the link is gone anyway.
        if loss == LinkLoss::Closed {
            // The rules have given it up; the other side may not know yet, and say its last word on it.
            let goodbye = timeout(LINGER, farewell).await.unwrap_or(false);
            down(if goodbye { LinkLoss::Goodbye } else { loss }).await;
        } else {
            let _ = tokio::join!(timeout(LINGER, farewell), down(loss));
        }
    }

    /// Whether this is a peer's last word.
    fn is_goodbye(&self, packet: &Packet) -> bool {
        let Packet::Text(text) = packet else { return false };
        matches!(frame::parse(text.as_bytes(), self.0.handle.now().wall), Ok(Incoming::Control(Frame::Goodbye { .. })))
    }
}

/// Reads until the link ends.
async fn read<S: Packets>(
    links: &Links,
    link: LinkId,
    stream: &mut SplitStream<S>,
    mut names: ChannelTable,
) -> LinkLoss {
    let mut calls = Calls::default();
    loop {
        let outcome = match stream.next().await {
            Some(Ok(Packet::Binary(frame))) => read_messages(links, link, &frame, &names).await,
            Some(Ok(Packet::Text(text))) => read_text(links, link, text.as_bytes(), &mut names, &mut calls).await,
            Some(Ok(Packet::Ping(_) | Packet::Pong(_) | Packet::Frame(_))) => Ok(()),
            Some(Ok(Packet::Close(_))) | None => Err(LinkLoss::Broken),
            Some(Err(SocketError::Capacity(_) | SocketError::Protocol(_) | SocketError::Utf8(_))) => {
                Err(LinkLoss::Malformed)
            }
            Some(Err(_)) => Err(LinkLoss::Broken),
        };
        if let Err(loss) = outcome {
            return loss;
        }
    }
}

async fn read_messages(links: &Links, link: LinkId, frame: &Bytes, names: &ChannelTable) -> Result<(), LinkLoss> {
    let handle = &links.0.handle;
    let mut room = links.room_for(grown(frame)).await?;
    let mut batch = Vec::with_capacity(expected(frame));
    let lost = compact::decode(frame, names, handle.now().wall, &mut batch).map_err(|_| LinkLoss::Malformed)?;
    handle.counters().frame(Direction::In, frame.len(), batch.len());
    lost.by_cause().iter().for_each(|(cause, count)| handle.counters().dropped(cause, (*count).into()));
    let taken = frame.len() + batch.iter().map(Message::weight).sum::<usize>();
    drop(room.split(room.num_permits().saturating_sub(taken)));
    handle.received(link, batch, lost.unreadable, room).await;
    Ok(())
}

/// The most memory that the messages of a frame may take: each may have a compressed payload, and
/// the decoder goes no further than [`compact::DECOMPRESSED_MAX`].
fn grown(frame: &Bytes) -> usize {
    let messages = frame.len() / compact::HEADER;
    messages.saturating_mul(FRAME_MAX).min(compact::DECOMPRESSED_MAX) + frame.len()
}

/// How many messages a frame may hold, so that a batch grows once: as many as are as long as its
/// first. The length is the peer's word, so it is only a guess, and bounded by the frame.
fn expected(frame: &Bytes) -> usize {
    const IDS: usize = 32;
    let payload = frame.get(28..30).map_or(0, |length| usize::from(length[0]) | usize::from(length[1]) << 8);
    (frame.len() / (compact::HEADER + IDS + payload)).max(1)
}

async fn read_text(
    links: &Links,
    link: LinkId,
    text: &[u8],
    names: &mut ChannelTable,
    calls: &mut Calls,
) -> Result<(), LinkLoss> {
    let handle = &links.0.handle;
    let room = links.room_for(text.len()).await?;
    let read = frame::parse(text, handle.now().wall);
    let messages = usize::from(matches!(read, Ok(Incoming::Message(_))));
    handle.counters().frame(Direction::In, text.len(), messages);
    match read {
        Ok(Incoming::Message(message)) => {
            handle.received(link, vec![message], Vec::new(), room).await;
        }
        Ok(Incoming::Control(Frame::Channels(more))) => name_channels(names, more),
        Ok(Incoming::Control(Frame::Call(_))) if !calls.admit(Instant::now()) => {
            handle.counters().dropped("too_many_calls", 1);
        }
        Ok(Incoming::Control(Frame::Call(call))) => {
            // Only whoever dialled can dial again, and only where it did.
            if let Some(Up { key, remote, dialed: true, way: Way::Mesh, .. }) = links.0.streams.link(link) {
                links.called(key, remote, call);
            }
        }
        Ok(Incoming::Control(frame)) => {
            let goodbye = matches!(frame, Frame::Goodbye { .. });
            handle.framed(link, frame, room).await;
            if goodbye {
                return Err(LinkLoss::Goodbye);
            }
        }
        // A peer that cannot write JSON cannot be followed: what it sent might have been a message.
        Ok(Incoming::Hello(_)) | Err(BadFrame::Json(_)) => return Err(LinkLoss::Malformed),
        Err(refused) => {
            tracing::debug!(?link, %refused, "a text frame of a link was dropped");
            handle.counters().dropped("bad_frame", 1);
            if let BadFrame::Message { id: Some(id), .. } = refused {
                handle.received(link, Vec::new(), vec![Unreadable { after: 0, id }], room).await;
            }
        }
    }
    Ok(())
}

/// The writing half of a link.
struct Writer<'a, S> {
    links: &'a Links,
    link: LinkId,
    sink: SplitSink<S, Packet>,
    names: ChannelTable,
    /// The channel of the last message: most follow one on the same channel.
    last: Option<Channel>,
    frame: BytesMut,
    in_frame: usize,
    /// What was written since the rules were told.
    messages: u32,
    weight: usize,
}

impl<'a, S: Packets> Writer<'a, S> {
    fn new(links: &'a Links, link: LinkId, sink: SplitSink<S, Packet>, names: ChannelTable) -> Self {
        Self { links, link, sink, names, last: None, frame: BytesMut::new(), in_frame: 0, messages: 0, weight: 0 }
    }

    /// Writes until it is told to close, everybody who could tell it is gone, or the link breaks.
    async fn run(&mut self, mut queue: mpsc::Receiver<Write>) -> LinkLoss {
        let mut writes = Vec::new();
        while queue.recv_many(&mut writes, WRITES_AT_ONCE).await > 0 {
            for write in writes.drain(..) {
                let written = match write {
                    Write::Messages(messages) => self.write_messages(&messages).await,
                    Write::Frame(frame) => self.write_text(frame.encode(), 0).await,
                    Write::Close { goodbye } => return self.finish(goodbye).await,
                };
                if written.is_err() {
                    return LinkLoss::Broken;
                }
            }
            if self.flush().await.is_err() {
                return LinkLoss::Broken;
            }
        }
        self.finish(false).await
    }

    async fn write_messages(&mut self, messages: &[Arc<Message>]) -> Result<(), SocketError> {
        let room: usize = messages.iter().map(|message| message.weight()).sum();
        self.frame.reserve(room.min(FRAME_FULL));
        for message in messages {
            if self.last.as_ref() != Some(&message.channel) {
                self.name(&message.channel).await?;
            }
            if compact::encode(message, &self.names, &mut self.frame) {
                self.in_frame += 1;
                if self.frame.len() >= FRAME_FULL {
                    self.write_frame().await?;
                }
            } else {
                self.write_large(message).await?;
            }
            self.messages += 1;
            self.weight += message.weight();
        }
        Ok(())
    }

    /// Names a channel to the other side before its first use.
    async fn name(&mut self, channel: &Channel) -> Result<(), SocketError> {
        if self.names.resolve(channel.hash()).is_none() && self.names.insert(channel.clone()).is_ok() {
            // Ahead of the frame that is being filled, which uses the name.
            self.feed_text(Frame::Channels(vec![channel.clone()]).encode(), 0).await?;
        }
        self.last = Some(channel.clone());
        Ok(())
    }

    /// A message that fits no compact form travels as JSON.
    async fn write_large(&mut self, message: &Message) -> Result<(), SocketError> {
        let text = json::encode(message, Spelling::Design);
        // JSON that was just written is UTF-8, so nothing is lost here.
        self.write_text(String::from_utf8(text).unwrap_or_default(), 1).await
    }

    /// A text frame with so many messages in it, after the messages that came before it.
    async fn write_text(&mut self, text: String, messages: usize) -> Result<(), SocketError> {
        self.write_frame().await?;
        self.feed_text(text, messages).await
    }

    async fn feed_text(&mut self, text: String, messages: usize) -> Result<(), SocketError> {
        self.links.0.handle.counters().frame(Direction::Out, text.len(), messages);
        self.sink.feed(Packet::text(text)).await
    }

    async fn write_frame(&mut self) -> Result<(), SocketError> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let frame = self.frame.split().freeze();
        self.links.0.handle.counters().frame(Direction::Out, frame.len(), std::mem::take(&mut self.in_frame));
        self.sink.feed(Packet::Binary(frame)).await
    }

    /// Puts everything on the wire and tells the rules that there is room again.
    async fn flush(&mut self) -> Result<(), SocketError> {
        self.write_frame().await?;
        self.sink.flush().await?;
        self.frame = BytesMut::new(); // an idle link keeps none
        if self.messages > 0 {
            let (messages, weight) = (std::mem::take(&mut self.messages), std::mem::take(&mut self.weight));
            self.links.0.handle.inform(Input::Written { link: self.link, messages, weight }).await;
        }
        Ok(())
    }

    /// Sends what is left, and a goodbye if this node is leaving.
    async fn finish(&mut self, goodbye: bool) -> LinkLoss {
        let last = async {
            if goodbye {
                self.write_text(Frame::Goodbye { reason: "leaving".to_owned() }.encode(), 0).await?;
            }
            self.flush().await
        };
        match timeout(LINGER, last).await {
            Ok(Ok(())) => LinkLoss::Closed,
            Ok(Err(_)) | Err(_) => LinkLoss::Broken,
        }
    }

    async fn close(&mut self) -> Result<(), SocketError> {
        self.sink.close().await
    }
}
