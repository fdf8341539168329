//! Links by WebRTC: connections between nodes that cannot reach each other's port, through NATs and
//! relays. To the rules they are links like others: the same frames go over a data channel. See
//! "WebRTC" in `protocols/mqtt-discovery.md`.

mod agent;
mod channel;
mod pipe;
mod ports;
mod reflexive;
mod relay;
mod route;
mod server;
mod session;

#[cfg(test)]
mod tests;

pub(crate) use server::{Server, relay_tls};

use super::post::Whom;
use super::{Cause, Links};
use agent::{Agent, News};
use channel::DataChannel;
use comity_core::id::{DialId, LinkId, NodeId, PeerId};
use comity_core::identity::guard;
use comity_core::node::{DialOutcome, Input};
use comity_core::wire::signal::{Kind, Signal};
use route::Route;
use session::{Order, Session};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use str0m::Candidate;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

/// The channel that carries a link.
const LINK: &str = "comity";

/// Where offers are taken.
pub(crate) const SIGNALING: &str = "/dashflow/rtc";

/// Connections that a node may have or try at once. Each holds a few sockets and some 100 KiB.
const SESSIONS_MAX: usize = 256;

/// Connections that one address may be trying at once.
const FROM_ONE_ADDRESS_MAX: usize = 16;

/// Connections that strangers and others may be trying through brokers at once, which do not say where they are; and
/// that one key may be trying. This node's own attempts always find room.
const BY_BROKERS_MAX: usize = 64;
const FROM_ONE_KEY_MAX: usize = 2;

/// Attempts of this node at once; more take turns.
const ATTEMPTS_MAX: usize = 32;

/// How long the id of a session that ended is not taken again: longer than its offer is good.
const SPENT_FOR: Duration = Duration::from_secs(150);

/// How many such ids are kept.
const SPENT_MAX: usize = 4096;

/// Orders that wait for a session, at most.
const ORDERS_MAX: usize = 16;

/// How long a session may take to answer an offer of new paths.
const REOFFER_TIME: Duration = Duration::from_secs(3);

/// How long servers may take to hear that what they lent is not needed.
const RETURN_TIME: Duration = Duration::from_millis(200);

/// How signals go through the brokers: to whom, and the sealed signal.
pub(crate) type Broker = mpsc::Sender<(PeerId, Vec<u8>)>;

/// How connections find their way.
#[derive(Debug, Default)]
pub(crate) struct Ice {
    /// The servers that are asked.
    pub(crate) servers: Vec<Server>,
    /// The UDP ports that may be used; any when `None`.
    pub(crate) ports: Option<RangeInclusive<u16>>,
    /// How the certificates of `turns:` servers are checked; without it none is used.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

/// The WebRTC side of a node's links.
pub(crate) struct Rtc {
    /// `None` when it is switched off.
    ice: Option<Arc<Ice>>,
    broker: OnceLock<Broker>,
    /// By session. A lock and no message, since it is only looked up, by doors and the brokers' tasks.
    sessions: Mutex<BTreeMap<Uuid, Entry>>,
    /// Sessions that ended, so that whoever recorded an offer cannot make it again. A lock like that of the others.
    spent: Mutex<VecDeque<(Instant, Uuid)>>,
    turns: Arc<Semaphore>,
}

struct Entry {
    peer: NodeId,
    /// This side offered, and the link is not up yet.
    offering: bool,
    /// Whence an offer came; `None` when it was through a broker.
    from: Option<IpAddr>,
    /// The link, once it is up.
    link: Option<LinkId>,
    orders: Option<mpsc::Sender<Order>>,
}

impl Entry {
    fn offering(peer: NodeId) -> Self {
        Self { peer, offering: true, from: None, link: None, orders: None }
    }

    fn accepting(peer: NodeId, from: Option<IpAddr>) -> Self {
        Self { peer, offering: false, from, link: None, orders: None }
    }
}

impl Rtc {
    /// No connections yet.
    pub(crate) fn new(ice: Option<Ice>) -> Self {
        let turns = Arc::new(Semaphore::new(ATTEMPTS_MAX));
        let (sessions, spent) = (Mutex::default(), Mutex::default());
        Self { ice: ice.map(Arc::new), broker: OnceLock::new(), sessions, spent, turns }
    }

