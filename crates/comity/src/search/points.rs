//! The points of an index in memory: the graph by which near ones are found, and whose each is. The graph is a copy of what
//! `mesh.db` and the shelf hold: it is written to disk now and then, caught up when it is read, and made anew when it
//! is missing or damaged.

use comity_index::{Graph, ReadError, Scratch};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;

/// What a place belongs to when nothing is there.
const NOBODY: u16 = u16::MAX;

/// Largest file of a graph that is read, bytes: ten million points of 256 numbers are below half of it.
const FILE_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// The points of an index. Cloning shares them.
#[derive(Debug, Clone)]
pub(super) struct Points(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A lock and not a message: searches read it side by side, on all processors, and what writes holds it for
    /// microseconds.
    held: RwLock<Held>,
    /// Held by whoever links, or writes the graph to disk. Else the linker would wait for the graph while it is written,
    /// and searches for the linker.
    linking: Mutex<()>,
    /// Whether there may be points to be linked, and whether this ends. A lock for its condition: the linker waits on
    /// it.
    work: Mutex<Work>,
    wake: Condvar,
}

#[derive(Debug)]
pub(super) struct Held {
    /// The graph.
    pub(super) graph: Graph,
    /// Whose the point at each place is.
    sources: Vec<u16>,
}

#[derive(Debug, Default)]
struct Work {
    is_waiting: bool,
    is_ended: bool,
}

impl Held {
    /// Whose a point is.
    pub(super) fn source(&self, place: u32) -> Option<u32> {
        let source = self.sources.get(place as usize).copied().filter(|source| *source != NOBODY)?;
        Some(u32::from(source))
    }

    /// Puts a point where none is.
    pub(super) fn put(&mut self, place: u32, source: u32, unit: &[f32]) {
        let at = place as usize;
        if self.sources.len() <= at {
            self.sources.resize(at + 1, NOBODY);
        }
        self.sources[at] = u16::try_from(source).unwrap_or(NOBODY - 1);
        self.graph.put(place, unit);
    }

    /// Takes a point away.
    pub(super) fn remove(&mut self, place: u32) {
        if let Some(source) = self.sources.get_mut(place as usize) {
            *source = NOBODY;
        }
        self.graph.remove(place);
    }

    /// Says whose a point is that the graph has already.
    pub(super) fn own(&mut self, place: u32, source: u32) {
        let at = place as usize;
        if self.sources.len() <= at {
            self.sources.resize(at + 1, NOBODY);
        }
        self.sources[at] = u16::try_from(source).unwrap_or(NOBODY - 1);
    }
}

impl Points {
    /// Points that are in this graph, and are linked in the background from now on.
    pub(super) fn new(graph: Graph) -> io::Result<Self> {
        let held = RwLock::new(Held { graph, sources: Vec::new() });
        let shared = Arc::new(Shared { held, linking: Mutex::default(), work: Mutex::default(), wake: Condvar::new() });
        let points = Self(shared.clone());
        thread::Builder::new().name("comity-index".to_owned()).spawn(move || link(&shared))?;
        Ok(points)
    }

    /// The points, for looking.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.0.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The points, for changing: for as short as can be.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.0.held.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has what was put and removed linked.
    pub(super) fn wake(&self) {
        self.work().is_waiting = true;
        self.0.wake.notify_one();
    }

    /// Ends the linking.
    pub(super) fn end(&self) {
        self.work().is_ended = true;
        self.0.wake.notify_one();
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.0.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Links what waits, one point at a time, so that searches go on between.
fn link(shared: &Shared) {
    let lock = || shared.work.lock().unwrap_or_else(PoisonError::into_inner);
    let mut scratch = Scratch::default();
    loop {
        let mut work = lock();
        while !work.is_waiting && !work.is_ended {
            work = shared.wake.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        if work.is_ended {
            return;
        }
        work.is_waiting = false;
        drop(work);
        loop {
            let plan = shared.held.read().unwrap_or_else(PoisonError::into_inner).graph.plan(&mut scratch);
            let Some(plan) = plan else { break };
            let linking = shared.linking.lock().unwrap_or_else(PoisonError::into_inner);
            shared.held.write().unwrap_or_else(PoisonError::into_inner).graph.link(plan);
            drop(linking);
            if lock().is_ended {
                return;
            }
        }
    }
}

/// The graph of a file, and the place in the log up to which it has everything; `None`: it is missing, damaged or of
/// another dimension, which is said.
pub(super) fn read(path: &Path, dimension: usize) -> Option<(Graph, u64)> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, "the graph of the index cannot be read: it is made anew");
            return None;
        }
    };
    let bytes = file.metadata().map_or(0, |about| about.len()).min(FILE_MAX);
    match Graph::read(&mut BufReader::new(file), bytes) {
        Ok((graph, mark)) if graph.dimension() == dimension => Some((graph, mark)),
        Ok(_) => None,
        Err(error) => {
            said(&error);
            None
        }
    }
}

fn said(error: &ReadError) {
    tracing::warn!(%error, "the graph of the index is damaged: it is made anew");
}

/// Writes the graph, which has everything up to `mark`, in the place of the one before.
pub(super) fn save(points: &Points, path: &Path, mark: u64) -> io::Result<()> {
    let beside = path.with_extension("new");
    let written = write(points, &beside, mark).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // A full disk has no room for half a graph. Err: it is not there.
        let _ = fs::remove_file(&beside);
    }
    written?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn write(points: &Points, beside: &Path, mark: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside)?;
    let mut to = BufWriter::new(file);
    let linking = points.0.linking.lock().unwrap_or_else(PoisonError::into_inner);
    points.read().graph.write(&mut to, mark)?;
    drop(linking);
    to.flush()?;
    to.get_ref().sync_all()
}
