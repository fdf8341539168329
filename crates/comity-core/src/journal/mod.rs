//! The rules of the journal: entries chained by their hashes, under a tree of RFC 6962 whose head its author
//! signs. Here is what an entry is, how it is proved and checked, and what a follower believes; files are the
//! body's business. See "Journal" in `protocols/pubsub.md` and `docs/journal.md`.

mod chain;
mod entry;
mod follower;
mod head;
mod line;
mod plain;
mod proof;
#[cfg(test)]
mod tests;
mod tiles;
mod tree;
mod verify;

pub use chain::{Break, Chain};
pub use entry::{BadDraft, DATA_DEPTH_MAX, DATA_MAX, Draft, Entry, EntryKind, NoSuchKind};
pub use follower::{Fault, Follower, HEADS_MAX, Read, Told, Want};
pub use head::{Checkpoint, Head};
pub use line::{BadLine, LINE_MAX, Link, Placed, read_checked, read_entry, read_link};
pub use proof::{BadProof, Consistency, EntryProof, Inclusion, PATH_MAX};
pub use tiles::{NoProof, TILE, TILE_LEVEL, Tiles, root_of};
pub use tree::{CompactRange, NotAHash, TreeHash};
pub use verify::{Flaw, Report, Verifier, Wrong};

/// Most entries in a group, under one signature: a few hundredths of a second of a busy node, and as many hashes as
/// are worth keeping to say which entry of a group is the wrong one.
pub const GROUP_MAX: usize = 1024;
