//! Connections over real sockets of this machine.

use super::agent::{Agent, News};
use super::channel::DataChannel;
use super::{BY_BROKERS_MAX, Entry, FROM_ONE_ADDRESS_MAX, FROM_ONE_KEY_MAX, Ice, Rtc, SESSIONS_MAX};
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

/// How many offers from these keys and addresses find room.
fn admitted(rtc: &Rtc, offers: impl Iterator<Item = (NodeId, Option<IpAddr>)>) -> usize {
    offers.filter(|(peer, from)| rtc.enter(Uuid::new_v4(), Entry::accepting(*peer, *from)).is_some()).count()
}

#[test]
fn offers_of_others_never_take_the_room_of_this_nodes_own() {
    let rtc = Rtc::new(Some(Ice::default()));
    let many = 2 * SESSIONS_MAX as u64;
    assert_eq!(admitted(&rtc, (0..9).map(|_| (key(0), None))), FROM_ONE_KEY_MAX);
    assert_eq!(admitted(&rtc, (1..many).map(|peer| (key(peer), None))), BY_BROKERS_MAX - FROM_ONE_KEY_MAX);
    let neighbour = |number: u64| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, u16::try_from(number).expect("small")]);
    let offers = (1..many).map(|number| (key(many + number), Some(neighbour(number))));
    assert_eq!(admitted(&rtc, offers), FROM_ONE_ADDRESS_MAX, "a /64 is one address");
    assert!(rtc.enter(Uuid::new_v4(), Entry::offering(key(1))).is_some());
}

#[test]
fn an_offer_is_not_taken_again_when_its_session_has_ended() {
    let (rtc, id) = (Rtc::new(Some(Ice::default())), Uuid::new_v4());
    let offer = || rtc.enter(id, Entry::accepting(key(1), None));
    assert!(offer().is_some());
    rtc.settle(id, LinkId(3));
    assert!(offer().is_none(), "it is under way");
    rtc.forget(id);
    assert!(offer().is_none(), "it is over");
    assert!(rtc.enter(Uuid::new_v4(), Entry::accepting(key(1), None)).is_some());
}
