//! Connections by WebRTC between nodes behind NATs that share nothing but a broker: through the NATs,
//! and where that cannot be, through coturn.

use comity_tests::coturn::{Coturn, Login};
use comity_tests::lab::{Cable, Host};
use comity_tests::mosquitto::Mosquitto;
use comity_tests::nat::{Kind, Net};
use comity_tests::node::{Node, text};
use comity_tests::{PATIENCE, until};
use serde_json::Value;
use std::time::{Duration, Instant};

const PASSWORD: [(&str, &str); 2] = [("COMITY_WEBRTC_USERNAME", "kern"), ("COMITY_WEBRTC_PASSWORD", "turnpass")];

fn node(host: &Host, name: &str, broker: &Mosquitto, servers: &str, more: &[(&str, &str)]) -> Node {
    let mut variables = vec![("COMITY_WEBRTC_SERVERS", servers)];
    variables.extend(more);
    Node::on_with(host, name, &["--no-mdns", "--broker", &broker.url()], &variables)
}

/// Each is on the other's list of known nodes, as those have to be that meet across the open network.
fn acquaint(ann: &Node, bob: &Node) {
    ann.says(&["trust", &text(&bob.status["node"])]);
    bob.says(&["trust", &text(&ann.status["node"])]);
}

/// Makes them known to each other, waits until both are linked, and says by which kind of link, and how long it took.
fn linked(ann: &Node, bob: &Node) -> (String, Duration) {
    let start = Instant::now();
    acquaint(ann, bob);
    let way = linked_again(ann, bob);
    println!("linked by {way} after {:?}", start.elapsed());
    (way, start.elapsed())
}

/// How many links either of them dialled.
fn links_made(ann: &Node, bob: &Node) -> f64 {
    let of = |node: &Node| node.figure("comity_p2p_dials_total{outcome=\"linked\"}");
    of(ann) + of(bob)
}

fn linked_again(ann: &Node, bob: &Node) -> String {
    let way = |node: &Node, other: &Node| {
        let peer = node.peer(&other.id()).filter(|peer| peer["presence"] == "online")?;
        peer["link"].as_str().map(str::to_owned)
    };
    until("link there", PATIENCE * 2, || way(bob, ann));
    until("link here", PATIENCE * 2, || way(ann, bob))
}

/// What a node took in, from the first to the last.
fn arrived(node: &Node, wanted: usize) -> Vec<String> {
    let mut all = Vec::new();
    until("all messages", PATIENCE * 2, || {
        let taken = node.json(&["inbox"]);
        all.extend(taken["items"].as_array().into_iter().flatten().map(|item| item["message"]["payload"].to_string()));
        (all.len() >= wanted).then_some(())
    });
    all
}

#[test]
fn two_nodes_behind_nats_connect_directly_by_stun() {
    let net = Net::new(&[Kind::Cone, Kind::Cone]);
    let broker = Mosquitto::on(&net.public());
    let coturn = Coturn::on(&net.public(), Login::Password);
    let ann = node(&net.host(1), "ann", &broker, &coturn.stun(), &[]);
    let bob = node(&net.host(2), "bob", &broker, &coturn.stun(), &[]);
    assert_eq!(linked(&ann, &bob).0, "webrtc");
}

#[test]
fn signals_pass_the_broker_sealed_and_what_nodes_say_does_not() {
    let net = Net::new(&[Kind::Cone, Kind::Cone]);
    let broker = Mosquitto::on(&net.public());
    let coturn = Coturn::on(&net.public(), Login::Password);
    let mut capture = broker.capture();
    let ann = node(&net.host(1), "ann", &broker, &coturn.stun(), &[]);
    let bob = node(&net.host(2), "bob", &broker, &coturn.stun(), &[]);
    linked(&ann, &bob);
    ann.says(&["send", &bob.id(), "between us"]);
    until("message", PATIENCE, || bob.says(&["inbox", "--json"]).contains("between us").then_some(()));
    assert!(ann.stop().0.success());
    let goodbye = format!("mindgit/kernels/{}/goodbye", bob.id());
    assert!(bob.stop().0.success());
    capture.wait_for("goodbye", PATIENCE, |line| line.contains(&goodbye).then_some(()));
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let signals = capture.seen().iter().filter(|line| line.contains("/signal/")).count();
    assert!(signals >= 3, "an offer, an answer and addresses: {signals}");
    for line in capture.seen() {
        let inside = ["between us", "candidate:", "ice-pwd"].iter().any(|word| line.contains(&hex(word)));
        assert!(!inside, "{line}");
    }
}

