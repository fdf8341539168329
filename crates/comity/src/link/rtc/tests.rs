//! Connections over real sockets of this machine.

use super::agent::{Agent, News};
use super::channel::DataChannel;
use super::sessions::{
    BY_BROKERS_MAX, Entry, FROM_ONE_ADDRESS_MAX, FROM_ONE_KEY_MAX, Origin, SESSIONS_MAX, STRANGERS_MAX,
};
use super::{ATTEMPTS_MAX, Declined, Ice, Rtc, Server};
use crate::config::{IceKind, IceServer, RelayCredentials};
use comity_core::id::{LinkId, NodeId};
use comity_core::identity::key::KeyPair;
use comity_core::peers::Way;
use futures_util::{SinkExt, StreamExt};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Packet;
use uuid::Uuid;

/// Runs two agents until both have a channel, carrying candidates between them.
async fn connect(a: &mut Agent, b: &mut Agent) -> (DataChannel, DataChannel) {
    let offer = a.offer("comity").expect("an offer");
    let answer = b.answer(&offer).expect("an answer");
    a.take_answer(&answer).expect("it is the answer");
    let (mut at_a, mut at_b) = (None, None);
    while at_a.is_none() || at_b.is_none() {
        tokio::select! {
            news = a.next() => match news {
                News::Candidate(candidate) => assert!(b.add_remote(candidate)),
                News::Channel(channel) => at_a = Some(channel),
                News::Path(_, way) => assert_eq!(way, Way::Rtc),
                News::Ended => panic!("ended"),
                _ => {}
            },
            news = b.next() => match news {
                News::Candidate(candidate) => assert!(a.add_remote(candidate)),
                News::Channel(channel) => at_b = Some(channel),
                News::Ended => panic!("ended"),
                _ => {}
            },
        }
    }
    (at_a.expect("there"), at_b.expect("there"))
}

async fn drive(mut agent: Agent) {
    while !matches!(agent.next().await, News::Ended) {}
}

#[tokio::test]
async fn what_is_written_on_one_side_is_read_on_the_other_and_an_end_is_seen() {
    let (mut a, mut b) = (
        Agent::new(Arc::new(Ice::default())).expect("sockets"),
        Agent::new(Arc::new(Ice::default())).expect("sockets"),
    );
    let (mut at_a, mut at_b) = connect(&mut a, &mut b).await;
    let (a, b) = (tokio::spawn(drive(a)), tokio::spawn(drive(b)));
    assert_eq!(at_b.label(), "comity");
    at_a.send(Packet::text("hello")).await.expect("open");
    assert_eq!(at_b.next().await.expect("open").expect("a packet"), Packet::text("hello"));
    let large = vec![7; 300_000];
    for _ in 0..20 {
        at_b.send(Packet::binary(large.clone())).await.expect("open");
    }
    at_b.close().await.expect("open");
    for _ in 0..20 {
        assert_eq!(at_a.next().await.expect("open").expect("a packet"), Packet::binary(large.clone()));
    }
    assert!(at_a.next().await.is_none(), "the other side has closed");
    drop(at_a);
    a.await.expect("it ends");
    b.await.expect("it ends");
}

#[tokio::test]
async fn a_peer_that_acknowledges_nothing_does_not_keep_a_connection_whose_link_is_over() {
    let (mut a, mut b) = (
        Agent::new(Arc::new(Ice::default())).expect("sockets"),
        Agent::new(Arc::new(Ice::default())).expect("sockets"),
    );
    let (mut at_a, _at_b) = connect(&mut a, &mut b).await;
    let a = tokio::spawn(drive(a));
    at_a.send(Packet::text("who reads this")).await.expect("open");
    drop(at_a);
    // Nobody drives `b`: no packet is answered.
    timeout(Duration::from_secs(10), a).await.expect("in time").expect("it ends");
}

fn key(number: u64) -> NodeId {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    KeyPair::from_seed(seed).node()
}

/// How many offers of these find room.
fn admitted(rtc: &Rtc, offers: impl Iterator<Item = (NodeId, Origin)>) -> usize {
    offers.filter(|(peer, origin)| rtc.enter(Uuid::new_v4(), Entry::new(*peer, *origin)).is_ok()).count()
}

/// So many strangers at this address.
fn strangers(first: u64, count: usize, from: Option<IpAddr>) -> impl Iterator<Item = (NodeId, Origin)> {
    (first..first + count as u64).map(move |number| (key(number), Origin::Stranger(from)))
}

#[test]
fn one_key_and_one_address_have_little_room_and_a_64_is_one_address() {
    let rtc = Rtc::new(Some(Ice::default()));
    assert_eq!(admitted(&rtc, (0..9).map(|_| (key(0), Origin::Stranger(None)))), FROM_ONE_KEY_MAX);
    assert_eq!(admitted(&rtc, strangers(1, SESSIONS_MAX, None)), BY_BROKERS_MAX - FROM_ONE_KEY_MAX);
    let neighbour = |number: u64| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, u16::try_from(number).expect("small")]);
    let offers = (1000..1100).map(|number| (key(number), Origin::Stranger(Some(neighbour(number)))));
    assert_eq!(admitted(&rtc, offers), FROM_ONE_ADDRESS_MAX);
    assert_eq!(admitted(&rtc, (0..9).map(|_| (key(2000), Origin::Friend))), FROM_ONE_KEY_MAX);
}

