//! A Comity node as a library: [`Network::join`] makes this program a peer of its local network.
//!
//! The rules are in `comity-core`; this crate is the body around them. It waits for events, hands
//! them to the rules and performs what they answer. What peers can reach is listed in
//! `door/mod.rs`; every message of the wire is described in `protocols/local-network.md`.

pub mod announcing;
pub mod broker;
mod compute;
pub mod config;
pub(crate) mod discovery;
pub(crate) mod door;
pub(crate) mod driver;
mod federation;
pub mod home;
pub(crate) mod identity;
pub(crate) mod link;
pub mod network;
pub mod observe;
pub mod redaction;
pub(crate) mod registry;
#[cfg(test)]
mod scratch;
mod search;
pub(crate) mod store;
pub(crate) mod tool;

/// What is said on topics, and by whom it may be.
pub mod gossip {
    pub use crate::network::{Handling, OwnRole, Said, TopicError, Topics};
    pub use comity_core::topic::Topic;
    pub use comity_core::wire::gossip::{Group, Kind, Priority};
}

/// Channels shared with other organisations.
pub mod channels {
    pub use crate::network::{ChannelError, ChannelEvents, ChannelView, Channels};
    pub use comity_core::federation::{Authored, ChannelId, Event, EventId, Order, Origin};
}

/// Who does a task that several nodes want.
pub mod claims {
    pub use crate::network::{ClaimError, Claims, Taken, TaskChange, TaskChanges, TaskView};
    pub use comity_core::claim::{BadTaskId, Lost, Mine, Outcome, Refused, Standing, Task, TaskId};
}

pub use comity_core::announced::AnnouncedPeer;
pub use comity_core::card::Card;
pub use comity_core::channel::Channel;
pub use comity_core::envelope::{Kind, Priority, Via};
pub use comity_core::id::{MessageId, NodeId, PeerId};
pub use comity_core::identity::trust::Trust;
pub use comity_core::inbox::{Digest, Mode, Sample};
pub use comity_core::ledger::{Fate, FateKind};
pub use comity_core::node::Refusal;
pub use comity_core::peers::{PeerView, Presence, Reach, Source, Way};
pub use federation::{BadAuthorities, BadFederation};
#[doc(hidden)]
pub use link::gossip::memory as gossip_in_memory;
pub use network::{AppConfig, Message, Network};
pub use search::{IndexOpenError, NoEncoder, TableCause, fetching, reading};
pub use store::link::{DatabaseError, NotAServerUrl, ServerUrl};
pub use store::registry::RegistryError;
pub use store::tasks::QueueError;
pub use store::{StoreError, journal};