#[test]
fn behind_symmetric_nats_a_relay_carries_what_nodes_say() {
    let net = Net::new(&[Kind::Symmetric, Kind::Symmetric]);
    let broker = Mosquitto::on(&net.public());
    let mut coturn = Coturn::on(&net.public(), Login::Password);
    let ann = node(&net.host(1), "ann", &broker, &coturn.turn(), &PASSWORD);
    let bob = node(&net.host(2), "bob", &broker, &coturn.turn(), &PASSWORD);
    assert_eq!(linked(&ann, &bob).0, "webrtc-relay");
    ann.says(&["send", &bob.id(), "over the relay"]);
    until("message", PATIENCE, || bob.says(&["inbox", "--json"]).contains("over the relay").then_some(()));
    assert!(ann.stop().0.success() && bob.stop().0.success());
    let (received, sent) = coturn.relayed(PATIENCE);
    println!("coturn received {received} packets and sent {sent}");
}

#[test]
fn a_relay_that_stops_is_named_and_used_again_when_it_is_back() {
    let net = Net::new(&[Kind::Symmetric, Kind::Symmetric]);
    let broker = Mosquitto::on(&net.public());
    let coturn = Coturn::on(&net.public(), Login::Secret);
    let secret = [("COMITY_WEBRTC_SECRET", "north"), ("COMITY_WEBRTC_USERNAME", "kern")];
    let (name, servers) = (format!("webrtc {}:3478", coturn.turn()), coturn.turn());
    let ann = node(&net.host(1), "ann", &broker, &servers, &secret);
    let bob = node(&net.host(2), "bob", &broker, &servers, &secret);
    assert_eq!(linked(&ann, &bob).0, "webrtc-relay");
    assert_eq!(checked(&ann, &name).0, "well");
    coturn.stop();
    let start = Instant::now();
    let why = |peer: &Value| peer["trouble"].as_str().is_some_and(|why| why.contains("does not answer"));
    let lost = |node: &Node, other: &Node| node.peer(&other.id()).is_some_and(|peer| why(&peer));
    until("reason", PATIENCE * 4, || (lost(&ann, &bob) || lost(&bob, &ann)).then_some(()));
    println!("the reason is said after {:?}", start.elapsed());
    let (state, detail) = checked(&ann, &name);
    assert!(state == "ill" && detail.contains("does not answer"), "{state}: {detail}");
    let _coturn = Coturn::on(&net.public(), Login::Secret);
    let start = Instant::now();
    assert_eq!(linked_again(&ann, &bob), "webrtc-relay");
    println!("linked again after {:?}", start.elapsed());
}

/// What `comity doctor` says of this: state and detail.
fn checked(node: &Node, name: &str) -> (String, String) {
    let output = node.run(&["doctor", "--json"]);
    let checkup: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let find = |check: &&Value| check["name"] == name;
    let check = checkup["checks"].as_array().into_iter().flatten().find(find);
    let check = check.unwrap_or_else(|| panic!("no {name} in {checkup}"));
    (text(&check["state"]), text(&check["detail"]))
}

#[test]
fn where_udp_is_blocked_the_relay_is_reached_by_tcp() {
    let net = Net::new(&[Kind::Cone, Kind::Symmetric]);
    net.block_udp(1);
    let broker = Mosquitto::on(&net.public());
    let coturn = Coturn::on(&net.public(), Login::Password);
    let both = format!("{},{}", coturn.turn(), coturn.turn_tcp());
    let ann = node(&net.host(1), "ann", &broker, &both, &PASSWORD);
    let bob = node(&net.host(2), "bob", &broker, &coturn.turn(), &PASSWORD);
    assert_eq!(linked(&ann, &bob).0, "webrtc-relay");
    assert_eq!(checked(&ann, &format!("webrtc {}:3478", coturn.turn())).0, "ill");
    assert_eq!(checked(&ann, &format!("webrtc turn:{}:3478?transport=tcp", net.public().address)).0, "well");
}

#[test]
fn a_relay_gets_its_addresses_back_by_udp_and_by_tcp() {
    let net = Net::new(&[Kind::Cone]);
    let broker = Mosquitto::on(&net.public());
    for tcp in [false, true] {
        let mut coturn = Coturn::on(&net.public(), Login::Password);
        let server = if tcp { coturn.turn_tcp() } else { coturn.turn() };
        let ann = node(&net.host(1), "ann", &broker, &server, &PASSWORD);
        ann.run(&["doctor"]);
        coturn.given_back(PATIENCE);
        coturn.stop();
    }
}

