//! One announced peer: what it said last, and which brokers know it.

use super::{
    AGAIN_AFTER, AnnouncedPeer, CHANGES_MAX, Dropped, GOODBYE_WITHIN, Heard, Output, PLACE_BYTES, PROBE_EVERY,
    SWEEP_EVERY, capped,
};
use crate::id::PeerId;
use crate::limits;
use crate::peers::{Candidate, Rendezvous, Sighting, Source};
use crate::time::{Now, Timestamp};
use crate::wire::announce::PeerInfo;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Most ended sessions remembered of one peer, one of each of 16 brokers and some more.
const ENDED_MAX: usize = 24;

/// What an entry takes besides its texts, and what one broker's knowledge of it does, bytes, roughly.
const ENTRY_BYTES: usize = 512;
const KNOWN_BYTES: usize = 128;

/// What a text of a list takes besides its bytes, and what an entry of the metadata does, roughly.
const TEXT_BYTES: usize = 32;
const METADATA_BYTES: usize = 96;

/// Where the sighting of a peer without a key says what it calls itself.
pub(super) const FOREIGN_ID: &str = "foreign_id";

/// A peer.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its UUID here.
    pub(super) peer: PeerId,
    /// What it said last.
    pub(super) info: PeerInfo,
    /// The broker that told of it first.
    pub(super) first: usize,
    /// How many places of [`PLACE_BYTES`] it is counted with.
    pub(super) places: usize,
    told_by: Option<IpAddr>,
    known: BTreeMap<usize, Known>,
    /// Sessions that said goodbye.
    ended: Vec<String>,
    /// When the node was told of it last.
    told_at: Option<Duration>,
    /// How many changes it was told of since it was quiet for a while.
    changes: u8,
    /// Whether there is one that it was not told of.
    owes: bool,
    doubted_at: Option<Duration>,
    /// Since when and how often it was withdrawn without a signature, as whoever leaves does before its goodbye.
    withdrawn: Option<(Duration, u64)>,
    heard_at: Timestamp,
}

/// What one broker knows of a peer.
#[derive(Debug)]
struct Known {
    session: Option<String>,
    last_seen: Option<Timestamp>,
    deadline: Duration,
    /// It is gone, and only remembered so that nothing older brings it back.
    gone: bool,
    /// Capabilities that have a topic of their own, and until when they count.
    capabilities: BTreeMap<String, Duration>,
}

impl Entry {
    /// A peer that no broker knows yet.
    pub(super) fn new(info: &PeerInfo, prefix: &str, first: usize, told_by: Option<IpAddr>, now: Now) -> Self {
        let foreign = || PeerId::of_foreign(&format!("mqtt:{prefix}:{}", info.id));
        Self {
            peer: info.key.map_or_else(foreign, |key| key.peer()),
            info: info.clone(),
            first,
            places: places(ENTRY_BYTES + KNOWN_BYTES + weight(info)),
            told_by,
            known: BTreeMap::new(),
            ended: Vec::new(),
            told_at: None,
            changes: 0,
            owes: false,
            doubted_at: None,
            withdrawn: None,
            heard_at: now.wall,
        }
    }

    /// How many places it takes now.
    pub(super) fn weigh(&self) -> usize {
        self.weigh_with(&self.info, 0)
    }

    /// How many places more it takes when it says this.
    pub(super) fn growth(&self, info: &PeerInfo) -> usize {
        self.weigh_with(info, 0).saturating_sub(self.places)
    }

    /// How many places more it takes with this capability.
    pub(super) fn growth_by(&self, name: &str, broker: usize) -> usize {
        let has = self.known.get(&broker).is_some_and(|known| known.capabilities.contains_key(name));
        if has { 0 } else { self.weigh_with(&self.info, TEXT_BYTES + name.len()).saturating_sub(self.places) }
    }

    fn weigh_with(&self, info: &PeerInfo, more: usize) -> usize {
        let session = |known: &Known| known.session.as_ref().map_or(0, String::len);
        let names = |known: &Known| known.capabilities.keys().map(|name| TEXT_BYTES + name.len()).sum::<usize>();
        let known = self.known.values().map(|known| KNOWN_BYTES + session(known) + names(known)).sum::<usize>();
        let ended = self.ended.iter().map(|session| TEXT_BYTES + session.len()).sum::<usize>();
        places(ENTRY_BYTES + known.max(KNOWN_BYTES) + ended + weight(info) + more)
    }

    pub(super) fn is_signed(&self) -> bool {
        self.info.key.is_some()
    }

    pub(super) fn is_here(&self) -> bool {
        self.known.values().any(|known| !known.gone)
    }

