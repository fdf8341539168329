//! A data channel as the rest of the house sees it: packets in and out, as a WebSocket has them.
//! Text messages are text packets, binary ones binary.

use bytes::Bytes;
use futures_util::{Sink, Stream};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Bytes as PacketBytes, Error as SocketError, Message as Packet, Utf8Bytes};
use tokio_util::sync::PollSender;

/// Packets that wait for the connection's task, at most.
pub(super) const OUT_MAX: usize = 4;

/// Packets that wait for whoever reads the channel. What comes on top waits in the connection.
pub(super) const IN_MAX: usize = 16;

/// A data channel that is open. Dropped, it closes.
#[derive(Debug)]
pub(crate) struct DataChannel {
    label: String,
    incoming: mpsc::Receiver<Packet>,
    outgoing: PollSender<Packet>,
}

/// The connection's side of a channel.
pub(super) struct Inside {
    pub(super) incoming: mpsc::Sender<Packet>,
    pub(super) outgoing: mpsc::Receiver<Packet>,
}

/// Both sides of a new channel.
pub(super) fn open(label: String) -> (DataChannel, Inside) {
    let (to_reader, incoming) = mpsc::channel(IN_MAX);
    let (to_writer, outgoing) = mpsc::channel(OUT_MAX);
    let outside = DataChannel { label, incoming, outgoing: PollSender::new(to_writer) };
    (outside, Inside { incoming: to_reader, outgoing })
}

/// What came as one message of a channel; `None` when it is text that is no UTF-8.
pub(super) fn packet(binary: bool, data: Vec<u8>) -> Option<Packet> {
    let data: PacketBytes = Bytes::from(data);
    if binary { Some(Packet::Binary(data)) } else { Some(Packet::Text(Utf8Bytes::try_from(data).ok()?)) }
}

impl DataChannel {
    /// Its name, which says what it is for. The other side may have chosen it.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }
}

impl Stream for DataChannel {
    type Item = Result<Packet, SocketError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_recv(cx).map(|packet| packet.map(Ok))
    }
}

impl Sink<Packet> for DataChannel {
    type Error = SocketError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.outgoing.poll_reserve(cx).map_err(|_| SocketError::ConnectionClosed)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> Result<(), SocketError> {
        self.outgoing.send_item(packet).map_err(|_| SocketError::ConnectionClosed)
    }

    /// What was started is in the connection's queue, which is short: it goes out as the network
    /// takes it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}