    fn agent(&self) -> Result<Agent, String> {
        let ice = self.ice.clone().ok_or("WebRTC is switched off here (webrtc.enabled)")?;
        Agent::new(ice).map_err(|error| format!("no UDP socket: {error}"))
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, BTreeMap<Uuid, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a session; `None` when there is none, or the id is taken.
    fn enter(&self, id: Uuid, entry: Entry) -> Option<mpsc::Receiver<Order>> {
        let mut sessions = self.sessions();
        if sessions.len() >= SESSIONS_MAX || sessions.contains_key(&id) {
            return None;
        }
        if !entry.offering {
            let accepting = || sessions.values().filter(|other| !other.offering && other.link.is_none());
            let from_there = accepting().filter(|other| other.from.map(block) == entry.from.map(block)).count();
            let from_it = accepting().filter(|other| other.peer == entry.peer).count();
            let there_max = if entry.from.is_some() { FROM_ONE_ADDRESS_MAX } else { BY_BROKERS_MAX };
            if from_there >= there_max || from_it >= FROM_ONE_KEY_MAX || self.is_spent(id) {
                return None;
            }
        }
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        sessions.insert(id, Entry { orders: Some(orders), ..entry });
        Some(waiting)
    }

    /// Its link is up.
    fn settle(&self, id: Uuid, link: LinkId) {
        if let Some(entry) = self.sessions().get_mut(&id) {
            (entry.offering, entry.link) = (false, Some(link));
        }
    }

    /// Whether this peer's own attempt is under way.
    fn is_accepting(&self, peer: NodeId) -> bool {
        self.sessions().values().any(|entry| entry.peer == peer && !entry.offering && entry.link.is_none())
    }

    fn is_spent(&self, id: Uuid) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        while spent.front().is_some_and(|(since, _)| since.elapsed() > SPENT_FOR) {
            spent.pop_front();
        }
        spent.iter().any(|(_, other)| *other == id)
    }

    /// The attempt of this side at connecting with this peer, if there is one.
    fn rival(&self, peer: NodeId) -> Option<mpsc::Sender<Order>> {
        self.sessions().values().find(|entry| entry.offering && entry.peer == peer)?.orders.clone()
    }

    /// Another channel of a connection with this peer, for a stream of packets.
    pub(super) async fn open_channel(&self, peer: NodeId) -> Option<DataChannel> {
        let orders =
            self.sessions().values().find(|entry| entry.link.is_some() && entry.peer == peer)?.orders.clone()?;
        let (reply, channel) = oneshot::channel();
        orders.send(Order::Channel(reply)).await.ok()?;
        channel.await.ok()
    }

    fn forget(&self, id: Uuid) {
        let entry = self.sessions().remove(&id);
        if entry.is_some_and(|entry| !entry.offering) {
            let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
            spent.push_back((Instant::now(), id));
            if spent.len() > SPENT_MAX {
                spent.pop_front();
            }
        }
    }

    /// Where orders for a session go, if it is with this peer.
    fn orders(&self, id: Uuid, peer: NodeId) -> Option<mpsc::Sender<Order>> {
        self.sessions().get(&id).filter(|entry| entry.peer == peer)?.orders.clone()
    }
}

impl Links {
    /// From now on signals can go through brokers.
    pub(crate) fn use_broker(&self, broker: Broker) {
        // Err: there is one already.
        let _ = self.0.rtc.broker.set(broker);
    }

    /// Connects to a peer by WebRTC: by the port it names, else through the broker. The driver is
    /// told the end.
    pub(crate) fn connect(&self, dial: DialId, peer: NodeId, url: Option<(SocketAddr, String)>) {
        let links = self.clone();
        drop(self.0.tasks.spawn(async move {
            let broker = links.0.rtc.broker.get().cloned();
            let route = match (url, broker) {
                (Some((address, path)), broker) => {
                    Route::Http { whom: Whom { address, key: Some(peer) }, path, resource: None, broker }
                }
                (None, Some(broker)) => Route::Broker(broker),
                (None, None) => return links.came_to_nothing(dial, "there is no way to signal to it").await,
            };
            // Err: the semaphore was closed, which nobody does.
            let turn = links.0.rtc.turns.clone().acquire_owned().await.ok();
            if links.0.rtc.is_accepting(peer) {
                return links.0.handle.inform(Input::Dialed { dial, outcome: DialOutcome::Yielded }).await;
            }
            let id = Uuid::new_v4();
            let Some(orders) = links.0.rtc.enter(id, Entry::offering(peer)) else {
                return links.came_to_nothing(dial, "too many connections are being made").await;
            };
            match links.0.rtc.agent() {
                Ok(agent) => {
                    let session = Session::new(links, agent, (id, peer, Some(dial)), route, orders);
                    Box::pin(session.in_turn(turn).offer()).await;
                }
                Err(why) => {
                    links.0.rtc.forget(id);
                    links.came_to_nothing(dial, &why).await;
                }
            }
        }));
    }

