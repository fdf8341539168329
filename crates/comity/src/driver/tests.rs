//! The driver with real rules, and a disk that takes everything at once.

use super::{Clock, Driver, Event, Handle, Setup};
use crate::identity::{About, Identity};
use crate::link::{Ice, Links, Tls};
use crate::observe::Counters;
use crate::redaction::Redaction;
use comity_core::channel::Channel;
use comity_core::envelope::{Address, Kind, Message, Priority, Ttl, Via};
use comity_core::id::PeerId;
use comity_core::identity::key::KeyPair;
use comity_core::inbox::Mode;
use comity_core::node::{Answer, Ask, Config, Input, ListenFilter, Node, Proof, Refusal, Restored};
use comity_core::payload::Payload;
use comity_core::throttle::Rate;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

fn start() -> Handle {
    let (clock, stop) = (Clock::start(), CancellationToken::new());
    let about = About { name: "tested".to_owned(), ..About::default() };
    let me = Identity::start(KeyPair::from_seed([7; 32]), about, clock.now().wall);
    let tls = Tls::new(me.keys(), None).expect("a certificate");
    let mut config = Config::new(me.node(), me.name(), me.boot(), 1);
    config.throttle.address = Rate { per_second: 1_000_000, burst: 1_000_000 };
    config.throttle.sender = config.throttle.address;
    let node = Node::new(config, Restored::default(), clock.now());
    let counters = Counters::new("1");
    let redaction = Redaction::with(None);
    let setup = Setup { me, node, clock, counters, redaction, doors: Vec::new(), interfaces: Vec::new(), stop };
    let (driver, handle) = Driver::new(setup);
    let (records, mut taken) = mpsc::channel(16);
    let reports = handle.clone();
    tokio::spawn(async move {
        while let Some((upto, _)) = taken.recv().await {
            reports.inform(Input::Committed { upto }).await;
        }
    });
    tokio::spawn(driver.run(Links::new(handle.clone(), tls, Some(Ice::default())), records));
    handle
}

fn suggestion(handle: &Handle) -> Message {
    Message {
        id: Some(handle.new_message()),
        from: PeerId::of_foreign("somebody"),
        to: Address::Broadcast,
        kind: Kind::Suggestion,
        channel: Channel::of_kind(Kind::Suggestion),
        priority: Priority::Normal,
        timestamp: handle.now().wall,
        ttl: Ttl::DEFAULT,
        reply_to: None,
        payload: Payload::Empty,
        more: None,
    }
}

async fn arrive(handle: &Handle) {
    let proof = Proof { via: Via::Post, address: IpAddr::from([127, 0, 0, 1]), key: None };
    let answer = handle.arrive(suggestion(handle), proof).await;
    assert!(matches!(answer, Answer::Accepted), "{answer:?}");
}

#[tokio::test]
async fn a_view_is_made_once_for_each_change() {
    let handle = start();
    let first = handle.look().await;
    assert!(Arc::ptr_eq(&first, &handle.look().await));
    assert!(matches!(handle.ask(Ask::SetMode(Mode::Realtime)).await, Answer::Done));
    let second = handle.look().await;
    assert_eq!((first.mode, second.mode), (Mode::Focused, Mode::Realtime));
}

#[tokio::test]
async fn an_asker_that_has_gone_does_no_harm() {
    let handle = start();
    let (reply, answer) = oneshot::channel();
    drop(answer);
    handle.put(Event::Ask { ask: Ask::Peek { after: 0, limit: 1 }, reply }).await;
    assert!(matches!(handle.ask(Ask::Peek { after: 0, limit: 1 }).await, Answer::Items(items) if items.is_empty()));
}

#[tokio::test]
async fn what_a_listener_has_no_room_for_goes_to_the_inbox() {
    const OVER: usize = 10;
    let handle = start();
    assert!(matches!(handle.ask(Ask::SetMode(Mode::Realtime)).await, Answer::Done));
    let mut listener = handle.listen(ListenFilter::All).await;
    for _ in 0..super::listener::WAITING_MAX + OVER {
        arrive(&handle).await;
    }
    let Answer::Items(items) = handle.ask(Ask::Peek { after: 0, limit: 100 }).await else { panic!("no items") };
    assert_eq!(items.len(), OVER);
    assert!(listener.recv().await.is_some());
}

#[tokio::test]
async fn the_hello_follows_the_subscriptions() {
    let handle = start();
    let mut hello = handle.hello();
    let channel = Channel::new("custom:new").expect("a name");
    handle.ask(Ask::Subscribe { channel: channel.clone(), quiet: true }).await;
    let told = tokio::time::timeout(
        Duration::from_secs(5),
        hello.wait_for(|hello| hello.subscriptions.contains(&(channel.clone(), true))),
    );
    assert!(told.await.is_ok());
}

#[tokio::test]
async fn after_the_end_every_question_is_refused_and_the_last_view_stays() {
    let handle = start();
    handle.ask(Ask::SetMode(Mode::Minimal)).await;
    let mut listener = handle.listen(ListenFilter::All).await;
    handle.end().await;
    handle.end().await;
    assert!(handle.stop().is_cancelled());
    let answer = handle.ask(Ask::Digest { take: false }).await;
    assert!(matches!(answer, Answer::Refused(Refusal::Leaving)), "{answer:?}");
    assert_eq!(handle.look().await.mode, Mode::Minimal);
    assert!(listener.recv().await.is_none());
}
