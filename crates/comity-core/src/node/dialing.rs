//! Reaching peers: dials and connections, what came of them, and when they are tried again.

use super::{DialFailure, DialOutcome, Effect, Event, Node, Stay, Timer, is_named};
use crate::id::{DialId, PeerId};
use crate::identity::trust::Trust;
use crate::peers::book::{Merged, Peer};
use crate::peers::{Candidate, Presence, Sighting, Source};
use crate::time::Now;
use std::net::SocketAddr;
use std::time::Duration;

/// How long after the first failure a peer is dialled again; doubles with each failure.
const REDIAL_FIRST: Duration = Duration::from_millis(250);

/// The longest pause between two dials of one peer.
pub(super) const REDIAL_MAX: Duration = Duration::from_secs(30);

/// How long the other side's attempt at a WebRTC connection may take before this side tries again.
const YIELDED_FOR: Duration = Duration::from_secs(16);

/// Most addresses that people may name.
const NAMED_MAX: usize = 256;

/// What a dial is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Errand {
    /// To reach a peer of the book.
    Peer(PeerId),
    /// To learn who answers where a person said.
    Named(usize),
}

/// Addresses that a person named, and who turned out to answer there.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) candidates: Vec<Candidate>,
    pub(super) peer: Option<PeerId>,
    pub(super) dial: Option<DialId>,
    failures: u32,
}

impl Node {
    /// A person named addresses: they are dialled until somebody answers. Named once more, they are tried
    /// again if whoever answered there has no link.
    pub(super) fn add_named(&mut self, candidates: Vec<Candidate>) -> bool {
        if let Some(named) = self.manual.iter().find(|named| named.candidates == candidates) {
            match named.peer {
                Some(peer) => drop(self.dial_peer(peer)),
                None => self.dial_named(),
            }
            return true;
        }
        if self.manual.len() >= NAMED_MAX || !candidates.iter().all(is_named) {
            return false;
        }
        self.manual.push(Named { candidates, peer: None, dial: None, failures: 0 });
        self.dial_named();
        true
    }

    pub(super) fn dial_named(&mut self) {
        if self.stay != Stay::Here {
            return;
        }
        for index in 0..self.manual.len() {
            let named = &mut self.manual[index];
            if named.peer.is_some() || named.dial.is_some() {
                continue;
            }
            let dial = self.numbers.dial();
            named.dial = Some(dial);
            let candidates = named.candidates.clone();
            self.dials.insert(dial, Errand::Named(index));
            self.effects.push(Effect::Dial { dial, expect: None, candidates });
        }
    }

    /// Dials a peer unless it is reached or being dialled; `false` when it has no address.
    pub(super) fn dial_peer(&mut self, id: PeerId) -> bool {
        let Some(peer) = self.book.find(id) else { return false };
        let settled = peer.link.is_some() || peer.plain.is_some() && peer.presence == Presence::Online;
        settled || self.start_dial(id)
    }

    /// Dials a peer that reached us, to learn whether it can be reached. One that comes and goes, and
    /// did not answer last time, is dialled when its pause is over.
    pub(super) fn dial_back(&mut self, id: PeerId) {
        let waits = |peer: &Peer| peer.brief && self.timers.is_set(Timer::Redial(id));
        if self.book.find(id).is_some_and(|peer| peer.link.is_some() && !peer.reach.outbound && !waits(peer)) {
            self.start_dial(id);
        }
    }

    fn start_dial(&mut self, id: PeerId) -> bool {
        if self.stay != Stay::Here {
            return false;
        }
        let Some(peer) = self.book.find_mut(id) else { return false };
        let mut candidates = peer.candidates.clone();
        let expect = peer.key.or(peer.claimed_key);
        if expect.is_none() {
            // Whoever was reached there has a key and would take this for a new link in place of that one.
            let linked = |address| self.links.values().any(|link| link.dialed && link.remote == address);
            candidates.retain(|candidate| !linked(candidate.address));
        }
        if peer.dial.is_some() {
            return true;
        }
        if candidates.is_empty() {
            return self.connect(id);
        }
        let near = |address: SocketAddr| self.interfaces.iter().any(|net| net.contains(&address.ip()));
        candidates.sort_by_key(|candidate| (Some(candidate.address) != peer.last_good, !near(candidate.address)));
        let dial = self.numbers.dial();
        peer.dial = Some(dial);
        self.dials.insert(dial, Errand::Peer(id));
        self.timers.cancel(Timer::Redial(id));
        self.effects.push(Effect::Dial { dial, expect, candidates });
        true
    }

