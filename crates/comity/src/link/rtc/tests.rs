//! Connections over real sockets of this machine.

use super::Ice;
use super::agent::{Agent, News};
use super::channel::DataChannel;
use comity_core::peers::Way;
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use tokio_tungstenite::tungstenite::Message as Packet;

/// Runs two agents until both have a channel, carrying candidates between them.
async fn connect(a: &mut Agent, b: &mut Agent) -> (DataChannel, DataChannel) {
    let offer = a.offer("comity").expect("an offer");
    let answer = b.answer(&offer).expect("an answer");
    a.take_answer(&answer).expect("it is the answer");
    let (mut at_a, mut at_b) = (None, None);
    while at_a.is_none() || at_b.is_none() {
        tokio::select! {
            news = a.next() => match news {
                News::Candidate(candidate) => b.add_remote(candidate),
                News::Channel(channel) => at_a = Some(channel),
                News::Path(_, way) => assert_eq!(way, Way::Rtc),
                News::Ended => panic!("ended"),
                _ => {}
            },
            news = b.next() => match news {
                News::Candidate(candidate) => a.add_remote(candidate),
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
