//! Where a journal has come to: the last hash, the tree so far, and whose it is. One entry after the other is
//! put to it; it says which one cannot follow. Signatures are handed out, not checked.

use super::head::{Checkpoint, Head};
use super::line::Link;
use super::tree::{CompactRange, TreeHash};
use crate::id::NodeId;

/// The state after some entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    author: NodeId,
    journal: Option<TreeHash>,
    prev: TreeHash,
    range: CompactRange,
}

/// Why an entry cannot come next. The chain is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// It is somebody else's.
    Author,
    /// It has another place.
    Index,
    /// It follows another entry than the one before it.
    Prev,
}

impl Chain {
    /// A journal of this author, without entries.
    pub fn new(author: NodeId) -> Self {
        Self { author, journal: None, prev: TreeHash::ZERO, range: CompactRange::default() }
    }

    /// A journal whose entries up to here were dropped.
    pub fn after(checkpoint: &Checkpoint) -> Self {
        Self {
            author: checkpoint.author,
            journal: Some(checkpoint.journal),
            prev: checkpoint.prev,
            range: checkpoint.range.clone(),
        }
    }

    /// A journal in the middle, as somebody who has read so far knows it.
    pub fn resumed(author: NodeId, journal: Option<TreeHash>, prev: TreeHash, range: CompactRange) -> Self {
        Self { author, journal, prev, range }
    }

    /// Whose journal it is.
    pub fn author(&self) -> NodeId {
        self.author
    }

    /// Which journal it is, when there is an entry.
    pub fn journal(&self) -> Option<TreeHash> {
        self.journal
    }

    /// The index of the entry that comes next.
    pub fn next(&self) -> u64 {
        self.range.size()
    }

    /// The hash of the entry that came last.
    pub fn prev(&self) -> TreeHash {
        self.prev
    }

    /// The tree so far.
    pub fn range(&self) -> &CompactRange {
        &self.range
    }

    /// Puts the next entry to it; the head that it signs, if it does. Whether the author signed that is the caller's
    /// to check: it takes longer than all the rest.
    ///
    /// # Errors
    /// [`Break`] when it does not come next.
    pub fn step(&mut self, link: &Link) -> Result<Option<Head>, Break> {
        if link.author != self.author {
            return Err(Break::Author);
        }
        if link.index != self.next() {
            return Err(Break::Index);
        }
        if link.prev != self.prev {
            return Err(Break::Prev);
        }
        self.push(link.hash);
        Ok(link.signature.and_then(|signature| self.head(signature)))
    }

    /// Appends an entry that has this hash.
    pub fn push(&mut self, hash: TreeHash) {
        self.journal.get_or_insert(hash);
        self.prev = hash;
        self.range.push(hash);
    }

    /// The head of the tree so far, if this is its signature.
    pub fn head(&self, signature: [u8; 64]) -> Option<Head> {
        let (author, size, root) = (self.author, self.next(), self.range.root());
        self.journal.map(|journal| Head { author, journal, size, root, signature })
    }
}
