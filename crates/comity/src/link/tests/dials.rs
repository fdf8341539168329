//! Dials: the race, the expected key, and the fall back to plain HTTP.

use super::*;
use comity_core::node::{DialFailure, DialOutcome};
use comity_core::peers::{Candidate, Source};
use serde_json::json;
use std::time::Instant;

fn candidate(address: SocketAddr) -> Candidate {
    Candidate { address, source: Source::Mdns }
}

async fn outcome(side: &mut Side, expect: Option<NodeId>, addresses: &[SocketAddr]) -> DialOutcome {
    side.links.dial(DialId(3), expect, addresses.iter().copied().map(candidate).collect());
    loop {
        match side.event().await {
            Event::Input(Input::Dialed { dial: DialId(3), outcome }) => return outcome,
            Event::Link(_) => {}
            other => panic!("the end of a dial was wanted, not {other:?}"),
        }
    }
}

/// A port that takes connections and says nothing.
async fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    (listener, address)
}

/// A port where nobody listens.
async fn dead() -> SocketAddr {
    silent().await.1
}

/// A peer of the original kind: plain HTTP, no key.
async fn original(status: serde_json::Value) -> SocketAddr {
    let (listener, address) = silent().await;
    let router = Router::new().route("/dashflow/status", get(|| async move { axum::Json(status) }));
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

#[tokio::test]
async fn addresses_that_do_not_answer_delay_nobody() {
    let (mut one, other) = (Side::start(1).await, Side::start(2).await);
    let mut addresses = Vec::new();
    let mut held = Vec::new();
    for _ in 0..7 {
        let (listener, address) = silent().await;
        held.push(listener);
        addresses.push(address);
    }
    addresses.extend([dead().await, other.address]);
    let start = Instant::now();
    let ended = outcome(&mut one, Some(other.key.node()), &addresses).await;
    assert!(matches!(ended, DialOutcome::Linked(address) if address == other.address), "{ended:?}");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn only_one_of_a_peers_addresses_becomes_a_link() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    let ended = outcome(&mut one, None, &[other.address; 6]).await;
    assert!(matches!(ended, DialOutcome::Linked(_)));
    let _first = other.link().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!matches!(other.events.try_recv(), Ok(Event::Link(_))));
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn another_key_than_expected_is_refused_before_any_hello() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    let ended = outcome(&mut one, Some(key(3).node()), &[other.address]).await;
    let DialOutcome::Failed(failures) = ended else { panic!("{ended:?}") };
    assert_eq!(failures, vec![(candidate(other.address), DialFailure::WrongKey)]);
    assert!(other.events.try_recv().is_err());
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_peer_whose_clock_is_wrong_is_told_as_that() {
    let (one, other) = (key(1), key(2));
    let (handle, _events, _view) = handle(&one);
    let (ours, boot) = (hello_of(&one, handle.me().boot()), Boot(Uuid::new_v4()));
    let judged = |said: Timestamp| {
        let theirs = hello_at(&other, boot, said);
        hello::judge(&theirs, &handle, other.node(), &ours).map(|card| card.node)
    };
    let hour = Duration::from_secs(3600);
    assert_eq!(judged(wall()), Ok(Some(other.node())));
    assert_eq!(judged(wall() + hour), Err(DialFailure::Clock));
    assert_eq!(judged(wall() - 25 * hour), Err(DialFailure::Clock));
}

#[tokio::test]
async fn every_failed_candidate_is_told_with_its_cause() {
    let mut one = Side::start(1).await;
    let (nobody, (_held, mute)) = (dead().await, silent().await);
    let ended = outcome(&mut one, Some(key(3).node()), &[nobody, mute]).await;
    let DialOutcome::Failed(failures) = ended else { panic!("{ended:?}") };
    let wanted = [(candidate(nobody), DialFailure::Unreachable), (candidate(mute), DialFailure::Handshake)];
    assert_eq!(failures, wanted);
    assert!(matches!(outcome(&mut one, None, &[]).await, DialOutcome::Failed(none) if none.is_empty()));
    one.end().await;
}

#[tokio::test]
async fn a_peer_without_tls_is_asked_plainly_unless_a_key_was_expected() {
    let mut one = Side::start(1).await;
    let id = Uuid::new_v4();
    let address = original(json!({ "id": id, "name": "old", "version": "0.9", "capabilities": ["x", 5] })).await;
    let ended = outcome(&mut one, None, &[address]).await;
    let DialOutcome::Plain { address: answered, sighting } = ended else { panic!("{ended:?}") };
    assert_eq!((answered, sighting.peer.0, sighting.name.as_str()), (address, id, "old"));
    assert_eq!((sighting.key, sighting.capabilities), (None, vec!["x".to_owned()]));

    let ended = outcome(&mut one, Some(key(3).node()), &[address]).await;
    let DialOutcome::Failed(failures) = ended else { panic!("{ended:?}") };
    assert_eq!(failures, vec![(candidate(address), DialFailure::Handshake)]);
    one.end().await;
}

#[tokio::test]
async fn a_web_server_that_is_no_peer_is_incompatible() {
    let mut one = Side::start(1).await;
    let address = original(json!({ "hello": "world" })).await;
    let ended = outcome(&mut one, None, &[address]).await;
    let DialOutcome::Failed(failures) = ended else { panic!("{ended:?}") };
    assert_eq!(failures, vec![(candidate(address), DialFailure::Incompatible)]);
    one.end().await;
}