    async fn came_to_nothing(&self, dial: DialId, reason: &str) {
        let outcome = DialOutcome::NoPath { reasons: vec![reason.to_owned()] };
        self.0.handle.inform(Input::Dialed { dial, outcome }).await;
    }

    /// The addresses of this machine are others: connections that lost theirs look for new paths.
    pub(crate) fn renew_paths(&self) {
        for orders in self.0.rtc.sessions().values().filter_map(|entry| entry.orders.as_ref()) {
            // Err: it has more to do than it can; when its path is lost, it notices.
            drop(orders.try_send(Order::Renew));
        }
    }

    /// Nothing is heard over this link: perhaps it is by another path.
    pub(crate) fn repath(&self, link: LinkId) {
        let sessions = self.0.rtc.sessions();
        if let Some(orders) =
            sessions.values().find(|entry| entry.link == Some(link)).and_then(|entry| entry.orders.as_ref())
        {
            // Err: it has more to do than it can.
            drop(orders.try_send(Order::Restart));
        }
    }

    /// Asks every configured server now: its name, and what is wrong with it if something is.
    pub(crate) async fn ask_servers(&self) -> Vec<(String, Result<(), String>)> {
        let Some(ice) = self.0.rtc.ice.as_ref().filter(|ice| !ice.servers.is_empty()) else { return Vec::new() };
        let mut failures = Vec::new();
        let asked = self.0.rtc.agent().map(|mut agent| async move {
            let found = loop {
                match agent.next().await {
                    News::Gathered(failures) => break failures,
                    News::Ended => break Vec::new(),
                    _ => {}
                }
            };
            agent.end();
            // What was lent is given back.
            let _ = timeout(RETURN_TIME, async { while !matches!(agent.next().await, News::Ended) {} }).await;
            found
        });
        match asked {
            Ok(asked) => failures.extend(Box::pin(asked).await),
            Err(why) => return vec![("UDP".to_owned(), Err(why))],
        }
        let state = |server: &Server| {
            let name = server.address.to_string();
            let why = failures.iter().find_map(|failure| failure.strip_prefix(&name)?.strip_prefix(": "));
            let state = why.map_or(Ok(()), |why| Err(why.to_owned()));
            (name, state)
        };
        ice.servers.iter().map(state).collect()
    }

    /// Whether connections by WebRTC are made and taken.
    pub(crate) fn serves_webrtc(&self) -> bool {
        self.0.rtc.ice.is_some()
    }

    /// The servers that connections ask; `None` when there are no connections by WebRTC.
    pub(crate) fn ice_servers(&self) -> Option<&[Server]> {
        self.0.rtc.ice.as_ref().map(|ice| ice.servers.as_slice())
    }

    /// An offer came by the network door: its answer. The connection goes on by itself.
    pub(crate) async fn offered(&self, offer: Signal, from: IpAddr) -> Result<Signal, Declined> {
        let orders = self.admit(&offer, Some(from)).inspect_err(|declined| self.note_declined(declined))?;
        let links = self.clone();
        // Not on the request's own task, which may end before the answer.
        let answer = self.0.tasks.spawn(async move { links.take_offer(offer, Route::Asked, orders).await });
        let answer = answer.await.unwrap_or_else(|_| Err(Declined::Because("the offer cannot be answered".to_owned())));
        answer.inspect_err(|declined| self.note_declined(declined))
    }

    /// Another signal came by the network door: the answer, if it was an offer.
    pub(crate) async fn changed(&self, signal: Signal) -> Result<Option<Signal>, Declined> {
        let orders = self.0.rtc.orders(signal.session, signal.from).ok_or(Declined::Unknown)?;
        if signal.kind != Kind::Offer {
            return orders.send(Order::Signal(signal)).await.map(|()| None).map_err(|_| Declined::Unknown);
        }
        let (reply, answer) = oneshot::channel();
        orders.send(Order::Reoffer(signal, Some(reply))).await.map_err(|_| Declined::Unknown)?;
        match timeout(REOFFER_TIME, answer).await {
            Ok(Ok(answer)) => answer.map(Some).map_err(Declined::Because),
            _ => Err(Declined::Unknown),
        }
    }

