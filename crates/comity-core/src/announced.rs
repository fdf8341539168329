//! What brokers say of peers: which announcements count, who is there, who is gone. It knows no
//! clock and no connection: it is told what came on which topic, and says what the node must hear.
//! See "Announcements" in `protocols/mqtt-discovery.md`.
//!
//! What is older: a signed announcement counts after the last one of its peer at the same broker, by
//! the peer's own `lastSeen`; and never in a session that said goodbye. So nothing that is played
//! again undoes what came later. A peer whose clock was set back is heard again when its last
//! announcement has run out. `lastSeen` is compared with itself only, never with this node's clock.

mod dropped;
mod entry;
#[cfg(test)]
mod tests;
mod waiting;

pub use dropped::Dropped;

use crate::id::PeerId;
use crate::limits;
use crate::peers::Sighting;
use crate::time::{Now, Timestamp};
use crate::wire::announce::{self, About, PeerInfo, Topics};
use entry::{Entry, FOREIGN_ID};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;
use waiting::{Message, Waiting};

/// Most peers kept of all brokers.
pub const PEERS_MAX: usize = 10_000;

/// What a peer may take of memory for one of the [`PEERS_MAX`] places, bytes, 16 MB in all: most announcements fit in
/// one place, and who says more takes more.
pub const PLACE_BYTES: usize = 1600;

/// Of the places of a broker, one in so many may be of unsigned peers: their ids cost nothing.
const UNSIGNED_SHARE: usize = 10;

/// How long an announcement without `expiresAt` counts: three of the usual intervals.
const LIFETIME: Duration = Duration::from_secs(90);

/// The longest an announcement counts, whatever it says.
const LIFETIME_MAX: Duration = Duration::from_secs(3600);

/// How often an unchanged peer is told of again, at most.
const AGAIN_AFTER: Duration = Duration::from_secs(15);

/// How many changes of one peer are told at once; what changes more often is told with the next look at who has run out.
const CHANGES_MAX: u8 = 4;

/// How often one peer is doubted, at most.
const PROBE_EVERY: Duration = Duration::from_secs(30);

/// How long after the empty messages of a peer that leaves its signed goodbye may come, until they are doubted.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// How often it is looked who has run out.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What the state machine must know.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node: what is said under its id is passed over.
    pub me: PeerId,
    /// The topics.
    pub topics: Topics,
    /// How many brokers there are; each has its share of [`PEERS_MAX`].
    pub brokers: usize,
    /// Whether unsigned announcements count: where everybody is admitted.
    pub unsigned: bool,
}

/// One message of a broker.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Which broker, counted from 0.
    pub broker: usize,
    /// Its address.
    pub told_by: Option<IpAddr>,
    /// The topic.
    pub topic: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// Whether the broker had kept it.
    pub retain: bool,
}

/// What must be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Tell the node of a peer.
    Sighted(Box<Sighting>),
    /// Tell the node that a peer is gone.
    Unsighted {
        /// Its UUID.
        peer: PeerId,
    },
    /// Find out whether a peer is still there: somebody says it is not, without proof.
    Probe(PeerId),
    /// Somebody new is at this broker, and may not know of us.
    Newcomer {
        /// Which one.
        broker: usize,
    },
}

/// A peer as it was announced, for those who ask the source itself.
#[derive(Debug, Clone, PartialEq)]
pub struct AnnouncedPeer {
    /// Its UUID here.
    pub peer: PeerId,
    /// What it says of itself, with the capabilities of their own topics.
    pub info: PeerInfo,
    /// The brokers that know it, counted from 0.
    pub brokers: Vec<usize>,
    /// When it was last heard of, by this node's clock.
    pub heard_at: Timestamp,
}

/// Everybody who was announced.
#[derive(Debug)]
pub struct Announced {
    config: Config,
    me: String,
    entries: BTreeMap<String, Entry>,
    unsigned: BTreeSet<String>,
    /// How many places those take whom each broker told of first, and the unsigned ones of them.
    counts: BTreeMap<usize, (usize, usize)>,
    /// Who is on this node's list, or proved its key to it: the others give way to them, for keys are free.
    friends: BTreeSet<PeerId>,
    waiting: Waiting,
    dropped: BTreeMap<Dropped, u64>,
    outputs: Vec<Output>,
    sweep_at: Option<Duration>,
}

