//! Nodes that cannot reach each other, and one between them that passes their connections on (circuit relay).

use comity_tests::lab::Lab;
use comity_tests::libp2p::{Foreign, Located};
use comity_tests::lines::Lines;
use comity_tests::nat::{Kind, Net};
use comity_tests::node::{Node, text};
use comity_tests::{PATIENCE, until};
use serde_json::{Value, json};
use std::time::Duration;

/// The relay does not listen to it.
const TOPIC: &str = "relays/only-the-ends";

/// Where a node is reached by a relay that is itself reached by this protocol.
fn by_relay(node: &Node, protocol: &str) -> String {
    until("address by the relay", PATIENCE, || {
        let said = node.json(&["topic", "list"]);
        let mut all = said["addresses"].as_array().into_iter().flatten().map(text);
        all.find(|address| address.contains("/p2p-circuit") && address.contains(protocol))
    })
}

/// Says it at one node until whoever watches the other has heard it: it is not told when the watching begins.
fn reaches(from: &Node, watching: &mut Lines, words: &str) -> Value {
    let mut tries = 0;
    until("message", PATIENCE, || {
        tries += 1;
        let words = format!("{words}, {tries}");
        from.run(&["send", TOPIC, &words]);
        let heard = watching.during(Duration::from_millis(300)).into_iter().find(|line| line.contains(&words));
        heard.map(|line| serde_json::from_str(&line).expect("one JSON object a line"))
    })
}

#[test]
fn two_that_cannot_reach_each_other_hear_each_other_through_a_relay_that_does_not_listen() {
    let lab = Lab::bridge(3);
    lab.part(1, 3);
    let bob = Node::on_with(&lab.host(2), "bob", &["--no-mdns"], &[("COMITY_GOSSIP_RELAY", "true")]);
    let relay = Located::of(&bob).tcp;
    let carl = Node::on_with(&lab.host(3), "carl", &["--no-mdns"], &[("COMITY_GOSSIP_RELAYS", &relay)]);
    let start = by_relay(&carl, "/tcp/");
    let ann = Node::on_with(&lab.host(1), "ann", &["--no-mdns"], &[("COMITY_GOSSIP_BOOTSTRAP", &start)]);
    for node in [&ann, &carl] {
        node.says(&["topic", "join", TOPIC]);
    }
    let [mut at_ann, mut at_carl] = [&ann, &carl].map(|node| node.follow(&["watch", TOPIC]));
    for (from, to, words) in [(&ann, &mut at_carl, "from ann"), (&carl, &mut at_ann, "from carl")] {
        let heard = reaches(from, to, words);
        assert_eq!((&heard["from"], &heard["trust"]), (&from.id().into(), &"verified".into()), "{heard}");
    }
    assert!(!bob.says(&["topic", "list"]).contains(TOPIC), "the relay does not listen");
}

#[test]
fn two_behind_nats_find_a_direct_way_by_the_relay_and_go_on_without_it() {
    let net = Net::new(&[Kind::Cone, Kind::Cone]);
    let bob = Node::on_with(&net.public(), "bob", &["--no-mdns"], &[("COMITY_GOSSIP_RELAY", "true")]);
    // By QUIC, whose one socket is seen from outside as one address.
    let relay = Located::of(&bob).quic.replace("127.0.0.1", &net.public().address);
    let carl = Node::on_with(&net.host(2), "carl", &["--no-mdns"], &[("COMITY_GOSSIP_RELAYS", &relay)]);
    let start = by_relay(&carl, "/quic-v1/");
    let ann = Node::on_with(&net.host(1), "ann", &["--no-mdns"], &[("COMITY_GOSSIP_BOOTSTRAP", &start)]);
    for node in [&ann, &carl] {
        node.says(&["topic", "join", TOPIC]);
    }
    let mut at_carl = carl.follow(&["watch", TOPIC]);
    reaches(&ann, &mut at_carl, "by the relay");
    // Nothing passes a relay that stands still, and one that goes on in time is not missed.
    let mut tries = 0;
    until("message without the relay", PATIENCE, || {
        tries += 1;
        let words = format!("without it, {tries}");
        bob.signal("STOP");
        ann.run(&["send", TOPIC, &words]);
        let heard = at_carl.during(Duration::from_millis(300)).iter().any(|line| line.contains(&words));
        bob.signal("CONT");
        heard.then_some(())
    });
}

#[test]
fn js_libp2p_is_reached_through_a_node_that_relays() {
    let node = Node::alone_with("ann", &[("COMITY_GOSSIP_RELAY", "true")]);
    let at = Located::of(&node);
    let mut js = Foreign::javascript();
    let hidden = js.makes("hidden");
    js.does(&json!({"as": "hidden", "join": TOPIC}));
    let reserved = js.does(&json!({"as": "hidden", "reserve": at.tcp}));
    let mut addresses = reserved["addresses"].as_array().into_iter().flatten().map(text);
    let circuit = addresses.find(|address| address.contains("/p2p-circuit")).unwrap_or_else(|| panic!("{reserved}"));
    js.makes("caller");
    js.does(&json!({"as": "caller", "join": TOPIC}));
    js.does(&json!({"as": "caller", "dial": circuit}));
    js.sees("caller", &hidden, TOPIC);
    js.does(&json!({"as": "caller", "publish": TOPIC, "text": "through the node"}));
    assert_eq!(js.hears("hidden", TOPIC)["text"], "through the node");
}
