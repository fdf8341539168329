//! The rules of sending files: what each side of a transfer may say, and what it must do next. Two state
//! machines, [`giving::Giving`] and [`taking::Taking`], which the two commands feed with packets and what
//! they found on disk. They read and write no file.
//!
//! A transfer that broke goes on by being offered again. What the receiver kept of a file is the beginning of
//! that file if it has the same SHA-256 as so many bytes of it have at the sender. Both sides have to read
//! these bytes anyway for the checksum of the whole, so they are read once for both; nothing but the bytes
//! themselves has to be kept; and a file that has grown or begins as another one goes on as well. Only where
//! a file of the same size stands already, that one is compared first.

pub mod giving;
pub mod name;
pub mod taking;

#[cfg(test)]
mod tests;

use crate::wire::transfer::{Say, Why};

/// Bytes that may be under way without being acknowledged. Less does not fill a fast and long path (50 MB/s at
/// 40 ms), more waits in memory on the way, and less of what is shown as sent has arrived.
pub const WINDOW: u64 = 2 * 1024 * 1024;

/// Bytes that are written before the sender is told.
pub const ACKNOWLEDGE_EVERY: u64 = 256 * 1024;

/// Files that are named before the first of them is done: many small ones need not wait for each other.
pub const AHEAD_MAX: usize = 64;

/// Most files and folders in one transfer.
pub const FILES_MAX: u64 = 100_000;

/// Why a transfer cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The other side says that it cannot.
    #[error("the other side: {}", if detail.is_empty() { why.text() } else { detail })]
    Peer {
        /// Why.
        why: Why,
        /// Its sentence.
        detail: String,
    },
    /// The other side speaks another version.
    #[error("the other side speaks version {0} of the transfer protocol, which this one does not")]
    Version(u32),
    /// What came has no place here.
    #[error("the other side said {0} where it has no place")]
    Unexpected(&'static str),
    /// What was offered is more than is taken.
    #[error("{files} files with {bytes} bytes are more than is taken here")]
    TooLarge {
        /// How many files were offered.
        files: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// More came than was announced.
    #[error("the other side sent more than it had announced")]
    MoreThanAnnounced,
}

impl Fault {
    /// What the other side is told; `None` when it said so itself.
    pub fn say(&self) -> Option<Say> {
        let why = match self {
            Self::Peer { .. } => return None,
            Self::Version(_) | Self::Unexpected(_) | Self::MoreThanAnnounced => Why::Protocol,
            Self::TooLarge { .. } => Why::TooLarge,
        };
        Some(Say::failed(why, self.to_string()))
    }
}

fn unexpected<T>(said: &Say) -> Result<T, Fault> {
    Err(Fault::Unexpected(said.name()))
}
