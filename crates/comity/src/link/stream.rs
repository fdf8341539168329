//! Streams of packets between two nodes whose link is up, beside the link: they carry files, so that what is
//! large never stands in the way of messages. On a mesh link a stream is a second connection to the same port,
//! on a WebRTC link another channel of the same connection. What is said on a stream is the commands' business.

mod table;

pub(crate) use table::{Admits, Giver, Received, Waiting};
pub(super) use table::{Streams, Up};

use super::listen::Caller;
use super::mesh::{self, Packets};
use super::wire::Wire;
use super::{Links, Write};
use axum::extract::{Extension, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use comity_core::id::NodeId;
use comity_core::identity::trust::Trust;
use comity_core::peers::Way;
use comity_core::wire::frame::Frame;
use comity_core::wire::stream::{VERSION, WORD_MAX, Word};
use comity_core::wire::transfer::CHUNK_MAX;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use std::net::SocketAddr;
use std::time::Duration;
use table::Seat;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsStream;
use tokio_tungstenite::tungstenite::Message as Packet;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Where nodes whose link is up open streams.
pub(crate) const PATH: &str = "/dashflow/files";

/// The label of a data channel that is a stream.
pub(super) const LABEL: &str = "comity-file";

/// Largest packet of a stream, bytes: a piece of a file.
pub(crate) const PACKET_MAX: usize = CHUNK_MAX;

/// How long it may take until a stream can be written to.
const OPEN_TIME: Duration = Duration::from_secs(5);

/// How long the first words may take.
const WORD_TIME: Duration = Duration::from_secs(5);

/// Calls of one link within a minute that are answered; more are dropped and counted. A command that waits for the
/// other side tries every second; more is what one peer can make a node dial.
const CALLS_MAX: u32 = 120;

/// How long the last packets of a stream may take.
const LINGER: Duration = Duration::from_secs(1);

/// A stream, whatever carries it.
pub(crate) type Packeted = Box<dyn Packets>;

/// Why there is no stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoStream {
    /// No link with that node is up.
    NoLink,
    /// There are as many as may be, with that node or in all.
    Full,
    /// It could not be opened in time.
    Unreachable,
    /// The other node refused.
    Refused {
        /// Its stable name of the reason.
        code: String,
        /// Its sentence.
        detail: String,
    },
}

/// A stream to another node; its place is given back when it is dropped.
pub(crate) struct Stream {
    pub(super) packets: Packeted,
    seat: Seat,
}

/// How streams are framed where they are WebSockets.
pub(crate) fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .write_buffer_size(0)
        .max_write_buffer_size(4 * PACKET_MAX)
        .max_message_size(Some(PACKET_MAX))
        .max_frame_size(Some(PACKET_MAX))
}

/// `GET /dashflow/files`: a stream of a node whose link is up.
pub(super) async fn accept(
    State(links): State<Links>,
    Extension(caller): Extension<Caller>,
    mut request: Request,
) -> Response {
    let Some(key) = caller.key.filter(|key| links.0.streams.is_up(*key)) else {
        return mesh::refusal(StatusCode::UNAUTHORIZED, "bad_signature", "a stream needs a link that is up");
    };
    let accept = mesh::accept_key(request.headers());
    let (Some(accept), Some(upgrade)) = (accept, request.extensions_mut().remove::<OnUpgrade>()) else {
        let refused = mesh::refusal(StatusCode::UPGRADE_REQUIRED, "bad_request", "a stream is a WebSocket, version 13");
        return (mesh::upgrade_headers(), refused).into_response();
    };
    let task = links.clone();
    links.spawn(async move {
        if let Ok(Some(socket)) = timeout(OPEN_TIME, mesh::upgraded(upgrade, socket_config())).await {
            task.take_stream(key, Box::new(socket)).await;
        }
    });
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, mesh::upgrade_headers()).into_response();
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

impl Links {
    /// Opens a stream to whoever takes files at the node with this key.
    pub(crate) async fn open_stream(&self, key: NodeId) -> Result<Stream, NoStream> {
        let up = self.0.streams.link_with(key).ok_or(NoStream::NoLink)?;
        let seat = self.0.streams.seat(key).ok_or(NoStream::Full)?;
        let reached = timeout(OPEN_TIME, self.reach(key, &up)).await;
        let mut packets = reached.unwrap_or(None).ok_or(NoStream::Unreachable)?;
        let asked = async {
            packets.send(Packet::text(Word::Open { version: VERSION }.encode())).await.ok()?;
            first_word(&mut packets).await
        };
        match timeout(WORD_TIME, asked).await {
            Ok(Some(Word::Ready)) => Ok(Stream { packets, seat }),
            Ok(Some(Word::Refused { code, detail })) => Err(NoStream::Refused { code, detail }),
            _ => Err(NoStream::Unreachable),
        }
    }

