//! The one writer of a journal, on a thread of its own: what waits becomes one group, one write, one sync and one
//! signature, and then everybody who waited is told. While a group is being synced the next one gathers, so the
//! disk sets the pace and nobody waits for a timer.

use super::error::{JournalError, NotAppended};
use super::folder::{Folder, Taken};
use super::index::Segment;
use super::lines::{Lines, Piece};
use super::tile::{Leaf, RECORD, Tile};
use super::{Disk, Limits, Shared};
use comity_core::identity::key::KeyPair;
use comity_core::journal::{Chain, Checkpoint, Draft, GROUP_MAX, Head, Placed, TILE, read_link};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

/// Bytes of entries that wait and of one group, at most: 40,000 ordinary entries, or 32 of the largest. More writers
/// wait before they hand theirs over.
pub(super) const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long to wait before a disk that failed is tried again, when nobody writes.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a disk must take to be called working again, bytes: a group of ordinary entries.
const TRIAL: usize = 64 * 1024;

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Wanted {
    /// To write this and say where it is.
    Entry(Draft, oneshot::Sender<Result<u64, NotAppended>>, OwnedSemaphorePermit),
    /// To write what came before, and end.
    Close,
}

/// An entry that waits for its group, and who waits for it.
type Waiting = (Draft, oneshot::Sender<Result<u64, NotAppended>>, OwnedSemaphorePermit);

/// The segment that is written.
#[derive(Debug)]
struct Segmented {
    first: u64,
    bytes: u64,
    file: File,
    /// The hashes beside it: a cache, so that what cannot be written is only missed.
    tiles: Option<File>,
}

/// Entries as they will stand in the journal.
struct Group {
    chain: Chain,
    text: Vec<u8>,
    leaves: Vec<Leaf>,
    head: Option<Head>,
}

/// The state of the thread.
#[derive(Debug)]
pub(super) struct Writer {
    key: KeyPair,
    author: String,
    folder: Folder,
    limits: Limits,
    chain: Chain,
    segment: Option<Segmented>,
    /// Whether bytes after the last group may be in the file, from a write that failed.
    is_dirty: bool,
    shared: Arc<Shared>,
    /// Held as long as files are written.
    _taken: Taken,
}

impl Writer {
    pub(super) fn new(
        key: KeyPair,
        folder: Folder,
        limits: Limits,
        chain: Chain,
        shared: Arc<Shared>,
        taken: Taken,
    ) -> Result<Self, JournalError> {
        let last = shared.index().segments.back().copied();
        let segment = match last {
            None => None,
            Some(Segment { first, bytes }) => {
                let file = folder.open_segment(first).map_err(JournalError::at(&folder.segment(first)))?;
                Some(Segmented { first, bytes, file, tiles: folder.open_tiles(first).ok() })
            }
        };
        let author = key.node().to_string();
        Ok(Self { key, author, limits, chain, segment, is_dirty: false, shared, folder, _taken: taken })
    }

