//! Everything a node can be told, and everything it can want done: two closed lists, the whole
//! boundary between the rules and the body (or the simulator).

use crate::card::Card;
use crate::channel::Channel;
use crate::envelope::{Kind, Message, Priority, Received, Ttl};
use crate::id::{DialId, LinkId, ListenerId, MessageId, NodeId, PeerId, Ticket};
use crate::inbox::{Digest, Item, Mode};
use crate::ledger::{Fate, FateKind};
use crate::payload::Payload;
use crate::peers::{Candidate, PeerView, Sighting, Source};
use crate::time::Timestamp;
use crate::wire::frame::Frame;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A source of discovery saw a peer.
    Sighted(Sighting),
    /// A source of discovery heard a peer say goodbye, or its record ran out.
    Unsighted {
        /// Who noticed.
        source: Source,
        /// The peer's UUID as it was advertised.
        peer: PeerId,
        /// Whether the peer said so itself.
        goodbye: bool,
    },
    /// A source of discovery started to work, or cannot.
    Source {
        /// Which one.
        source: Source,
        /// How it is.
        health: SourceHealth,
    },
    /// The addresses of this machine, at start and whenever they change.
    Interfaces(Vec<ipnet::IpNet>),
    /// A [`Effect::Dial`] ended.
    Dialed {
        /// Which one.
        dial: DialId,
        /// How it ended.
        outcome: DialOutcome,
    },
    /// A link is up: TLS proved the key and both hellos are through.
    LinkUp {
        /// The new link.
        link: LinkId,
        /// The dial that made it; `None` when the other side dialled.
        dial: Option<DialId>,
        /// The proven key.
        key: NodeId,
        /// The other side's address.
        remote: SocketAddr,
        /// What the other side said of itself; its signature was checked.
        card: Box<Card>,
        /// The other side's start, so that a restart is noticed.
        boot: Boot,
        /// The channels the other side listens to, and whether it leaves out background messages.
        subscriptions: Vec<(Channel, bool)>,
    },
    /// A node with this node's own key dialled us.
    Twin {
        /// From where.
        address: SocketAddr,
    },
    /// A link is gone.
    LinkDown {
        /// Which one.
        link: LinkId,
        /// Why.
        loss: LinkLoss,
    },
    /// Messages came over a link, decoded; their `from` is not yet checked.
    Messages {
        /// The link.
        link: LinkId,
        /// The messages of one frame, in order.
        batch: Vec<Message>,
        /// How many more the decoder dropped by cause, already counted by the body.
        dropped: u32,
    },
    /// A control frame came over a link.
    Frame {
        /// The link.
        link: LinkId,
        /// The frame.
        frame: Frame,
    },
    /// The link's writer has put these on the wire; there is room for as many again.
    Written {
        /// The link.
        link: LinkId,
        /// How many messages.
        messages: u32,
        /// How much they weighed ([`Message::weight`]).
        weight: usize,
    },
    /// A message came by a door.
    Arrived {
        /// The door's question; answered by [`Answer::Accepted`] or [`Answer::Refused`].
        ticket: Ticket,
        /// The message.
        message: Box<Message>,
        /// Who brought it.
        proof: Proof,
    },
    /// A [`Effect::Post`] ended.
    Posted {
        /// The message.
        message: MessageId,
        /// To whom.
        peer: PeerId,
        /// Whether the coded spelling was the one that was tried last.
        coded: bool,
        /// `Ok` when it was accepted; else the status or failure in a word, and whether to try again.
        outcome: Result<(), PostFailure>,
    },
    /// Somebody in this process, or behind the control door, asks for something.
    Asked {
        /// Answered exactly once.
        ticket: Ticket,
        /// For what.
        ask: Ask,
    },
    /// A listener could not take what it was handed: it goes to the inbox instead.
    Overflowed {
        /// The listener.
        listener: ListenerId,
        /// What it did not get.
        received: Arc<Received>,
    },
    /// Every record up to this number is on disk.
    Committed {
        /// The number of the last durable [`Effect::Persist`].
        upto: u64,
    },
    /// The disk refused records from this number on; they are lost.
    NotCommitted {
        /// The first lost record.
        from: u64,
    },
    /// Time has passed: the deadline given by `Node::wake_at` is here.
    Wake,
}