    /// Something that carries packets to the other node.
    async fn reach(&self, key: NodeId, up: &Up) -> Option<Packeted> {
        match up.way {
            Way::Mesh if up.dialed => self.dial_stream(key, up.remote).await,
            Way::Mesh => self.call_back(key, up).await,
            Way::Rtc | Way::RtcRelay => self.0.rtc.open_channel(key).await.map(|channel| Box::new(channel) as Packeted),
        }
    }

    async fn dial_stream(&self, key: NodeId, address: SocketAddr) -> Option<Packeted> {
        let tcp = TcpStream::connect(address).await.ok()?;
        let (stream, proven) = self.0.tls.connect(Wire::dialed(tcp), address.ip()).await.ok()?;
        if proven != key {
            return None;
        }
        let request = (address, PATH);
        let socket = mesh::open_at(TlsStream::from(stream), request, socket_config()).await.ok()?;
        Some(Box::new(socket))
    }

    /// Asks the other side, which dialled the link, to dial again: it can be reached by its link alone.
    async fn call_back(&self, key: NodeId, up: &Up) -> Option<Packeted> {
        let (call, answered) = self.0.streams.call(key);
        let writer = up.writer.upgrade()?;
        writer.send(Write::Frame(Frame::Call(call.id()))).await.ok()?;
        drop(writer);
        answered.await.ok()
    }

    /// The other side of this link, which this node dialled, wants a stream.
    pub(super) fn called(&self, key: NodeId, address: SocketAddr, call: Uuid) {
        let links = self.clone();
        self.spawn(async move {
            // However often the other side calls, this many connections are there, also while it says nothing.
            let Some(seat) = links.0.streams.seat(key) else { return };
            let dialed = timeout(OPEN_TIME, links.dial_stream(key, address)).await;
            let Ok(Some(mut packets)) = dialed else { return };
            let word = Packet::text(Word::Called { call }.encode());
            if let Ok(Ok(())) = timeout(WORD_TIME, packets.send(word)).await {
                links.take_seated(key, packets, Some(seat)).await;
            }
        });
    }

    /// Takes a stream that the other side opened: it goes to whoever waits for files.
    pub(super) async fn take_stream(&self, key: NodeId, packets: Packeted) {
        self.take_seated(key, packets, None).await;
    }

    async fn take_seated(&self, key: NodeId, mut packets: Packeted, seat: Option<Seat>) {
        let refusal = match timeout(WORD_TIME, first_word(&mut packets)).await {
            Ok(Some(Word::Called { call })) => return self.0.streams.answer(key, call, packets),
            Ok(Some(Word::Open { version })) if version >= VERSION => match self.give(key, packets, seat).await {
                Ok(()) => return,
                Err((back, code, detail)) => {
                    packets = back;
                    (code, detail)
                }
            },
            Ok(Some(Word::Open { .. })) => ("incompatible", "that version of streams is not spoken here"),
            _ => return,
        };
        let (code, detail) = (refusal.0.to_owned(), refusal.1.to_owned());
        tracing::debug!(%key, code, "a stream was refused");
        let last = async {
            packets.send(Packet::text(Word::Refused { code, detail }.encode())).await.ok()?;
            packets.close().await.ok()
        };
        // Err: the other side does not read.
        let _ = timeout(LINGER, last).await;
    }

    /// Hands a stream to the first that waits for one from there; else it comes back, with the reason.
    async fn give(
        &self,
        key: NodeId,
        packets: Packeted,
        seat: Option<Seat>,
    ) -> Result<(), (Packeted, &'static str, &'static str)> {
        let view = self.0.handle.look().await;
        let known = view.known.contains(&key);
        let name = view.peers.iter().find(|peer| peer.key == Some(key)).map(|peer| peer.name.clone());
        let from = Giver { key, name, trust: if known { Trust::Known } else { Trust::Verified } };
        let Some(seat) = seat.or_else(|| self.0.streams.seat(key)) else {
            return Err((packets, "busy", "too many transfers are under way there"));
        };
        let mut received = Received { stream: Stream { packets, seat }, from };
        loop {
            let waiting = match self.0.streams.waiting_for(&received.from) {
                Ok(waiting) => waiting,
                Err(somebody) => {
                    let (code, detail) = if somebody { NOT_TRUSTED } else { NO_RECEIVER };
                    return Err((received.stream.packets, code, detail));
                }
            };
            match waiting.send(received) {
                Ok(()) => return Ok(()),
                // It has just gone.
                Err(back) => received = back,
            }
        }
    }
}

