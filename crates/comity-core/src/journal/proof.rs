//! Proofs of RFC 6962, section 2.1: that an entry is in a tree, and that one tree goes on from another.
//! They are made from subtree hashes that somebody else keeps, and checked as RFC 9162 says in 2.1.3.2
//! and 2.1.4.2.

use super::entry::Entry;
use super::head::Head;
use super::line;
use super::tree::TreeHash;

/// Most hashes in a proof: a tree of 2^64 leaves is no deeper.
pub const PATH_MAX: usize = 64;

/// That one leaf is in a tree: its audit path, from the leaf up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inclusion {
    /// Which leaf.
    pub index: u64,
    /// How many leaves the tree has.
    pub size: u64,
    /// The subtrees beside the way to the root.
    pub path: Vec<TreeHash>,
}

/// That a tree is the beginning of a larger one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    /// How many leaves the smaller tree has.
    pub from: u64,
    /// How many the larger one has.
    pub to: u64,
    /// The subtrees from which both roots can be made.
    pub path: Vec<TreeHash>,
}

/// That one entry is in a journal, to be shown to anybody without the rest of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryProof {
    /// The entry, as its line stands in the journal, without the end.
    pub line: Vec<u8>,
    /// Where it is in the tree.
    pub inclusion: Inclusion,
    /// The tree, signed.
    pub head: Head,
}

impl EntryProof {
    /// Checks everything; the entry that is proved.
    ///
    /// # Errors
    /// [`BadProof`] when any part does not fit the others, or the author did not sign the head.
    pub fn check(&self) -> Result<Entry, BadProof> {
        let entry = line::read_entry(&self.line).map_err(|_| BadProof)?;
        let fits = entry.index == self.inclusion.index
            && self.inclusion.size == self.head.size
            && entry.author == self.head.author;
        if !fits || self.head.check().is_err() {
            return Err(BadProof);
        }
        self.inclusion.check(&entry.hash, &self.head.root).map(|()| entry)
    }
}

/// A proof that proves nothing: it was made wrongly, changed on its way, or is of another tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not lead to this root")]
pub struct BadProof;

impl Inclusion {
    /// Makes the proof; `node` gives the perfect subtree of 2^level leaves that is the so-manieth of its level.
    /// The index must be below the size.
    pub fn make<E>(index: u64, size: u64, node: &mut impl FnMut(u32, u64) -> Result<TreeHash, E>) -> Result<Self, E> {
        let (mut begin, mut end) = (0, size);
        let mut path = Vec::new();
        while end - begin > 1 {
            let middle = begin + split(end - begin);
            if index < middle {
                path.push(subtree(middle, end, node)?);
                end = middle;
            } else {
                path.push(subtree(begin, middle, node)?);
                begin = middle;
            }
        }
        path.reverse();
        Ok(Self { index, size, path })
    }

    /// Checks that this leaf is where the proof says, in the tree with this root.
    pub fn check(&self, leaf: &TreeHash, root: &TreeHash) -> Result<(), BadProof> {
        if self.index >= self.size {
            return Err(BadProof);
        }
        let (mut at, mut last) = (self.index, self.size - 1);
        let mut hash = *leaf;
        for beside in &self.path {
            if last == 0 {
                return Err(BadProof);
            }
            if at & 1 == 1 || at == last {
                hash = TreeHash::of_node(beside, &hash);
                while at & 1 == 0 && at != 0 {
                    at >>= 1;
                    last >>= 1;
                }
            } else {
                hash = TreeHash::of_node(&hash, beside);
            }
            at >>= 1;
            last >>= 1;
        }
        if last == 0 && hash == *root { Ok(()) } else { Err(BadProof) }
    }
}

impl Consistency {
    /// Makes the proof; `node` as in [`Inclusion::make`]. `from` must be at least 1 and at most `to`.
    pub fn make<E>(from: u64, to: u64, node: &mut impl FnMut(u32, u64) -> Result<TreeHash, E>) -> Result<Self, E> {
        let (mut begin, mut end) = (0, to);
        let mut path = Vec::new();
        // Whether the smaller tree is still the left edge itself: its root is then known to whoever asks.
        let mut is_whole = true;
        while from != end {
            let middle = begin + split(end - begin);
            if from <= middle {
                path.push(subtree(middle, end, node)?);
                end = middle;
            } else {
                path.push(subtree(begin, middle, node)?);
                begin = middle;
                is_whole = false;
            }
        }
        if !is_whole {
            path.push(subtree(begin, end, node)?);
        }
        path.reverse();
        Ok(Self { from, to, path })
    }

    /// Checks that the tree with the root `old` is the beginning of the one with the root `new`.
    pub fn check(&self, old: &TreeHash, new: &TreeHash) -> Result<(), BadProof> {
        if self.from == 0 || self.from > self.to {
            return Err(BadProof);
        }
        if self.from == self.to {
            return if self.path.is_empty() && old == new { Ok(()) } else { Err(BadProof) };
        }
        let mut path = self.path.iter();
        let first = if self.from.is_power_of_two() { old } else { path.next().ok_or(BadProof)? };
        let (mut at, mut last) = (self.from - 1, self.to - 1);
        while at & 1 == 1 {
            at >>= 1;
            last >>= 1;
        }
        let (mut small, mut large) = (*first, *first);
        for beside in path {
            if last == 0 {
                return Err(BadProof);
            }
            if at & 1 == 1 || at == last {
                small = TreeHash::of_node(beside, &small);
                large = TreeHash::of_node(beside, &large);
                while at & 1 == 0 && at != 0 {
                    at >>= 1;
                    last >>= 1;
                }
            } else {
                large = TreeHash::of_node(&large, beside);
            }
            at >>= 1;
            last >>= 1;
        }
        if last == 0 && small == *old && large == *new { Ok(()) } else { Err(BadProof) }
    }
}

/// The root of the leaves from `begin` to `end`, which are a subtree as RFC 6962 cuts them.
pub(super) fn subtree<E>(
    begin: u64,
    end: u64,
    node: &mut impl FnMut(u32, u64) -> Result<TreeHash, E>,
) -> Result<TreeHash, E> {
    let leaves = end - begin;
    if leaves.is_power_of_two() {
        let level = leaves.trailing_zeros();
        return node(level, begin >> level);
    }
    let middle = begin + split(leaves);
    let left = subtree(begin, middle, node)?;
    Ok(TreeHash::of_node(&left, &subtree(middle, end, node)?))
}

/// The largest power of two below so many leaves, of which there are at least two.
fn split(leaves: u64) -> u64 {
    1 << (u64::BITS - 1 - (leaves - 1).leading_zeros())
}
