//! Connections by WebRTC between nodes behind NATs that share nothing but a broker: through the NATs,
//! and where that cannot be, through coturn.

use comity_tests::coturn::{Coturn, Login};
use comity_tests::lab::Host;
use comity_tests::mosquitto::Mosquitto;
use comity_tests::nat::{Cable, Kind, Net};
use comity_tests::node::Node;
use comity_tests::{PATIENCE, until};
use serde_json::Value;
use std::time::{Duration, Instant};

const PASSWORD: [(&str, &str); 2] = [("COMITY_WEBRTC_USERNAME", "kern"), ("COMITY_WEBRTC_PASSWORD", "turnpass")];

fn node(host: &Host, name: &str, broker: &Mosquitto, servers: &str, more: &[(&str, &str)]) -> Node {
    let mut variables = vec![("COMITY_WEBRTC_SERVERS", servers)];
    variables.extend(more);
    Node::on_with(host, name, &["--no-mdns", "--broker", &broker.url()], &variables)
}

/// Waits until both are linked, and says by which kind of link.
fn linked(ann: &Node, bob: &Node) -> String {
    let start = Instant::now();
    ann.sees("link", &bob.id(), PATIENCE, |peer| peer["presence"] == "online" && !peer["link"].is_null());
    bob.sees("link", &ann.id(), PATIENCE, |peer| peer["presence"] == "online" && !peer["link"].is_null());
    let peer = ann.peer(&bob.id()).expect("it is linked");
    println!("linked after {:?}: {peer}", start.elapsed());
    comity_tests::node::text(&peer["link"])
}

#[test]
fn two_nodes_behind_nats_connect_directly_by_stun() {
    let net = Net::new(&[Kind::Cone, Kind::Cone]);
    let broker = Mosquitto::on(&net.public());
    let coturn = Coturn::on(&net.public(), Login::Password);
    let ann = node(&net.host(1), "ann", &broker, &coturn.stun(), &[]);
    let bob = node(&net.host(2), "bob", &broker, &coturn.stun(), &[]);
    assert_eq!(linked(&ann, &bob), "webrtc");
}

#[test]
fn behind_symmetric_nats_a_relay_carries_what_nodes_say() {
    let net = Net::new(&[Kind::Symmetric, Kind::Symmetric]);
    let broker = Mosquitto::on(&net.public());
    let mut coturn = Coturn::on(&net.public(), Login::Password);
    let ann = node(&net.host(1), "ann", &broker, &coturn.turn(), &PASSWORD);
    let bob = node(&net.host(2), "bob", &broker, &coturn.turn(), &PASSWORD);
    assert_eq!(linked(&ann, &bob), "webrtc-relay");
    ann.says(&["send", "bob", "over the relay"]);
    until("message", PATIENCE, || bob.says(&["inbox", "--json"]).contains("over the relay").then_some(()));
    assert!(ann.stop().0.success() && bob.stop().0.success());
    let (received, sent) = coturn.relayed(PATIENCE);
    println!("coturn received {received} packets and sent {sent}");
}
