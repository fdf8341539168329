//! The part of a connection that talks to servers: how others see this side, and relays.

use super::super::ports;
use super::super::reflexive::{Mirror, Seen};
use super::super::relay::{Relay, Said, ToServer};
use super::super::server::{Opened, Server, credentials};
use super::{Agent, GATHER_TIME};
use crate::config::IceKind;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};
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

    /// Looks for addresses that this machine has got, and drops those it lost.
    pub(in super::super) fn renew(&mut self) -> io::Result<()> {
        let gone = self.ports.close_lost();
        self.invalidate(gone);
        for index in 0..self.relays.len() {
            let relay = &self.relays[index];
            if !relay.ended && self.is_cut_off(relay) {
                self.drop_relay(index);
            }
        }
        self.gather()
    }

    /// Looks for all addresses anew, from new sockets: no NAT and no server may know the old ones any more.
    pub(super) fn start_over(&mut self) -> io::Result<()> {
        let gone = self.ports.close_lost();
        self.invalidate(gone);
        let old = self.ports.age();
        self.invalidate(old);
        (0..self.relays.len()).for_each(|index| self.drop_relay(index));
        self.relays.clear();
        self.mirrors.clear();
        self.gather()
    }

    fn invalidate(&mut self, gone: Vec<SocketAddr>) {
        for candidate in gone.into_iter().filter_map(|address| Candidate::host(address, Protocol::Udp).ok()) {
            self.rtc.direct_api().invalidate_candidate(&candidate);
        }
    }

    fn drop_relay(&mut self, index: usize) {
        let relay = &mut self.relays[index];
        let candidate = relay.relayed.and_then(|own| Candidate::relayed(own, relay.local(), Protocol::Udp).ok());
        let out = relay.release();
        self.send_to_servers(out);
        if let Some(candidate) = candidate {
            self.rtc.direct_api().invalidate_candidate(&candidate);
        }
    }

    fn is_cut_off(&self, relay: &Relay) -> bool {
        match relay.socket() {
            Some(socket) => self.ports.address(socket).is_none(),
            None => ports::addresses().is_ok_and(|now| !now.contains(&relay.local().ip())),
        }
    }

    /// Whether packets go from an address that this machine does not have any more.
    pub(in super::super) fn has_lost_its_path(&self) -> bool {
        let Some((source, _)) = self.path else { return false };
        match self.relays.iter().find(|relay| relay.relayed == Some(source)) {
            Some(relay) => ports::addresses().is_ok_and(|now| !now.contains(&relay.local().ip())),
            None => ports::addresses().is_ok_and(|now| !now.contains(&source.ip())),
        }
    }

    /// Does what time asks for at the relays, and says when to come again.
    pub(super) fn work_relays(&mut self) -> Option<Duration> {
        let mut sooner = None;
        for index in 0..self.relays.len() {
            let (out, said, wait) = self.relays[index].work();
            self.send_to_servers(out);
            sooner = sooner.into_iter().chain(wait).min();
            said.into_iter().for_each(|said| self.heed(index, Some(said)));
        }
        sooner
    }

    /// When the connection has ended: waits until the servers have back what they lent, as long as that may take.
    pub(super) async fn give_back(&mut self) {
        while let Some(until) = self.leaving_until {
            let wait = self.work_relays();
            let now = Instant::now();
            if now >= until || self.relays.iter().all(|relay| relay.ended) {
                return;
            }
            let again = wait.map_or(until, |wait| until.min(now + wait));
            self.timer.as_mut().reset(again.into());
            self.wake().await;
        }
    }

    /// Relays that said nothing in their time.
    pub(super) fn note_silent_relays(&mut self) {
        let silent = self.relays.iter().filter(|relay| !relay.ended && relay.relayed.is_none());
        self.failures.extend(silent.map(|relay| format!("{}: it does not answer", relay.name)));
    }

    /// Whether there are servers that relay.
    pub(in super::super) fn relays_are_configured(&self) -> bool {
        self.ice.servers.iter().any(|server| server.credentials.is_some())
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
        if self.relays.iter().any(|relay| relay.name == name && !relay.ended) {
            return;
        }
        let credentials = server.credentials.as_ref().map(|of| credentials(of, SystemTime::now()));
        match opened {
            Opened::Datagrams(addresses) => {
                let reached = |v4: bool| {
                    let mut of_family = addresses.iter().filter(|address| address.is_ipv4() == v4);
                    of_family.find(|address| !self.ports.toward(**address).is_empty())
                };
                let reached: Vec<SocketAddr> = [true, false].into_iter().filter_map(reached).copied().collect();
                let Some(first) = reached.first().copied() else {
                    return self.failures.push(format!("{name}: no address of this machine reaches it"));
                };
                reached.into_iter().for_each(|address| self.ask_mirror(&name, address));
                if let (IceKind::TurnUdp, Some((username, password))) = (server.address.kind, credentials)
                    && let Some((socket, local)) = self.ports.best_toward(first)
                {
                    self.add_relay(Relay::by_socket(name, socket, local, first, (username, &password)));
                }
            }
            Opened::Stream { stream, local, remote } => {
                if let Some((username, password)) = credentials {
                    self.add_relay(Relay::by_stream(name, stream, local, remote, (username, &password)));
                }
            }
        }
    }

    /// Asks a server how it sees this side, from every socket that may reach it.
    fn ask_mirror(&mut self, name: &str, server: SocketAddr) {
        for (socket, local) in self.ports.toward(server) {
            if self.mirrors.iter().any(|mirror| (mirror.socket, mirror.server) == (socket, server)) {
                continue;
            }
            let (mirror, question) = Mirror::ask(name.to_owned(), socket, local, server);
            self.ports.send(socket, server, &question);
            self.mirrors.push(mirror);
        }
    }

    pub(super) fn add_relay(&mut self, mut relay: Relay) {
        self.remote.iter().for_each(|(address, _)| relay.permit(address.ip()));
        self.relays.push(relay);
    }

    pub(super) fn take_seen(&mut self, mirror: usize, seen: &Seen) {
        let Mirror { socket, ref name, .. } = self.mirrors[mirror];
        let Some(base) = self.ports.address(socket) else { return };
        match seen {
            Seen::At(address) if *address == base => {}
            Seen::At(address) => {
                if let Ok(candidate) = Candidate::server_reflexive(*address, base, Protocol::Udp) {
                    self.offer_candidate(candidate);
                }
            }
            // Where one address of this machine is answered, the server is well; a relay says so itself.
            Seen::Nothing if name.starts_with("turn") => {}
            Seen::Nothing => {
                let mut all = self.mirrors.iter().filter(|mirror| mirror.name == *name);
                if all.all(|mirror| mirror.ended && !mirror.answered) {
                    self.failures.push(format!("{name}: it does not answer"));
                }
            }
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
            Some(Said::Refused) => self.failures.push(format!("{}: {}", relay.name, relay.trouble())),
            None => {}
        }
    }
}
