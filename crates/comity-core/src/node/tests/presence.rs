//! When a peer is there, stale, unreachable or gone, and what is said of it.

use super::*;
use crate::limits::PEERS_MAX;
use crate::node::meeting::GOODBYE_HOLDS;

/// What node 0 says of its peers from now on, in a word each.
fn words(pair: &mut Pair) -> Vec<String> {
    let events = std::mem::take(&mut pair.events).into_iter().filter(|(by, _)| *by == 0);
    let word = |(_, event)| match event {
        Event::PeerJoined(peer) => Some(format!("joined {}", peer.presence.name())),
        Event::PeerUpdated(peer) => Some(format!("updated {}", peer.presence.name())),
        Event::PeerLeft { goodbye, .. } => Some(format!("left {goodbye}")),
        _ => None,
    };
    events.filter_map(word).collect()
}

/// Node 0 knows an address of node 1, which falls silent for so long.
fn silent(pair: &mut Pair, time: Duration) {
    let key = pair.nodes[1].config.node;
    pair.tell(0, Input::Sighted(sighting(key.peer(), Some(key), "node-2")));
    pair.events.clear();
    silence(pair, time);
}

fn silence(pair: &mut Pair, time: Duration) {
    let end = pair.now.mono + time;
    while pair.now.mono < end {
        let step = Duration::from_millis(100);
        pair.now = Now { mono: pair.now.mono + step, wall: pair.now.wall + step };
        pair.nodes[0].handle(Input::Wake, pair.now);
        let effects: Vec<_> = pair.nodes[0].effects().collect();
        pair.events.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Emit(event) => Some((0, event)),
            _ => None,
        }));
    }
}

#[test]
fn three_missed_pings_make_a_peer_stale_and_a_dial_that_does_not_end_makes_it_unreachable() {
    let mut pair = Pair::new();
    silent(&mut pair, Duration::from_millis(3900));
    assert_eq!(words(&mut pair), [""; 0]);
    silence(&mut pair, Duration::from_millis(100));
    assert_eq!(words(&mut pair), ["updated stale"]);
    silence(&mut pair, Duration::from_millis(400));
    assert_eq!(words(&mut pair), ["left false"]);
    assert_eq!(pair.peer(0).presence, Presence::Unreachable);
}

#[test]
fn a_dial_that_fails_makes_a_stale_peer_unreachable_at_once() {
    let mut pair = Pair::new();
    silent(&mut pair, Duration::from_secs(4));
    let failures =
        vec![(pair.nodes[0].book.find(pair.nodes[1].me()).expect("a peer").candidates[0], DialFailure::Unreachable)];
    pair.tell(0, Input::Dialed { dial: DialId(1), outcome: DialOutcome::Failed(failures) });
    assert_eq!(words(&mut pair), ["updated stale", "left false"]);
}

#[test]
fn a_stale_peer_that_is_reached_again_has_not_left() {
    let mut pair = Pair::new();
    silent(&mut pair, Duration::from_secs(4));
    pair.link();
    assert_eq!(words(&mut pair), ["updated stale", "updated online"]);
    pair.pass(Duration::from_secs(1));
    assert_eq!(words(&mut pair), [""; 0]);
}

#[test]
fn a_peer_without_an_address_is_unreachable_when_its_link_breaks() {
    let mut pair = Pair::new();
    pair.pass(Duration::from_secs(3));
    pair.events.clear();
    pair.tell(0, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    assert_eq!(words(&mut pair), ["left false"]);
}

#[test]
fn a_goodbye_on_a_link_that_was_just_replaced_is_heard() {
    let mut pair = Pair::new();
    let mut up = pair.link_up(0);
    if let Input::LinkUp { link, .. } = &mut up {
        *link = LinkId(2);
    }
    pair.tell(0, up);
    pair.events.clear();
    pair.tell(0, Input::LinkDown { link: LinkId(2), loss: LinkLoss::Broken });
    pair.tell(0, Input::LinkDown { link: LINK, loss: LinkLoss::Goodbye });
    assert_eq!(words(&mut pair), ["updated stale", "left true"]);
    assert!(pair.nodes[0].replaced.is_empty());
}

#[test]
fn a_goodbye_holds_against_what_gossip_tells_late_of_who_said_it() {
    let mut pair = Pair::new();
    let key = pair.nodes[1].config.node;
    let met = Input::Met { key, remote: None, dialed: false };
    pair.tell(0, met.clone());
    // It was heard of last long before.
    pair.pass(Duration::from_secs(60));
    pair.events.clear();
    pair.tell(0, Input::Frame { link: LINK, frame: Frame::Goodbye { reason: "shutting down".to_owned() } });
    pair.tell(0, Input::LinkDown { link: LINK, loss: LinkLoss::Goodbye });
    assert_eq!(words(&mut pair), ["left true"]);
    pair.tell(0, met.clone());
    pair.tell(0, Input::Parted { key });
    assert_eq!(pair.peer(0).presence, Presence::Offline);
    assert!(!words(&mut pair).iter().any(|word| word.starts_with("joined") || word.starts_with("left")));
    pair.pass(GOODBYE_HOLDS);
    pair.events.clear();
    pair.tell(0, met);
    assert_eq!(words(&mut pair), ["joined online"], "it is back, by gossip alone");
}

/// Node 0 dials node 1, which takes the link and closes it without a word.
fn turned_away(pair: &mut Pair) {
    let up = pair.link_up(0);
    for input in [up, Input::LinkDown { link: LINK, loss: LinkLoss::Broken }] {
        pair.nodes[0].handle(input, pair.now);
        let effects: Vec<_> = pair.nodes[0].effects().collect();
        pair.events.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Emit(event) => Some((0, event)),
            _ => None,
        }));
    }
}

