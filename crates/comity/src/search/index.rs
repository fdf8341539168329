//! The index of a node: documents as points on a sphere, found by how near they are. What is on disk is true; the graph in
//! memory finds it. This file opens it, searches it and reads it; what changes it is in `keeper.rs`.
//! See "Basins" in `protocols/mesh.md`.

use super::change::{Batch, Change, Prepared, Taken};
use super::keeper::Keeper;
use super::points::Points;
use super::restoring::{IndexOpenError, Restored, found_again};
use super::whereabouts::Places;
use crate::store::documents::{self, Listed, Reader, Row, Standing, Whole, Writer};
use comity_core::basin::filter::Filters;
use comity_core::basin::spread::Spread;
use comity_core::basin::{DocId, Record, Settings};
use comity_core::id::NodeId;
use comity_core::identity::key::KeyPair;
use comity_core::time::Timestamp;
use comity_index::{Scratch, Shelf};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Mutex as TaskMutex, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

/// Batches of changes that wait for the disk, at most: whoever has more waits.
const QUEUE_MAX: usize = 64;

/// Documents of one batch, at most.
pub(crate) const DOCUMENTS_MAX: usize = 1000;

/// Candidates whose exact distance is computed, for each result that is wanted, and at least.
const CANDIDATES_EACH: usize = 3;
const CANDIDATES: usize = 48;

/// Points that are looked at on the way to the candidates, at least, for each of them.
const EFFORT_EACH: usize = 2;

/// Scratch memories of searches that are kept for the next.
const SCRATCHES: usize = 8;

/// The index. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Index(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    settings: Settings,
    reader: Reader,
    shelf: Arc<Shelf>,
    points: Points,
    log: u64,
    changes: mpsc::Sender<Batch>,
    committed: watch::Receiver<u64>,
    own: watch::Receiver<u64>,
    sources: watch::Receiver<Sources>,
    places: watch::Receiver<Places>,
    /// Memory of searches that have ended. A lock and not a message: it is held to take one or to put it back.
    scratches: Mutex<Vec<Scratch>>,
    stop: CancellationToken,
    keeping: TaskMutex<Option<JoinHandle<()>>>,
}

/// The other nodes whose documents are here: number, and how far the log of each was read.
pub(super) type Sources = BTreeMap<NodeId, (u32, Option<String>)>;

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The document is new.
    Added,
    /// It is in the place of an older version.
    Changed,
    /// It is deleted.
    Deleted,
    /// It is as it was.
    Unchanged,
}

/// Why the index does not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    /// The disk does not take it, or cannot be read.
    #[error("the disk of the index takes nothing now, or cannot be read; the node's log says why")]
    Disk,
    /// The node is leaving.
    #[error("the node is leaving")]
    Leaving,
}

/// An index that was opened, for its keeper.
pub(super) struct Opened {
    pub(super) writer: Writer,
    pub(super) shelf: Arc<Shelf>,
    pub(super) points: Points,
    pub(super) settings: Settings,
    pub(super) graph: PathBuf,
    pub(super) spread: Spread,
    pub(super) spread_file: PathBuf,
    pub(super) places: watch::Sender<Places>,
    pub(super) free: VecDeque<u32>,
    pub(super) next: u32,
    pub(super) unsaved: usize,
    pub(super) committed: watch::Sender<u64>,
    pub(super) own: watch::Sender<u64>,
    pub(super) sources: watch::Sender<Sources>,
}

/// What is looked for.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The point near which.
    pub(crate) unit: Vec<f32>,
    /// So many documents, at most.
    pub(crate) limit: usize,
    /// What they must have.
    pub(crate) filters: Filters,
    /// Of which sources; `None`: of all.
    pub(crate) sources: Option<BTreeSet<u32>>,
}

/// A document that was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// Whose it is.
    pub(crate) source: u32,
    /// Its id.
    pub(crate) doc_id: String,
    /// Its metadata.
    pub(crate) metadata: String,
    /// The beginning of its text, if it is here.
    pub(crate) excerpt: Option<String>,
    /// How far it is from what was looked for, radians.
    pub(crate) distance: f64,
}

