//! What goes through the control door, in JSON: what commands, programs and browsers on this
//! machine ask of the node, and its answers. Shared by the door (`comity`) and its client
//! (`comity-client`). It is no network protocol: no peer ever speaks it.

mod claims;
mod compute;
mod federation;
mod index;
mod journal;
mod knowledge;
mod mesh;
mod message;
mod named;
mod node;
mod tool;
mod topic;

pub use claims::{Act, MyPart, NewTask, Stepped, Task, TaskChange, TaskState, TaskStep, Tasks, WhyLost};
pub use compute::{
    DoneWork, FailedWork, GivenTask, Lease, QueueAct, QueueChange, QueueCount, QueueState, QueueStep, Queued,
    QueuedTask, QueuedTasks, TaskToQueue, WantWork, Work, WorkAnswer, WorkProgress, WorkReport, WorkReported,
    WorkingNode,
};
pub use federation::{
    ChannelAct, ChannelMembers, ChannelProofs, ChannelStep, FederatedChannel, FederatedChannels, FederationState,
    HeardOrigin, Invitation, Invitations, NewChannel, OtherOrigin, SaidOn, SayOn, TrustedOrigin,
};
pub use index::{
    Document, Documents, Files, IndexSource, IndexStats, Indexed, KnownFiles, NewDocument, NewDocuments,
    RefusedDocument, Search, Unindex, Unindexed,
};
pub use journal::{Follow, Followed, Following, Journal, Journaled, Journals, Segment};
pub use knowledge::{AskKnowledge, Fact, Facts, NewFact, NotAnswered, SharedFact};
pub use mesh::{Enroll, Enrolled, MeshCoordinator, MeshNode, MeshNodes, Revoke, Revoked};
pub use message::{Acknowledge, Arrival, Ask, Done, Inbox, Message, Respond, Send, Sent, Watched};
pub use named::{Name, Named};
pub use node::{
    KnownNode, KnownNodes, Link, Node, Peer, PeerChange, Peers, SourceState, Subscription, Trusted, Unsubscribe,
};
pub use tool::{
    ApprovedTool, ApprovedTools, LeftOut, Policy, PolicyRule, PolicyTest, PolicyVerdict, Tool, ToolApproval, ToolCall,
    ToolServer, ToolStep, ToolWas, ToolWithdrawal, Tools,
};
pub use topic::{OwnRole, Publish, Role, Topic, Topics};

