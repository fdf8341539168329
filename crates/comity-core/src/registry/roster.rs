//! Who is registered with a mesh, and how long ago each was heard: a state machine that is told of registrations,
//! heartbeats and the time. Whether a caller is who it says is proved before (`registry/key.rs`, TLS); nothing is kept
//! here across restarts but what [`Roster::restore`] is given. See "Registry" in `protocols/mesh.md`.

use super::key::KeyHash;
use super::profile::{self, BadRegistration, Load, NodeName, Registration, Setting, Settings};
use crate::id::NodeId;
use crate::time::{Now, Timestamp};
use crate::timers::Timers;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Nodes in a registry, unless it is told otherwise. Each takes some kilobytes, with 16 centroids of 256 numbers 17 KiB.
pub const NODES_MAX: usize = 10_000;

/// How often a node says that it is there.
pub const INTERVAL: Duration = Duration::from_secs(30);

/// After how many heartbeats that did not come a node is stale.
pub const STALE_AFTER: u32 = 3;

/// After how many heartbeats that did not come a node is gone.
pub const GONE_AFTER: u32 = 10;

/// Changes that wait until the caller asks for them: all nodes may come, go stale and be gone between two calls. Of more
/// the oldest are left out; [`Roster::mark`] counts them all.
const CHANGES_MAX: usize = 4 * NODES_MAX;

/// What a roster obeys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Most nodes, gone ones counted: [`NODES_MAX`]. Too few turn honest nodes away; each costs memory.
    pub nodes_max: usize,
    /// How often a node says that it is there: [`INTERVAL`]. Shorter finds the dead sooner, and costs a request each.
    pub interval: Duration,
    /// What the mesh is set to.
    pub settings: Settings,
}

/// How lately a node was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is heard as it should be.
    Fresh,
    /// [`STALE_AFTER`] heartbeats did not come. It still has a part, of less weight.
    Stale,
    /// [`GONE_AFTER`] did not come. It has no part; its name is still its own, until the room is wanted.
    Gone,
}

/// By what a caller proved whom it speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The key of its TLS certificate.
    Key(NodeId),
    /// An API key that the registry issued.
    ApiKey(KeyHash),
}

/// What a caller that registers proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// For whom it is taken.
    pub holder: Holder,
    /// The key of its TLS certificate, if it has one.
    pub key: Option<NodeId>,
}

/// A node of the mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// What it says of itself.
    pub registration: Registration,
    /// Who may speak for it.
    pub holder: Holder,
    /// Whether the key that it names was proved by TLS when it was named: then that key speaks for it, too. Until then
    /// it is a claim.
    pub is_key_proved: bool,
    /// How full it said it is.
    pub load: Option<Load>,
    /// When it was heard last, by the wall clock: to be shown. The rules judge by the other clock.
    pub last_heartbeat: Timestamp,
    /// How lately it was heard, as of the last [`Roster::poll`].
    pub state: State,
    /// When it was heard last, on the roster's own clock.
    heard: Duration,
    /// How often something had changed when it was told last, and when that was.
    told_mark: u64,
    told_at: Timestamp,
}

/// What a heartbeat says, besides that the node is there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Heartbeat {
    /// How full it is.
    pub load: Option<Load>,
    /// Where its documents lie now, if that changed.
    pub basin_signature: Option<Vec<f32>>,
    /// The same, where they are many and spread.
    pub centroids: Option<Vec<Vec<f32>>>,
}

/// What changed of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Joined(NodeName),
    /// It says something else of itself than where its documents lie.
    Updated(NodeName),
    /// It was not heard lately.
    Stale(NodeName),
    /// It is heard again.
    Back(NodeName),
    /// It was not heard for too long.
    Gone(NodeName),
    /// It is registered no more, or forgotten to make room.
    Removed(NodeName),
}

/// Why a registration, a heartbeat or a removal is refused. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A field is out of bounds (422).
    #[error(transparent)]
    Bad(#[from] BadRegistration),
    /// The node is set otherwise than the mesh (409).
    #[error("{0}: the mesh is set otherwise")]
    Differs(Setting),
    /// Somebody else holds the name (409).
    #[error("node_id: somebody else holds this name")]
    Held,
    /// The key it names is not the one it proved (409).
    #[error("key: another key than the one that was proved")]
    OtherKey,
    /// The name it wants is written as a key that it did not prove (403).
    #[error("node_id: only who proves a key by TLS may have it as its name")]
    NotItsKey,
    /// There is no room (503).
    #[error("the registry has room for no more nodes")]
    Full,
    /// No such node: it must register first (404).
    #[error("no node of this name is registered")]
    Unknown,
}

