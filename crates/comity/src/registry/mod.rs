//! The registry that this node is, where it is a coordinator: it proves who asks, asks the rules, and answers when what
//! changed is on disk. Who may register, who is stale and how often one may ask is decided in
//! `comity_core::registry`. See "Registry" and "Security" in `protocols/mesh.md`.

mod keeper;
mod proof;
#[cfg(test)]
mod tests;

pub(crate) use proof::{Asker, Shown};

use crate::driver::Handle;
use crate::store::StoreError;
use crate::store::registry::{self as store, Write};
use comity_core::id::NodeId;
use comity_core::registry::key::{self, Issued, KeyHash, Keyring, Secret, TOKENS_MAX, Token};
use comity_core::registry::pace::{Pace, TooSoon};
use comity_core::registry::profile::{NodeName, Registration};
use comity_core::registry::roster::{Config, Holder, INTERVAL, Kept, Member, Roster, STALE_AFTER, State};
use comity_core::registry::routing::{self, Candidate};
use comity_core::registry::{profile, roster};
use comity_core::time::{Now, Timestamp};
use comity_core::wire::mesh::reading::BadBody;
use comity_core::wire::mesh::registry::{self as wire, KernelNode, PAGE_MAX, Page, Registered};
use keeper::{Changed, Order};
use rand::TryRngCore;
use rand::rngs::OsRng;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Changes that wait for the disk, at most; then those who ask wait.
const ORDERS_MAX: usize = 256;

/// How often it is written when nodes were heard last: what a crash loses of that, [`INTERVAL`] of grace makes good.
const HEARD_EVERY: Duration = Duration::from_secs(60);

/// How long an enrolment token may be good.
const TOKEN_TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Nodes that one question goes to, at most.
const FANOUT: usize = 16;

/// The registry. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Registry(Arc<Shared>);

struct Shared {
    /// A lock and not a message: it is held for a look into maps in memory, and never while anything waits.
    books: Mutex<Books>,
    orders: mpsc::Sender<Order>,
    /// Grows whenever a node comes, goes or changes.
    mark: watch::Sender<u64>,
}

struct Books {
    roster: Roster,
    keyring: Keyring,
    pace: Pace<String>,
    /// Nodes that told by a heartbeat where their documents lie now, and which are not written yet.
    moved: BTreeSet<NodeName>,
    /// When it was written last when nodes were heard.
    written_at: Timestamp,
}

