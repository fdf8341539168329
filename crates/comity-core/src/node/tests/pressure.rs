//! Senders and receivers that have more than fits: who is told to wait, and how much is told at once.

use super::*;
use crate::outbound;
use crate::peers::Way;

/// What a node does when it is told this, without anybody performing it.
fn effects(pair: &mut Pair, whom: usize, input: Input) -> Vec<Effect> {
    pair.nodes[whom].handle(input, pair.now);
    pair.nodes[whom].effects().collect()
}

fn told_to_wait(effects: &[Effect]) -> Option<bool> {
    effects.iter().rev().find_map(|effect| match effect {
        Effect::Pressure { on, .. } => Some(*on),
        _ => None,
    })
}

/// Node 0 with more for node 1 than half of its queue, and nothing receipted.
fn crowded() -> Pair {
    let small = outbound::Config { messages_max: 8, window: 1, ..outbound::Config::default() };
    let mut pair = Pair::with(|config| config.outbound = small);
    let all = (0..7).flat_map(|number| {
        let ask = Ask::Send(send(number, Priority::Normal));
        effects(&mut pair, 0, Input::Asked { ticket: TICKET, ask })
    });
    assert_eq!(told_to_wait(&all.collect::<Vec<_>>()), Some(true));
    pair
}

#[test]
fn a_second_link_that_is_refused_does_not_let_senders_go_on() {
    let mut pair = crowded();
    let (key, boot) = (pair.nodes[1].config.node, pair.nodes[1].config.boot);
    let remote = SocketAddr::from(([127, 0, 0, 1], 9001));
    let card = Box::new(Card { node: Some(key), ..Card::default() });
    let up = Input::LinkUp {
        link: LinkId(2),
        dial: None,
        key,
        remote,
        way: Way::Mesh,
        card,
        boot,
        subscriptions: Vec::new(),
    };
    let done = effects(&mut pair, 0, up);
    assert!(done.iter().any(|effect| matches!(effect, Effect::Close { link: LinkId(2), .. })), "{done:?}");
    assert_eq!(told_to_wait(&done), None);
}

#[test]
fn senders_wait_for_a_peer_that_is_expected_back_and_not_for_one_that_is_gone() {
    let mut pair = crowded();
    effects(&mut pair, 0, Input::Frame { link: LINK, frame: Frame::Goodbye { reason: "leaving".to_owned() } });
    let done = effects(&mut pair, 0, Input::LinkDown { link: LINK, loss: LinkLoss::Goodbye });
    assert_eq!(told_to_wait(&done), Some(false));
}

#[test]
fn what_is_refused_at_once_has_a_fate_too() {
    let mut pair = Pair::new();
    let nobody = Send { to: Some(PeerId(Uuid::from_u128(77))), ..send(1, Priority::Normal) };
    let id = nobody.id;
    assert!(matches!(pair.ask(0, Ask::Send(nobody)), Answer::Refused(Refusal::UnknownPeer(_))));
    assert_eq!(pair.why(0, id), [FateKind::Failed]);
}

#[test]
fn a_refusal_is_told_however_much_news_of_old_messages_came_before() {
    let mut pair = Pair::new();
    let receipt = |received, fates| Input::Frame { link: LINK, frame: Frame::Receipt(Receipt { received, fates }) };
    effects(&mut pair, 0, Input::Asked { ticket: TICKET, ask: Ask::Send(send(1, Priority::Normal)) });
    // News of what was receipted long ago, as much as there may be.
    for batch in 0..5 {
        let old = (0..4000_u128)
            .map(|number| (MessageId(Uuid::from_u128(1_000_000 + batch * 4000 + number)), FateKind::Read));
        pair.nodes[0].lane(NodeId::from_bytes([2; 32]).peer()).fates_owed += 4000;
        effects(&mut pair, 0, receipt(0, old.collect()));
    }
    let id = send(1, Priority::Normal).id;
    effects(&mut pair, 0, receipt(0, vec![(id, FateKind::RateLimited)]));
    effects(&mut pair, 0, receipt(1, Vec::new()));
    assert_eq!(pair.why(0, id), [FateKind::Sent, FateKind::RateLimited]);
}

#[test]
fn of_a_take_that_the_disk_took_in_part_only_the_rest_is_put_back() {
    for acknowledged in [false, true] {
        let mut pair = Pair::new();
        for number in 1..=3 {
            pair.fates(send(number, Priority::Normal));
        }
        let ask = if acknowledged { Ask::Ack(vec![1, 2, 3]) } else { Ask::Take { limit: 3 } };
        let done = effects(&mut pair, 1, Input::Asked { ticket: TICKET, ask });
        let first = done.iter().find_map(|effect| match effect {
            Effect::Persist { number, .. } => Some(*number),
            _ => None,
        });
        let from = first.expect("the removals are kept") + 1;
        let done = effects(&mut pair, 1, Input::NotCommitted { from });
        let answer = done.into_iter().find_map(|effect| match effect {
            Effect::Answer { answer, .. } => Some(answer),
            _ => None,
        });
        match answer.expect("an answer") {
            Answer::Items(items) => assert_eq!(items.iter().map(|item| item.arrival).collect::<Vec<_>>(), [1]),
            other => assert!(acknowledged && matches!(other, Answer::Refused(Refusal::Disk)), "{other:?}"),
        }
        effects(&mut pair, 1, Input::Committed { upto: from - 1 });
        let Answer::Items(left) = pair.ask(1, Ask::Peek { after: 0, limit: 9 }) else { panic!("not items") };
        assert_eq!(left.iter().map(|item| item.arrival).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(pair.why(1, send(1, Priority::Normal).id).last(), Some(&FateKind::Read));
        assert_eq!(pair.why(1, send(2, Priority::Normal).id).last(), Some(&FateKind::Inbox));
    }
}

#[test]
fn each_part_of_a_long_receipt_says_how_far_it_reaches() {
    let mut pair = Pair::new();
    let first = Message { from: pair.nodes[0].me(), ..bug(pair.now) };
    let unreadable = (0..1000).map(|number| Unreadable { after: 1, id: MessageId(Uuid::from_u128(1000 + number)) });
    let batch = Input::Messages { link: LINK, batch: vec![first], unreadable: unreadable.collect() };
    let held = effects(&mut pair, 1, batch);
    let number = held.iter().find_map(|effect| match effect {
        Effect::Persist { number, .. } => Some(*number),
        _ => None,
    });
    let told = effects(&mut pair, 1, Input::Committed { upto: number.expect("it is kept") + 1 });
    let receipts = told.iter().filter_map(|effect| match effect {
        Effect::Control { frame: Frame::Receipt(receipt), .. } => Some((receipt.received, receipt.fates.len())),
        _ => None,
    });
    assert_eq!(receipts.collect::<Vec<_>>(), [(512, 512), (1001, 489)]);
}
