//! Whom a text names. The door as a whole is tested over its real sockets by `comity-cli`.

use super::target::{Target, key, peer, resolve};
use comity_core::channel::Channel;
use comity_core::id::{NodeId, PeerId};
use comity_core::identity::trust::Trust;
use comity_core::node::{Boot, Config, Node, NodeView, Restored};
use comity_core::peers::{PeerView, Presence, Reach};
use comity_core::time::{Now, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

fn view(peers: Vec<PeerView>) -> NodeView {
    let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(0) };
    let config = Config::new(NodeId::from_bytes([9; 32]), "me", Boot(Uuid::nil()), 0);
    NodeView { peers, ..Node::new(config, Restored::default(), now).view(now) }
}

fn stranger(name: &str, number: u128) -> PeerView {
    PeerView {
        id: PeerId(Uuid::from_u128(number)),
        key: None,
        name: name.to_owned(),
        version: String::new(),
        capabilities: Vec::new(),
        trust: Trust::Unverified,
        presence: Presence::Online,
        reach: Reach::default(),
        way: None,
        sources: BTreeSet::new(),
        addresses: Vec::new(),
        status: None,
        metadata: BTreeMap::new(),
        discovered_at: Timestamp::default(),
        last_seen: Timestamp::default(),
        card: None,
        trouble: None,
    }
}

fn proven(name: &str, byte: u8) -> PeerView {
    let key = NodeId::from_bytes([byte; 32]);
    PeerView { id: key.peer(), key: Some(key), trust: Trust::Verified, ..stranger(name, 0) }
}

#[test]
fn a_peer_is_named_by_name_uuid_key_or_its_beginning() {
    let bob = proven("bob", 1);
    let (id, key) = (bob.id, NodeId::from_bytes([1; 32]));
    let view = view(vec![bob, stranger("eve", 7)]);
    for text in ["bob".to_owned(), id.to_string(), key.to_string(), key.short()] {
        assert_eq!(peer(&view, &text), Ok(id), "{text}");
    }
    assert_eq!(peer(&view, "nobody").expect_err("no such peer").code, "unknown_peer");
    assert_eq!(peer(&view, &Uuid::from_u128(8).to_string()).expect_err("no such peer").code, "unknown_peer");
    assert_eq!(peer(&view, "me").expect_err("that is us").code, "bad_request");
}

#[test]
fn who_is_trusted_is_named_without_doubt() {
    let (bob, stranger_called_eve) = (proven("bob", 1), stranger("eve", 7));
    let bobs_key = NodeId::from_bytes([1; 32]);
    let unmet = NodeId::from_bytes([5; 32]);
    let alone = view(vec![bob.clone(), stranger_called_eve]);
    assert_eq!((key(&alone, "bob"), key(&alone, &unmet.to_string())), (Ok(bobs_key), Ok(unmet)));
    assert_eq!(key(&alone, "eve").map_err(|denied| denied.code), Err("conflict"), "no key to trust");
    assert_eq!(key(&alone, "me").map_err(|denied| denied.code), Err("bad_request"), "ourselves");
    let doubted = view(vec![bob, stranger("bob", 8)]);
    assert_eq!(key(&doubted, "bob").map_err(|denied| denied.code), Err("conflict"));
    assert_eq!(key(&doubted, &bobs_key.peer().to_string()), Ok(bobs_key));
    let posing = view(vec![proven("bob", 1), proven(&bobs_key.short(), 2)]);
    assert_eq!(key(&posing, &bobs_key.short()).map_err(|denied| denied.code), Err("conflict"));
    let known = NodeView { known: BTreeSet::from([unmet]), ..view(Vec::new()) };
    assert_eq!(key(&known, &unmet.peer().to_string()), Ok(unmet), "as the list names it");
}

#[test]
fn of_two_with_one_name_the_proven_one_is_meant() {
    let bob = proven("bob", 1);
    let id = bob.id;
    assert_eq!(peer(&view(vec![stranger("bob", 7), bob.clone()]), "bob"), Ok(id));
    let denied = peer(&view(vec![bob, proven("bob", 2)]), "bob").expect_err("two are proven");
    assert_eq!(denied.code, "conflict");
    assert!(denied.detail.contains(&id.to_string()), "{}", denied.detail);
}

#[test]
fn what_is_meant_for_somebody_who_is_away_goes_to_nobody_else() {
    let away = PeerView { presence: Presence::Offline, ..proven("bob", 1) };
    let (id, short) = (away.id, NodeId::from_bytes([1; 32]).short());
    let denied = peer(&view(vec![away.clone(), proven("bob", 2)]), "bob").expect_err("two are proven");
    assert_eq!(denied.code, "conflict");
    let posing = PeerView { trust: Trust::Known, ..proven(&short, 2) };
    assert_eq!(peer(&view(vec![away, posing.clone()]), &short), Ok(id), "a key is no name");
    let known = BTreeSet::from([NodeId::from_bytes([1; 32])]);
    let gone = NodeView { known, ..view(vec![posing]) };
    assert_eq!(peer(&gone, &short).expect_err("it is not met").code, "unknown_peer");
}

#[test]
fn channels_are_told_from_peers() {
    let view = view(vec![stranger("builds", 7)]);
    let channel = |name| Ok(Target::Channel(Channel::new(name).expect("a good name")));
    assert_eq!(resolve(&view, "_status"), channel("_status"));
    assert_eq!(resolve(&view, "custom:builds"), channel("custom:builds"));
    assert_eq!(resolve(&view, "builds"), Ok(Target::Peer(PeerId(Uuid::from_u128(7)))));
    assert_eq!(resolve(&view, "!x:origin").expect_err("not here").code, "unknown_channel");
    assert_eq!(resolve(&view, "_a b").expect_err("no name").pointer.as_deref(), Some("/channel"));
}
