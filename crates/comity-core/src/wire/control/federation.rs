//! Federation as the control door takes and gives it: channels, invitations, and what is known of other origins. Events
//! of channels go as they are on the wire (`protocols/federation.md`).

use super::rfc3339;
use crate::time::Timestamp;
use crate::wire::federation::body::Member;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A channel to be made, of which this node is the hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// Its name: 1 to 64 letters, digits, dots, hyphens and underscores.
    pub name: String,
    /// What it is about, at most 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Whether new members see all of it, and not only what is said from then on.
    #[serde(default)]
    pub all_history: bool,
}

/// Something to be done about a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelStep {
    /// The channel: `!<name>:<origin>`, or its name where this node is its hub.
    pub channel: String,
    /// What.
    pub step: ChannelAct,
    /// Whom it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// What the channel is about from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

/// What can be done about a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelAct {
    /// An origin may join; its hub does this.
    Invite,
    /// An origin is no member any more; its hub does this.
    Remove,
    /// The channel is about something else; its hub does this.
    About,
    /// This origin joins, as it was invited.
    Accept,
    /// This origin does not join.
    Decline,
    /// This origin is no member any more.
    Leave,
    /// The line goes on without members that cannot be reached; its hub does this.
    Force,
}

/// Something to be said on a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SayOn {
    /// The channel.
    pub channel: String,
    /// The type of the event: `message` where none is given.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What there is to say.
    pub data: Value,
}

/// It is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidOn {
    /// The channel.
    pub channel: String,
    /// The event's id, where this node is the hub: the event has its place then. Elsewhere it waits for the hub, which may
    /// be away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Channels that the node takes part in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederatedChannels {
    /// By name.
    pub channels: Vec<FederatedChannel>,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederatedChannel {
    /// Its id.
    pub channel: String,
    /// Whether this node is its hub.
    pub hub: bool,
    /// How this origin stands in it: `invited`, `joined`, `left` or `removed`.
    pub state: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Whom it knows of, as far as this node saw.
    pub members: Vec<Member>,
    /// The number of the last event that is here: 0 for none.
    pub last: u64,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_id: Option<String>,
    /// Own events that the hub has not taken yet.
    pub waiting: u64,
    /// Whether all that the hub had was seen since this node started; of a hub, whether it takes events.
    pub caught_up: bool,
    /// Members that a hub waits for since it started, before it takes events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<String>,
    /// What is wrong with its line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// Who is a member of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelMembers {
    /// Its id.
    pub channel: String,
    /// Its members and those who are invited: as its hub says where that can be asked, else as far as this node saw.
    pub members: Vec<Member>,
}

/// What proves that the hub of a channel showed two histories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelProofs {
    /// Each with the two places that it signed (`docs/federation.md`).
    pub proofs: Vec<Value>,
}

/// Invitations that nobody has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitations {
    /// By channel.
    pub invitations: Vec<Invitation>,
}

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The channel, whose origin invites.
    pub channel: String,
    /// When it came.
    #[serde(with = "rfc3339")]
    pub received_at: Timestamp,
    /// Who is a member, as its hub says.
    pub members: Vec<String>,
    /// What it is about, as its hub says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Whether a new member sees all of it, as its hub says.
    pub all_history: bool,
}

/// The origin that the node speaks for, and those that it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederationState {
    /// Its name.
    pub origin: String,
    /// Its key.
    pub key: String,
    /// Where it says that others reach it.
    pub endpoint: String,
    /// Others, by name.
    pub others: Vec<OtherOrigin>,
}

/// Another origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherOrigin {
    /// Its name.
    pub origin: String,
    /// The key that is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_rfc3339")]
    pub since: Option<Timestamp>,
    /// Keys that it had before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub old_keys: Vec<String>,
    /// Where it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What it says there is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// What is wrong with its key: nothing is sent there, and nothing taken from there, until a person trusts the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_changed: Option<String>,
    /// Events that wait for it.
    pub waiting: u64,
    /// How many requests have failed one after the other.
    pub failures: u32,
    /// What it said of its health, and of what it opens to this node, when it was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<HeardOrigin>,
}

/// What an origin said of itself: data, and cleaned. Whoever shares a channel with this node, or has a tool that was
/// approved here, is asked once a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardOrigin {
    /// When it answered last; left out when it never has since this node started.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_rfc3339")]
    pub at: Option<Timestamp>,
    /// `ok`, `degraded`, `failing` or what else it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The version of its program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How each of its components is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub health: BTreeMap<String, String>,
    /// How many tools it opens to this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<u64>,
    /// Why it does not answer now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// An origin whose key is to be pinned as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedOrigin {
    /// Its name.
    pub origin: String,
}

mod maybe_rfc3339 {
    use super::{Timestamp, rfc3339};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Time(#[serde(with = "rfc3339")] Timestamp);

    pub(super) fn serialize<S: Serializer>(time: &Option<Timestamp>, out: S) -> Result<S::Ok, S::Error> {
        time.map(Time).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<Time>::deserialize(from)?.map(|time| time.0))
    }
}
