//! What is kept of every 256 entries beside the segment that has them, so that a journal is opened and searched
//! without reading all of it: where they begin, their times and types, and the root over them. It is a cache:
//! each record has a check of its own, and what does not hold is made anew from the entries.

use comity_core::journal::{EntryKind, Link, TILE, TreeHash, root_of};
use comity_core::time::Timestamp;

/// Bytes of a record: offset, earliest and latest time, types, root, check.
pub(super) const RECORD: usize = 8 + 8 + 8 + 4 + 32 + CHECK;

/// Bytes of the check: the beginning of a hash, which binds a record to its place.
const CHECK: usize = 8;

/// The bit of types that this version does not know.
const UNKNOWN_KIND: u32 = 1 << 31;

/// What some entries have in common, whether or not they are a whole tile yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    /// The first entry of the segment that has them.
    pub segment: u64,
    /// Where the first of them begins in it.
    pub offset: u64,
    /// The earliest and the latest time.
    pub earliest: Timestamp,
    pub latest: Timestamp,
    /// The bits of their types.
    pub kinds: u32,
}

/// A whole tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    pub summary: Summary,
    pub root: TreeHash,
}

/// What is needed of an entry for its tile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    pub hash: TreeHash,
    pub timestamp: Timestamp,
    pub kind: Option<EntryKind>,
    /// Where its line begins in its segment.
    pub offset: u64,
}

impl Leaf {
    pub(super) fn of(link: &Link, offset: u64) -> Self {
        Self { hash: link.hash, timestamp: link.timestamp, kind: link.kind, offset }
    }
}

impl Summary {
    pub(super) fn begin(segment: u64, leaf: &Leaf) -> Self {
        let at = leaf.timestamp;
        Self { segment, offset: leaf.offset, earliest: at, latest: at, kinds: 0 }.with(leaf)
    }

    pub(super) fn with(self, leaf: &Leaf) -> Self {
        Self {
            earliest: self.earliest.min(leaf.timestamp),
            latest: self.latest.max(leaf.timestamp),
            kinds: self.kinds | leaf.kind.map_or(UNKNOWN_KIND, EntryKind::bit),
            ..self
        }
    }
}

impl Tile {
    pub(super) fn encode(&self, number: u64) -> [u8; RECORD] {
        let summary = &self.summary;
        let mut record = [0; RECORD];
        record[..8].copy_from_slice(&summary.offset.to_be_bytes());
        record[8..16].copy_from_slice(&summary.earliest.millis().to_be_bytes());
        record[16..24].copy_from_slice(&summary.latest.millis().to_be_bytes());
        record[24..28].copy_from_slice(&summary.kinds.to_be_bytes());
        record[28..60].copy_from_slice(&self.root.0);
        let check = check(number, &record[..60]);
        record[60..].copy_from_slice(&check);
        record
    }

    /// Reads the record of this tile; `None` when it is not that.
    pub(super) fn decode(segment: u64, number: u64, record: &[u8; RECORD]) -> Option<Self> {
        if check(number, &record[..60]) != record[60..] {
            return None;
        }
        let number = |from: usize| Some(u64::from_be_bytes(record[from..from + 8].try_into().ok()?));
        let summary = Summary {
            segment,
            offset: number(0)?,
            earliest: Timestamp::from_millis(number(8)?),
            latest: Timestamp::from_millis(number(16)?),
            kinds: u32::from_be_bytes(record[24..28].try_into().ok()?),
        };
        Some(Self { summary, root: TreeHash(record[28..60].try_into().ok()?) })
    }
}

fn check(number: u64, content: &[u8]) -> [u8; CHECK] {
    let hash = TreeHash::of_leaf(&[b"comity journal tile", &number.to_be_bytes(), content]).0;
    let mut check = [0; CHECK];
    check.copy_from_slice(&hash[..CHECK]);
    check
}

/// Gathers entries into tiles. A segment begins with a tile, so a tile never spans two.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    summary: Option<Summary>,
    leaves: Vec<TreeHash>,
}

impl Gathering {
    /// Takes the next entry of a segment; the tile, when it is whole.
    pub(super) fn push(&mut self, segment: u64, leaf: &Leaf) -> Option<Tile> {
        let summary = self.summary.map_or_else(|| Summary::begin(segment, leaf), |summary| summary.with(leaf));
        self.summary = Some(summary);
        self.leaves.push(leaf.hash);
        if (self.leaves.len() as u64) < TILE {
            return None;
        }
        let root = root_of(&self.leaves);
        self.summary = None;
        self.leaves.clear();
        Some(Tile { summary, root })
    }
}
