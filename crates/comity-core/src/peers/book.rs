//! The book itself: one record a peer, merged from all sources, bounded. A claim never overrides
//! what was proven; what is proven evicts who claimed it.

#[cfg(test)]
mod tests;

use super::owners::Owners;
use super::{Candidate, PeerView, Presence, Reach, Rendezvous, Sighting, Source, Way};
use crate::card::Card;
use crate::hidden::clean;
use crate::id::{DialId, LinkId, NodeId, PeerId};
use crate::identity::trust::Trust;
use crate::limits::{PEER_LIST_MAX, PEER_TEXT_MAX, PEERS_MAX};
use crate::node::Boot;
use crate::time::{Now, Timestamp};
use crate::wire::announce::URL_MAX;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Most addresses kept of one peer.
const CANDIDATES_MAX: usize = 16;

/// Most unverified peers remembered of those that came from one address or were told of from there.
const CLAIMED_PER_ADDRESS_MAX: usize = 64;

/// Most peers without a key that only brokers told of.
const ANNOUNCED_KEYLESS_MAX: usize = PEERS_MAX / 4;

/// How long a peer that never proved a key is remembered after it was last heard of.
const UNVERIFIED_KEPT_FOR: Duration = Duration::from_secs(600);

/// How long a verified peer is remembered after it was last heard of.
const VERIFIED_KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// Everybody this node has heard of: [`PEERS_MAX`], and beyond them only who is linked, known or
/// named by a person.
#[derive(Debug, Default)]
pub struct Book {
    peers: BTreeMap<PeerId, Peer>,
    /// Who was taken out since this was last asked.
    gone: Vec<Peer>,
    /// To whom ids belong, whether or not the peer is in the book.
    pub owners: Owners,
}

/// What a proof of a key changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proved {
    /// Whether the book did not know of a proof.
    pub is_first: bool,
    /// The name of whoever was here under the id without the key.
    pub claimant: Option<String>,
}

/// What became of a sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// It is in the book.
    Taken,
    /// It claims the id of a peer that proved another key, or there is no room, or it was only told of
    /// and names no address that may be tried.
    Refused,
    /// It claims the name of a peer that proved its key, and no key of its own.
    NameTaken,
}

/// One peer.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its UUID.
    pub id: PeerId,
    /// The key it proved.
    pub key: Option<NodeId>,
    /// The key it is said to have, which must answer when it is dialled.
    pub claimed_key: Option<NodeId>,
    /// Its name, cleaned for showing: all compare it as it is.
    pub name: String,
    /// Its version, cleaned as well.
    pub version: String,
    /// What it says it can do.
    pub capabilities: Vec<String>,
    /// What else it says.
    pub metadata: BTreeMap<String, String>,
    /// Its card.
    pub card: Option<Box<Card>>,
    /// What it says it is doing.
    pub status: Option<Value>,
    /// Who told of it.
    pub sources: BTreeSet<Source>,
    /// The address it came from, or where it was told of first.
    pub came_from: Option<IpAddr>,
    /// The broker that told of it last.
    pub announced_by: Option<IpAddr>,
    /// Where it may answer.
    pub candidates: Vec<Candidate>,
    /// How it says it can be met when it has no address.
    pub rendezvous: Option<Rendezvous>,
    /// Where it answered last.
    pub last_good: Option<SocketAddr>,
    /// The start that linked last: what it says it is doing ends with it.
    pub boot: Option<Boot>,
    /// Its last goodbye.
    pub departed: Option<Departure>,
    /// Where it takes POSTs, if it speaks only plain HTTP.
    pub plain: Option<SocketAddr>,
    /// Whether it wants the coded spelling.
    pub coded: bool,
    /// How present it is.
    pub presence: Presence,
    /// Which directions work.
    pub reach: Reach,
    /// Its link.
    pub link: Option<LinkId>,
    /// What that goes through.
    pub way: Option<Way>,
    /// The dial under way.
    pub dial: Option<DialId>,
    /// Dials that failed one after the other.
    pub failures: u32,
    /// Whether its last link ended soon after it came up.
    pub brief: bool,
    /// Whether this side's attempt at a connection made way for its own.
    pub yielded: bool,
    /// Why it cannot be reached.
    pub trouble: Option<String>,
    /// When it was first heard of.
    pub discovered_at: Timestamp,
    /// When it was last heard of, on the wall clock.
    pub last_seen: Timestamp,
    /// The same on the monotonic clock.
    pub last_heard: Duration,
}

/// A goodbye, which holds against whatever is told late of who said it.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    /// The start that ended: nothing that comes of it later counts.
    pub boot: Boot,
    /// When, on the monotonic clock.
    pub at: Duration,
}