    /// Writes until it is told to end, or nobody is left who could tell it anything.
    pub(super) fn run(mut self, mut wanted: mpsc::Receiver<Wanted>) {
        let runtime = match Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "the journal cannot be written"),
        };
        let mut arrived = Vec::new();
        loop {
            let is_open = self.wait(&runtime, &mut wanted, &mut arrived);
            let mut is_closing = !is_open;
            let mut waiting = Vec::new();
            for one in arrived.drain(..) {
                match one {
                    Wanted::Entry(draft, answer, permit) => waiting.push((draft, answer, permit)),
                    Wanted::Close => is_closing = true,
                }
            }
            while !waiting.is_empty() {
                self.write_some(&mut waiting);
            }
            if is_closing {
                // Those who still wait are told by their channel that it is over.
                return;
            }
        }
    }

    /// Waits for entries; whether anybody is left. While the disk fails, it is tried now and then.
    fn wait(&self, runtime: &Runtime, wanted: &mut mpsc::Receiver<Wanted>, arrived: &mut Vec<Wanted>) -> bool {
        loop {
            let receive = wanted.recv_many(arrived, GROUP_MAX);
            if *self.shared.disk.borrow() == Disk::Working {
                return runtime.block_on(receive) > 0;
            }
            match runtime.block_on(async { timeout(RETRY_AFTER, receive).await }) {
                Ok(taken) => return taken > 0,
                Err(_) => match self.folder.try_disk(TRIAL) {
                    Ok(()) => self.say_working(),
                    Err(cause) => self.say_failing(&cause),
                },
            }
        }
    }

    /// Writes one group of what waits, and tells who waited.
    fn write_some(&mut self, waiting: &mut Vec<Waiting>) {
        let mut count = waiting.len();
        let is_full = self.segment.as_ref().is_some_and(|segment| segment.bytes >= self.limits.segment);
        if is_full {
            // A segment begins with a tile, so that the hashes of what is dropped are whole subtrees.
            let left = TILE - self.chain.next() % TILE;
            count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        }
        let begins = self.segment.is_none() || (is_full && self.chain.next().is_multiple_of(TILE));
        let group: Vec<Waiting> = waiting.drain(..count).collect();
        let first = self.chain.next();
        let written = self.write_group(&group, begins);
        match written {
            Ok(()) => {
                self.say_working();
                self.shared.groups.fetch_add(1, Ordering::Relaxed);
                for (index, (_, answer, _)) in (first..).zip(group) {
                    // Err: who asked no longer waits. The entry is there all the same.
                    let _ = answer.send(Ok(index));
                }
                if begins {
                    self.keep_within();
                }
            }
            Err(cause) => {
                self.say_failing(&cause);
                let why = NotAppended::of(&cause);
                self.shared.refused.fetch_add(group.len() as u64, Ordering::Relaxed);
                for (_, answer, _) in group {
                    let _ = answer.send(Err(why));
                }
            }
        }
    }

    /// Writes a group and syncs it. What fails leaves the journal as it was.
    fn write_group(&mut self, group: &[Waiting], begins: bool) -> io::Result<()> {
        if let Some(segment) = self.segment.as_ref().filter(|_| self.is_dirty) {
            segment.take_back()?;
            self.is_dirty = false;
        }
        if begins {
            let group = self.compose(group, 0);
            let mut segment = Segmented::begin(&self.folder, self.chain.next())?;
            if let Err(cause) = segment.write(&group.text).and_then(|()| self.folder.sync()) {
                // Err: the next that is begun here is emptied first, and so is what is found here at the next start.
                let _ = self.folder.remove_segment(segment.first);
                return Err(cause);
            }
            self.segment = Some(segment);
            self.publish(group);
        } else {
            let group = self.compose(group, self.segment.as_ref().map_or(0, |segment| segment.bytes));
            let Some(segment) = &mut self.segment else { return Ok(()) };
            if let Err(cause) = segment.write(&group.text) {
                self.is_dirty = segment.take_back().is_err();
                return Err(cause);
            }
            self.publish(group);
        }
        Ok(())
    }

    /// Puts entries after the last one, in lines that begin at this offset of their segment.
    fn compose(&self, group: &[Waiting], offset: u64) -> Group {
        let mut chain = self.chain.clone();
        let (mut text, mut leaves, mut head) = (Vec::new(), Vec::with_capacity(group.len()), None);
        for (number, (draft, _, _)) in group.iter().enumerate() {
            let placed = Placed::new(&self.author, draft, chain.next(), &chain.prev());
            chain.push(placed.hash);
            let (timestamp, kind) = (draft.timestamp(), Some(draft.kind()));
            leaves.push(Leaf { hash: placed.hash, timestamp, kind, offset: offset + text.len() as u64 });
            if number + 1 == group.len() {
                head = chain.journal().map(|journal| Head::sign(&self.key, journal, chain.range()));
            }
            placed.write(head.as_ref().map(|head| &head.signature), &mut text);
        }
        Group { chain, text, leaves, head }
    }

    /// Lets readers see a group that is on the disk.
    fn publish(&mut self, group: Group) {
        let Some(segment) = &mut self.segment else { return };
        let mut index = self.shared.index_mut();
        if index.segments.back().is_none_or(|last| last.first != segment.first) {
            index.segments.push_back(Segment { first: segment.first, bytes: 0 });
        }
        for leaf in &group.leaves {
            let number = index.tiles.finished();
            if let Some(tile) = index.push(segment.first, leaf) {
                segment.keep_tile(number, &tile);
            }
        }
        if let Some(last) = index.segments.back_mut() {
            last.bytes = segment.bytes;
        }
        index.head = group.head;
        index.journal = group.chain.journal();
        drop(index);
        self.chain = group.chain;
        self.shared.size.send_replace(self.chain.next());
    }

    /// Drops the oldest segments until the journal is within its bound. What cannot be dropped now is dropped with
    /// the next segment.
    pub(super) fn keep_within(&self) {
        let Some(first) = self.first_to_keep() else { return };
        match self.drop_before(first) {
            Ok(dropped) => {
                self.shared.dropped.fetch_add(dropped, Ordering::Relaxed);
                tracing::info!(first, dropped, "the oldest entries of the journal were dropped under a checkpoint");
            }
            Err(error) => tracing::error!(%error, "the oldest entries of the journal cannot be dropped"),
        }
    }

    /// The first entry of the oldest segment that has room; `None` when all have.
    fn first_to_keep(&self) -> Option<u64> {
        let index = self.shared.index();
        let mut bytes = index.bytes();
        let mut segments = index.segments.iter().peekable();
        let mut first = None;
        while bytes > self.limits.keep
            && let Some(oldest) = segments.next()
            && let Some(next) = segments.peek()
        {
            bytes -= oldest.bytes;
            first = Some(next.first);
        }
        first
    }

    /// Drops what comes before a segment, once a checkpoint that stands in for it is safe; how many entries.
    fn drop_before(&self, first: u64) -> Result<u64, JournalError> {
        let path = self.folder.segment(first);
        let damaged = || JournalError::Damaged { folder: self.folder.path().to_owned(), index: first };
        let failed = JournalError::at(&path);
        let mut lines = Lines::open(&path, 0, u64::MAX).map_err(&failed)?;
        let Piece::Line(line) = lines.read().map_err(&failed)? else { return Err(damaged()) };
        let link = read_link(line).map_err(|_| damaged())?;
        let (range, segments, dropped) = {
            let index = self.shared.index();
            let segments: Vec<u64> = index.segments.iter().map(|segment| segment.first).collect();
            (index.tiles.range(first).ok_or_else(damaged)?, segments, first - index.tiles.first())
        };
        let journal = self.chain.journal().ok_or_else(damaged)?;
        let checkpoint = Checkpoint::sign(&self.key, journal, link.prev, range);
        self.folder.put_checkpoint(&checkpoint).map_err(JournalError::at(self.folder.path()))?;
        self.shared.index_mut().drop_before(first);
        for segment in segments.into_iter().filter(|segment| *segment < first) {
            // Err: it is removed at the next start, because the checkpoint stands in for it.
            let _ = self.folder.remove_segment(segment);
        }
        Ok(dropped)
    }

    fn say_working(&self) {
        if self.shared.disk.send_if_modified(|disk| std::mem::replace(disk, Disk::Working) != Disk::Working) {
            tracing::info!("the disk takes the journal again");
        }
    }

    fn say_failing(&self, cause: &io::Error) {
        let why = NotAppended::of(cause);
        if self.shared.disk.send_if_modified(|disk| {
            let was = std::mem::replace(disk, Disk::Failing(why));
            was != Disk::Failing(why)
        }) {
            tracing::error!("{why}");
        }
    }
}

