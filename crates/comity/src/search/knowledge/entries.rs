//! The entries of a node, its own and those of others, and the one task that changes them: what comes together is written
//! together, and safe before anybody is told. Signatures were checked before; here is decided what counts beside what is
//! there.

use crate::store::StoreError;
use crate::store::knowledge::{self, Entry, Reader, Room, Starts, Write, Writer, Written, weight};
use comity_core::id::NodeId;
use comity_core::knowledge::{Beside, Request};
use comity_core::wire::mesh::sync::Cursor;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Entries that are kept, at most: a question about a vector looks at each.
const ENTRIES_MAX: u64 = 100_000;

/// What they take on disk, bytes, about: entries of a usual kilobyte and their vectors fit several times.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Batches of changes that wait for the disk, at most: whoever has more waits.
const QUEUE_MAX: usize = 64;

/// Entries in one group, at most: a few pages of another node's.
const GROUP_MAX: usize = 4096;

/// What there is room for.
const ROOM: Room = Room { entries: ENTRIES_MAX, bytes: BYTES_MAX };

/// The entries. Cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct Entries(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reader: Reader,
    starts: Starts,
    batches: mpsc::Sender<Batch>,
    state: watch::Receiver<State>,
    stop: CancellationToken,
    /// A lock and not a message: it is held to take the task, once.
    keeping: Mutex<Option<JoinHandle<()>>>,
}

/// What readers see of the writer.
#[derive(Debug, Clone, Default)]
struct State {
    written: Written,
    sources: BTreeMap<NodeId, String>,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is new.
    Added,
    /// It is in the place of an older one.
    Changed,
    /// It was there.
    Unchanged,
    /// One that counts more is there.
    Older,
    /// There is no room for it.
    Full,
}

/// Why entries are not kept or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KnowledgeError {
    /// The disk does not take them, or cannot be read.
    #[error("the disk takes no knowledge now, or cannot be read; the node's log says why")]
    Disk,
    /// The node is leaving.
    #[error("the node is leaving")]
    Leaving,
}

/// Entries that somebody waits for.
#[derive(Debug)]
struct Batch {
    entries: Vec<Entry>,
    /// How far the log of a source was read with them.
    read: Option<(NodeId, String)>,
    done: oneshot::Sender<Result<Vec<Outcome>, KnowledgeError>>,
}

impl Entries {
    /// Opens the file, made if it is missing, and keeps it from now on. `me`: whose entries are this node's own.
    pub(crate) async fn open(path: &Path, me: NodeId) -> Result<Self, StoreError> {
        Self::open_with(path, me, ROOM).await
    }

    /// The same, with other bounds.
    pub(super) async fn open_with(path: &Path, me: NodeId, room: Room) -> Result<Self, StoreError> {
        let (writer, reader) = knowledge::open(path, rand::random()).await?;
        let (batches, taken) = mpsc::channel(QUEUE_MAX);
        let (starts, stop) = (writer.starts().clone(), CancellationToken::new());
        let state = State { written: writer.written().clone(), sources: writer.sources().clone() };
        let (told, state) = watch::channel(state);
        let keeper = Keeper { writer, me, room, told };
        let keeping = Mutex::new(Some(tokio::spawn(keeper.run(taken, stop.clone()))));
        Ok(Self(Arc::new(Shared { reader, starts, batches, state, stop, keeping })))
    }

    /// Keeps entries whose signatures hold; with them, how far the log of a source was read. Afterwards they are safe.
    pub(crate) async fn take(
        &self,
        entries: Vec<Entry>,
        read: Option<(NodeId, String)>,
    ) -> Result<Vec<Outcome>, KnowledgeError> {
        let (done, ended) = oneshot::channel();
        let sent = self.0.batches.send(Batch { entries, read, done }).await;
        sent.map_err(|_| KnowledgeError::Leaving)?;
        ended.await.map_err(|_| KnowledgeError::Leaving)?
    }

    /// The entries that answer a request, the best first.
    pub(crate) async fn answer(&self, request: &Request) -> Result<Vec<Entry>, KnowledgeError> {
        self.0.reader.answer(request).await.map_err(unread)
    }

    /// Entries after a place in the log, in its order, each with its place.
    pub(crate) async fn since(&self, after: u64, limit: usize) -> Result<Vec<(u64, Entry)>, KnowledgeError> {
        self.0.reader.since(after, limit).await.map_err(unread)
    }

    /// The place after which somebody with this cursor reads on; `None`: it is of a log that is no more.
    pub(crate) fn place(&self, cursor: Cursor) -> Option<u64> {
        self.0.starts.place(cursor, self.0.state.borrow().written.seq)
    }

    /// The cursor at a place.
    pub(crate) fn cursor(&self, after: u64) -> Cursor {
        self.0.starts.cursor(after)
    }

