//! The part of a connection that talks to servers: how others see this side, and relays.

use super::super::reflexive::{Mirror, Seen};
use super::super::relay::{Relay, Said, ToServer};
use super::super::server::{Opened, Server, credentials};
use super::{Agent, GATHER_TIME};
use crate::config::IceKind;
use std::io;
use std::time::{Instant, SystemTime};
use str0m::Candidate;
use str0m::net::Protocol;

impl Agent {
    /// Opens sockets at the addresses of this machine and asks the servers.
    pub(super) fn gather(&mut self) -> io::Result<()> {
        for address in self.ports.open(self.ice.ports.clone())? {
            if let Ok(candidate) = Candidate::host(address, Protocol::Udp) {
                self.offer_candidate(candidate);
            }
        }
        self.gathering = Some(Instant::now() + GATHER_TIME);
        for server in &self.ice.servers {
            let (server, tls) = (server.clone(), self.ice.tls.clone());
            self.opening.spawn(async move {
                let opened = server.open(tls.as_ref()).await;
                (server, opened)
            });
        }
        Ok(())
    }

    pub(super) fn send_to_servers(&mut self, out: impl IntoIterator<Item = ToServer>) {
        for ToServer { socket, server, data } in out {
            self.ports.send(socket, server, &data);
        }
    }

    pub(super) fn take_server(&mut self, server: &Server, opened: io::Result<Opened>) {
        let name = server.address.to_string();
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => return self.failures.push(format!("{name}: {error}")),
        };
        let credentials = server.credentials.as_ref().map(|of| credentials(of, SystemTime::now()));
        match opened {
            Opened::Datagrams(address) => {
                for (socket, local) in self.ports.toward(address) {
                    let (mirror, question) = Mirror::ask(socket, local, address);
                    self.ports.send(socket, address, &question);
                    self.mirrors.push(mirror);
                }
                if let (IceKind::TurnUdp, Some((username, password))) = (server.address.kind, credentials)
                    && let Some((socket, local)) = self.ports.best_toward(address)
                {
                    self.add_relay(Relay::by_socket(name, socket, local, address, (username, &password)));
                }
            }
            Opened::Stream { stream, local, remote } => {
                if let Some((username, password)) = credentials {
                    self.add_relay(Relay::by_stream(name, stream, local, remote, (username, &password)));
                }
            }
        }
    }

    pub(super) fn add_relay(&mut self, mut relay: Relay) {
        self.remote.iter().for_each(|(address, _)| relay.permit(address.ip()));
        self.relays.push(relay);
    }

    pub(super) fn take_seen(&mut self, mirror: usize, seen: &Seen) {
        let Mirror { socket, server, .. } = self.mirrors[mirror];
        let Some(base) = self.ports.address(socket) else { return };
        match seen {
            Seen::At(address) if *address == base => {}
            Seen::At(address) => {
                if let Ok(candidate) = Candidate::server_reflexive(*address, base, Protocol::Udp) {
                    self.offer_candidate(candidate);
                }
            }
            Seen::Nothing => self.failures.push(format!("stun:{server}: no answer")),
        }
    }

    pub(super) fn heed(&mut self, relay: usize, said: Option<Said>) {
        let relay = &self.relays[relay];
        match said {
            Some(Said::Relayed(address)) => {
                if let Ok(candidate) = Candidate::relayed(address, relay.local(), Protocol::Udp) {
                    self.offer_candidate(candidate);
                }
            }
            Some(Said::Refused) => {
                self.failures
                    .push(format!("{}: no relay (it does not answer, or refuses the credentials)", relay.name));
            }
            None => {}
        }
    }
}
