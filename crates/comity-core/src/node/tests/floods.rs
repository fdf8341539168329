//! What many messages, many keys and many names may do, and what they may not.

use super::*;

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
