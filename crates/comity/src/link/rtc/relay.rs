//! One allocation at a TURN server (RFC 8656): an address there at which this node can be reached
//! from anywhere. The protocol is the `turn-client-proto` crate's; here are its bytes.

use bytes::{Buf, BufMut, BytesMut};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turn_client_proto::api::{Transmit, TurnClientApi, TurnConfig, TurnEvent, TurnPollRet, TurnRecvRet};
use turn_client_proto::stun::types::TransportType;
use turn_client_proto::stun::types::attribute::ErrorCode;
use turn_client_proto::stun::types::message::Message;
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::types::TurnCredentials;
use turn_client_proto::udp::TurnClientUdp;

turn_client_proto::impl_client!(Client, (Udp, TurnClientUdp), (Tcp, TurnClientTcp));

/// A connection to a relay, plain or TLS.
pub(super) type Stream = Box<dyn ReadWrite>;

/// What a [`Stream`] can do.
pub(super) trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for T {}

/// Bytes that wait for a relay's connection to take them; what comes on top is dropped, as a
/// network drops it.
const STREAM_WAITING_MAX: usize = 512 * 1024;

/// Packets that wait until the relay permits their addressee.
const UNPERMITTED_MAX: usize = 32;

/// Addresses that the relay is asked to permit, at most: as many as a peer may name candidates.
const PERMITTED_MAX: usize = 64;

/// How often the server is asked before it counts as silent: at once, then after 0.25, 0.75, 1.75 s.
const ASK_FIRST: Duration = Duration::from_millis(250);
const ASK_PAUSE_MAX: Duration = Duration::from_secs(1);
const ASK_TIMES: u32 = 4;

/// How the bytes go.
enum Way {
    /// By this socket of the connection.
    Socket(usize),
    /// By this connection: `coming` is what was read of a message that is not complete yet.
    Stream { stream: Stream, waiting: BytesMut, coming: BytesMut },
}

/// What a relay has to say.
#[derive(Debug)]
pub(super) enum Said {
    /// The address it gave.
    Relayed(SocketAddr),
    /// It gives none, or took it back.
    Refused,
}

/// An allocation, or the attempt at one.
pub(super) struct Relay {
    client: Client,
    way: Way,
    /// The server, in words.
    pub(super) name: String,
    /// The address it gave, once it has.
    pub(super) relayed: Option<SocketAddr>,
    pub(super) ended: bool,
    /// Whether the address is not needed any more.
    leaving: bool,
    /// Whether the server has said anything, and the code of its last refusal.
    heard: bool,
    refusal: Option<u16>,
    base: Instant,
    permitted: Vec<IpAddr>,
    unpermitted: VecDeque<(SocketAddr, Vec<u8>)>,
    bound: Option<SocketAddr>,
}

/// A datagram for the server itself.
pub(super) struct ToServer {
    pub(super) socket: usize,
    pub(super) server: SocketAddr,
    pub(super) data: Vec<u8>,
}

impl Relay {
    /// Asks for an address over this socket.
    pub(super) fn by_socket(
        name: String,
        socket: usize,
        local: SocketAddr,
        server: SocketAddr,
        who: (String, &str),
    ) -> Self {
        let client = TurnClientUdp::allocate(local, server, config(who, server));
        Self::new(name, Client::Udp(client), Way::Socket(socket))
    }

    /// Asks for an address over this connection.
    pub(super) fn by_stream(
        name: String,
        stream: Stream,
        local: SocketAddr,
        server: SocketAddr,
        who: (String, &str),
    ) -> Self {
        let client = TurnClientTcp::allocate(local, server, config(who, server));
        Self::new(name, Client::Tcp(client), Way::Stream { stream, waiting: BytesMut::new(), coming: BytesMut::new() })
    }

    fn new(name: String, client: Client, way: Way) -> Self {
        Self {
            client,
            way,
            name,
            relayed: None,
            ended: false,
            leaving: false,
            heard: false,
            refusal: None,
            base: Instant::now(),
            permitted: Vec::new(),
            unpermitted: VecDeque::new(),
            bound: None,
        }
    }

    /// Whether what comes from this address to this socket is the server's.
    pub(super) fn is_at(&self, socket: usize, from: SocketAddr) -> bool {
        matches!(self.way, Way::Socket(own) if own == socket) && self.client.remote_addr() == from
    }

    /// The socket by which the server is reached, if it is one of the connection's.
    pub(super) fn socket(&self) -> Option<usize> {
        match self.way {
            Way::Socket(socket) => Some(socket),
            Way::Stream { .. } => None,
        }
    }

    /// Why it gives no address, in words.
    pub(super) fn trouble(&self) -> String {
        match self.refusal {
            _ if !self.heard => "it does not answer".to_owned(),
            Some(401) => "it refuses the name or the password".to_owned(),
            Some(code @ (486 | 508)) => format!("it has no room for another relayed address (error {code})"),
            Some(code) => format!("it gives no relayed address (error {code})"),
            None => "the connection to it broke".to_owned(),
        }
    }

