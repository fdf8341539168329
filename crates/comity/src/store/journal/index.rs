//! What a journal keeps in memory: the tree above its tiles, where each tile is, and the last signed head. Its
//! writer adds to it when a group is on the disk, so that nobody reads what a crash could take back.

use super::tile::{Leaf, Summary, Tile};
use comity_core::journal::{CompactRange, Head, TILE, Tiles, TreeHash};
use std::collections::VecDeque;

/// A file with entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its first entry.
    pub first: u64,
    /// How many bytes of it are safe.
    pub bytes: u64,
}

/// Where to begin reading for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub segment: u64,
    pub offset: u64,
    /// How far the segment may be read.
    pub bytes: u64,
    /// The entry that begins at the offset.
    pub index: u64,
}

/// All of it.
#[derive(Debug, Clone)]
pub(super) struct Index {
    pub tiles: Tiles,
    summaries: VecDeque<Summary>,
    tail: Option<Summary>,
    pub segments: VecDeque<Segment>,
    pub head: Option<Head>,
    pub journal: Option<TreeHash>,
}

impl Index {
    /// Of a journal whose entries up to here were dropped; `None` when that does not end with a tile.
    pub(super) fn after(range: &CompactRange) -> Option<Self> {
        Some(Self {
            tiles: Tiles::after(range)?,
            summaries: VecDeque::new(),
            tail: None,
            segments: VecDeque::new(),
            head: None,
            journal: None,
        })
    }

    /// Appends an entry of a segment; the tile that it completes.
    pub(super) fn push(&mut self, segment: u64, leaf: &Leaf) -> Option<Tile> {
        let summary = self.tail.map_or_else(|| Summary::begin(segment, leaf), |tail| tail.with(leaf));
        let root = self.tiles.push(leaf.hash);
        self.tail = root.is_none().then_some(summary);
        let tile = Tile { summary, root: root? };
        self.summaries.push_back(summary);
        Some(tile)
    }

    /// Appends a whole tile where one begins.
    pub(super) fn push_tile(&mut self, tile: &Tile) {
        self.tiles.push_tile(tile.root);
        self.summaries.push_back(tile.summary);
    }

    /// How many bytes all segments take.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// What the entries of the tile with this one have in common; `None` when it is not there.
    pub(super) fn summary(&self, index: u64) -> Option<&Summary> {
        let number = (index / TILE).checked_sub(self.tiles.first() / TILE)?;
        let number = usize::try_from(number).ok()?;
        if number == self.summaries.len() { self.tail.as_ref() } else { self.summaries.get(number) }
    }

    /// Where to begin reading for this entry; `None` when it is not there.
    pub(super) fn place(&self, index: u64) -> Option<Place> {
        let summary = self.summary(index)?;
        let segment = self.segments.iter().rev().find(|segment| segment.first == summary.segment)?;
        let index = index - index % TILE;
        Some(Place { segment: segment.first, offset: summary.offset, bytes: segment.bytes, index })
    }

    /// Forgets what came before a segment.
    pub(super) fn drop_before(&mut self, first: u64) {
        let gone = (first.saturating_sub(self.tiles.first())) / TILE;
        self.summaries.drain(..usize::try_from(gone).unwrap_or(usize::MAX).min(self.summaries.len()));
        self.tiles.drop_before(first);
        self.segments.retain(|segment| segment.first >= first);
    }
}