/// Why a POST to a foreign peer did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostFailure {
    /// Nobody answered there.
    Unreachable,
    /// It answered with this HTTP status.
    Status(u16),
}

/// Whether a source of discovery works here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceHealth {
    /// It works.
    Up,
    /// It was switched off.
    Off,
    /// It cannot work here; the sentence says why and what to do.
    Failed(String),
}

/// A random number of one start of a node: tells a restart, and a twin with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(pub Uuid);

/// How a dial ended without a link.
#[derive(Debug, Clone)]
pub enum DialOutcome {
    /// A link came up: told by [`Input::LinkUp`]; this only says which candidate won.
    Linked(SocketAddr),
    /// A peer without a link protocol answered its status by plain HTTP.
    Plain {
        /// Where.
        address: SocketAddr,
        /// What it said of itself, unproven.
        sighting: Box<Sighting>,
    },
    /// Nobody usable answered at any candidate.
    Failed(Vec<(Candidate, DialFailure)>),
}

/// Why one candidate did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DialFailure {
    /// Refused, unreachable or timed out.
    Unreachable,
    /// The handshake failed: the other side speaks no TLS, or other protocol versions.
    Handshake,
    /// Somebody with another key answered.
    WrongKey,
    /// We reached ourselves.
    Ourselves,
    /// Another node with our own key answered.
    Twin,
    /// It speaks, but not our protocol version.
    Incompatible,
    /// It refused us.
    Refused,
}

/// Why a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkLoss {
    /// The other side closed it after a goodbye.
    Goodbye,
    /// The connection broke, or was closed without a goodbye.
    Broken,
    /// The rules asked for it ([`Effect::Close`]).
    Closed,
    /// The other side broke the link protocol.
    Malformed,
}

/// Who brought a message to a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// The door it came by.
    pub via: crate::envelope::Via,
    /// The address it came from.
    pub address: IpAddr,
    /// The key proven for this message (its `sig`, or the client certificate), if any.
    pub key: Option<NodeId>,
}

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
    /// Listen to a channel, with or without its background messages; [`Answer::Done`].
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
    /// The digest so far: [`Answer::Digest`]. Taking it empties it.
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
    /// Say goodbye to everybody and send what is queued; [`Answer::Done`] when all is out.
    Leave {
        /// The reason given.
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
    /// Queries, which this listener will answer with [`Ask::Respond`].
    Queries,
}

/// The answer to a [`Ticket`].
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

/// What must be done. Effects are performed in order.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Reach a peer: race the candidates in this order; [`Input::Dialed`] tells the end.
    Dial {
        /// This attempt.
        dial: DialId,
        /// The key that must answer; `None` when it is not known yet.
        expect: Option<NodeId>,
        /// Where, best first; every one has passed the dial guard.
        candidates: Vec<Candidate>,
    },
    /// Write this message to the link.
    Transmit {
        /// The link.
        link: LinkId,
        /// The message.
        message: Arc<Message>,
    },
    /// Write this control frame to the link.
    Control {
        /// The link.
        link: LinkId,
        /// The frame.
        frame: Frame,
    },
    /// Close the link, after what was already written; a goodbye is said when `goodbye`.
    Close {
        /// The link.
        link: LinkId,
        /// Whether this node is leaving.
        goodbye: bool,
    },
    /// POST this message to a peer without links; [`Input::Posted`] tells the end.
    Post {
        /// To whom.
        peer: PeerId,
        /// Where.
        address: SocketAddr,
        /// Write the coded spelling, which this peer is known to want.
        coded: bool,
        /// What.
        message: Arc<Message>,
    },
    /// Hand a message to a listener.
    Deliver {
        /// To whom.
        listener: ListenerId,
        /// What.
        received: Arc<Received>,
    },
    /// Tell everybody who watches this node.
    Emit(Event),
    /// Answer a question.
    Answer {
        /// Which one.
        ticket: Ticket,
        /// The answer.
        answer: Answer,
    },
    /// Put a record on disk; [`Input::Committed`] tells when it is safe. Numbers rise by one.
    Persist {
        /// The record's number.
        number: u64,
        /// What to keep.
        record: Record,
    },
    /// Senders to this peer should wait (`true`) or may go on.
    Pressure {
        /// The peer.
        peer: PeerId,
        /// Whether to wait.
        on: bool,
    },
    /// What discovery says about this node has changed: publish the card anew.
    Announce,
}

