//! The UDP sockets of one connection: one at each address of this machine, so that every packet
//! leaves from the address that its path was checked with (RFC 8445, 5.1.1).

use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// Addresses of this machine that are used, at most: more would only be more to check.
const ADDRESSES_MAX: usize = 8;

/// Datagrams that wait for the network card; what comes on top is dropped, as a network drops it.
const WAITING_MAX: usize = 1024;

/// What the sockets ask the system to hold, bytes, so that a burst is not lost while the task does
/// something else. The system may grant less.
const SYSTEM_BUFFER: usize = 1024 * 1024;

/// Ports of a configured range that are tried.
const TRIES: usize = 64;

/// One socket.
struct Port {
    udp: UdpSocket,
    address: SocketAddr,
    /// Whether another one at the same address took over: it is there for what may still come.
    old: bool,
}

/// A datagram came.
pub(super) struct Arrived {
    pub(super) socket: usize,
    pub(super) len: usize,
    pub(super) from: SocketAddr,
}

/// The sockets. Their numbers stay as they are while others come and go.
#[derive(Default)]
pub(super) struct Ports {
    sockets: Vec<Option<Port>>,
    waiting: VecDeque<(usize, SocketAddr, Vec<u8>)>,
    turn: usize,
}

impl Ports {
    /// Opens a socket at every address of this machine that has none, and gives the new addresses.
    pub(super) fn open(&mut self, range: Option<RangeInclusive<u16>>) -> io::Result<Vec<SocketAddr>> {
        let mut new = Vec::new();
        let mut failure = None;
        for ip in addresses()? {
            let known = self.current().any(|port| port.address.ip() == ip);
            if known || self.current().count() >= ADDRESSES_MAX {
                continue;
            }
            match bind(ip, range.clone()) {
                Ok((udp, address)) => {
                    new.push(address);
                    self.sockets.push(Some(Port { udp, address, old: false }));
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if self.sockets.iter().flatten().count() == 0 => Err(error),
            _ => Ok(new),
        }
    }

    fn current(&self) -> impl Iterator<Item = &Port> {
        self.sockets.iter().flatten().filter(|port| !port.old)
    }

    /// Closes the sockets at addresses that this machine has lost, and gives those.
    pub(super) fn close_lost(&mut self) -> Vec<SocketAddr> {
        let Ok(now) = addresses() else { return Vec::new() };
        self.close(|port| !now.contains(&port.address.ip()))
    }

    /// From now on all sockets are old, for others to take over; those that were old before are closed, and given.
    pub(super) fn age(&mut self) -> Vec<SocketAddr> {
        let closed = self.close(|port| port.old);
        self.sockets.iter_mut().flatten().for_each(|port| port.old = true);
        closed
    }

    fn close(&mut self, which: impl Fn(&Port) -> bool) -> Vec<SocketAddr> {
        let closed = self.sockets.iter_mut().filter_map(|socket| socket.take_if(|port| which(port)));
        closed.map(|port| port.address).collect()
    }

    /// The address of a socket.
    pub(super) fn address(&self, socket: usize) -> Option<SocketAddr> {
        Some(self.sockets.get(socket)?.as_ref()?.address)
    }

    /// The socket at an address.
    pub(super) fn index_of(&self, address: SocketAddr) -> Option<usize> {
        self.sockets.iter().position(|socket| socket.as_ref().is_some_and(|port| port.address == address))
    }

    /// The sockets that can reach an address of this family.
    pub(super) fn toward(&self, address: SocketAddr) -> Vec<(usize, SocketAddr)> {
        let fits = |own: &SocketAddr| {
            own.is_ipv4() == address.is_ipv4() && own.ip().is_loopback() == address.ip().is_loopback()
        };
        let all = self.sockets.iter().enumerate();
        let current =
            all.filter_map(|(index, socket)| Some((index, socket.as_ref().filter(|port| !port.old)?.address)));
        current.filter(|(_, own)| fits(own)).collect()
    }

    /// The socket by which the system would reach an address.
    pub(super) fn best_toward(&self, address: SocketAddr) -> Option<(usize, SocketAddr)> {
        let any: SocketAddr =
            if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let probe =
            std::net::UdpSocket::bind(any).and_then(|probe| probe.connect(address).and(probe.local_addr())).ok();
        let fitting = self.toward(address);
        let best = fitting.iter().find(|(_, own)| probe.is_some_and(|probe| probe.ip() == own.ip()));
        best.or(fitting.first()).copied()
    }

    /// Sends a datagram, in order with those before it.
    pub(super) fn send(&mut self, socket: usize, to: SocketAddr, data: &[u8]) {
        if self.waiting.is_empty() {
            match self.sockets.get(socket).and_then(Option::as_ref).map(|port| port.udp.try_send_to(data, to)) {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                // What the system refuses is lost, as on any network.
                _ => return,
            }
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((socket, to, data.to_vec()));
        }
    }

    /// Whether all sockets are at loopback.
    pub(super) fn is_on_loopback(&self) -> bool {
        self.sockets.iter().flatten().all(|port| port.address.ip().is_loopback())
    }

    /// Whether nothing waits.
    pub(super) fn is_clear(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends what waits.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) {
        while let Some((socket, to, data)) = self.waiting.front() {
            let udp = self.sockets.get(*socket).and_then(Option::as_ref);
            if let Some(port) = udp
                && port.udp.poll_send_to(cx, data, *to).is_pending()
            {
                return;
            }
            self.waiting.pop_front();
        }
    }

    /// Takes a datagram from whichever socket has one.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Arrived> {
        for offset in 0..self.sockets.len() {
            let socket = (self.turn + offset) % self.sockets.len();
            let Some(Port { udp, .. }) = &self.sockets[socket] else { continue };
            loop {
                let mut buffer = ReadBuf::new(buffer);
                match udp.poll_recv_from(cx, &mut buffer) {
                    Poll::Ready(Ok(from)) => {
                        self.turn = socket;
                        return Poll::Ready(Arrived { socket, len: buffer.filled().len(), from });
                    }
                    // What an earlier datagram met on its way (ICMP): says nothing about this one.
                    Poll::Ready(Err(_)) => {}
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    }
}

/// The addresses at which others may reach this machine; loopback when there is no other.
pub(super) fn addresses() -> io::Result<Vec<IpAddr>> {
    let all: Vec<IpAddr> = if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip()).collect();
    let far: Vec<IpAddr> = all.iter().copied().filter(|ip| !ip.is_loopback() && !is_link_local(*ip)).collect();
    Ok(if far.is_empty() { all.into_iter().filter(IpAddr::is_loopback).collect() } else { far })
}

/// Such an address means nothing without the name of an interface, which candidates do not carry.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn bind(ip: IpAddr, range: Option<RangeInclusive<u16>>) -> io::Result<(UdpSocket, SocketAddr)> {
    let Some(range) = range else { return bind_at(SocketAddr::new(ip, 0)) };
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..TRIES {
        match bind_at(SocketAddr::new(ip, rand::random_range(range.clone()))) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_at(address: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // Err: the system grants what it grants.
    let _ = socket.set_recv_buffer_size(SYSTEM_BUFFER);
    let _ = socket.set_send_buffer_size(SYSTEM_BUFFER);
    socket.bind(&address.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}
