//! Files to and from other nodes, through the node that runs here: what is read and written on disk, and the
//! packets. What may be said when is in `comity_core::transfer`; what a person sees of it is the command's.

mod disk;
mod give;
mod plan;
mod socket;
mod take;

#[cfg(test)]
mod tests;

pub use disk::Folder;
pub use give::{Given, give};
pub use plan::{Plan, Source};
pub use socket::{InLine, Incoming};
pub use take::{Ask, SKIPPED_MAX, Taken, take};

use comity_core::transfer::Fault;
use comity_core::wire::transfer::Why;
use std::io;
use std::path::PathBuf;

/// Why a transfer did not come to its end. What was kept of a file goes on when it is sent again.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The node could not be asked, or refused.
    #[error(transparent)]
    Node(#[from] crate::Error),
    /// The connection ended in the middle.
    #[error("the connection broke off")]
    Off,
    /// One side did not keep to the protocol, or said that it cannot go on.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Something here cannot be read, or was changed while it was sent.
    #[error("{}: {source}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no longer as it was when it was offered.
    #[error("{} changed while it was sent: send it again", .0.display())]
    Changed(PathBuf),
    /// What is named cannot be sent.
    #[error("{0}")]
    Unsendable(String),
    /// Something here cannot be written.
    #[error("{path}: {}", write_failure(source))]
    Write {
        /// The path, as the sender named it.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The same transfer began anew on another stream, most likely after a break.
    #[error("begun anew")]
    Anew,
    /// It was declined here.
    #[error("declined")]
    Declined,
}

fn write_failure(source: &io::Error) -> String {
    if disk::why(source) == Why::DiskFull {
        return "the disk is full: what came is kept; free some space and let it be sent again".to_owned();
    }
    source.to_string()
}

impl Broken {
    /// Whether trying again may help, without anybody doing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Off | Self::Fault(Fault::Peer { why: Why::Busy, .. }) => true,
            Self::Node(crate::Error::Refused(problem)) => {
                matches!(problem.code.as_str(), "no_link" | "no_receiver" | "busy" | "unknown_peer" | "unavailable")
            }
            Self::Node(error) => !matches!(error, crate::Error::NotOurs { .. } | crate::Error::NotUnderstood(_)),
            _ => false,
        }
    }
}

/// What happens on a transfer, for whoever looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The content of this file goes over from here on; what is before is there already.
    Begun {
        /// Its path, as the sender named it.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The first byte that goes over.
        from: u64,
    },
    /// So many bytes have arrived since the beginning, or since the break.
    Progress(u64),
    /// This many bytes need not be sent: they are there.
    Spared(u64),
    /// For some seconds the other side has said nothing: a disk may be slow, or a person thinks.
    Waiting,
    /// A file or folder stands under its name.
    Done {
        /// Its path, as the sender named it.
        path: String,
    },
    /// This one was not taken.
    Skipped {
        /// Its path, as the sender named it.
        path: String,
        /// Why.
        why: Why,
    },
}
