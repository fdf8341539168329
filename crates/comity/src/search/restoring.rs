//! What the graph of an index lacks when it is read from disk: all of it, or what was changed since it was written; and why an
//! index cannot be opened at all.

use super::points::{self, Points};
use super::whereabouts;
use crate::store::StoreError;
use crate::store::documents::Writer;
use comity_core::basin::Settings;
use comity_core::basin::spread::Spread;
use comity_index::{Graph, Scratch, Shelf};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Why the index cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum IndexOpenError {
    /// Its database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its database could be opened, but not read.
    #[error("mesh.db cannot be read: {0}")]
    Unread(#[from] sqlx::Error),
    /// Its folder or its numbers.
    #[error("{}: {cause}", path.display())]
    Io {
        /// What could not be used.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It was made for other vectors.
    #[error(
        "the index in {} is for {was}, and the configuration says {wanted}: set it back, or move that folder away and index anew",
        path.display()
    )]
    Settings {
        /// The folder.
        path: PathBuf,
        /// What it was made for.
        was: String,
        /// What is configured.
        wanted: String,
    },
}

/// What was found at the start.
pub(super) struct Restored {
    /// Places where nothing is.
    pub(super) free: VecDeque<u32>,
    /// The first place that was never used.
    pub(super) next: u32,
    /// Points that the graph on disk did not have as they are.
    pub(super) caught_up: usize,
}

/// The points as they were when the index was closed, brought to what is on disk, which ends with this change.
pub(super) async fn found_again(
    (folder, seq): (&Path, u64),
    writer: &mut Writer,
    shelf: &Arc<Shelf>,
    settings: &Settings,
) -> Result<(Points, Spread, Restored), IndexOpenError> {
    let failed = |cause| IndexOpenError::Io { path: folder.to_owned(), cause };
    let (path, dimension) = (folder.join("graph"), settings.dimension());
    let read = spawn_blocking(move || points::read(&path, dimension)).await.expect("reading a graph does not panic");
    let read = read.filter(|(_, mark)| *mark <= seq && *mark >= writer.kept().untouched);
    let (graph, saved) = read.unwrap_or_else(|| (Graph::new(dimension), 0));
    let touched = if saved == 0 { None } else { Some(writer.touched(saved).await?) };
    let places = writer.places().await?;
    let points = Points::new(graph).map_err(failed)?;
    let restored = {
        let (points, shelf, settings) = (points.clone(), shelf.clone(), settings.clone());
        let (file, mark) = (folder.join("spread"), [writer.kept().log, writer.kept().seq]);
        spawn_blocking(move || {
            let spread = whereabouts::open(&file, mark, &settings, &places, &shelf);
            Ok((spread, restore(&points, &shelf, &settings, &places, touched)?))
        })
    };
    let (spread, restored) = restored.await.expect("reading numbers does not panic").map_err(failed)?;
    Ok((points, spread, restored))
}

/// Brings the graph to what is on disk: all of it, or what was touched since it was written.
fn restore(
    points: &Points,
    shelf: &Shelf,
    settings: &Settings,
    places: &[(u32, u32)],
    touched: Option<BTreeMap<u32, bool>>,
) -> io::Result<Restored> {
    let mut held = points.write();
    let anew = touched.is_none();
    if let Some(touched) = &touched {
        for place in touched.keys() {
            held.remove(*place);
        }
        // Places that are used again since must be let go first by the neighbours of whatever was there.
        if touched.iter().any(|(place, is_live)| *is_live && held.graph.is_unlinking(*place)) {
            held.graph.unlink_all(&mut Scratch::new());
        }
    }
    let mut vector = vec![0.0; settings.dimension()];
    let (mut free, mut next, mut put) = (VecDeque::new(), 0, 0);
    for (place, source) in places {
        free.extend(next..*place);
        next = place + 1;
        if !anew && touched.as_ref().is_some_and(|touched| !touched.contains_key(place)) {
            held.own(*place, *source);
            continue;
        }
        shelf.read(*place, &mut vector)?;
        match settings.unit(&vector) {
            Ok(unit) => held.put(*place, *source, &unit),
            Err(_) => tracing::warn!(place, "the numbers of a document are damaged: it is not found"),
        }
        put += 1;
    }
    drop(held);
    points.wake();
    Ok(Restored { free, next, caught_up: put + touched.map_or(0, |touched| touched.len()) })
}