use crate::envelope::Kind;
use crate::id::PeerId;
use crate::identity::trust::Trust;
use crate::inbox::Mode;
use crate::ledger::{Fate, FateKind};
use crate::time::Timestamp;
use named::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The paths of the control door.
pub mod path {
    /// `GET`: this node, a [`super::Node`].
    pub const NODE: &str = "/control/node";
    /// `GET`: everybody it has heard of, [`super::Peers`].
    pub const PEERS: &str = "/control/peers";
    /// `GET`: a stream of [`super::PeerChange`], beginning with everybody who is there.
    pub const PEER_CHANGES: &str = "/control/peers/changes";
    /// `GET`: the nodes on the list of known ones, [`super::KnownNodes`]. `PUT` [`super::Trusted`]: a
    /// [`super::KnownNode`], put on the list or taken off it.
    pub const KNOWN: &str = "/control/known";
    /// `GET ?target=`: a stream of [`super::Watched`]. `POST` [`super::Send`]: [`super::Sent`].
    pub const MESSAGES: &str = "/control/messages";
    /// `GET`: a stream of queries, [`super::Watched`], each to be answered at [`ANSWERS`].
    /// `POST` [`super::Ask`]: the answer, a [`super::Message`].
    pub const QUERIES: &str = "/control/queries";
    /// `POST` [`super::Respond`]: [`super::Sent`].
    pub const ANSWERS: &str = "/control/answers";
    /// `GET ?after=&limit=`: [`super::Inbox`].
    pub const INBOX: &str = "/control/inbox";
    /// `GET ?after=`: a stream of [`super::Arrival`], as the inbox grows.
    pub const ARRIVALS: &str = "/control/inbox/arrivals";
    /// `POST` [`super::Acknowledge`]: [`super::Done`].
    pub const ACKNOWLEDGE: &str = "/control/inbox/acknowledge";
    /// `GET`: the [`super::Digest`] so far. `POST`: the same, and it begins anew.
    pub const DIGEST: &str = "/control/digest";
    /// `PUT` [`super::Attention`]: [`super::Done`].
    pub const ATTENTION: &str = "/control/attention";
    /// `POST` [`super::Subscription`]: [`super::Done`].
    pub const SUBSCRIBE: &str = "/control/subscribe";
    /// `POST` [`super::Unsubscribe`]: [`super::Done`].
    pub const UNSUBSCRIBE: &str = "/control/unsubscribe";
    /// `PUT` [`super::OwnStatus`]: [`super::Done`].
    pub const STATUS: &str = "/control/status";
    /// `GET ?message=`: [`super::Why`].
    pub const WHY: &str = "/control/why";
    /// `GET`: [`super::Checkup`].
    pub const CHECKUP: &str = "/control/checkup";
    /// `GET`: [`super::Settings`].
    pub const SETTINGS: &str = "/control/settings";
    /// `POST`, only over the Unix socket: [`super::OneTimeCode`].
    pub const CODES: &str = "/control/codes";
    /// `GET` with `Upgrade: mcp`: the connection becomes an MCP stdio transport.
    pub const MCP_STDIO: &str = "/control/mcp";
    /// `GET ?peer=` as a WebSocket, only over the Unix socket: a stream to whoever receives files there, in the
    /// packets of `comity_core::wire::transfer`.
    pub const SEND_FILES: &str = "/control/files/send";
    /// `GET ?from=&anyone=` as a WebSocket, only over the Unix socket: waits; then a [`super::Giver`], and a stream
    /// from whoever sends files.
    pub const RECEIVE_FILES: &str = "/control/files/receive";
    /// `GET ?prefix=&after=&limit=&all=`: the documents of the index, [`super::Documents`]. `POST`
    /// [`super::NewDocuments`]: [`super::Indexed`]. `DELETE` [`super::Unindex`]: [`super::Unindexed`].
    pub const INDEX: &str = "/control/index";
    /// `POST` [`super::Files`]: [`super::KnownFiles`].
    pub const INDEX_FILES: &str = "/control/index/files";
    /// `GET`: [`super::IndexStats`].
    pub const INDEX_STATS: &str = "/control/index/stats";
    /// `POST` [`super::Search`]: an answer as of `POST /mesh/query` (`protocols/mesh.md`).
    pub const SEARCH: &str = "/control/search";
    /// `POST`: asks this node and those that it knows, as `POST /mesh/query` of `protocols/mesh.md`: for programs that were
    /// made for it.
    pub const MESH_QUERY: &str = "/mesh/query";
    /// `POST`: indexes one document, a list, or NDJSON, as `POST /mesh/basins` of `protocols/mesh.md`; [`super::Indexed`].
    pub const BASINS: &str = "/mesh/basins";
    /// `DELETE`: takes a document out of the index, [`super::Unindexed`].
    pub const BASIN: &str = "/mesh/basins/{doc_id}";
    /// `POST` [`super::NewFact`]: [`super::SharedFact`].
    pub const KNOWLEDGE: &str = "/control/knowledge";
    /// `POST` [`super::AskKnowledge`]: [`super::Facts`].
    pub const KNOWLEDGE_ASK: &str = "/control/knowledge/ask";
    /// `GET`: the nodes of the mesh, [`super::MeshNodes`].
    pub const MESH_NODES: &str = "/control/mesh/nodes";
    /// `POST` [`super::Enroll`]: [`super::Enrolled`].
    pub const MESH_TOKENS: &str = "/control/mesh/tokens";
    /// `POST` [`super::Revoke`]: [`super::Revoked`].
    pub const MESH_REVOKE: &str = "/control/mesh/revoke";
    /// `POST` [`super::Redeem`], only over TCP: a session cookie.
    pub const SESSION: &str = "/session";
    /// `GET`, only over TCP: the page that joins as a peer.
    pub const PAGE: &str = "/";
    /// `GET`, only over TCP: what the page is made of.
    pub const PAGE_FILES: &str = "/page/{file}";
    /// `GET`: the topics that the node listens to, [`super::Topics`]. `POST`, `DELETE` [`super::Topic`]: listens to one
    /// more, or to one less; [`super::Topics`].
    pub const TOPICS: &str = "/control/topics";
    /// `GET`: the node's role, [`super::OwnRole`]. `PUT` [`super::Role`]: takes one. `DELETE` [`super::Done`]: gives it
    /// up. Both answer as `GET`.
    pub const ROLE: &str = "/control/role";
    /// `POST` [`super::Publish`]: [`super::Done`].
    pub const PUBLISH: &str = "/control/topics/messages";
    /// `GET`: the tasks that the node knows of, [`super::Tasks`]. `POST` [`super::NewTask`]: announces one,
    /// [`super::Task`].
    pub const CLAIMS: &str = "/control/claims";
    /// `POST` [`super::TaskStep`]: [`super::Stepped`].
    pub const CLAIM_STEPS: &str = "/control/claims/steps";
    /// `GET`: a stream of [`super::TaskChange`], beginning with all tasks.
    pub const CLAIM_CHANGES: &str = "/control/claims/changes";
    /// `GET ?state=&before=&limit=`: the queue of tasks, [`super::QueuedTasks`]. `POST` [`super::TaskToQueue`]: one more,
    /// [`super::Queued`].
    pub const QUEUE: &str = "/control/tasks";
    /// `GET ?id=`: a [`super::QueuedTask`], whole.
    pub const QUEUED: &str = "/control/tasks/whole";
    /// `GET ?id=`: a stream of [`super::QueueChange`], until the task is over.
    pub const QUEUE_CHANGES: &str = "/control/tasks/changes";
    /// `GET`: who does tasks of this node, and what there is to do, [`super::QueueState`].
    pub const QUEUE_STATE: &str = "/control/tasks/state";
    /// `POST` [`super::QueueStep`]: a [`super::WorkAnswer`].
    pub const QUEUE_STEPS: &str = "/control/tasks/steps";
    /// `POST` [`super::WantWork`]: [`super::Work`], from this node and from those that it knows.
    pub const WORK: &str = "/control/tasks/work";
    /// `POST` [`super::WorkReport`]: [`super::WorkReported`].
    pub const WORK_REPORTS: &str = "/control/tasks/reports";
    /// `GET`: this node's journal, a [`super::Journal`].
    pub const JOURNAL: &str = "/control/journal";
    /// `GET ?types=&from_peer=&author=&from=&to=&since=&until=&limit=&last=&follow=`: a stream of [`super::Journaled`].
    pub const ENTRIES: &str = "/control/journal/entries";
    /// `GET`: all of it as JSON Lines, which anybody can verify (`docs/journal.md`).
    pub const EXPORT: &str = "/control/journal/export";
    /// `GET ?index=`: one entry and what proves that it is in the journal (`docs/journal.md`).
    pub const PROOF: &str = "/control/journal/proof";
    /// `GET`: the journals that are followed, [`super::Journals`]. `PUT` [`super::Follow`]: [`super::Journals`].
    pub const JOURNALS: &str = "/control/journals";
    /// `GET ?author=`: a stream of [`super::Followed`], as it goes on; of one, or of all.
    pub const JOURNAL_CHANGES: &str = "/control/journals/changes";
    /// `GET`: the channels that the node shares with other origins, [`super::FederatedChannels`]. `POST`
    /// [`super::NewChannel`]: makes one, [`super::FederatedChannel`].
    pub const CHANNELS: &str = "/control/channels";
    /// `POST` [`super::ChannelStep`]: [`super::Done`].
    pub const CHANNEL_STEPS: &str = "/control/channels/steps";
    /// `GET ?channel=&after=&last=&limit=&follow=`: a stream of events, each as on the wire. `POST` [`super::SayOn`]:
    /// [`super::SaidOn`].
    pub const CHANNEL_EVENTS: &str = "/control/channels/events";
    /// `GET ?channel=`: all of it as JSON Lines, which anybody can verify (`docs/federation.md`).
    pub const CHANNEL_EXPORT: &str = "/control/channels/export";
    /// `GET ?channel=`: [`super::ChannelMembers`].
    pub const CHANNEL_MEMBERS: &str = "/control/channels/members";
    /// `GET ?channel=`: what proves that its hub showed two histories, [`super::ChannelProofs`].
    pub const CHANNEL_PROOFS: &str = "/control/channels/proofs";
    /// `GET`: [`super::Invitations`].
    pub const INVITATIONS: &str = "/control/channels/invitations";
    /// `GET`: [`super::FederationState`].
    pub const FEDERATION: &str = "/control/federation";
    /// `PUT` [`super::TrustedOrigin`]: pins the key that it shows now, [`super::OtherOrigin`].
    pub const ORIGINS: &str = "/control/federation/origins";
    /// `GET ?origin=`: the tool servers and their tools, [`super::Tools`]; or the tools that another origin opens to this
    /// one.
    pub const TOOLS: &str = "/control/tools";
    /// `GET`: a stream of [`super::Tools`]: as they are, and again whenever they have changed.
    pub const TOOL_CHANGES: &str = "/control/tools/changes";
    /// `GET`: the tools of other origins that were approved, [`super::ApprovedTools`]. `POST` [`super::ToolApproval`]:
    /// one more, [`super::ApprovedTool`]. `DELETE` [`super::ToolWithdrawal`]: one less.
    pub const TOOL_APPROVALS: &str = "/control/tools/approvals";
    /// `POST` [`super::ToolCall`]: a stream of [`super::ToolStep`].
    pub const TOOL_CALLS: &str = "/control/tools/calls";
    /// `GET`: who may call which tool, a [`super::Policy`].
    pub const POLICY: &str = "/control/policy";
    /// `POST` [`super::PolicyTest`]: [`super::PolicyVerdict`].
    pub const POLICY_TESTS: &str = "/control/policy/tests";
    /// `GET`: the servers that a page of this door asks for its way to this node, [`super::IceServers`].
    pub const ICE: &str = "/control/ice";
    /// `POST`, only over TCP: an offer of a connection, as at the network door.
    pub const OFFERS: &str = "/dashflow/rtc";
    /// `PATCH`, `DELETE`, only over TCP: what comes after an offer, as at the network door.
    pub const CONNECTION: &str = "/dashflow/rtc/{session}";
    /// MCP over streamable HTTP.
    pub const MCP: &str = "/mcp";
}

