//! The tree of a journal as it is kept in memory: of every 256 leaves the root, what lies above those,
//! and the leaves of the last, unfinished 256. A proof asks for the leaves of at most two tiles more.
//! It reads no file: the caller brings those leaves.

use super::proof::{Consistency, Inclusion, subtree};
use super::tree::{CompactRange, TreeHash};

/// Leaves of a tile, as a power of two.
pub const TILE_LEVEL: u32 = 8;

/// Leaves of a tile: one is re-hashed for a proof in a few hundredths of a millisecond, and a million entries take
/// 250 KiB of memory.
pub const TILE: u64 = 1 << TILE_LEVEL;

/// The hashes of one level, from some index on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Level {
    first: u64,
    nodes: Vec<TreeHash>,
}

impl Level {
    fn at(&self, index: u64) -> Option<TreeHash> {
        self.nodes.get(usize::try_from(index.checked_sub(self.first)?).ok()?).copied()
    }
}

/// Every perfect subtree of at least a tile, and the leaves after the last tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiles {
    /// How many leaves are known by their subtrees only: their entries were dropped.
    first: u64,
    /// How many tiles there are, dropped ones too.
    tiles: u64,
    /// The levels from that of tiles up.
    levels: Vec<Level>,
    tail: Vec<TreeHash>,
}

/// Why there is no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoProof<E> {
    /// The tree does not reach so far, or what is asked is no tree.
    #[error("the journal has {size} entries")]
    Beyond {
        /// How many leaves it has.
        size: u64,
    },
    /// The entries in question were dropped, and the subtree hashes that are left do not reach so far down.
    #[error("entries before {first} were dropped")]
    Dropped {
        /// The first that is there.
        first: u64,
    },
    /// The leaves of a tile could not be had.
    #[error(transparent)]
    Leaves(E),
}

impl Tiles {
    /// A tree that goes on from what a checkpoint holds; `None` when that does not end with a tile.
    pub fn after(range: &CompactRange) -> Option<Self> {
        let first = range.size();
        if !first.is_multiple_of(TILE) {
            return None;
        }
        let mut nodes = range.nodes().iter().rev();
        let levels = (TILE_LEVEL..u64::BITS).map(|level| {
            let index = first >> level;
            let node = if index & 1 == 1 { nodes.next() } else { None };
            Level { first: index - u64::from(node.is_some()), nodes: node.copied().into_iter().collect() }
        });
        Some(Self { first, tiles: first / TILE, levels: levels.collect(), tail: Vec::new() })
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.tiles * TILE + self.tail.len() as u64
    }

    /// The first leaf whose entry is there.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// How many tiles are finished, dropped ones too.
    pub fn finished(&self) -> u64 {
        self.tiles
    }

    /// Appends a leaf; the root of the tile that it finishes.
    pub fn push(&mut self, leaf: TreeHash) -> Option<TreeHash> {
        self.tail.push(leaf);
        if (self.tail.len() as u64) < TILE {
            return None;
        }
        let root = root_of(&self.tail);
        self.tail.clear();
        self.push_node(0, root);
        self.tiles += 1;
        Some(root)
    }

    /// Appends a whole tile where one begins.
    pub fn push_tile(&mut self, root: TreeHash) {
        debug_assert!(self.tail.is_empty(), "a tile begins where one ended");
        self.push_node(0, root);
        self.tiles += 1;
    }

    fn push_node(&mut self, level: usize, node: TreeHash) {
        let Some(here) = self.levels.get_mut(level) else { return };
        let index = here.first + here.nodes.len() as u64;
        here.nodes.push(node);
        if index & 1 == 1
            && let Some(left) = here.at(index - 1)
        {
            self.push_node(level + 1, TreeHash::of_node(&left, &node));
        }
    }

    /// Lets go of what only entries before `first` need. It must be a multiple of [`TILE`], and not beyond the end.
    pub fn drop_before(&mut self, first: u64) {
        debug_assert_eq!(first % TILE, 0, "whole tiles are dropped");
        for (level, shift) in self.levels.iter_mut().zip(TILE_LEVEL..u64::BITS) {
            let index = first >> shift;
            let keep_from = index - (index & 1);
            let gone = keep_from.saturating_sub(level.first).min(level.nodes.len() as u64);
            level.nodes.drain(..usize::try_from(gone).unwrap_or(usize::MAX));
            level.first += gone;
        }
        self.first = self.first.max(first);
    }