#[test]
fn a_wrong_password_for_the_relay_is_named() {
    let net = Net::new(&[Kind::Symmetric, Kind::Symmetric]);
    let broker = Mosquitto::on(&net.public());
    let coturn = Coturn::on(&net.public(), Login::Password);
    let wrong = [("COMITY_WEBRTC_USERNAME", "kern"), ("COMITY_WEBRTC_PASSWORD", "wrong")];
    let ann = node(&net.host(1), "ann", &broker, &coturn.turn(), &wrong);
    let bob = node(&net.host(2), "bob", &broker, &coturn.turn(), &wrong);
    acquaint(&ann, &bob);
    let (state, detail) = checked(&ann, &format!("webrtc {}:3478", coturn.turn()));
    assert!(state == "ill" && detail.contains("refuses the name or the password"), "{state}: {detail}");
    let said = |node: &Node, other: &Node| {
        let trouble = node.peer(&other.id()).and_then(|peer| peer["trouble"].as_str().map(str::to_owned));
        trouble.is_some_and(|why| why.contains("refuses the name or the password"))
    };
    until("reason", PATIENCE * 2, || (said(&ann, &bob) || said(&bob, &ann)).then_some(()));
}

#[test]
fn over_a_long_way_that_loses_packets_messages_are_complete_and_in_order() {
    let cable = Cable { delay: Duration::from_millis(25), loss_percent: 5 };
    let net = Net::with(&[Kind::Cone, Kind::Cone], Some(cable));
    let broker = Mosquitto::on(&net.public());
    let coturn = Coturn::on(&net.public(), Login::Password);
    let ann = node(&net.host(1), "ann", &broker, &coturn.stun(), &[]);
    let bob = node(&net.host(2), "bob", &broker, &coturn.stun(), &[]);
    assert_eq!(linked(&ann, &bob).0, "webrtc");
    say_in_order(&ann, &bob, 15);
}

/// Says so many things and waits for them, in their order.
fn say_in_order(ann: &Node, bob: &Node, count: usize) {
    for number in 0..count {
        ann.says(&["send", &bob.id(), &format!("number {number}")]);
    }
    let all = arrived(bob, count);
    for (number, payload) in all.iter().enumerate() {
        assert!(payload.contains(&format!("number {number}")), "{number}: {all:?}");
    }
}

/// Two linked nodes, of which one's way out changes: what they say arrives, and over the same link.
fn outlives(change: impl FnOnce(&Net)) {
    let net = Net::new(&[Kind::Cone, Kind::Cone]);
    let broker = Mosquitto::on(&net.public());
    let coturn = Coturn::on(&net.public(), Login::Password);
    let ann = node(&net.host(1), "ann", &broker, &coturn.stun(), &[]);
    let bob = node(&net.host(2), "bob", &broker, &coturn.stun(), &[]);
    assert_eq!(linked(&ann, &bob).0, "webrtc");
    let before = links_made(&ann, &bob);
    change(&net);
    let start = Instant::now();
    say_in_order(&ann, &bob, 5);
    println!("heard again after {:?}", start.elapsed());
    assert_eq!(linked_again(&ann, &bob), "webrtc");
    assert_eq!(links_made(&ann, &bob), before, "the link goes on by another path");
}

#[test]
fn a_nat_that_forgets_costs_a_moment_and_no_message() {
    outlives(|net| net.change_address(1));
}

#[test]
fn a_host_that_changes_its_network_card_goes_on() {
    outlives(|net| net.change_card(1));
}

#[test]
fn a_peer_that_was_killed_is_found_gone() {
    let net = Net::new(&[Kind::Cone, Kind::Cone]);
    let broker = Mosquitto::on(&net.public());
    let coturn = Coturn::on(&net.public(), Login::Password);
    let ann = node(&net.host(1), "ann", &broker, &coturn.stun(), &[]);
    let bob = node(&net.host(2), "bob", &broker, &coturn.stun(), &[]);
    linked(&ann, &bob);
    bob.signal("KILL");
    let start = Instant::now();
    ann.sees("end of the link", &bob.id(), PATIENCE, |peer| peer["presence"] != "online");
    println!("found gone after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn both_connect_at_once_again_and_again() {
    let net = Net::new(&[Kind::Cone, Kind::Cone]);
    let broker = Mosquitto::on(&net.public());
    let coturn = Coturn::on(&net.public(), Login::Password);
    for round in 0..5 {
        let ann = node(&net.host(1), "ann", &broker, &coturn.stun(), &[]);
        let bob = node(&net.host(2), "bob", &broker, &coturn.stun(), &[]);
        let (way, took) = linked(&ann, &bob);
        assert_eq!(way, "webrtc", "round {round}");
        println!("round {round}: {took:?}");
    }
}