impl Index {
    /// Opens the index in a folder, made if it is missing, and keeps it from now on. What it is made for must be what it
    /// was made for before.
    pub(crate) async fn open(
        folder: &Path,
        settings: Settings,
        keys: KeyPair,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, IndexOpenError> {
        let failed = |cause| IndexOpenError::Io { path: folder.to_owned(), cause };
        if !folder.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        let (mut writer, reader) = documents::open(&folder.join("mesh.db")).await?;
        let wanted = described(&settings);
        let was = writer.kept().settings.clone();
        if !was.is_empty() && was != wanted {
            return Err(IndexOpenError::Settings { path: folder.to_owned(), was, wanted });
        }
        let shelf = Arc::new(Shelf::open(&folder.join("basins"), settings.dimension()).map_err(failed)?);
        let marked = shelf.marked().map_err(failed)?;
        let kept = writer.kept().clone();
        // What was told of the log by a later state of this file must not be taken for what comes now.
        if kept.log == 0 || marked != [kept.log, kept.seq] {
            writer.begin_log(rand::random::<u64>().max(1), &wanted).await?;
            shelf.mark([writer.kept().log, kept.seq]).and_then(|()| shelf.sync()).map_err(failed)?;
        }
        let at = (folder, kept.seq);
        let (points, spread, Restored { free, next, caught_up }) =
            found_again(at, &mut writer, &shelf, &settings).await?;
        let (told, places) = watch::channel(Places::from(&spread));
        let (committed, seen) = watch::channel(kept.seq);
        let (own_changed, own) = watch::channel(kept.seq);
        let (changes, batches) = mpsc::channel(QUEUE_MAX);
        let (published, sources) = watch::channel(writer.sources().clone());
        let (log, stop) = (writer.kept().log, CancellationToken::new());
        let opened = Opened {
            writer,
            shelf: shelf.clone(),
            points: points.clone(),
            settings: settings.clone(),
            graph: folder.join("graph"),
            spread,
            spread_file: folder.join("spread"),
            places: told,
            free,
            next,
            unsaved: caught_up,
            committed,
            own: own_changed,
            sources: published,
        };
        let keeping = tokio::spawn(Keeper::new(opened, keys, now).run(batches, stop.clone()));
        Ok(Self(Arc::new(Shared {
            folder: folder.to_owned(),
            settings,
            reader,
            shelf,
            points,
            log,
            changes,
            committed: seen,
            own,
            sources,
            places,
            scratches: Mutex::default(),
            stop,
            keeping: TaskMutex::new(Some(keeping)),
        })))
    }
}

impl Index {
    /// What it is made for.
    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The id of its log.
    pub(crate) fn log(&self) -> u64 {
        self.0.log
    }

    /// The other nodes whose documents are here, by number.
    pub(crate) fn source_names(&self) -> BTreeMap<u32, NodeId> {
        self.0.sources.borrow().iter().map(|(key, (number, _))| (*number, *key)).collect()
    }

    /// How far the log of another node was read.
    pub(super) fn cursor(&self, source: &NodeId) -> Option<String> {
        self.0.sources.borrow().get(source)?.1.clone()
    }

    /// The last change of this node's documents, now and from now on: copies of others' are in no log of this node.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.0.own.clone()
    }

    /// The last change that is safe, now and from now on.
    pub(crate) fn committed(&self) -> watch::Receiver<u64> {
        self.0.committed.clone()
    }

    /// Where this node's documents lie, now and from now on.
    pub(crate) fn places(&self) -> watch::Receiver<Places> {
        self.0.places.clone()
    }

    /// Puts documents of this node into the index, each in the place of whatever has its id. Afterwards they are safe, and
    /// found.
    pub(crate) async fn put(&self, documents: Vec<Prepared>) -> Result<Vec<Outcome>, IndexError> {
        self.change(documents.into_iter().map(Change::Put).collect(), None).await
    }

    /// Deletes documents of this node.
    pub(crate) async fn delete(&self, ids: Vec<DocId>) -> Result<Vec<Outcome>, IndexError> {
        self.change(ids.into_iter().map(Change::Delete).collect(), None).await
    }

    /// Signs documents of this node anew, with the numbers that they have.
    pub(super) async fn sign(&self, documents: Vec<(DocId, Option<Vec<f32>>)>) -> Result<(), IndexError> {
        let changes = documents.into_iter().map(|(id, vector)| Change::Sign(id, vector)).collect();
        self.change(changes, None).await.map(drop)
    }

    /// Takes what another node says of its own documents, which was checked; with it, how far that node's log was read.
    /// `is_anew`: it was read from its beginning.
    pub(crate) async fn take(
        &self,
        source: NodeId,
        records: Vec<Record>,
        (cursor, is_anew): (Option<String>, bool),
    ) -> Result<Vec<Outcome>, IndexError> {
        let taken = |record| Change::Take(Taken { source, record: Box::new(record), is_anew });
        let changes = records.into_iter().map(taken).collect();
        self.change(changes, cursor.map(|cursor| (source, cursor))).await
    }