    /// Whether nothing of it must be remembered any more.
    pub(super) fn is_forgotten(&self) -> bool {
        self.known.is_empty()
    }

    /// Takes an announcement; whether it says anything new.
    pub(super) fn take_info(
        &mut self,
        info: PeerInfo,
        heard: Heard<'_>,
        deadline: Duration,
        now: Now,
    ) -> Result<bool, Dropped> {
        if info.session.as_ref().is_some_and(|session| self.ended.contains(session)) {
            return Err(Dropped::Replayed);
        }
        if let Some(known) = self.known.get(&heard.broker).filter(|_| self.is_signed()) {
            if info.last_seen < known.last_seen || info.last_seen == known.last_seen && known.gone {
                return Err(Dropped::Replayed);
            }
            // The broker says the same once more: it may have kept it.
            if info.last_seen == known.last_seen {
                return Ok(false);
            }
        }
        let before = self.known.remove(&heard.broker).filter(|known| known.session == info.session && !known.gone);
        let capabilities = before.map(|known| known.capabilities).unwrap_or_default();
        let (session, last_seen) = (info.session.clone(), info.last_seen);
        self.known.insert(heard.broker, Known { session, last_seen, deadline, gone: false, capabilities });
        self.heard_at = now.wall;
        let is_latest = !self.is_signed() || info.last_seen >= self.info.last_seen;
        if !is_latest {
            return Ok(false);
        }
        self.told_by = heard.told_by;
        let changed = !same(&self.info, &info);
        self.info = info;
        Ok(changed)
    }

    /// Ends a session; whether it was one by which the peer is here.
    pub(super) fn end(&mut self, session: String) -> bool {
        let mut ended = false;
        for known in self.known.values_mut() {
            if known.session.as_ref() == Some(&session) && !known.gone {
                (known.gone, ended) = (true, true);
            }
        }
        if ended {
            self.withdrawn = None;
            if self.ended.len() >= ENDED_MAX {
                self.ended.remove(0);
            }
            self.ended.push(session);
        }
        ended
    }

    /// One broker does not know it any more.
    pub(super) fn forget(&mut self, broker: usize) {
        self.known.remove(&broker);
    }

    /// Lets go what has run out; whether that changes what the peer is said to be capable of.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        self.known.retain(|_, known| known.deadline > now);
        let mut changed = false;
        for known in self.known.values_mut() {
            let before = known.capabilities.len();
            known.capabilities.retain(|_, until| *until > now);
            changed |= known.capabilities.len() < before;
        }
        changed
    }

    pub(super) fn add_capability(
        &mut self,
        name: &str,
        session: Option<&str>,
        broker: usize,
        until: Duration,
    ) -> Result<bool, Dropped> {
        let known = self.known.get_mut(&broker).filter(|known| !known.gone).ok_or(Dropped::UnknownPeer)?;
        if session.is_some_and(|session| known.session.as_deref() != Some(session)) {
            return Err(Dropped::Replayed);
        }
        if known.capabilities.len() >= limits::PEER_LIST_MAX && !known.capabilities.contains_key(name) {
            return Err(Dropped::Full);
        }
        // It is said again with each announcement, so it lasts as long as one does.
        let until = until.max(known.deadline);
        Ok(known.capabilities.insert(name.to_owned(), until).is_none())
    }

    pub(super) fn remove_capability(&mut self, name: &str, broker: usize) -> bool {
        self.known.get_mut(&broker).is_some_and(|known| known.capabilities.remove(name).is_some())
    }

    /// Tells the node of it, if there is something new or it is time to say it again.
    pub(super) fn tell(&mut self, is_new: bool, now: Now, outputs: &mut Vec<Output>) {
        let since = self.told_at.map(|at| now.mono.saturating_sub(at));
        if since.is_none_or(|since| since >= SWEEP_EVERY) {
            self.changes = 0;
        }
        self.owes |= is_new;
        if since.is_none_or(|since| since >= AGAIN_AFTER) || self.owes && self.changes < CHANGES_MAX {
            self.changes += 1;
            self.say(now, outputs);
        }
    }

    /// Tells the node what was too much to be told when it came.
    pub(super) fn tell_late(&mut self, is_new: bool, now: Now, outputs: &mut Vec<Output>) {
        if self.owes || is_new {
            self.changes = CHANGES_MAX;
            self.say(now, outputs);
        }
    }

    fn say(&mut self, now: Now, outputs: &mut Vec<Output>) {
        (self.told_at, self.owes) = (Some(now.mono), false);
        outputs.push(Output::Sighted(Box::new(self.sighting())));
    }

    /// Somebody takes back what it said, without proof.
    pub(super) fn withdraw(&mut self, now: Duration) {
        self.withdrawn.get_or_insert((now, 0)).1 += 1;
    }

    /// How many withdrawals there were that no goodbye followed in time.
    pub(super) fn take_withdrawals(&mut self, now: Duration) -> u64 {
        let due = |(since, _): &mut (Duration, u64)| now.saturating_sub(*since) >= GOODBYE_WITHIN;
        self.withdrawn.take_if(due).map_or(0, |(_, count)| count)
    }

    /// Somebody says it is gone, without proof.
    pub(super) fn doubt(&mut self, now: Now, outputs: &mut Vec<Output>) {
        if self.doubted_at.is_none_or(|at| now.mono.saturating_sub(at) >= PROBE_EVERY) {
            self.doubted_at = Some(now.mono);
            outputs.push(Output::Probe(self.peer));
        }
    }

    /// As the peer book takes it.
    pub(super) fn sighting(&self) -> Sighting {
        let info = &self.info;
        let said = |name: &str| info.metadata.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut metadata: BTreeMap<String, String> = info
            .metadata
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "name" | "version"))
            .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        let mut name = said("name");
        if !self.is_signed() {
            if name.is_empty() {
                name.clone_from(&info.id);
            }
            metadata.insert(FOREIGN_ID.to_owned(), info.id.clone());
        }
        let rendezvous = Rendezvous { url: info.url.clone(), protocols: info.protocols.clone() };
        // Whoever is met by signaling does not answer at its URL.
        let address = info.url.as_deref().filter(|_| !rendezvous.serves_webrtc()).and_then(address_of);
        Sighting {
            source: Source::Mqtt,
            told_by: self.told_by,
            peer: self.peer,
            key: info.key,
            name,
            version: said("version"),
            capabilities: self.capabilities(),
            candidates: address.into_iter().map(|address| Candidate { address, source: Source::Mqtt }).collect(),
            metadata,
            rendezvous: Some(rendezvous),
        }
    }

    pub(super) fn view(&self) -> AnnouncedPeer {
        let brokers = self.known.iter().filter(|(_, known)| !known.gone).map(|(broker, _)| *broker).collect();
        let info = PeerInfo { capabilities: self.capabilities(), ..self.info.clone() };
        AnnouncedPeer { peer: self.peer, info, brokers, heard_at: self.heard_at }
    }

    /// The announced capabilities, and those with a topic of their own.
    fn capabilities(&self) -> Vec<String> {
        let mut all = self.info.capabilities.clone();
        let here = self.known.values().filter(|known| !known.gone);
        for name in here.flat_map(|known| known.capabilities.keys()) {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        capped(all)
    }
}