/// The nodes of a mesh.
#[derive(Debug)]
pub struct Roster {
    config: Config,
    members: BTreeMap<NodeName, Member>,
    /// When each is stale, then gone; gone ones have none.
    deadlines: Timers<NodeName>,
    /// Those that are gone, by when they were heard last.
    gone: BTreeSet<(Duration, NodeName)>,
    /// How often something changed.
    mark: u64,
    /// The latest time it was told, on its own clock: against clocks that go back.
    latest: Duration,
    /// What the caller was not told yet.
    changes: VecDeque<Change>,
}

/// A node as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// What it says of itself.
    pub registration: Registration,
    /// Who may speak for it.
    pub holder: Holder,
    /// Whether the key that it names was proved.
    pub is_key_proved: bool,
    /// How full it said it is.
    pub load: Option<Load>,
    /// When it was heard last, by the wall clock.
    pub last_heartbeat: Timestamp,
}

impl From<Holder> for Proof {
    fn from(holder: Holder) -> Self {
        let key = match holder {
            Holder::Key(key) => Some(key),
            Holder::ApiKey(_) => None,
        };
        Self { holder, key }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self { nodes_max: NODES_MAX, interval: INTERVAL, settings: Settings::default() }
    }
}

impl Config {
    fn stale_after(&self) -> Duration {
        self.interval * STALE_AFTER
    }

    fn gone_after(&self) -> Duration {
        self.interval * GONE_AFTER
    }
}

impl Roster {
    /// Nobody is there yet.
    pub fn new(config: Config) -> Self {
        let (members, deadlines, gone) = (BTreeMap::new(), Timers::default(), BTreeSet::new());
        Self { config, members, deadlines, gone, mark: 0, latest: Duration::ZERO, changes: VecDeque::new() }
    }

    /// What it obeys.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Registers a node, or takes what it now says of itself in place of what it said. That its documents lie elsewhere
    /// is no change of the members.
    ///
    /// A name that is not here may still be somebody's: a caller without its API key is turned away before, where
    /// [`super::key::Keyring::key_of`] knows one.
    ///
    /// # Errors
    /// [`Refused`]; then nothing changed.
    pub fn register(&mut self, registration: Registration, proof: impl Into<Proof>, now: Now) -> Result<(), Refused> {
        let Proof { holder, key: proved } = proof.into();
        self.check(&registration)?;
        if let (Some(proved), Some(named)) = (proved, registration.key)
            && proved != named
        {
            return Err(Refused::OtherKey);
        }
        let is_its_key = |key: NodeId| key.to_string() == registration.node.as_str();
        if registration.node.reads_as_key() && !proved.is_some_and(is_its_key) {
            return Err(Refused::NotItsKey);
        }
        let is_key_proved = proved.is_some() && registration.key == proved;
        let mono = self.catch_up(now.mono);
        let name = registration.node.clone();
        let change = match self.members.get_mut(&name) {
            Some(member) if !member.is_held_by(holder) => return Err(Refused::Held),
            Some(member) => {
                let said = &member.registration;
                // A key that was proved once stays so while it is the one that is named.
                let was_proved = member.is_key_proved && said.key == registration.key;
                let is_same = said.is_same_but_for_places(&registration);
                member.is_key_proved = is_key_proved || was_proved;
                member.registration = registration;
                (!is_same).then(|| Change::Updated(name.clone()))
            }
            None => {
                self.make_room()?;
                let member = Member { is_key_proved, ..Member::new(registration, holder, mono, now.wall) };
                self.members.insert(name.clone(), member);
                Some(Change::Joined(name.clone()))
            }
        };
        self.heard(&name, mono, now.wall);
        self.note(change);
        self.tell(&name, now.wall);
        Ok(())
    }

