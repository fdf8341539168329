//! Everything a node can be told, and everything it can want done: two closed lists, the whole
//! boundary between the rules and the body (or the simulator).

use super::{Answer, Ask};
use crate::card::Card;
use crate::channel::Channel;
use crate::envelope::{Message, Received};
use crate::id::{DialId, LinkId, ListenerId, MessageId, NodeId, PeerId, Ticket};
use crate::inbox::{Digest, Item};
use crate::peers::{Candidate, PeerView, Sighting, Source, Way};
use crate::time::Timestamp;
use crate::wire::compact::Unreadable;
use crate::wire::frame::Frame;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use uuid::Uuid;

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A source of discovery saw a peer.
    Sighted(Sighting),
    /// A source of discovery heard a peer say goodbye, or its record ran out: which of both is not told.
    Unsighted {
        /// Who noticed.
        source: Source,
        /// The peer's UUID as it was advertised.
        peer: PeerId,
    },
    /// Somebody says, without proof, that a peer is gone: it is tried.
    Doubted {
        /// The peer.
        peer: PeerId,
    },
    /// Somebody here wants to be connected with a peer.
    Wanted {
        /// The peer.
        peer: PeerId,
    },
    /// The owner of this node stands for a key: that of the page in the owner's own browser.
    Vouched {
        /// The key.
        key: NodeId,
    },
    /// A peer's own attempt at a WebRTC connection came to nothing.
    Unmet {
        /// The peer.
        peer: PeerId,
    },
    /// A connection for gossip is up, on which a node proved its key.
    Met {
        /// Who.
        key: NodeId,
        /// Its address: where this node dialled it, or where its packets come from.
        remote: Option<SocketAddr>,
        /// Whether this node dialled it there.
        dialed: bool,
    },
    /// The last connection for gossip with a node is gone.
    Parted {
        /// Who.
        key: NodeId,
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
        /// The other side's address: where this node dialled it, or where its packets come from.
        remote: SocketAddr,
        /// What its packets go through.
        way: Way,
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
    /// The packets of a link go another way from now on.
    LinkMoved {
        /// Which one.
        link: LinkId,
        /// The other side's address.
        remote: SocketAddr,
        /// What they go through.
        way: Way,
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
        /// Those between them that the decoder could not read.
        unreadable: Vec<Unreadable>,
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
    /// The other side connects at the same time, and its attempt goes first.
    Yielded,
    /// No path was found to a peer that was signalled to.
    NoPath {
        /// What servers and signals were to blame for, in words.
        reasons: Vec<String>,
    },
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
    /// Its card is from another time: one of the clocks is wrong.
    Clock,
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
    /// Connect to a peer by WebRTC; [`Input::Dialed`] tells the end.
    Connect {
        /// This attempt.
        dial: DialId,
        /// The key that must sign and answer.
        peer: NodeId,
        /// Where it takes signaling over HTTP, and under which path; the address has passed the dial
        /// guard. Else, and when nobody answers there, signals go through the brokers.
        place: Option<(SocketAddr, String)>,
    },
    /// Nothing is heard over this link by WebRTC: look for another path.
    Repath {
        /// The link.
        link: LinkId,
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
    /// Somebody who claimed the id, the name or the address of a peer that proved its key was taken out of the book.
    /// That it left, if it was here, is an event of its own.
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
    /// When a peer that missed its pings has not been reached again and is unreachable.
    Missed(PeerId),
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
