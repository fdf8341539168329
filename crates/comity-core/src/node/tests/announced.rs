//! Peers that a broker told of: who is dialled, who is kept, and what becomes of them.

use super::*;
use crate::peers::Rendezvous;

fn announced(number: u8, key: bool) -> Sighting {
    let address = SocketAddr::from(([10, 0, number, 1], 9000));
    let key = key.then(|| NodeId::from_bytes([number; 32]));
    let peer = key.map_or(PeerId(Uuid::from_u128(number.into())), |key| key.peer());
    Sighting {
        source: Source::Mqtt,
        told_by: None,
        candidates: vec![Candidate { address, source: Source::Mqtt }],
        rendezvous: Some(Rendezvous { url: Some("https://10.0.0.1:1".to_owned()), protocols: Vec::new() }),
        ..sighting(peer, key, "")
    }
}

fn dials(node: &mut Node, input: Input) -> usize {
    let now = Now { mono: Duration::from_secs(1), wall: Timestamp::from_millis(1_700_000_000_000) };
    node.handle(input, now);
    node.effects().filter(|effect| matches!(effect, Effect::Dial { .. })).count()
}

fn node() -> Node {
    let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(1_700_000_000_000) };
    let mut config = Config::new(NodeId::from_bytes([1; 32]), "ann", Boot(Uuid::from_u128(1)), 1);
    config.mqtt_connect_max = 2;
    Node::new(config, Restored::default(), now)
}

#[test]
fn the_first_announced_peers_are_dialled_and_the_rest_when_somebody_sends_to_them() {
    let mut node = node();
    let dialled: Vec<_> = (2..=5).map(|n| dials(&mut node, Input::Sighted(announced(n, true)))).collect();
    assert_eq!(dialled, [1, 1, 0, 0]);
    assert_eq!(dials(&mut node, Input::Sighted(announced(5, true))), 0, "told of again");
    let last = announced(5, true).peer;
    let ask = Ask::Send(Send { to: Some(last), ..send(1, Priority::Normal) });
    assert_eq!(dials(&mut node, Input::Asked { ticket: TICKET, ask }), 1);
    let gone = Input::Unsighted { source: Source::Mqtt, peer: announced(2, true).peer };
    assert_eq!(dials(&mut node, gone), 0);
    assert_eq!(dials(&mut node, Input::Sighted(announced(4, true))), 1, "there is room for another");
    let by_mdns = Sighting { source: Source::Mdns, told_by: Some([10, 0, 9, 1].into()), ..announced(9, true) };
    node.handle(Input::Interfaces(vec!["10.0.0.2/8".parse().expect("a net")]), node.started);
    assert_eq!(dials(&mut node, Input::Sighted(by_mdns)), 1, "who is found otherwise is dialled as ever");
}

#[test]
fn strangers_take_no_place_of_who_is_on_the_list() {
    let mut node = node();
    node.book.owners.know(NodeId::from_bytes([9; 32]));
    let dialled: Vec<_> = (2..=9).map(|n| dials(&mut node, Input::Sighted(announced(n, true)))).collect();
    assert_eq!(dialled, [1, 1, 0, 0, 0, 0, 0, 1]);
    assert_eq!(dials(&mut node, Input::Sighted(announced(4, true))), 0);
}

#[test]
fn who_cannot_be_dialled_takes_no_place_of_one_that_can() {
    let mut node = node();
    for number in 2..=9 {
        let nowhere = Sighting { candidates: Vec::new(), ..announced(number, true) };
        assert_eq!(dials(&mut node, Input::Sighted(nowhere)), 0);
    }
    assert_eq!(dials(&mut node, Input::Sighted(announced(10, true))), 1);
}

#[test]
fn who_was_only_announced_is_forgotten_with_the_announcement() {
    let mut node = node();
    let (keyless, keyed) = (announced(2, false), announced(3, true));
    for seen in [&keyless, &keyed] {
        dials(&mut node, Input::Sighted(seen.clone()));
    }
    let view = node.peers();
    assert_eq!(view.len(), 2);
    let named = view.iter().find(|peer| peer.id == keyed.peer).map(|peer| peer.name.clone());
    assert_eq!(named, Some(format!("node-{}", NodeId::from_bytes([3; 32]).short())));
    for seen in [keyless, keyed] {
        dials(&mut node, Input::Unsighted { source: Source::Mqtt, peer: seen.peer });
    }
    assert_eq!(node.peers().len(), 0);
}

#[test]
fn who_is_gone_does_not_come_back_with_what_waited_to_be_tried() {
    let mut node = node();
    node.config.mqtt_connect_max = 0;
    let told_by = Some([192, 168, 1, 2].into());
    let all: Vec<_> = (2..=100).map(|number| Sighting { told_by, ..announced(number, true) }).collect();
    for seen in &all {
        dials(&mut node, Input::Sighted(seen.clone()));
    }
    assert!(!node.deferred.is_empty(), "too many at once");
    for seen in &all {
        dials(&mut node, Input::Unsighted { source: Source::Mqtt, peer: seen.peer });
    }
    let later = Now { mono: Duration::from_secs(120), wall: Timestamp::from_millis(1_700_000_000_000) };
    node.handle(Input::Wake, later);
    assert_eq!(node.peers().len(), 0);
}

#[test]
fn a_doubted_peer_is_tried_and_a_linked_one_stays() {
    let mut node = node();
    let seen = announced(2, true);
    dials(&mut node, Input::Sighted(seen.clone()));
    let failed = Input::Dialed { dial: DialId(1), outcome: DialOutcome::Failed(Vec::new()) };
    dials(&mut node, failed);
    assert_eq!(dials(&mut node, Input::Doubted { peer: seen.peer }), 1);
    let mut pair = Pair::new();
    let other = pair.peer(0).id;
    pair.tell(0, Input::Doubted { peer: other });
    assert_eq!(pair.peer(0).presence, Presence::Online);
}

