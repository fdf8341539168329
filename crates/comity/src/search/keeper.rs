//! The one writer of the index. It takes changes as they come, and makes them safe in groups: the numbers of new documents
//! go to the shelf, at places where nothing is, and are synced; then rows are committed; then searches find them. A
//! crash in between leaves numbers that nobody refers to.

use super::change::{Batch, Change, Prepared, Taken};
use super::index::{IndexError, Opened, Outcome, Sources};
use super::points::{self, Points};
use super::whereabouts::{self, Places};
use crate::store::documents::{Held, OWN, Write, Writer};
use comity_core::basin::spread::Spread;
use comity_core::basin::{Beside, DocId, Draft, Metadata, Record, Settings, filter, record};
use comity_core::id::NodeId;
use comity_core::identity::key::KeyPair;
use comity_core::time::Timestamp;
use comity_index::Shelf;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Changes in one group, at most: 4 MiB of numbers of the usual dimension.
const GROUP_MAX: usize = 4096;

/// How long after a change the graph is written to disk. What came since is caught up at the next start: a few thousand
/// documents a second.
const SAVE_AFTER: Duration = Duration::from_secs(300);

/// Changes after which the graph is written without waiting.
const SAVE_CHANGES: usize = 200_000;

/// Free places that are looked at for one that is not being unlinked.
const FREE_LOOKED_AT: usize = 64;

/// The writer, with all that it alone changes.
pub(super) struct Keeper {
    writer: Writer,
    shelf: Arc<Shelf>,
    points: Points,
    settings: Settings,
    keys: KeyPair,
    graph: PathBuf,
    /// Where this node's documents lie, the file for it, and who is told.
    spread: Spread,
    spread_file: PathBuf,
    places: watch::Sender<Places>,
    /// Places where nothing is, and the first one that was never used.
    free: VecDeque<u32>,
    next: u32,
    unsaved: usize,
    committed: watch::Sender<u64>,
    /// The last of them that changed a document of this node.
    own: watch::Sender<u64>,
    sources: watch::Sender<Sources>,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

/// One document's change, decided.
struct Decided {
    write: Write,
    vector: Option<Vec<f32>>,
}

impl Keeper {
    pub(super) fn new(opened: Opened, keys: KeyPair, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let Opened { writer, shelf, points, settings, graph, spread, spread_file, places, .. } = opened;
        let Opened { free, next, unsaved, committed, own, sources, .. } = opened;
        let now = Box::new(now);
        Self {
            writer,
            shelf,
            points,
            settings,
            keys,
            graph,
            spread,
            spread_file,
            places,
            free,
            next,
            unsaved,
            committed,
            own,
            sources,
            now,
        }
    }