    /// Connects to a peer that said how it can be met; `false` when it did not.
    fn connect(&mut self, id: PeerId) -> bool {
        let Some(peer) = self.book.find_mut(id) else { return false };
        let (Some(rendezvous), Some(key)) = (&peer.rendezvous, peer.key.or(peer.claimed_key)) else { return false };
        if !rendezvous.serves_webrtc() {
            return false;
        }
        let mut place = rendezvous.place();
        let dial = self.numbers.dial();
        peer.dial = Some(dial);
        place = place.filter(|(address, _)| {
            let candidate = Candidate { address: *address, source: Source::Mqtt };
            // Counted as the broker's, but no address of this machine counts as learned here for that.
            self.guard.judge(&candidate, peer.came_from).is_ok()
                && self.guard.permit(&candidate, peer.announced_by, self.turn).is_ok()
        });
        self.dials.insert(dial, Errand::Peer(id));
        self.timers.cancel(Timer::Redial(id));
        self.effects.push(Effect::Connect { dial, peer: key, place });
        true
    }

    pub(super) fn handle_redial(&mut self, id: PeerId, now: Now) {
        self.dial_peer(id);
        self.dial_back(id);
        self.pump(id, now);
    }

    /// The attempt of a peer, for which this side's own one may have made way, came to nothing: it is this side's turn,
    /// after a pause that grows with each failure.
    pub(super) fn handle_unmet(&mut self, id: PeerId, now: Now) {
        let waits = |peer: &Peer| peer.yielded && peer.link.is_none() && peer.dial.is_none();
        if self.book.find(id).is_some_and(waits) {
            self.dial_later(id, "its attempt at a connection came to nothing", now);
        }
    }

    pub(super) fn handle_dialed(&mut self, dial: DialId, outcome: DialOutcome, now: Now) {
        let Some(errand) = self.dials.remove(&dial) else { return };
        match errand {
            Errand::Peer(id) => {
                if let Some(peer) = self.book.find_mut(id) {
                    peer.dial = None;
                }
            }
            Errand::Named(index) => self.manual[index].dial = None,
        }
        match outcome {
            DialOutcome::Linked(_) => {}
            DialOutcome::Plain { address, sighting } => self.take_plain(errand, address, &sighting, now),
            DialOutcome::Failed(failures) => self.take_failure(errand, &failures, now),
            DialOutcome::Yielded => {
                if let Errand::Peer(id) = errand {
                    if let Some(peer) = self.book.find_mut(id) {
                        peer.yielded = true;
                    }
                    self.timers.set(Timer::Redial(id), now.mono + YIELDED_FOR);
                }
            }
            DialOutcome::NoPath { reasons } => {
                let trouble =
                    if reasons.is_empty() { "no path to it was found".to_owned() } else { reasons.join("; ") };
                if let Errand::Peer(id) = errand {
                    self.fail_to_reach(id, &trouble, now);
                }
            }
        }
    }

    /// A peer without a key answered by plain HTTP: an original client, never trusted.
    fn take_plain(&mut self, errand: Errand, address: SocketAddr, sighting: &Sighting, now: Now) {
        let wanted = self.trust_wanted(address.ip());
        let fits = match errand {
            Errand::Peer(id) => id == sighting.peer,
            Errand::Named(_) => true,
        };
        // Who has a key answers by TLS: a copied card must not turn its peer into a plain one.
        let claims_key = self.book.find(sighting.peer).is_some_and(|peer| peer.claimed_key.is_some());
        let keyed = sighting.key.is_some() || claims_key || self.book.is_owned(sighting.peer);
        if keyed || wanted > Trust::Unverified || !fits || sighting.peer == self.me {
            self.take_failure(errand, &[], now);
            return;
        }
        let merged = self.book.merge(sighting, sighting.candidates.clone(), now);
        self.see_off(now);
        if merged != Merged::Taken {
            self.take_failure(errand, &[], now);
            if merged == Merged::NameTaken {
                self.evict(sighting.peer, &sighting.name, now);
            }
            return;
        }
        let Some(peer) = self.book.find_mut(sighting.peer) else { return };
        let joined = !peer.presence.is_here();
        peer.plain = Some(address);
        peer.last_good = Some(address);
        peer.reach.outbound = true;
        peer.failures = 0;
        peer.trouble = None;
        peer.touch(now);
        if let Errand::Named(index) = errand {
            peer.sources.insert(Source::Manual);
            self.manual[index].peer = Some(sighting.peer);
        }
        self.set_presence(sighting.peer, Presence::Online);
        if joined {
            self.greet(sighting.peer, now);
        }
        self.pump(sighting.peer, now);
    }

