//! The task that drives libp2p: does what it is ordered, and tells what happened. It keeps the number of connections
//! between its two marks, and decides nothing about messages.

use super::gate::{Brought, Gate, Joined};
use super::parts::{self, Parts, PartsEvent};
use super::reach::Reach;
use super::transport::{address_of, place_of, socket_of};
use super::{Heard, Met, NotPublished, Order, Place, Told, Verdict};
use crate::config::{Bootstrap, Gossip as Config};
use crate::observe::Counters;
use comity_core::id::{Libp2pId, NodeId};
use futures_util::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, PublishError};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, ListenError, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, dcutr, identify, mdns};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Connections below which this node dials whoever it hears of: the low watermark.
const CONNECTIONS_LOW: u32 = 32;

/// Connections with one address from outside the local network.
const FROM_ONE_ADDRESS_MAX: usize = 3;

/// How often nodes to start from and relays are dialled that are not connected.
const AGAIN_EVERY: Duration = Duration::from_secs(30);

/// How soon nodes to start from are dialled again at first; each pause is twice the one before, up to that.
const AGAIN_FIRST: Duration = Duration::from_secs(1);

/// How often the peers are looked over.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the word that a topic was joined may be on its way by a relay.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// What a peer's score is lowered to that does what no program does by mistake.
const CONDEMNED: f64 = -10.0;

/// Messages that are being judged, at most; what comes on top is neither taken nor passed on.
const JUDGED_MAX: usize = 1024;

/// Messages above what is taken that a peer may bring between two looks, before it is thrown out.
const ABOVE_MAX: u32 = 4096;

/// Comings and goings that wait until the node has time for them, at most.
const UNTOLD_MAX: usize = 1024;

/// Addresses of one peer that the DHT is told, at most.
const ADDRESSES_MAX: usize = 16;

/// What the task is made of.
pub(super) struct Runner {
    swarm: Swarm<Parts>,
    config: Config,
    reach: Arc<Reach>,
    orders: mpsc::Receiver<Order>,
    told: mpsc::Sender<Told>,
    /// Where connections come from, if not from the local network.
    far: HashMap<ConnectionId, IpAddr>,
    /// Where this node dialled by TCP, until the other side says what it is.
    dialed: HashMap<ConnectionId, SocketAddr>,
    /// Connections by a relay.
    relayed: HashMap<ConnectionId, PeerId>,
    /// Messages that are being judged: who brought them.
    judged: HashMap<gossipsub::MessageId, PeerId>,
    joined: Joined,
    /// Where those are who are connected: the first address of each.
    places: HashMap<PeerId, IpAddr>,
    brought: Brought,
    /// Who brings more than is taken, and how many messages more since the last look.
    above: HashMap<PeerId, u32>,
    /// Comings and goings that wait until the node has time for them.
    untold: VecDeque<Told>,
    counters: Counters,
    since: Instant,
}

impl Runner {
    pub(super) fn new(
        swarm: Swarm<Parts>,
        config: Config,
        reach: Arc<Reach>,
        (orders, told): (mpsc::Receiver<Order>, mpsc::Sender<Told>),
        Gate { joined, counters }: Gate,
    ) -> Self {
        Self {
            swarm,
            config,
            reach,
            orders,
            told,
            far: HashMap::new(),
            dialed: HashMap::new(),
            relayed: HashMap::new(),
            judged: HashMap::new(),
            joined,
            places: HashMap::new(),
            brought: Brought::new(),
            above: HashMap::new(),
            untold: VecDeque::new(),
            counters,
            since: Instant::now(),
        }
    }

