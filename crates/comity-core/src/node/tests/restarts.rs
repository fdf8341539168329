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
