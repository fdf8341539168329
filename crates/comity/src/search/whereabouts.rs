//! Where documents lie: those of this node, which it tells its registry, kept while they come and go; and those of others,
//! as a registry tells of them. It is a guide for whom to ask, so a start that finds nothing of this state of the log
//! makes do with a sample. See "Basins" and "Routing" in `protocols/mesh.md`.

use crate::home::write_atomically;
use crate::store::documents::OWN;
use comity_core::basin::Settings;
use comity_core::basin::spread::Spread;
use comity_core::id::NodeId;
use comity_index::Shelf;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Documents that are looked at where nothing was kept, at most: a tenth of a second.
const SAMPLE: usize = 50_000;

/// Largest file that is read, bytes: 17 means of the largest dimension are below it.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// Where the documents of a node lie.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Places {
    /// On the whole; empty while there are none.
    pub(crate) signature: Vec<f32>,
    /// Up to 16 places near which most of them are.
    pub(crate) centroids: Vec<Vec<f32>>,
}

/// Where documents of others lie, by their keys.
pub(crate) type Elsewhere = BTreeMap<NodeId, Vec<Vec<f32>>>;

impl From<&Spread> for Places {
    fn from(spread: &Spread) -> Self {
        let centroids = spread.centroids().into_iter().map(|centroid| centroid.point).collect();
        Self { signature: spread.signature().unwrap_or_default(), centroids }
    }
}

/// A state of a log: its id, and the last change.
pub(super) type Mark = [u64; 2];

/// Where this node's documents lie: as it was kept at this state of the log, else by those at these places.
pub(super) fn open(path: &Path, mark: Mark, settings: &Settings, places: &[(u32, u32)], shelf: &Shelf) -> Spread {
    if let Some(spread) = read(path, mark, settings) {
        return spread;
    }
    let own: Vec<u32> = places.iter().filter(|(_, source)| *source == OWN).map(|(place, _)| *place).collect();
    let mut spread = Spread::new(settings);
    let mut vector = vec![0.0; settings.dimension()];
    for place in own.iter().step_by(own.len().div_ceil(SAMPLE).max(1)) {
        // Err: whoever opens the index has said so.
        if shelf.read(*place, &mut vector).is_ok()
            && let Ok(unit) = settings.unit(&vector)
        {
            spread.add(&unit);
        }
    }
    spread.stand_for(own.len() as u64);
    write(path, mark, &spread);
    spread
}

fn read(path: &Path, mark: Mark, settings: &Settings) -> Option<Spread> {
    if fs::metadata(path).ok()?.len() > FILE_MAX {
        return None;
    }
    let kept = fs::read(path).ok()?;
    let spread = kept.strip_prefix(&bytes(mark))?;
    Spread::restore(settings, spread).ok()
}

/// Keeps it for the next start.
pub(super) fn write(path: &Path, mark: Mark, spread: &Spread) {
    let kept = [bytes(mark).as_slice(), &spread.kept()].concat();
    if let Err(error) = write_atomically(path, &kept) {
        tracing::warn!(%error, "where documents lie cannot be written: the next start takes longer");
    }
}

fn bytes([log, seq]: Mark) -> [u8; 16] {
    ((u128::from(seq) << 64) | u128::from(log)).to_le_bytes()
}
