//! The caller: a typed client of a running node's control door, over its Unix socket. It starts
//! no node and knows no rule; the shapes it sends and reads are `comity_core::wire::control`.

mod compute;
mod error;
mod exchange;
mod federation;
pub mod files;
mod idle;
mod index;
mod journal;
mod knowledge;
mod lines;
mod mesh;
mod query;
mod tools;

pub use comity_core::wire::control;
pub use error::Error;
pub use journal::Entries;
pub use lines::Lines;

use control::{Named, path};
use idle::Idle;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use uuid::Uuid;

/// How long the node may take to answer anything but a question to a peer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How much longer than the question itself the node may take to say that nobody answered.
const GRACE: Duration = Duration::from_secs(5);

/// Items of the inbox that are asked for at once: with the largest payloads they are some 26 MB.
const PAGE: usize = 100;

/// How long the node waits for a peer's answer when nobody says.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// A caller of the node in one data directory. Cheap to make and to clone: clones share the connections
/// that are open.
#[derive(Debug, Clone)]
pub struct Client {
    data_dir: PathBuf,
    idle: Idle,
}

impl Client {
    /// A caller of the node that runs in this data directory. Nothing is opened yet.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), idle: Idle::default() }
    }

    /// The data directory of the node.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The node's Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.data_dir.join(control::FOLDER).join(control::SOCKET)
    }

    /// What the node says of itself.
    pub async fn node(&self) -> Result<control::Node, Error> {
        self.get(path::NODE).await
    }

    /// Everybody the node has heard of.
    pub async fn peers(&self) -> Result<Vec<control::Peer>, Error> {
        self.get::<control::Peers>(path::PEERS).await.map(|all| all.peers)
    }

    /// Everybody who is there, and then every change.
    pub async fn peer_changes(&self) -> Result<Lines<control::PeerChange>, Error> {
        self.stream(path::PEER_CHANGES).await
    }

    /// The list of known nodes.
    pub async fn known(&self) -> Result<Vec<control::KnownNode>, Error> {
        self.get::<control::KnownNodes>(path::KNOWN).await.map(|list| list.known)
    }

    /// Puts a node on the list of known ones, or takes it off: a peer by name or UUID, or any node id.
    pub async fn trust(&self, peer: &str, known: bool) -> Result<control::KnownNode, Error> {
        self.put(path::KNOWN, &control::Trusted { peer: peer.to_owned(), known }).await
    }

    /// Sends a message.
    pub async fn send(&self, send: &control::Send) -> Result<control::Sent, Error> {
        self.post(path::MESSAGES, send).await
    }

    /// Every message the node admits from now on: of one peer, on one channel, or all.
    pub async fn watch(&self, target: Option<&str>) -> Result<Lines<control::Watched>, Error> {
        self.stream(&query::path(path::MESSAGES, &[("target", target.map(str::to_owned))])).await
    }

    /// Asks a peer and waits for its answer.
    pub async fn ask(&self, peer: &str, question: Value, timeout: Duration) -> Result<control::Message, Error> {
        let timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let ask = control::Ask { peer: peer.to_owned(), question, timeout_ms };
        exchange::post(self, path::QUERIES, &ask, timeout.saturating_add(GRACE)).await
    }

    /// Every query that peers put to this node from now on; each is to be answered by
    /// [`Client::respond`]. While the stream is open, this caller is the node's answerer.
    pub async fn queries(&self) -> Result<Lines<control::Watched>, Error> {
        self.stream(path::QUERIES).await
    }

    /// Answers a query.
    pub async fn respond(&self, query: Uuid, to: Uuid, payload: Value) -> Result<control::Sent, Error> {
        self.post(path::ANSWERS, &control::Respond { query, to, payload }).await
    }

    /// Items of the inbox that arrived later than `after`, oldest first. They stay there.
    pub async fn inbox(&self, mut after: u64, limit: usize) -> Result<Vec<control::Arrival>, Error> {
        let mut items = Vec::new();
        while items.len() < limit {
            let wanted = PAGE.min(limit - items.len());
            let part = [("after", Some(after.to_string())), ("limit", Some(wanted.to_string()))];
            let page = self.get::<control::Inbox>(&query::path(path::INBOX, &part)).await?.items;
            let full = page.len() == wanted;
            after = page.last().map_or(after, |item| item.arrival);
            items.extend(page);
            if !full {
                break;
            }
        }
        Ok(items)
    }

    /// Items of the inbox that arrived later than `after`, and then every one that arrives.
    pub async fn arrivals(&self, after: u64) -> Result<Lines<control::Arrival>, Error> {
        self.stream(&query::path(path::ARRIVALS, &[("after", Some(after.to_string()))])).await
    }

    /// Takes items off the inbox, by their arrival numbers.
    pub async fn acknowledge(&self, arrivals: Vec<u64>) -> Result<(), Error> {
        self.post(path::ACKNOWLEDGE, &control::Acknowledge { arrivals }).await.map(done)
    }

    /// The digest so far; it goes on growing.
    pub async fn digest(&self) -> Result<control::Digest, Error> {
        self.get(path::DIGEST).await
    }

    /// The digest so far; the next begins now.
    pub async fn take_digest(&self) -> Result<control::Digest, Error> {
        self.post(path::DIGEST, &control::Done {}).await
    }

    /// Changes how much the node is interrupted.
    pub async fn set_attention(&self, mode: comity_core::inbox::Mode) -> Result<(), Error> {
        self.put(path::ATTENTION, &control::Attention { mode: Named(mode) }).await.map(done)
    }

    /// Listens to a channel, with or without its background messages.
    pub async fn subscribe(&self, channel: &str, quiet: bool) -> Result<(), Error> {
        let subscription = control::Subscription { channel: channel.to_owned(), quiet };
        self.post(path::SUBSCRIBE, &subscription).await.map(done)
    }

    /// Listens to a channel no more.
    pub async fn unsubscribe(&self, channel: &str) -> Result<(), Error> {
        self.post(path::UNSUBSCRIBE, &control::Unsubscribe { channel: channel.to_owned() }).await.map(done)
    }

    /// The topics that the node listens to.
    pub async fn topics(&self) -> Result<control::Topics, Error> {
        self.get(path::TOPICS).await
    }

    /// Listens to a topic; all of them now.
    pub async fn join_topic(&self, topic: &str) -> Result<control::Topics, Error> {
        self.post(path::TOPICS, &control::Topic { topic: topic.to_owned() }).await
    }

    /// Listens to a topic no more; those that are left.
    pub async fn leave_topic(&self, topic: &str) -> Result<control::Topics, Error> {
        exchange::delete(self, path::TOPICS, &control::Topic { topic: topic.to_owned() }, ANSWER_WITHIN).await
    }

    /// The node's role, and what it listens to.
    pub async fn role(&self) -> Result<control::OwnRole, Error> {
        self.get(path::ROLE).await
    }

    /// Has the node take a role, in place of the one it has; `None` gives that up.
    pub async fn set_role(&self, role: Option<&control::Role>) -> Result<control::OwnRole, Error> {
        match role {
            Some(role) => self.put(path::ROLE, role).await,
            None => exchange::delete(self, path::ROLE, &control::Done {}, ANSWER_WITHIN).await,
        }
    }

    /// Says something on a topic.
    pub async fn publish(&self, said: &control::Publish) -> Result<(), Error> {
        self.post(path::PUBLISH, said).await.map(done)
    }

    /// The tasks that the node knows of.
    pub async fn tasks(&self) -> Result<Vec<control::Task>, Error> {
        self.get::<control::Tasks>(path::CLAIMS).await.map(|all| all.tasks)
    }

    /// All tasks, and then every change.
    pub async fn task_changes(&self) -> Result<Lines<control::TaskChange>, Error> {
        self.stream(path::CLAIM_CHANGES).await
    }

    /// Announces a task.
    pub async fn announce_task(&self, task: &control::NewTask) -> Result<control::Task, Error> {
        self.post(path::CLAIMS, task).await
    }

    /// Does something about a task; a decision that is waited for comes within ten seconds.
    pub async fn task_step(&self, step: &control::TaskStep) -> Result<control::Stepped, Error> {
        self.post(path::CLAIM_STEPS, step).await
    }

    /// Says what the node is doing; `None`: nothing.
    pub async fn set_status(&self, status: Option<Value>) -> Result<(), Error> {
        self.put(path::STATUS, &control::OwnStatus { status }).await.map(done)
    }

    /// What became of a message.
    pub async fn why(&self, message: Uuid) -> Result<control::Why, Error> {
        self.get(&query::path(path::WHY, &[("message", Some(message.to_string()))])).await
    }

    /// How the node is.
    pub async fn checkup(&self) -> Result<control::Checkup, Error> {
        self.get(path::CHECKUP).await
    }

    /// The configuration the node runs with.
    pub async fn settings(&self) -> Result<Vec<control::Setting>, Error> {
        self.get::<control::Settings>(path::SETTINGS).await.map(|all| all.settings)
    }

    /// A code that a browser on this machine exchanges for a session, once.
    pub async fn one_time_code(&self) -> Result<control::OneTimeCode, Error> {
        self.post(path::CODES, &control::Done {}).await
    }

    /// A connection over which the node speaks MCP as over stdio.
    pub async fn mcp(&self) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, Error> {
        exchange::upgrade(self, path::MCP_STDIO, "mcp", ANSWER_WITHIN).await
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        exchange::get(self, path, ANSWER_WITHIN).await
    }

    async fn post<T: serde::de::DeserializeOwned>(&self, path: &str, body: &impl serde::Serialize) -> Result<T, Error> {
        exchange::post(self, path, body, ANSWER_WITHIN).await
    }

    async fn put<T: serde::de::DeserializeOwned>(&self, path: &str, body: &impl serde::Serialize) -> Result<T, Error> {
        exchange::put(self, path, body, ANSWER_WITHIN).await
    }

    async fn stream<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<Lines<T>, Error> {
        exchange::open(self, path, ANSWER_WITHIN).await.map(Lines::new)
    }
}

fn done(_: control::Done) {}

#[cfg(test)]
mod tests;
