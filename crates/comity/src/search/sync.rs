//! Copies of what other nodes have indexed, of those nodes that the configuration names: their logs are read from where the
//! last reading ended, now and then, and at once when they say that something has changed. Only what a node signed of
//! its own documents counts. See "Delta sync" in `protocols/mesh.md`.

use super::index::{Index, IndexError};
use crate::config::{MeshSources, SourceTrust};
use crate::driver::Handle;
use crate::link::{Asked, Pool, Unanswered, can_be_asked};
use comity_core::basin::{Record, Settings};
use comity_core::id::NodeId;
use comity_core::peers::PeerView;
use comity_core::time::Timestamp;
use comity_core::wire::mesh::sync::{PAGE_BYTES_MAX, Page, Source, Updates, read_page};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};

/// Updates that are asked for at once.
const UPDATES: usize = 2000;

/// Documents of one source that are kept here, at most: about 4 GiB on disk.
const DOCUMENTS_MAX: u64 = 2_000_000;

/// How long a page may take.
const PAGE_TIME: Duration = Duration::from_secs(30);

/// How soon after a notice the same node is asked again, at most: what changes meanwhile comes together.
const NOTICE_EVERY: Duration = Duration::from_millis(100);

/// How often is looked for nodes that have become known, or are there again.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long after a log could not be read it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(15);

/// How long is waited when a node says that it is asked too often, and how often in a row.
const WAIT: Duration = Duration::from_secs(5);
const WAITS_MAX: u32 = 24;

/// Updates that one thread checks before others are asked to help.
const CHECKED_ALONE: usize = 64;

/// How it goes with one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// When its log was last read to the end.
    pub(super) current: Option<Timestamp>,
    /// Why it could not be, in a sentence.
    pub(super) trouble: Option<String>,
    /// Updates that did not count, since this node was started.
    pub(super) refused: u64,
}

/// The reading of others' logs. Cloning shares it.
#[derive(Clone)]
pub(super) struct Sync(Arc<Shared>);

struct Shared {
    index: Index,
    handle: Handle,
    pool: Pool,
    sources: MeshSources,
    every: Duration,
    /// Who said that something has changed, until it is read. A lock and not a message: many notices are one.
    noticed: Mutex<BTreeSet<NodeId>>,
    notice: Notify,
    progress: Mutex<BTreeMap<NodeId, Progress>>,
}

/// Why a log was not read to its end.
enum Stopped {
    /// The node did not answer, or not with a page.
    Trouble(String),
    /// This node's disk.
    Disk,
}

impl Sync {
    pub(super) fn new(index: Index, handle: Handle, pool: Pool, (sources, every): (MeshSources, Duration)) -> Self {
        let (noticed, notice, progress) = (Mutex::default(), Notify::new(), Mutex::default());
        Self(Arc::new(Shared { index, handle, pool, sources, every, noticed, notice, progress }))
    }

    /// How far a node is trusted as a source; `None`: its documents are not kept here.
    pub(super) fn trust(&self, node: &NodeId) -> Option<SourceTrust> {
        self.0.sources.trust(node)
    }

    /// How it goes with each source that was tried.
    pub(super) fn progress(&self) -> BTreeMap<NodeId, Progress> {
        lock(&self.0.progress).clone()
    }

    /// Has a node's log read soon: it says that something has changed.
    pub(super) fn notice(&self, node: NodeId) {
        if self.trust(&node).is_some() {
            lock(&self.0.noticed).insert(node);
            self.0.notice.notify_one();
        }
    }