impl Announced {
    /// Nobody yet.
    pub fn new(config: Config) -> Self {
        Self {
            me: config.me.to_string(),
            config,
            entries: BTreeMap::new(),
            unsigned: BTreeSet::new(),
            counts: BTreeMap::new(),
            friends: BTreeSet::new(),
            waiting: Waiting::default(),
            dropped: BTreeMap::new(),
            outputs: Vec::new(),
            sweep_at: None,
        }
    }

    /// Says for whom there must be room, whoever else is announced.
    pub fn set_friends(&mut self, friends: BTreeSet<PeerId>) {
        self.friends = friends;
    }

    /// Takes what a broker handed on. Signals are not its business.
    pub fn handle(&mut self, heard: Heard<'_>, now: Now) {
        if let Err(cause) = self.take(heard, now) {
            *self.dropped.entry(cause).or_default() += 1;
        }
        if self.sweep_at.is_none() && !self.entries.is_empty() {
            self.sweep_at = Some(now.mono + SWEEP_EVERY);
        }
    }

    /// What must be done, in order; empties the list.
    pub fn outputs(&mut self) -> std::vec::Drain<'_, Output> {
        self.outputs.drain(..)
    }

    /// When [`Self::wake`] is due, in time since the start.
    pub fn wake_at(&self) -> Option<Duration> {
        self.sweep_at
    }

    /// Lets go who has run out, and doubts who was withdrawn and said no goodbye.
    pub fn wake(&mut self, now: Now) {
        if self.sweep_at.is_none_or(|at| at > now.mono) {
            return;
        }
        let mut gone = Vec::new();
        let mut smaller = Vec::new();
        for (id, entry) in &mut self.entries {
            let unsigned = entry.take_withdrawals(now.mono);
            if unsigned > 0 {
                *self.dropped.entry(Dropped::Unsigned).or_default() += unsigned;
                entry.doubt(now, &mut self.outputs);
            }
            let was_here = entry.is_here();
            let changed = entry.expire(now.mono);
            if was_here && !entry.is_here() {
                self.outputs.push(Output::Unsighted { peer: entry.peer });
            } else if entry.is_here() {
                entry.tell_late(changed, now, &mut self.outputs);
            }
            if entry.is_forgotten() {
                gone.push(id.clone());
            } else if entry.weigh() != entry.places {
                smaller.push(id.clone());
            }
        }
        for id in smaller {
            self.weigh(&id);
        }
        for id in gone {
            self.remove(&id);
        }
        self.sweep_at = (!self.entries.is_empty()).then_some(now.mono + SWEEP_EVERY);
    }

    /// How many messages did not count, by cause.
    pub fn dropped(&self) -> &BTreeMap<Dropped, u64> {
        &self.dropped
    }

    /// Everybody who is there now.
    pub fn peers(&self) -> impl Iterator<Item = AnnouncedPeer> + '_ {
        self.entries.values().filter(|entry| entry.is_here()).map(Entry::view)
    }

    /// What is known of whom a sighting is of.
    pub fn find(&self, sighting: &Sighting) -> Option<AnnouncedPeer> {
        let id = match sighting.key {
            Some(_) => sighting.peer.to_string(),
            None => sighting.metadata.get(FOREIGN_ID)?.clone(),
        };
        self.entries.get(&id).map(Entry::view)
    }

    /// How many are there now.
    pub fn len(&self) -> usize {
        self.entries.values().filter(|entry| entry.is_here()).count()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take(&mut self, heard: Heard<'_>, now: Now) -> Result<(), Dropped> {
        let topics = self.config.topics.clone();
        let (id, about) = topics.read(heard.topic).ok_or(Dropped::Topic)?;
        if heard.body.len() > announce::BODY_MAX {
            return Err(Dropped::TooLarge);
        }
        if id == self.me {
            return Err(Dropped::Itself);
        }
        match about {
            About::Announce if heard.body.is_empty() => self.take_withdrawal(id, heard, now),
            About::Announce => self.take_info(id, heard, now),
            About::Goodbye => self.take_goodbye(id, heard, now),
            About::Capability(name) => self.take_capability(id, name, heard, now),
            About::Signal(_) => Err(Dropped::Topic),
        }
    }

    fn take_info(&mut self, id: &str, heard: Heard<'_>, now: Now) -> Result<(), Dropped> {
        let known = self.entries.contains_key(id);
        // Before a signature is looked at: that costs more than to send one.
        let nobody_gives_way = self.counts.get(&heard.broker).is_none_or(|(_, unsigned)| *unsigned == 0);
        if !known && nobody_gives_way && !self.is_friend(id) && self.is_full_for(heard.broker, true, 1) {
            return Err(Dropped::Full);
        }
        let info = announce::read_info(heard.body).map_err(|bad| Dropped::from(&bad))?;
        let signed = info.key.is_some();
        if info.id != id || info.key.is_some_and(|key| key.peer().to_string() != id) {
            return Err(Dropped::OtherId);
        }
        let lifetime = match info.expires_at {
            Some(at) if at <= now.wall => return Err(Dropped::Expired),
            Some(at) => at.since(now.wall).min(LIFETIME_MAX),
            None => LIFETIME,
        };
        if !signed && !self.config.unsigned {
            return Err(Dropped::Unverified);
        }
        let deadline = now.mono + lifetime;
        match self.entries.get(id).map(Entry::is_signed) {
            Some(true) if !signed => return Err(Dropped::Unsigned),
            // Who claimed the id without the key goes.
            Some(false) if signed => self.evict(id),
            _ => {}
        }
        if !self.entries.contains_key(id) {
            let entry = Entry::new(&info, self.config.topics.prefix(), heard.broker, heard.told_by, now);
            self.make_room(id, heard.broker, signed, entry.places)?;
            self.insert(id, entry);
        } else if let Some((first, wanted)) = self.entries.get(id).map(|entry| (entry.first, entry.growth(&info))) {
            self.make_room(id, first, signed, wanted)?;
        }
        let entry = self.entries.get_mut(id).ok_or(Dropped::Full)?;
        let was_here = entry.is_here();
        let changed = entry.take_info(info, heard, deadline, now)?;
        entry.tell(changed || !was_here, now, &mut self.outputs);
        self.weigh(id);
        if !was_here {
            if !heard.retain {
                self.outputs.push(Output::Newcomer { broker: heard.broker });
            }
            self.take_waiting(id, now);
        }
        Ok(())
    }

    fn take_withdrawal(&mut self, id: &str, heard: Heard<'_>, now: Now) -> Result<(), Dropped> {
        let entry = self.entries.get_mut(id).filter(|entry| entry.is_here()).ok_or(Dropped::UnknownPeer)?;
        if entry.is_signed() {
            entry.withdraw(now.mono);
            return Ok(());
        }
        self.leave_unsigned(id, heard.broker);
        Ok(())
    }

    fn take_goodbye(&mut self, id: &str, heard: Heard<'_>, now: Now) -> Result<(), Dropped> {
        // A goodbye is never kept: it is of the past.
        if heard.retain {
            return Err(Dropped::Replayed);
        }
        let entry = self.entries.get_mut(id).filter(|entry| entry.is_here()).ok_or(Dropped::UnknownPeer)?;
        let Some(key) = entry.info.key else {
            if !heard.body.is_empty() {
                announce::read_unsigned(heard.body).map_err(|bad| Dropped::from(&bad))?;
            }
            self.leave_unsigned(id, heard.broker);
            return Ok(());
        };
        if heard.body.is_empty() || !announce::has_signature(heard.body) {
            entry.doubt(now, &mut self.outputs);
            return Err(Dropped::Unsigned);
        }
        let session = announce::read_goodbye(heard.body, &key).map_err(|bad| Dropped::from(&bad))?;
        if !entry.end(session) {
            entry.doubt(now, &mut self.outputs);
            return Err(Dropped::Replayed);
        }
        if !entry.is_here() {
            self.outputs.push(Output::Unsighted { peer: entry.peer });
        }
        Ok(())
    }

    fn take_capability(&mut self, id: &str, name: &str, heard: Heard<'_>, now: Now) -> Result<(), Dropped> {
        let more =
            self.entries.get(id).map(|entry| (entry.first, entry.is_signed(), entry.growth_by(name, heard.broker)));
        let is_full = more.is_some_and(|(first, signed, more)| more > 0 && self.is_full_for(first, signed, more));
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.is_here()) else {
            return self.waiting.put(heard, now.mono);
        };
        if is_full && !heard.body.is_empty() {
            return Err(Dropped::Full);
        }
        let changed = match entry.info.key {
            Some(_) if heard.body.is_empty() => {
                entry.withdraw(now.mono);
                false
            }
            Some(_) if !announce::has_signature(heard.body) => return Err(Dropped::Unsigned),
            Some(key) => {
                let session = announce::read_capability(heard.body, name, &key).map_err(|bad| Dropped::from(&bad))?;
                entry.add_capability(name, Some(&session), heard.broker, now.mono + LIFETIME)?
            }
            None if heard.body.is_empty() => entry.remove_capability(name, heard.broker),
            None => {
                announce::read_unsigned(heard.body).map_err(|bad| Dropped::from(&bad))?;
                entry.add_capability(name, None, heard.broker, now.mono + LIFETIME)?
            }
        };
        if changed {
            entry.tell(true, now, &mut self.outputs);
        }
        self.weigh(id);
        Ok(())
    }

    fn take_waiting(&mut self, id: &str, now: Now) {
        for Message { broker, told_by, topic, body, .. } in self.waiting.take(&self.config.topics, id, now.mono) {
            self.handle(Heard { broker, told_by, topic: &topic, body: &body, retain: true }, now);
        }
    }

    /// An unsigned peer is gone at one broker.
    fn leave_unsigned(&mut self, id: &str, broker: usize) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.forget(broker);
        if !entry.is_here() {
            self.outputs.push(Output::Unsighted { peer: entry.peer });
            self.remove(id);
        }
    }

    fn evict(&mut self, id: &str) {
        if let Some(entry) = self.remove(id).filter(Entry::is_here) {
            self.outputs.push(Output::Unsighted { peer: entry.peer });
        }
    }

    fn is_friend(&self, id: &str) -> bool {
        id.parse().is_ok_and(|id| self.friends.contains(&PeerId(id)))
    }

    /// Whether so many more places are more than a broker may fill.
    fn is_full_for(&self, broker: usize, signed: bool, wanted: usize) -> bool {
        let share = PEERS_MAX / self.config.brokers.max(1);
        let (all, unsigned) = self.counts.get(&broker).copied().unwrap_or_default();
        all + wanted > share || !signed && unsigned + wanted > share / UNSIGNED_SHARE
    }

    /// Makes sure that so many places of this broker are free: for a signed peer the unsigned go, for a friend
    /// whoever is none.
    fn make_room(&mut self, id: &str, broker: usize, signed: bool, wanted: usize) -> Result<(), Dropped> {
        let may_evict = signed && self.is_friend(id);
        while wanted > 0 && self.is_full_for(broker, signed, wanted) {
            let is_its = |entry: &Entry| entry.first == broker;
            let unsigned = self.unsigned.iter().find(|id| self.entries.get(*id).is_some_and(is_its));
            let stranger = || {
                let is_one = |peer: &Entry| is_its(peer) && !self.friends.contains(&peer.peer);
                self.entries.iter().find(|(_, entry)| is_one(entry)).map(|(id, _)| id)
            };
            let victim = unsigned.filter(|_| signed).or_else(|| may_evict.then(stranger).flatten());
            let victim = victim.cloned().ok_or(Dropped::Full)?;
            self.evict(&victim);
        }
        Ok(())
    }

    fn insert(&mut self, id: &str, entry: Entry) {
        let counts = self.counts.entry(entry.first).or_default();
        counts.0 += entry.places;
        if !entry.is_signed() {
            counts.1 += entry.places;
            self.unsigned.insert(id.to_owned());
        }
        self.entries.insert(id.to_owned(), entry);
    }

    /// Counts the places anew of a peer that has changed.
    fn weigh(&mut self, id: &str) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let (before, now) = (entry.places, entry.weigh());
        entry.places = now;
        let counts = self.counts.entry(entry.first).or_default();
        counts.0 = (counts.0 + now).saturating_sub(before);
        if !entry.is_signed() {
            counts.1 = (counts.1 + now).saturating_sub(before);
        }
    }

    fn remove(&mut self, id: &str) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        let counts = self.counts.entry(entry.first).or_default();
        counts.0 = counts.0.saturating_sub(entry.places);
        if self.unsigned.remove(id) {
            counts.1 = counts.1.saturating_sub(entry.places);
        }
        Some(entry)
    }
}

/// As many as are kept of one peer's texts.
fn capped(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    texts.into_iter().take(limits::PEER_LIST_MAX).collect()
}