    /// Keeps the index until nobody changes it any more, or what came before `stop` was cancelled is safe.
    pub(super) async fn run(mut self, mut batches: mpsc::Receiver<Batch>, stop: CancellationToken) {
        let mut save_at = Instant::now() + SAVE_AFTER;
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
                    () = sleep_until(save_at), if self.unsaved > 0 => {
                        self.save().await;
                        continue;
                    }
                },
            };
            let Some(first) = first else { break };
            let mut group = vec![first];
            let mut changes = group[0].changes.len();
            while let Ok(batch) = batches.try_recv() {
                changes += batch.changes.len();
                // What a source was read to goes with its own changes alone, and so does what would be too much at once.
                if batch.read.is_some() || group[0].read.is_some() || changes > GROUP_MAX {
                    waiting = Some(batch);
                    break;
                }
                group.push(batch);
            }
            if self.unsaved == 0 {
                save_at = Instant::now() + SAVE_AFTER;
            }
            self.keep(group).await;
            if self.unsaved >= SAVE_CHANGES {
                self.save().await;
            }
        }
        if self.unsaved > 0 {
            self.save().await;
        }
        self.points.end();
        self.writer.close().await;
    }

    /// Makes a group safe and tells whoever waits for it.
    async fn keep(&mut self, group: Vec<Batch>) {
        let mut changes = Vec::new();
        let mut waiters = Vec::new();
        let mut read = None;
        for batch in group {
            waiters.push((batch.changes.len(), batch.done));
            changes.extend(batch.changes);
            read = batch.read;
        }
        let ended = self.commit(changes, read).await;
        let mut outcomes = match ended {
            Ok(outcomes) => outcomes.into_iter(),
            Err(error) => {
                tracing::error!(%error, "the index takes nothing now: what came just now is refused");
                for (_, done) in waiters {
                    // Err: nobody waits any more.
                    let _ = done.send(Err(IndexError::Disk));
                }
                return;
            }
        };
        for (length, done) in waiters {
            let _ = done.send(Ok(outcomes.by_ref().take(length).collect()));
        }
    }

    async fn commit(&mut self, changes: Vec<Change>, read: Option<(NodeId, String)>) -> Result<Vec<Outcome>, NotKept> {
        let held = self.held(&changes).await?;
        let (outcomes, decided) = self.decide(changes, held);
        if decided.is_empty() && read.is_none() {
            return Ok(outcomes);
        }
        let (writes, vectors): (Vec<_>, Vec<_>) = decided.into_iter().map(|one| (one.write, one.vector)).unzip();
        let seq = writes.last().map_or(self.writer.kept().seq, |last| last.seq);
        let taken: Vec<u32> = writes.iter().filter_map(|write| write.place).collect();
        let rows: Vec<(u32, Vec<f32>)> =
            writes.iter().zip(vectors).filter_map(|(write, vector)| Some((write.place?, vector?))).collect();
        let own = || writes.iter().filter(|write| write.source == OWN);
        let gone: Vec<u32> = own().filter_map(|write| write.place_before).collect();
        let come: Vec<u32> = own().filter_map(|write| write.place).collect();
        let (shelf, log) = (self.shelf.clone(), self.writer.kept().log);
        let (settings, mut spread) = (self.settings.clone(), self.spread.clone());
        let shelved = spawn_blocking(move || {
            let borrowed: Vec<(u32, &[f32])> = rows.iter().map(|(place, vector)| (*place, vector.as_slice())).collect();
            shelf.write(&borrowed)?;
            shelf.mark([log, seq])?;
            shelf.sync()?;
            // Nobody writes to the places of documents that change before they are free.
            let mut before = vec![0.0; settings.dimension()];
            for place in gone {
                shelf.read(place, &mut before)?;
                settings.unit(&before).iter().for_each(|unit| spread.remove(unit));
            }
            let unit = |(place, vector): (u32, Vec<f32>)| Some((place, settings.unit(&vector).ok()?));
            let units: BTreeMap<u32, Vec<f32>> = rows.into_iter().filter_map(unit).collect();
            come.iter().filter_map(|place| units.get(place)).for_each(|unit| spread.add(unit));
            Ok::<_, io::Error>((units, spread))
        });
        let shelved = shelved.await.expect("writing numbers does not panic").map_err(NotKept::from);
        let committed = match shelved {
            Ok(made) => {
                let read = read.as_ref().map(|(key, cursor)| (*key, cursor.as_str()));
                self.writer.commit(&writes, read).await.map(|()| made).map_err(NotKept::from)
            }
            Err(error) => Err(error),
        };
        let (units, spread) = match committed {
            Ok(made) => made,
            Err(error) => {
                self.free.extend(taken);
                return Err(error);
            }
        };
        self.show(&writes, &units);
        self.spread = spread;
        self.places.send_replace(Places::from(&self.spread));
        self.unsaved += writes.len();
        if read.is_some() {
            self.sources.send_replace(self.writer.sources().clone());
        }
        self.committed.send_replace(self.writer.kept().seq);
        if let Some(own) = writes.iter().filter(|write| write.source == OWN).map(|write| write.seq).max() {
            self.own.send_replace(own);
        }
        Ok(outcomes)
    }

    /// Lets searches find what was committed.
    fn show(&mut self, writes: &[Write], units: &BTreeMap<u32, Vec<f32>>) {
        for writes in writes.chunks(64) {
            let mut points = self.points.write();
            for write in writes {
                if let Some(place) = write.place_before {
                    points.remove(place);
                    self.free.push_back(place);
                }
                if let Some(place) = write.place
                    && let Some(unit) = units.get(&place)
                {
                    points.put(place, write.source, unit);
                }
            }
        }
        self.points.wake();
    }

    /// What is kept of the documents that are to change.
    async fn held(&mut self, changes: &[Change]) -> Result<BTreeMap<(u32, String), Held>, NotKept> {
        let mut wanted: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
        for change in changes {
            let (source, doc_id) = match change {
                Change::Put(document) => (OWN, &document.doc_id),
                Change::Delete(doc_id) | Change::Sign(doc_id, _) => (OWN, doc_id),
                Change::Take(Taken { source, record, .. }) => (self.writer.source(*source).await?, &record.doc_id),
                Change::Forget(source, doc_id) => (self.writer.source(*source).await?, doc_id),
            };
            let doc_id = doc_id.as_str().to_owned();
            wanted.entry(source).or_default().insert(doc_id);
        }
        // Before anything of theirs is found: a search leaves out whose it does not know.
        let known = self.writer.sources();
        self.sources.send_if_modified(|told| {
            let is_new = told.len() != known.len();
            if is_new {
                told.clone_from(known);
            }
            is_new
        });
        let mut held = BTreeMap::new();
        for (source, ids) in wanted {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let found = self.writer.held(source, &ids).await?;
            held.extend(found.into_iter().map(|(id, one)| ((source, id), one)));
        }
        Ok(held)
    }

    /// What each change comes to. Of several that change one document the last counts, with the version that follows
    /// from all of them.
    fn decide(
        &mut self,
        changes: Vec<Change>,
        mut held: BTreeMap<(u32, String), Held>,
    ) -> (Vec<Outcome>, Vec<Decided>) {
        let now = (self.now)();
        let mut decided: BTreeMap<(u32, String), Decided> = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            let (source, doc_id) = match &change {
                Change::Put(document) => (OWN, &document.doc_id),
                Change::Delete(doc_id) | Change::Sign(doc_id, _) => (OWN, doc_id),
                Change::Take(Taken { source, record, .. }) => (self.number(source), &record.doc_id),
                Change::Forget(source, doc_id) => (self.number(source), doc_id),
            };
            let key = (source, doc_id.as_str().to_owned());
            let before = held.get(&key);
            let Some((outcome, mut next)) = self.next(change, source, before, now) else {
                outcomes.push(Outcome::Unchanged);
                continue;
            };
            // The numbers that searches find now are where the last commit left them.
            let earlier = decided.remove(&key);
            next.write.place_before = match &earlier {
                Some(earlier) => earlier.write.place_before,
                None => before.and_then(|held| held.place),
            };
            if let Some(place) = earlier.and_then(|earlier| earlier.write.place) {
                self.free.push_front(place);
            }
            let after = Held {
                version: next.write.version,
                place: next.write.place,
                metadata: next.write.metadata.clone(),
                signature: next.write.signature.clone(),
                url: next.write.url.clone(),
                excerpt: next.write.excerpt.clone(),
                file: next.write.file.clone(),
            };
            held.insert(key.clone(), after);
            decided.insert(key, next);
            outcomes.push(outcome);
        }
        let mut decided: Vec<_> = decided.into_values().collect();
        let kept = self.writer.kept();
        let stamp = kept.stamp.max(now.millis());
        for (one, seq) in decided.iter_mut().zip(kept.seq + 1..) {
            (one.write.seq, one.write.stamp) = (seq, stamp);
        }
        (outcomes, decided)
    }

    /// The next state of one document; `None`: it is as it was.
    fn next(
        &mut self,
        change: Change,
        source: u32,
        before: Option<&Held>,
        now: Timestamp,
    ) -> Option<(Outcome, Decided)> {
        let version = before.map_or(0, |held| held.version);
        let is_live = before.is_some_and(|held| held.place.is_some());
        let (record, url, excerpt, file) = match change {
            Change::Put(document) => {
                let Prepared { doc_id, vector, metadata, url, excerpt, file } = document;
                let draft = Draft { doc_id, vector: Some(vector), metadata, version: version.max(1), timestamp: now };
                // A signature is the same for the same contents: this is how a document is found to be unchanged. A file
                // that was only touched is a change too, else it would be read anew each time.
                let is_beside = before.is_some_and(|held| held.file == file && held.excerpt == excerpt);
                if is_live && is_beside && self.sign(draft.clone())?.sig.as_slice() == before?.signature {
                    return None;
                }
                (self.sign(Draft { version: version + 1, ..draft })?, url, excerpt, file)
            }
            Change::Delete(doc_id) if is_live => {
                let metadata = Metadata::default();
                let draft = Draft { doc_id, vector: None, metadata, version: version + 1, timestamp: now };
                (self.sign(draft)?, None, None, None)
            }
            Change::Delete(_) => return None,
            Change::Sign(doc_id, vector) => {
                // It may have changed since its numbers were read: then it was signed by this key.
                let held = before.filter(|held| held.place.is_some() == vector.is_some())?;
                let metadata = Metadata::parse(&held.metadata).ok()?;
                let draft = Draft { doc_id, vector, metadata, version: version + 1, timestamp: now };
                (self.sign(draft)?, held.url.clone(), held.excerpt.clone(), held.file.clone())
            }
            Change::Forget(_, doc_id) => {
                return before.filter(|_| is_live).map(|held| forgotten(source, &doc_id, held));
            }
            Change::Take(Taken { record, is_anew, .. }) => {
                let held = before.and_then(|held| Some((held.version, held.signature.as_slice().try_into().ok()?)));
                let held = held.map(|(version, sig)| record::Held { version, sig });
                match record.beside(held) {
                    Beside::Newer => {}
                    Beside::Older if is_anew => {}
                    _ => return None,
                }
                let url = record.metadata.shown().url;
                (*record, url, None, None)
            }
        };
        let place = record.vector.is_some().then(|| self.place());
        let outcome = match (is_live, place) {
            (false, _) => Outcome::Added,
            (true, Some(_)) => Outcome::Changed,
            (true, None) => Outcome::Deleted,
        };
        let write = Write {
            source,
            doc_id: record.doc_id.as_str().to_owned(),
            place,
            place_before: None,
            version: record.version,
            seq: 0,
            stamp: 0,
            written: record.timestamp.millis(),
            tags: if place.is_some() { filter::tags(&record.metadata) } else { Vec::new() },
            metadata: record.metadata.as_str().to_owned(),
            signature: record.sig.to_vec(),
            url,
            excerpt,
            file,
        };
        Some((outcome, Decided { write, vector: record.vector }))
    }

    /// The number of a source that has one.
    fn number(&self, source: &NodeId) -> u32 {
        self.writer.sources().get(source).map_or(u32::MAX, |(number, _)| *number)
    }

    /// A document of this node, signed; `None`: it can be none of this index, which whoever prepared it has ruled out.
    fn sign(&self, draft: Draft) -> Option<Record> {
        let signed = Record::sign(draft, &self.settings, &self.keys);
        signed.inspect_err(|error| tracing::error!(%error, "a document of this node cannot be signed")).ok()
    }

    /// A place where nothing is.
    fn place(&mut self) -> u32 {
        let points = self.points.read();
        let looked_at = self.free.len().min(FREE_LOOKED_AT);
        let found = (0..looked_at).find(|at| !points.graph.is_unlinking(self.free[*at]));
        drop(points);
        if let Some(place) = found.and_then(|at| self.free.remove(at)) {
            return place;
        }
        let place = self.next;
        self.next += 1;
        place
    }

    /// Writes the graph to disk.
    async fn save(&mut self) {
        let mark = self.writer.kept().seq;
        let (points, path) = (self.points.clone(), self.graph.clone());
        let (spread, spread_file, log) = (self.spread.clone(), self.spread_file.clone(), self.writer.kept().log);
        let written = spawn_blocking(move || {
            whereabouts::write(&spread_file, [log, mark], &spread);
            points::save(&points, &path, mark)
        });
        let written = written.await;
        match written.expect("writing a graph does not panic") {
            Ok(()) => {
                if let Err(error) = self.writer.untouch(mark).await {
                    tracing::warn!(%error, "the log of the index cannot be shortened");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the graph of the index cannot be written: the next start takes longer")
            }
        }
        self.unsaved = 0;
    }
}

/// A document of another node that is no more, which that node has not signed: whatever it says next of it is newer.
fn forgotten(source: u32, doc_id: &DocId, held: &Held) -> (Outcome, Decided) {
    let write = Write {
        source,
        doc_id: doc_id.as_str().to_owned(),
        place: None,
        place_before: None,
        version: 0,
        seq: 0,
        stamp: 0,
        written: 0,
        tags: Vec::new(),
        metadata: held.metadata.clone(),
        signature: Vec::new(),
        url: None,
        excerpt: None,
        file: None,
    };
    (Outcome::Deleted, Decided { write, vector: None })
}

/// Why a group is not safe.
#[derive(Debug, thiserror::Error)]
enum NotKept {
    #[error("the numbers cannot be written: {0}")]
    Shelf(#[from] io::Error),
    #[error("mesh.db: {0}")]
    Rows(#[from] sqlx::Error),
}
