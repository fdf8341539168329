//! Finding others by MQTT brokers, and being found. One task a broker speaks; one task here keeps what
//! they all say, by the rules of [`comity_core::announced`], and tells the node. See
//! `protocols/mqtt-discovery.md`.

mod announcer;
mod connection;
mod member;
mod signals;
#[cfg(test)]
mod tests;
mod transport;

pub(crate) use announcer::Advertised;

use crate::config::{BrokerUrl, Mqtt as Settings};
use crate::driver::Clock;
use crate::observe::Counters;
use comity_core::announced::{Announced, AnnouncedPeer, Config, Dropped, Heard, Output};
use comity_core::id::PeerId;
use comity_core::identity::key::KeyPair;
use comity_core::node::{Input, SourceHealth};
use comity_core::peers::Source;
use comity_core::wire::announce::{About, BODY_MAX};
use member::{Member, State, Told};
use mqtt5::types::ReasonCode;
use serde_json::{Map, Value};
use signals::{SIGNALS_MAX, Taken};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// Messages of all brokers that wait to be judged.
const TOLD_MAX: usize = 1024;

/// Orders that wait for one task.
const ORDERS_MAX: usize = 64;

/// News of peers that a slow watcher may lag behind.
const NEWS_MAX: usize = 256;

/// How long all brokers together may take to let this node go.
const LEAVE_TIME: Duration = Duration::from_millis(2500);

/// How often it is logged what was dropped.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Why messages do not count, besides what the rules say of them.
const OTHER_CAUSES: [&str; 6] = ["flood", "overflow", "signal", "signals_full", "orders_full", "broker_away"];

/// What the source is made of.
pub(crate) struct Setup {
    /// What was configured.
    pub(crate) settings: Settings,
    /// The brokers, the embedded one by its address.
    pub(crate) urls: Vec<BrokerUrl>,
    /// The key of this node.
    pub(crate) keys: KeyPair,
    /// Whether it is remembered.
    pub(crate) session: Session,
    /// What is announced; `None`: nothing is, this one only listens.
    pub(crate) advertised: Option<Advertised>,
    /// Where is counted what does not count.
    pub(crate) counters: Counters,
}

/// Who this is to a broker once the connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// The same when it comes back: what came meanwhile waits for it.
    Kept,
    /// Nobody: each start is somebody new, beside a node and others with the same key.
    Passing,
}

/// A signal for this node, as it came: who sent it is said by what is in it, not by `from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signal {
    /// Who it claims to be from.
    pub(crate) from: PeerId,
    /// What it says, at most 64 KiB.
    pub(crate) body: bytes::Bytes,
}

/// What is new about who is announced.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    /// Somebody is there, or says something new.
    Here(Arc<AnnouncedPeer>),
    /// Somebody is gone.
    Gone(PeerId),
}

/// How the brokers are, for who asks the source itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// How many there are.
    pub brokers: usize,
    /// How many of them are connected and let this node speak and hear.
    pub up: usize,
    /// What is wrong with each of the others that is known not to be.
    pub troubles: Vec<String>,
    /// Which nothing is known of yet.
    pub silent: Vec<String>,
}

/// The running source. When all of it is dropped without [`Mqtt::leave`], it says goodbye by itself, if it is given the
/// time; if the process ends first, brokers publish the will.
#[derive(Clone)]
pub(crate) struct Mqtt {
    orders: mpsc::Sender<Order>,
    said: watch::Sender<Option<Arc<Advertised>>>,
    news: broadcast::Sender<News>,
    standing: watch::Receiver<Standing>,
}

enum Order {
    Signal { to: PeerId, body: Vec<u8> },
    Friends(BTreeSet<PeerId>),
    Peers(oneshot::Sender<Vec<AnnouncedPeer>>),
    Leave(oneshot::Sender<()>),
}

/// A signal that is larger than brokers pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signal is at most {BODY_MAX} bytes")]
pub(crate) struct SignalTooLarge;

