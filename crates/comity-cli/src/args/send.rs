//! The arguments of `comity send`.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use comity_core::envelope::Priority;
use comity_core::wire::control::Name;
use comity_core::wire::gossip;
use uuid::Uuid;

/// Arguments of `comity send`.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// A peer (name, UUID, node id or its first eight characters), a channel (`_status`, `custom:x`), a topic
    /// (`CHORUS/coordination/v1`) or a channel shared with other origins (`!project:example.org`)
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) target: String,
    /// What to say: valid JSON is taken as JSON, anything else as text; `-` reads standard input
    #[arg(allow_hyphen_values = true)]
    pub(crate) payload: String,
    /// The channel of a message to one peer
    #[arg(long, value_name = "C")]
    pub(crate) channel: Option<String>,
    /// What it is: one of the types of messages, or of topics, or any name on a channel shared with other origins
    /// [default: what the channel is for]
    #[arg(long = "type", value_name = "T")]
    pub(crate) kind: Option<String>,
    /// How urgent it is [default: as the channel is]
    #[arg(long, value_name = "P", value_parser = one_of::<Priority, gossip::Priority>)]
    pub(crate) priority: Option<OneOf<Priority, gossip::Priority>>,
    /// The role that a message on a topic is for; may be repeated
    #[arg(long = "to-role", value_name = "ROLE")]
    pub(crate) to_roles: Vec<String>,
    /// What whoever reads a message on a topic must know about; may be repeated
    #[arg(long = "expertise", value_name = "WHAT")]
    pub(crate) expertise: Vec<String>,
    /// The project that a message on a topic belongs to
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Option<String>,
    /// The conversation that it belongs to
    #[arg(long, value_name = "THREAD")]
    pub(crate) thread: Option<String>,
    /// Say it in the node's role (`comity role set`)
    #[arg(long)]
    pub(crate) as_role: bool,
    /// For how many seconds it may be delivered, at most 3600 [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) ttl: Option<u64>,
    /// Seal it: nobody but that one peer can read it
    #[arg(long)]
    pub(crate) sealed: bool,
    /// The message it answers
    #[arg(long, value_name = "MESSAGE", value_parser = super::message_id)]
    pub(crate) reply_to: Option<Uuid>,
}

/// A value of one of two closed lists, as what it is for has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OneOf<T, U> {
    /// Of the first, or of both.
    First(T),
    /// Of the second alone.
    Second(U),
}

/// A value of one of two closed lists, by its name.
/// Reads a value of one of two closed lists.
pub(crate) fn one_of<T: Name, U: Name>(text: &str) -> Result<OneOf<T, U>, String> {
    let second = || U::of(text).map(OneOf::Second);
    let wrong = || format!("one of {} is wanted, or on a topic one of {}", T::choices(), U::choices());
    T::of(text).map(OneOf::First).or_else(second).ok_or_else(wrong)
}
