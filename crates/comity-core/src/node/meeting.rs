//! Finding peers and keeping in touch: sightings, dials and their ends, presence, heartbeats.

use super::dialing::{Errand, REDIAL_MAX};
use super::linking::{Goodbye, Hello};
use super::{Effect, Event, Node, Timer};
use crate::channel::Channel;
use crate::envelope::{Address, Kind, Message, Priority, Ttl};
use crate::hidden::clean;
use crate::id::{LinkId, MessageId, NodeId, PeerId};
use crate::identity::guard::Forbidden;
use crate::payload::Payload;
use crate::peers::book::{Merged, Peer};
use crate::peers::{Candidate, PeerView, Presence, Reach, Sighting, Source};
use crate::time::Now;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How often peers without a link are sent a heartbeat.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);

/// How many heartbeats a peer without a link may miss.
const HEARTBEATS_MISSED_MAX: u32 = 3;

/// Most sightings that wait because their teller told of too many new addresses at once.
const DEFERRED_MAX: usize = 256;

/// How long a goodbye holds against a connection for gossip, which does not say which start of the node made it. One that
/// was started again so soon is met by its link.
pub(super) const GOODBYE_HOLDS: Duration = Duration::from_secs(5);

impl Node {
    pub(super) fn handle_sighting(&mut self, sighting: Sighting, now: Now) {
        let id = sighting.id();
        let mut permitted = sighting.candidates.clone();
        let mut too_many = false;
        permitted.retain(|candidate| {
            let permit = self.guard.permit(candidate, sighting.told_by, now.mono);
            too_many |= permit == Err(Forbidden::TooMany);
            permit.is_ok()
        });
        match self.deferral(sighting.source, id) {
            Some(at) if too_many => self.deferred[at] = sighting.clone(),
            Some(at) => drop(self.deferred.remove(at)),
            None if too_many && self.deferred.len() < DEFERRED_MAX => self.deferred.push(sighting.clone()),
            None => {}
        }
        if id == self.me {
            self.look_for_twin(permitted);
            return;
        }
        let shown = |peer: &Peer| (peer.sources.clone(), peer.name.clone(), peer.capabilities.clone());
        let before = self.book.find(id).map(shown);
        // Brokers say the same of a peer twice a minute, and who turned a link away does so again.
        let told = |peer: &Peer| peer.brief && peer.rendezvous == sighting.rendezvous;
        let same = sighting.source == Source::Mqtt && self.book.find(id).is_some_and(told);
        let rests = same && self.timers.is_set(Timer::Redial(id));
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
        // Whoever cannot be dialled takes no place of one that can.
        if !rests && self.is_courted(id) && !self.dial_peer(id) {
            self.courted.remove(&id);
        }
    }

    /// Where what this source saw of a peer waits, if it does.
    fn deferral(&self, source: Source, id: PeerId) -> Option<usize> {
        self.deferred.iter().position(|sighting| sighting.source == source && sighting.id() == id)
    }

    /// Whether a peer is dialled by itself. Brokers may tell of thousands; who is on the list is none of those.
    fn is_courted(&mut self, id: PeerId) -> bool {
        let room = self.courted.len() < self.config.mqtt_connect_max;
        self.would_be_dialled(id) || room && self.courted.insert(id)
    }

    fn would_be_dialled(&self, id: PeerId) -> bool {
        !self.is_of_brokers(id) || self.book.owners.is_known(id) || self.courted.contains(&id)
    }

    /// Whether only brokers told of a peer.
    fn is_of_brokers(&self, id: PeerId) -> bool {
        self.book.find(id).is_some_and(|peer| peer.sources.iter().eq([&Source::Mqtt]))
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
        if let Some(at) = self.deferral(source, peer) {
            self.deferred.remove(at);
        }
        let Some(record) = self.book.find_mut(peer) else { return };
        record.sources.remove(&source);
        // Brokers are believed by signature, and a killed node's goodbye comes sooner than its silence is noticed.
        if let Some(link) = record.link.filter(|_| source == Source::Mqtt) {
            return self.probe_link(link, Goodbye::Proven, now);
        }
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

    /// A node proved its key on a connection for gossip. Whether it has a door of its own is tried where this node
    /// reached it: if it is one of ours, one port serves both.
    pub(super) fn handle_met(&mut self, key: NodeId, remote: Option<SocketAddr>, dialed: bool, now: Now) {
        if key == self.config.node {
            return;
        }
        let candidate = remote.filter(|_| dialed).map(|address| Candidate { address, source: Source::Gossip });
        let permitted = candidate
            .filter(|candidate| self.guard.permit(candidate, remote.map(|remote| remote.ip()), now.mono).is_ok());
        let (peer, proved) = self.book.proven(key, now);
        // It proved its key just before it left, and that is told late.
        let goodbye_holds = peer.departed.is_some_and(|departed| now.mono.saturating_sub(departed.at) < GOODBYE_HOLDS);
        if peer.presence == Presence::Offline && goodbye_holds {
            return;
        }
        peer.touch(now);
        let (id, was, reach) = (peer.id, peer.presence, peer.reach);
        peer.reach.outbound |= dialed;
        peer.reach.inbound |= !dialed;
        let is_news = peer.sources.insert(Source::Gossip) | (peer.reach != reach);
        peer.add_candidates(permitted);
        self.see_off(now);
        if proved.is_first {
            self.evict_claimants(id, proved.claimant, now);
        }
        self.set_presence(id, Presence::Online);
        if was == Presence::Online && is_news {
            self.emit_peer(id, Event::PeerUpdated);
        }
    }

    /// The last connection for gossip with a node is gone.
    pub(super) fn handle_parted(&mut self, id: PeerId) {
        let Some(peer) = self.book.find_mut(id) else { return };
        peer.sources.remove(&Source::Gossip);
        // One that said goodbye stays offline.
        if peer.presence.is_here() && peer.link.is_none() && peer.sources.is_empty() {
            self.set_presence(id, Presence::Unreachable);
        } else {
            self.emit_peer(id, Event::PeerUpdated);
        }
    }

    /// Somebody here wants a peer: it is asked whether it is there, or dialled.
    pub(super) fn handle_wanted(&mut self, peer: PeerId, now: Now) {
        match self.book.find(peer).and_then(|record| record.link) {
            Some(link) => self.probe_link(link, Goodbye::Claimed, now),
            None => drop(self.dial_peer(peer)),
        }
    }

    /// Somebody says, without proof, that a peer is gone: it is tried, if it would be dialled by itself or was met
    /// before. Else a liar decides how many are dialled.
    pub(super) fn handle_doubted(&mut self, peer: PeerId, now: Now) {
        let was_met = self.book.find(peer).is_some_and(|record| record.link.is_some() || record.key.is_some());
        if was_met || self.would_be_dialled(peer) {
            self.handle_wanted(peer, now);
        }
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
    pub(super) fn greet(&mut self, id: PeerId, now: Now) {
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

/// The address of an endpoint URL with an IP literal, as cards carry it.
fn address_of(endpoint: &str) -> Option<SocketAddr> {
    let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"))?;
    rest.split('/').next()?.parse().ok()
}