impl Peer {
    fn new(id: PeerId, now: Now) -> Self {
        Self {
            id,
            key: None,
            claimed_key: None,
            name: String::new(),
            version: String::new(),
            capabilities: Vec::new(),
            metadata: BTreeMap::new(),
            card: None,
            status: None,
            sources: BTreeSet::new(),
            came_from: None,
            announced_by: None,
            candidates: Vec::new(),
            rendezvous: None,
            last_good: None,
            boot: None,
            departed: None,
            plain: None,
            coded: false,
            presence: Presence::Seen,
            reach: Reach::default(),
            link: None,
            way: None,
            dial: None,
            failures: 0,
            brief: false,
            yielded: false,
            trouble: None,
            discovered_at: now.wall,
            last_seen: now.wall,
            last_heard: now.mono,
        }
    }

    /// Notes that it was heard of just now.
    pub fn touch(&mut self, now: Now) {
        self.last_seen = now.wall;
        self.last_heard = now.mono;
    }

    /// Adds addresses. When there are too many the oldest of the same source goes for each, and for one that
    /// a person named any that no person named; never where it answered last.
    pub fn add_candidates(&mut self, candidates: impl IntoIterator<Item = Candidate>) {
        for candidate in candidates {
            if self.candidates.iter().any(|known| known.address == candidate.address) {
                continue;
            }
            if self.candidates.len() >= CANDIDATES_MAX {
                let replaced = |known: &Candidate| {
                    let same = known.source == candidate.source || candidate.source == Source::Manual;
                    same && known.source != Source::Manual && Some(known.address) != self.last_good
                };
                let Some(oldest) = self.candidates.iter().position(replaced) else { continue };
                self.candidates.remove(oldest);
            }
            self.candidates.push(candidate);
        }
    }

    /// Gives a peer without a name the one that a node has by itself.
    fn name_by_key(&mut self, name_taken: bool) {
        if let (true, false, Some(key)) = (self.name.is_empty(), name_taken, self.claimed_key) {
            self.name = format!("node-{}", key.short());
        }
    }

    /// Takes over what a verified card says.
    pub fn take_card(&mut self, card: Box<Card>) {
        if self.card.as_ref().is_some_and(|known| known.issued_at > card.issued_at) {
            return;
        }
        self.name = clean(&cut(&card.name));
        self.version = clean(&cut(&card.version));
        self.capabilities = cut_all(&card.capabilities);
        if let Some(Value::Object(metadata)) = card.detail.as_ref().and_then(|detail| detail.get("metadata")) {
            let texts = metadata.iter().filter_map(|(key, value)| Some((cut(key), cut(value.as_str()?))));
            self.metadata = texts.take(PEER_LIST_MAX).collect();
        }
        self.card = Some(card);
    }

    /// What others see of it, given whether its key is on the list of known nodes.
    pub fn view(&self, trust: Trust) -> PeerView {
        let mut addresses: Vec<SocketAddr> = self.last_good.into_iter().collect();
        addresses
            .extend(self.candidates.iter().map(|candidate| candidate.address).filter(|a| Some(*a) != self.last_good));
        PeerView {
            id: self.id,
            key: self.key,
            name: self.name.clone(),
            version: self.version.clone(),
            capabilities: self.capabilities.iter().map(|text| clean(text)).collect(),
            trust,
            presence: self.presence,
            reach: self.reach,
            way: self.way.filter(|_| self.link.is_some()),
            sources: self.sources.clone(),
            addresses,
            status: self.status.clone(),
            metadata: self.metadata.iter().map(|(key, value)| (clean(key), clean(value))).collect(),
            discovered_at: self.discovered_at,
            last_seen: self.last_seen,
            card: self.card.clone(),
            trouble: self.trouble.clone(),
        }
    }
}

impl Book {
    /// The peer of this id.
    pub fn find(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    /// The same, to change it.
    pub fn find_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(&id)
    }