/// What a watcher of this node sees.
#[derive(Debug, Clone)]
pub enum Event {
    /// A message was admitted.
    Message(Arc<Received>),
    /// A peer became present.
    PeerJoined(Box<PeerView>),
    /// A peer said goodbye or was lost.
    PeerLeft {
        /// The peer.
        peer: PeerId,
        /// Its name.
        name: String,
        /// Whether it said goodbye.
        goodbye: bool,
    },
    /// Something else about a peer changed.
    PeerUpdated(Box<PeerView>),
    /// A peer said what it is doing.
    PeerStatus {
        /// The peer.
        peer: PeerId,
        /// What it said.
        status: Option<Value>,
    },
    /// This node's own status changed.
    OwnStatus(Option<Value>),
    /// Another node answers with this node's key.
    Twin {
        /// Where.
        address: SocketAddr,
    },
    /// Somebody who claimed a peer's id was evicted by the peer's proven key.
    Evicted {
        /// The id.
        peer: PeerId,
        /// The name that was claimed.
        name: String,
    },
}

/// What is kept on disk.
#[derive(Debug, Clone)]
pub enum Record {
    /// An item of the inbox.
    ItemAdded(Arc<Item>),
    /// An item left the inbox.
    ItemRemoved {
        /// Its arrival number.
        arrival: u64,
    },
    /// A message id that must be remembered.
    Seen {
        /// Who sent it.
        from: PeerId,
        /// The id.
        id: MessageId,
        /// Until when.
        until: Timestamp,
    },
    /// A digest that was cut and not yet taken; replaces the one before.
    Digest(Box<Digest>),
    /// Own settings: subscriptions, mode, known keys; replaces what was there under the name.
    Setting {
        /// Its name.
        name: &'static str,
        /// Its value, JSON.
        value: Value,
    },
}

/// What the disk gives back at start.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// The items of the inbox, by arrival number.
    pub items: Vec<Item>,
    /// The highest arrival number ever given.
    pub last_arrival: u64,
    /// Ids that must still be remembered.
    pub seen: Vec<(PeerId, MessageId, Timestamp)>,
    /// The digest that was not taken.
    pub digest: Option<Digest>,
    /// Own settings.
    pub settings: Vec<(String, Value)>,
}

/// Deadlines of a node. Each is set by the part that owns it and judged when it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// When to look whether a link has been silent for too long.
    Silence(LinkId),
    /// When to tell the sender what became of its messages.
    Receipts(LinkId),
    /// When to dial a peer again.
    Redial(PeerId),
    /// When to try the addresses again that people named and that have not answered yet.
    Named,
    /// When to give up waiting for an answer.
    Request(MessageId),
    /// When to look for peers that have been silent for too long, and to send heartbeats.
    Heartbeat,
    /// When to cut the digest.
    Digest,
    /// When to forget what is too old: seen ids, fates, expired messages, throttle entries.
    Sweep,
    /// When to stop waiting for queues to drain and leave.
    Leave,
}