/// Starts to listen to the brokers, and to announce this node there. What is heard goes to `inform`; signals for this
/// node come out of the receiver.
pub(crate) fn start<F, Informed>(setup: Setup, inform: F) -> (Mqtt, mpsc::Receiver<Signal>)
where
    F: Fn(Input) -> Informed + Send + Sync + 'static,
    Informed: Future<Output = ()> + Send + 'static,
{
    let (orders, waiting) = mpsc::channel(ORDERS_MAX);
    let (told_sender, told) = mpsc::channel(TOLD_MAX);
    let (signal_sender, signals) = mpsc::channel(SIGNALS_MAX);
    let news = broadcast::Sender::new(NEWS_MAX);
    let said = watch::Sender::new(setup.advertised.map(Arc::new));
    let (settings, keys) = (Arc::new(setup.settings), Arc::new(setup.keys));
    let topics = settings.topics.clone();
    let mut brokers = Vec::new();
    for (number, url) in setup.urls.iter().enumerate() {
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        let member = Member {
            number,
            url: url.clone(),
            config: settings.clone(),
            keys: keys.clone(),
            client_id: client_id(&settings, &keys, setup.session, url),
            session: match setup.session {
                Session::Kept => settings.interval * 3,
                Session::Passing => Duration::ZERO,
            },
            willing: false,
            said: said.subscribe(),
            orders: waiting,
            told: told_sender.clone(),
            counters: setup.counters.clone(),
        };
        brokers.push(Broker { url: url.to_string(), orders, state: None, task: tokio::spawn(member.run()) });
    }
    let (stands, standing) = watch::channel(Standing::of(&brokers));
    let hub = Hub {
        me: keys.peer(),
        announced: Announced::new(Config {
            me: keys.peer(),
            topics: topics.clone(),
            brokers: brokers.len(),
            unsigned: settings.unsigned,
        }),
        topics,
        brokers,
        signals: signal_sender,
        taken: Taken::default(),
        news: news.clone(),
        clock: Clock::start(),
        counters: setup.counters,
        counted: BTreeMap::new(),
        report_at: Instant::now() + REPORT_EVERY,
        reported: BTreeMap::new(),
        health: None,
        stands,
        inform,
    };
    tokio::spawn(hub.run(waiting, told));
    (Mqtt { orders, said, news, standing }, signals)
}

impl Mqtt {
    /// Publishes what has changed.
    pub(crate) fn announce(&self, mut advertised: Advertised) {
        self.said.send_if_modified(|said| {
            if let Some(said) = said.as_ref().filter(|said| said.chosen) {
                (advertised.metadata, advertised.chosen) = (said.metadata.clone(), true);
            }
            let changed = said.as_deref() != Some(&advertised);
            if changed {
                *said = Some(Arc::new(advertised));
            }
            changed
        });
    }

    /// Says this of the node from now on, besides what it says anyway.
    pub(crate) fn announce_metadata(&self, metadata: Map<String, Value>) {
        self.said.send_modify(|said| {
            if let Some(said) = said {
                let said = Arc::make_mut(said);
                (said.metadata, said.chosen) = (metadata, true);
            }
        });
    }

    /// Sends a signal to a peer by every broker that is connected or about to be. Whether it arrives nobody says.
    pub(crate) async fn publish_signal(&self, to: PeerId, body: Vec<u8>) -> Result<(), SignalTooLarge> {
        if body.len() > BODY_MAX {
            return Err(SignalTooLarge);
        }
        // Err: the source has ended.
        let _ = self.orders.send(Order::Signal { to, body }).await;
        Ok(())
    }

    /// Says for whom there must be room, however many others are announced.
    pub(crate) async fn befriend(&self, friends: BTreeSet<PeerId>) {
        // Err: the source has ended.
        let _ = self.orders.send(Order::Friends(friends)).await;
    }

    /// Everybody who is announced now.
    pub(crate) async fn peers(&self) -> Vec<AnnouncedPeer> {
        let (reply, peers) = oneshot::channel();
        // Err: the source has ended, and nobody is there.
        let _ = self.orders.send(Order::Peers(reply)).await;
        peers.await.unwrap_or_default()
    }