    /// Listens, and runs until nobody orders any more.
    pub(super) async fn run(mut self, place: Place) {
        place.listens.iter().for_each(|address| self.listen(address.clone()));
        if self.config.relay {
            self.offer_to_relay(&place);
        }
        let mut again = interval(AGAIN_EVERY);
        let mut look = interval(LOOK_EVERY);
        for ticks in [&mut again, &mut look] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut pause = AGAIN_FIRST;
        let dial_again = sleep(pause);
        tokio::pin!(dial_again);
        let told = self.told.clone();
        loop {
            tokio::select! {
                room = told.reserve(), if !self.untold.is_empty() => {
                    // Err: nobody listens any more.
                    if let (Ok(room), Some(next)) = (room, self.untold.pop_front()) {
                        room.send(next);
                    }
                }
                event = self.swarm.select_next_some() => self.take(event),
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                _ = again.tick() => {
                    self.start_from();
                    self.reserve();
                }
                () = &mut dial_again, if pause < AGAIN_EVERY => {
                    self.start_from();
                    pause *= 2;
                    dial_again.as_mut().reset(Instant::now() + pause);
                }
                _ = look.tick() => self.look_over(),
            }
        }
    }

    fn listen(&mut self, address: Multiaddr) {
        if let Err(failure) = self.swarm.listen_on(address.clone()) {
            tracing::warn!(%address, %failure, "gossip does not listen there");
        }
    }

    /// A relay tells those whom it serves where it is reached, and serves nobody as long as it does not know that itself.
    /// Whoever set it up as one says that it is reached where it listens.
    fn offer_to_relay(&mut self, place: &Place) {
        let anywhere = |socket: &&SocketAddr| !matches!(socket.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
        for socket in place.reached.iter().filter(anywhere) {
            self.swarm.add_external_address(address_of(*socket));
        }
    }

    /// Dials those that were named in the configuration, as far as they are not connected.
    fn start_from(&mut self) {
        for Bootstrap { peer, address } in self.config.bootstrap.clone() {
            self.permit(&address);
            if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
                kad.add_address(&peer, address.clone());
            }
            self.dial(peer, vec![address]);
        }
    }

    /// Asks those relays of the configuration to pass connections on to this node that do not yet.
    fn reserve(&mut self) {
        let reserved: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        for Bootstrap { peer, address } in self.config.relays.clone() {
            self.permit(&address);
            let by_relay = address.with(Protocol::P2p(peer)).with(Protocol::P2pCircuit);
            if !reserved.iter().any(|listening| listening.to_string().starts_with(&by_relay.to_string())) {
                self.listen(by_relay);
            }
        }
    }

