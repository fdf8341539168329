//! The arguments of what is about other origins: `comity channel` and `comity federation`.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What to do about channels.
#[derive(Debug, Subcommand)]
pub(crate) enum ChannelCommand {
    /// Make a channel, which this node's origin orders and administers
    Create {
        /// Its name: letters (a to z), digits, dots, hyphens and underscores
        name: String,
        /// What it is about
        #[arg(long, value_name = "TEXT")]
        about: Option<String>,
        /// Let new members see all of it, and not only what is said after they joined
        #[arg(long)]
        all_history: bool,
    },
    /// Invite an origin to a channel of this one
    ///
    /// Its people accept there; the invitation is handed over as soon as that origin can be reached.
    Invite {
        /// The channel: `project`, or `!project:example.org`
        channel: String,
        /// The origin, as in `partner.example`
        origin: String,
    },
    /// Show the invitations that nobody has answered
    Invitations,
    /// Accept an invitation
    Accept(Which),
    /// Do not accept an invitation
    Decline(Which),
    /// Accept an invitation (the same as `accept`)
    Join(Which),
    /// Leave a channel
    Leave(Which),
    /// Remove an origin from a channel of this one
    Remove {
        /// The channel: `project`, or `!project:example.org`
        channel: String,
        /// The origin
        origin: String,
    },
    /// Say what a channel of this origin is about
    About {
        /// The channel: `project`, or `!project:example.org`
        channel: String,
        /// What it is about
        about: String,
    },
    /// List the channels
    List,
    /// Show who is a member
    Members(Which),
    /// Show events, the last ones first to come
    Log(Log),
    /// Check all signatures of a channel, and that nothing is missing, changed or moved
    ///
    /// With --file no node is asked, and nothing but the file is read: it says itself whose keys count, so compare them
    /// with those that you know (`comity federation status`).
    Verify(VerifyChannel),
    /// Print what proves that a channel's hub showed two histories, as JSON
    ///
    /// Each proof has the two places that the hub signed, and holds for anybody who knows its key: `channel`, and in
    /// `orders` twice `id`, `seq`, `prev_event`, `hub_ts`, `term`, `hub_key_id` and `hub_sig`.
    Proof(Which),
    /// Let a channel of this origin go on without members that cannot be reached
    ///
    /// A hub that starts asks its members for what it may have lost, and takes nothing until each has answered, for a
    /// minute. What only they have of it is withdrawn there, and said again by whom it was.
    Force(Which),
}

/// Which channel.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The channel: `!project:example.org`, or `project` for one of this origin
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) channel: String,
}

/// Arguments of `comity channel log`.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// The channel: `!project:example.org`, or `project` for one of this origin
    pub(crate) channel: String,
    /// How many of the last events
    #[arg(short = 'n', long = "lines", value_name = "COUNT", default_value_t = 20)]
    pub(crate) lines: u64,
    /// All events after this one, instead
    #[arg(long, value_name = "SEQ", conflicts_with = "lines")]
    pub(crate) after: Option<u64>,
    /// Go on, and show every event that comes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Write all of it as JSON Lines, with the keys by which it can be verified, into this file; `-` is standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lines", "after", "follow"])]
    pub(crate) export: Option<PathBuf>,
}

/// Arguments of `comity channel verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyChannel {
    /// The channel: `!project:example.org`, or `project` for one of this origin
    #[arg(required_unless_present = "file")]
    pub(crate) channel: Option<String>,
    /// A log that `comity channel log --export` wrote
    #[arg(long, value_name = "FILE", conflicts_with = "channel")]
    pub(crate) file: Option<PathBuf>,
    /// The last event that must be there, as `SEQ:ID`: without it nobody can tell whether the end was cut off
    #[arg(long, value_name = "SEQ:ID")]
    pub(crate) head: Option<String>,
    /// Only note where events of an author are missing: the hub refused them, or holds them back
    #[arg(long)]
    pub(crate) gaps: bool,
}

/// What to do about federation.
#[derive(Debug, Subcommand)]
pub(crate) enum Federation {
    /// Show the origin that this node speaks for, and those that it knows: their keys, and what waits for them
    Status,
}
