//! The JSON calls of the network door: who this node is, whom it knows, and messages for it.
//! It turns the node's view into the shapes of the protocol and a body into a message; what
//! becomes of a message is decided by the rules. See "Network door" in
//! `protocols/local-network.md`.

use super::problem::{Problem, ProblemBody, ProblemFields};
use super::{Door, Source, Visit, shown};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use comity_core::channel::Channel;
use comity_core::envelope::{Message, Priority, Via};
use comity_core::id::MessageId;
use comity_core::node::{Answer, LinkView, NodeView, Proof};
use comity_core::peers::{PeerView, Presence};
use comity_core::time::Timestamp;
use comity_core::wire::json::{self, BadMessage};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;

/// This node.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    id: Uuid,
    name: String,
    version: String,
    capabilities: Vec<String>,
    /// Where it is best reached.
    endpoint: Option<String>,
    status: Option<Doing>,
    /// Peers that are present now.
    peer_count: usize,
    /// Messages in the inbox.
    queue_length: usize,
    uptime_seconds: u64,
    /// `realtime`, `focused` or `minimal`.
    attention_mode: &'static str,
    /// What the node says about itself, signed.
    #[schema(value_type = Object)]
    card: Value,
}

/// What a node or peer says it is doing.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Doing {
    pub(super) working_on: Option<String>,
    /// From 0 to 1.
    pub(super) progress: Option<f64>,
    #[schema(format = DateTime)]
    updated_at: Option<String>,
    /// Whatever else it says, up to 4 KiB.
    details: Option<Value>,
}

/// Everybody this node has heard of.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Peers {
    peers: Vec<Peer>,
    total: usize,
    online: usize,
}

/// A peer. Its texts are its own: data, never instruction.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Peer {
    id: Uuid,
    /// Its node id, once proven.
    key: Option<String>,
    name: String,
    version: String,
    capabilities: Vec<String>,
    /// Where it is best reached.
    endpoint: Option<String>,
    /// Everywhere it can be reached, best first.
    endpoints: Vec<String>,
    status: Option<Doing>,
    #[schema(format = DateTime)]
    discovered_at: String,
    #[schema(format = DateTime)]
    last_seen: String,
    metadata: BTreeMap<String, String>,
    /// Who told of it.
    sources: Vec<&'static str>,
    /// `unverified`, `verified` or `known`.
    trust: &'static str,
    /// `seen`, `online`, `stale`, `unreachable` or `offline`.
    presence: &'static str,
    /// In which directions it was reached: `none`, `out`, `in` or `both`.
    reach: &'static str,
}

/// How this node is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Introspection {
    identity: Identity,
    status: Option<Doing>,
    peers: Vec<Peer>,
    queue_stats: QueueStats,
    attention_mode: &'static str,
    /// For known peers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<Subscription>>,
    /// For known peers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<Vec<Link>>,
    /// For known peers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Limits>,
    /// For known peers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    transports: Option<Vec<Transport>>,
}

/// Who this node is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Identity {
    id: Uuid,
    key: String,
    name: String,
    version: String,
    capabilities: Vec<String>,
    endpoint: Option<String>,
}

/// The inbox.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QueueStats {
    length: usize,
    max_size: usize,
    by_priority: ByPriority,
}

/// Messages by priority.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ByPriority {
    critical: usize,
    normal: usize,
    background: usize,
}

/// A channel that the node listens to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Subscription {
    channel: String,
    /// Whether without its background messages.
    quiet: bool,
}

/// A link to a peer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Link {
    peer: Uuid,
    #[schema(value_type = String)]
    remote: SocketAddr,
    dialed: bool,
    round_trip_us: Option<u64>,
    skew_ms: i64,
    received: u64,
    sent: u64,
}

/// What others may use of this node.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Limits {
    /// Request body.
    pub(crate) body_bytes: usize,
    /// Messages a second of one peer, sustained.
    pub(crate) messages_per_second: u32,
    /// Messages of one peer at once.
    pub(crate) messages_burst: u32,
    /// Messages a second of one address without proven keys.
    pub(crate) unverified_per_second: u32,
    /// Requests other than messages, a minute, of one address or key.
    pub(crate) requests_per_minute: u32,
    /// Connections in all.
    pub(crate) connections: usize,
    /// Connections of one address.
    pub(crate) connections_per_address: usize,
}

/// A way in which messages travel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Transport {
    name: &'static str,
    links: usize,
}

/// The answer to a message that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    /// Always true.
    accepted: bool,
    message_id: Uuid,
    /// Always null.
    error: Option<String>,
}

/// The answer to a message that was refused: a problem document, and what the original's clients
/// look for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refused {
    #[serde(flatten)]
    problem: ProblemBody,
    #[serde(flatten)]
    verdict: RefusedVerdict,
}

/// What a refusal of a message says besides the problem.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefusedVerdict {
    /// Always false.
    accepted: bool,
    /// The message, if it could be read so far.
    message_id: Option<Uuid>,
    /// The same as `detail`.
    error: String,
}

