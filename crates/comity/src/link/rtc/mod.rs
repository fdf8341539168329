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
mod sessions;

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
use sessions::{Entry, Origin};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use str0m::Candidate;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

/// The channel that carries a link.
const LINK: &str = "comity";

/// Where offers are taken.
pub(crate) const SIGNALING: &str = "/dashflow/rtc";

/// Attempts of this node at once; more take turns.
const ATTEMPTS_MAX: usize = 32;

/// How long a session may take to answer an offer of new paths.
const REOFFER_TIME: Duration = Duration::from_secs(3);

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

impl Ice {
    /// The same without relays. Servers that would relay by datagrams still say how others see this side.
    fn without_relays(&self) -> Self {
        let by_datagrams = self.servers.iter().filter(|server| server.address.kind.is_by_datagrams());
        let servers = by_datagrams.map(|server| Server { address: server.address.clone(), credentials: None });
        Self { servers: servers.collect(), ports: self.ports.clone(), tls: None }
    }
}

/// The WebRTC side of a node's links.
pub(crate) struct Rtc {
    /// `None` when it is switched off.
    ice: Option<Arc<Ice>>,
    /// The same for what strangers ask for: who is not known is not admitted through a relay, and must not use up what
    /// relays lend.
    ice_for_strangers: Option<Arc<Ice>>,
    broker: OnceLock<Broker>,
    /// By session. A lock and no message, since it is only looked up, by doors and the brokers' tasks.
    sessions: Mutex<BTreeMap<Uuid, Entry>>,
    /// Sessions that ended, so that whoever recorded an offer cannot make it again. A lock like that of the others.
    spent: Mutex<VecDeque<(Instant, Uuid)>>,
    turns: Arc<Semaphore>,
}

impl Rtc {
    /// No connections yet.
    pub(crate) fn new(ice: Option<Ice>) -> Self {
        let turns = Arc::new(Semaphore::new(ATTEMPTS_MAX));
        let (sessions, spent) = (Mutex::default(), Mutex::default());
        let ice_for_strangers = ice.as_ref().map(|ice| Arc::new(ice.without_relays()));
        Self { ice: ice.map(Arc::new), ice_for_strangers, broker: OnceLock::new(), sessions, spent, turns }
    }

    fn agent(&self, origin: Origin) -> Result<Agent, String> {
        let ice = if matches!(origin, Origin::Stranger(_)) { &self.ice_for_strangers } else { &self.ice };
        let ice = ice.clone().ok_or("WebRTC is switched off here (webrtc.enabled)")?;
        Agent::new(ice).map_err(|error| format!("no UDP socket: {error}"))
    }

    /// Another channel of a connection with this peer, for a stream of packets.
    pub(super) async fn open_channel(&self, peer: NodeId) -> Option<DataChannel> {
        let linked = |entry: &Entry| entry.orders.clone().filter(|_| entry.link.is_some() && entry.peer == peer);
        let orders = self.sessions().values().find_map(linked)?;
        let (reply, channel) = oneshot::channel();
        orders.send(Order::Channel(reply)).await.ok()?;
        channel.await.ok()
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
            let Ok(orders) = links.0.rtc.enter(id, Entry::new(peer, Origin::Own)) else {
                return links.came_to_nothing(dial, "too many connections are being made").await;
            };
            match links.0.rtc.agent(Origin::Own) {
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
        let asked = self.0.rtc.agent(Origin::Own).map(|mut agent| async move {
            let found = loop {
                match agent.next().await {
                    News::Gathered(failures) => break failures,
                    News::Ended => break Vec::new(),
                    _ => {}
                }
            };
            agent.end();
            // What was lent is given back.
            while !matches!(agent.next().await, News::Ended) {}
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
    pub(crate) async fn offered(&self, offer: Signal, by: OfferedBy) -> Result<Signal, Declined> {
        let origin = match by {
            OfferedBy::Owner => Origin::Friend,
            OfferedBy::Address(address) => self.origin(offer.from, Some(address)),
        };
        let orders = self.admit(&offer, origin).inspect_err(|declined| self.note_declined(declined))?;
        let links = self.clone();
        // Not on the request's own task, which may end before the answer.
        let answer = self.0.tasks.spawn(async move { links.take_offer(offer, origin, Route::Asked, orders).await });
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
                let origin = self.origin(signal.from, None);
                let orders = match self.admit(&signal, origin) {
                    Ok(orders) => orders,
                    Err(why) => return declined(why, self),
                };
                let links = self.clone();
                self.spawn(async move {
                    let route = Route::Broker(broker);
                    match links.take_offer(signal, origin, route.clone(), orders).await {
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

    /// Whose offer it is that came from this address, or through a broker.
    fn origin(&self, peer: NodeId, from: Option<IpAddr>) -> Origin {
        if self.0.handle.last_view().known.contains(&peer) { Origin::Friend } else { Origin::Stranger(from) }
    }

    /// Gives an offer a session, if there is room for it and this side's own does not go first.
    fn admit(&self, offer: &Signal, origin: Origin) -> Result<mpsc::Receiver<Order>, Declined> {
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
        self.0.rtc.enter(id, Entry::new(peer, origin))
    }

    /// Answers an offer, and goes on in the background.
    async fn take_offer(
        &self,
        offer: Signal,
        origin: Origin,
        route: Route,
        orders: mpsc::Receiver<Order>,
    ) -> Result<Signal, Declined> {
        let (id, peer) = (offer.session, offer.from);
        let agent = self.0.rtc.agent(origin);
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

/// By whom an offer came over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfferedBy {
    /// The owner of this node, who stands for the key.
    Owner,
    /// Whoever is at this address.
    Address(IpAddr),
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
