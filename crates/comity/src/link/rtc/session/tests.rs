//! Sessions without a driver and without another side: what they do with what they are told.

use super::super::Ice;
use super::*;
use crate::driver::{Clock, Driver, Setup};
use crate::identity::{About, Identity};
use crate::link::Tls;
use crate::observe::Counters;
use crate::redaction::Redaction;
use comity_core::identity::key::KeyPair;
use comity_core::node::{Config, Node, Restored};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(10);

/// A session with a node that does not exist, by a broker that carries nothing; what it sends there.
fn session() -> (Session, mpsc::Receiver<(comity_core::id::PeerId, Vec<u8>)>) {
    let [own, other] = [KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32])];
    let clock = Clock::start();
    let name = own.node().short();
    let me = Identity::start(own.clone(), About { name: name.clone(), ..About::default() }, clock.now().wall);
    let node = Node::new(Config::new(own.node(), name, me.boot(), 1), Restored::default(), clock.now());
    let (stop, counters) = (CancellationToken::new(), Counters::new("0"));
    let redaction = Redaction::with(None);
    let setup = Setup { me, node, clock, counters, redaction, doors: Vec::new(), interfaces: Vec::new(), stop };
    let (_, handle) = Driver::new(setup);
    let links = Links::new(handle, Tls::new(&own, None).expect("TLS of a good key"), Some(Ice::default()));
    let agent = Agent::new(Arc::new(Ice::default())).expect("sockets");
    let (broker, sent) = mpsc::channel(64);
    let (_, orders) = mpsc::channel(1);
    let about = (Uuid::new_v4(), other.node(), Some(DialId(1)));
    (Session::new(links, agent, about, Route::Broker(broker), orders), sent)
}

/// Runs its agent until all addresses are collected.
async fn gathered(session: &mut Session) {
    let gathered = async { while !matches!(session.agent.next().await, News::Gathered(_)) {} };
    timeout(PATIENCE, gathered).await.expect("no server is asked");
}

#[tokio::test]
async fn an_address_that_comes_while_an_offer_is_open_is_looked_for() {
    let (mut session, _sent) = session();
    session.link = Some(LinkId(1));
    gathered(&mut session).await;
    assert!(session.take_order(Order::Restart).is_continue());
    gathered(&mut session).await;
    assert!(session.take_order(Order::Renew).is_continue());
    gathered(&mut session).await;
}

/// What somebody else's agent answers to the offer of a session, as a signal.
fn answer(session: &Session, to: &str) -> Signal {
    let mut other = Agent::new(Arc::new(Ice::default())).expect("sockets");
    let sdp = other.answer(&comity_core::wire::signal::split(to).0).expect("an answer");
    Signal { from: session.peer, ..session.signed(Kind::Answer, sdp) }
}

#[tokio::test]
async fn an_answer_that_comes_twice_is_not_taken_for_that_to_a_later_offer() {
    let (mut session, _sent) = session();
    let offer = session.agent.offer(LINK).expect("an offer");
    let first = answer(&session, &offer);
    session.take_answer(&first, None);
    session.link = Some(LinkId(1));
    assert!(session.take_order(Order::Restart).is_continue());
    session.take_answer(&first, None);
    let open = session.reoffer.clone().expect("it is open still");
    let second = answer(&session, &open);
    session.take_answer(&second, None);
    assert_eq!(session.reoffer, None, "it was answered");
}