fn places(bytes: usize) -> usize {
    bytes.div_ceil(PLACE_BYTES)
}

/// What peer info takes, bytes, roughly.
fn weight(info: &PeerInfo) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let list = |texts: &[String]| texts.iter().map(|text| TEXT_BYTES + text.len()).sum::<usize>();
    let value = |value: &Value| value.as_str().map_or(0, str::len);
    let metadata = info.metadata.iter().map(|(name, said)| METADATA_BYTES + name.len() + value(said)).sum::<usize>();
    let texts = length(&info.url) + length(&info.protocol_version) + length(&info.session);
    info.id.len() + texts + list(&info.capabilities) + list(&info.protocols) + metadata
}

/// Whether two announcements say the same, but for when.
fn same(one: &PeerInfo, other: &PeerInfo) -> bool {
    let timeless = |info: &PeerInfo| {
        let mut info = PeerInfo { last_seen: None, expires_at: None, session: None, ..info.clone() };
        info.metadata.shift_remove("uptime");
        info
    };
    timeless(one) == timeless(other)
}

/// The address of a URL whose host is an IP literal. Names are not resolved: whoever writes one would
/// have this node ask for it.
fn address_of(url: &str) -> Option<SocketAddr> {
    let (scheme, rest) = url.split_once("://")?;
    let port = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next().filter(|authority| !authority.contains('@'))?;
    let bare = || authority.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
    authority.parse().ok().or_else(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_with_an_ip_literal_become_addresses() {
        for (url, wanted) in [
            ("https://192.168.1.5:8400/signal", Some("192.168.1.5:8400")),
            ("http://10.0.0.1", Some("10.0.0.1:80")),
            ("WSS://[fd00::1]/rpc", Some("[fd00::1]:443")),
            ("ws://[fd00::1]:9", Some("[fd00::1]:9")),
            ("http://example.org:80", None),
            ("http://user@10.0.0.1:80", None),
            ("ftp://10.0.0.1", None),
            ("10.0.0.1:80", None),
            ("", None),
        ] {
            assert_eq!(address_of(url), wanted.and_then(|text| text.parse().ok()), "{url}");
        }
    }
}
