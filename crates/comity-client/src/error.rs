//! What can go wrong between a caller and a node, and whose fault it is.

use comity_core::wire::control::Problem;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a call did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens on the control socket of this data directory.
    #[error("no node is running at {}: start one with `comity up`", data_dir.display())]
    NoNode {
        /// The data directory that was looked at.
        data_dir: PathBuf,
    },
    /// The socket is there, but is not ours to open.
    #[error("the node at {} belongs to another user: {source}", data_dir.display())]
    NotOurs {
        /// The data directory that was looked at.
        data_dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The node refused; nothing was done.
    #[error("{}", refused(.0))]
    Refused(Problem),
    /// The node did not answer in time; what was asked may or may not have been done.
    #[error("the node did not answer within {} s", after.as_secs())]
    Silent {
        /// How long it was given.
        after: Duration,
    },
    /// The connection broke, most likely because the node stopped.
    #[error("the connection to the node broke: {0}")]
    Broken(String),
    /// What the node handed out could not be written.
    #[error("it cannot be written: {cause}")]
    NotWritten {
        /// What the system said.
        cause: io::Error,
    },
    /// The node answered something else than this client reads: another version, most likely.
    #[error("the node's answer is not understood ({0}): are command and node of one version?")]
    NotUnderstood(String),
}

fn refused(problem: &Problem) -> String {
    let detail = if problem.detail.is_empty() { &problem.code } else { &problem.detail };
    match &problem.pointer {
        Some(pointer) if !pointer.is_empty() => format!("{detail} (at {pointer})"),
        _ => detail.clone(),
    }
}

impl Error {
    /// The stable code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            _ => None,
        }
    }
}

impl From<hyper::Error> for Error {
    fn from(broken: hyper::Error) -> Self {
        Self::Broken(broken.to_string())
    }
}