    /// Takes a heartbeat: since when others came, went or changed, if any did since this node was told last. Where its
    /// documents lie now counts at once, and others see it in their next list: it is no change of the members, else all
    /// would ask for the whole list whenever anybody indexes.
    ///
    /// # Errors
    /// [`Refused`]; then nothing changed, and the node is not heard.
    pub fn heartbeat(
        &mut self,
        node: &NodeName,
        beat: Heartbeat,
        by: Holder,
        now: Now,
    ) -> Result<Option<Timestamp>, Refused> {
        let mono = self.catch_up(now.mono);
        let dim = self.config.settings.dim;
        let member = self.members.get_mut(node).ok_or(Refused::Unknown)?;
        if !member.is_held_by(by) {
            return Err(Refused::Held);
        }
        let load = beat.load.map(Load::checked).transpose()?;
        let said = &mut member.registration;
        let Heartbeat { basin_signature: signature, centroids, load: _ } = beat;
        profile::check_places(signature.as_deref().unwrap_or(&[]), centroids.as_deref().unwrap_or(&[]))?;
        let has_other_dim = |vector: &Vec<f32>| !vector.is_empty() && vector.len() != dim;
        if signature.iter().chain(centroids.iter().flatten()).any(has_other_dim) {
            return Err(Refused::Differs(Setting::Dim));
        }
        if let Some(signature) = signature {
            said.basin_signature = signature;
        }
        if let Some(centroids) = centroids {
            said.centroids = centroids;
        }
        member.load = load.or(member.load);
        self.heard(node, mono, now.wall);
        let since = self.members.get(node).filter(|member| member.told_mark != self.mark).map(|member| member.told_at);
        self.tell(node, now.wall);
        Ok(since)
    }

    /// Takes a node out, whoever holds it: the caller proved that it may.
    ///
    /// # Errors
    /// [`Refused::Unknown`].
    pub fn remove(&mut self, node: &NodeName) -> Result<(), Refused> {
        let member = self.members.remove(node).ok_or(Refused::Unknown)?;
        self.deadlines.cancel(node.clone());
        self.gone.remove(&(member.heard, node.clone()));
        self.note(Some(Change::Removed(node.clone())));
        Ok(())
    }

    /// Takes a node as it was kept, or as another registry on the same store took it, in place of what is known. Its
    /// silence so far counts, unless it was heard here later. Its name and its settings were checked when it registered.
    ///
    /// # Errors
    /// [`Refused`] where it is beyond the bounds, or there is no room.
    pub fn restore(&mut self, kept: Kept, now: Now) -> Result<(), Refused> {
        self.check(&kept.registration)?;
        let mono = self.catch_up(now.mono);
        let name = kept.registration.node.clone();
        let silence = now.wall.since(kept.last_heartbeat).min(self.config.gone_after());
        let (mut heard, mut shown) = (mono - silence, kept.last_heartbeat);
        let change = match self.members.get_mut(&name) {
            Some(member) => {
                let is_same = member.registration.is_same_but_for_places(&kept.registration);
                (heard, shown) = (heard.max(member.heard), shown.max(member.last_heartbeat));
                (member.registration, member.holder) = (kept.registration, kept.holder);
                member.is_key_proved = kept.is_key_proved;
                member.load = kept.load.or(member.load);
                (!is_same).then(|| Change::Updated(name.clone()))
            }
            None => {
                self.make_room()?;
                let mut member = Member::new(kept.registration, kept.holder, mono, kept.last_heartbeat);
                (member.load, member.is_key_proved) = (kept.load, kept.is_key_proved);
                self.members.insert(name.clone(), member);
                Some(Change::Joined(name.clone()))
            }
        };
        self.heard(&name, heard, shown);
        self.note(change);
        self.catch_up(now.mono);
        Ok(())
    }

    /// Another registry on the same store heard a node at this time, by the wall clock.
    pub fn noticed(&mut self, node: &NodeName, at: Timestamp, now: Now) {
        let mono = self.catch_up(now.mono);
        let heard = mono - now.wall.since(at).min(self.config.gone_after());
        if self.members.get(node).is_some_and(|member| member.heard < heard) {
            self.heard(node, heard, at);
            self.catch_up(now.mono);
        }
    }

    /// Lets the time pass: what changed since the last call, in order.
    pub fn poll(&mut self, now: Duration) -> Vec<Change> {
        self.catch_up(now);
        std::mem::take(&mut self.changes).into()
    }

    /// Who has a part at this time, by name: those that are not gone.
    pub fn members(&self, now: Duration) -> impl Iterator<Item = &Member> {
        self.members.values().filter(move |member| self.state(member, now) != State::Gone)
    }