    fn permit(&self, address: &Multiaddr) {
        if let Some(place) = place_of(address) {
            self.reach.permit(place);
        }
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let dial = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).addresses(addresses);
        // Err: it is connected, or being dialled.
        let _ = self.swarm.dial(dial.build());
    }

    /// Dials somebody it heard of, while there is room.
    fn meet(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if self.swarm.network_info().num_peers() < CONNECTIONS_LOW as usize {
            self.dial(peer, addresses);
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Join(topic) => {
                let topic = IdentTopic::new(topic);
                self.joined.add(topic.hash());
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                if let Err(failure) = gossip.subscribe(&topic) {
                    tracing::warn!(%topic, %failure, "a topic cannot be joined");
                }
                // Err: peers are not scored, which they are.
                let _ = gossip.set_topic_params(topic, parts::scored());
            }
            Order::Leave(topic) => {
                let topic = IdentTopic::new(topic);
                self.joined.remove(&topic.hash());
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.unsubscribe(&topic);
                // Err: peers are not scored, which they are.
                let _ = gossip.set_topic_params(topic, parts::unscored());
            }
            Order::Publish { topic, data, reply } => {
                let published = self.swarm.behaviour_mut().gossip.publish(IdentTopic::new(topic), data);
                // Err: nobody waits for it.
                let _ = reply.send(published.map(drop).map_err(not_published));
            }
            Order::Listened { topic, reply } => {
                let topic = IdentTopic::new(topic).hash();
                let mut peers = self.swarm.behaviour().gossip.all_peers();
                // Err: nobody waits for it.
                let _ = reply.send(peers.any(|(_, topics)| topics.contains(&&topic)));
            }
            Order::Judge { message, verdict } => self.judge(&message, verdict),
            Order::Offer { node, addresses } => {
                let Some(peer) = peer_of(node) else { return };
                addresses.iter().for_each(|address| self.reach.permit(*address));
                // It proved its key to this node: no crowd of strangers takes its place.
                let network = self.swarm.network_info();
                if network.connection_counters().num_established_outgoing() < CONNECTIONS_LOW {
                    self.dial(peer, addresses.into_iter().map(address_of).collect());
                }
            }
            // Err: nobody waits for it.
            Order::Locate(reply) => drop(reply.send(self.addresses())),
        }
    }

    /// Where this node is reached: where it listens, by relays too, and what others have confirmed.
    fn addresses(&self) -> Vec<String> {
        let me = *self.swarm.local_peer_id();
        let all: BTreeSet<_> = self.swarm.listeners().chain(self.swarm.external_addresses()).collect();
        all.into_iter().map(|address| address.clone().with_p2p(me).unwrap_or_else(|same| same).to_string()).collect()
    }

    /// Parts with those that have too many topics or too low a score. They are refused until the score is forgotten.
    fn look_over(&mut self) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let flooding = gossip.all_peers().filter(|(_, topics)| topics.len() > parts::TOPICS_OF_ONE_MAX);
        for peer in flooding.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            tracing::warn!(%peer, "a peer subscribes to more topics than one may, and is not listened to for a while");
            self.counters.turned_away("gossip_topics");
            gossip.set_application_score(&peer, CONDEMNED);
        }
        for (peer, _) in self.above.drain().filter(|(_, messages)| *messages > ABOVE_MAX) {
            tracing::warn!(%peer, "a peer brings far more than is taken, and is not listened to for a while");
            self.counters.turned_away("gossip_flood");
            gossip.set_application_score(&peer, CONDEMNED);
        }
        self.brought.sweep(self.since.elapsed());
        let condemned = self.swarm.connected_peers().copied().filter(|peer| self.is_condemned(peer));
        for peer in condemned.collect::<Vec<_>>() {
            tracing::info!(%peer, "a peer brought too much that is refused, and is not listened to for a while");
            self.counters.turned_away("gossip_score");
            // Err: it is gone.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn is_condemned(&self, peer: &PeerId) -> bool {
        self.swarm.behaviour().gossip.peer_score(peer).is_some_and(|score| score <= parts::SCORE_MIN)
    }

    fn judge(&mut self, message: &gossipsub::MessageId, verdict: Verdict) {
        let Some(bringer) = self.judged.remove(message) else { return };
        let acceptance = match verdict {
            Verdict::Good => MessageAcceptance::Accept,
            Verdict::NotNow => MessageAcceptance::Ignore,
            Verdict::Bad => MessageAcceptance::Reject,
        };
        self.swarm.behaviour_mut().gossip.report_message_validation_result(message, &bringer, acceptance);
    }

    fn take(&mut self, event: SwarmEvent<PartsEvent>) {
        match event {
            SwarmEvent::Behaviour(PartsEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            })) => self.hear(propagation_source, message_id, message),
            // A peer may say so of any topic, as often as it likes.
            SwarmEvent::Behaviour(PartsEvent::Gossip(gossipsub::Event::Subscribed { topic, .. }))
                if self.joined.has(&topic) =>
            {
                self.tell(Some(Told::Listens(topic.into_string())));
            }
            SwarmEvent::Behaviour(PartsEvent::Identify(identify::Event::Received { connection_id, peer_id, info })) => {
                self.identified(connection_id, peer_id, &info);
            }
            SwarmEvent::Behaviour(PartsEvent::Punching(dcutr::Event { remote_peer_id, result: Ok(_) })) => {
                self.leave_relay(remote_peer_id);
            }
            SwarmEvent::Behaviour(PartsEvent::Mdns(mdns::Event::Discovered(found))) => {
                let mut all: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
                found.into_iter().for_each(|(peer, address)| all.entry(peer).or_default().push(address));
                all.into_iter().for_each(|(peer, addresses)| self.meet(peer, addresses));
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                if self.is_condemned(&peer_id) {
                    self.counters.turned_away("gossip_score");
                    self.swarm.close_connection(connection_id);
                    return;
                }
                self.count(connection_id, &endpoint);
                if let Some(ip) = ip_of(endpoint.get_remote_address()) {
                    self.places.entry(peer_id).or_insert(ip);
                }
                if endpoint.is_relayed() {
                    self.relayed.insert(connection_id, peer_id);
                }
                // Of each connection, and not of the first only: both may have dialled at once, and each reached the other.
                let dialed = endpoint.is_dialer();
                if let Some((place, _)) = socket_of(endpoint.get_remote_address()).filter(|_| dialed) {
                    self.dialed.insert(connection_id, place);
                }
                self.tell(node_of(&peer_id).map(|node| Told::Met(Met { node, reached_at: None, dialed })));
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                let full = matches!(error, ListenError::Denied { .. });
                self.counters.turned_away(if full { "gossip_full" } else { "gossip_handshake" });
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.far.remove(&connection_id);
                self.dialed.remove(&connection_id);
                if self.relayed.remove(&connection_id).is_some() && num_established > 0 {
                    self.join_again();
                }
                if num_established == 0 {
                    self.places.remove(&peer_id);
                    self.tell(node_of(&peer_id).map(Told::Parted));
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                tracing::debug!(?peer_id, %error, "gossip reaches nobody there");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "gossip lost a listener"),
            _ => {}
        }
    }

    /// A direct way was found: what goes by the relay from now on would burden it for nothing.
    fn leave_relay(&mut self, peer: PeerId) {
        tracing::debug!(%peer, "gossip goes directly from now on");
        let relayed = self.relayed.iter().filter(|(_, other)| **other == peer).map(|(connection, _)| *connection);
        for connection in relayed.collect::<Vec<_>>() {
            self.swarm.close_connection(connection);
        }
    }

    /// What was joined while a connection ended may have been said on that one only, and got lost. libp2p says it once.
    fn join_again(&mut self) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        for topic in self.joined.within(UNDER_WAY) {
            let topic = IdentTopic::new(topic.into_string());
            gossip.unsubscribe(&topic);
            // Err: too many topics, and just now it was one of them.
            let _ = gossip.subscribe(&topic);
        }
    }

    /// Refuses who has too many connections already.
    fn count(&mut self, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let Some(ip) = counted(endpoint) else { return };
        if self.far.values().filter(|other| **other == ip).count() >= FROM_ONE_ADDRESS_MAX {
            self.counters.turned_away("gossip_address");
            self.swarm.close_connection(connection);
            return;
        }
        self.far.insert(connection, ip);
    }

    fn hear(&mut self, bringer: PeerId, id: gossipsub::MessageId, message: gossipsub::Message) {
        let author = message.source.and_then(|source| Libp2pId::from_bytes(&source.to_bytes()).ok());
        let room = self.judged.len() < JUDGED_MAX;
        self.judged.insert(id.clone(), bringer);
        let (Some(author), Some(sequence), true) = (author, message.sequence_number, room) else {
            self.counters.dropped(if room { "gossip_author" } else { "gossip_full" }, 1);
            return self.judge(&id, Verdict::NotNow);
        };
        let brought_from = self.places.get(&bringer).copied().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        if !self.brought.takes(brought_from, message.data.len(), self.since.elapsed()) {
            self.counters.dropped("gossip_flood", 1);
            *self.above.entry(bringer).or_default() += 1;
            return self.judge(&id, Verdict::NotNow);
        }
        let topic = message.topic.into_string();
        let heard = Heard { id: id.clone(), author, sequence, topic, data: message.data, brought_from };
        if self.told.try_send(Told::Heard(heard)).is_err() {
            self.counters.dropped("gossip_full", 1);
            self.judge(&id, Verdict::NotNow);
        }
    }

    fn identified(&mut self, connection: ConnectionId, peer: PeerId, info: &identify::Info) {
        // Other programs that speak libp2p have no more than that there.
        if let Some(place) = self.dialed.remove(&connection).filter(|_| info.protocol_version == parts::NETWORK) {
            let met = |node| Told::Met(Met { node, reached_at: Some(place), dialed: true });
            self.tell(node_of(&peer).map(met));
        }
        let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() else { return };
        if info.protocols.iter().any(|protocol| kad.protocol_names().contains(protocol)) {
            // It may say others as often as it likes, and each would be kept.
            let bucket = kad.kbucket(peer);
            let known = bucket.iter().flat_map(|bucket| bucket.iter()).find(|entry| entry.node.key.preimage() == &peer);
            let room = ADDRESSES_MAX.saturating_sub(known.map_or(0, |entry| entry.node.value.len()));
            let far = |address: &&Multiaddr| ip_of(address).is_some_and(|ip| !ip.is_loopback());
            for address in info.listen_addrs.iter().filter(far).take(room) {
                kad.add_address(&peer, address.clone());
            }
        }
    }

    /// Tells the node as soon as it has room, in order.
    fn tell(&mut self, told: Option<Told>) {
        // That somebody listens is told once, however many do.
        let waits = |told: &Told| matches!(told, Told::Listens(_)) && self.untold.contains(told);
        let Some(told) = told.filter(|told| !waits(told)) else { return };
        if self.untold.len() < UNTOLD_MAX {
            self.untold.push_back(told);
        } else {
            tracing::warn!("the node has no time for who comes and goes by gossip");
        }
    }
}