const NO_RECEIVER: (&str, &str) = ("no_receiver", "nobody receives there: run `comity receive` over there");

const NOT_TRUSTED: (&str, &str) = (
    "not_trusted",
    "over there files are taken only from known peers: there, `comity trust` this node, or `comity receive --from` it",
);

async fn first_word(packets: &mut Packeted) -> Option<Word> {
    match packets.next().await {
        Some(Ok(Packet::Text(text))) if text.len() <= WORD_MAX => Word::parse(text.as_bytes()),
        _ => None,
    }
}

impl Stream {
    /// Says that somebody takes what comes. To be said once, by the side that was handed the stream.
    pub(crate) async fn ready(&mut self) -> bool {
        timeout(WORD_TIME, self.packets.send(Packet::text(Word::Ready.encode()))).await.is_ok_and(|sent| sent.is_ok())
    }

    /// Carries packets both ways until one side ends, the link between the nodes goes, or the node ends. What either
    /// side has said before it went still arrives.
    pub(crate) async fn join(self, other: impl Packets, stop: CancellationToken) {
        let (mut to_peer, mut from_peer) = self.packets.split();
        let (mut to_command, mut from_command) = other.split();
        {
            let mut inwards = std::pin::pin!(copy(&mut from_peer, &mut to_command));
            let mut outwards = std::pin::pin!(copy(&mut from_command, &mut to_peer));
            // Err: that side said nothing more.
            let _ = tokio::select! {
                end = &mut inwards => if end == End::Unread { timeout(LINGER, outwards).await.map(drop) } else { Ok(()) },
                end = &mut outwards => if end == End::Unread { timeout(LINGER, inwards).await.map(drop) } else { Ok(()) },
                () = self.seat.unlinked() => Ok(()),
                () = stop.cancelled() => Ok(()),
            };
        }
        // Reading on keeps what was written last from being lost to a reset. Err: that side is the one that went.
        let _ = tokio::join!(
            timeout(LINGER, farewell(&mut to_peer, &mut from_peer)),
            timeout(LINGER, farewell(&mut to_command, &mut from_command)),
        );
    }
}

/// Why carrying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing more comes.
    Said,
    /// Who should read has gone.
    Unread,
}

/// Carries packets one way. One is under way at a time: who sends faster than is read waits.
async fn copy<P: Packets, Q: Packets>(from: &mut SplitStream<P>, to: &mut SplitSink<Q, Packet>) -> End {
    while let Some(Ok(packet)) = from.next().await {
        match packet {
            Packet::Text(_) | Packet::Binary(_) if packet.len() <= PACKET_MAX => {
                if to.send(packet).await.is_err() {
                    return End::Unread;
                }
            }
            Packet::Ping(_) | Packet::Pong(_) | Packet::Frame(_) => {}
            Packet::Text(_) | Packet::Binary(_) | Packet::Close(_) => return End::Said,
        }
    }
    End::Said
}

async fn farewell<P: Packets>(to: &mut SplitSink<P, Packet>, from: &mut SplitStream<P>) {
    if to.close().await.is_ok() {
        while let Some(Ok(_)) = from.next().await {}
    }
}

/// How often the other side of a link has called, lately.
#[derive(Default)]
pub(super) struct Calls {
    since: Option<Instant>,
    count: u32,
}

impl Calls {
    /// Whether one more is answered.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now - since >= Duration::from_secs(60)) {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= CALLS_MAX
    }
}

/// A call of this side that waits for its stream.
pub(super) struct Calling<'a> {
    streams: &'a Streams,
    id: Uuid,
}

impl Calling<'_> {
    fn id(&self) -> Uuid {
        self.id
    }
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        self.streams.forget_call(self.id);
    }
}

impl Streams {
    /// A new call of the node with this key, and where its stream will come.
    fn call(&self, key: NodeId) -> (Calling<'_>, oneshot::Receiver<Packeted>) {
        let (reply, answered) = oneshot::channel();
        let id = Uuid::new_v4();
        self.expect_call(id, key, reply);
        (Calling { streams: self, id }, answered)
    }
}
