//! The text frames of a link: `hello`, `channels`, `subscribe`, `unsubscribe`, `receipt`, `ping`,
//! `pong`. See "Links" in `protocols/local-network.md`.

use crate::channel::Channel;
use crate::id::MessageId;
use crate::ledger::FateKind;

/// A control frame of a link, apart from `hello`, which the body exchanges before the rules hear
/// of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// More channel names for the table by which compact messages name channels.
    Channels(Vec<Channel>),
    /// The sender listens to this channel from now on; without its background messages if `quiet`.
    Subscribe {
        /// The channel.
        channel: Channel,
        /// Leave out background messages.
        quiet: bool,
    },
    /// The sender listens to this channel no more.
    Unsubscribe(Channel),
    /// What became of messages.
    Receipt(Receipt),
    /// Are you there?
    Ping {
        /// Any number; the pong repeats it.
        nonce: u64,
        /// The sender's wall clock, Unix ms, by which the skew is measured.
        ts: u64,
    },
    /// Yes.
    Pong {
        /// The number of the ping.
        nonce: u64,
        /// The answering side's wall clock, Unix ms.
        ts: u64,
    },
    /// The sender leaves on purpose.
    Goodbye {
        /// Why, in its words.
        reason: String,
    },
}

/// What became of messages that came over a link. Both sides count the messages that carry an id,
/// in the order of the link: all up to `received` have arrived, and those without a fate of their
/// own were delivered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// How many messages with an id have been taken from this link so far.
    pub received: u64,
    /// The ones that were not simply delivered.
    pub fates: Vec<(MessageId, FateKind)>,
}
