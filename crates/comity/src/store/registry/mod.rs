//! What a registry of a mesh keeps: its nodes, the hashes of their API keys, and enrolment tokens; in a SQLite file of its
//! own (`file.rs`), or in one PostgreSQL database that several coordinators share (`server.rs`). No key is in it, only
//! what tells one. It decides nothing. See "Registry" in `protocols/mesh.md`.

mod file;
mod server;
#[cfg(test)]
mod tests;

use super::StoreError;
use super::link::{DatabaseError, Place};
use comity_core::registry::key::{Issued, KeyHash, Token};
use comity_core::registry::profile::{NodeName, Setting, Settings};
use comity_core::registry::roster::Kept;
use comity_core::time::{Now, Timestamp};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a group of changes may take on a server before it is given up, with its connection.
const GROUP_TIME_MAX: Duration = Duration::from_secs(10);

/// Why a registry cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The file cannot be opened.
    #[error(transparent)]
    File(#[from] StoreError),
    /// The file does not take it.
    #[error(transparent)]
    Write(#[from] sqlx::Error),
    /// The server does not answer, or does not take it.
    #[error(transparent)]
    Server(#[from] DatabaseError),
    /// The coordinators that share it are set otherwise than this one.
    #[error("the registry in this database is of a mesh with another {0}")]
    Differs(Setting),
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Write {
    /// A node, as it is now.
    Node(Box<Kept>),
    /// A node is out.
    NodeOut(NodeName),
    /// When nodes were heard last, all of them at the time of writing.
    Heard(Vec<(NodeName, Timestamp)>, Timestamp),
    /// An API key was issued.
    Key(KeyHash, Issued),
    /// An API key was revoked.
    KeyOut(KeyHash),
    /// A token, as it is now.
    Token(KeyHash, Token),
    /// A token is used up, over or revoked.
    TokenOut(KeyHash),
}

/// What was there when the file was opened.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// The nodes. Of how full they were nothing is known any more.
    pub(crate) nodes: Vec<Kept>,
    /// The API keys.
    pub(crate) keys: Vec<(KeyHash, Issued)>,
    /// The tokens.
    pub(crate) tokens: Vec<(KeyHash, Token)>,
    /// When heartbeats were written last.
    pub(crate) heard_until: Timestamp,
    /// Rows that cannot be read, and are left out.
    pub(crate) damaged: usize,
}

/// What others have changed.
#[derive(Debug)]
pub(crate) enum Others {
    /// This, since it was read last.
    Changed(Vec<Write>),
    /// So much may have, that this is all there is now.
    All(Restored),
}

/// Where a registry is kept, open.
pub(crate) enum Store {
    /// A file of this process.
    File(file::File),
    /// A database that coordinators share.
    Server(Box<server::Server>),
}

impl Store {
    /// Opens it, and reads all of it. Needs a tokio runtime.
    pub(crate) async fn open(place: &Place, settings: &Settings, now: Now) -> Result<(Self, Restored), RegistryError> {
        match place {
            Place::File(path) => {
                let (file, restored) = file::open(path).await?;
                Ok((Self::File(file), restored))
            }
            Place::Server(url) => {
                let (server, restored) = server::open(url, settings, now).await?;
                Ok((Self::Server(Box::new(server)), restored))
            }
        }
    }

    /// Changes whenever another coordinator may have changed something; `None` where there is no other.
    pub(crate) fn changes(&self) -> Option<watch::Receiver<u64>> {
        match self {
            Self::File(_) => None,
            Self::Server(server) => Some(server.changes()),
        }
    }

    /// What others have changed.
    pub(crate) async fn others(&mut self, now: Now) -> Result<Others, RegistryError> {
        match self {
            Self::File(_) => Ok(Others::Changed(Vec::new())),
            Self::Server(server) => {
                let read = timeout(GROUP_TIME_MAX, server.others(now)).await;
                server.unless_failed(read)
            }
        }
    }

    /// Begins a group of changes: what others have changed, and none of them changes anything until it is committed.
    pub(crate) async fn begin(&mut self, now: Now) -> Result<Others, RegistryError> {
        match self {
            Self::File(_) => Ok(Others::Changed(Vec::new())),
            Self::Server(server) => {
                let begun = timeout(GROUP_TIME_MAX, server.begin(now)).await;
                server.unless_failed(begun)
            }
        }
    }

    /// Writes what changed, in order; all of it is safe when this returns, or none, as far as is known.
    pub(crate) async fn commit(&mut self, writes: &[Write], now: Now) -> Result<(), RegistryError> {
        match self {
            Self::File(file) => Ok(file.commit(writes).await?),
            Self::Server(server) => {
                let committed = timeout(GROUP_TIME_MAX, server.commit(writes, now)).await;
                server.unless_failed(committed)
            }
        }
    }

    /// Closes it.
    pub(crate) async fn close(self) {
        if let Self::File(file) = self {
            file.close().await;
        }
    }
}