    /// Forgets all documents of another node but these.
    pub(super) async fn forget_but(&self, source: NodeId, told: &BTreeSet<String>) -> Result<(), IndexError> {
        let Some((number, _)) = self.0.sources.borrow().get(&source).cloned() else { return Ok(()) };
        let held = self.0.reader.ids(number).await.map_err(unread)?;
        let gone: Vec<DocId> = held.iter().filter(|id| !told.contains(*id)).filter_map(|id| id.parse().ok()).collect();
        for gone in gone.chunks(DOCUMENTS_MAX) {
            self.change(gone.iter().map(|id| Change::Forget(source, id.clone())).collect(), None).await?;
        }
        Ok(())
    }

    async fn change(&self, changes: Vec<Change>, read: Option<(NodeId, String)>) -> Result<Vec<Outcome>, IndexError> {
        let (done, ended) = oneshot::channel();
        let batch = Batch { changes, read, done };
        self.0.changes.send(batch).await.map_err(|_| IndexError::Leaving)?;
        ended.await.map_err(|_| IndexError::Leaving)?
    }

    /// The documents nearest to a point, the nearest first.
    pub(crate) async fn search(&self, question: Question) -> Result<Vec<Found>, IndexError> {
        let mut among: Option<BTreeSet<u32>> = None;
        for (name, value) in question.filters.pairs() {
            let tagged = self.0.reader.tagged(name, value).await.map_err(unread)?;
            among = Some(match among {
                None => tagged.into_iter().collect(),
                Some(before) => tagged.into_iter().filter(|place| before.contains(place)).collect(),
            });
        }
        let seq = *self.0.committed.borrow();
        let index = self.clone();
        let (unit, limit) = (question.unit.clone(), question.limit);
        let near = spawn_blocking(move || index.near(&question.unit, question.limit, among.as_ref(), question.sources));
        let mut near = near.await.expect("a search does not panic").map_err(|error| {
            tracing::warn!(%error, "the numbers of the index cannot be read");
            IndexError::Disk
        })?;
        near.truncate(limit);
        let places: Vec<u32> = near.iter().map(|(place, _)| *place).collect();
        let mut rows: BTreeMap<u32, Row> =
            self.0.reader.rows(&places).await.map_err(unread)?.into_iter().map(|row| (row.place, row)).collect();
        let mut hits = Vec::with_capacity(near.len());
        for (place, distance) in near {
            let Some(row) = rows.remove(&place) else { continue };
            // Another document has come to this place meanwhile: its numbers are others.
            let distance = if row.seq > seq { self.distance(place, &unit) } else { Some(distance) };
            if let Some(distance) = distance {
                let Row { source, doc_id, metadata, excerpt, .. } = row;
                hits.push(Found { source, doc_id, metadata, excerpt, distance });
            }
        }
        hits.sort_by(|one, other| one.distance.total_cmp(&other.distance));
        Ok(hits)
    }

    /// The places nearest to a point with their exact distances, the nearest first.
    fn near(
        &self,
        unit: &[f32],
        limit: usize,
        among: Option<&BTreeSet<u32>>,
        sources: Option<BTreeSet<u32>>,
    ) -> io::Result<Vec<(u32, f64)>> {
        let candidates = (limit * CANDIDATES_EACH).max(CANDIDATES);
        let mut scratch = self.scratches().pop().unwrap_or_default();
        let mut found = {
            let points = self.0.points.read();
            let passes = |place: u32| {
                among.is_none_or(|among| among.contains(&place))
                    && sources
                        .as_ref()
                        .is_none_or(|sources| points.source(place).is_some_and(|source| sources.contains(&source)))
            };
            let filter: Option<&dyn Fn(u32) -> bool> =
                if among.is_some() || sources.is_some() { Some(&passes) } else { None };
            points.graph.search(unit, candidates, candidates * EFFORT_EACH, filter, &mut scratch)
        };
        let mut scratches = self.scratches();
        if scratches.len() < SCRATCHES {
            scratches.push(scratch);
        }
        drop(scratches);
        found.sort_unstable_by_key(|found| found.place);
        let mut vector = vec![0.0; self.0.settings.dimension()];
        let mut near = Vec::with_capacity(found.len());
        for found in found {
            self.0.shelf.read(found.place, &mut vector)?;
            if let Ok(point) = self.0.settings.unit(&vector) {
                near.push((found.place, comity_core::basin::settings::distance(unit, &point)));
            }
        }
        near.sort_by(|one, other| one.1.total_cmp(&other.1).then(one.0.cmp(&other.0)));
        Ok(near)
    }

    fn distance(&self, place: u32, unit: &[f32]) -> Option<f64> {
        let point = self.0.settings.unit(&self.vector(place).ok()?).ok()?;
        Some(comity_core::basin::settings::distance(unit, &point))
    }

