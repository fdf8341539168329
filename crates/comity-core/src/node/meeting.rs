//! Finding peers and keeping in touch: sightings, dials and their ends, presence, heartbeats.

use super::linking::Hello;
use super::{DialFailure, DialOutcome, Effect, Event, Node, Stay, Timer, is_named};
use crate::channel::Channel;
use crate::envelope::{Address, Kind, Message, Priority, Ttl};
use crate::id::{DialId, LinkId, MessageId, PeerId};
use crate::identity::guard::Forbidden;
use crate::identity::trust::Trust;
use crate::payload::Payload;
use crate::peers::book::{Merged, Peer, clean};
use crate::peers::{Candidate, PeerView, Presence, Reach, Sighting, Source};
use crate::time::Now;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How often peers without a link are sent a heartbeat.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);

/// How many heartbeats a peer without a link may miss.
const HEARTBEATS_MISSED_MAX: u32 = 3;

/// How long after the first failure a peer is dialled again; doubles with each failure.
const REDIAL_FIRST: Duration = Duration::from_millis(250);

/// The longest pause between two dials of one peer.
const REDIAL_MAX: Duration = Duration::from_secs(30);

/// How long the other side's attempt at a WebRTC connection may take before this side tries again.
const YIELDED_FOR: Duration = Duration::from_secs(16);

/// Most addresses that people may name.
const NAMED_MAX: usize = 256;

