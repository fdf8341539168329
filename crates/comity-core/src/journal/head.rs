//! What the author of a journal signs: the head of its tree, and the checkpoint that stands in for
//! entries that were dropped. Both under the context `comity/journal/1`; the members differ, so that one is
//! never taken for the other. See "Journal" in `protocols/pubsub.md`.

use super::tree::{CompactRange, TreeHash};
use crate::id::NodeId;
use crate::identity::key::KeyPair;
use crate::identity::signature::{self, BadSignature, Context};
use serde_json::{Value, json};

/// A signed tree: so many entries of this journal have this root.
///
/// What is signed names the journal by the hash of its first entry, which names the author and the time: a journal
/// that was begun again is another one, and its heads are not confused with the old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Who signed.
    pub author: NodeId,
    /// Which journal: the hash of its first entry.
    pub journal: TreeHash,
    /// How many entries.
    pub size: u64,
    /// The root over them.
    pub root: TreeHash,
    /// The author's signature of the three above.
    pub signature: [u8; 64],
}

impl Head {
    /// Signs a tree.
    pub fn sign(key: &KeyPair, journal: TreeHash, range: &CompactRange) -> Self {
        let (size, root) = (range.size(), range.root());
        let signature = signature::sign_bytes(key, Context::Journal, &signed(&journal, &root, size));
        Self { author: key.node(), journal, size, root, signature }
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`BadSignature`] when the author did not sign this.
    pub fn check(&self) -> Result<(), BadSignature> {
        let signed = signed(&self.journal, &self.root, self.size);
        signature::verify_bytes(&self.author, Context::Journal, &signed, &self.signature)
    }
}

/// The canonical JSON of what a head signs.
fn signed(journal: &TreeHash, root: &TreeHash, size: u64) -> Vec<u8> {
    format!(r#"{{"journal":"{journal}","root":"{root}","size":{size}}}"#).into_bytes()
}

/// What is left of dropped entries: enough to go on proving and checking those that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Who signed.
    pub author: NodeId,
    /// Which journal.
    pub journal: TreeHash,
    /// The hash of the last entry that was dropped.
    pub prev: TreeHash,
    /// The perfect subtrees of all that were dropped; its size is the index of the first entry that is there.
    pub range: CompactRange,
    /// The author's signature of all of it.
    pub signature: [u8; 64],
}

impl Checkpoint {
    /// Signs for what is to be dropped.
    pub fn sign(key: &KeyPair, journal: TreeHash, prev: TreeHash, range: CompactRange) -> Self {
        let mut checkpoint = Self { author: key.node(), journal, prev, range, signature: [0; 64] };
        checkpoint.signature = signature::sign(key, Context::Journal, &checkpoint.signed());
        checkpoint
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`BadSignature`] when the author did not sign this.
    pub fn check(&self) -> Result<(), BadSignature> {
        signature::verify(&self.author, Context::Journal, &self.signed(), &self.signature)
    }

    /// Its members but for the signature.
    pub(crate) fn signed(&self) -> Value {
        let nodes: Vec<String> = self.range.nodes().iter().map(TreeHash::to_string).collect();
        json!({
            "author": self.author.to_string(),
            "journal": self.journal.to_string(),
            "nodes": nodes,
            "prev_hash": self.prev.to_string(),
            "size": self.range.size(),
        })
    }
}
