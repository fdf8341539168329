//! Bodies of requests between origins, and of their answers. See the table of calls in `protocols/federation.md`. Events
//! in them are read and written in `wire/federation/event.rs`.

use super::{event, proof};
use crate::federation::heads::{Placed, Proof};
use crate::federation::hub::{Delay, Outcome, Refusal};
use crate::federation::roster::Forbidden;
use crate::federation::{ChannelId, EventId, Origin};
use crate::wire::federation::event::NUMBER_MAX;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Events in one transaction, at most.
pub const EVENTS_MAX: usize = 50;

/// Events in one answer to a question for events, at most.
pub const PAGE_MAX: u64 = 500;

/// Channels in one question for heads, at most.
pub const HEADS_MAX: usize = 500;

/// Longest id of a transaction or call, bytes.
pub const ID_MAX: usize = 128;

/// The paths of what origins ask each other, below an origin's endpoint.
pub mod path {
    /// `POST` [`super::Invite`]: [`super::Invited`].
    pub const INVITE: &str = "/federation/v1/invite";
    /// `POST` [`super::Membership`]: [`super::Processed`].
    pub const JOIN: &str = "/federation/v1/join";
    /// `POST` [`super::Membership`]: [`super::Processed`].
    pub const LEAVE: &str = "/federation/v1/leave";
    /// `POST` [`super::Membership`]: [`super::Processed`].
    pub const REMOVE: &str = "/federation/v1/remove";
    /// `PUT` [`super::Transaction`]: [`super::Processed`].
    pub const SEND: &str = "/federation/v1/send/{txn_id}";
    /// `GET ?after=&before=&limit=`: [`super::Page`].
    pub const EVENTS: &str = "/federation/v1/channels/{channel}/events";
    /// `GET`: [`super::Members`].
    pub const MEMBERS: &str = "/federation/v1/channels/{channel}/members";
    /// `POST` [`super::HeadsWanted`]: [`super::Heads`].
    pub const HEADS: &str = "/federation/v1/heads";
    /// `GET ?after=&upto=`: [`super::DigestOf`]. Besides the protocol: members that compare their lines ask few digests
    /// instead of many events.
    pub const DIGEST: &str = "/federation/v1/channels/{channel}/digest";
    /// `POST` [`super::Call`]: [`super::Called`].
    pub const CALL: &str = "/federation/v1/call";
    /// `GET`: the tools that are open to the caller, [`super::Capabilities`].
    pub const CAPABILITIES: &str = "/federation/v1/capabilities";
    /// `GET`: [`super::Health`].
    pub const HEALTH: &str = "/federation/v1/health";
}

/// An invitation to a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Invite {
    /// The channel.
    pub channel: String,
    /// Who invites: the channel's origin.
    pub inviter: String,
    /// Who is invited.
    pub invitee: String,
    /// What a new member may see of the time before: `joined` (nothing) or `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    /// Who is a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<String>>,
    /// What the channel is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

/// What becomes of an invitation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Invited {
    /// Whether it was accepted.
    pub accepted: bool,
    /// Whether a person decides.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pending: bool,
    /// The last event that the invited origin has of the channel: 0 for none.
    #[serde(default)]
    pub events_since: u64,
    /// The event by which it joins, where it does so at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// An event by which an origin joins or leaves, or is removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    /// The channel.
    pub channel: String,
    /// The event.
    pub event: Value,
}

/// Events that an origin sends: its own to a hub, or a hub's to a member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transaction {
    /// Who sends them.
    pub origin: String,
    /// When, Unix milliseconds.
    pub origin_server_ts: u64,
    /// The events, in order.
    pub events: Vec<Value>,
}

/// What became of the events of a transaction.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Processed {
    /// Ids of those that are kept now, as they were submitted.
    pub processed: Vec<String>,
    /// The others.
    pub rejected: Vec<Rejected>,
}