    /// How far the log of another node was read.
    pub(super) fn read(&self, source: &NodeId) -> Option<String> {
        self.0.state.borrow().sources.get(source).cloned()
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn written(&self) -> Written {
        self.0.state.borrow().written.clone()
    }

    /// Writes what is under way, and closes the file.
    pub(crate) async fn close(&self) {
        let Some(keeping) = self.0.keeping.lock().await.take() else { return };
        self.0.stop.cancel();
        // Err: it panicked, and the log says where.
        let _ = keeping.await;
    }
}

/// The task that changes the file.
struct Keeper {
    writer: Writer,
    me: NodeId,
    room: Room,
    told: watch::Sender<State>,
}

impl Keeper {
    /// Keeps entries until nobody has any more, or what came before `stop` was cancelled is safe.
    async fn run(mut self, mut batches: mpsc::Receiver<Batch>, stop: CancellationToken) {
        let mut waiting: Option<Batch> = None;
        loop {
            let first = match waiting.take() {
                Some(batch) => Some(batch),
                None => tokio::select! {
                    batch = batches.recv() => batch,
                    () = stop.cancelled(), if !batches.is_closed() => {
                        batches.close();
                        continue;
                    }
                },
            };
            let Some(first) = first else { break };
            let mut group = vec![first];
            let mut entries = group[0].entries.len();
            while let Ok(batch) = batches.try_recv() {
                entries += batch.entries.len();
                // What a source was read to goes with its own entries alone, and so does what would be too much at once.
                if batch.read.is_some() || group[0].read.is_some() || entries > GROUP_MAX {
                    waiting = Some(batch);
                    break;
                }
                group.push(batch);
            }
            self.keep(group).await;
        }
        self.writer.close().await;
    }

    /// Makes a group safe and tells whoever waits for it.
    async fn keep(&mut self, group: Vec<Batch>) {
        let (mut entries, mut waiters, mut read) = (Vec::new(), Vec::new(), None);
        for batch in group {
            waiters.push((batch.entries.len(), batch.done));
            entries.extend(batch.entries);
            read = batch.read;
        }
        match self.commit(entries, read).await {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                for (length, done) in waiters {
                    // Err: nobody waits any more.
                    let _ = done.send(Ok(outcomes.by_ref().take(length).collect()));
                }
            }
            Err(error) => {
                tracing::error!(%error, "knowledge.db takes nothing now: what came just now is refused");
                for (_, done) in waiters {
                    let _ = done.send(Err(KnowledgeError::Disk));
                }
            }
        }
    }

    async fn commit(
        &mut self,
        entries: Vec<Entry>,
        read: Option<(NodeId, String)>,
    ) -> Result<Vec<Outcome>, sqlx::Error> {
        let (outcomes, writes) = self.decide(entries).await?;
        if writes.is_empty() && read.is_none() {
            return Ok(outcomes);
        }
        let read = read.as_ref().map(|(key, cursor)| (*key, cursor.as_str()));
        let dropped = self.writer.written().dropped;
        self.writer.commit(&writes, read, self.room).await?;
        let written = self.writer.written().clone();
        if written.dropped > dropped {
            let (given_up, in_all) = (written.dropped - dropped, written.dropped);
            tracing::warn!(given_up, in_all, "there is more knowledge than room: the oldest entries of others go");
        }
        self.told.send_replace(State { written, sources: self.writer.sources().clone() });
        Ok(outcomes)
    }

    /// What counts beside what is there, and what of one group beside each other.
    async fn decide(&mut self, entries: Vec<Entry>) -> Result<(Vec<Outcome>, Vec<Write>), sqlx::Error> {
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut decided: BTreeMap<(NodeId, String), Write> = BTreeMap::new();
        let mut order = Vec::new();
        let own = self.writer.written().own;
        let (mut own_entries, mut own_bytes) = (own.entries, own.bytes);
        for entry in entries {
            let place = (entry.signer, entry.knowledge.id.clone());
            let held = match decided.get(&place) {
                Some(write) => Some((write.before, write.entry.clone())),
                None => self.writer.held(&place.0, &place.1).await?.map(|(seq, entry)| (Some(seq), entry)),
            };
            let outcome = held.as_ref().map_or(Outcome::Added, |(_, held)| beside(&entry, held));
            let is_own = entry.signer == self.me;
            let is_written = matches!(outcome, Outcome::Added | Outcome::Changed);
            if is_written && is_own {
                let was = held.as_ref().map_or(0, |(_, held)| weight(held));
                let entries = own_entries + u64::from(outcome == Outcome::Added);
                let bytes = (own_bytes + weight(&entry)).saturating_sub(was);
                if entries > self.room.entries || bytes > self.room.bytes {
                    outcomes.push(Outcome::Full);
                    continue;
                }
                (own_entries, own_bytes) = (entries, bytes);
            }
            outcomes.push(outcome);
            if is_written {
                let before = held.and_then(|(before, _)| before);
                order.push(place.clone());
                decided.insert(place, Write { entry, own: is_own, before });
            }
        }
        // Whatever stands twice in the order counts where it came first: its last state is written once.
        let writes = order.iter().filter_map(|place| decided.remove(place)).collect();
        Ok((outcomes, writes))
    }
}

fn beside(entry: &Entry, held: &Entry) -> Outcome {
    match entry.knowledge.beside(&held.knowledge) {
        Beside::Newer => Outcome::Changed,
        Beside::Same => Outcome::Unchanged,
        // Of one id they are never apart.
        Beside::Older | Beside::Apart => Outcome::Older,
    }
}

fn unread(error: sqlx::Error) -> KnowledgeError {
    tracing::warn!(%error, "knowledge.db cannot be read");
    KnowledgeError::Disk
}
