//! The packets of a connection: what goes out by a socket or a relay, and whose one is that came in.

use super::super::reflexive::Mirror;
use super::Agent;
use std::net::SocketAddr;
use std::time::Instant;
use str0m::Input;
use str0m::net::{Protocol, Receive};

impl Agent {
    pub(super) fn send(&mut self, source: SocketAddr, destination: SocketAddr, data: &[u8]) {
        if let Some(socket) = self.ports.index_of(source) {
            return self.ports.send(socket, destination, data);
        }
        let relay = self.relays.iter_mut().find(|relay| relay.relayed == Some(source) && !relay.ended);
        if let Some(relay) = relay
            && relay.reaches(destination.ip())
        {
            let out = relay.send(destination, data);
            self.send_to_servers(out);
        }
    }

    pub(super) fn take_datagram(&mut self, socket: usize, len: usize, from: SocketAddr) {
        let buffer = std::mem::take(&mut self.buffer);
        let data = &buffer[..len];
        let asked = |mirror: &Mirror| mirror.socket == socket && mirror.server == from;
        let mirror = self.mirrors.iter().position(asked);
        // A relay is asked over the same socket how it sees this side.
        let seen = mirror.and_then(|index| Some((index, self.mirrors[index].receive(data)?)));
        if let Some((index, seen)) = seen {
            self.take_seen(index, &seen);
        } else if let Some(relay) = self.relays.iter().position(|relay| relay.is_at(socket, from)) {
            self.take_from_relay(relay, data);
        } else if let Some(address) = self.ports.address(socket) {
            self.receive(from, address, data);
        }
        self.buffer = buffer;
    }

    pub(super) fn take_relayed(&mut self, relay: usize, len: usize) {
        let buffer = std::mem::take(&mut self.buffer);
        self.take_from_relay(relay, &buffer[..len]);
        self.buffer = buffer;
    }

    pub(super) fn take_from_relay(&mut self, relay: usize, data: &[u8]) {
        let mut received = Vec::new();
        self.relays[relay].receive(data, |peer, data| received.push((peer, data.to_vec())));
        let Some(relayed) = self.relays[relay].relayed else { return };
        for (peer, data) in received {
            self.receive(peer, relayed, &data);
            // One at a time, as the state machine wants it.
            self.drain();
        }
    }

    fn receive(&mut self, source: SocketAddr, destination: SocketAddr, data: &[u8]) {
        // What is neither STUN nor DTLS is nobody's.
        if let Ok(contents) = data.try_into() {
            let receive = Receive { proto: Protocol::Udp, source, destination, contents };
            self.feed(Input::Receive(Instant::now(), receive));
        }
    }
}