    /// The perfect subtrees of the first so many leaves, which end with a tile and not before those dropped.
    pub fn range(&self, size: u64) -> Option<CompactRange> {
        if !size.is_multiple_of(TILE) || size > self.size() {
            return None;
        }
        let levels = self.levels.iter().zip(TILE_LEVEL..u64::BITS).rev().filter(|(_, shift)| (size >> shift) & 1 == 1);
        let nodes: Option<Vec<_>> = levels.map(|(level, shift)| level.at((size >> shift) - 1)).collect();
        CompactRange::from_nodes(size, nodes?)
    }

    /// The perfect subtrees of all leaves.
    pub fn whole_range(&self) -> Option<CompactRange> {
        let mut range = self.range(self.tiles * TILE)?;
        self.tail.iter().for_each(|leaf| range.push(*leaf));
        Some(range)
    }

    /// Proves that a leaf is in the tree of the first `size` leaves. `leaves` gives those of a finished tile.
    pub fn inclusion<E>(
        &self,
        index: u64,
        size: u64,
        leaves: impl FnMut(u64) -> Result<Vec<TreeHash>, E>,
    ) -> Result<Inclusion, NoProof<E>> {
        if size > self.size() || index >= size {
            return Err(NoProof::Beyond { size: self.size() });
        }
        Inclusion::make(index, size, &mut self.nodes(leaves))
    }

    /// Proves that the tree of the first `to` leaves goes on from that of the first `from`.
    pub fn consistency<E>(
        &self,
        from: u64,
        to: u64,
        leaves: impl FnMut(u64) -> Result<Vec<TreeHash>, E>,
    ) -> Result<Consistency, NoProof<E>> {
        if to > self.size() || from > to || from == 0 {
            return Err(NoProof::Beyond { size: self.size() });
        }
        Consistency::make(from, to, &mut self.nodes(leaves))
    }

    /// The root of the first `size` leaves.
    pub fn root<E>(
        &self,
        size: u64,
        leaves: impl FnMut(u64) -> Result<Vec<TreeHash>, E>,
    ) -> Result<TreeHash, NoProof<E>> {
        if size > self.size() {
            return Err(NoProof::Beyond { size: self.size() });
        }
        if size == 0 { Ok(TreeHash::of_nothing()) } else { subtree(0, size, &mut self.nodes(leaves)) }
    }

    /// Finds perfect subtrees: the small ones in leaves, of which those of one tile are remembered.
    fn nodes<E>(
        &self,
        mut leaves: impl FnMut(u64) -> Result<Vec<TreeHash>, E>,
    ) -> impl FnMut(u32, u64) -> Result<TreeHash, NoProof<E>> {
        let mut read: Option<(u64, Vec<TreeHash>)> = None;
        move |level, index| {
            let dropped = NoProof::Dropped { first: self.first };
            if level >= TILE_LEVEL {
                let known = self.levels.get((level - TILE_LEVEL) as usize).and_then(|level| level.at(index));
                return known.ok_or(dropped);
            }
            let begin = index << level;
            let tile = begin / TILE;
            if begin < self.first {
                return Err(dropped);
            }
            if tile < self.tiles && read.as_ref().is_none_or(|(number, _)| *number != tile) {
                read = Some((tile, leaves(tile).map_err(NoProof::Leaves)?));
            }
            let all = match &read {
                Some((number, leaves)) if *number == tile => leaves,
                _ => &self.tail,
            };
            let begin = usize::try_from(begin % TILE).unwrap_or(usize::MAX);
            all.get(begin..begin + (1 << level)).map(root_of).ok_or(NoProof::Beyond { size: self.size() })
        }
    }
}

/// The root of some leaves.
pub fn root_of(leaves: &[TreeHash]) -> TreeHash {
    let mut range = CompactRange::default();
    leaves.iter().for_each(|leaf| range.push(*leaf));
    range.root()
}