    /// Another node has this node's key: said once for each address.
    pub(super) fn note_twin(&mut self, address: SocketAddr) {
        let known = self.twin.replace(address).map(|twin| twin.ip());
        if known != Some(address.ip()) {
            self.emit(Event::Twin { address });
        }
    }

    fn take_failure(&mut self, errand: Errand, failures: &[(Candidate, DialFailure)], now: Now) {
        if let Some((candidate, _)) = failures.iter().find(|(_, failure)| *failure == DialFailure::Twin) {
            self.note_twin(candidate.address);
        }
        match errand {
            Errand::Named(index) => {
                let named = &mut self.manual[index];
                let pause = backoff(named.failures);
                named.failures += 1;
                if failures.iter().any(|(_, failure)| *failure == DialFailure::Ourselves) {
                    named.peer = Some(self.me);
                } else {
                    let jitter = self.numbers.jitter(pause / 2);
                    self.timers.set_if_idle(Timer::Named, now.mono + pause + jitter);
                }
            }
            Errand::Peer(id) => {
                let Some(peer) = self.book.find_mut(id) else { return };
                let ourselves: Vec<_> =
                    failures.iter().filter(|(_, f)| *f == DialFailure::Ourselves).map(|(c, _)| *c).collect();
                peer.candidates.retain(|candidate| !ourselves.contains(candidate));
                // Nobody answers at any address: there may be another way.
                if !failures.is_empty() && self.connect(id) {
                    return;
                }
                let trouble =
                    failures.iter().map(|(c, failure)| format!("{}: {}", c.address, failure.text())).next_back();
                self.fail_to_reach(id, trouble.as_deref().unwrap_or("nobody answers"), now);
            }
        }
    }

    fn fail_to_reach(&mut self, id: PeerId, trouble: &str, now: Now) {
        let Some(peer) = self.book.find(id) else { return };
        let (linked, offline) = (peer.link.is_some(), peer.presence == Presence::Offline);
        // Who said goodbye and does not answer has not come back: old records may say so.
        if !offline {
            if !linked {
                self.set_presence(id, Presence::Unreachable);
            }
            self.dial_later(id, trouble, now);
        }
    }

    /// Dials a peer again after a pause that doubles with each failure.
    pub(super) fn dial_later(&mut self, id: PeerId, trouble: &str, now: Now) {
        let Some(peer) = self.book.find_mut(id) else { return };
        let pause = backoff(peer.failures);
        peer.failures += 1;
        peer.yielded = false;
        peer.trouble = Some(trouble.to_owned());
        let jitter = self.numbers.jitter(pause / 2);
        self.timers.set(Timer::Redial(id), now.mono + pause + jitter);
    }

    pub(super) fn end_errand(&mut self, dial: DialId, peer: PeerId, now: Now) {
        match self.dials.remove(&dial) {
            Some(Errand::Named(index)) => {
                if let Some(named) = self.manual.get_mut(index) {
                    named.peer = Some(peer);
                    named.dial = None;
                    let candidates = named.candidates.clone();
                    if let Some(peer) = self.book.find_mut(peer) {
                        peer.sources.insert(Source::Manual);
                        peer.add_candidates(candidates);
                    }
                }
            }
            Some(Errand::Peer(dialed)) => {
                if let Some(record) = self.book.find_mut(dialed) {
                    record.dial = None;
                    // A record without a key at whose address somebody with a key answered is wrong.
                    let keyless = record.key.or(record.claimed_key).is_none();
                    if dialed != peer && keyless && !record.presence.is_here() {
                        let name = record.name.clone();
                        self.evict(dialed, &name, now);
                    }
                }
            }
            None => {}
        }
        if let Some(peer) = self.book.find_mut(peer) {
            peer.dial = None;
        }
    }
}

impl DialFailure {
    /// The failure in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Unreachable => "nobody answers",
            Self::Handshake => "the handshake failed",
            Self::WrongKey => "another key answered",
            Self::Ourselves => "that is this node itself",
            Self::Twin => "another node has this node's key",
            Self::Incompatible => "it speaks another protocol version",
            Self::Clock => "its card is from another time: one of the two clocks is wrong",
            Self::Refused => "it refused us",
        }
    }
}

fn backoff(failures: u32) -> Duration {
    (REDIAL_FIRST * 2u32.saturating_pow(failures.min(10))).min(REDIAL_MAX)
}
