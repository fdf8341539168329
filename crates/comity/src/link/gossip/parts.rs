//! What the node's libp2p is made of, and with which limits: GossipSub over TCP and QUIC, identify, ping, Kademlia,
//! AutoNAT, circuit relay and hole punching. It decides nothing about messages. Source: "Operations" in
//! `protocols/pubsub.md`, and libp2p's own specifications.

use super::gate::{Gate, Names};
use super::pong::Pong;
use super::reach::Reach;
use super::transport::{Accepted, OnePort, Quic};
use crate::config::{Dht, Gossip as Config};
use futures_util::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, MemoryTransport, Transport};
use libp2p::core::upgrade::Version;
use libp2p::gossipsub::{
    self, ConfigBuilder, MaxCountSubscriptionFilter, MessageAuthenticity, PeerScoreParams, PeerScoreThresholds,
    TopicScoreParams, ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::kad::StoreInserts;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{self, NetworkBehaviour, Swarm};
use libp2p::{
    PeerId, StreamProtocol, autonat, connection_limits, dcutr, dns, identify, kad, mdns, noise, ping, quic, relay,
    yamux,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Connections at most: the high watermark.
const CONNECTIONS_MAX: u32 = 128;

/// Of these, those that others made: what is left is for those whom this node dials, and no crowd can take it.
const CONNECTIONS_IN_MAX: u32 = 96;

/// Connections with one peer: a direct one beside that through a relay, and both sides may dial at once.
const WITH_ONE_MAX: u32 = 3;

/// Connections whose handshake is not through. The one port allows an address fewer, so that none takes all of them.
const PENDING_MAX: u32 = 256;

/// How long a handshake may take: of who called, and of who was called, which waits for its turn first.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
const CALL_TIME: Duration = Duration::from_secs(30);

/// Streams of one connection at once, whatever they are for. Each may hold 256 KiB that nobody has read yet.
const STREAMS_MAX: u16 = 64;

/// What QUIC holds unread of one connection, and of one of its streams, bytes.
const UNREAD_MAX: u32 = 4 * 1024 * 1024;
const UNREAD_STREAM_MAX: u32 = 1024 * 1024;

/// Largest frame between two peers, bytes. Some answer with several messages in one frame, and what libp2p counts is
/// all that it has read so far: as much as others take, which is four of the largest messages.
const FRAME_MAX: usize = 1024 * 1024;

/// Topics that a peer may subscribe to: each costs memory here for as long as it is connected.
pub(super) const TOPICS_OF_ONE_MAX: usize = 256;

/// The most that is held until it is noticed that a peer has too many: more than a frame can name.
const TOPICS_HELD_MAX: usize = 8192;

/// The score at which nothing is taken from a peer any more.
const SCORE_HEARD_MIN: f64 = -80.0;

/// The score at which a peer is thrown out and not let in. It is the higher one: a score falls no further once nothing
/// is taken, and has risen a little before it is looked at.
pub(super) const SCORE_MIN: f64 = -60.0;

/// How long the score of a peer that is gone is kept, so that it cannot begin anew.
const SCORE_KEPT: Duration = Duration::from_secs(600);

/// Messages that wait for one peer, at most.
const QUEUE_MAX: usize = 256;

/// How long a message is remembered, so that it is delivered once. The rules remember longer.
const REMEMBERED: Duration = Duration::from_secs(120);

/// How long a connection that nobody uses is kept.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// What nodes call the way they find each other in the DHT.
const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/comity/kad/1.0.0");

/// What identify calls this network.
pub(super) const NETWORK: &str = "comity/1";

/// How long a relayed connection may last, and what it may carry: enough for gossip until hole punching has worked.
const CIRCUIT_TIME: Duration = Duration::from_secs(3600);
const CIRCUIT_BYTES: u64 = 64 * 1024 * 1024;

type Gossip = gossipsub::Behaviour<Gate, MaxCountSubscriptionFilter<Names>>;

/// The protocols that the node speaks over one connection.
#[derive(NetworkBehaviour)]
pub(super) struct Parts {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) gossip: Gossip,
    pub(super) identify: identify::Behaviour,
    /// Before the part that pings, so that pings come to it.
    pub(super) pong: Pong,
    pub(super) ping: ping::Behaviour,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) kad: Toggle<kad::Behaviour<MemoryStore>>,
    pub(super) nat: autonat::Behaviour,
    pub(super) relays: relay::client::Behaviour,
    pub(super) relay: Toggle<relay::Behaviour>,
    pub(super) punching: dcutr::Behaviour,
}