    /// What is new from now on.
    pub(crate) fn news(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// How the brokers are, as it changes.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Says goodbye to every broker and ends.
    pub(crate) async fn leave(self) {
        let (done, ended) = oneshot::channel();
        if self.orders.send(Order::Leave(done)).await.is_ok() {
            // Err: the task has ended already.
            let _ = ended.await;
        }
    }
}

/// A name of at most 23 bytes, as old brokers want it, and which nobody can guess: whoever connects under it has the
/// broker throw this node out and publish its will. Another at each broker, because some tell it to all who listen: the
/// embedded one does.
fn client_id(settings: &Settings, keys: &KeyPair, session: Session, broker: &BrokerUrl) -> String {
    match (session, &settings.client_id) {
        (Session::Kept, Some(own)) => own.clone(),
        (Session::Kept, None) => {
            let secret = u64::from_be_bytes(keys.secret_for(&format!("mqtt client id {broker}")));
            format!("comity-{secret:016x}")
        }
        (Session::Passing, Some(own)) => format!("{own}-{:08x}", rand::random::<u32>()),
        (Session::Passing, None) => format!("comity-{:016x}", rand::random::<u64>()),
    }
}

impl Standing {
    fn of(brokers: &[Broker]) -> Self {
        Self {
            brokers: brokers.len(),
            up: brokers.iter().filter(|broker| broker.state == Some(State::Up)).count(),
            troubles: brokers.iter().filter_map(Broker::trouble).collect(),
            silent: brokers.iter().filter(|broker| broker.state.is_none()).map(|broker| broker.url.clone()).collect(),
        }
    }
}

/// A broker and its task.
struct Broker {
    url: String,
    orders: mpsc::Sender<member::Order>,
    state: Option<State>,
    task: JoinHandle<()>,
}

/// The one owner of what brokers say.
struct Hub<F> {
    me: PeerId,
    announced: Announced,
    topics: comity_core::wire::announce::Topics,
    brokers: Vec<Broker>,
    signals: mpsc::Sender<Signal>,
    taken: Taken,
    news: broadcast::Sender<News>,
    clock: Clock,
    counters: Counters,
    /// What was added to the counters.
    counted: BTreeMap<Dropped, u64>,
    report_at: Instant,
    /// What was said in the log.
    reported: BTreeMap<&'static str, u64>,
    health: Option<SourceHealth>,
    stands: watch::Sender<Standing>,
    inform: F,
}

impl<F, Informed> Hub<F>
where
    F: Fn(Input) -> Informed + Send + Sync,
    Informed: Future<Output = ()> + Send,
{
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, mut told: mpsc::Receiver<Told>) {
        loop {
            let now = self.clock.now().mono;
            let wake = self.announced.wake_at().map(|at| Instant::now() + at.saturating_sub(now));
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Signal { to, body }) => self.signal(to, &body),
                    Some(Order::Friends(friends)) => self.announced.set_friends(friends),
                    // Err: nobody waits.
                    Some(Order::Peers(reply)) => drop(reply.send(self.announced.peers().collect())),
                    Some(Order::Leave(done)) => {
                        self.leave(&mut told).await;
                        // Err: nobody waits.
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
                // Before what comes: whoever floods must not keep those who have run out.
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    self.announced.wake(self.clock.now());
                    self.act().await;
                }
                () = sleep_until(self.report_at) => self.report(),
                Some(told) = told.recv() => self.hear(told).await,
            }
        }
    }

    async fn hear(&mut self, told: Told) {
        match told {
            Told::State { broker, state } => {
                self.brokers[broker].state = Some(state);
                self.stands.send_replace(Standing::of(&self.brokers));
                self.judge_health().await;
            }
            Told::Message { broker, remote, topic, body, retain } => {
                if let Some((to, About::Signal(from))) = self.topics.read(&topic) {
                    self.take_signal(to, from, body);
                    return;
                }
                let heard = Heard { broker, told_by: Some(remote), topic: &topic, body: &body, retain };
                self.announced.handle(heard, self.clock.now());
                self.act().await;
            }
        }
    }

    /// Does what the rules want, and counts what they dropped.
    async fn act(&mut self) {
        let outputs: Vec<Output> = self.announced.outputs().collect();
        for output in outputs {
            match output {
                Output::Sighted(sighting) => {
                    if self.news.receiver_count() > 0
                        && let Some(peer) = self.announced.find(&sighting)
                    {
                        // Err: nobody watches.
                        let _ = self.news.send(News::Here(Arc::new(peer)));
                    }
                    (self.inform)(Input::Sighted(*sighting)).await;
                }
                Output::Unsighted { peer } => {
                    let _ = self.news.send(News::Gone(peer));
                    (self.inform)(Input::Unsighted { source: Source::Mqtt, peer }).await;
                }
                Output::Probe(peer) => (self.inform)(Input::Doubted { peer }).await,
                Output::Newcomer { broker } => {
                    // Err: it has enough to do, or was told already.
                    let _ = self.brokers[broker].orders.try_send(member::Order::Answer);
                }
            }
        }
        for (cause, count) in self.announced.dropped() {
            let counted = self.counted.entry(*cause).or_default();
            self.counters.unannounced(cause.name(), count - *counted);
            *counted = *count;
        }
    }

    /// Says in the log what was dropped since the last time, and how many are there now.
    fn report(&mut self) {
        self.report_at = Instant::now() + REPORT_EVERY;
        // Everybody hears himself, all the time.
        let causes = Dropped::ALL.into_iter().filter(|cause| *cause != Dropped::Itself).map(Dropped::name);
        for cause in causes.chain(OTHER_CAUSES) {
            let count = self.counters.unannounced_so_far(cause);
            let messages = count - self.reported.insert(cause, count).unwrap_or(0);
            if messages > 0 {
                tracing::warn!(cause, messages, "MQTT messages did not count");
            }
        }
        self.counters.announced(self.announced.len());
    }

    async fn judge_health(&mut self) {
        if self.brokers.iter().any(|broker| broker.state.is_none()) && !self.brokers.iter().any(Broker::fails) {
            return;
        }
        let troubles: Vec<String> = self.brokers.iter().filter_map(Broker::trouble).collect();
        let health = if troubles.is_empty() { SourceHealth::Up } else { SourceHealth::Failed(troubles.join("; ")) };
        if self.health.as_ref() != Some(&health) {
            if let SourceHealth::Failed(why) = &health {
                tracing::warn!(%why, "MQTT");
            }
            self.health = Some(health.clone());
            (self.inform)(Input::Source { source: Source::Mqtt, health }).await;
        }
        self.counters.announced(self.announced.len());
    }

    async fn leave(self, told: &mut mpsc::Receiver<Told>) {
        let mut tasks = Vec::new();
        for broker in self.brokers {
            // Err: the task has ended.
            let _ = timeout(LEAVE_TIME / 4, broker.orders.send(member::Order::Leave)).await;
            tasks.push(broker.task);
        }
        let all = async {
            for task in tasks {
                // Err: the task panicked, and the log says where.
                let _ = task.await;
            }
        };
        tokio::select! {
            ended = timeout(LEAVE_TIME, all) => if ended.is_err() {
                tracing::debug!("an MQTT broker took too long to let this node go");
            },
            // What still comes is let pass, so that nobody waits to hand it over.
            () = async { while told.recv().await.is_some() {} } => {}
        }
    }
}

impl Broker {
    fn fails(&self) -> bool {
        matches!(self.state, Some(State::Down(_) | State::Denied { .. }))
    }

    /// What is wrong with it, if anything is.
    fn trouble(&self) -> Option<String> {
        match self.state.as_ref()? {
            State::Up => None,
            State::Down(why) => Some(format!("{}: {why}", self.url)),
            State::Denied { topic, code: ReasonCode::NotAuthorized | ReasonCode::UnspecifiedError } => {
                Some(format!("{}: it denies this node {topic}: permit it in the broker's access list", self.url))
            }
            State::Denied { topic, code } => {
                Some(format!("{}: it does not take {topic} ({code:?}): the broker's log says more", self.url))
            }
        }
    }
}
