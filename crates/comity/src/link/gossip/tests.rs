//! Two and three nodes' gossip over real sockets, by the one port that serves HTTP too.

use super::gate::Gate;
use super::parts::{self, Parts, PartsEvent};
use super::{Gossip, Heard, NotPublished, Place, TOLD_MAX, Told, Verdict, door, key};
use crate::config::{Bootstrap, Config, Dht};
use crate::link::{Limits, Speaks, listen};
use crate::observe::Counters;
use axum::Router;
use axum::routing::get;
use comity_core::id::NodeId;
use comity_core::identity::key::KeyPair;
use futures_util::StreamExt;
use libp2p::kad::store::RecordStore;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, kad};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

const PATIENCE: Duration = Duration::from_secs(20);

const TOPIC: &str = "custom/of/these/tests";

/// A node's gossip, and where it listens.
struct Side {
    node: NodeId,
    address: SocketAddr,
    gossip: Gossip,
    told: mpsc::Receiver<Told>,
    _stop: DropGuard,
}

impl Side {
    async fn start(seed: u8) -> Self {
        Self::start_from(seed, TcpListener::bind("127.0.0.1:0").await.expect("a free port"), Vec::new())
    }

    fn start_from(seed: u8, listener: TcpListener, bootstrap: Vec<Bootstrap>) -> Self {
        let keys = KeyPair::from_seed([seed; 32]);
        let address = listener.local_addr().expect("bound");
        let config = Config::default().gossip.map(|config| crate::config::Gossip { mdns: false, bootstrap, ..config });
        let (hand, accepted) = door();
        let place = Place::new(&[address], &[], Vec::new());
        let started = Gossip::start(&keys, config.expect("on by default"), place, accepted, Counters::new("test"));
        let (gossip, told, running) = started.expect("it starts");
        let stop = CancellationToken::new();
        let speaks = Speaks { tls: None, gossip: Some(hand) };
        let router = Router::new().route("/", get(|| async { "hello" }));
        tokio::spawn(listen(vec![listener], speaks, router, Limits::default(), Counters::new("test"), stop.clone()));
        tokio::spawn(running);
        Self { node: keys.node(), address, gossip, told, _stop: stop.drop_guard() }
    }

    async fn meets(&mut self, other: &Self) {
        loop {
            let told = timeout(PATIENCE, self.told.recv()).await.expect("in time").expect("it runs");
            if matches!(&told, Told::Met(met) if met.node == other.node) {
                return;
            }
        }
    }

    async fn hears(&mut self) -> Heard {
        loop {
            let told = timeout(PATIENCE, self.told.recv()).await.expect("in time").expect("it runs");
            if let Told::Heard(heard) = told {
                return heard;
            }
        }
    }

    /// Says this as soon as somebody listens.
    async fn says(&mut self, data: &str) {
        let saying = async {
            while let Err(why) = self.gossip.publish(TOPIC.to_owned(), data.into()).await {
                assert_eq!(why, NotPublished::Nobody);
                while !matches!(self.told.recv().await, Some(Told::Listens(_)) | None) {}
            }
        };
        timeout(PATIENCE, saying).await.expect("somebody listens in time");
    }
}

#[tokio::test]
async fn what_one_says_the_other_hears_by_the_port_that_serves_http_too() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    for side in [&one, &other] {
        side.gossip.join(TOPIC.to_owned()).await;
    }
    one.gossip.offer(other.node, vec![other.address]).await;
    one.meets(&other).await;
    other.meets(&one).await;
    one.says("first").await;
    let heard = other.hears().await;
    assert_eq!((heard.author, heard.topic.as_str(), heard.data.as_slice()), (one.node.into(), TOPIC, &b"first"[..]));
    let mut http = TcpStream::connect(one.address).await.expect("it listens");
    http.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.expect("sent");
    let mut page = String::new();
    http.read_to_string(&mut page).await.expect("an answer");
    assert!(page.ends_with("hello"), "{page}");
}

#[tokio::test]
async fn a_node_to_start_from_that_is_there_a_little_later_is_found() {
    // Nobody else's port: it is free while nobody is there.
    let later = TcpListener::bind("127.9.0.2:0").await.expect("a free port").local_addr().expect("bound");
    let peer = super::run::peer_of(KeyPair::from_seed([2; 32]).node()).expect("a key");
    let bootstrap = Bootstrap { peer, address: format!("/ip4/127.9.0.2/tcp/{}", later.port()).parse().expect("one") };
    let listener = TcpListener::bind("127.9.0.1:0").await.expect("a free port");
    let mut one = Side::start_from(1, listener, vec![bootstrap]);
    sleep(Duration::from_millis(500)).await;
    let other = Side::start_from(2, TcpListener::bind(later).await.expect("it is free again"), Vec::new());
    one.meets(&other).await;
}