fn by_webrtc(number: u8) -> Sighting {
    let url = format!("https://10.0.{number}.1:8400/signal");
    let rendezvous = Rendezvous { url: Some(url), protocols: vec![crate::peers::WEBRTC.to_owned()] };
    let told_by = Some([192, 168, 1, 2].into());
    Sighting { candidates: Vec::new(), rendezvous: Some(rendezvous), told_by, ..announced(number, true) }
}

/// Who is to be connected to, and whether at the place of its signaling.
fn connects(node: &mut Node, input: Input, second: u64) -> Vec<bool> {
    let now = Now { mono: Duration::from_secs(second), wall: Timestamp::from_millis(1_700_000_000_000) };
    node.handle(input, now);
    let at_place = |effect| match effect {
        Effect::Connect { place, .. } => Some(place.is_some()),
        _ => None,
    };
    node.effects().filter_map(at_place).collect()
}

#[test]
fn a_broker_names_32_places_of_signaling_a_minute_and_who_comes_later_is_met_by_the_broker() {
    let mut node = node();
    node.config.mqtt_connect_max = 64;
    let mut at = |sighting, second| connects(&mut node, Input::Sighted(sighting), second);
    let first: Vec<_> = (2..=41).flat_map(|number| at(by_webrtc(number), 1)).collect();
    assert_eq!((first.len(), first.iter().filter(|at_place| **at_place).count()), (40, 32));
    assert_eq!(at(Sighting { told_by: Some([192, 168, 1, 3].into()), ..by_webrtc(42) }, 1), [true], "another broker");
    assert_eq!(at(by_webrtc(43), 60), [false]);
    assert_eq!(at(by_webrtc(44), 61), [true], "a minute later");
}

#[test]
fn doubt_dials_nobody_who_would_not_be_dialled_anyway() {
    let mut node = node();
    let dialled: Vec<_> =
        (2..=4).map(|number| connects(&mut node, Input::Sighted(by_webrtc(number)), 1).len()).collect();
    assert_eq!(dialled, [1, 1, 0]);
    let no_path = |number| Input::Dialed { dial: DialId(number), outcome: DialOutcome::NoPath { reasons: Vec::new() } };
    connects(&mut node, no_path(1), 1);
    assert_eq!(connects(&mut node, Input::Doubted { peer: by_webrtc(2).peer }, 1).len(), 1);
    assert_eq!(connects(&mut node, Input::Doubted { peer: by_webrtc(4).peer }, 1).len(), 0);
    let gone = Input::Unsighted { source: Source::Mqtt, peer: by_webrtc(3).peer };
    connects(&mut node, gone, 1);
    assert_eq!(connects(&mut node, Input::Doubted { peer: by_webrtc(4).peer }, 1).len(), 0, "nor when there is room");
}

#[test]
fn a_linked_peer_whose_goodbye_a_broker_brings_must_answer_within_a_second() {
    let key = NodeId::from_bytes([2; 32]);
    let goodbye = Input::Unsighted { source: Source::Mqtt, peer: key.peer() };
    let doubt = Input::Doubted { peer: key.peer() };
    for (said, answers, gone_after) in [(&goodbye, false, Some(1)), (&goodbye, true, None), (&doubt, false, Some(3))] {
        let mut pair = Pair::new();
        pair.tell(0, Input::Sighted(Sighting { source: Source::Mqtt, ..sighting(key.peer(), Some(key), "node-2") }));
        pair.nodes[0].handle(said.clone(), pair.now);
        let ping = pair.nodes[0].effects().find_map(|effect| match effect {
            Effect::Control { frame: Frame::Ping { nonce, ts }, .. } => Some((nonce, ts)),
            _ => None,
        });
        let (nonce, ts) = ping.expect("it is asked at once");
        if answers {
            pair.nodes[0].handle(Input::Frame { link: LINK, frame: Frame::Pong { nonce, ts } }, pair.now);
        }
        let mut gone = None;
        for second in 1..=3 {
            pair.now.mono += Duration::from_secs(1);
            pair.nodes[0].handle(Input::Wake, pair.now);
            pair.nodes[0].effects().for_each(drop);
            if gone.is_none() && pair.peer(0).presence != Presence::Online {
                gone = Some(second);
            }
        }
        assert_eq!(gone, gone_after, "{said:?}, answers: {answers}");
    }
}

#[test]
fn a_flood_of_announced_ids_pushes_nobody_out() {
    let mut book = Book::default();
    let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(0) };
    let seen = |number: u128| Sighting { peer: PeerId(Uuid::from_u128(number)), ..announced(2, false) };
    let friend = Sighting { source: Source::Mdns, ..seen(1) };
    book.merge(&friend, Vec::new(), now);
    for number in 2..20_000 {
        book.merge(&seen(number), Vec::new(), now);
    }
    assert!(book.find(friend.peer).is_some());
    assert_eq!(book.iter().count(), 1 + crate::limits::PEERS_MAX / 4);
    for number in 0..20_000_u32 {
        let mut key = [8; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        let key = NodeId::from_bytes(key);
        book.merge(&Sighting { key: Some(key), peer: key.peer(), ..announced(2, true) }, Vec::new(), now);
    }
    assert!(book.find(friend.peer).is_some(), "nor do keys, which are free as well");
    assert_eq!(book.iter().count(), crate::limits::PEERS_MAX);
}