impl Segmented {
    /// Begins a segment with this entry. What a write that failed left there is gone.
    fn begin(folder: &Folder, first: u64) -> io::Result<Self> {
        let file = folder.open_segment(first)?;
        file.set_len(0)?;
        let tiles = folder.open_tiles(first).and_then(|tiles| tiles.set_len(0).map(|()| tiles));
        Ok(Self { first, bytes: 0, file, tiles: tiles.ok() })
    }

    /// Writes after the last group, and waits until it is safe.
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all_at(text, self.bytes)?;
        self.file.sync_data()?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Takes back what was written after the last group, so that what was called refused stays so.
    fn take_back(&self) -> io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.sync_all()
    }

    /// Keeps a record behind those before. Where one is missing none follows, so that what is there is right; they are
    /// made anew at the next start.
    fn keep_tile(&mut self, number: u64, tile: &Tile) {
        let Some(tiles) = &self.tiles else { return };
        let at = (number - self.first / TILE) * RECORD as u64;
        let is_next = tiles.metadata().is_ok_and(|about| about.len() == at);
        if !is_next || tiles.write_all_at(&tile.encode(number), at).is_err() {
            // Err: what is half written is found to be so by its check.
            let _ = if is_next { tiles.set_len(at) } else { Ok(()) };
            self.tiles = None;
        }
    }
}