#[test]
fn strangers_never_take_the_room_of_this_nodes_own_attempts_and_of_known_nodes() {
    let rtc = Rtc::new(Some(Ice::default()));
    let mut taken = admitted(&rtc, strangers(0, SESSIONS_MAX, None));
    assert_eq!(taken, BY_BROKERS_MAX);
    assert!(rtc.enter(Uuid::new_v4(), Entry::new(key(5000), Origin::Friend)).is_ok(), "a known one by the broker");
    for network in 1..=17 {
        let offers = strangers(1000 * u64::from(network), SESSIONS_MAX, Some([198, 51, network, 1].into()));
        taken += admitted(&rtc, offers);
    }
    assert_eq!(taken, STRANGERS_MAX);
    let own = (0..ATTEMPTS_MAX as u64).map(|number| (key(30_000 + number), Origin::Own));
    assert_eq!(admitted(&rtc, own), ATTEMPTS_MAX);
    assert!(rtc.enter(Uuid::new_v4(), Entry::new(key(5001), Origin::Friend)).is_ok());
}

#[test]
fn a_stranger_that_has_a_link_still_counts_as_one() {
    let rtc = Rtc::new(Some(Ice::default()));
    for number in 0..2 * SESSIONS_MAX as u64 {
        let id = Uuid::new_v4();
        if rtc.enter(id, Entry::new(key(number), Origin::Stranger(None))).is_ok() {
            rtc.settle(id, LinkId(number));
        }
    }
    assert_eq!(rtc.sessions().len(), STRANGERS_MAX);
}

#[test]
fn what_strangers_ask_for_asks_no_relay_for_an_address() {
    let server = |url: &str| {
        let address = url.parse::<IceServer>().expect("a server");
        let password =
            || RelayCredentials::LongTerm { username: "kern".to_owned(), password: "pass".to_owned().into() };
        Server { credentials: (address.kind != IceKind::Stun).then(password), address }
    };
    let urls = ["stun:192.0.2.1", "turn:192.0.2.2", "turn:192.0.2.3?transport=tcp", "turns:192.0.2.4"];
    let ice = Ice { servers: urls.map(server).into(), ..Ice::default() };
    let kept = ice.without_relays().servers;
    assert!(kept.iter().all(|server| server.credentials.is_none()));
    assert_eq!(kept.iter().map(|server| server.address.host.as_str()).collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.2"]);
}

#[test]
fn an_offer_is_not_taken_again_when_its_session_has_ended() {
    let (rtc, id) = (Rtc::new(Some(Ice::default())), Uuid::new_v4());
    let offer = || rtc.enter(id, Entry::new(key(1), Origin::Stranger(None)));
    assert!(offer().is_ok());
    rtc.settle(id, LinkId(3));
    assert!(matches!(offer(), Err(Declined::Because(_))), "it is under way");
    rtc.forget(id);
    assert!(matches!(offer(), Err(Declined::Because(_))), "it is over");
    assert!(rtc.enter(Uuid::new_v4(), Entry::new(key(1), Origin::Stranger(None))).is_ok());
}

#[test]
fn an_attempt_that_is_over_makes_nobody_yield_while_its_last_packets_are_under_way() {
    let (rtc, [own, theirs]) = (Rtc::new(Some(Ice::default())), [Uuid::new_v4(), Uuid::new_v4()]);
    let _orders = rtc.enter(own, Entry::new(key(1), Origin::Own));
    assert!(rtc.rival(key(1)).is_some());
    rtc.retire(own);
    assert!(rtc.rival(key(1)).is_none());
    let _orders = rtc.enter(theirs, Entry::new(key(2), Origin::Friend));
    assert!(rtc.is_accepting(key(2)));
    rtc.retire(theirs);
    assert!(!rtc.is_accepting(key(2)) && rtc.orders(theirs, key(2)).is_none());
    assert_eq!(rtc.sessions().len(), 2, "their sockets are open");
}

#[tokio::test]
async fn a_server_that_no_address_of_this_machine_reaches_is_named() {
    let alone = Agent::new(Arc::new(Ice::default())).expect("sockets").is_on_loopback();
    let elsewhere = if alone { "192.0.2.1" } else { "127.0.0.1" };
    let address = |kind: &str| format!("{kind}:{elsewhere}").parse::<IceServer>().expect("a server");
    let password = RelayCredentials::LongTerm { username: "kern".to_owned(), password: "pass".to_owned().into() };
    let servers = vec![
        Server { address: address("stun"), credentials: None },
        Server { address: address("turn"), credentials: Some(password) },
    ];
    let mut agent = Agent::new(Arc::new(Ice { servers, ..Ice::default() })).expect("sockets");
    let gathered = async {
        loop {
            if let News::Gathered(failures) = agent.next().await {
                return failures;
            }
        }
    };
    let mut failures = timeout(Duration::from_secs(10), gathered).await.expect("in time");
    failures.sort_unstable();
    let named = |kind: &str| format!("{kind}:{elsewhere}:3478: no address of this machine reaches it");
    assert_eq!(failures, [named("stun"), named("turn")]);
}
