//! The exchange on answers as peers give them, honest and hostile.

use super::*;
use comity_core::node::{Boot, Config, Node, Restored};
use comity_core::peers::Reach;
use comity_core::time::{Now, Timestamp};
use serde_json::json;
use std::collections::BTreeSet;

fn key(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

fn told(answer: &Value) -> Vec<Sighting> {
    sightings(answer, [10, 0, 0, 1].into(), key(1).peer())
}

fn peer(number: u8, trust: Trust, presence: Presence) -> PeerView {
    PeerView {
        id: key(number).peer(),
        key: Some(key(number)),
        name: "peer".to_owned(),
        version: "1".to_owned(),
        capabilities: Vec::new(),
        trust,
        presence,
        reach: Reach::default(),
        way: None,
        sources: BTreeSet::new(),
        addresses: vec![SocketAddr::from(([10, 0, 0, number], 8400))],
        status: None,
        metadata: BTreeMap::new(),
        discovered_at: Timestamp::default(),
        last_seen: Timestamp::default(),
        card: None,
        trouble: None,
    }
}

fn view(peers: Vec<PeerView>) -> NodeView {
    let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(1_700_000_000_000) };
    let config = Config::new(key(1), "me", Boot(Uuid::nil()), 1);
    NodeView { peers, ..Node::new(config, Restored::default(), now).view(now) }
}

#[test]
fn a_peer_that_is_told_of_is_a_claim_with_addresses_to_try() {
    let answer = json!({ "peers": [{
        "id": key(2).peer().to_string(), "key": key(2).to_string(), "name": "bob", "version": "1",
        "capabilities": ["tea"], "endpoint": "http://10.0.0.2:8400", "metadata": { "room": "4", "n": 3 },
    }]});
    let sightings = told(&answer);
    let [bob] = &sightings[..] else { panic!("one peer: {sightings:?}") };
    assert_eq!((bob.source, bob.told_by, bob.key), (Source::Exchange, Some([10, 0, 0, 1].into()), Some(key(2))));
    let address = "10.0.0.2:8400".parse().expect("an address");
    assert_eq!(bob.candidates, [Candidate { address, source: Source::Exchange }]);
    assert_eq!(bob.metadata, BTreeMap::from([("room".to_owned(), "4".to_owned())]));
}

#[test]
fn this_node_is_not_news_to_itself() {
    let answer = json!({ "peers": [{ "id": key(1).peer().to_string(), "endpoint": "http://10.0.0.9:1" }]});
    assert_eq!(told(&answer), []);
}

#[test]
fn what_cannot_be_used_is_passed_over() {
    let id = key(2).peer().to_string();
    for peer in [
        json!(null),
        json!({}),
        json!({ "id": id }),
        json!({ "id": id, "endpoint": "http://bank.example:80" }),
        json!({ "id": id, "endpoint": "ftp://10.0.0.2:8400" }),
        json!({ "id": id, "endpoint": 7 }),
        json!({ "id": "nobody", "endpoint": "http://10.0.0.2:8400" }),
    ] {
        assert_eq!(told(&json!({ "peers": [peer] })), []);
    }
    for answer in [json!(null), json!([]), json!({ "peers": "all" }), json!({ "peers": {} })] {
        assert_eq!(told(&answer), []);
    }
}

#[test]
fn an_answer_without_end_is_read_to_its_bound() {
    let long = "ü".repeat(500);
    let many: Vec<Value> = (0..TOLD_MAX + 100)
        .map(|number| {
            let id = Uuid::from_u128(number as u128 + 1).to_string();
            json!({ "id": id, "name": long, "endpoint": "http://10.0.0.2:8400", "capabilities": vec![&long; 100] })
        })
        .collect();
    let sightings = told(&json!({ "peers": many }));
    assert_eq!(sightings.len(), TOLD_MAX);
    assert!(sightings.iter().all(|sighting| sighting.name.len() <= limits::PEER_TEXT_MAX));
    assert!(sightings.iter().all(|sighting| sighting.capabilities.len() <= limits::PEER_LIST_MAX));
}

#[test]
fn only_peers_that_proved_their_key_and_are_there_are_asked() {
    let view = view(vec![
        peer(2, Trust::Unverified, Presence::Online),
        peer(3, Trust::Verified, Presence::Offline),
        peer(4, Trust::Verified, Presence::Online),
        peer(5, Trust::Known, Presence::Online),
    ]);
    let asked: Vec<_> = askable(&view, 0).iter().map(|whom| whom.key).collect();
    assert_eq!(asked, [Some(key(4)), Some(key(5))]);
    assert!(askable(&self::view(Vec::new()), 3).is_empty());
}

#[test]
fn everybody_is_asked_in_turn() {
    let view = view((2..22).map(|number| peer(number, Trust::Verified, Presence::Online)).collect());
    let asked: BTreeSet<_> = (0..3).flat_map(|turn| askable(&view, turn)).filter_map(|whom| whom.key).collect();
    assert_eq!(asked.len(), 20);
    assert!((0..9).all(|turn| askable(&view, turn).len() == ASKED_MAX));
}