    /// The address of this machine by which the server is reached.
    pub(super) fn local(&self) -> SocketAddr {
        self.client.local_addr()
    }

    fn now(&self) -> turn_client_proto::stun::Instant {
        turn_client_proto::stun::Instant::from_std(self.base)
    }

    /// Whether it makes sense to ask for packets to this address: a relay in the open that is sent to a
    /// private address has no route there, and some end the whole allocation for that.
    pub(super) fn reaches(&self, peer: IpAddr) -> bool {
        is_private(self.client.remote_addr().ip()) || !is_private(peer)
    }

    /// Lets packets of this peer through, in both directions.
    pub(super) fn permit(&mut self, peer: IpAddr) {
        if !self.reaches(peer) || self.permitted.contains(&peer) || self.permitted.len() >= PERMITTED_MAX {
            return;
        }
        self.permitted.push(peer);
        if self.relayed.is_some() {
            // Err: it is permitted already.
            let _ = self.client.create_permission(TransportType::Udp, peer, self.now());
        }
    }

    /// Spends four bytes on each packet to this peer from now on, instead of thirty-six.
    pub(super) fn bind(&mut self, peer: SocketAddr) {
        if self.bound != Some(peer) && self.relayed.is_some() {
            self.bound = Some(peer);
            // Err: it is bound already, or the server has gone; packets go the longer way.
            let _ = self.client.bind_channel(TransportType::Udp, peer, self.now());
        }
    }

    /// Sends a packet to a peer. What cannot go is dropped, as a network drops it.
    pub(super) fn send(&mut self, to: SocketAddr, data: &[u8]) -> Option<ToServer> {
        if !self.client.have_permission(TransportType::Udp, to.ip()) {
            self.permit(to.ip());
            if self.unpermitted.len() < UNPERMITTED_MAX {
                self.unpermitted.push_back((to, data.to_vec()));
            }
            return None;
        }
        let now = self.now();
        let built = self.client.send_to(TransportType::Udp, to, data, now).ok()??;
        self.forward(built.build().data)
    }

    fn forward(&mut self, data: Vec<u8>) -> Option<ToServer> {
        match &mut self.way {
            Way::Socket(socket) => Some(ToServer { socket: *socket, server: self.client.remote_addr(), data }),
            Way::Stream { waiting, .. } => {
                if waiting.len() + data.len() <= STREAM_WAITING_MAX {
                    waiting.extend_from_slice(&data);
                    // RFC 8656, 12.5: on a stream channel data is padded, which the library leaves to us.
                    waiting.put_bytes(0, data.len().next_multiple_of(4) - data.len());
                }
                None
            }
        }
    }

    /// Takes a datagram, or the next bytes of the connection. What peers sent goes to `peer`.
    pub(super) fn receive(&mut self, data: &[u8], mut peer: impl FnMut(SocketAddr, &[u8])) {
        let Way::Stream { coming, .. } = &mut self.way else { return self.receive_one(data, &mut peer) };
        coming.extend_from_slice(data);
        let mut coming = std::mem::take(coming);
        while let Some(message) = next_message(&mut coming) {
            self.receive_one(&message, &mut peer);
        }
        if let Way::Stream { coming: rest, .. } = &mut self.way {
            *rest = coming;
        }
    }

    fn receive_one(&mut self, data: &[u8], peer: &mut impl FnMut(SocketAddr, &[u8])) {
        if self.relayed.is_none() {
            self.heard = true;
            let code =
                Message::from_bytes(data).ok().and_then(|answer| Some(answer.attribute::<ErrorCode>().ok()?.code()));
            self.refusal = code.or(self.refusal);
        }
        let transmit =
            Transmit::new(data, self.client.transport(), self.client.remote_addr(), self.client.local_addr());
        let now = self.now();
        if let TurnRecvRet::PeerData(received) = self.client.recv(transmit, now) {
            peer(received.peer, received.data());
        }
    }

