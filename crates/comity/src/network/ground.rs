//! What a node stands on: the ports it listens on, and the addresses of this machine.

use crate::driver::Handle;
use crate::link::Links;
use comity_core::node::Input;
use ipnet::IpNet;
use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::net::TcpListener;

/// How often the addresses of this machine are read: a laptop that changes its network is found
/// anew within this time.
const INTERFACES_EVERY: Duration = Duration::from_secs(5);

/// Files and sockets that a node needs for itself: its database, its control door, its own dials and
/// links. What the system allows beyond them is for connections that come in.
const FILES_KEPT: usize = 256;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// How often another free port is tried when the system's choice is taken on IPv6.
const FREE_PORT_TRIES: usize = 16;

/// How many connections can come in at once of those that are wanted: where the system allows this
/// process few files, strangers must not have all of them.
pub(super) fn connections(wanted: usize) -> usize {
    let allowed = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    let room = allowed.map_or(wanted, |files| files.saturating_sub(FILES_KEPT).max(files / 4));
    if room < wanted {
        tracing::info!(wanted, room, "this system allows fewer connections at once than are configured (ulimit -n)");
    }
    room.min(wanted)
}

/// Listens on the first port that is free at all the addresses; no address means all, IPv4 and
/// IPv6. Port 0 is any free one.
pub(super) fn listen(
    addresses: &[IpAddr],
    ports: RangeInclusive<u16>,
) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let everywhere = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
    let chosen = if addresses.is_empty() { &everywhere[..] } else { addresses };
    let tries = if *ports.end() == 0 { FREE_PORT_TRIES } else { 1 };
    let mut failure = None;
    for port in std::iter::repeat_n(ports, tries).flatten() {
        match listen_on(chosen, port, addresses.is_empty()) {
            Ok(listeners) => return Ok(listeners),
            Err(failed) if failed.1.kind() == io::ErrorKind::AddrInUse => failure = Some(failed),
            Err(failed) => return Err(failed),
        }
    }
    Err(failure.unwrap_or_else(|| (SocketAddr::new(chosen[0], 0), io::ErrorKind::InvalidInput.into())))
}

fn listen_on(
    addresses: &[IpAddr],
    port: u16,
    without_ipv6_is_fine: bool,
) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let mut listeners = Vec::new();
    let mut port = port;
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match bind(address) {
            Ok(listener) => {
                port = listener.local_addr().map_err(|cause| (address, cause))?.port();
                listeners.push(listener);
            }
            // A machine without IPv6 is reached by IPv4.
            Err(cause) if without_ipv6_is_fine && address.is_ipv6() && cause.kind() != io::ErrorKind::AddrInUse => {
                tracing::debug!(%cause, "no IPv6 here");
            }
            Err(cause) => return Err((address, cause)),
        }
    }
    Ok(listeners)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // IPv4 has a listener of its own, so that addresses are never seen as mapped ones.
        socket.set_only_v6(true)?;
    }
    // A port whose connections have just ended is free.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// The networks that this machine is in, loopback included. Without any answer of the system: none.
pub(super) fn interfaces() -> Vec<IpNet> {
    let found = if_addrs::get_if_addrs().unwrap_or_else(|failure| {
        tracing::warn!(%failure, "the addresses of this machine cannot be read");
        Vec::new()
    });
    let net = |interface: &if_addrs::Interface| {
        let prefix = match &interface.addr {
            if_addrs::IfAddr::V4(v4) => v4.prefixlen,
            if_addrs::IfAddr::V6(v6) => v6.prefixlen,
        };
        IpNet::new(interface.ip(), prefix).ok()
    };
    let mut nets: Vec<IpNet> = found.iter().filter_map(net).collect();
    nets.sort_unstable();
    nets.dedup();
    nets
}

/// Tells the node and its links whenever the addresses of this machine are others than `known`, until
/// it ends.
pub(super) async fn watch_interfaces(handle: Handle, links: Links, mut known: Vec<IpNet>) {
    loop {
        tokio::select! {
            () = handle.stop().cancelled() => return,
            () = tokio::time::sleep(INTERFACES_EVERY) => {}
        }
        let now = interfaces();
        if now != known {
            known.clone_from(&now);
            handle.inform(Input::Interfaces(now)).await;
            links.renew_paths();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_free_port_is_taken_and_both_families_share_it() {
        let first = listen(&[], 0..=0).expect("a free port");
        let port = first[0].local_addr().expect("an address").port();
        assert!(first.iter().all(|listener| listener.local_addr().is_ok_and(|address| address.port() == port)));
        let taken = listen(&[], port..=port).expect_err("the port is taken");
        assert_eq!(taken.1.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn this_machine_has_loopback() {
        assert!(interfaces().iter().any(|net| net.addr().is_loopback()));
    }
}