fn not_published(error: PublishError) -> NotPublished {
    match error {
        PublishError::NoPeersSubscribedToTopic => NotPublished::Nobody,
        PublishError::MessageTooLarge => NotPublished::TooLarge,
        PublishError::AllQueuesFull(_) => NotPublished::Full,
        PublishError::Duplicate | PublishError::SigningError(_) | PublishError::TransformFailed(_) => {
            NotPublished::Refused
        }
    }
}

/// The node that this is; `None` for those with another kind of key.
pub(super) fn node_of(peer: &PeerId) -> Option<NodeId> {
    let multihash: &libp2p::multihash::Multihash<64> = peer.as_ref();
    let key = libp2p::identity::PublicKey::try_decode_protobuf(multihash.digest()).ok()?;
    Some(NodeId::from_bytes(key.try_into_ed25519().ok()?.to_bytes()))
}

/// The PeerId of a node.
pub(super) fn peer_of(node: NodeId) -> Option<PeerId> {
    let key = libp2p::identity::ed25519::PublicKey::try_from_bytes(node.as_bytes()).ok()?;
    Some(libp2p::identity::PublicKey::from(key).to_peer_id())
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_canonical()),
        _ => None,
    }
}

/// The address that a connection counts for, if there is a limit for it. What comes by a relay is not the relay's.
fn counted(endpoint: &ConnectedPoint) -> Option<IpAddr> {
    ip_of(endpoint.get_remote_address()).filter(|ip| !endpoint.is_relayed() && !is_local(*ip))
}

fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;

    #[test]
    fn an_address_from_outside_counts_for_itself_and_a_relay_for_none_whom_it_carries() {
        let dialled = |address: &str| ConnectedPoint::Dialer {
            address: address.parse().expect("an address"),
            role_override: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        };
        let relay = "/ip4/203.0.113.7/tcp/4001";
        assert_eq!(counted(&dialled(relay)), Some(Ipv4Addr::new(203, 0, 113, 7).into()));
        assert_eq!(counted(&dialled("/ip4/192.168.1.7/tcp/4001")), None);
        let id = libp2p::identity::Keypair::generate_ed25519().public().to_peer_id();
        assert_eq!(counted(&dialled(&format!("{relay}/p2p/{id}/p2p-circuit/p2p/{id}"))), None);
    }
}
