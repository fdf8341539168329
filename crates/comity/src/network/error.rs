//! Why an operation of the library, or joining, did not work. What happened to the node: nothing,
//! unless a variant says otherwise.

use crate::broker::CannotListen;
use crate::config::ConfigError;
use crate::federation::{BadAuthorities, BadFederation};
use crate::home::HomeError;
use crate::search::{IndexOpenError, NoEncoder};
use crate::store::StoreError;
use crate::store::journal::JournalError;
use crate::store::registry::RegistryError;
use crate::store::tasks::QueueError;
use comity_core::channel::BadChannel;
use comity_core::identity::seal::CannotSeal;
use comity_core::node::{Answer, Refusal};
use comity_core::payload::BadPayload;
use comity_core::redact::BadRule;
use std::io;
use std::net::SocketAddr;

/// Why an operation did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's rules refused; the refusal says whose fault it is and when to try again.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The caller's channel name cannot be one.
    #[error(transparent)]
    Channel(#[from] BadChannel),
    /// The caller's payload does not fit a message.
    #[error(transparent)]
    Payload(#[from] BadPayload),
    /// The caller's payload cannot be written as JSON.
    #[error("the payload cannot be written as JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// The message cannot be sealed for this peer.
    #[error(transparent)]
    CannotSeal(#[from] CannotSeal),
    /// The peer answered the query with an error. Its words are data: cut and cleaned, not trusted.
    #[error("the peer answered with an error: {detail} ({code})")]
    Answered {
        /// What kind of error, as the peer calls it: `no_answerer` when nobody there answers.
        code: String,
        /// What the peer says about it.
        detail: String,
    },
    /// Only messages with an id can be answered.
    #[error("the message has no id by which it could be answered")]
    NotAQuery,
}

/// What the rules answered, when it is not what the question wants. Any answer but a refusal would
/// be a fault of the rules; the caller then hears that the node cannot serve it.
pub(super) fn unexpected(answer: Answer) -> Error {
    match answer {
        Answer::Refused(refusal) => Error::Refused(refusal),
        _ => Error::Refused(Refusal::Leaving),
    }
}

/// Why this program could not join. Nothing is left open.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Gossip cannot start.
    #[error("gossip cannot start: {0} (gossip.enabled = false does without)")]
    Gossip(#[source] io::Error),
    /// The data directory, its lock or the key in it.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The embedded MQTT broker.
    #[error(transparent)]
    Broker(#[from] CannotListen),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A rule of redaction.
    #[error(transparent)]
    Redaction(#[from] BadRule),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Federation.
    #[error("federation cannot start: {0}")]
    Federation(#[from] BadFederation),
    /// The authorities by which a registry's certificate is checked.
    #[error("the registry of the mesh cannot be asked: {0}")]
    Registry(#[from] BadAuthorities),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The encoder of the mesh.
    #[error(transparent)]
    Encoder(#[from] NoEncoder),
    /// The queue of tasks.
    #[error("the queue of tasks cannot be opened: {0}")]
    Tasks(#[from] QueueError),
    /// The registry.
    #[error("the registry cannot be opened: {0}")]
    RegistryStore(#[from] RegistryError),
    /// The index of documents.
    #[error(transparent)]
    Index(#[from] IndexOpenError),
    /// No port for the network door.
    #[error("the network door cannot listen on {address}: {cause} (choose another with --port or http.port)")]
    Door {
        /// The last address that was tried.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// No port for the metrics door.
    #[error("the metrics door cannot listen on {address}: {cause} (choose another with metrics.port)")]
    Metrics {
        /// The last address that was tried.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The certificates: `tls.cert` and `tls.key`, or the node's own.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The control door.
    #[error(transparent)]
    Control(Box<dyn std::error::Error + Send + Sync>),
}