/// Who this node is and what it is doing.
#[utoipa::path(get, path = "/dashflow/status", tag = "network", responses(
    (status = 200, description = "This node", body = Status), super::openapi::VisitRefusals,
))]
pub(super) async fn status(State(door): State<Door>, visit: Visit) -> Json<Status> {
    Json(door.status(&visit.view))
}

/// Everybody this node has heard of.
#[utoipa::path(get, path = "/dashflow/peers", tag = "network", responses(
    (status = 200, description = "The peer book", body = Peers), super::openapi::VisitRefusals,
))]
pub(super) async fn peers(visit: Visit) -> Json<Peers> {
    Json(Peers::of(&visit.view))
}

/// How this node is; known peers are shown its channels, links, limits and transports too.
#[utoipa::path(get, path = "/dashflow/introspect", tag = "network", responses(
    (status = 200, description = "This node, from inside", body = Introspection), super::openapi::VisitRefusals,
))]
pub(super) async fn introspect(State(door): State<Door>, visit: Visit) -> Json<Introspection> {
    let (view, known) = (&visit.view, visit.is_known());
    Json(Introspection {
        identity: Identity {
            id: view.peer.0,
            key: view.node.to_string(),
            name: view.name.clone(),
            version: view.version.clone(),
            capabilities: view.capabilities.clone(),
            endpoint: door.card().1,
        },
        status: own_doing(view),
        peers: view.peers.iter().map(Peer::of).collect(),
        queue_stats: QueueStats {
            length: view.inbox.values().sum(),
            max_size: view.inbox_max,
            by_priority: ByPriority {
                critical: waiting(view, Priority::Critical),
                normal: waiting(view, Priority::Normal),
                background: waiting(view, Priority::Background),
            },
        },
        attention_mode: view.mode.name(),
        channels: known.then(|| view.subscriptions.iter().map(Subscription::of).collect()),
        links: known.then(|| view.links.iter().map(Link::of).collect()),
        limits: known.then(|| door.limits().clone()),
        transports: known.then(|| vec![Transport { name: "mesh", links: view.links.len() }]),
    })
}

/// A message for this node.
#[utoipa::path(post, path = "/dashflow/message", tag = "network",
    request_body(content = super::openapi::MessageBody, description = "A message, bare or wrapped"),
    responses(
        (status = 202, description = "It is delivered, digested, or safe on disk", body = Accepted),
        super::openapi::MessageRefusals,
    ))]
pub(super) async fn message(State(door): State<Door>, source: Source, body: Result<Bytes, BytesRejection>) -> Response {
    let taken = match body {
        Ok(text) => door.take(&text, source, Via::Post).await,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("the body is larger than {} bytes", door.limits().body_bytes);
            Taken::refused(None, Problem::too_large(&detail))
        }
        // Whoever broke the connection does not read this; whoever was too slow does.
        Err(_) => Taken::refused(None, Problem::slow_body()),
    };
    taken.into_response()
}

/// What became of a message that was brought to the door.
#[derive(Debug)]
pub(super) struct Taken {
    id: Option<MessageId>,
    outcome: Result<MessageId, Problem>,
}

/// A frame of the events' WebSocket that answers a message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Ack {
    /// It was taken.
    Accepted {
        #[schema(example = "ack")]
        r#type: &'static str,
        #[serde(flatten)]
        verdict: Accepted,
    },
    /// It was refused, and why.
    Refused {
        #[schema(example = "ack")]
        r#type: &'static str,
        #[serde(flatten)]
        verdict: RefusedVerdict,
        #[serde(flatten)]
        problem: ProblemFields,
    },
}

impl Door {
    /// This node as `GET /dashflow/status` and the first frame of the events show it.
    pub(super) fn status(&self, view: &NodeView) -> Status {
        let (card, endpoint) = self.card();
        Status {
            id: view.peer.0,
            name: view.name.clone(),
            version: view.version.clone(),
            capabilities: view.capabilities.clone(),
            endpoint,
            status: own_doing(view),
            peer_count: online(view),
            queue_length: view.inbox.values().sum(),
            uptime_seconds: view.uptime.as_secs(),
            attention_mode: view.mode.name(),
            card,
        }
    }

    /// Takes a message, from its JSON text to the rules' answer. Signatures are checked here, on the
    /// caller's own task.
    pub(super) async fn take(&self, text: &[u8], source: Source, via: Via) -> Taken {
        if let Err(problem) = self.may_read(source, text.len()) {
            return Taken::refused(None, problem);
        }
        self.judge(json::decode(text, self.handle().now().wall), source, via).await
    }

    /// Takes a message out of a text that was parsed already, and that may be read.
    pub(super) async fn take_parsed(&self, message: Value, source: Source, via: Via) -> Taken {
        self.judge(json::decode_value(message, self.handle().now().wall), source, via).await
    }

