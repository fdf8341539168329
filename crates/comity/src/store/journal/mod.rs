//! The journal on disk: append-only segments of signed JSON Lines, one writer, many readers. What an entry is and
//! what proves it are rules of `comity-core`; here are files. `docs/journal.md` is the format; see also "Journal"
//! in `protocols/pubsub.md`.
//!
//! Appending waits for the disk without blocking. Reading, proving, verifying and opening block: a program that runs
//! tasks does them by `tokio::task::spawn_blocking`.

mod copy;
mod error;
mod files;
mod folder;
mod index;
mod lines;
mod read;
mod recovery;
#[cfg(test)]
mod tests;
mod tile;
mod verify;
mod writer;

pub use comity_core::journal::{Entry, EntryKind, EntryProof, Head, Report};
pub(crate) use copy::{Copy, Held};
pub use error::{JournalError, NotAppended};
pub use files::{FileEntries, entries_of};
pub use index::Segment;
pub use read::{Entries, Filter, Piecewise};
pub use recovery::Recovered;
pub use verify::{verify, verify_so_far};

use comity_core::id::NodeId;
use comity_core::identity::key::KeyPair;
use comity_core::journal::{Draft, GROUP_MAX};
use folder::Folder;
use index::Index;
use recovery::Restored;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use writer::{GROUP_BYTES_MAX, Wanted, Writer};

/// When a segment is followed by the next one, bytes: a journal is bounded by dropping whole segments, and at the
/// default of `journal.keep` one is a sixteenth of it.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// The smallest segment that is followed by another by its size, bytes.
const SEGMENT_BYTES_MIN: u64 = 64 * 1024;

/// What a journal keeps by default, bytes (`journal.keep`): two million ordinary entries.
pub const KEEP_BYTES: u64 = 1024 * 1024 * 1024;

/// How large a journal's files may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after which the oldest segments are dropped (`journal.keep`). The last segment is always kept, and one
    /// may be begun before another is dropped: up to two segments more.
    pub keep: u64,
    /// Bytes after which a segment is followed by another.
    pub segment: u64,
}

impl Limits {
    /// With this bound: segments are a sixteenth of it, within what makes sense for a file.
    pub fn keeping(keep: u64) -> Self {
        Self { keep, segment: (keep / 16).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { keep: KEEP_BYTES, segment: SEGMENT_BYTES }
    }
}

/// How the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// The last group is safe.
    Working,
    /// It takes nothing, for this reason.
    Failing(NotAppended),
}

/// What there is, and what was done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// The first entry that is there.
    pub first: u64,
    /// The entry that comes next.
    pub size: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// How many segments.
    pub segments: usize,
    /// Groups that were written.
    pub groups: u64,
    /// Entries that were refused because of the disk.
    pub refused: u64,
    /// Entries that were dropped to stay within [`Limits::keep`].
    pub dropped: u64,
}

/// A node's journal. Cloning gives another handle of the same one.
#[derive(Debug, Clone)]
pub struct Journal {
    wanted: mpsc::Sender<Wanted>,
    room: Arc<Semaphore>,
    shared: Arc<Shared>,
    folder: Folder,
    ended: watch::Receiver<()>,
}

/// What the writer tells readers.
#[derive(Debug)]
struct Shared {
    /// A lock and not a message: readers look at it in the midst of the writer's waiting for the disk, and nobody
    /// holds it while files are read or written.
    index: RwLock<Index>,
    disk: watch::Sender<Disk>,
    /// The entry that comes next.
    size: watch::Sender<u64>,
    groups: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
}

impl Shared {
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal {
    /// Opens the journal of this key in a folder, made if it is missing, and starts its writer. What a crash left half
    /// written is cut off, and told. Blocks.
    ///
    /// # Errors
    /// [`JournalError`] when another process has it, it is another key's, an acknowledged entry is not as it was, or
    /// the disk refuses.
    pub fn open(folder: &Path, key: KeyPair, limits: Limits) -> Result<(Self, Option<Recovered>), JournalError> {
        let folder = Folder::new(folder);
        let taken = folder.take()?;
        let Restored { index, chain, recovered } = recovery::restore(&folder, key.node())?;
        if let Some(Recovered { index, entries, bytes }) = recovered {
            tracing::warn!(
                index,
                entries,
                bytes,
                "an unfinished group was cut off the journal: nobody was told it is safe"
            );
        }
        let shared = Arc::new(Shared {
            size: watch::Sender::new(index.tiles.size()),
            index: RwLock::new(index),
            disk: watch::Sender::new(Disk::Working),
            groups: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let writer = Writer::new(key, folder.clone(), limits, chain, shared.clone(), taken)?;
        writer.keep_within();
        let (wanted, arriving) = mpsc::channel(GROUP_MAX);
        let (ending, ended) = watch::channel(());
        let run = move || {
            writer.run(arriving);
            // The last thing: that it is gone says that the folder is free.
            drop(ending);
        };
        let thread = thread::Builder::new().name("journal".to_owned());
        thread.spawn(run).map_err(JournalError::at(folder.path()))?;
        let room = Arc::new(Semaphore::new(GROUP_BYTES_MAX));
        Ok((Self { wanted, room, shared, folder, ended }, recovered))
    }

    /// Appends an entry; its index, once it is on the disk. Whoever stops waiting does not take it back.
    ///
    /// # Errors
    /// [`NotAppended`] when it is not in the journal.
    pub async fn append(&self, draft: Draft) -> Result<u64, NotAppended> {
        let weight = u32::try_from(draft.weight()).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(weight).await.map_err(|_| NotAppended::Closed)?;
        let (answer, answered) = oneshot::channel();
        self.wanted.send(Wanted::Entry(draft, answer, room)).await.map_err(|_| NotAppended::Closed)?;
        answered.await.unwrap_or(Err(NotAppended::Closed))
    }

    /// Writes what waits and lets go of the folder.
    pub async fn close(mut self) {
        // Err: it was closed before.
        let _ = self.wanted.send(Wanted::Close).await;
        // Err: the writer is gone, as it should be.
        while self.ended.changed().await.is_ok() {}
    }

    /// How the disk is, now and from now on.
    pub fn disk(&self) -> watch::Receiver<Disk> {
        self.shared.disk.subscribe()
    }

    /// The entry that comes next, now and from now on.
    pub fn growth(&self) -> watch::Receiver<u64> {
        self.shared.size.subscribe()
    }

    /// The segments, and how many bytes of each are safe.
    pub fn segments(&self) -> Vec<Segment> {
        self.shared.index().segments.iter().copied().collect()
    }

    /// What there is, and what was done.
    pub fn figures(&self) -> Figures {
        let index = self.shared.index();
        Figures {
            first: index.tiles.first(),
            size: index.tiles.size(),
            bytes: index.bytes(),
            segments: index.segments.len(),
            groups: self.shared.groups.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
            dropped: self.shared.dropped.load(Ordering::Relaxed),
        }
    }

    /// Verifies what is there now, while it is written on. Blocks, and uses all cores.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be read, or entries are dropped meanwhile.
    pub fn verify(&self, author: NodeId, told: Option<Head>) -> Result<Report, JournalError> {
        let segments = self.shared.index().segments.iter().copied().collect();
        verify::verify_segments(&self.folder, segments, Some(author), told)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn folder(&self) -> &Folder {
        &self.folder
    }
}
