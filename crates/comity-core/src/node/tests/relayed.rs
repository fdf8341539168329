//! Links by WebRTC: whom they admit through relays, what silence leads to, and whose turn it is to connect.

use super::*;
use crate::peers::{Rendezvous, WEBRTC};

fn other() -> NodeId {
    NodeId::from_bytes([2; 32])
}

fn at(seconds: u64) -> Now {
    let wall = Timestamp::from_millis(1_700_000_000_000 + 1_000 * seconds);
    Now { mono: Duration::from_secs(seconds), wall }
}

fn node() -> Node {
    Node::new(Config::new(NodeId::from_bytes([1; 32]), "ann", Boot(Uuid::from_u128(1)), 1), Restored::default(), at(0))
}

fn up(way: Way) -> Input {
    let remote = SocketAddr::from(([192, 168, 1, 5], 49_160));
    let card = Box::new(Card { node: Some(other()), name: "bob".to_owned(), ..Card::default() });
    let boot = Boot(Uuid::from_u128(2));
    Input::LinkUp { link: LINK, dial: None, key: other(), remote, way, card, boot, subscriptions: Vec::new() }
}

fn told(node: &mut Node, input: Input, now: Now) -> Vec<Effect> {
    node.handle(input, now);
    node.effects().collect()
}

fn is_closed(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Close { .. }))
}

#[test]
fn who_is_behind_a_relay_is_not_near_wherever_the_relay_is() {
    assert!(!is_closed(&told(&mut node(), up(Way::Rtc), at(1))), "open to private addresses");
    assert!(is_closed(&told(&mut node(), up(Way::RtcRelay), at(1))), "and to known nodes");
    let mut vouched = node();
    told(&mut vouched, Input::Vouched { key: other() }, at(1));
    assert!(!is_closed(&told(&mut vouched, up(Way::RtcRelay), at(1))), "and to whom its owner stands for");
    let mut moved = node();
    told(&mut moved, up(Way::Rtc), at(1));
    let remote = SocketAddr::from(([192, 168, 1, 5], 49_161));
    assert!(is_closed(&told(&mut moved, Input::LinkMoved { link: LINK, remote, way: Way::RtcRelay }, at(2))));
}

/// After how many silent seconds another path is looked for, and after how many the link is closed.
fn silent(way: Way) -> (Option<u64>, Option<u64>) {
    let mut node = node();
    told(&mut node, up(way), at(1));
    let (mut repath, mut closed) = (None, None);
    for second in 2..60 {
        let effects = told(&mut node, Input::Wake, at(second));
        if effects.iter().any(|effect| matches!(effect, Effect::Repath { link } if *link == LINK)) {
            assert_eq!(repath.replace(second - 1), None, "once");
            assert!(!is_closed(&effects));
        }
        if is_closed(&effects) {
            closed.get_or_insert(second - 1);
        }
    }
    (repath, closed)
}

#[test]
fn a_silent_link_by_webrtc_looks_for_another_path_before_it_is_given_up() {
    assert_eq!(silent(Way::Mesh), (None, Some(4)));
    assert_eq!(silent(Way::Rtc), (Some(3), Some(11)));
}

#[test]
fn whose_attempt_came_to_nothing_is_connected_from_here_and_nobody_else_is() {
    let mut node = node();
    let rendezvous = Rendezvous { url: None, protocols: vec![WEBRTC.to_owned()] };
    let seen = Sighting {
        source: Source::Mqtt,
        told_by: None,
        candidates: Vec::new(),
        rendezvous: Some(rendezvous),
        ..sighting(other().peer(), Some(other()), "bob")
    };
    let connects = |effects: &[Effect]| {
        effects.iter().find_map(|effect| if let Effect::Connect { dial, .. } = effect { Some(*dial) } else { None })
    };
    let dial = connects(&told(&mut node, Input::Sighted(seen), at(1))).expect("it is tried");
    told(&mut node, Input::Dialed { dial, outcome: DialOutcome::Yielded }, at(2));
    assert_eq!(connects(&told(&mut node, Input::Wake, at(5))), None, "the other side has its time");
    told(&mut node, Input::Unmet { peer: other().peer() }, at(5));
    let dial = connects(&told(&mut node, Input::Wake, at(6))).expect("it is this side's turn");
    told(&mut node, Input::Dialed { dial, outcome: DialOutcome::NoPath { reasons: Vec::new() } }, at(7));
    told(&mut node, Input::Wake, at(7));
    let failures = node.book.find(other().peer()).expect("there").failures;
    told(&mut node, Input::Unmet { peer: other().peer() }, at(7));
    assert_eq!(node.book.find(other().peer()).expect("there").failures, failures, "nothing was put off for it");
}