/// The name of the Unix socket in the `control` folder of the data directory.
pub const SOCKET: &str = "door.sock";

/// The name of the bearer token's file in the `control` folder of the data directory.
pub const TOKEN: &str = "token";

/// The folder in the data directory that holds [`SOCKET`] and [`TOKEN`].
pub const FOLDER: &str = "control";

/// Who sends files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Giver {
    /// Its UUID on the local network.
    pub id: Uuid,
    /// Its node id, which it has proven.
    pub key: String,
    /// Its name, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How far it can be trusted.
    pub trust: Named<Trust>,
}

/// What happened while nobody looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// When the period began.
    #[serde(with = "rfc3339")]
    pub since: Timestamp,
    /// When it was cut; left out while it still grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// All messages of the period.
    pub total: u64,
    /// Messages by type.
    pub by_type: BTreeMap<String, u64>,
    /// Messages by channel.
    pub by_channel: BTreeMap<String, u64>,
    /// Messages pushed out of the full inbox meanwhile.
    pub evicted: u64,
    /// At most ten, spread over the period.
    pub samples: Vec<Sample>,
    /// The same in a sentence.
    pub text: String,
}

/// One message of a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When it came.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// From whom.
    pub from: Uuid,
    /// The sender's name, as far as this node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_name: Option<String>,
    /// How far its sender could be trusted.
    pub trust: Named<Trust>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Named<Kind>,
    /// Its channel.
    pub channel: String,
    /// The beginning of what it said, as JSON text.
    pub text: String,
}

