//! POSTs to peers without links: when the next one goes out, and what waits for one under way.

use super::*;

fn effects(pair: &mut Pair, input: Input) -> Vec<Effect> {
    pair.nodes[0].handle(input, pair.now);
    pair.nodes[0].effects().collect()
}

fn posted(effects: &[Effect]) -> Vec<MessageId> {
    let posts = effects.iter().filter_map(|effect| match effect {
        Effect::Post { message, .. } => message.id,
        _ => None,
    });
    posts.collect()
}

fn peer() -> PeerId {
    PeerId(Uuid::from_u128(66))
}

/// A peer that speaks only plain HTTP was found, and the first message is on its way to it.
fn found() -> (Pair, MessageId) {
    let mut pair = Pair::new();
    let seen = sighting(peer(), None, "old");
    let address = SocketAddr::from(([127, 0, 0, 1], 9001));
    let seen = Sighting { candidates: vec![Candidate { address, source: Source::Mdns }], ..seen };
    let done = effects(&mut pair, Input::Sighted(seen.clone()));
    let dial = done.iter().find_map(|effect| match effect {
        Effect::Dial { dial, .. } => Some(*dial),
        _ => None,
    });
    let outcome = DialOutcome::Plain { address, sighting: Box::new(seen) };
    let done = effects(&mut pair, Input::Dialed { dial: dial.expect("it is dialled"), outcome });
    let [first] = posted(&done)[..] else { panic!("{done:?}") };
    (pair, first)
}

fn outcome(message: MessageId, outcome: Result<(), PostFailure>) -> Input {
    Input::Posted { message, peer: peer(), coded: false, outcome }
}

#[test]
fn a_new_message_does_not_shorten_the_pause_after_a_post_that_failed() {
    let (mut pair, first) = found();
    let mut tried = posted(&effects(&mut pair, outcome(first, Err(PostFailure::Status(429)))));
    for number in 1..=3 {
        let ask = Ask::Send(Send { to: Some(peer()), ..send(number, Priority::Normal) });
        tried.extend(posted(&effects(&mut pair, Input::Asked { ticket: TICKET, ask })));
    }
    assert_eq!(tried, []);
    pair.now.mono += Duration::from_millis(500);
    assert_eq!(posted(&effects(&mut pair, Input::Wake)), [first]);
}

#[test]
fn a_node_that_leaves_waits_for_the_post_under_way() {
    let (mut pair, first) = found();
    let answered = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Answer { .. }));
    let mut done = effects(&mut pair, outcome(first, Ok(())));
    assert_eq!(posted(&done), []);
    done.extend(effects(&mut pair, Input::Asked { ticket: TICKET, ask: Ask::Leave { reason: "done".to_owned() } }));
    let [leave] = posted(&done)[..] else { panic!("{done:?}") };
    done.extend(effects(&mut pair, Input::Committed { upto: u64::MAX }));
    assert!(!answered(&done), "{done:?}");
    assert!(answered(&effects(&mut pair, outcome(leave, Ok(())))));
}