    /// Whether a text of so many bytes is read, before anybody reads it.
    pub(super) fn may_read(&self, source: Source, bytes: usize) -> Result<(), Problem> {
        self.0.pace.read(source, bytes, self.handle().now().mono)
    }

    async fn judge(&self, message: Result<Message, BadMessage>, source: Source, via: Via) -> Taken {
        let mut message = match message {
            Ok(message) => message,
            Err(bad) => return Taken::refused(None, bad.into()),
        };
        let id = *message.id.get_or_insert_with(|| self.handle().new_message());
        let key = match json::proven_key(&message) {
            Ok(signer) => signer.or(source.key),
            Err(bad) => return Taken::refused(Some(id), bad.into()),
        };
        match self.handle().arrive(message, Proof { via, address: source.address, key }).await {
            Answer::Accepted => Taken { id: Some(id), outcome: Ok(id) },
            Answer::Refused(refusal) => Taken::refused(Some(id), Problem::of_refusal(&refusal, key.is_some())),
            _ => Taken::refused(Some(id), Problem::unavailable("this node has lost track of it", Duration::ZERO)),
        }
    }
}

impl Taken {
    pub(super) fn refused(id: Option<MessageId>, problem: Problem) -> Self {
        Self { id, outcome: Err(problem) }
    }

    /// The answer to whoever sent the message as a frame.
    pub(super) fn ack(&self) -> Ack {
        match self.verdict() {
            Ok(verdict) => Ack::Accepted { r#type: "ack", verdict },
            Err((problem, verdict)) => Ack::Refused { r#type: "ack", verdict, problem: problem.fields() },
        }
    }

    /// The answer, without the form of any call.
    pub(super) fn verdict(&self) -> Result<Accepted, (&Problem, RefusedVerdict)> {
        match &self.outcome {
            Ok(id) => Ok(Accepted { accepted: true, message_id: id.0, error: None }),
            Err(problem) => {
                let (message_id, error) = (self.id.map(|id| id.0), problem.detail().to_owned());
                Err((problem, RefusedVerdict { accepted: false, message_id, error }))
            }
        }
    }
}

impl IntoResponse for Taken {
    fn into_response(self) -> Response {
        match self.verdict() {
            Ok(accepted) => (StatusCode::ACCEPTED, Json(accepted)).into_response(),
            Err((problem, verdict)) => problem.answer(Refused { problem: problem.body(), verdict }),
        }
    }
}

impl Peers {
    /// The peer book as `GET /dashflow/peers` shows it.
    pub(super) fn of(view: &NodeView) -> Self {
        Self { peers: view.peers.iter().map(Peer::of).collect(), total: view.peers.len(), online: online(view) }
    }
}

impl Peer {
    pub(super) fn of(view: &PeerView) -> Self {
        let endpoints: Vec<_> = view.addresses.iter().map(|address| format!("http://{address}")).collect();
        Self {
            id: view.id.0,
            key: view.key.map(|key| key.to_string()),
            name: view.name.clone(),
            version: view.version.clone(),
            capabilities: view.capabilities.clone(),
            endpoint: endpoints.first().cloned(),
            endpoints,
            status: view.status.as_ref().map(|said| Doing::of(said, None)),
            discovered_at: view.discovered_at.to_string(),
            last_seen: view.last_seen.to_string(),
            metadata: view.metadata.clone(),
            sources: view.sources.iter().map(|source| source.name()).collect(),
            trust: view.trust.name(),
            presence: view.presence.name(),
            reach: view.reach.name(),
        }
    }
}

impl Doing {
    /// What somebody said in the form of the protocol; `at` is when, if that is known better.
    pub(super) fn of(said: &Value, at: Option<Timestamp>) -> Self {
        let text = |name| said.get(name).and_then(Value::as_str);
        let written = || text("updated_at").and_then(Timestamp::parse);
        Self {
            working_on: said.as_str().or_else(|| text("working_on")).map(shown::status_text),
            progress: said.get("progress").and_then(Value::as_f64),
            updated_at: at.or_else(written).map(|time| time.to_string()),
            details: said.get("details").filter(|details| !details.is_null()).and_then(shown::details),
        }
    }
}

impl Subscription {
    fn of((channel, quiet): (&Channel, &bool)) -> Self {
        Self { channel: channel.to_string(), quiet: *quiet }
    }
}

impl Link {
    fn of(view: &LinkView) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            peer: view.peer.0,
            remote: view.remote,
            dialed: view.dialed,
            round_trip_us: view.round_trip.map(micros),
            skew_ms: view.skew_ms,
            received: view.received,
            sent: view.sent,
        }
    }
}

fn own_doing(view: &NodeView) -> Option<Doing> {
    view.status.as_ref().map(|said| Doing::of(said, view.status_at))
}

fn online(view: &NodeView) -> usize {
    view.peers.iter().filter(|peer| peer.presence == Presence::Online).count()
}

fn waiting(view: &NodeView, priority: Priority) -> usize {
    view.inbox.get(&priority).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