/// An event that was not taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// Its id, if it could be read.
    pub id: String,
    /// Why, for programs.
    pub code: String,
    /// Why, for people.
    pub detail: String,
    /// Whether it may be sent again: it was not judged.
    #[serde(default, skip_serializing_if = "is_false")]
    pub retry: bool,
    /// The number of the author's event that comes first, where that is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

impl Rejected {
    /// What an outcome is called; `None` for an event that was taken.
    pub fn of(id: &EventId, outcome: Outcome) -> Option<Self> {
        let (code, detail, retry, expected) = match outcome {
            Outcome::Taken => return None,
            Outcome::Refused(why) => (code_of(why), why.to_string(), false, None),
            Outcome::Later(Delay::Gap { expected }) => {
                ("unavailable", Delay::Gap { expected }.to_string(), true, Some(expected))
            }
            Outcome::Later(delay @ Delay::TooFast { .. }) => ("rate_limited", delay.to_string(), true, None),
            Outcome::Later(Delay::Unavailable) => ("unavailable", Delay::Unavailable.to_string(), true, None),
            Outcome::Later(Delay::Unknown) => ("unknown_channel", Delay::Unknown.to_string(), true, None),
        };
        Some(Self { id: id.to_string(), code: code.to_owned(), detail, retry, expected })
    }

    /// What it says to the author of an own event.
    pub fn outcome(&self) -> Outcome {
        match (self.code.as_str(), self.expected) {
            ("unavailable", Some(expected)) if (1..=NUMBER_MAX).contains(&expected) => {
                Outcome::Later(Delay::Gap { expected })
            }
            ("unavailable" | "rate_limited", _) => Outcome::Later(Delay::Unavailable),
            ("unknown_channel", _) => Outcome::Later(Delay::Unknown),
            _ if self.retry => Outcome::Later(Delay::Unavailable),
            ("not_member", _) => Outcome::Refused(Refusal::Forbidden(Forbidden::NotMember)),
            ("conflict", _) => Outcome::Refused(Refusal::Repeated),
            ("too_large", _) => Outcome::Refused(Refusal::Full),
            ("forbidden", _) => Outcome::Refused(Refusal::Forbidden(Forbidden::NotAdmin)),
            _ => Outcome::Refused(Refusal::Forbidden(Forbidden::Unknown)),
        }
    }
}

fn code_of(why: Refusal) -> &'static str {
    match why {
        Refusal::Forbidden(Forbidden::NotMember | Forbidden::NotInvited) => "not_member",
        Refusal::Forbidden(Forbidden::Unknown) => "bad_request",
        Refusal::Forbidden(Forbidden::Idle) | Refusal::Repeated => "conflict",
        Refusal::Forbidden(Forbidden::NotAdmin | Forbidden::Full) | Refusal::NotYours | Refusal::NotSigned => {
            "forbidden"
        }
        Refusal::Full => "too_large",
    }
}

/// Events of a channel, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The events, each in its place.
    pub events: Vec<Value>,
    /// The last one that the asker may see.
    pub head: Head,
    /// What to ask `after` (or `before`) for more; absent when there are no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Where a line ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// The number of its last event: 0 for none.
    pub seq: u64,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Who is a member of a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Members {
    /// The channel.
    pub channel: String,
    /// Its members and those who are invited. The protocol does not say how they are written: names of members are read
    /// as well.
    #[serde(deserialize_with = "read_members")]
    pub members: Vec<Member>,
}

fn read_members<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Member>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Member(Member),
        Name(String),
    }
    let member = |written| match written {
        Written::Member(member) => member,
        Written::Name(origin) => Member { origin, state: "joined".to_owned(), since: None },
    };
    Ok(Vec::<Written>::deserialize(from)?.into_iter().map(member).collect())
}

/// How an origin stands in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The origin.
    pub origin: String,
    /// `invited`, `joined`, `left` or `removed`.
    pub state: String,
    /// The event by which it joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

/// A question for heads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadsWanted {
    /// The channels.
    pub channels: Vec<String>,
}

