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
use comity_core::id::{DialId, NodeId, PeerId};
use comity_core::identity::guard;
use comity_core::node::{DialOutcome, Input};
use comity_core::wire::signal::{Kind, Signal};
use route::Route;
use session::{Order, Session};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use str0m::Candidate;
use tokio::sync::{mpsc, oneshot};
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
}

struct Entry {
    peer: NodeId,
    /// This side offered, and the link is not up yet.
    offering: bool,
    /// Whence an offer came, as long as the link is not up.
    from: Option<IpAddr>,
    /// The link is up.
    linked: bool,
    orders: Option<mpsc::Sender<Order>>,
}

impl Entry {
    fn offering(peer: NodeId) -> Self {
        Self { peer, offering: true, from: None, linked: false, orders: None }
    }

    fn accepting(peer: NodeId, from: Option<IpAddr>) -> Self {
        Self { peer, offering: false, from, linked: false, orders: None }
    }
}

impl Rtc {
    /// No connections yet.
    pub(crate) fn new(ice: Option<Ice>) -> Self {
        Self { ice: ice.map(Arc::new), broker: OnceLock::new(), sessions: Mutex::default() }
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
        let from_there = sessions.values().filter(|other| other.from.is_some() && other.from == entry.from).count();
        if sessions.len() >= SESSIONS_MAX || from_there >= FROM_ONE_ADDRESS_MAX || sessions.contains_key(&id) {
            return None;
        }
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        sessions.insert(id, Entry { orders: Some(orders), ..entry });
        Some(waiting)
    }

    /// Its link is up.
    fn settle(&self, id: Uuid) {
        if let Some(entry) = self.sessions().get_mut(&id) {
            (entry.offering, entry.from, entry.linked) = (false, None, true);
        }
    }

    /// The attempt of this side at connecting with this peer, if there is one.
    fn rival(&self, peer: NodeId) -> Option<mpsc::Sender<Order>> {
        self.sessions().values().find(|entry| entry.offering && entry.peer == peer)?.orders.clone()
    }

    /// Another channel of a connection with this peer, for a stream of packets.
    pub(super) async fn open_channel(&self, peer: NodeId) -> Option<DataChannel> {
        let orders = self.sessions().values().find(|entry| entry.linked && entry.peer == peer)?.orders.clone()?;
        let (reply, channel) = oneshot::channel();
        orders.send(Order::Channel(reply)).await.ok()?;
        channel.await.ok()
    }

    fn forget(&self, id: Uuid) {
        self.sessions().remove(&id);
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
            let id = Uuid::new_v4();
            let Some(orders) = links.0.rtc.enter(id, Entry::offering(peer)) else {
                return links.came_to_nothing(dial, "too many connections are being made").await;
            };
            match links.0.rtc.agent() {
                Ok(agent) => Box::pin(Session::new(links, agent, (id, peer, Some(dial)), route, orders).offer()).await,
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
        if matches!(declined, Declined::Because(_)) {
            self.refused(Cause::Signal);
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

/// Whether an address of the other side may be tried.
fn permitted(candidate: &Candidate, only_loopback: bool) -> bool {
    guard::permit_path(candidate.addr(), only_loopback).is_ok()
}