    /// All nodes, gone ones too, by name.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// A node, gone or not.
    pub fn member(&self, node: &NodeName) -> Option<&Member> {
        self.members.get(node)
    }

    /// How many there are, gone ones counted.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How lately a node was heard at this time.
    pub fn state(&self, member: &Member, now: Duration) -> State {
        let silence = self.silence(member, now);
        if silence >= self.config.gone_after() {
            State::Gone
        } else if silence >= self.config.stale_after() {
            State::Stale
        } else {
            State::Fresh
        }
    }

    /// How often a node came, went or changed.
    pub fn mark(&self) -> u64 {
        self.mark
    }

    fn check(&self, registration: &Registration) -> Result<(), Refused> {
        registration.check()?;
        let settings = &self.config.settings;
        let differing = settings.differing(&registration.settings);
        let other_dim = registration.has_other_dim(settings.dim).then_some(Setting::Dim);
        differing.or(other_dim).map_or(Ok(()), |setting| Err(Refused::Differs(setting)))
    }

    /// The roster's own clock begins so long before the caller's that the silence of whoever is not yet gone can be
    /// written in it, also from before this process began.
    fn clock(&self, now: Duration) -> Duration {
        now.saturating_add(self.config.gone_after())
    }

    fn silence(&self, member: &Member, now: Duration) -> Duration {
        self.clock(now).max(self.latest).saturating_sub(member.heard)
    }

    /// Lets the time pass: the time now, on the roster's own clock.
    fn catch_up(&mut self, now: Duration) -> Duration {
        self.latest = self.latest.max(self.clock(now));
        let latest = self.latest;
        while let Some(name) = self.deadlines.pop_due(latest) {
            let Some(member) = self.members.get_mut(&name) else { continue };
            let gone_at = member.heard + self.config.interval * GONE_AFTER;
            if gone_at <= latest {
                member.state = State::Gone;
                self.gone.insert((member.heard, name.clone()));
                self.note(Some(Change::Gone(name)));
            } else {
                member.state = State::Stale;
                self.deadlines.set(name.clone(), gone_at);
                self.note(Some(Change::Stale(name)));
            }
        }
        latest
    }

    /// Notes when a node was heard, and sets its deadline anew.
    fn heard(&mut self, name: &NodeName, at: Duration, wall: Timestamp) {
        let Some(member) = self.members.get_mut(name) else { return };
        self.gone.remove(&(member.heard, name.clone()));
        let was = std::mem::replace(&mut member.state, State::Fresh);
        (member.heard, member.last_heartbeat) = (at, wall);
        self.deadlines.set(name.clone(), at + self.config.stale_after());
        self.note((was != State::Fresh).then(|| Change::Back(name.clone())));
    }

    /// Forgets who has been gone longest, if there is no room otherwise.
    fn make_room(&mut self) -> Result<(), Refused> {
        if self.members.len() < self.config.nodes_max {
            return Ok(());
        }
        let (_, name) = self.gone.pop_first().ok_or(Refused::Full)?;
        self.members.remove(&name);
        self.note(Some(Change::Removed(name)));
        Ok(())
    }

    fn note(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        self.mark += 1;
        if self.changes.len() >= CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }

    /// Notes that a node knows of all changes so far: the answer it gets says so.
    fn tell(&mut self, name: &NodeName, wall: Timestamp) {
        let mark = self.mark;
        if let Some(member) = self.members.get_mut(name) {
            (member.told_mark, member.told_at) = (mark, wall);
        }
    }
}

impl Member {
    fn new(registration: Registration, holder: Holder, heard: Duration, wall: Timestamp) -> Self {
        let (state, load) = (State::Fresh, None);
        let (is_key_proved, told_mark) = (false, 0);
        let (last_heartbeat, told_at) = (wall, wall);
        Self { registration, holder, is_key_proved, load, last_heartbeat, state, heard, told_mark, told_at }
    }

    /// Whether this caller may speak for it: by what it registered with, or by the key that it named and proved.
    pub fn is_held_by(&self, by: Holder) -> bool {
        let proved = self.registration.key.filter(|_| self.is_key_proved);
        by == self.holder || matches!(by, Holder::Key(key) if proved == Some(key))
    }
}

#[cfg(test)]
mod tests;