/// Where lines end.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Heads {
    /// Of each channel that the asker is a member of. The protocol does not say whether these are a list or an object by
    /// channel: both are read.
    #[serde(deserialize_with = "read_heads")]
    pub heads: Vec<ChannelHead>,
    /// What proves that hubs showed two histories, one of a channel at most (`wire/federation/proof.rs`). Besides the
    /// protocol: who was shown one history alone hears of it by this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<Value>,
}

impl Heads {
    /// What is said against the hub of a channel, if it can be read; its signatures are for the caller to check. The
    /// first counts: nobody needs more than one, and whoever sends many has them read by nobody.
    pub fn proof(&self, channel: &ChannelId) -> Option<Proof> {
        let name = channel.to_string();
        let is_of_channel = |value: &&Value| value.get("channel").and_then(Value::as_str) == Some(&name);
        proof::read(self.proofs.iter().take(HEADS_MAX).find(is_of_channel)?).ok()
    }
}

fn read_heads<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<ChannelHead>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        List(Vec<ChannelHead>),
        ByChannel(std::collections::BTreeMap<String, Unnamed>),
    }
    #[derive(Deserialize)]
    struct Unnamed {
        #[serde(flatten)]
        head: Head,
        #[serde(default)]
        first: Option<u64>,
        #[serde(flatten)]
        order: serde_json::Map<String, Value>,
    }
    Ok(match Written::deserialize(from)? {
        Written::List(heads) => heads,
        Written::ByChannel(heads) => {
            let named = |(channel, Unnamed { head, first, order })| ChannelHead { channel, head, first, order };
            heads.into_iter().map(named).collect()
        }
    })
}

/// Where the line of a channel ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelHead {
    /// The channel.
    pub channel: String,
    /// Where.
    #[serde(flatten)]
    pub head: Head,
    /// The first event that is there without a gap up to the last, of those that the asker may see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// What the hub signed of the last event's place: its members, as in the event.
    #[serde(flatten)]
    pub order: serde_json::Map<String, Value>,
}

impl ChannelHead {
    /// The last event's place, as its hub signed it, if that is said.
    pub fn placed(&self) -> Option<Placed> {
        let mut members = self.order.clone();
        members.insert("seq".to_owned(), self.head.seq.into());
        members.insert("id".to_owned(), self.head.id.clone().into());
        event::read_placed(&Value::Object(members)).ok()
    }
}

/// The digest of events: the SHA-256 over the 20 bytes of their ids, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestOf {
    /// In hexadecimal.
    pub digest: String,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The caller's own id of it: with the same one it is run once, and answered the same for ten minutes.
    pub call_id: String,
    /// The tool server: `<origin>/<tool server>`.
    pub target: String,
    /// The tool.
    pub tool: String,
    /// Its arguments, an object.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
    /// How long it may take, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What the caller follows it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Value>,
}

/// What came of a call: a result or an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Called {
    /// The call.
    pub call_id: String,
    /// The result, in the form of MCP's `tools/call`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CallFailed>,
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallFailed {
    /// A stable code: `unknown_tool`, `forbidden`, `bad_params`, `timeout`, `too_large`, `busy`, `cancelled`,
    /// `server_failed`, `bad_result` or `tool_error`.
    pub code: String,
    /// Why, for people.
    pub message: String,
    /// What else there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// The tools that an origin opens to the caller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capabilities {
    /// By server and name.
    pub tools: Vec<Capability>,
}

/// A tool of an origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capability {
    /// The tool server: `<origin>/<tool server>`.
    pub target: String,
    /// Its name there.
    pub name: String,
    /// What it does, as it says.
    #[serde(default)]
    pub description: String,
    /// The JSON schema of its arguments.
    pub input_schema: Value,
    /// The JSON schema of its structured result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// SHA-256 in hexadecimal of all this but the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// How an origin is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, `degraded` or `failing`.
    pub status: String,
    /// The version of the program.
    pub version: String,
    /// How each component is.
    pub components: std::collections::BTreeMap<String, String>,
    /// How busy it is: calls under way, and events that wait.
    pub load: Value,
}