    /// Takes what came over the connection, if this relay has one.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Way::Stream { stream, .. } = &mut self.way else { return Poll::Pending };
        if self.ended {
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer.filled().len())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Writes what waits for the connection.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Way::Stream { stream, waiting, .. } = &mut self.way else { return Ok(()) };
        if self.ended {
            return Ok(());
        }
        while !waiting.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, waiting) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => waiting.advance(written),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        // Only a TLS stream has something to flush; Pending means that it goes on by itself.
        match Pin::new(stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// The connection broke.
    pub(super) fn lose(&mut self) -> Option<Said> {
        // Once: the client says by another such event that it failed.
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        self.client.protocol_error();
        Some(Said::Refused)
    }

    /// Does what time asks for: what goes to the server now, what it said, and when to come again.
    pub(super) fn work(&mut self) -> (Vec<ToServer>, Vec<Said>, Option<Duration>) {
        let (mut out, mut said, mut wait) = (Vec::new(), Vec::new(), None);
        if self.ended {
            return (out, said, wait);
        }
        loop {
            let now = self.now();
            match self.client.poll(now) {
                TurnPollRet::WaitUntil(at) => wait = Some(at.duration_since(now)),
                TurnPollRet::Closed => {
                    said.extend(self.lose());
                    return (out, said, None);
                }
                TurnPollRet::AllocateTcpSocket { .. } | TurnPollRet::TcpClose { .. } => {}
            }
            let mut idle = true;
            while let Some(transmit) = self.client.poll_transmit(now) {
                idle = false;
                let data = transmit.data.to_vec();
                out.extend(self.forward(data));
            }
            while let Some(event) = self.client.poll_event() {
                idle = false;
                said.extend(self.heard(event, &mut out));
            }
            if idle {
                return (out, said, wait);
            }
        }
    }

    fn heard(&mut self, event: TurnEvent, out: &mut Vec<ToServer>) -> Option<Said> {
        match event {
            TurnEvent::AllocationCreated(_, address) => {
                self.relayed = Some(address);
                if self.leaving {
                    self.leave();
                    return None;
                }
                let now = self.now();
                for peer in &self.permitted {
                    // Err: it is permitted already.
                    let _ = self.client.create_permission(TransportType::Udp, *peer, now);
                }
                return Some(Said::Relayed(address));
            }
            TurnEvent::AllocationCreateFailed(_) => return self.lose(),
            TurnEvent::PermissionCreated(_, peer) => {
                for (to, data) in std::mem::take(&mut self.unpermitted) {
                    if to.ip() == peer {
                        out.extend(self.send(to, &data));
                    } else {
                        self.unpermitted.push_back((to, data));
                    }
                }
            }
            TurnEvent::PermissionCreateFailed(_, peer) => self.unpermitted.retain(|(to, _)| to.ip() != peer),
            _ => {}
        }
        None
    }

    /// Gives the address back, also one that the server has not named yet: once it has heard that, this has ended.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        // Err: there is none yet.
        let _ = self.client.delete(self.now());
    }

    /// Gives the address back, as far as that can be done at once: the way to the server is lost.
    pub(super) fn release(&mut self) -> Vec<ToServer> {
        // Err: there is none.
        let _ = self.client.delete(self.now());
        let out = self.work().0;
        self.ended = true;
        out
    }
}

/// The next whole message of a stream: a STUN message, or channel data without its padding.
fn next_message(coming: &mut BytesMut) -> Option<BytesMut> {
    let length = usize::from(u16::from_be_bytes([*coming.get(2)?, *coming.get(3)?]));
    // RFC 8656, 12: channel numbers begin with 0x40 to 0x4f, STUN messages below.
    let (length, padding) = match coming[0] {
        0x40..=0x4f => (4 + length, length.next_multiple_of(4) - length),
        _ => (20 + length, 0),
    };
    if coming.len() < length + padding {
        return None;
    }
    let message = coming.split_to(length);
    coming.advance(padding);
    Some(message)
}

fn config((username, password): (String, &str), server: SocketAddr) -> TurnConfig {
    let mut config = TurnConfig::new(TurnCredentials::new(&username, password));
    config.set_address_family(if server.is_ipv4() {
        turn_client_proto::types::AddressFamily::IPV4
    } else {
        turn_client_proto::types::AddressFamily::IPV6
    });
    config.set_request_retransmits(ASK_FIRST, ASK_PAUSE_MAX, ASK_TIMES, ASK_PAUSE_MAX);
    config
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_refuses_an_address_is_asked_no_more_and_what_it_said_is_kept() {
        let [local, server] = [([127, 0, 0, 1], 4000), ([127, 0, 0, 1], 3478)].map(SocketAddr::from);
        let mut relay = Relay::by_socket("turn:there".to_owned(), 0, local, server, ("kern".to_owned(), "pass"));
        let asked = relay.work().0.remove(0).data;
        // RFC 8489, 5 and 14.8: an error answer to ALLOCATE, with the number of the request, code 437.
        let error = [&[0x01, 0x13, 0, 8][..], &asked[4..20], &[0, 9, 0, 4, 0, 0, 4, 37]].concat();
        relay.receive(&error, |_, _| panic!("nobody sent anything"));
        assert!(matches!(relay.work().1[..], [Said::Refused]));
        assert!(relay.ended && relay.work().0.is_empty());
        assert!(relay.trouble().contains("437"), "{}", relay.trouble());
    }

    #[test]
    fn a_stream_is_cut_into_messages_however_its_bytes_come() {
        let stun = [&[1, 1, 0, 4][..], &[7; 20]].concat();
        let data = [&[0x40, 0, 0, 5][..], &[9; 5]].concat();
        let stream = [&data[..], &[0; 3], &stun, &data, &[0; 3]].concat();
        let (mut coming, mut messages) = (BytesMut::new(), Vec::new());
        for byte in stream {
            coming.put_u8(byte);
            messages.extend(next_message(&mut coming).map(|message| message.to_vec()));
        }
        assert_eq!(messages, [data.clone(), stun, data]);
        assert!(coming.is_empty());
    }
}