    /// Reads logs until the node ends.
    pub(super) async fn run(self) {
        if self.0.sources.is_empty() {
            return;
        }
        let mut reading: JoinSet<NodeId> = JoinSet::new();
        let mut under_way = BTreeSet::new();
        let (mut next_round, mut next_look) = (Instant::now(), Instant::now() + LOOK_EVERY);
        // When each was read last, whatever came of it.
        let mut tried: BTreeMap<NodeId, Instant> = BTreeMap::new();
        let mut joined = self.0.handle.peer_events();
        loop {
            let (mut due, mut is_round) = (BTreeSet::new(), false);
            tokio::select! {
                () = sleep_until(next_round) => {
                    next_round = Instant::now() + self.0.every;
                    is_round = true;
                }
                () = sleep_until(next_look) => {
                    next_look = Instant::now() + LOOK_EVERY;
                    // Who became known, or came back, since the last round.
                    let view = self.0.handle.last_view();
                    let keys = view.peers.iter().filter(|peer| can_be_asked(&view, peer)).filter_map(|peer| peer.key);
                    due.extend(keys.filter(|key| tried.get(key).is_none_or(|at| self.is_to_be_tried(key, *at))));
                }
                () = self.0.notice.notified() => due = std::mem::take(&mut *lock(&self.0.noticed)),
                Some(ended) = reading.join_next() => {
                    // Err: a reading panicked, and the log says where.
                    if let Ok(node) = ended {
                        under_way.remove(&node);
                    }
                    continue;
                }
                event = joined.recv() => match event.as_deref() {
                    Ok(comity_core::node::Event::PeerJoined(peer)) => due.extend(peer.key),
                    _ => continue,
                },
            }
            if !is_round && due.is_empty() {
                continue;
            }
            let view = self.0.handle.look().await;
            for peer in view.peers.iter().filter(|peer| can_be_asked(&view, peer)) {
                let Some(key) = peer.key.filter(|key| self.trust(key).is_some()) else { continue };
                if !is_round && !due.contains(&key) {
                    continue;
                }
                if under_way.insert(key) {
                    tried.insert(key, Instant::now());
                    let (sync, peer) = (self.clone(), peer.clone());
                    reading.spawn(async move { sync.read(key, &peer).await });
                } else if due.contains(&key) {
                    // It is being read, perhaps past what has changed: once more after that.
                    self.again(key);
                }
            }
        }
    }

    /// Whether a node that was read then, and not to the end of its log, is to be tried again before the next round.
    fn is_to_be_tried(&self, key: &NodeId, at: Instant) -> bool {
        let is_current = lock(&self.0.progress).get(key).is_some_and(|one| one.trouble.is_none());
        !is_current && at.elapsed() > AGAIN_AFTER
    }

    /// Notices a node once more, a moment from now.
    fn again(&self, key: NodeId) {
        let sync = self.clone();
        tokio::spawn(async move {
            sleep(NOTICE_EVERY).await;
            sync.notice(key);
        });
    }

    /// Reads one log to its end, and says how it went.
    async fn read(self, key: NodeId, peer: &PeerView) -> NodeId {
        let ended = self.read_on(key, peer).await;
        self.note(key, ended);
        // Notices that came meanwhile are read together.
        sleep(NOTICE_EVERY).await;
        key
    }

    fn note(&self, key: NodeId, ended: Result<(), Stopped>) {
        let mut progress = lock(&self.0.progress);
        let one = progress.entry(key).or_default();
        match ended {
            Ok(()) => (one.current, one.trouble) = (Some(self.0.handle.now().wall), None),
            Err(Stopped::Trouble(why)) => {
                tracing::debug!(node = %key, why, "the documents of a source could not be read");
                one.trouble = Some(why);
            }
            Err(Stopped::Disk) => one.trouble = Some("the disk of this node's index takes nothing".to_owned()),
        }
    }