/// Connections that prove the other's key.
type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// Puts it all together over TCP and QUIC; nothing is dialled yet.
pub(super) fn swarm(
    keys: &Keypair,
    config: &Config,
    accepted: mpsc::Receiver<Accepted>,
    reach: Arc<Reach>,
    gate: Gate,
) -> io::Result<Swarm<Parts>> {
    // Names are resolved around both: who resolves names takes any address, and would leave none to the next.
    let tcp = secured(OnePort::new(accepted, Arc::clone(&reach)), keys)?;
    let quic = quic(keys, reach).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let sockets = tcp.or_transport(quic).map(|either, _| either.into_inner());
    swarm_over(dns::tokio::Transport::system(sockets)?.boxed(), keys, config, gate)
}

/// The same among nodes of one process, over libp2p's memory transport.
pub(super) fn swarm_in_memory(keys: &Keypair, config: &Config, gate: Gate) -> io::Result<Swarm<Parts>> {
    swarm_over(secured(MemoryTransport::new(), keys)?, keys, config, gate)
}

fn swarm_over(direct: Connections, keys: &Keypair, config: &Config, gate: Gate) -> io::Result<Swarm<Parts>> {
    let me = keys.public().to_peer_id();
    let (by_relay, relays) = relay::client::new(me);
    let joined = secured(by_relay, keys)?.or_transport(direct).map(|either, _| either.into_inner());
    let joined = TransportTimeout::with_outgoing_timeout(joined, CALL_TIME);
    let transport = TransportTimeout::with_ingoing_timeout(joined, HANDSHAKE_TIME).boxed();
    let parts = Parts::new(keys, config, relays, gate)?;
    let swarming = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIME);
    Ok(Swarm::new(transport, parts, me, swarming))
}

/// Noise and yamux over streams of bytes.
fn secured<T>(raw: T, keys: &Keypair) -> io::Result<Connections>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    let noise = noise::Config::new(keys).map_err(io::Error::other)?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(STREAMS_MAX.into());
    Ok(raw.upgrade(Version::V1Lazy).authenticate(noise).multiplex(yamux).boxed())
}

/// QUIC within the node's limits.
fn quic(keys: &Keypair, reach: Arc<Reach>) -> Quic {
    let mut config = quic::Config::new(keys);
    config.max_concurrent_stream_limit = STREAMS_MAX.into();
    (config.max_connection_data, config.max_stream_data) = (UNREAD_MAX, UNREAD_STREAM_MAX);
    Quic::new(config, reach)
}

impl Parts {
    fn new(keys: &Keypair, config: &Config, relays: relay::client::Behaviour, gate: Gate) -> io::Result<Self> {
        let me = keys.public().to_peer_id();
        let limits = connection_limits::ConnectionLimits::default()
            .with_max_established(Some(CONNECTIONS_MAX))
            .with_max_established_incoming(Some(CONNECTIONS_IN_MAX))
            .with_max_established_per_peer(Some(WITH_ONE_MAX))
            .with_max_pending_incoming(Some(PENDING_MAX))
            .with_max_pending_outgoing(Some(PENDING_MAX));
        let agent = format!("comity/{}", env!("CARGO_PKG_VERSION"));
        let identify = identify::Config::new(NETWORK.to_owned(), keys.public()).with_agent_version(agent);
        let mdns = config.mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), me)).transpose()?;
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            gossip: gossip(keys, gate).map_err(io::Error::other)?,
            identify: identify::Behaviour::new(identify),
            pong: Pong,
            ping: ping::Behaviour::default(),
            mdns: mdns.into(),
            kad: kad(me, config.dht).into(),
            nat: autonat::Behaviour::new(me, autonat::Config::default()),
            relays,
            relay: config.relay.then(|| relay::Behaviour::new(me, relaying())).into(),
            punching: dcutr::Behaviour::new(me),
        })
    }
}

