//! Federation: this node speaks for an origin, takes part in channels with others, and answers what they ask. The rules
//! are in `comity_core::federation`; one task ([`run`]) drives them, requests to others are tasks of their own
//! ([`sending`]), and what others ask comes by `door/federation.rs`. See `protocols/federation.md`.

mod answering;
mod calling;
mod check;
mod client;
mod comparing;
mod contract;
mod filling;
pub(crate) mod http;
mod origins;
mod own;
mod proof;
mod registry;
mod room;
mod run;
mod sending;
mod showing;

use answering::Transactions;
pub(crate) use answering::{NotAnswered, kinds};
pub(crate) use calling::Outgoing;
pub(crate) use check::{Budget, Checks, Refusal};
pub(crate) use client::{Client, Failure};
pub(crate) use contract::Refused;
pub use http::BadAuthorities;
pub(crate) use origins::{Known, Unknown};
pub(crate) use own::{FederationError, RoomInfo};
pub(crate) use registry::{Approved, Condition, NotApproved, Offer, Registry, Seen};

use crate::config;
use crate::driver::{Clock, Handle};
use crate::home::Home;
use crate::store::StoreError;
use crate::store::federation::{self as store, Batch, Lines, Writer};
use crate::tool::Tools;
use comity_core::federation::{ChannelId, Event, Origin, Pin};
use comity_core::id::NodeId;
use comity_core::throttle::{Config, Rate, Throttle};
use comity_core::tool::Who;
use comity_core::wire::federation::well_known::Rotation;
use contract::Told;
use http::{Http, Reach, Server};
use ipnet::IpNet;
use origins::Origins;
use proof::Proof;
use run::Hall;
use sending::Sender;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What waits for the task of federation, at most: whoever has more waits.
const TOLD_MAX: usize = 1024;

/// Events that a watcher may lag behind before it loses the oldest and is told so.
const WATCH_LAG_MAX: usize = 4096;

/// Transactions of one origin that are remembered a day, each with its answer.
const TRANSACTIONS: u32 = 4096;

/// Why federation cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BadFederation {
    /// Its file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The authorities.
    #[error(transparent)]
    Authorities(#[from] BadAuthorities),
}

/// An event of a channel, on disk here.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// The channel.
    pub(crate) channel: ChannelId,
    /// The event.
    pub(crate) event: Arc<Event>,
}

/// What becomes of an invitation.
#[derive(Debug)]
pub(crate) enum Invited {
    /// This origin is a member.
    Member {
        /// The last event that it has.
        upto: u64,
        /// The channel's number on disk, and the event by which it joined.
        joined: (u64, u64),
    },
    /// A person decides, once the invitation is on disk.
    Pending(oneshot::Receiver<bool>),
    /// Too many wait.
    Full,
}

/// The part of a node that speaks for an origin. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Federation(Arc<Shared>);

impl std::fmt::Debug for Federation {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Federation").field(self.origin()).finish()
    }
}

struct Shared {
    config: config::Federation,
    handle: Handle,
    origins: Origins,
    client: Client,
    registry: Registry,
    checks: Checks,
    sender: Sender,
    lines: Lines,
    disk: mpsc::Sender<Batch>,
    told: mpsc::Sender<Told>,
    news: broadcast::Sender<Arc<Shown>>,
    companions: watch::Receiver<Arc<BTreeSet<Origin>>>,
    keys: Arc<OwnKeys>,
    tools: Tools,
    under_way: Transactions,
    /// Locks and not messages: each is held for a moment.
    invitations: Mutex<Throttle>,
    transactions: Mutex<Throttle>,
}

/// The keys of this origin: what it shows of them, and which counted when.
struct OwnKeys {
    pin: Pin,
    rotations: Vec<Rotation>,
}

impl OwnKeys {
    /// `rotations` lead to this key.
    fn new(me: &Origin, key: NodeId, rotations: Vec<Rotation>) -> Self {
        Self { pin: Pin::own(me, key, &rotations), rotations }
    }
}

/// What a node must wait for when federation ends.
pub(crate) struct Running {
    told: mpsc::Sender<Told>,
    disk: mpsc::Sender<Batch>,
    hall: JoinHandle<()>,
    writer: JoinHandle<()>,
    /// Cancelled when the writer has nothing more to write; also when the node is dropped.
    written: CancellationToken,
}

impl Running {
    /// Ends: what was said is on disk then. Whoever asks later is told that the node is leaving.
    pub(crate) async fn end(self) {
        let _ = self.told.send(Told::End).await;
        // Err: the task panicked, and the log says where.
        let _ = self.hall.await;
        let (waiter, is_safe) = oneshot::channel();
        let _ = self.disk.send(Batch { writes: Vec::new(), done: Some(store::Done::Waiter(waiter)) }).await;
        let _ = is_safe.await;
        self.written.cancel();
        let _ = self.writer.await;
    }
}

/// Where other origins may be, and by whose word their certificates are good.
fn reach(config: &config::Federation, own_doors: Vec<SocketAddr>) -> Reach {
    let mut networks = config.networks.clone();
    if origins::is_local(&config.origin) {
        networks.extend(loopback());
    }
    Reach { networks, own_doors, server: Server::Authority("federation.ca_file", config.ca_file.clone()) }
}

