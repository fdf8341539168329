//! What this process and the control door can ask of a node, what a message to be sent says, and
//! how every question is answered or refused.

use crate::channel::Channel;
use crate::envelope::{Kind, Priority, Received, Ttl};
use crate::id::{ListenerId, MessageId, NodeId, PeerId};
use crate::inbox::{Digest, Item, Mode};
use crate::ledger::{Fate, FateKind};
use crate::payload::Payload;
use crate::peers::Candidate;
use crate::time::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
/// What somebody asks of the node.
#[derive(Debug, Clone)]
pub enum Ask {
    /// Send a message; [`Answer::Sent`].
    Send(Send),
    /// Send a query and wait for its answer; [`Answer::Response`] or [`Answer::Refused`].
    Request {
        /// The query.
        send: Send,
        /// How long to wait.
        timeout: Duration,
    },
    /// Answer a query; [`Answer::Sent`].
    Respond {
        /// The query.
        query: MessageId,
        /// Who asked.
        to: PeerId,
        /// What to say.
        payload: Payload,
    },
    /// Hand matching messages to this listener from now on; [`Answer::Done`].
    Listen {
        /// The listener.
        listener: ListenerId,
        /// What it wants.
        filter: ListenFilter,
    },
    /// Stop; [`Answer::Done`].
    Unlisten(ListenerId),
    /// Listen to what is said to all on a channel, with or without its background messages. What is
    /// addressed to this node alone passes on any channel. [`Answer::Done`].
    Subscribe {
        /// The channel.
        channel: Channel,
        /// Leave out background messages.
        quiet: bool,
    },
    /// Stop listening to a channel; [`Answer::Done`].
    Unsubscribe(Channel),
    /// Change the attention mode; [`Answer::Done`].
    SetMode(Mode),
    /// Keep what a part of the body wants back after a restart, under this name; [`Answer::Done`].
    Keep {
        /// The name, none of the node's own settings.
        name: &'static str,
        /// What is kept.
        value: Value,
    },
    /// Say what this node is doing (`None`: nothing), to everybody; [`Answer::Done`].
    SetStatus(Option<Value>),
    /// Take the next messages out of the inbox: the oldest critical first, then the oldest;
    /// [`Answer::Items`], once a crash can no longer bring them back.
    Take {
        /// At most so many.
        limit: usize,
    },
    /// Look at the inbox: [`Answer::Items`].
    Peek {
        /// Only items that arrived later than this number.
        after: u64,
        /// At most so many.
        limit: usize,
    },
    /// Acknowledge items by their arrival numbers; [`Answer::Done`].
    Ack(Vec<u64>),
    /// The digest so far: [`Answer::Digest`]. Taking it empties it, and is answered once a crash can no longer
    /// bring it back.
    Digest {
        /// Whether to empty it.
        take: bool,
    },
    /// What became of a message: [`Answer::Fates`].
    Why(MessageId),
    /// A peer named by a person: its address is dialled, whatever the guard says of the network.
    AddPeer(Vec<Candidate>),
    /// Put a key on the list of known nodes, or take it off; [`Answer::Done`].
    Know {
        /// The key.
        key: NodeId,
        /// On or off.
        known: bool,
    },
    /// Send what is queued, then say goodbye to everybody; [`Answer::Done`] when all is out.
    Leave {
        /// The reason that peers without links are told; a link's goodbye says only that the node leaves.
        reason: String,
    },
}

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct Send {
    /// Its id, made by the caller.
    pub id: MessageId,
    /// One peer, or everybody who listens to the channel.
    pub to: Option<PeerId>,
    /// What it is.
    pub kind: Kind,
    /// The channel.
    pub channel: Channel,
    /// What it says.
    pub payload: Payload,
    /// How urgent it is.
    pub priority: Priority,
    /// For how long it may be delivered.
    pub ttl: Ttl,
    /// What it answers.
    pub reply_to: Option<MessageId>,
    /// The conversation it belongs to.
    pub thread: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Sealed for `to`: the payload is readable by nobody else. The body seals before it asks.
    pub sealed_at: Option<Timestamp>,
}

/// What a listener wants to be handed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenFilter {
    /// Whatever the attention mode gives at once.
    All,
    /// The same, on one channel.
    Channel(Channel),
    /// The same, of one peer.
    Peer(PeerId),
    /// All that is heard on a topic of gossip, whatever the attention mode: a program deals with it.
    Topic(Channel),
    /// Queries, which this listener will answer with [`Ask::Respond`].
    Queries,
}

/// The answer to a [`Ticket`](crate::id::Ticket).
#[derive(Debug, Clone)]
pub enum Answer {
    /// It is so.
    Done,
    /// The message was taken up; `peers` is how many it is meant for now.
    Sent {
        /// The message.
        id: MessageId,
        /// How many peers it was queued for.
        peers: usize,
    },
    /// A message that came by a door is delivered, digested, or safe on disk.
    Accepted,
    /// No.
    Refused(Refusal),
    /// The answer to a query.
    Response(Arc<Received>),
    /// Items of the inbox.
    Items(Vec<Arc<Item>>),
    /// A digest.
    Digest(Digest),
    /// What became of a message, oldest first; empty when nothing is known (any more).
    Fates(Vec<Fate>),
}

/// Why something was refused: a stable code, and the facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The sender may not be admitted with this trust; `known` or `verified` is wanted.
    #[error("this node admits only {wanted} peers")]
    NotAdmitted {
        /// The level that is wanted.
        wanted: &'static str,
    },
    /// `from` is not the UUID of the proven key, or belongs to somebody who proved it.
    #[error("from is not the sender's own id")]
    Forged,
    /// Older than its ttl.
    #[error("the message has expired")]
    Expired,
    /// From the future.
    #[error("the message was written {ahead_ms} ms in the future")]
    FromTheFuture {
        /// By how much.
        ahead_ms: u64,
    },
    /// Seen before.
    #[error("the message was already received")]
    Duplicate,
    /// Too many, too fast.
    #[error("too many messages: wait {} ms", retry_after.as_millis())]
    RateLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// This node does not listen to the channel.
    #[error("this node does not listen to {0}")]
    UnknownChannel(Channel),
    /// Meant for somebody else.
    #[error("the message is for another peer")]
    WrongDestination,
    /// No such peer in the peer book.
    #[error("no peer {0} is known here")]
    UnknownPeer(PeerId),
    /// The peer cannot be reached now.
    #[error("the peer cannot be reached")]
    Unreachable,
    /// No room for it; try later.
    #[error("{what} is full")]
    Full {
        /// What is full.
        what: &'static str,
    },
    /// The disk does not take it.
    #[error("the disk does not take it")]
    Disk,
    /// The peer did not take it.
    #[error("the peer did not take it: {}", fate.name())]
    Undelivered {
        /// What became of it.
        fate: FateKind,
    },
    /// No answer came in time.
    #[error("no answer came within {} ms", after.as_millis())]
    TimedOut {
        /// The time waited.
        after: Duration,
    },
    /// Only peers with a key can open sealed messages.
    #[error("the peer has no key to seal for")]
    NoKey,
    /// The payload does not fit.
    #[error("the payload is larger than {max} bytes")]
    TooLarge {
        /// The most allowed.
        max: usize,
    },
    /// A query that nobody here answers.
    #[error("nobody here answers queries")]
    NoAnswerer,
    /// A response that nobody waits for any more.
    #[error("nobody waits for this answer any more")]
    Late,
    /// The node is leaving.
    #[error("this node is leaving")]
    Leaving,
}
