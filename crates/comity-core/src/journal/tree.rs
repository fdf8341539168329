//! The hashes of RFC 6962, section 2.1: leaves, nodes, the root of any number of leaves, and the few
//! perfect subtrees from which a tree goes on growing. It keeps no leaves and knows no entries.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// What stands before the content of a leaf, so that no leaf is ever a node.
const LEAF: u8 = 0x00;

/// What stands before the two hashes of a node.
const NODE: u8 = 0x01;

/// Characters of a hash in base64url without padding.
pub(super) const HASH_TEXT: usize = 43;

/// A SHA-256 hash: of a leaf, a node, or a whole tree. Written in base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreeHash(pub [u8; 32]);

impl TreeHash {
    /// What stands as `prev_hash` in the first entry of a journal.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash of a leaf whose content is these pieces, one after the other.
    pub fn of_leaf(pieces: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update([LEAF]);
        pieces.iter().for_each(|piece| hasher.update(piece));
        Self(hasher.finalize().into())
    }

    /// The hash of the node over two subtrees.
    pub fn of_node(left: &Self, right: &Self) -> Self {
        let mut both = [NODE; 65];
        both[1..33].copy_from_slice(&left.0);
        both[33..].copy_from_slice(&right.0);
        Self(Sha256::digest(both).into())
    }

    /// The root of a tree without leaves.
    pub fn of_nothing() -> Self {
        Self(Sha256::digest([]).into())
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; HASH_TEXT];
        let length = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
        out.write_str(std::str::from_utf8(&text[..length]).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A text that is not a hash in base64url without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hash: 43 characters of base64url are wanted")]
pub struct NotAHash;

impl FromStr for TreeHash {
    type Err = NotAHash;

    /// Reads the one text that a hash has: one with stray bits at its end is another text, and refused.
    fn from_str(text: &str) -> Result<Self, NotAHash> {
        read_base64(text.as_bytes()).map(Self).ok_or(NotAHash)
    }
}

/// Reads exactly so many bytes of base64url: no padding, no other alphabet, no bits left over.
pub(super) fn read_base64<const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (length == BYTES).then_some(bytes)
}

/// The perfect subtrees that so many leaves come to, largest first: all that is needed to append a leaf
/// and to tell the root. At most 64 hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactRange {
    size: u64,
    nodes: Vec<TreeHash>,
}

impl CompactRange {
    /// The range of these perfect subtrees; `None` when so many leaves have another number of them.
    pub fn from_nodes(size: u64, nodes: Vec<TreeHash>) -> Option<Self> {
        (nodes.len() == size.count_ones() as usize).then_some(Self { size, nodes })
    }

    /// How many leaves it stands for.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The perfect subtrees, largest first.
    pub fn nodes(&self) -> &[TreeHash] {
        &self.nodes
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: TreeHash) {
        self.push_subtree(0, leaf);
    }

    /// Appends a perfect subtree of 2^level leaves to a range whose size is a multiple of that.
    pub(super) fn push_subtree(&mut self, level: u32, root: TreeHash) {
        debug_assert_eq!(self.size % (1 << level), 0, "a subtree begins at a multiple of its size");
        let mut node = root;
        let mut pairs = self.size >> level;
        while pairs & 1 == 1 {
            let Some(left) = self.nodes.pop() else { break };
            node = TreeHash::of_node(&left, &node);
            pairs >>= 1;
        }
        self.nodes.push(node);
        self.size += 1 << level;
    }

    /// The root of the tree.
    pub fn root(&self) -> TreeHash {
        let mut nodes = self.nodes.iter().rev();
        let Some(last) = nodes.next() else { return TreeHash::of_nothing() };
        nodes.fold(*last, |right, left| TreeHash::of_node(left, &right))
    }
}
