//! What a node still knows after it was started again.

use super::*;

/// Node 1 is started again with the settings it had kept.
fn restart(pair: &mut Pair, restored: Restored) {
    let settings = pair.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let restored = Restored { settings, ..restored };
    pair.nodes[1] = Node::new(pair.nodes[1].config.clone(), restored, pair.now);
}

#[test]
fn an_id_that_was_verified_once_is_never_taken_unsigned_again() {
    let mut pair = Pair::new();
    pair.pass(Duration::from_secs(2));
    restart(&mut pair, Restored::default());
    let verified = pair.nodes[0].me();
    assert!(pair.nodes[1].peers().is_empty(), "nobody was met yet");
    let stolen = Message { from: verified, ..bug(pair.now) };
    let proof = Proof { via: Via::Post, address: [127, 0, 0, 1].into(), key: None };
    pair.heard.clear();
    pair.tell(1, Input::Arrived { ticket: TICKET, message: Box::new(stolen), proof });
    assert!(matches!(pair.heard[..], [(1, Answer::Refused(Refusal::Forged))]), "{:?}", pair.heard);
    // Nor is it believed of whoever answers by plain HTTP.
    pair.tell(1, Input::Sighted(sighting(verified, None, "node-1")));
    let address = SocketAddr::from(([127, 0, 0, 1], 9000));
    let outcome = DialOutcome::Plain { address, sighting: Box::new(sighting(verified, None, "node-1")) };
    pair.tell(1, Input::Dialed { dial: DialId(1), outcome });
    assert_eq!(pair.peer(1).presence, Presence::Unreachable);
}

#[test]
fn what_was_handed_over_at_once_and_must_not_be_done_twice_is_not() {
    for (kind, priority) in [(Kind::Suggestion, Priority::Critical), (Kind::Query, Priority::Normal)] {
        let mut pair = Pair::new();
        for (listener, filter) in [(ListenerId(1), ListenFilter::All), (ListenerId(2), ListenFilter::Queries)] {
            pair.ask(1, Ask::Listen { listener, filter });
        }
        let message = Send { kind, ..send(1, priority) };
        pair.ask(0, Ask::Send(message.clone()));
        assert_eq!(pair.delivered.len(), 1);
        let seen = pair.seen.clone();
        restart(&mut pair, Restored { seen, ..Restored::default() });
        pair.ask(1, Ask::Listen { listener: ListenerId(1), filter: ListenFilter::All });
        pair.ask(1, Ask::Listen { listener: ListenerId(2), filter: ListenFilter::Queries });
        // The receipt was not out, so it is sent again.
        pair.tell(0, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
        pair.link();
        pair.pass(Duration::from_millis(100));
        assert_eq!(pair.delivered.len(), 1, "{kind:?}");
        assert_eq!(pair.why(0, message.id).last(), Some(&FateKind::Delivered));
    }
}

fn status(pair: &Pair, whom: usize) -> Option<Value> {
    pair.peer(whom).status
}

#[test]
fn what_a_peer_was_doing_ends_with_the_start_that_said_it() {
    let mut pair = Pair::new();
    let doing = serde_json::json!({ "working_on": "tests" });
    pair.ask(1, Ask::SetStatus(Some(doing.clone())));
    assert_eq!(status(&pair, 0), Some(doing.clone()));
    // The same start is linked again: it says so again.
    pair.tell(0, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    pair.tell(1, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    pair.link();
    assert_eq!(status(&pair, 0), Some(doing));
    pair.tell(0, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    pair.nodes[1].config.boot = Boot(Uuid::from_u128(99));
    restart(&mut pair, Restored::default());
    pair.events.clear();
    pair.link();
    assert_eq!(status(&pair, 0), None);
    let said =
        pair.events.iter().any(|(by, event)| *by == 0 && matches!(event, Event::PeerStatus { status: None, .. }));
    assert!(said, "{:?}", pair.events);
}

#[test]
fn a_new_start_hears_what_a_node_is_doing_that_holds_the_link_to_the_old_one() {
    let mut pair = Pair::new();
    let doing = serde_json::json!({ "working_on": "tests" });
    pair.ask(0, Ask::SetStatus(Some(doing.clone())));
    pair.pass(Duration::from_millis(100));
    pair.nodes[1].config.boot = Boot(Uuid::from_u128(99));
    restart(&mut pair, Restored::default());
    let mut up = pair.link_up(0);
    if let Input::LinkUp { link, .. } = &mut up {
        *link = LinkId(2);
    }
    pair.nodes[0].handle(up, pair.now);
    let sent = pair.nodes[0].effects().filter_map(|effect| match effect {
        Effect::Transmit { link: LinkId(2), message } => Some(message.payload.to_value()),
        _ => None,
    });
    assert_eq!(sent.collect::<Vec<_>>(), [doing]);
}

#[test]
fn a_node_that_leaves_says_what_it_took() {
    let mut pair = Pair::new();
    pair.ask(1, Ask::Listen { listener: ListenerId(1), filter: ListenFilter::All });
    pair.ask(1, Ask::SetMode(Mode::Realtime));
    pair.ask(0, Ask::Send(send(1, Priority::Normal)));
    pair.ask(1, Ask::Leave { reason: "done".to_owned() });
    assert_eq!(pair.why(0, send(1, Priority::Normal).id), [FateKind::Sent, FateKind::Delivered]);
}

#[test]
fn the_id_of_a_sender_whose_clock_is_behind_is_remembered_while_its_message_would_be_taken() {
    let mut pair = Pair::new();
    let behind = Duration::from_secs(30);
    let measured = |pair: &mut Pair| pair.nodes[1].links.get_mut(&LINK).expect("a link").skew_ms = -30_000;
    measured(&mut pair);
    let ttl = Ttl::from_seconds(1).expect("a ttl");
    let from = pair.nodes[0].me();
    let message = Message { from, ttl, timestamp: pair.now.wall - behind, ..bug(pair.now) };
    let id = message.id.expect("an id");
    pair.tell(1, Input::Messages { link: LINK, batch: vec![message.clone()], unreadable: Vec::new() });
    pair.pass(Duration::from_millis(1500));
    measured(&mut pair);
    pair.tell(1, Input::Messages { link: LINK, batch: vec![message], unreadable: Vec::new() });
    assert_eq!(pair.why(1, id), [FateKind::Inbox, FateKind::Duplicate]);
}
