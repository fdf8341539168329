//! How libp2p reaches other nodes, by TCP and by QUIC: it dials as any other link does, and what it accepts by TCP came
//! by the node's one port, whose first byte told. It knows nothing of Noise, yamux and gossip. Source: the `Transport` trait of
//! libp2p-core, and `specs/connections` of libp2p.

use super::super::wire::Wire;
use super::reach::Reach;
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, quic};
use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// How long an address may take to answer.
const DIAL_TIME: Duration = Duration::from_secs(10);

/// Connections that wait for libp2p, at most; what comes on top is closed.
const WAITING_MAX: usize = 64;

/// A connection that the one port accepted, and whose first byte says libp2p.
pub(crate) struct Accepted {
    pub(crate) wire: Wire,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// Where the one port leaves what is libp2p's.
pub(crate) fn door() -> (mpsc::Sender<Accepted>, mpsc::Receiver<Accepted>) {
    mpsc::channel(WAITING_MAX)
}

type Dialing = Pin<Box<dyn Future<Output = io::Result<Compat<Wire>>> + Send>>;
type Event = TransportEvent<Ready<io::Result<Compat<Wire>>>, io::Error>;

/// TCP by the node's one port.
pub(super) struct OnePort {
    accepted: mpsc::Receiver<Accepted>,
    reach: Arc<Reach>,
    listening: Option<ListenerId>,
    events: VecDeque<Event>,
}

impl OnePort {
    pub(super) fn new(accepted: mpsc::Receiver<Accepted>, reach: Arc<Reach>) -> Self {
        Self { accepted, reach, listening: None, events: VecDeque::new() }
    }
}

impl Transport for OnePort {
    type Output = Compat<Wire>;
    type Error = io::Error;
    type ListenerUpgrade = Ready<io::Result<Compat<Wire>>>;
    type Dial = Dialing;

    /// The port listens already: the address is one of those that it has.
    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        if socket_of(&address).is_none() {
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        self.listening.get_or_insert(id);
        self.events.push_back(TransportEvent::NewAddress { listener_id: id, listen_addr: address });
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.listening.take_if(|listening| *listening == id).is_some()
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Dialing, TransportError<io::Error>> {
        let Some((socket, _)) = socket_of(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let reach = Arc::clone(&self.reach);
        Ok(Box::pin(async move {
            let _turn = reach.dial(socket).await?;
            let tcp = timeout(DIAL_TIME, TcpStream::connect(socket)).await.map_err(|_| io::ErrorKind::TimedOut)??;
            Ok(Wire::dialed(tcp).compat())
        }))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        let Some(listener_id) = self.listening else { return Poll::Pending };
        match self.accepted.poll_recv(cx) {
            Poll::Ready(Some(Accepted { wire, local, remote })) => Poll::Ready(TransportEvent::Incoming {
                listener_id,
                upgrade: ready(Ok(wire.compat())),
                local_addr: address_of(local),
                send_back_addr: address_of(remote),
            }),
            // Err: the port is closed, as the node ends.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

type QuicDialing =
    Pin<Box<dyn Future<Output = Result<<quic::tokio::Transport as Transport>::Output, quic::Error>> + Send>>;

/// QUIC, which dials where the node does.
pub(super) struct Quic {
    inner: quic::tokio::Transport,
    reach: Arc<Reach>,
}

impl Quic {
    pub(super) fn new(config: quic::Config, reach: Arc<Reach>) -> Self {
        Self { inner: quic::tokio::Transport::new(config), reach }
    }
}

impl Transport for Quic {
    type Output = <quic::tokio::Transport as Transport>::Output;
    type Error = quic::Error;
    type ListenerUpgrade = <quic::tokio::Transport as Transport>::ListenerUpgrade;
    type Dial = QuicDialing;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<quic::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<QuicDialing, TransportError<quic::Error>> {
        let dialing = self.inner.dial(address.clone(), options)?;
        let Some(place) = place_of(&address) else { return Err(TransportError::MultiaddrNotSupported(address)) };
        let reach = Arc::clone(&self.reach);
        Ok(Box::pin(async move {
            let _turn = reach.dial(place).await?;
            dialing.await
        }))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, quic::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// The place that an address begins with, by TCP or by UDP.
pub(super) fn place_of(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// An address as libp2p writes it.
pub(super) fn address_of(socket: SocketAddr) -> Multiaddr {
    Multiaddr::from(socket.ip()).with(Protocol::Tcp(socket.port()))
}

/// The same port by QUIC, as libp2p writes it.
pub(super) fn quic_address_of(socket: &SocketAddr) -> Multiaddr {
    Multiaddr::from(socket.ip()).with(Protocol::Udp(socket.port())).with(Protocol::QuicV1)
}

/// The TCP address that this is, and the peer it names.
pub(super) fn socket_of(address: &Multiaddr) -> Option<(SocketAddr, Option<PeerId>)> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else { return None };
    let peer = match parts.next() {
        None => None,
        Some(Protocol::P2p(peer)) => Some(peer),
        Some(_) => return None,
    };
    parts.next().is_none().then_some((SocketAddr::new(ip, port), peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use libp2p::identity::Keypair;

    #[tokio::test]
    async fn an_address_that_is_not_dialled_is_not_dialled_by_quic_either() {
        let reach = Arc::new(Reach::new(false, Vec::new()));
        let mut quic = Quic::new(quic::Config::new(&Keypair::generate_ed25519()), reach);
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
        let dialing = quic.dial("/ip4/127.0.0.1/udp/9/quic-v1".parse().expect("an address"), options);
        let refused = dialing.expect("it is one of QUIC").await.err().expect("nobody may name loopback").to_string();
        assert_eq!(refused, "an address that is not dialled");
    }
}