    async fn read_on(&self, key: NodeId, peer: &PeerView) -> Result<(), Stopped> {
        let mut cursor = self.0.index.cursor(&key);
        // What a log from its beginning does not tell of is no more.
        let mut told: Option<BTreeSet<String>> = cursor.is_none().then(BTreeSet::new);
        // Of a log from its beginning what it tells of is counted, and not what is here.
        let mut here = if told.is_some() { 0 } else { self.0.index.documents_of(&key).await.map_err(stopped)? };
        let mut waits = 0;
        loop {
            if here > DOCUMENTS_MAX {
                return Err(Stopped::Trouble(format!(
                    "it has more than the {DOCUMENTS_MAX} documents that are kept here"
                )));
            }
            let page = match self.page(peer, key, cursor.as_deref()).await {
                Err(Unanswered::Status(410)) if cursor.is_some() => {
                    (cursor, told, here) = (None, Some(BTreeSet::new()), 0);
                    continue;
                }
                // A first reading keeps no cursor: it would begin again from nothing.
                Err(Unanswered::Status(429)) if waits < WAITS_MAX => {
                    waits += 1;
                    sleep(WAIT).await;
                    continue;
                }
                read => read.map_err(|why| Stopped::Trouble(why.to_string()))?,
            };
            let Page { updates, next_cursor } = page;
            let is_end = updates.records.is_empty() && updates.bad_count == 0;
            waits = 0;
            let records = self.checked(key, updates).await;
            if let Some(told) = &mut told {
                told.extend(records.iter().map(|record| record.doc_id.to_string()));
            }
            // Deleted ones take a row, too.
            here += records.len() as u64;
            let moved = next_cursor.is_some() && next_cursor != cursor;
            // A first reading counts as begun only once it has ended: what is left over must be forgotten then.
            let kept = next_cursor.clone().filter(|_| told.is_none());
            if moved || !records.is_empty() {
                self.0.index.take(key, records, (kept, told.is_some())).await.map_err(stopped)?;
            }
            if is_end || !moved {
                if let Some(told) = told {
                    self.0.index.forget_but(key, &told).await.map_err(stopped)?;
                    self.0.index.take(key, Vec::new(), (next_cursor, false)).await.map_err(stopped)?;
                }
                return Ok(());
            }
            cursor = next_cursor;
        }
    }

    async fn page(&self, peer: &PeerView, key: NodeId, since: Option<&str>) -> Result<Page, Unanswered> {
        let since = since.map_or_else(String::new, |since| format!("since={}&", encoded(since)));
        let path = Asked::Get(format!("/mesh/sync?{since}limit={UPDATES}"));
        let bytes = self.0.pool.ask(peer, &path, PAGE_TIME, PAGE_BYTES_MAX).await?;
        let now = self.0.handle.now().wall;
        let read = spawn_blocking(move || {
            let source = Source { sender: Some(key), named: &|_| None, now };
            read_page(&bytes, source)
        });
        read.await.expect("reading a page does not panic").map_err(|bad| {
            tracing::warn!(node = %key, %bad, "a page of a source's documents cannot be read");
            Unanswered::NotJson
        })
    }

    /// Those updates that count; the others are counted, and the first is said.
    pub(super) async fn checked(&self, key: NodeId, updates: Updates) -> Vec<Record> {
        let settings = self.0.index.settings().clone();
        let first_bad = updates.bad.first().map(ToString::to_string);
        let (records, refused, first) = checked(updates.records, settings, key).await;
        let refused = refused + updates.bad_count as u64;
        if let Some(why) = first.or(first_bad) {
            tracing::warn!(node = %key, refused, why, "some of what a source says of its documents does not count");
            lock(&self.0.progress).entry(key).or_default().refused += refused;
            self.0.handle.counters().left_out("update", refused);
        }
        records
    }
}

/// Checks updates on all processors.
async fn checked(records: Vec<Record>, settings: Settings, key: NodeId) -> (Vec<Record>, u64, Option<String>) {
    let threads = available_parallelism().map_or(1, usize::from);
    let share = records.len().div_ceil(threads).max(CHECKED_ALONE);
    let mut rest = records.into_iter();
    let mut shares = Vec::new();
    loop {
        let some: Vec<Record> = rest.by_ref().take(share).collect();
        if some.is_empty() {
            break;
        }
        let settings = settings.clone();
        shares.push(spawn_blocking(move || {
            let (mut good, mut refused, mut first) = (Vec::with_capacity(some.len()), 0, None);
            for record in some {
                match record.check(&settings, &key) {
                    Ok(()) => good.push(record),
                    Err(why) => {
                        refused += 1;
                        first.get_or_insert_with(|| format!("{}: {why}", record.doc_id));
                    }
                }
            }
            (good, refused, first)
        }));
    }
    let (mut all, mut refused, mut first) = (Vec::new(), 0, None);
    for share in shares {
        let (good, bad, why) = share.await.expect("checking does not panic");
        all.extend(good);
        refused += bad;
        first = first.or(why);
    }
    (all, refused, first)
}

fn stopped(error: IndexError) -> Stopped {
    match error {
        IndexError::Disk => Stopped::Disk,
        IndexError::Leaving => Stopped::Trouble(error.to_string()),
    }
}

/// A value of a query, percent-encoded (RFC 3986).
pub(super) fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    value.bytes().map(encode).collect()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
