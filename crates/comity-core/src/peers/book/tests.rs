//! Who is in the book, who stays when it is full, and what is said of them there.

use super::*;

fn sighting(peer: PeerId, key: Option<NodeId>) -> Sighting {
    Sighting {
        source: Source::Exchange,
        told_by: None,
        peer,
        key,
        name: String::new(),
        version: String::new(),
        capabilities: Vec::new(),
        candidates: Vec::new(),
        metadata: BTreeMap::new(),
        rendezvous: None,
    }
}

#[test]
fn a_full_book_keeps_who_is_known_or_named_and_drops_claims_first() {
    let mut book = Book::default();
    let at = |millis| Now { mono: Duration::from_millis(millis), wall: Timestamp::from_millis(millis) };
    let key = |number: usize| {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        NodeId::from_bytes(bytes)
    };
    book.owners.know(key(0));
    book.proven(key(0), at(0));
    book.proven(key(1), at(0)).0.sources.insert(Source::Manual);
    book.proven(key(2), at(0));
    let claimed = PeerId(uuid::Uuid::from_u128(7));
    assert!(book.claimed(claimed, None, at(1)).is_some());
    for number in 3..=PEERS_MAX + 10 {
        book.proven(key(number), at(2));
    }
    assert_eq!(book.iter().count(), PEERS_MAX);
    assert!(book.find(claimed).is_none(), "claims go first");
    assert!(book.find(key(2).peer()).is_none(), "then the verified who were silent longest");
    assert!(book.find(key(0).peer()).is_some(), "known");
    assert!(book.find(key(1).peer()).is_some(), "named by a person");
    assert!(book.is_owned(key(2).peer()) && book.claimed(key(2).peer(), None, at(3)).is_none());
    let address = SocketAddr::from(([192, 168, 1, 5], 9000));
    let told = Sighting { told_by: Some(address.ip()), ..sighting(claimed, None) };
    let permitted = vec![Candidate { address, source: Source::Exchange }];
    assert_eq!(book.merge(&told, permitted, at(4)), Merged::Refused, "who is only told of pushes nobody out");
    assert_eq!((book.iter().count(), book.find(claimed).is_none()), (PEERS_MAX, true));
}

#[test]
fn what_is_no_longer_announced_of_a_peer_is_not_said_of_it() {
    let mut book = Book::default();
    let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(0) };
    let peer = PeerId(uuid::Uuid::from_u128(7));
    let bare = Sighting { source: Source::Mqtt, ..sighting(peer, None) };
    let metadata = BTreeMap::from([("room".to_owned(), "kitchen".to_owned())]);
    let full = Sighting { capabilities: vec!["draw".to_owned()], metadata, ..bare.clone() };
    for (said, capabilities, entries) in [(full, 1, 1), (bare, 0, 0)] {
        book.merge(&said, Vec::new(), now);
        let kept = book.find(peer).map(|peer| (peer.capabilities.len(), peer.metadata.len()));
        assert_eq!(kept, Some((capabilities, entries)));
    }
}

#[test]
fn who_is_announced_stays_until_the_broker_says_otherwise() {
    let mut book = Book::default();
    let at = |seconds| Now { mono: Duration::from_secs(seconds), wall: Timestamp::from_millis(seconds * 1000) };
    let peer = PeerId(uuid::Uuid::from_u128(7));
    book.merge(&Sighting { source: Source::Mqtt, ..sighting(peer, None) }, Vec::new(), at(0));
    book.sweep(at(3600));
    assert!(book.find(peer).is_some());
    assert!(book.find_mut(peer).is_some_and(|peer| peer.sources.remove(&Source::Mqtt)));
    book.sweep(at(3600));
    assert!(book.find(peer).is_none());
}

#[test]
fn whom_brokers_told_of_first_make_room_for_who_is_known_but_not_for_a_stranger() {
    let mut book = Book::default();
    let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(0) };
    let announced = |number: usize| {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let key = NodeId::from_bytes(bytes);
        Sighting { source: Source::Mqtt, ..sighting(key.peer(), Some(key)) }
    };
    for number in 0..PEERS_MAX {
        assert_eq!(book.merge(&announced(number), Vec::new(), now), Merged::Taken);
    }
    let friend = announced(PEERS_MAX);
    assert_eq!(book.merge(&friend, Vec::new(), now), Merged::Refused);
    assert!(friend.key.is_some_and(|key| book.owners.know(key)));
    assert_eq!(book.merge(&friend, Vec::new(), now), Merged::Taken);
    assert_eq!((book.iter().count(), book.find(friend.peer).is_some()), (PEERS_MAX, true));
}
