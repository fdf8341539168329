//! Why a journal cannot be opened or read, and why an entry was not written.

use comity_core::id::NodeId;
use comity_core::journal::{BadDraft, NoProof};
use std::io;
use std::path::{Path, PathBuf};

/// Why a journal cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it open.
    #[error("the journal in {} is in use: stop the node that uses it", folder.display())]
    InUse {
        /// Where it is.
        folder: PathBuf,
    },
    /// It is another node's.
    #[error(
        "the journal in {} is of {found}, and this node is {key}: put that node's key back, or move the journal away",
        folder.display()
    )]
    OtherKey {
        /// Where it is.
        folder: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// The key with which it was opened.
        key: NodeId,
    },
    /// An entry that was acknowledged is not as it was written.
    #[error(
        "the journal in {} is damaged at entry {index}: put a backup in its place, or move it away and begin a new one",
        folder.display()
    )]
    Damaged {
        /// Where it is.
        folder: PathBuf,
        /// The first entry that is wrong.
        index: u64,
    },
    /// What was asked for is not there yet.
    #[error("the journal has {size} entries")]
    Beyond {
        /// How many there are.
        size: u64,
    },
    /// What was asked for was dropped, so that the journal stays within `journal.keep`.
    #[error("entries before {first} were dropped")]
    Dropped {
        /// The first that is there.
        first: u64,
    },
    /// The system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl JournalError {
    /// Makes the error of a path.
    pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        |cause| Self::Io { path: path.to_owned(), cause }
    }
}

impl From<NoProof<Self>> for JournalError {
    fn from(error: NoProof<Self>) -> Self {
        match error {
            NoProof::Beyond { size } => Self::Beyond { size },
            NoProof::Dropped { first } => Self::Dropped { first },
            NoProof::Leaves(error) => error,
        }
    }
}

/// Why an entry was not written. It is not in the journal, and will not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAppended {
    /// It is no entry. Our caller erred.
    #[error(transparent)]
    Draft(#[from] BadDraft),
    /// There is no room. What is read is still read, and once there is room entries are written again.
    #[error("the disk is full: make room, and entries are written again within a second")]
    Full,
    /// The disk refused for another reason.
    #[error("the disk does not take the journal ({}): look at the disk of the data directory", io::Error::from_raw_os_error(*code))]
    Failing {
        /// The system's number of the error, 0 when it has none.
        code: i32,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

impl NotAppended {
    pub(super) fn of(cause: &io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::Full,
            _ => Self::Failing { code: cause.raw_os_error().unwrap_or(0) },
        }
    }
}