    fn note_declined(&self, declined: &Declined) {
        match declined {
            Declined::Because(_) => self.refused(Cause::Signal),
            Declined::Full => self.refused(Cause::Full),
            // Of two offers one is not taken; and what comes after the end is late.
            Declined::Yield | Declined::Unknown => {}
        }
    }

    /// A sealed signal came through a broker.
    pub(crate) async fn signalled(&self, from: PeerId, sealed: &[u8]) {
        let handle = &self.0.handle;
        let signal = match Signal::open(sealed, handle.me().keys(), from, handle.now().wall) {
            Ok(signal) => signal,
            Err(refused) => {
                tracing::debug!(%from, %refused, "a signal that came through a broker");
                return self.refused(Cause::Signal);
            }
        };
        let known = self.0.rtc.orders(signal.session, signal.from);
        match (signal.kind, known) {
            (Kind::Offer, None) => {
                let Some(broker) = self.0.rtc.broker.get().cloned() else { return };
                let declined = |declined: Declined, links: &Self| {
                    links.note_declined(&declined);
                    tracing::debug!(?declined, "an offer that came through a broker");
                };
                // Now, and not on the task: the addresses that come right behind it belong to it.
                let orders = match self.admit(&signal, None) {
                    Ok(orders) => orders,
                    Err(why) => return declined(why, self),
                };
                let links = self.clone();
                self.spawn(async move {
                    let route = Route::Broker(broker);
                    match links.take_offer(signal, route.clone(), orders).await {
                        Ok(answer) => drop(route.send(&links, &answer).await),
                        Err(why) => declined(why, &links),
                    }
                });
            }
            (Kind::Offer, Some(orders)) => drop(orders.try_send(Order::Reoffer(signal, None))),
            (_, Some(orders)) => drop(orders.try_send(Order::Signal(signal))),
            // It belongs to a session that has ended.
            (_, None) => {}
        }
    }

    /// Gives an offer a session, if it came from this address, or through a broker, rightly.
    fn admit(&self, offer: &Signal, from: Option<IpAddr>) -> Result<mpsc::Receiver<Order>, Declined> {
        let (id, peer, me) = (offer.session, offer.from, self.0.handle.me().node());
        if peer == me {
            return Err(Declined::Because("the offer is this node's own".to_owned()));
        }
        if let Some(rival) = self.0.rtc.rival(peer) {
            // Both sides offer at once: the offer of the lower key goes on.
            if me.as_bytes() < peer.as_bytes() {
                return Err(Declined::Yield);
            }
            // Err: it has just ended.
            let _ = rival.try_send(Order::Yield);
        }
        self.0.rtc.enter(id, Entry::accepting(peer, from)).ok_or(Declined::Full)
    }

    /// Answers an offer, and goes on in the background.
    async fn take_offer(&self, offer: Signal, route: Route, orders: mpsc::Receiver<Order>) -> Result<Signal, Declined> {
        let (id, peer) = (offer.session, offer.from);
        let agent = self.0.rtc.agent();
        let session = agent.map(|agent| Session::new(self.clone(), agent, (id, peer, None), route, orders));
        let answered = match session {
            Ok(mut session) => session.answer(&offer).await.map(|answer| (session, answer)),
            Err(why) => Err(why),
        };
        match answered {
            Ok((session, answer)) => {
                drop(self.0.tasks.spawn(Box::pin(session.go_on())));
                Ok(answer)
            }
            Err(why) => {
                self.0.rtc.forget(id);
                Err(Declined::Because(why))
            }
        }
    }
}

/// Why an offer is not answered.
#[derive(Debug)]
pub(crate) enum Declined {
    /// This side's own offer to the same node goes first.
    Yield,
    /// Too many connections are being made, in all or from there.
    Full,
    /// It belongs to no connection with this key.
    Unknown,
    /// What is wrong with it, or with this side.
    Because(String),
}

/// What one customer of a provider has of addresses: a /64 of IPv6.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

/// Whether an address of the other side may be tried.
fn permitted(candidate: &Candidate, only_loopback: bool) -> bool {
    guard::permit_path(candidate.addr(), only_loopback).is_ok()
}