impl Federation {
    /// Begins to speak for the origin of this configuration. Needs a tokio runtime.
    pub(crate) async fn start(
        config: config::Federation,
        handle: &Handle,
        (home, rotations): (&Arc<Home>, Vec<Rotation>),
        ((own_doors, window), tools): ((Vec<SocketAddr>, Duration), Tools),
    ) -> Result<(Self, Running), BadFederation> {
        let (writer, lines, mut restored) = store::open(&home.federation(), handle.now().wall).await?;
        let http = Http::new(reach(&config, own_doors))?;
        let (disk, batches) = Writer::queue();
        let pins = std::mem::take(&mut restored.pins);
        let nonces = std::mem::take(&mut restored.nonces);
        let shown = std::mem::take(&mut restored.shown);
        let me = config.origin.clone();
        let origins = Origins::new(http, config.plain.clone(), disk.clone(), pins);
        let client = Client::new((me.clone(), &config.blocked), handle.clone(), origins.clone());
        let approvals = std::mem::take(&mut restored.approvals);
        let registry = Registry::new(client.clone(), handle.clone(), disk.clone(), approvals);
        let guarded = (me.clone(), config.blocked.clone(), config.requests_per_minute);
        let checks = Checks::new(guarded, handle.clone(), origins.clone(), disk.clone(), (window, nonces));
        let keys = Arc::new(OwnKeys::new(&me, handle.me().node(), rotations));
        let proof = Proof { me: me.clone(), handle: handle.clone(), keys: keys.clone(), origins: origins.clone() };
        let (told, arriving) = mpsc::channel(TOLD_MAX);
        let (stored, storing) = mpsc::unbounded_channel();
        let sender =
            Sender::new((me.clone(), client.clone(), proof), lines.clone(), told.clone(), handle.stop().clone());
        let news = broadcast::Sender::new(WATCH_LAG_MAX);
        let (companions, shared) = watch::channel(Arc::default());
        let tell = move |number, upto, is_safe| {
            // Err: the node has ended.
            let _ = stored.send(Told::Stored { number, upto, is_safe });
        };
        let written = handle.stop().child_token();
        let (writing, home) = (writer.run(batches, (tell, Clock::wall), written.clone()), home.clone());
        let writer = tokio::spawn(async move {
            writing.await;
            // The data directory is this node's until the file is closed.
            drop(home);
        });
        let hall = Hall::open(
            (me, (config.events_per_second, config.quota), config.compare_every),
            handle.clone(),
            sender.clone(),
            disk.clone(),
            (news.clone(), companions),
            restored,
        );
        let hall = tokio::spawn(hall.await.run(arriving, storing));
        let running = Running { told: told.clone(), disk: disk.clone(), hall, writer, written };
        let federation = Self(Arc::new(Shared {
            invitations: pace(config.invitations_per_hour),
            config,
            handle: handle.clone(),
            origins,
            client,
            registry: registry.clone(),
            checks,
            sender,
            lines,
            disk,
            told,
            news,
            companions: shared.clone(),
            keys,
            under_way: Transactions::default(),
            tools,
            transactions: pace(TRANSACTIONS),
        }));
        let (showing, stop) = (federation.clone().show_all(shown), handle.stop().clone());
        tokio::spawn(async move { stop.run_until_cancelled(showing).await });
        let (asking, stop) = (registry.run(shared), handle.stop().clone());
        tokio::spawn(async move { stop.run_until_cancelled(asking).await });
        Ok((federation, running))
    }

    /// The name of this origin.
    pub(crate) fn origin(&self) -> &Origin {
        &self.0.config.origin
    }

    /// What this origin obeys.
    pub(crate) fn config(&self) -> &config::Federation {
        &self.0.config
    }

    /// What checks requests.
    pub(crate) fn checks(&self) -> &Checks {
        &self.0.checks
    }

    /// What is known of other origins' tools and health.
    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The node.
    pub(crate) fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// What is shown of channels from now on.
    pub(crate) fn news(&self) -> broadcast::Receiver<Arc<Shown>> {
        self.0.news.subscribe()
    }

    /// Which budget what belongs to channels is taken from.
    pub(crate) fn budget_of(&self, origin: &Origin) -> Budget {
        if self.0.companions.borrow().contains(origin) { Budget::Channels } else { Budget::Origin }
    }

    /// An origin's request was accepted: its key is pinned on disk from now on.
    pub(crate) async fn keep_key(&self, origin: &Origin) {
        let is_named = || {
            let rules = self.0.tools.policy().rules();
            let names = |who: &Who| matches!(who, Who::Origin(named) if named == origin);
            self.0.companions.borrow().contains(origin) || rules.iter().any(|rule| names(&rule.who))
        };
        if self.0.origins.is_kept(origin) {
            return;
        }
        if is_named() {
            self.0.origins.keep(origin).await;
        } else {
            self.0.origins.keep_stranger(origin).await;
        }
    }

    /// Asks the task of federation, and waits for its answer; `None` when the node has ended.
    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Told) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.0.told.send(question(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// What each origin may do so often, by a clock that the caller chooses.
fn pace(count: u32) -> Mutex<Throttle> {
    let rate = Rate { per_second: count, burst: count };
    let config = Config { sender: rate, address: rate, ..Config::default() };
    Mutex::new(Throttle::new(config, rand::random()))
}

fn loopback() -> [IpNet; 2] {
    [[127, 0, 0, 0].into(), [0u16, 0, 0, 0, 0, 0, 0, 1].into()].map(|address: std::net::IpAddr| {
        let bits = if address.is_ipv4() { 8 } else { 128 };
        IpNet::new(address, bits).expect("8 and 128 bits are lengths of prefixes")
    })
}
