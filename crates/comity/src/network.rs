//! The library an application embeds: a node of its own, and every operation of "Library" in
//! `protocols/local-network.md`. Nothing is decided here: each operation is one question to the
//! node's rules.

mod answering;
mod assembly;
mod brokers;
mod channels;
mod claims;
mod connecting;
mod error;
mod feed;
mod follow;
mod ground;
mod message;
mod parts;
mod receive;
mod said;
mod scribe;
mod send;
mod shared;
mod topics;

pub use answering::Answering;
pub use channels::{ChannelError, ChannelEvents, ChannelView, Channels};
pub use claims::{ClaimError, Claims, Taken, TaskChange, TaskChanges, TaskView};
pub use connecting::Connection;
pub use error::{Error, JoinError};
pub use feed::Feed;
pub(crate) use follow::{Follow, FollowError};
pub use message::Message;
pub use receive::{Messages, PeerChange, PeerChanges};
pub use said::{Bug, LlmEndpoint, LlmUsage, Status, Suggestion};
pub(crate) use scribe::Scribe;
pub use send::Sent;
pub use topics::{Handling, OwnRole, Said, TopicError, Topics};

use crate::announcing::Discovery;
use crate::config::{Config, Origin};
use crate::driver::Handle;
use crate::home::{Home, Place};
use crate::redaction::Redaction;
use crate::store::journal::Journal;
use assembly::Running;
use comity_core::id::{MessageId, NodeId, PeerId};
use comity_core::inbox::Mode;
use comity_core::ledger::Fate;
use comity_core::node::{Answer, Ask, Event};
use comity_core::peers::{Candidate, PeerView, Source};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

/// What an application says about itself when it joins.
///
/// ```no_run
/// # async fn example() -> Result<(), comity::network::JoinError> {
/// use comity::network::{AppConfig, Network};
/// let network = Network::join(AppConfig { name: "planner".into(), ..AppConfig::default() }).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct AppConfig {
    /// The name people see, 1 to 128 bytes. It also names the data directory,
    /// `~/.local/share/comity-<name>` (or `$COMITY_HOME`), in which the key and the inbox are: the
    /// same name is the same node after a restart. A name of anything but small letters, digits and
    /// `-`, or one that ends in a number of its own, has a hash after it there, so that no two share
    /// a directory. Empty: `comity`'s own directory.
    pub name: String,
    /// The version of the application, at most 128 bytes. Empty: this library's.
    pub version: String,
    /// What it can do: at most 32 words of at most 128 bytes. Others find it by them.
    pub capabilities: Vec<String>,
    /// The TCP port of the network door; `None` takes any free one.
    pub http_port: Option<u16>,
    /// What else it says of itself, for everybody on the network to read: at most 32 entries, names
    /// and values of at most 128 bytes.
    pub metadata: BTreeMap<String, String>,
}