#[test]
fn who_turns_us_away_is_unreachable_and_why_is_shown_and_it_does_not_come_and_go() {
    let mut pair = Pair::new();
    let candidate = Candidate { address: SocketAddr::from(([127, 0, 0, 1], 9000)), source: Source::Manual };
    let id = pair.nodes[1].me();
    pair.nodes[0].book.find_mut(id).expect("a peer").add_candidates([candidate]);
    pair.tell(0, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    pair.events.clear();
    silence(&mut pair, Duration::from_millis(500));
    assert_eq!(words(&mut pair), ["left false"]);
    for _ in 0..3 {
        turned_away(&mut pair);
        let peer = pair.peer(0);
        assert_eq!(peer.presence, Presence::Unreachable);
        assert!(peer.trouble.is_some_and(|trouble| trouble.contains("admits only known peers")));
    }
    assert_eq!(words(&mut pair), [""; 0]);
    pair.tell(1, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    pair.link();
    assert_eq!(words(&mut pair), ["joined online"], "it answers");
}

#[test]
fn who_is_started_again_at_once_has_not_left() {
    let mut pair = Pair::new();
    pair.events.clear();
    pair.tell(0, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    silence(&mut pair, Duration::from_millis(300));
    pair.tell(1, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    pair.link();
    pair.pass(Duration::from_secs(1));
    assert_eq!(words(&mut pair), ["updated stale", "updated online"]);
}

#[test]
fn a_plain_peer_that_is_heard_of_again_is_online_again_and_that_is_said() {
    let mut pair = Pair::new();
    let from = bug(pair.now).from;
    let post = |pair: &mut Pair, number| {
        let message = Message { id: Some(MessageId(Uuid::from_u128(number))), from, ..bug(pair.now) };
        let proof = Proof { via: Via::Post, address: [127, 0, 0, 1].into(), key: None };
        pair.tell(0, Input::Arrived { ticket: TICKET, message: Box::new(message), proof });
    };
    pair.events.clear();
    post(&mut pair, 1);
    assert_eq!(words(&mut pair), ["joined online"]);
    pair.pass(Duration::from_secs(125));
    assert_eq!(words(&mut pair), ["updated stale"]);
    post(&mut pair, 2);
    assert_eq!(words(&mut pair), ["updated online"]);
}

/// Who posts to node 0 without a key, and what is said of it.
fn plain(pair: &mut Pair, number: u128) -> PeerId {
    let from = PeerId(Uuid::from_u128(number));
    let message = Message { id: Some(MessageId(Uuid::from_u128(number))), from, ..bug(pair.now) };
    let address = [10, 0, (number >> 8) as u8, number as u8].into();
    let proof = Proof { via: Via::Post, address, key: None };
    pair.tell(0, Input::Arrived { ticket: TICKET, message: Box::new(message), proof });
    from
}

#[test]
fn who_only_posted_and_is_forgotten_has_left() {
    let mut pair = Pair::new();
    pair.events.clear();
    plain(&mut pair, 700);
    pair.pass(Duration::from_secs(700));
    assert_eq!(words(&mut pair), ["joined online", "updated stale", "left false"]);
}

#[test]
fn who_makes_room_in_a_full_book_has_left() {
    let mut pair = Pair::new();
    pair.events.clear();
    let joined = |words: Vec<String>| words.iter().filter(|word| *word == "joined online").count();
    for number in 0..PEERS_MAX as u128 - 1 {
        plain(&mut pair, 700 + number);
    }
    assert_eq!(joined(words(&mut pair)), PEERS_MAX - 1);
    plain(&mut pair, 600);
    assert_eq!(words(&mut pair), ["left false", "joined online"]);
}

#[test]
fn who_is_evicted_has_left_only_if_it_was_here() {
    let mut pair = Pair::new();
    pair.tell(0, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    pair.nodes[0].book = Book::default();
    // One that was here, and one that was only seen.
    let here = plain(&mut pair, 700);
    pair.nodes[0].book.find_mut(here).expect("a peer").name = "node-2".to_owned();
    let seen = PeerId(Uuid::from_u128(701));
    pair.tell(0, Input::Sighted(sighting(seen, None, "node-2")));
    words(&mut pair);
    pair.link();
    assert_eq!(words(&mut pair), ["left false", "joined online"]);
    // Whoever is seen again and again under the name never joined, and never leaves.
    for _ in 0..3 {
        pair.tell(0, Input::Sighted(sighting(seen, None, "node-2")));
    }
    assert!(pair.events.is_empty(), "{:?}", pair.events);
}

#[test]
fn who_is_no_longer_advertised_has_left_unless_it_proved_a_key() {
    let mut pair = Pair::new();
    let linked = pair.nodes[1].me();
    let plain = PeerId(Uuid::from_u128(5));
    pair.tell(0, Input::Sighted(sighting(linked, pair.nodes[1].config.node.into(), "node-2")));
    pair.tell(0, Input::Sighted(sighting(plain, None, "plain")));
    let proof = Proof { via: Via::Post, address: [127, 0, 0, 1].into(), key: None };
    let message = Box::new(bug(pair.now));
    pair.tell(0, Input::Arrived { ticket: TICKET, message, proof });
    pair.pass(Duration::from_secs(600));
    for peer in [linked, plain] {
        pair.tell(0, Input::Unsighted { source: Source::Mdns, peer });
    }
    let presence = |id| pair.nodes[0].book.find(id).map(|peer| peer.presence);
    assert_eq!((presence(linked), presence(plain)), (Some(Presence::Online), Some(Presence::Offline)));
}