/// Most sightings that wait because their teller told of too many new addresses at once.
const DEFERRED_MAX: usize = 256;

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
    pub(super) fn handle_sighting(&mut self, sighting: Sighting, now: Now) {
        let id = sighting.key.map_or(sighting.peer, |key| key.peer());
        let mut permitted = sighting.candidates.clone();
        let mut too_many = false;
        permitted.retain(|candidate| {
            let permit = self.guard.permit(candidate, sighting.told_by, now.mono);
            too_many |= permit == Err(Forbidden::TooMany);
            permit.is_ok()
        });
        if too_many && self.deferred.len() < DEFERRED_MAX {
            self.deferred.push(sighting.clone());
        }
        if id == self.me {
            self.look_for_twin(permitted);
            return;
        }
        let shown = |peer: &Peer| (peer.sources.clone(), peer.name.clone(), peer.capabilities.clone());
        let before = self.book.find(id).map(shown);
        let merged = self.book.merge(&sighting, permitted, now);
        self.see_off(now);
        match merged {
            Merged::Taken => {}
            Merged::Refused => return,
            Merged::NameTaken => return self.evict(id, &sighting.name, now),
        }
        if self.book.find(id).is_some_and(|peer| before.is_some_and(|before| before != shown(peer))) {
            self.emit_peer(id, Event::PeerUpdated);
        }
        if self.is_courted(id) {
            self.dial_peer(id);
        }
    }

    /// Whether a peer is dialled by itself. Brokers may tell of thousands.
    fn is_courted(&mut self, id: PeerId) -> bool {
        let by_broker = |peer: &Peer| peer.sources.iter().eq([&Source::Mqtt]);
        if !self.book.find(id).is_some_and(by_broker) || self.courted.contains(&id) {
            return true;
        }
        let room = self.courted.len() < self.config.mqtt_connect_max;
        room && self.courted.insert(id)
    }

    /// Somebody is advertised under our own id: our own stale record, or another node with our key.
    fn look_for_twin(&mut self, candidates: Vec<Candidate>) {
        if candidates.is_empty()
            || self.dials.values().any(|errand| matches!(errand, Errand::Peer(id) if *id == self.me))
        {
            return;
        }
        let dial = self.numbers.dial();
        self.dials.insert(dial, Errand::Peer(self.me));
        self.effects.push(Effect::Dial { dial, expect: Some(self.config.node), candidates });
    }

    /// A peer is no longer advertised. Anybody can say so of anybody: it counts only for one that
    /// never proved a key, and that has no other way to say goodbye.
    pub(super) fn handle_unsighted(&mut self, source: Source, peer: PeerId, now: Now) {
        let Some(record) = self.book.find_mut(peer) else { return };
        record.sources.remove(&source);
        let nobody_met = record.link.is_none() && record.key.is_none();
        // There may be thousands, and nothing is known of it but what the broker said.
        if source == Source::Mqtt && record.sources.is_empty() && nobody_met {
            self.book.take_out(peer);
            self.see_off(now);
            return;
        }
        if nobody_met {
            self.set_presence(peer, Presence::Offline);
        }
    }

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
            self.guard.judge(&candidate, peer.came_from).is_ok()
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
        peer.trouble = Some(trouble.to_owned());
        let jitter = self.numbers.jitter(pause / 2);
        self.timers.set(Timer::Redial(id), now.mono + pause + jitter);
    }

    /// Notes that a peer was heard of over a link.
    pub(super) fn note_heard(&mut self, id: PeerId, link: LinkId, now: Now) {
        let Some(peer) = self.book.find_mut(id) else { return };
        peer.touch(now);
        if peer.link == Some(link) && matches!(peer.presence, Presence::Stale | Presence::Unreachable) {
            self.set_presence(id, Presence::Online);
        }
    }

    /// Notes how present a peer is, and says so if that changed.
    pub(super) fn set_presence(&mut self, id: PeerId, presence: Presence) {
        let Some(peer) = self.book.find_mut(id) else { return };
        let was = std::mem::replace(&mut peer.presence, presence);
        if !presence.is_here() {
            peer.reach = Reach::default();
        }
        if presence == Presence::Offline {
            peer.plain = None;
            self.timers.cancel(Timer::Redial(id));
        }
        match (was.is_here(), presence.is_here()) {
            (true, false) => {
                let (name, goodbye) = (peer.name.clone(), presence == Presence::Offline);
                self.emit(Event::PeerLeft { peer: id, name, goodbye });
            }
            (false, true) => self.emit_peer(id, Event::PeerJoined),
            _ if was != presence => self.emit_peer(id, Event::PeerUpdated),
            _ => {}
        }
    }

    /// Shows a peer as it is now.
    pub(super) fn emit_peer(&mut self, id: PeerId, event: fn(Box<PeerView>) -> Event) {
        if let Some(peer) = self.book.find(id) {
            let view = Box::new(peer.view(self.trust_of(peer.key)));
            self.emit(event(view));
        }
    }

    /// Takes the addresses of a card, as far as the guard permits.
    pub(super) fn take_endpoints(&mut self, id: PeerId, hello: &Hello, now: Now) {
        let addresses = hello.card.endpoints.iter().filter_map(|endpoint| address_of(endpoint));
        let mut candidates: Vec<Candidate> =
            addresses.map(|address| Candidate { address, source: Source::Inbound }).collect();
        candidates.retain(|candidate| self.guard.permit(candidate, Some(hello.remote.ip()), now.mono).is_ok());
        if let Some(peer) = self.book.find_mut(id) {
            peer.add_candidates(candidates);
        }
    }

    pub(super) fn handle_heartbeat(&mut self, now: Now) {
        for sighting in std::mem::take(&mut self.deferred) {
            self.handle_sighting(sighting, now);
        }
        // Else who is linked for weeks would be remembered as one that came once.
        for link in self.links.values() {
            self.book.owners.note(link.peer, now.wall);
        }
        for id in self.book.ids() {
            let Some(peer) = self.book.find(id).filter(|peer| peer.link.is_none()) else { continue };
            let silent = now.mono.saturating_sub(peer.last_heard);
            if peer.presence == Presence::Online && silent > HEARTBEAT_EVERY * HEARTBEATS_MISSED_MAX {
                self.set_presence(id, Presence::Stale);
            } else if peer.plain.is_some() && self.lanes.get(&id).is_none_or(|lane| lane.queue.is_empty()) {
                let heartbeat = self.own_message(Kind::Heartbeat, Address::Peer(id), Payload::Empty, now);
                self.enqueue(id, heartbeat, now);
            }
        }
        self.timers.set(Timer::Heartbeat, now.mono + HEARTBEAT_EVERY);
    }

    /// Tells a foreign peer that we are here.
    fn greet(&mut self, id: PeerId, now: Now) {
        if let Ok(payload) = Payload::from_value(&serde_json::json!({ "event": "join" })) {
            let channel = Channel::of_kind(Kind::Heartbeat);
            let join = self.own_message(Kind::Extended, Address::Broadcast, payload, now);
            let join = Arc::new(Message { channel, ..Arc::unwrap_or_clone(join) });
            self.enqueue(id, join, now);
        }
    }

    /// A message that this node itself has to say.
    pub(super) fn own_message(&mut self, kind: Kind, to: Address, payload: Payload, now: Now) -> Arc<Message> {
        let id: MessageId = self.numbers.message();
        let channel = Channel::of_kind(kind);
        let priority = if kind == Kind::Heartbeat { Priority::Background } else { channel.priority() };
        Arc::new(Message {
            id: Some(id),
            from: self.me,
            to,
            kind,
            channel,
            priority,
            timestamp: now.wall,
            ttl: Ttl::DEFAULT,
            reply_to: None,
            payload,
            more: None,
        })
    }

    pub(super) fn forget_peers(&mut self, now: Now) {
        self.book.sweep(now);
        self.see_off(now);
    }

    /// Says of everybody who was taken out of the book that they left, if they were here, and forgets how
    /// to reach them.
    pub(super) fn see_off(&mut self, now: Now) {
        for peer in self.book.take_gone() {
            let id = peer.id;
            self.courted.remove(&id);
            if peer.presence.is_here() {
                self.emit(Event::PeerLeft { peer: id, name: peer.name, goodbye: false });
            }
            // Who proved a key took the place of who claimed its id, and what is for that id is for it.
            if self.book.find(id).is_none() {
                self.timers.cancel(Timer::Redial(id));
                self.timers.cancel(Timer::Missed(id));
                self.forget_lane(id, now);
            }
            for named in self.manual.iter_mut().filter(|named| named.peer == Some(id)) {
                named.peer = None;
                self.timers.set_if_idle(Timer::Named, now.mono + REDIAL_MAX);
            }
        }
    }

    /// A peer has proved its key: whoever claimed its id or its name goes, and that is shown.
    pub(super) fn evict_claimants(&mut self, proven: PeerId, claimant: Option<String>, now: Now) {
        if let Some(name) = claimant {
            self.emit(Event::Evicted { peer: proven, name });
        }
        let (keyless, nameless) = self.book.own_name(proven);
        for id in keyless {
            let name = self.book.find(id).map(|peer| peer.name.clone()).unwrap_or_default();
            self.evict(id, &name, now);
        }
        for id in nameless {
            self.emit_peer(id, Event::PeerUpdated);
        }
    }

    /// Takes out a peer that claims what belongs to a proven one, if it is in the book.
    pub(super) fn evict(&mut self, id: PeerId, name: &str, now: Now) {
        if self.book.take_out(id) {
            self.see_off(now);
            self.emit(Event::Evicted { peer: id, name: clean(name) });
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

/// The address of an endpoint URL with an IP literal, as cards carry it.
fn address_of(endpoint: &str) -> Option<SocketAddr> {
    let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"))?;
    rest.split('/').next()?.parse().ok()
}

fn backoff(failures: u32) -> Duration {
    (REDIAL_FIRST * 2u32.saturating_pow(failures.min(10))).min(REDIAL_MAX)
}