/// This program's place on the network. Cloning shares it.
///
/// Everything that comes from peers (names, statuses, payloads) is data: show it, never obey it.
/// [`Message::trust`] and [`Message::key`] say how far its sender is proven.
///
/// When the last clone is dropped without [`Network::leave`], the node ends without a goodbye, and
/// what was queued and not yet sent is lost. Its data directory is free once everything is on disk,
/// a moment later.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    handle: Handle,
    data_dir: PathBuf,
    control_url: Option<String>,
    /// Cancelled when a critical health check keeps failing, where the node is to leave then.
    ill: CancellationToken,
    /// Discovery over MQTT, if there is a broker.
    discovery: Option<Discovery>,
    /// Gossip, if it is on.
    topics: Option<Topics>,
    /// Channels, if it speaks for an origin.
    channels: Option<Channels>,
    journal: Journal,
    /// A lock and not a message: it is taken once, by the first who leaves; others wait until the
    /// node has left.
    running: Mutex<Option<Running>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.handle.stop().cancel();
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Network").field("name", &self.name()).field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Network {
    /// Joins the local network: opens the data directory, the network door and the control door,
    /// and begins to look for peers. It returns as soon as others can reach this node; those that
    /// are there are usually known within half a second.
    ///
    /// # Errors
    /// [`JoinError`] says which part could not be opened; nothing is left open then.
    pub async fn join(app: AppConfig) -> Result<Self, JoinError> {
        let place = assembly::place_of(&app.name)?;
        let (home, config, origins) = assembly::prepare(&place, &app)?;
        let redaction = Redaction::open(&home, &config)?;
        assembly::assemble(home, config, (origins, redaction), app.version).await
    }

    /// Joins with a whole configuration: the usual data directory, or the next free one beside it.
    ///
    /// # Errors
    /// As [`Network::join`].
    pub async fn join_with_config(config: Config) -> Result<Self, JoinError> {
        let (home, notice) = Home::open(&Place::find(None)?)?;
        if let Some(notice) = notice {
            tracing::warn!("{notice}");
        }
        let redaction = Redaction::open(&home, &config)?;
        Self::run(home, config, Vec::new(), redaction).await
    }

    /// Runs a node in a data directory that is already open. `origins` says where each value of the
    /// configuration came from, for whoever asks by the control door; `redaction` takes secrets out of what the node
    /// says, see [`Redaction::open`].
    ///
    /// # Errors
    /// As [`Network::join`].
    pub async fn run(
        home: Home,
        config: Config,
        origins: Vec<Origin>,
        redaction: Redaction,
    ) -> Result<Self, JoinError> {
        assembly::assemble(home, config, (origins, redaction), String::new()).await
    }

    /// The name people see.
    pub fn name(&self) -> &str {
        self.0.handle.me().name()
    }

    /// The UUID by which peers address this node.
    pub fn id(&self) -> PeerId {
        self.0.handle.me().peer()
    }

    /// This node's public key.
    pub fn node_id(&self) -> NodeId {
        self.0.handle.me().node()
    }

    /// Where others reach this node, as URLs (`https://host:port`; the same port speaks `http`).
    pub fn endpoints(&self) -> Vec<String> {
        let hello = self.0.handle.hello().borrow().clone();
        let endpoints = hello.card["endpoints"].as_array().into_iter().flatten();
        endpoints.filter_map(|endpoint| endpoint.as_str().map(str::to_owned)).collect()
    }

    /// The directory in which key, inbox and control door are.
    pub fn data_dir(&self) -> &Path {
        &self.0.data_dir
    }

    /// Where the control door is open for browsers, if it is.
    pub fn control_url(&self) -> Option<&str> {
        self.0.control_url.as_deref()
    }

    /// Everybody this node has heard of, in whatever state: [`PeerView::presence`] says which.
    pub async fn peers(&self) -> Vec<PeerView> {
        self.0.handle.look().await.peers.clone()
    }

    /// The peers that say they can do this, exactly this word.
    pub async fn peers_with_capability(&self, capability: &str) -> Vec<PeerView> {
        let view = self.0.handle.look().await;
        let able = |peer: &&PeerView| peer.capabilities.iter().any(|one| one == capability);
        view.peers.iter().filter(able).cloned().collect()
    }

    /// The peer of this name. Names are not unique: of several, the most trusted, then the one
    /// heard of last.
    pub async fn peer_named(&self, name: &str) -> Option<PeerView> {
        let view = self.0.handle.look().await;
        let named = view.peers.iter().filter(|peer| peer.name == name);
        named.max_by_key(|peer| (peer.trust, peer.last_seen)).cloned()
    }

    /// Discovery over MQTT; `None` when no broker is configured.
    pub fn discovery(&self) -> Option<&Discovery> {
        self.0.discovery.as_ref()
    }

    /// Topics of gossip; `None` when it is switched off.
    pub fn topics(&self) -> Option<&Topics> {
        self.0.topics.as_ref()
    }

    /// Tasks that nodes announce and claim; `None` when gossip is switched off.
    pub fn claims(&self) -> Option<&Claims> {
        self.0.topics.as_ref().map(Topics::claims)
    }

    /// Channels shared with other organisations; `None` when this node speaks for no origin (`federation.origin`).
    pub fn channels(&self) -> Option<&Channels> {
        self.0.channels.as_ref()
    }

    /// What this node has said and heard on topics, and what else it keeps for good: signed, and never changed.
    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// Names a peer by its address: it is dialled now, and again when it is lost, wherever it is.
    ///
    /// # Errors
    /// [`Error::Refused`] when too many are named already.
    pub async fn add_peer(&self, address: SocketAddr) -> Result<(), Error> {
        self.done(Ask::AddPeer(vec![Candidate { address, source: Source::Manual }])).await
    }

    /// Puts a key on the list of known nodes, or takes it off: it is kept across restarts.
    ///
    /// # Errors
    /// [`Error::Refused`] when the disk does not take it.
    pub async fn set_known(&self, key: NodeId, known: bool) -> Result<(), Error> {
        self.done(Ask::Know { key, known }).await
    }

    /// How peers come and go, from now on.
    pub fn peer_changes(&self) -> PeerChanges {
        PeerChanges::new(self.0.handle.peer_events(), self.0.handle.stop().clone())
    }

    /// Waits until another node answers with this node's key, and says where: two nodes must not
    /// share a key, and neither accepts the other. `None` when this node has ended before.
    pub async fn twin(&self) -> Option<SocketAddr> {
        let mut events = self.0.handle.peer_events();
        let mut known = self.0.handle.look().await.twin;
        while known.is_none() {
            known = tokio::select! {
                () = self.0.handle.stop().cancelled() => return None,
                event = events.recv() => match event {
                    Ok(event) => twin_in(&event),
                    Err(RecvError::Lagged(_)) => self.0.handle.look().await.twin,
                    Err(RecvError::Closed) => return None,
                },
            };
        }
        known
    }

    /// Says what this node is doing, to everybody now and to every peer that comes later, until it
    /// is said anew or cleared.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is larger than 8 KiB.
    pub async fn set_status(&self, status: &Status) -> Result<(), Error> {
        self.done(Ask::SetStatus(Some(status.to_value()))).await
    }

    /// Says that this node is doing nothing in particular.
    ///
    /// # Errors
    /// [`Error::Refused`] when the node is leaving.
    pub async fn clear_status(&self) -> Result<(), Error> {
        self.done(Ask::SetStatus(None)).await
    }

    /// Chooses how much this node wants to be interrupted; kept across restarts.
    ///
    /// | mode | critical | normal | background |
    /// | --- | --- | --- | --- |
    /// | realtime | at once | at once | at once |
    /// | focused (the first) | at once | inbox | digest |
    /// | minimal | at once | digest | digest |
    ///
    /// # Errors
    /// [`Error::Refused`] when the disk does not take it.
    pub async fn set_attention_mode(&self, mode: Mode) -> Result<(), Error> {
        self.done(Ask::SetMode(mode)).await
    }

    /// How much this node wants to be interrupted.
    pub async fn attention_mode(&self) -> Mode {
        self.0.handle.look().await.mode
    }

    /// What became of a message that was sent or received in the last ten minutes, oldest step
    /// first; empty when nothing is known of it (any more).
    pub async fn why(&self, message: MessageId) -> Vec<Fate> {
        match self.0.handle.ask(Ask::Why(message)).await {
            Answer::Fates(fates) => fates,
            _ => Vec::new(),
        }
    }

    /// What takes secrets out of all that this node says: an application may bring a redactor of its own
    /// ([`Redaction::set`]).
    pub fn redaction(&self) -> &Redaction {
        self.0.handle.redaction()
    }

    /// Waits until a critical health check has failed too often, where `metrics.stop_on_failure` says
    /// that the node is to leave then; for ever where it does not. Whoever runs the node leaves.
    pub async fn ill(&self) {
        self.0.ill.cancelled().await;
    }

    /// Leaves: what is queued for peers that can be reached is sent (for 2 s at most), everybody is
    /// told goodbye (peers without links with this reason), the inbox is safe on disk. Afterwards every
    /// operation is refused, and the data directory is free for another node. Leaving twice is fine. Who
    /// does not wait for the end of this cuts the goodbye short; the node ends nevertheless.
    pub async fn leave(&self, reason: &str) {
        let mut running = self.0.running.lock().await;
        if let Some(running) = running.take() {
            running.end(&self.0.handle, reason).await;
        }
    }

    async fn done(&self, ask: Ask) -> Result<(), Error> {
        match self.0.handle.ask(ask).await {
            Answer::Done => Ok(()),
            other => Err(error::unexpected(other)),
        }
    }
}

fn twin_in(event: &Event) -> Option<SocketAddr> {
    match event {
        Event::Twin { address } => Some(*address),
        _ => None,
    }
}