/// How much the node should be interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attention {
    /// The mode.
    pub mode: Named<Mode>,
}

/// What the node says it is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnStatus {
    /// The status; null for nothing.
    pub status: Option<Value>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The message.
    pub message: Uuid,
    /// Oldest first; empty when nothing is known (any more).
    pub fates: Vec<Step>,
}

/// One step in the life of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// The peer it concerns; left out for this node itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Uuid>,
    /// The peer's name, as far as this node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_name: Option<String>,
    /// What happened.
    pub fate: Named<FateKind>,
}

impl Step {
    /// The form of a fate for applications; `name` gives the names of peers.
    pub fn of(fate: &Fate, name: impl Fn(PeerId) -> Option<String>) -> Self {
        Self {
            at: fate.at,
            peer: fate.peer.map(|peer| peer.0),
            peer_name: fate.peer.and_then(name),
            fate: Named(fate.kind),
        }
    }
}

/// How the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkup {
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it is.
    pub state: Health,
    /// In a sentence, with what to do if it is not well.
    pub detail: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Well,
    /// It works, but a person should know.
    Noted,
    /// It does not work.
    Ill,
}

/// The configuration the node runs with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Every key, sorted.
    pub settings: Vec<Setting>,
}

/// One value of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its key, with dots.
    pub key: String,
    /// Its value as TOML; `unset` when there is none, `(hidden)` when it is a secret.
    pub value: String,
    /// Where it comes from: `default`, a file, an environment variable, a flag.
    pub origin: String,
}

