//! Everything that the task of federation can be told ([`Told`]), and what it answers.

use super::Invited;
use super::comparing::Compared;
use super::room::{Ends, Saying, Taken};
use super::run::CHANNELS_MAX;
use super::sending::{Given, Sent};
use crate::store::federation::{Invitation, Role as KeptRole};
use comity_core::federation::heads::Proof;
use comity_core::federation::hub::{Outcome, Shown};
use comity_core::federation::participant::{self, NotKept};
use comity_core::federation::roster::{Roster, Standing};
use comity_core::federation::{Authored, ChannelId, Event, EventId, Order, Origin};
use comity_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What happens.
#[derive(Debug)]
pub(super) enum Told {
    /// Another origin submits its own events. Whoever no channel knows is told the same, whether there is one or not.
    Submitted { from: Origin, channel: ChannelId, events: Vec<Arc<Authored>>, reply: oneshot::Sender<Vec<Outcome>> },
    /// A hub hands over events, signed at this time.
    Delivered { channel: ChannelId, events: Vec<Event>, at: Timestamp, reply: oneshot::Sender<Taken> },
    /// An origin asks where a line ends, in a request that it signed at this time.
    HeadAsked { from: Origin, channel: ChannelId, at: Timestamp, reply: oneshot::Sender<Option<Ends>> },
    /// A hub invites.
    Invited { channel: ChannelId, invitation: Box<Invitation>, reply: oneshot::Sender<Invited> },
    /// Somebody wants to see what an origin may see of a channel.
    Look { channel: ChannelId, origin: Origin, reply: oneshot::Sender<Option<Sight>> },
    /// An origin that asked for events is given those after the first of these two, up to the second.
    PageGiven { channel: ChannelId, origin: Origin, page: (u64, u64), is_last: bool },
    /// Somebody wants to see one channel.
    View { channel: ChannelId, reply: oneshot::Sender<Option<Box<RoomView>>> },
    /// Somebody wants what proves that the hub of a channel showed two histories.
    Proofs { channel: ChannelId, reply: oneshot::Sender<Option<Vec<String>>> },
    /// Somebody wants to see all channels.
    LookAround(oneshot::Sender<Around>),
    /// Somebody here wants a channel.
    Create { channel: ChannelId, all_history: bool, reply: oneshot::Sender<Result<Begun, Refused>> },
    /// Somebody here says something.
    Say { channel: ChannelId, saying: Saying, reply: oneshot::Sender<Result<Begun, Refused>> },
    /// Somebody here accepts an invitation, or does not.
    Answer { channel: ChannelId, accepts: bool, reply: oneshot::Sender<Result<Begun, Refused>> },
    /// Somebody here lets a line go on without members that cannot be reached.
    Force { channel: ChannelId, reply: oneshot::Sender<Result<(), Refused>> },
    /// A transaction ended.
    Sent { to: Origin, sent: Sent },
    /// The hub gave events, or not.
    Fetched { channel: ChannelId, outcome: Result<Given, String> },
    /// An origin said where its line ends, and in which term, or not; and what it shows of that with this hub's signature.
    Head { channel: ChannelId, member: Origin, head: Option<(u64, u64)>, shown: Option<Shown> },
    /// A line was compared.
    Compared { channel: ChannelId, compared: Compared },
    /// A hub said that it has a line up to this event, or did not say how far; it was asked at this time.
    HubHas { channel: ChannelId, at: Timestamp, upto: u64 },
    /// What a line says up to where the hub goes on without the rest.
    Parted { channel: ChannelId, kept: Box<participant::Summary>, theirs: Box<Order> },
    /// Two events that a hub signed for one place.
    Proven { channel: ChannelId, proof: Box<Proof> },
    /// Somebody shows events, and wants to know up to where each line is on disk that has changed since it asked last.
    Ends(oneshot::Sender<Vec<LineEnd>>),
    /// A member gave events.
    Recovered { channel: ChannelId, member: Origin, events: Vec<Event> },
    /// Somebody who is invited answered, or not.
    Invitee { channel: ChannelId, member: Origin, is_told: bool },
    /// The disk has, or has not, what a channel wrote.
    Stored { number: u64, upto: u64, is_safe: bool },
    /// A channel was read anew.
    Reopened { channel: ChannelId, role: Option<KeptRole> },
    /// The node ends.
    End,
}

/// Up to where a line is on disk.
#[derive(Debug, Clone)]
pub(super) struct LineEnd {
    pub(super) channel: ChannelId,
    pub(super) number: u64,
    pub(super) last: u64,
    /// The last event that stayed when some were withdrawn, since this was asked last.
    pub(super) withdrawn: Option<u64>,
}

/// What is begun.
#[derive(Debug)]
pub(super) enum Begun {
    /// It is this hub's, under this id: what becomes of it.
    AtHub { id: EventId, outcomes: oneshot::Receiver<Vec<Outcome>> },
    /// It waits for the hub, once it is on disk.
    Waits(oneshot::Receiver<Result<(), NotKept>>),
    /// There is nothing more to wait for.
    Nothing,
}

/// Why something that somebody here wants is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// No such channel.
    #[error("this node takes part in no channel {0}")]
    UnknownChannel(ChannelId),
    /// It is there already.
    #[error("there is a channel {0} already")]
    Exists(ChannelId),
    /// Nobody invited this origin.
    #[error("nobody invited this origin to {0}")]
    NotInvited(ChannelId),
    /// Only the hub does this.
    #[error("only {0} does this: it orders the channel")]
    NotHub(Origin),
    /// There are too many.
    #[error("this node takes part in {CHANNELS_MAX} channels already")]
    TooMany,
    /// It waits already.
    #[error("this hub waits for nobody")]
    WaitsForNobody,
}

/// What an origin may see of a channel.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    /// The channel's number on disk.
    pub(super) number: u64,
    /// The first and the last event that it may see, of those on disk; the last is before the first where there is none.
    pub(super) view: (u64, u64),
    /// The last event that is on disk.
    pub(super) whole: u64,
    /// How it stands.
    pub(super) standing: Standing,
    /// Who is a member.
    pub(super) roster: Roster,
}

/// All that there is.
#[derive(Debug, Clone, Default)]
pub(super) struct Around {
    pub(super) rooms: Vec<RoomView>,
    pub(super) invitations: Vec<(ChannelId, Invitation)>,
    /// How many events wait for each origin, and how often it could not be reached.
    pub(super) outboxes: BTreeMap<Origin, (u64, u32)>,
}

/// A channel as it is shown.
#[derive(Debug, Clone)]
pub(super) struct RoomView {
    pub(super) id: ChannelId,
    pub(super) number: u64,
    pub(super) is_hub: bool,
    pub(super) roster: Roster,
    pub(super) ready: u64,
    pub(super) last: Option<(u64, EventId)>,
    pub(super) waiting: u64,
    pub(super) is_caught_up: bool,
    pub(super) unheard: Vec<Origin>,
    pub(super) faults: Vec<String>,
}