    fn scratches(&self) -> std::sync::MutexGuard<'_, Vec<Scratch>> {
        self.0.scratches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers at a place.
    fn vector(&self, place: u32) -> io::Result<Vec<f32>> {
        let mut vector = vec![0.0; self.0.settings.dimension()];
        self.0.shelf.read(place, &mut vector)?;
        Ok(vector)
    }

    /// This node's documents that changed after a place in its log, in the order of the log.
    pub(crate) async fn since(&self, after: u64, limit: usize) -> Result<Vec<Logged>, IndexError> {
        loop {
            let last = *self.0.committed.borrow();
            let wholes = self.0.reader.since(after, limit).await.map_err(unread)?;
            let index = self.clone();
            let read = spawn_blocking(move || {
                let read = |whole: Whole| {
                    let vector = whole.place.map(|place| index.vector(place)).transpose()?;
                    Ok((whole, vector))
                };
                wholes.into_iter().map(read).collect::<io::Result<Vec<_>>>()
            });
            let documents = read.await.expect("reading numbers does not panic").map_err(|error| {
                tracing::warn!(%error, "the numbers of the index cannot be read");
                IndexError::Disk
            })?;
            // A place that was given to another document while this was read has numbers of that one.
            let changed = *self.0.committed.borrow() != last;
            if !changed || self.is_as_read(&documents).await? {
                return Ok(documents);
            }
        }
    }

    /// Whether documents are where they were when they were read.
    async fn is_as_read(&self, documents: &[Logged]) -> Result<bool, IndexError> {
        let live: BTreeMap<u32, u64> =
            documents.iter().filter_map(|(whole, _)| Some((whole.place?, whole.seq))).collect();
        let places: Vec<u32> = live.keys().copied().collect();
        let rows = self.0.reader.rows(&places).await.map_err(unread)?;
        Ok(rows.iter().filter(|row| live.get(&row.place) == Some(&row.seq)).count() == live.len())
    }

    /// The place in the log after which all is that was changed at this time or later.
    pub(crate) async fn before(&self, time: Timestamp) -> Result<u64, IndexError> {
        self.0.reader.before(time.millis()).await.map_err(unread)
    }

    /// Documents whose URL, or id where they have none, begins so, after one.
    pub(crate) async fn list(
        &self,
        range: (&str, &Standing),
        own: bool,
        limit: usize,
    ) -> Result<Vec<Listed>, IndexError> {
        self.0.reader.list(range, own, limit).await.map_err(unread)
    }

    /// How the files of these URLs were when they were indexed.
    pub(crate) async fn files(&self, urls: &[String]) -> Result<BTreeMap<String, String>, IndexError> {
        let files = self.0.reader.files(urls).await.map_err(unread)?;
        Ok(files.into_iter().filter_map(|(url, file)| Some((url, file?))).collect())
    }

    /// How many documents of another node are here.
    pub(super) async fn documents_of(&self, source: &NodeId) -> Result<u64, IndexError> {
        let number = self.0.sources.borrow().get(source).map(|(number, _)| *number);
        let Some(number) = number else { return Ok(0) };
        Ok(self.counts().await?.get(&number).map_or(0, |(live, _)| *live))
    }

    /// How many documents there are: live and deleted, by source.
    pub(crate) async fn counts(&self) -> Result<BTreeMap<u32, (u64, u64)>, IndexError> {
        self.0.reader.counts().await.map_err(unread)
    }

    /// Documents that wait to be linked, and the memory of the graph, bytes.
    pub(crate) fn weight(&self) -> (usize, usize) {
        let points = self.0.points.read();
        (points.graph.waiting(), points.graph.memory())
    }

    /// What it takes on disk, bytes.
    pub(crate) fn disk(&self) -> u64 {
        let files = fs::read_dir(&self.0.folder).into_iter().flatten().filter_map(Result::ok);
        files.filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum()
    }

    /// Writes what is under way, and closes the files.
    pub(crate) async fn close(&self) {
        let Some(keeping) = self.0.keeping.lock().await.take() else { return };
        self.0.stop.cancel();
        // Err: it panicked, and the log says where.
        let _ = keeping.await;
        self.0.reader.close().await;
    }
}

/// A document of this node's log, with its numbers unless it is deleted.
pub(crate) type Logged = (Whole, Option<Vec<f32>>);

/// Settings in words, as they are kept and told.
fn described(settings: &Settings) -> String {
    let (metric, projection) = (settings.metric().name(), settings.projection().name());
    format!("{} numbers, {metric}, {projection}, encoder {}", settings.dimension(), settings.encoder())
}

fn unread(error: sqlx::Error) -> IndexError {
    tracing::warn!(%error, "mesh.db cannot be read");
    IndexError::Disk
}