    /// Everybody, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// The ids of everybody.
    pub fn ids(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    /// The record of a peer that has just proved its key, made if there is none. Of what was said under
    /// its id before that, only what serves to find it stays, and only if it was said of this very key.
    pub fn proven(&mut self, key: NodeId, now: Now) -> (&mut Peer, Proved) {
        let id = key.peer();
        self.owners.note(id, now.wall);
        self.make_room(id);
        let is_first = self.find(id).is_none_or(|peer| peer.key.is_none());
        let said = self.find(id).filter(|peer| peer.key.is_none()).cloned();
        let claimant = said.as_ref().filter(|said| said.presence.is_here()).map(|said| said.name.clone());
        if said.is_some() {
            self.take_out(id);
        }
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(id, now));
        if let Some(said) = said {
            peer.dial = said.dial;
            if said.claimed_key == Some(key) {
                peer.name = said.name;
                peer.candidates = said.candidates;
                peer.rendezvous = said.rendezvous;
                peer.announced_by = said.announced_by;
                peer.sources = said.sources;
                // Whom a person named is who answered there, and that was without the key.
                peer.sources.remove(&Source::Manual);
            }
        }
        peer.key = Some(key);
        peer.claimed_key = Some(key);
        (peer, Proved { is_first, claimant })
    }

    /// The record of a peer that only claims an id, made if there is none and there is room.
    /// `None` when the id belongs to a key, or too many claim ids from one address.
    pub fn claimed(&mut self, id: PeerId, from: Option<IpAddr>, now: Now) -> Option<&mut Peer> {
        if self.is_owned(id) {
            return None;
        }
        let is_new = !self.peers.contains_key(&id);
        if is_new && !self.may_claim(from) || !self.make_room(id) {
            return None;
        }
        Some(self.peers.entry(id).or_insert_with(|| Peer { came_from: from, ..Peer::new(id, now) }))
    }

    /// Whether one more unverified peer of this address may be remembered.
    fn may_claim(&self, from: Option<IpAddr>) -> bool {
        let neighbour = |peer: &&Peer| peer.key.is_none() && peer.came_from == from;
        from.is_none() || self.peers.values().filter(neighbour).count() < CLAIMED_PER_ADDRESS_MAX
    }

    /// Whether somebody new may be listed because another told of it: it can be tried, and pushes nobody
    /// out. Else one liar fills the book.
    fn may_be_told(&self, sighting: &Sighting, permitted: &[Candidate]) -> bool {
        !permitted.is_empty() && self.peers.len() < PEERS_MAX && self.may_claim(sighting.told_by)
    }

    /// Whether this id belongs to a key: it is on the list, or was verified once.
    pub fn is_owned(&self, id: PeerId) -> bool {
        self.owners.has(id) || self.find(id).is_some_and(|peer| peer.key.is_some())
    }

    /// Merges what a source saw.
    pub fn merge(&mut self, sighting: &Sighting, permitted: Vec<Candidate>, now: Now) -> Merged {
        let id = sighting.id();
        let known = self.peers.get(&id);
        if known.is_some_and(|peer| peer.key.is_some() && peer.key != sighting.key) {
            return Merged::Refused;
        }
        let told = sighting.source == Source::Exchange;
        if told && known.is_none() && !self.may_be_told(sighting, &permitted) {
            return Merged::Refused;
        }
        let name_taken = self.is_name_taken(id, &sighting.name);
        if name_taken && sighting.key.is_none() && known.is_none_or(|peer| peer.claimed_key.is_none()) {
            return Merged::NameTaken;
        }
        let is_announced = sighting.source == Source::Mqtt;
        let is_stranger = known.is_none() && !self.owners.is_known(id);
        if is_announced && is_stranger && !self.make_room_for_announced(sighting.key.is_some()) || !self.make_room(id) {
            return Merged::Refused;
        }
        let came_from = sighting.told_by.filter(|_| told);
        let peer = self.peers.entry(id).or_insert_with(|| Peer { came_from, ..Peer::new(id, now) });
        peer.sources.insert(sighting.source);
        peer.claimed_key = sighting.key.or(peer.claimed_key);
        peer.add_candidates(permitted);
        if peer.card.is_none() {
            if !name_taken {
                take_text(&mut peer.name, &sighting.name);
            }
            take_text(&mut peer.version, &sighting.version);
            // A broker's word is whole: what it no longer says is withdrawn.
            if is_announced {
                peer.metadata.clear();
            }
            if is_announced || !sighting.capabilities.is_empty() {
                peer.capabilities = cut_all(&sighting.capabilities);
            }
            let metadata = sighting.metadata.iter().take(PEER_LIST_MAX);
            peer.metadata.extend(metadata.map(|(key, value)| (cut(key), cut(value))));
            while peer.metadata.len() > PEER_LIST_MAX {
                peer.metadata.pop_last();
            }
        }
        if let Some(rendezvous) = &sighting.rendezvous {
            let url = rendezvous.url.clone().filter(|url| url.len() <= URL_MAX);
            peer.rendezvous = Some(Rendezvous { url, protocols: cut_all(&rendezvous.protocols) });
        }
        if is_announced {
            // Whoever is announced is heard of again and again, or taken out.
            peer.touch(now);
            peer.announced_by = sighting.told_by;
            peer.name_by_key(name_taken);
        }
        Merged::Taken
    }