/// Why something is refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Whoever asks does not prove who it is (401).
    #[error("{0}")]
    Unproven(&'static str),
    /// It proved who it is, and may not (403).
    #[error("{0}")]
    NotTheirs(&'static str),
    /// The body cannot be read (400, 413, 422).
    #[error(transparent)]
    Body(#[from] BadBody),
    /// The rules of the roster (404, 409, 422, 503).
    #[error(transparent)]
    Roster(#[from] roster::Refused),
    /// The rules of keys (401, 403, 409, 503).
    #[error(transparent)]
    Key(#[from] key::Refused),
    /// Too soon (429, 503).
    #[error(transparent)]
    Pace(#[from] TooSoon),
    /// The disk does not take it (503).
    #[error("the registry cannot write to its disk")]
    Disk,
    /// The system gives no random numbers (503).
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// What is to be made lies out of bounds (422).
    #[error("{0}")]
    Bounds(&'static str),
}

/// What was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Revoked {
    /// A node was taken out.
    pub(crate) node: bool,
    /// Its API key was.
    pub(crate) key: bool,
    /// A token was.
    pub(crate) token: bool,
}

impl fmt::Debug for Registry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Registry").field("nodes", &self.books().roster.len()).finish_non_exhaustive()
    }
}

impl Registry {
    /// Opens the registry in this file, with what it knew when it ended. Needs a tokio runtime.
    pub(crate) async fn open(path: &Path, settings: profile::Settings, now: Now) -> Result<Self, StoreError> {
        let (writer, restored) = store::open(path).await?;
        if restored.damaged > 0 {
            tracing::error!(rows = restored.damaged, "rows of the registry cannot be read and are left out");
        }
        let config = Config { settings, ..Config::default() };
        let mut roster = Roster::new(config);
        for kept in restored.nodes {
            let name = kept.registration.node.clone();
            let kept = Kept { last_heartbeat: graced(kept.last_heartbeat, restored.heard_until, now.wall), ..kept };
            if let Err(why) = roster.restore(kept, now) {
                tracing::warn!(node = %name, %why, "a node of the registry is not restored");
            }
        }
        let keyring = Keyring::restored(restored.keys, restored.tokens);
        roster.poll(now.mono);
        let mark = watch::Sender::new(roster.mark());
        let books =
            Books { roster, keyring, pace: Pace::default(), moved: BTreeSet::new(), written_at: restored.heard_until };
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        tokio::spawn(keeper::run(writer, waiting));
        Ok(Self(Arc::new(Shared { books: Mutex::new(books), orders, mark })))
    }

    /// Lets the time pass, and now and then writes when nodes were heard, until the node ends.
    pub(crate) async fn keep(self, handle: Handle) {
        let mut looks = tokio::time::interval(INTERVAL / 3);
        loop {
            looks.tick().await;
            self.look(handle.now()).await;
        }
    }

    /// Lets the time pass.
    pub(crate) async fn look(&self, now: Now) {
        let due = {
            let mut books = self.books();
            for change in books.roster.poll(now.mono) {
                tracing::debug!(?change, "the registry");
            }
            now.wall.since(books.written_at) >= HEARD_EVERY
        };
        self.said();
        if due {
            // Err: the keeper says so in the log, and it is tried again.
            let _ = self.write_heard(now).await;
        }
    }

    /// Registers a node, or takes what it now says of itself.
    pub(crate) async fn register(&self, shown: &Shown, body: &[u8], now: Now) -> Result<Registered, Refused> {
        let asker = self.asker(shown, now)?;
        let registration = wire::read_register(body)?;
        if let (Some(proved), Some(named)) = (shown.key, registration.key)
            && proved != named
        {
            return Err(roster::Refused::OtherKey.into());
        }
        let entropy = entropy()?;
        let changed = self.room().await?;
        let node = registration.node.clone();
        let (api_key, nodes, done) = {
            let mut books = self.books();
            let (api_key, writes) = books.register(&asker, registration, entropy, now)?;
            let nodes = books.roster.members(now.mono).filter(|member| member.registration.node != node);
            let nodes = nodes.take(PAGE_MAX).map(KernelNode::brief).collect();
            (api_key, nodes, changed.send(writes))
        };
        if done.await.is_err() {
            let mut books = self.books();
            // Nobody was told this key: its node enrols again when the disk is well.
            if api_key.is_some() {
                books.keyring.revoke(&node);
                // Err: it was taken out meanwhile.
                let _ = books.roster.remove(&node);
            }
            return Err(Refused::Disk);
        }
        self.said();
        let interval = self.books().roster.config().interval;
        Ok(Registered { node, api_key, interval, nodes })
    }

    /// Takes a heartbeat: since when others came, went or changed.
    pub(crate) fn heartbeat(&self, shown: &Shown, body: &[u8], now: Now) -> Result<Option<Timestamp>, Refused> {
        let asker = self.asker(shown, now)?;
        let (node, beat) = wire::read_heartbeat(body)?;
        let since = {
            let mut books = self.books();
            let by = asker.speaks_for(&books.roster, &node)?;
            let moves = beat.basin_signature.is_some() || beat.centroids.is_some();
            let since = books.roster.heartbeat(&node, beat, by, now)?;
            if moves {
                books.moved.insert(node);
            }
            since
        };
        self.said();
        Ok(since)
    }

    /// A page of the nodes that are not gone, and after which it goes on.
    pub(crate) fn nodes(
        &self,
        shown: &Shown,
        page: &Page,
        now: Now,
    ) -> Result<(Vec<KernelNode>, Option<NodeName>), Refused> {
        self.asker(shown, now)?.sees()?;
        let books = self.books();
        let after = |member: &&Member| page.after.as_ref().is_none_or(|after| member.registration.node > *after);
        let mut members = books.roster.members(now.mono).filter(after);
        let nodes: Vec<_> = members.by_ref().take(page.limit).map(KernelNode::whole).collect();
        let next = members.next().and(nodes.last()).map(|last| last.node.clone());
        Ok((nodes, next))
    }

    /// One node, gone or not.
    pub(crate) fn node(&self, shown: &Shown, name: &NodeName, now: Now) -> Result<KernelNode, Refused> {
        self.asker(shown, now)?.sees()?;
        let books = self.books();
        Ok(books.roster.member(name).map(KernelNode::whole).ok_or(roster::Refused::Unknown)?)
    }

    /// Takes a node out that asks for it itself. Its API key stays good: it may register again.
    pub(crate) async fn remove(&self, shown: &Shown, name: &NodeName, now: Now) -> Result<(), Refused> {
        let asker = self.asker(shown, now)?;
        let changed = self.room().await?;
        let done = {
            let mut books = self.books();
            let by = asker.speaks_for(&books.roster, name)?;
            let member = books.roster.member(name).ok_or(roster::Refused::Unknown)?;
            if !member.is_held_by(by) {
                return Err(Refused::NotTheirs("a node takes out only itself"));
            }
            books.roster.remove(name)?;
            books.moved.remove(name);
            changed.send(vec![Write::NodeOut(name.clone())])
        };
        self.said();
        done.await.map_err(|_| Refused::Disk)
    }

    /// Makes an enrolment token, good for so many nodes and so long.
    pub(crate) async fn invite(&self, uses: u32, good_for: Duration, now: Now) -> Result<(Secret, Token), Refused> {
        if uses == 0 || good_for.is_zero() || good_for > TOKEN_TIME_MAX {
            return Err(Refused::Bounds("at least one use, and a time from 1 second to 365 days is wanted"));
        }
        let entropy = entropy()?;
        let changed = self.room().await?;
        let token = Token { uses_left: uses, expires: now.wall + good_for };
        let (secret, done) = {
            let mut books = self.books();
            let before: Vec<KeyHash> = books.keyring.tokens().map(|(hash, _)| *hash).collect();
            let secret = books.keyring.invite(token, entropy, now.wall)?;
            // Those that were over made room.
            let still: BTreeSet<KeyHash> = books.keyring.tokens().map(|(hash, _)| *hash).collect();
            let over = before.into_iter().filter(|hash| !still.contains(hash)).take(TOKENS_MAX);
            let writes = over.map(Write::TokenOut).chain([Write::Token(secret.hash(), token)]).collect();
            let done = changed.send(writes);
            (secret, done)
        };
        done.await.map_err(|_| Refused::Disk)?;
        Ok((secret, token))
    }

    /// Revokes what the owner names: a node, with its API key, or a token by the beginning of its hash.
    pub(crate) async fn revoke(&self, what: &str) -> Result<Revoked, Refused> {
        let changed = self.room().await?;
        let (revoked, done) = {
            let mut books = self.books();
            let (revoked, writes) = books.revoke(what);
            (revoked, changed.send(writes))
        };
        self.said();
        done.await.map_err(|_| Refused::Disk)?;
        Ok(revoked)
    }

    /// Registers this node itself, or says that it is still there.
    pub(crate) fn register_itself(&self, registration: Registration, key: NodeId, now: Now) -> Result<(), Refused> {
        let registered = self.books().roster.register(registration, Holder::Key(key), now);
        self.said();
        Ok(registered?)
    }

    /// All nodes, gone ones too, and how lately each was heard.
    pub(crate) fn members(&self, now: Now) -> Vec<(Member, State)> {
        let books = self.books();
        let all = books.roster.all();
        all.map(|member| (member.clone(), books.roster.state(member, now.mono))).collect()
    }

    /// The nodes that are not gone.
    pub(crate) fn present(&self, now: Now) -> Vec<KernelNode> {
        self.books().roster.members(now.mono).map(KernelNode::brief).collect()
    }

    /// The fresh nodes that a question goes to, but for these, by their keys: where it may lie, at least 3, at most
    /// [`FANOUT`].
    pub(crate) fn routed(&self, question: &[f32], without: &[Option<NodeId>], now: Now) -> Vec<NodeId> {
        let books = self.books();
        let fresh = books.roster.members(now.mono).filter(|member| {
            let key = member.registration.key;
            key.is_some() && !without.contains(&key) && books.roster.state(member, now.mono) == State::Fresh
        });
        let candidates: Vec<Candidate<'_>> = fresh.map(|member| candidate(&member.registration)).collect();
        let chosen = routing::route(question, &candidates, FANOUT).into_iter();
        let key = |node: String| books.roster.member(&NodeName::new(&node).ok()?)?.registration.key;
        chosen.filter_map(|choice| key(choice.node)).collect()
    }

    /// Who asks, if it proves that, and does not ask too often.
    pub(crate) fn asker(&self, shown: &Shown, now: Now) -> Result<Asker, Refused> {
        let mut books = self.books();
        let asker = proof::prove(shown, &books.keyring, &books.roster, now.wall)?;
        books.pace.ask(&asker.name(), now.mono)?;
        Ok(asker)
    }

    /// Tells whenever a node came, went or changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.mark.subscribe()
    }

    /// Writes what is only in memory, and closes the file.
    pub(crate) async fn close(&self, now: Now) {
        // Err: what was acknowledged is on disk.
        let _ = self.write_heard(now).await;
        let (closed, ended) = oneshot::channel();
        if self.0.orders.send(Order::Close(closed)).await.is_ok() {
            // Err: the keeper has ended.
            let _ = ended.await;
        }
    }

    async fn write_heard(&self, now: Now) -> Result<(), Refused> {
        let changed = self.room().await?;
        let done = {
            let mut books = self.books();
            let (since, moved) = (books.written_at, std::mem::take(&mut books.moved));
            let heard = books.roster.members(now.mono).filter(|member| member.last_heartbeat >= since);
            let heard = heard.map(|member| (member.registration.node.clone(), member.last_heartbeat)).collect();
            let moved = moved.iter().filter_map(|name| books.roster.member(name));
            let mut writes: Vec<Write> = moved.map(|member| Write::Node(Box::new(kept(member)))).collect();
            writes.push(Write::Heard(heard, now.wall));
            books.written_at = now.wall;
            changed.send(writes)
        };
        done.await.map_err(|_| Refused::Disk)
    }

    /// Room for a change on its way to the disk, taken before anything changes.
    async fn room(&self) -> Result<Changed<'_>, Refused> {
        Changed::reserve(&self.0.orders).await.ok_or(Refused::Disk)
    }

    fn said(&self) {
        let mark = self.books().roster.mark();
        self.0.mark.send_if_modified(|said| std::mem::replace(said, mark) != mark);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// A registration, and what is to be written of it. A node that enrols with a token gets its API key; the token is
    /// used only when all else is good.
    fn register(
        &mut self,
        asker: &Asker,
        registration: Registration,
        entropy: [u8; 32],
        now: Now,
    ) -> Result<(Option<Secret>, Vec<Write>), Refused> {
        let name = registration.node.clone();
        let Asker::Token(token) = asker else {
            let by = asker.speaks_for(&self.roster, &name)?;
            let is_held = self.roster.member(&name).is_some_and(|member| member.is_held_by(by));
            if matches!(by, Holder::Key(_)) && !is_held && self.keyring.key_of(&name).is_some() {
                return Err(roster::Refused::Held.into());
            }
            self.roster.register(registration, by, now)?;
            return Ok((None, self.node(&name)));
        };
        if self.keyring.key_of(&name).is_some() {
            return Err(key::Refused::HasKey.into());
        }
        if self.roster.member(&name).is_some() {
            return Err(roster::Refused::Held.into());
        }
        let by = Holder::ApiKey(Secret::from_entropy(entropy).hash());
        self.roster.register(registration, by, now)?;
        let api_key = match self.keyring.enrol(token, &name, entropy, now.wall) {
            Ok(api_key) => api_key,
            Err(why) => {
                self.roster.remove(&name)?;
                return Err(why.into());
            }
        };
        let mut writes = self.node(&name);
        writes.push(Write::Key(api_key.hash(), Issued { node: name, at: now.wall }));
        let hash = token.hash();
        let left = self.keyring.tokens().find(|(known, _)| **known == hash).map(|(_, token)| *token);
        writes.push(left.map_or(Write::TokenOut(hash), |token| Write::Token(hash, token)));
        Ok((Some(api_key), writes))
    }

    fn revoke(&mut self, what: &str) -> (Revoked, Vec<Write>) {
        let (mut revoked, mut writes) = (Revoked::default(), Vec::new());
        if let Ok(name) = NodeName::new(what) {
            if let Some(hash) = self.keyring.revoke(&name) {
                revoked.key = true;
                writes.push(Write::KeyOut(hash));
            }
            if self.roster.remove(&name).is_ok() {
                revoked.node = true;
                self.moved.remove(&name);
                writes.push(Write::NodeOut(name));
            }
        }
        let token = self.keyring.tokens().map(|(hash, _)| *hash).find(|hash| hash.to_string() == what);
        if let Some(hash) = token {
            revoked.token = self.keyring.revoke_token(&hash);
            writes.push(Write::TokenOut(hash));
        }
        (revoked, writes)
    }

    fn node(&self, name: &NodeName) -> Vec<Write> {
        self.roster.member(name).map(|member| Write::Node(Box::new(kept(member)))).into_iter().collect()
    }
}

fn candidate(said: &Registration) -> Candidate<'_> {
    let (node, service_name) = (said.node.as_str(), said.service_name.as_str());
    Candidate { node, service_name, centroids: said.places(), freshness: 1.0, latency: None }
}

fn kept(member: &Member) -> Kept {
    let Member { registration, holder, load, last_heartbeat, .. } = member;
    let (registration, holder) = (registration.clone(), *holder);
    Kept { registration, holder, load: *load, last_heartbeat: *last_heartbeat }
}

/// When a node counts as heard last after a restart: while nobody listened it could not be heard, so whoever was not gone
/// when that was written last has one interval to say that it is there.
fn graced(heard: Timestamp, written: Timestamp, now: Timestamp) -> Timestamp {
    let was_gone = written.since(heard) >= INTERVAL * roster::GONE_AFTER;
    if was_gone { heard } else { heard.max(now - INTERVAL * (STALE_AFTER - 1)) }
}

fn entropy() -> Result<[u8; 32], Refused> {
    let mut entropy = [0; 32];
    OsRng.try_fill_bytes(&mut entropy).map_err(|_| Refused::NoRandomness)?;
    Ok(entropy)
}