/// Signed and strict: what is not signed by the peer that it names as its author is never taken, and that happens before
/// anybody sees it. What the author said is judged by the node, which then says whether it is passed on.
fn gossip(keys: &Keypair, gate: Gate) -> Result<Gossip, &'static str> {
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(FRAME_MAX)
        .flood_publish(true)
        .duplicate_cache_time(REMEMBERED)
        .connection_handler_queue_len(QUEUE_MAX)
        .build()
        .map_err(|_| "a setting of GossipSub is out of its range")?;
    let filter = MaxCountSubscriptionFilter {
        filter: Names,
        max_subscribed_topics: TOPICS_HELD_MAX,
        max_subscriptions_per_request: TOPICS_HELD_MAX,
    };
    let signed = MessageAuthenticity::Signed(keys.clone());
    let mut gossip = Gossip::new_with_subscription_filter_and_transform(signed, config, filter, gate)?;
    let scoring = PeerScoreParams {
        topic_score_cap: PRAISE_MAX,
        // Many nodes of one house share an address: the limit of connections per address is the node's own.
        ip_colocation_factor_weight: 0.0,
        // Two programs that differ by a moment about when a graft is due again do no harm.
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: FORGOTTEN,
        retain_score: SCORE_KEPT,
        ..PeerScoreParams::default()
    };
    let thresholds = PeerScoreThresholds {
        graylist_threshold: SCORE_HEARD_MIN,
        accept_px_threshold: PRAISE_MAX,
        opportunistic_graft_threshold: PRAISE_MAX / 2.0,
        ..PeerScoreThresholds::default()
    };
    gossip.with_peer_score(scoring, thresholds).map_err(|_| "peers cannot be scored")?;
    Ok(gossip)
}

/// What is left after a second of what a peer did wrong: half of it is forgotten in a minute.
const FORGOTTEN: f64 = 0.9885;

/// The most that a peer gains by being there and by bringing messages, over all topics. It must not buy many lies.
const PRAISE_MAX: f64 = 5.0;

/// How a topic counts in a peer's score. Topics are often quiet: that a peer brings little is no fault; that it brings
/// what is refused is, by the square of how often: ten times within a minute or so, and it is heard no more. Who only
/// passes on what others made up, as programs do that do not look into messages, has that much time to stop.
pub(super) fn scored() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 200.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_decay: 0.9,
        first_message_deliveries_cap: 30.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -1.0,
        invalid_message_deliveries_decay: FORGOTTEN,
        ..TopicScoreParams::default()
    }
}

/// How a topic counts that was left: what others still say there is no fault of theirs.
pub(super) fn unscored() -> TopicScoreParams {
    TopicScoreParams { topic_weight: 0.0, ..scored() }
}

fn kad(me: PeerId, dht: Dht) -> Option<kad::Behaviour<MemoryStore>> {
    let mode = match dht {
        Dht::Off => return None,
        Dht::Client => Some(kad::Mode::Client),
        Dht::Server => Some(kad::Mode::Server),
        // By what AutoNAT finds out.
        Dht::Auto => None,
    };
    let mut config = kad::Config::new(KAD_PROTOCOL);
    // Nodes find each other there and keep nothing for strangers, who could fill 64 MiB.
    config.set_record_filtering(StoreInserts::FilterBoth);
    let mut kad = kad::Behaviour::with_config(me, MemoryStore::new(me), config);
    kad.set_mode(mode);
    Some(kad)
}

fn relaying() -> relay::Config {
    relay::Config { max_circuit_duration: CIRCUIT_TIME, max_circuit_bytes: CIRCUIT_BYTES, ..relay::Config::default() }
}
