//! The registry that this node is, where it is a coordinator: it proves who asks, asks the rules, and answers when what
//! changed is on disk. Who may register, who is stale and how often one may ask is decided in
//! `comity_core::registry`. See "Registry" and "Security" in `protocols/mesh.md`.

mod books;
mod keeper;
mod proof;
#[cfg(test)]
mod tests;

pub(crate) use proof::{Asker, Shown};

use crate::driver::Handle;
use crate::store::link::Place;
use crate::store::registry::{RegistryError, Store, Write};
use books::Books;
use comity_core::id::NodeId;
use comity_core::registry::key::{self, Keyring, Secret, Token};
use comity_core::registry::pace::{Pace, TooSoon};
use comity_core::registry::profile::{NodeName, Registration};
use comity_core::registry::roster::{Config, INTERVAL, Kept, Member, Roster, STALE_AFTER, State};
use comity_core::registry::routing::{self, Candidate};
use comity_core::registry::{profile, roster};
use comity_core::time::{Now, Timestamp};
use comity_core::wire::mesh::reading::BadBody;
use comity_core::wire::mesh::registry::{self as wire, KernelNode, PAGE_MAX, Page, Registered};
use keeper::{Change, Decided, Keeper, Order};
use rand::TryRngCore;
use rand::rngs::OsRng;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Changes that wait for the disk, at most; then those who ask wait.
const ORDERS_MAX: usize = 256;

/// How often it is written when nodes were heard last: what a crash loses of that, [`INTERVAL`] of grace makes good.
const HEARD_EVERY: Duration = Duration::from_secs(60);

/// The same where other coordinators wait to hear of it: a node that is silent for three intervals is stale to them.
const HEARD_EVERY_SHARED: Duration = Duration::from_secs(10);

/// How long an enrolment token may be good.
const TOKEN_TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Nodes that one question goes to, at most.
const FANOUT: usize = 16;

/// Bytes of a list of nodes, from which on it gets no more: one more node may add as many as a registration may have.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of a number of a vector as it is written, with its comma, at most.
const NUMBER_BYTES: usize = 16;

/// Bytes of a node as it is written, but for its vectors and what it can do, at most.
const NODE_BYTES: usize = 2048;

/// The registry. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Registry(Arc<Shared>);

struct Shared {
    /// A lock and not a message: it is held for a look into maps in memory, and never while anything waits.
    books: Arc<Mutex<Books>>,
    orders: mpsc::Sender<Order>,
    /// Grows whenever a node comes, goes or changes.
    mark: watch::Sender<u64>,
    /// Changes whenever another coordinator may have changed something; `None` where there is no other.
    others: Option<watch::Receiver<u64>>,
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
    /// The disk, or the server, does not take it (503).
    #[error("the registry cannot be written now")]
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
    /// Opens the registry that is kept there, with what it knew when it ended. Needs a tokio runtime.
    pub(crate) async fn open(place: &Place, settings: profile::Settings, now: Now) -> Result<Self, RegistryError> {
        let (store, restored) = Store::open(place, &settings, now).await?;
        if restored.damaged > 0 {
            tracing::error!(rows = restored.damaged, "rows of the registry cannot be read and are left out");
        }
        let config = Config { settings, ..Config::default() };
        let mut books = Books {
            roster: Roster::new(config),
            keyring: Keyring::restored(restored.keys, restored.tokens),
            pace: Pace::default(),
            moved: BTreeSet::new(),
            heard: BTreeSet::new(),
            itself: None,
            is_shared: store.changes().is_some(),
            written_at: restored.heard_until,
        };
        for kept in restored.nodes {
            let last_heartbeat = graced(kept.last_heartbeat, restored.heard_until, now.wall);
            books.restore(Kept { last_heartbeat, ..kept }, now);
        }
        books.roster.poll(now.mono);
        let (mark, others) = (watch::Sender::new(books.roster.mark()), store.changes());
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        let books = Arc::new(Mutex::new(books));
        let keeper = Keeper { store, books: books.clone(), mark: mark.clone() };
        tokio::spawn(keeper.run(waiting));
        Ok(Self(Arc::new(Shared { books, orders, mark, others })))
    }