#[tokio::test]
async fn a_message_is_passed_on_when_it_was_judged_good_and_not_else() {
    let (mut one, mut middle, mut other) = (Side::start(1).await, Side::start(2).await, Side::start(3).await);
    for side in [&one, &middle, &other] {
        side.gossip.join(TOPIC.to_owned()).await;
    }
    middle.gossip.offer(one.node, vec![one.address]).await;
    one.meets(&middle).await;
    other.gossip.offer(middle.node, vec![middle.address]).await;
    other.meets(&middle).await;
    one.says("bad").await;
    let heard = middle.hears().await;
    middle.gossip.judge(&heard, Verdict::NotNow).await;
    one.says("good").await;
    let heard = middle.hears().await;
    middle.gossip.judge(&heard, Verdict::Good).await;
    let heard = other.hears().await;
    assert_eq!((heard.author, heard.data.as_slice()), (one.node.into(), &b"good"[..]));
}

#[test]
fn a_machine_with_nothing_but_loopback_is_reached_there_and_any_other_is_not() {
    let net = |text: &str| text.parse().expect("a network");
    let bound: SocketAddr = "0.0.0.0:8400".parse().expect("an address");
    let reached = |interfaces: &[_]| Place::new(&[bound], interfaces, Vec::new()).reached;
    let (home, far) = (net("127.0.0.1/8"), net("192.0.2.7/24"));
    assert_eq!(reached(&[home]), ["127.0.0.1:8400".parse().expect("an address")]);
    assert_eq!(reached(&[home, far]), ["192.0.2.7:8400".parse().expect("an address")]);
}

#[tokio::test]
async fn who_went_is_told_however_much_waits_to_be_heard() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    for side in [&one, &other] {
        side.gossip.join(TOPIC.to_owned()).await;
    }
    one.gossip.offer(other.node, vec![other.address]).await;
    other.meets(&one).await;
    other.says("first").await;
    // More than can wait.
    for number in 0..2 * TOLD_MAX {
        other.gossip.publish(TOPIC.to_owned(), number.to_string().into()).await.expect("somebody listens");
    }
    let gone = other.node;
    let full = async {
        while one.told.len() < TOLD_MAX {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, full).await.expect("as much as can wait");
    drop(other);
    let told = async { while !matches!(one.told.recv().await, Some(Told::Parted(node)) if node == gone) {} };
    timeout(PATIENCE, told).await.expect("it is told");
}

/// Another program in the DHT, and what it asks of the node that it reached.
#[tokio::test]
async fn the_dht_keeps_nothing_for_strangers() {
    let config =
        Config::default().gossip.map(|config| crate::config::Gossip { mdns: false, dht: Dht::Server, ..config });
    let config = config.expect("on by default");
    let swarm = |seed| {
        let gate = Gate::new(Counters::new("test"));
        let keys = key(&KeyPair::from_seed([seed; 32])).expect("a key");
        parts::swarm_in_memory(&keys, &config, gate).expect("it starts")
    };
    let (mut node, mut stranger) = (swarm(1), swarm(2));
    let at: Multiaddr = "/memory/7007".parse().expect("an address");
    node.listen_on(at.clone()).expect("it listens");
    let peer = *node.local_peer_id();
    let put = |stranger: &mut Swarm<Parts>| {
        let kad = stranger.behaviour_mut().kad.as_mut().expect("it is on");
        kad.add_address(&peer, at.clone());
        let record = kad::Record::new(b"key".to_vec(), b"value".to_vec());
        kad.put_record_to(record, std::iter::once(peer), kad::Quorum::One)
    };
    put(&mut stranger);
    let running = async {
        loop {
            tokio::select! {
                _ = node.select_next_some() => {}
                event = stranger.select_next_some() => if let SwarmEvent::Behaviour(PartsEvent::Kad(
                    kad::Event::OutboundQueryProgressed { result: kad::QueryResult::PutRecord(put), .. },
                )) = event {
                    assert!(put.is_ok(), "{put:?}");
                    return;
                }
            }
        }
    };
    timeout(PATIENCE, running).await.expect("it answers");
    let kad = node.behaviour_mut().kad.as_mut().expect("it is on");
    assert_eq!(kad.store_mut().records().count(), 0);
}
