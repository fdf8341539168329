//! What was said under an id before its owner proved the key, and what is left of it.

use super::*;
use crate::peers::book::Merged;

fn owner() -> NodeId {
    NodeId::from_bytes([77; 32])
}

/// A stranger uses the id of a key that was never met: says what it is doing, and is seen with a sighting
/// that names this key, if any.
fn claim(pair: &mut Pair, named: Option<NodeId>) {
    let metadata = BTreeMap::from([("run".to_owned(), "me".to_owned())]);
    let seen = Sighting { metadata, capabilities: vec!["root".to_owned()], ..sighting(owner().peer(), None, "me") };
    pair.tell(0, Input::Sighted(seen));
    let payload = Payload::from_value(&serde_json::json!({ "working_on": "run me" })).expect("a payload");
    post(pair, Message { kind: Kind::Status, channel: Channel::of_kind(Kind::Status), payload, ..bug(pair.now) }, None);
    let record = pair.nodes[0].book.find_mut(owner().peer()).expect("a record");
    assert!(record.status.is_some(), "the stranger was heard");
    record.sources.insert(Source::Manual);
    record.trouble = Some("nobody answers".to_owned());
    if named.is_some() {
        pair.tell(0, Input::Sighted(sighting(owner().peer(), named, "me")));
    }
}

fn post(pair: &mut Pair, message: Message, key: Option<NodeId>) {
    let message = Box::new(Message { from: owner().peer(), ..message });
    let proof = Proof { via: Via::Post, address: [127, 0, 0, 1].into(), key };
    pair.tell(0, Input::Arrived { ticket: TICKET, message, proof });
}

fn prove(pair: &mut Pair) -> PeerView {
    let signed = Message { id: Some(MessageId(Uuid::from_u128(10))), ..bug(pair.now) };
    post(pair, signed, Some(owner()));
    pair.nodes[0].peers().into_iter().find(|peer| peer.id == owner().peer()).expect("a peer")
}

#[test]
fn who_proves_a_key_has_said_nothing_that_was_said_without_it() {
    let mut pair = Pair::new();
    claim(&mut pair, None);
    let peer = prove(&mut pair);
    assert_eq!((peer.key, peer.presence), (Some(owner()), Presence::Online));
    assert_eq!((peer.name.as_str(), peer.status, peer.trouble), ("", None, None));
    assert_eq!((peer.metadata.len(), peer.capabilities.len(), peer.addresses.len()), (0, 0, 0));
    assert_eq!(peer.sources, [Source::Inbound].into());
}

#[test]
fn what_was_said_of_the_key_itself_serves_to_find_it_and_no_person_named_it() {
    let mut pair = Pair::new();
    claim(&mut pair, Some(owner()));
    let peer = prove(&mut pair);
    assert_eq!((peer.name.as_str(), peer.status, peer.addresses.len()), ("me", None, 1));
    assert_eq!((peer.metadata.len(), peer.capabilities.len()), (0, 0));
    assert_eq!(peer.sources, [Source::Mdns, Source::Inbound].into());
}

#[test]
fn metadata_is_taken_from_the_card_that_the_peer_signed() {
    let mut book = Book::default();
    let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(0) };
    let detail = serde_json::json!({ "metadata": { "room": "4", "odd": 3 } }).as_object().cloned();
    let (peer, _) = book.proven(owner(), now);
    peer.metadata.insert("room".to_owned(), "5".to_owned());
    peer.take_card(Box::new(Card { detail, ..Card::default() }));
    let signed = BTreeMap::from([("room".to_owned(), "4".to_owned())]);
    assert_eq!(peer.metadata, signed);
    // What is claimed afterwards changes nothing of it.
    let metadata = BTreeMap::from([("room".to_owned(), "6".to_owned()), ("run".to_owned(), "me".to_owned())]);
    let claim = Sighting { metadata, ..sighting(owner().peer(), Some(owner()), "me") };
    assert_eq!(book.merge(&claim, claim.candidates.clone(), now), Merged::Taken);
    assert_eq!(book.find(owner().peer()).map(|peer| peer.metadata.clone()), Some(signed));
}

#[test]
fn a_claim_without_a_key_at_the_address_of_a_linked_peer_replaces_no_link() {
    let mut pair = Pair::new();
    let liar = PeerId(Uuid::from_u128(66));
    let see = |pair: &mut Pair, port| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let candidates = vec![Candidate { address, source: Source::Mdns }];
        let claim = Sighting { candidates, ..sighting(liar, None, "me") };
        pair.nodes[0].handle(Input::Sighted(claim), pair.now);
        let dials = pair.nodes[0].effects().filter_map(|effect| match effect {
            Effect::Dial { dial, .. } => Some(dial),
            _ => None,
        });
        dials.collect::<Vec<_>>()
    };
    assert_eq!(see(&mut pair, 9000), [], "that is where the linked peer answered");
    // Nor does it stay when the same peer answers at another address.
    let dials = see(&mut pair, 9001);
    let mut up = pair.link_up(0);
    if let Input::LinkUp { link, dial, remote, .. } = &mut up {
        (*link, *dial) = (LinkId(2), dials.first().copied());
        remote.set_port(9001);
    }
    pair.nodes[0].handle(up, pair.now);
    assert_eq!((dials.len(), pair.nodes[0].book.find(liar).is_none()), (1, true));
}

#[test]
fn claimed_addresses_push_out_neither_the_one_that_answered_nor_one_that_a_person_named() {
    let mut book = Book::default();
    let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(0) };
    let (peer, _) = book.proven(owner(), now);
    let at = |last, source| Candidate { address: SocketAddr::from(([10, 0, 0, last], 9000)), source };
    let (good, named) = (at(1, Source::Mdns), at(2, Source::Manual));
    peer.last_good = Some(good.address);
    peer.add_candidates([good, named]);
    for source in [Source::Mdns, Source::Inbound, Source::Exchange] {
        peer.add_candidates((10..100).map(|last| at(last, source)));
    }
    assert!(peer.candidates.contains(&good) && peer.candidates.contains(&named), "{:?}", peer.candidates);
    assert_eq!(peer.candidates.last(), Some(&at(99, Source::Mdns)), "news of the same source is taken");
    peer.add_candidates([at(101, Source::Manual)]);
    assert!(peer.candidates.contains(&at(101, Source::Manual)));
}