/// The path of a transaction.
pub fn send_path(txn: &str) -> String {
    SEND_BEFORE.to_owned() + txn
}

const SEND_BEFORE: &str = "/federation/v1/send/";

/// The path of a channel's events. Its id needs no encoding in a path (RFC 3986, `pchar`).
pub fn events_path(channel: &ChannelId, after: u64, limit: u64) -> String {
    format!("/federation/v1/channels/{channel}/events?after={after}&limit={limit}")
}

/// The path of the digest of a part of a channel.
pub fn digest_path(channel: &ChannelId, after: u64, upto: u64) -> String {
    format!("/federation/v1/channels/{channel}/digest?after={after}&upto={upto}")
}

/// The path of a channel's members.
pub fn members_path(channel: &ChannelId) -> String {
    format!("/federation/v1/channels/{channel}/members")
}

/// Reads an origin in a body.
///
/// # Errors
/// The sentence for whoever wrote it.
pub fn read_origin(text: &str) -> Result<Origin, String> {
    text.parse().map_err(|why: crate::federation::NotAnOrigin| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::Order;
    use crate::federation::heads::Placed;
    use crate::identity::key::KeyPair;
    use crate::time::Timestamp;
    use serde_json::json;

    fn said(code: &str, expected: Option<u64>) -> Outcome {
        let text = || String::new();
        Rejected { id: text(), code: code.to_owned(), detail: text(), retry: false, expected }.outcome()
    }

    #[test]
    fn what_a_hub_without_its_channels_says_is_not_final() {
        assert_eq!(said("unknown_channel", None), Outcome::Later(Delay::Unknown));
        assert!(matches!(said("not_member", None), Outcome::Refused(_)));
    }

    #[test]
    fn the_number_that_comes_first_is_one_that_an_event_can_have() {
        let gap = |expected| Outcome::Later(Delay::Gap { expected });
        assert_eq!(said("unavailable", Some(1)), gap(1));
        assert_eq!(said("unavailable", Some(NUMBER_MAX)), gap(NUMBER_MAX));
        for expected in [None, Some(0), Some(NUMBER_MAX + 1), Some(u64::MAX)] {
            assert_eq!(said("unavailable", expected), Outcome::Later(Delay::Unavailable), "{expected:?}");
        }
    }

    fn proof(channel: &ChannelId) -> Value {
        let key = KeyPair::from_seed([2; 32]);
        let placed = |id: u8| {
            let (id, of) = (EventId::from_bytes([id; 20]), (Timestamp::from_millis(5), 1));
            Placed { id, order: Order::sign(&key, (channel, id), (3, Some(EventId::from_bytes([9; 20]))), of) }
        };
        proof::to_value(&Proof::of(channel, &placed(1), &placed(2)).expect("two events in one place"))
    }

    #[test]
    fn what_proves_that_a_hub_lied_goes_with_heads_and_who_knows_none_of_it_reads_them_as_before() {
        let [one, other] = ["!a:hub.test", "!b:hub.test"].map(|name| name.parse().expect("a channel"));
        let heads = Heads { heads: Vec::new(), proofs: vec![json!(1), proof(&one)] };
        let read: Heads = serde_json::from_value(json!(heads)).expect("heads");
        assert_eq!((read.proof(&one).map(|proof| proof.place()), read.proof(&other)), (Some((3, 1)), None));
        let plain: Heads = serde_json::from_value(json!({"heads": []})).expect("heads");
        assert_eq!((plain.proof(&one), json!(plain)), (None, json!({"heads": []})));
    }

    #[test]
    fn of_a_channel_one_proof_is_read() {
        let channel: ChannelId = "!a:hub.test".parse().expect("a channel");
        let nothing = json!({"channel": "!a:hub.test", "orders": []});
        let heads = Heads { heads: Vec::new(), proofs: vec![nothing, proof(&channel)] };
        assert_eq!(heads.proof(&channel), None);
    }
}