    /// Lets the time pass, hears of what other coordinators change, and now and then writes when nodes were heard, until
    /// the node ends.
    pub(crate) async fn keep(self, handle: Handle) {
        let mut looks = tokio::time::interval(INTERVAL / 3);
        let mut others = self.0.others.clone();
        loop {
            let changed = async {
                match &mut others {
                    Some(others) => others.changed().await.is_ok(),
                    None => false,
                }
            };
            tokio::select! {
                true = changed => self.read_others(handle.now()).await,
                _ = looks.tick() => self.look(handle.now()).await,
            }
        }
    }

    /// Lets the time pass.
    pub(crate) async fn look(&self, now: Now) {
        let due = {
            let mut books = self.books();
            for change in books.roster.poll(now.mono) {
                tracing::debug!(?change, "the registry");
            }
            let every = if books.is_shared { HEARD_EVERY_SHARED } else { HEARD_EVERY };
            now.wall.since(books.written_at) >= every
        };
        self.said();
        if due {
            self.write_heard(now).await;
        }
    }

    /// Reads what other coordinators have changed.
    pub(crate) async fn read_others(&self, now: Now) {
        // Err: the keeper has ended.
        let _ = self.0.orders.send(Order::Look(now)).await;
    }

    /// Registers a node, or takes what it now says of itself.
    pub(crate) async fn register(&self, shown: &Shown, body: &[u8], now: Now) -> Result<Registered, Refused> {
        let asker = self.asker(shown, now)?;
        let registration = wire::read_register(body)?;
        let entropy = entropy()?;
        let (node, proved) = (registration.node.clone(), shown.key);
        let change = move |books: &mut Books| books.register(&asker, (registration, proved), entropy, now);
        let api_key = self.change(Some(node.clone()), now, change).await?;
        let books = self.books();
        let others = books.roster.members(now.mono).filter(|member| member.registration.node != node);
        let nodes = filled(&mut others.map(KernelNode::brief), PAGE_MAX);
        let interval = books.roster.config().interval;
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
                books.moved.insert(node.clone());
            }
            books.heard.insert(node);
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
        let mut members = books.roster.members(now.mono).filter(after).map(KernelNode::whole);
        let nodes = filled(&mut members, page.limit);
        let next = members.next().and(nodes.last()).map(|last| last.node.clone());
        Ok((nodes, next))
    }

    /// One node, gone or not, by its name.
    pub(crate) fn node(&self, shown: &Shown, name: &str, now: Now) -> Result<KernelNode, Refused> {
        self.asker(shown, now)?.sees()?;
        let name = named(name)?;
        let books = self.books();
        Ok(books.roster.member(&name).map(KernelNode::whole).ok_or(roster::Refused::Unknown)?)
    }

    /// Takes a node out that asks for it itself. Its API key stays good: it may register again.
    pub(crate) async fn remove(&self, shown: &Shown, name: &str, now: Now) -> Result<(), Refused> {
        let asker = self.asker(shown, now)?;
        let name = named(name)?;
        let change = {
            let name = name.clone();
            move |books: &mut Books| Ok(((), books.remove(&asker, &name)?))
        };
        self.change(Some(name), now, change).await
    }

    /// Makes an enrolment token, good for so many nodes and so long.
    pub(crate) async fn invite(&self, uses: u32, good_for: Duration, now: Now) -> Result<(Secret, Token), Refused> {
        if uses == 0 || good_for.is_zero() || good_for > TOKEN_TIME_MAX {
            return Err(Refused::Bounds("at least one use, and a time from 1 second to 365 days is wanted"));
        }
        let entropy = entropy()?;
        let token = Token { uses_left: uses, expires: now.wall + good_for };
        let secret = self.change(None, now, move |books| books.invite(token, entropy, now.wall)).await?;
        Ok((secret, token))
    }

    /// Revokes what the owner names: a node, with its API key and the token by which it enrolled, or a token by the
    /// beginning of its hash.
    pub(crate) async fn revoke(&self, what: &str, now: Now) -> Result<Revoked, Refused> {
        let what = what.to_owned();
        self.change(NodeName::new(&what).ok(), now, move |books| Ok(books.revoke(&what))).await
    }

    /// Registers this node itself, or says that it is still there.
    pub(crate) fn register_itself(&self, registration: Registration, key: NodeId, now: Now) -> Result<(), Refused> {
        let registered = self.books().register_itself(registration, key, now);
        self.said();
        registered
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

    /// Where the documents of the nodes lie that are not gone, by their keys.
    pub(crate) fn places(&self, now: Now) -> BTreeMap<NodeId, Vec<Vec<f32>>> {
        let books = self.books();
        let said = books.roster.members(now.mono).map(|member| &member.registration);
        said.filter_map(|said| Some((said.key?, said.places().to_vec()))).collect()
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

    /// Who asks, if it proves that. How often it may ask is counted elsewhere.
    pub(crate) fn proved(&self, shown: &Shown, now: Now) -> Result<Asker, Refused> {
        let books = self.books();
        proof::prove(shown, &books.keyring, &books.roster, now.wall)
    }

    /// Tells whenever a node came, went or changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.mark.subscribe()
    }

    /// Writes what is only in memory, and closes the store.
    pub(crate) async fn close(&self, now: Now) {
        self.write_heard(now).await;
        let (closed, ended) = oneshot::channel();
        // Err: it is closed.
        if self.0.orders.send(Order::Close(closed)).await.is_ok() {
            let _ = ended.await;
        }
    }

    /// Writes which nodes were heard here, and where their documents lie now.
    async fn write_heard(&self, now: Now) {
        // Err: the keeper says so in the log, and it is due again.
        let _ = self.change(None, now, move |books| Ok(((), books.take_unwritten(now.wall)))).await;
    }

    /// Lets something be decided and written: what came of it, when that is safe.
    async fn change<T: Send + 'static>(
        &self,
        node: Option<NodeName>,
        now: Now,
        decide: impl FnOnce(&mut Books) -> Result<(T, Vec<Write>), Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        let decide = Box::new(move |books: &mut Books| {
            let (decided, writes) = match decide(books) {
                Ok((done, writes)) => (Ok(done), writes),
                Err(why) => (Err(why), Vec::new()),
            };
            // Err: nobody waits for it any more.
            Decided { writes, tell: Box::new(move || drop(answer.send(decided))) }
        });
        let order = Order::Change(Change { node, now, decide });
        self.0.orders.send(order).await.map_err(|_| Refused::Disk)?;
        answered.await.unwrap_or(Err(Refused::Disk))
    }

    fn said(&self) {
        let mark = self.books().roster.mark();
        self.0.mark.send_if_modified(|said| std::mem::replace(said, mark) != mark);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next of these nodes: at most so many, and no more once they have [`PAGE_BYTES`].
fn filled(nodes: &mut impl Iterator<Item = KernelNode>, limit: usize) -> Vec<KernelNode> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    while page.len() < limit
        && bytes < PAGE_BYTES
        && let Some(node) = nodes.next()
    {
        bytes += size(&node);
        page.push(node);
    }
    page
}

/// About how many bytes a node has as it is written.
fn size(node: &KernelNode) -> usize {
    let numbers = node.basin_signature.len() + node.centroids.iter().map(Vec::len).sum::<usize>();
    let texts = node.capabilities.iter().map(String::len).sum::<usize>();
    NODE_BYTES + texts + NUMBER_BYTES * numbers
}

/// A text that is no name is nobody's.
fn named(text: &str) -> Result<NodeName, roster::Refused> {
    NodeName::new(text).map_err(|_| roster::Refused::Unknown)
}

fn candidate(said: &Registration) -> Candidate<'_> {
    let (node, service_name) = (said.node.as_str(), said.service_name.as_str());
    Candidate { node, service_name, centroids: said.places(), freshness: 1.0, latency: None }
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
