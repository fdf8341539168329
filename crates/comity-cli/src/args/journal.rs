//! The flags of `comity journal`.

use clap::{Args, Subcommand};
use comity_core::id::NodeId;
use comity_core::journal::EntryKind;
use comity_core::time::Timestamp;
use std::path::PathBuf;

/// What to do about journals.
#[derive(Debug, Subcommand)]
pub(crate) enum Journal {
    /// Show the last entries
    Tail(Tail),
    /// Show the entries that are wanted, oldest first
    Query(Query),
    /// Print the signed head: with it, anybody notices later that the end was cut off
    Head {
        /// Write it into this file
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Look whether a journal is as its author wrote it
    ///
    /// Without a path, this node's own, whether the node runs or not. A path is a folder (of a stopped node, a copy, or
    /// one of those that `comity journal follow` keeps) or a file of `comity journal export`; no node is needed. The
    /// exit code is 1 when something is wrong, and the first entry that is wrong is named with its index.
    Verify(Verify),
    /// Write the whole journal as JSON Lines, which anybody can verify with this node's id
    Export {
        /// The file; without it, standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print one entry with what proves that it is in the journal: a JSON document that convinces without the rest
    Prove {
        /// The entry
        index: u64,
        /// Write it into this file
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check what `comity journal prove` wrote; no node is needed
    ///
    /// The exit code is 1 when it proves nothing.
    Check {
        /// The file
        file: PathBuf,
        /// The node id of the author, as `comity id` prints it there; without it, whoever signed is named
        #[arg(long, value_name = "NODE_ID", value_parser = node_id)]
        key: Option<NodeId>,
    },
    /// Keep a verified copy of a peer's journal, also after restarts, and show how far it is
    ///
    /// The peer must know this node (`comity trust`, over there). The copy is in the folder `journals` of the node's
    /// folder; `comity journal query --path` shows what is in it. Without a peer, those that are followed are listed. The exit code is 1 when the peer's journal was cut
    /// off, rewritten, or differs from what others were shown.
    Follow(Follow),
}

/// Flags of `comity journal tail`.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// How many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub(crate) lines: u64,
    /// Go on, and show every entry that is written
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// Flags of `comity journal query`.
#[derive(Debug, Args)]
pub(crate) struct Query {
    /// In this folder or exported file, as of a copy that `comity journal follow` keeps; no node is needed
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) wanted: Wanted,
}

/// Which entries.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// Only of this type, as `task_claimed`; may be given several times
    #[arg(long = "type", value_name = "T", value_parser = kind)]
    pub(crate) kinds: Vec<EntryKind>,
    /// Only by this node: a journal has one author
    #[arg(long, value_name = "NODE_ID", value_parser = node_id)]
    pub(crate) author: Option<NodeId>,
    /// Only about messages of this PeerId
    #[arg(long, value_name = "PEER_ID")]
    pub(crate) from_peer: Option<String>,
    /// From this entry on
    #[arg(long, value_name = "INDEX")]
    pub(crate) from: Option<u64>,
    /// Before this entry
    #[arg(long, value_name = "INDEX")]
    pub(crate) to: Option<u64>,
    /// Not earlier than this, as in 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Earlier than this
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<Timestamp>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

/// Arguments of `comity journal verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A folder, or an exported file; without it, this node's own
    pub(crate) path: Option<PathBuf>,
    /// The node id of the author, as `comity id` prints it there; without it, whoever signed is named
    #[arg(long, value_name = "NODE_ID", value_parser = node_id)]
    pub(crate) key: Option<NodeId>,
    /// A head that the author is known to have signed, by which a cut-off end is noticed: JSON, or a file with it
    #[arg(long, value_name = "HEAD")]
    pub(crate) head: Option<String>,
}

/// Arguments of `comity journal follow`.
#[derive(Debug, Args)]
pub(crate) struct Follow {
    /// The peer: name, UUID or node id; a node id may be of a node that was never met
    pub(crate) peer: Option<String>,
    /// List the journals that are followed
    #[arg(long, conflicts_with = "peer")]
    pub(crate) list: bool,
    /// Follow it no more; the copy stays
    #[arg(long, requires = "peer")]
    pub(crate) stop: bool,
    /// End once all that the peer has signed is here
    #[arg(long, requires = "peer", conflicts_with = "stop")]
    pub(crate) once: bool,
}

fn kind(text: &str) -> Result<EntryKind, String> {
    text.parse().map_err(|_| format!("one of {} is wanted", EntryKind::ALL.map(EntryKind::name).join(", ")))
}

fn node_id(text: &str) -> Result<NodeId, String> {
    text.parse().map_err(|_| "a node id such as `comity id` prints is wanted (ed25519:…)".to_owned())
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "a time such as 2026-01-31T12:00:00Z is wanted".to_owned())
}