/// A code that a browser on this machine exchanges for a session, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneTimeCode {
    /// The code.
    pub code: String,
    /// Where to exchange it.
    pub url: String,
    /// The page that asks for it.
    pub page: String,
    /// For how many seconds it is good.
    pub expires_in_seconds: u64,
}

/// A code to be exchanged for a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redeem {
    /// The code.
    pub code: String,
}

/// The STUN and TURN servers of the configuration, for a browser's WebRTC.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServers {
    /// One for each.
    pub servers: Vec<BrowserIceServer>,
}

/// A server as browsers want it (`RTCIceServer` of W3C WebRTC).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowserIceServer {
    /// Its address.
    pub urls: String,
    /// The name to show, made for an hour where there is a shared secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password that belongs to the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// Why something was refused (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// One sentence for the caller.
    #[serde(default)]
    pub detail: String,
    /// The field that is wrong, as a JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Priority, Via};
    use crate::identity::trust::Trust;
    use crate::peers::{Presence, Source};

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let wrong = serde_json::from_str::<Attention>(r#"{"mode":"asleep"}"#).expect_err("no such mode");
        assert!(
            wrong.to_string().contains("unknown attention mode `asleep`: one of realtime, focused, minimal"),
            "{wrong}"
        );
        let right: Attention = serde_json::from_str(r#"{"mode":"minimal"}"#).expect("a mode");
        assert_eq!(right.mode, Named(Mode::Minimal));
    }

    #[test]
    fn every_name_is_read_back() {
        fn check<T: Name + PartialEq + std::fmt::Debug>() {
            for value in T::VALUES {
                assert_eq!(T::of(value.text()), Some(*value));
            }
        }
        check::<Priority>();
        check::<Kind>();
        check::<Mode>();
        check::<FateKind>();
        check::<Source>();
        check::<Trust>();
        check::<Via>();
        check::<Presence>();
        check::<Following>();
    }

    #[test]
    fn a_stream_line_names_its_change() {
        let line = serde_json::to_string(&PeerChange::Lagged { skipped: 3 }).expect("it is JSON");
        assert_eq!(line, r#"{"change":"lagged","skipped":3}"#);
    }
}
