//! What the node's libp2p is made of, and with which limits: GossipSub over TCP and QUIC, identify, ping, Kademlia,
//! AutoNAT, circuit relay and hole punching. It decides nothing about messages. Source: "Operations" in
//! `protocols/pubsub.md`, and libp2p's own specifications.

use super::reach::Reach;
use super::transport::{Accepted, OnePort};
use crate::config::{Dht, Gossip as Config};
use comity_core::wire::gossip::MESSAGE_MAX;
use futures_util::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, MemoryTransport, Transport};
use libp2p::core::upgrade::Version;
use libp2p::gossipsub::{
    self, AllowAllSubscriptionFilter, ConfigBuilder, IdentityTransform, MaxCountSubscriptionFilter,
    MessageAuthenticity, PeerScoreParams, PeerScoreThresholds, TopicScoreParams, ValidationMode,
};
use libp2p::identity::Keypair;
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

/// Connections with one peer: a direct one beside that through a relay, and both sides may dial at once.
const WITH_ONE_MAX: u32 = 3;

/// Connections whose handshake is not through.
const PENDING_MAX: u32 = 64;

/// Largest frame between two nodes, bytes: the largest message with its author, number, topic, signature and key.
const FRAME_MAX: usize = MESSAGE_MAX + 1024;

/// Topics that a peer may subscribe to: each costs memory here for as long as it is connected.
const TOPICS_OF_ONE_MAX: usize = 256;

/// Messages that wait for one peer, at most.
const QUEUE_MAX: usize = 256;

/// How long a message is remembered, so that it is delivered once. The rules remember longer.
const REMEMBERED: Duration = Duration::from_secs(120);

/// How long a connection that nobody uses is kept.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// What nodes call the way they find each other in the DHT.
const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/comity/kad/1.0.0");

/// What identify calls this network.
const NETWORK: &str = "comity/1";

/// How long a relayed connection may last, and what it may carry: enough for gossip until hole punching has worked.
const CIRCUIT_TIME: Duration = Duration::from_secs(3600);
const CIRCUIT_BYTES: u64 = 64 * 1024 * 1024;

type Gossip = gossipsub::Behaviour<IdentityTransform, MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>>;

/// The protocols that the node speaks over one connection.
#[derive(NetworkBehaviour)]
pub(super) struct Parts {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) gossip: Gossip,
    pub(super) identify: identify::Behaviour,
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
) -> io::Result<Swarm<Parts>> {
    let tcp = dns::tokio::Transport::system(OnePort::new(accepted, reach))?;
    let quic = dns::tokio::Transport::system(quic::tokio::Transport::new(quic::Config::new(keys)))?;
    let quic = quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let sockets = secured(tcp, keys)?.or_transport(quic).map(|either, _| either.into_inner());
    swarm_over(sockets.boxed(), keys, config)
}

/// The same among nodes of one process, over libp2p's memory transport.
pub(super) fn swarm_in_memory(keys: &Keypair, config: &Config) -> io::Result<Swarm<Parts>> {
    swarm_over(secured(MemoryTransport::new(), keys)?, keys, config)
}

fn swarm_over(direct: Connections, keys: &Keypair, config: &Config) -> io::Result<Swarm<Parts>> {
    let me = keys.public().to_peer_id();
    let (by_relay, relays) = relay::client::new(me);
    let transport = secured(by_relay, keys)?.or_transport(direct).map(|either, _| either.into_inner());
    let parts = Parts::new(keys, me, config, relays)?;
    let swarming = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIME);
    Ok(Swarm::new(transport.boxed(), parts, me, swarming))
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
    Ok(raw.upgrade(Version::V1Lazy).authenticate(noise).multiplex(yamux::Config::default()).boxed())
}

impl Parts {
    fn new(keys: &Keypair, me: PeerId, config: &Config, relays: relay::client::Behaviour) -> io::Result<Self> {
        let limits = connection_limits::ConnectionLimits::default()
            .with_max_established(Some(CONNECTIONS_MAX))
            .with_max_established_per_peer(Some(WITH_ONE_MAX))
            .with_max_pending_incoming(Some(PENDING_MAX))
            .with_max_pending_outgoing(Some(PENDING_MAX));
        let agent = format!("comity/{}", env!("CARGO_PKG_VERSION"));
        let identify = identify::Config::new(NETWORK.to_owned(), keys.public()).with_agent_version(agent);
        let mdns = config.mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), me)).transpose()?;
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            gossip: gossip(keys).map_err(io::Error::other)?,
            identify: identify::Behaviour::new(identify),
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
fn gossip(keys: &Keypair) -> Result<Gossip, &'static str> {
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
        filter: AllowAllSubscriptionFilter {},
        max_subscribed_topics: TOPICS_OF_ONE_MAX,
        max_subscriptions_per_request: TOPICS_OF_ONE_MAX,
    };
    let mut gossip = Gossip::new_with_subscription_filter(MessageAuthenticity::Signed(keys.clone()), config, filter)?;
    // Many nodes of one house share an address: the limit of connections per address is the node's own.
    let scoring = PeerScoreParams { ip_colocation_factor_weight: 0.0, ..PeerScoreParams::default() };
    gossip.with_peer_score(scoring, PeerScoreThresholds::default()).map_err(|_| "peers cannot be scored")?;
    Ok(gossip)
}

/// How a topic counts in a peer's score. Topics are often quiet: that a peer brings little is no fault; that it brings
/// what is refused is.
pub(super) fn scored() -> TopicScoreParams {
    TopicScoreParams {
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        ..TopicScoreParams::default()
    }
}

fn kad(me: PeerId, dht: Dht) -> Option<kad::Behaviour<MemoryStore>> {
    let mode = match dht {
        Dht::Off => return None,
        Dht::Client => Some(kad::Mode::Client),
        Dht::Server => Some(kad::Mode::Server),
        // By what AutoNAT finds out.
        Dht::Auto => None,
    };
    let mut kad = kad::Behaviour::with_config(me, MemoryStore::new(me), kad::Config::new(KAD_PROTOCOL));
    kad.set_mode(mode);
    Some(kad)
}

fn relaying() -> relay::Config {
    relay::Config { max_circuit_duration: CIRCUIT_TIME, max_circuit_bytes: CIRCUIT_BYTES, ..relay::Config::default() }
}
