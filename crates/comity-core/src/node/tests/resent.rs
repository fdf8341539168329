//! Messages that are sent again because a link broke before their receipt: what both sides say.

use super::*;
use crate::peers::Way;

/// A message of node 0 to node 1, as it comes over a link.
fn brought(pair: &Pair, number: u128) -> Message {
    let (from, to) = (pair.nodes[0].me(), pair.nodes[1].me());
    let id = Some(MessageId(Uuid::from_u128(number)));
    Message { id, from, to: Address::Peer(to), ..bug(pair.now) }
}

/// What node 1 does when it is told this, without anybody performing it.
fn effects(pair: &mut Pair, input: Input) -> Vec<Effect> {
    pair.nodes[1].handle(input, pair.now);
    pair.nodes[1].effects().collect()
}

#[test]
fn a_copy_of_what_waits_for_the_disk_is_not_acknowledged_before_the_disk_has_it() {
    let mut pair = Pair::new();
    let message = brought(&pair, 1);
    let bring = || Input::Messages { link: LINK, batch: vec![message.clone()], unreadable: Vec::new() };
    let first = effects(&mut pair, bring());
    let number = first.iter().find_map(|effect| match effect {
        Effect::Persist { number, record: Record::ItemAdded(_) } => Some(*number),
        _ => None,
    });
    effects(&mut pair, bring());
    let fates = |effects: Vec<Effect>| {
        let fates = effects.into_iter().filter_map(|effect| match effect {
            Effect::Control { frame: Frame::Receipt(receipt), .. } => Some((receipt.received, receipt.fates)),
            _ => None,
        });
        fates.collect::<Vec<_>>()
    };
    pair.now.mono += Duration::from_millis(50);
    assert_eq!(fates(effects(&mut pair, Input::Wake)), [], "nothing is said while it is not safe");
    effects(&mut pair, Input::NotCommitted { from: number.expect("it is kept") });
    pair.now.mono += Duration::from_millis(50);
    let unavailable = (message.id.expect("an id"), FateKind::Unavailable);
    assert_eq!(fates(effects(&mut pair, Input::Wake)), [(2, vec![unavailable, unavailable])]);
}

#[test]
fn a_copy_beyond_the_rate_is_a_duplicate_of_what_was_taken() {
    let mut pair = Pair::with(|config| config.throttle.sender = Rate { per_second: 1, burst: 1 });
    let message = brought(&pair, 1);
    let id = message.id.expect("an id");
    pair.tell(1, Input::Messages { link: LINK, batch: vec![message.clone(), message], unreadable: Vec::new() });
    assert_eq!(pair.why(1, id), [FateKind::Inbox, FateKind::Duplicate]);
}

#[test]
fn what_a_listener_could_not_take_is_not_taken_from_the_next_copy() {
    let mut pair = Pair::new();
    pair.ask(1, Ask::Listen { listener: ListenerId(1), filter: ListenFilter::All });
    let message = send(1, Priority::Critical);
    pair.fates(message.clone());
    let (_, received) = pair.delivered.pop().expect("it was handed over");
    pair.disk = false;
    pair.tell(1, Input::Overflowed { listener: ListenerId(1), received });
    pair.pass(Duration::from_millis(100));
    assert_eq!(pair.why(0, message.id), [FateKind::Sent, FateKind::Delivered, FateKind::Unavailable]);
    let (_, receiver) = pair.fates(message);
    assert_eq!(receiver, [FateKind::Delivered, FateKind::Unavailable, FateKind::Duplicate]);
}

#[test]
fn a_fate_told_before_the_link_broke_stands_when_the_copy_is_a_duplicate() {
    let mut pair = Pair::new();
    let id = send(1, Priority::Normal).id;
    // What node 0 wants done is left undone: node 1 is played by hand.
    let tell = |pair: &mut Pair, input| {
        pair.nodes[0].handle(input, pair.now);
        pair.nodes[0].effects().for_each(drop);
    };
    let receipt = |received, fate| Input::Frame {
        link: LINK,
        frame: Frame::Receipt(Receipt { received, fates: vec![(id, fate)] }),
    };
    tell(&mut pair, Input::Asked { ticket: TICKET, ask: Ask::Send(send(1, Priority::Normal)) });
    tell(&mut pair, receipt(0, FateKind::Evicted));
    pair.nodes[0].close_link(LINK, pair.now);
    let key = pair.nodes[1].config.node;
    let card = Box::new(Card { node: Some(key), ..Card::default() });
    let remote = SocketAddr::from(([127, 0, 0, 1], 9000));
    let boot = pair.nodes[1].config.boot;
    tell(
        &mut pair,
        Input::LinkUp { link: LINK, dial: None, key, remote, way: Way::Mesh, card, boot, subscriptions: Vec::new() },
    );
    tell(&mut pair, receipt(1, FateKind::Duplicate));
    let told = [FateKind::Sent, FateKind::Evicted, FateKind::Sent, FateKind::Evicted];
    assert_eq!(pair.why(0, id), told);
}
