//! What many messages, many keys and many names may do, and what they may not.

use super::*;
use crate::peers::owners::VERIFIED_MAX;

const FAR: [u8; 4] = [192, 168, 1, 66];

/// A message by POST, with the key that signed it, if one did.
fn post(pair: &mut Pair, number: u128, from: PeerId, key: Option<NodeId>) -> Answer {
    let message = Message { id: Some(MessageId(Uuid::from_u128(number))), from, ..bug(pair.now) };
    let proof = Proof { via: Via::Post, address: FAR.into(), key };
    pair.heard.clear();
    pair.tell(1, Input::Arrived { ticket: TICKET, message: Box::new(message), proof });
    let answer = pair.heard.iter().find(|(by, _)| *by == 1).map(|(_, answer)| answer.clone());
    answer.expect("every message is judged at once here")
}

/// A key that nobody has seen before.
fn throw_away(number: usize) -> NodeId {
    let mut bytes = [77; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    NodeId::from_bytes(bytes)
}

#[test]
fn an_address_that_signs_with_a_new_key_each_time_is_limited_as_one_sender() {
    let mut pair = Pair::with(|config| {
        config.throttle.address = Rate { per_second: 1, burst: 5 };
        config.throttle.senders_max = 10;
    });
    let mut accepted = 0;
    for number in 0..50 {
        let key = throw_away(number);
        accepted +=
            usize::from(matches!(post(&mut pair, 100 + number as u128, key.peer(), Some(key)), Answer::Accepted));
    }
    assert_eq!(accepted, 5);
    // The linked peer is not one of the address, even where it posts.
    let linked = NodeId::from_bytes([1; 32]);
    assert!(matches!(post(&mut pair, 900, linked.peer(), Some(linked)), Answer::Accepted));
    let (sender, _) = pair.fates(send(1, Priority::Normal));
    assert_eq!(sender, [FateKind::Sent, FateKind::Inbox]);
}

#[test]
fn who_says_too_much_takes_nothing_from_others_at_its_address() {
    let mut pair = Pair::with(|config| config.throttle.address = Rate { per_second: 1, burst: 30 });
    let (loud, quiet) = (throw_away(1), throw_away(2));
    let accepted =
        (0..100).filter(|number| matches!(post(&mut pair, 100 + number, loud.peer(), Some(loud)), Answer::Accepted));
    assert_eq!(accepted.count(), 20, "its own burst");
    assert!(matches!(post(&mut pair, 900, quiet.peer(), Some(quiet)), Answer::Accepted));
}

#[test]
fn a_teller_lists_few_whom_nobody_verified_and_none_who_cannot_be_tried() {
    let mut pair = Pair::new();
    let mut told = |from: u128, address: &dyn Fn(u8) -> SocketAddr| {
        for number in 0..=255_u8 {
            let peer = PeerId(Uuid::from_u128(from + u128::from(number)));
            let candidates = vec![Candidate { address: address(number), source: Source::Exchange }];
            let told = Sighting { candidates, told_by: Some(FAR.into()), ..sighting(peer, None, "") };
            pair.tell(0, Input::Sighted(Sighting { source: Source::Exchange, ..told }));
        }
        pair.nodes[0].book.iter().filter(|peer| peer.key.is_none()).count()
    };
    let loopback = |number| SocketAddr::from(([127, 0, 0, number], 9000));
    assert_eq!(told(0x1000, &loopback), 0, "no address that may be dialled");
    let many = |number| SocketAddr::from(([192, 168, 1, number], 9000));
    assert_eq!(told(0x2000, &many), 32, "as many as may be dialled in a minute");
    let one = |_| SocketAddr::from(([192, 168, 1, 0], 9000));
    assert_eq!(told(0x3000, &one), 64, "as many as are remembered of one address");
}

/// Who node 0 says was evicted, by name.
fn evicted(pair: &mut Pair) -> Vec<String> {
    let names = std::mem::take(&mut pair.events).into_iter().filter_map(|(by, event)| match event {
        Event::Evicted { name, .. } if by == 0 => Some(name),
        _ => None,
    });
    names.collect()
}

#[test]
fn who_claims_the_name_of_a_proven_peer_is_evicted_or_nameless_until_it_proves_a_key() {
    let mut pair = Pair::new();
    pair.tell(0, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    let (stranger, key) = (PeerId(Uuid::from_u128(66)), throw_away(1));
    let (other, nearly) = (PeerId(Uuid::from_u128(67)), "node-2\u{200b}");
    pair.nodes[0].book = Book::default();
    // Before the name is proven.
    pair.tell(0, Input::Sighted(sighting(stranger, None, "node-2")));
    pair.tell(0, Input::Sighted(sighting(key.peer(), Some(key), "node-2")));
    assert_eq!(evicted(&mut pair), [""; 0]);
    pair.ask(0, Ask::Send(Send { to: Some(stranger), ..send(1, Priority::Normal) }));
    pair.link();
    assert_eq!(evicted(&mut pair), ["node-2"]);
    assert!(pair.nodes[0].book.find(stranger).is_none());
    assert_eq!(pair.nodes[0].book.find(key.peer()).map(|peer| peer.name.as_str()), Some(""));
    assert!(!pair.nodes[0].lanes.contains_key(&stranger));
    assert_eq!(pair.why(0, send(1, Priority::Normal).id).last(), Some(&FateKind::Failed));
    // And after it.
    pair.tell(0, Input::Sighted(sighting(other, None, nearly)));
    pair.tell(0, Input::Sighted(sighting(key.peer(), Some(key), "node-2")));
    assert_eq!(evicted(&mut pair), [""; 0], "it never came into the book");
    assert!(pair.nodes[0].book.find(other).is_none());
    assert_eq!(pair.nodes[0].book.find(key.peer()).map(|peer| peer.name.as_str()), Some(""));
}

#[test]
fn a_signed_message_evicts_who_used_its_id_without_the_key() {
    let mut pair = Pair::new();
    let key = throw_away(1);
    pair.tell(1, Input::Sighted(sighting(key.peer(), None, "me")));
    assert!(matches!(post(&mut pair, 1, key.peer(), None), Answer::Accepted));
    pair.events.clear();
    assert!(matches!(post(&mut pair, 2, key.peer(), Some(key)), Answer::Accepted));
    let said = pair.events.iter().map(|(_, event)| match event {
        Event::Evicted { .. } => "evicted",
        Event::PeerJoined(_) => "joined",
        Event::PeerLeft { .. } => "left",
        _ => "",
    });
    assert_eq!(said.filter(|word| !word.is_empty()).collect::<Vec<_>>(), ["left", "evicted", "joined"]);
    let record = pair.nodes[1].book.find(key.peer()).expect("a peer");
    assert_eq!((record.name.as_str(), record.candidates.len()), ("", 0));
}

#[test]
fn a_flood_of_keys_makes_nobody_forget_who_linked_once_and_stayed() {
    let mut pair = Pair::new();
    let friend = pair.nodes[0].me();
    pair.pass(Duration::from_secs(60));
    for number in 0..VERIFIED_MAX {
        pair.now.wall = pair.now.wall + Duration::from_millis(10);
        pair.nodes[1].book.owners.note(throw_away(number).peer(), pair.now.wall);
    }
    assert!(pair.nodes[1].book.owners.has(friend));
    assert!(!pair.nodes[1].book.owners.has(throw_away(0).peer()));
}

#[test]
fn a_new_key_each_second_has_the_memory_of_ids_written_once_a_minute_and_when_the_node_leaves() {
    let mut pair = Pair::new();
    let (mut written, mut last) = (0, 0);
    for number in 0..180 {
        pair.settings.clear();
        let key = throw_away(number);
        assert!(matches!(post(&mut pair, 100 + number as u128, key.peer(), Some(key)), Answer::Accepted));
        pair.pass(Duration::from_secs(1));
        if let Some(Value::Array(ids)) = pair.settings.get("verified") {
            (written, last) = (written + 1, ids.len());
        }
    }
    assert_eq!(written, 3);
    assert!(last > 100, "the later ids as well: {last}");
    pair.settings.clear();
    pair.ask(1, Ask::Leave { reason: "done".to_owned() });
    let Some(Value::Array(ids)) = pair.settings.get("verified") else { panic!("not kept") };
    assert_eq!(ids.len(), 181);
}

#[test]
fn names_are_cleaned_once_and_the_book_is_searched_for_namesakes_at_the_first_proof_alone() {
    let mut pair = Pair::new();
    let (hidden, namesake) = (PeerId(Uuid::from_u128(66)), PeerId(Uuid::from_u128(67)));
    pair.tell(1, Input::Sighted(sighting(hidden, None, "e\u{200b}ve\n")));
    assert_eq!(pair.nodes[1].book.find(hidden).map(|peer| peer.name.as_str()), Some("eve"));
    // The same key proves itself with each message that it signs.
    let key = throw_away(1);
    assert!(matches!(post(&mut pair, 1, key.peer(), Some(key)), Answer::Accepted));
    pair.tell(1, Input::Sighted(sighting(namesake, None, "carol")));
    pair.nodes[1].book.find_mut(key.peer()).expect("a peer").name = "carol".to_owned();
    assert!(matches!(post(&mut pair, 2, key.peer(), Some(key)), Answer::Accepted));
    assert!(pair.nodes[1].book.find(namesake).is_some());
}