    /// Gives a proven peer its name alone. Returns who claims it without any key, to be taken out, and
    /// who claims a key as well: these have no name until they prove it, for two peers may have one name.
    pub fn own_name(&mut self, proven: PeerId) -> (Vec<PeerId>, Vec<PeerId>) {
        let name = self.find(proven).map(|peer| peer.name.clone()).unwrap_or_default();
        let claims = |peer: &&mut Peer| peer.id != proven && peer.key.is_none() && peer.name == name;
        let (mut keyless, mut nameless) = (Vec::new(), Vec::new());
        for peer in self.peers.values_mut().filter(|_| !name.is_empty()).filter(claims) {
            if peer.claimed_key.is_some() {
                peer.name.clear();
                nameless.push(peer.id);
            } else {
                keyless.push(peer.id);
            }
        }
        (keyless, nameless)
    }

    /// Whether another peer, which proved its key, has this name.
    fn is_name_taken(&self, id: PeerId, name: &str) -> bool {
        let name = clean(&cut(name));
        let has = |peer: &Peer| peer.id != id && peer.key.is_some() && peer.name == name;
        !name.is_empty() && self.peers.values().any(has)
    }

    /// Takes a peer out; whether it was there. Nobody goes by another way.
    pub fn take_out(&mut self, id: PeerId) -> bool {
        let taken = self.peers.remove(&id);
        let was_there = taken.is_some();
        self.gone.extend(taken);
        was_there
    }

    /// Who was taken out since this was last asked, for whatever cause.
    pub fn take_gone(&mut self) -> Vec<Peer> {
        std::mem::take(&mut self.gone)
    }

    /// Forgets who has been silent for too long. Of whom brokers tell they also say when it is gone, which may be an hour
    /// after they told of it.
    pub fn sweep(&mut self, now: Now) {
        let outdated = |peer: &&Peer| {
            let kept_for = if peer.key.is_some() { VERIFIED_KEPT_FOR } else { UNVERIFIED_KEPT_FOR };
            let kept = peer.sources.contains(&Source::Manual) || peer.sources.contains(&Source::Mqtt);
            !kept && peer.link.is_none() && peer.dial.is_none() && now.mono.saturating_sub(peer.last_heard) > kept_for
        };
        let ids: Vec<PeerId> = self.peers.values().filter(outdated).map(|peer| peer.id).collect();
        for id in ids {
            self.take_out(id);
        }
    }

    /// Makes sure that one more stranger fits of whom a broker told. Such a one pushes nobody out, but one with a
    /// key those without that only brokers told of: their ids cost nothing.
    fn make_room_for_announced(&mut self, has_key: bool) -> bool {
        let costless = |peer: &&Peer| {
            peer.claimed_key.is_none() && !peer.presence.is_here() && peer.sources.iter().eq([&Source::Mqtt])
        };
        let full = self.peers.len() >= PEERS_MAX;
        if has_key {
            let least = self.peers.values().filter(costless).filter(|_| full);
            let least = least.min_by_key(|peer| (peer.last_heard, peer.id)).map(|peer| peer.id);
            return !full || least.is_some_and(|id| self.take_out(id));
        }
        !full && self.peers.values().filter(costless).count() < ANNOUNCED_KEYLESS_MAX
    }

    /// Makes sure one more fits, if it may: the unverified peer that was silent longest goes, else the
    /// verified one. Who is linked, known or named by a person stays.
    fn make_room(&mut self, newcomer: PeerId) -> bool {
        if self.peers.len() < PEERS_MAX || self.peers.contains_key(&newcomer) {
            return true;
        }
        let may_go = |peer: &&Peer| {
            let wanted = self.owners.is_known(peer.id) || peer.sources.contains(&Source::Manual);
            peer.link.is_none() && !wanted
        };
        let least = self.peers.values().filter(may_go);
        let least = least.min_by_key(|peer| (peer.key.is_some(), peer.last_heard, peer.id)).map(|peer| peer.id);
        least.is_some_and(|id| self.take_out(id))
    }
}

fn take_text(kept: &mut String, given: &str) {
    let given = clean(&cut(given));
    if !given.is_empty() {
        *kept = given;
    }
}

/// The text cut to what is kept of a peer's texts.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(PEER_TEXT_MAX)].to_owned()
}

fn cut_all(texts: &[String]) -> Vec<String> {
    texts.iter().take(PEER_LIST_MAX).map(|text| cut(text)).collect()
}
