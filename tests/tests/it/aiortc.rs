//! Connections by WebRTC with an implementation that is not ours: aiortc (Python) signals, connects and
//! speaks as the protocol says, and offers what no peer should.

use comity_tests::lab::{Host, Lab};
use comity_tests::lines::Lines;
use comity_tests::node::{Node, text};
use comity_tests::{PATIENCE, peers, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Plays a scene on a host.
fn scene(host: &Host, words: &[&str]) -> Lines {
    Lines::start(&mut host.run(peers::python("rtc_peer.py").args(words)))
}

fn next(lines: &mut Lines) -> Value {
    let line = lines.next(PATIENCE).expect("the peer says something");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_peer_of_another_make_opens_a_link_and_both_hear_each_other() {
    let lab = Lab::bridge(2);
    let node = Node::on(&lab.host(1), "ann", &["--no-mdns"]);
    let (address, port) = (lab.host(1).address, node.port().to_string());
    let mut peer = scene(&lab.host(2), &["speaks", &address, &port]);
    let linked = next(&mut peer);
    assert_eq!(linked["linked"], true, "{linked}");
    println!("linked after {} s", linked["seconds"]);
    let id = text(&linked["peer"]);
    node.sees("peer", &id, PATIENCE, |peer| peer["trust"] == "verified" && peer["presence"] == "online");
    until("message", PATIENCE, || node.says(&["inbox", "--json"]).contains("said by aiortc").then_some(()));
    node.says(&["send", &id, "said to aiortc"]);
    peer.wait_for("message", PATIENCE, |line| line.contains("said to aiortc").then_some(()));
    peer.close();
    peer.wait_for("end", PATIENCE, |line| line.contains("\"ended\": 200").then_some(()));
    node.sees("end", &id, PATIENCE, |peer| peer["presence"] != "online");
}

#[test]
fn offers_that_lie_are_refused_by_their_cause_and_lead_nowhere_inward() {
    let lab = Lab::bridge(1);
    let node = Node::on(&lab.host(1), "ann", &["--no-mdns"]);
    let (address, port) = (lab.host(1).address, node.port().to_string());
    let mut peer = scene(&lab.host(1), &["lies", &address, &port]);
    let mut answers = BTreeMap::new();
    let many = loop {
        let said = next(&mut peer);
        if said["taken"].is_number() {
            break said;
        }
        answers.insert(text(&said["offer"]), said["status"].as_u64().expect("a status"));
    };
    let expected = json!({
        "unsigned": 401, "not base64url": 401, "for another": 401, "another description": 401, "old": 401,
        "of tomorrow": 401, "an answer": 422, "garbage": 422, "empty": 422, "huge": 413, "inward": 201,
        "inward again": 422, "addresses by a stranger": 404, "end by a stranger": 404,
    });
    assert_eq!(json!(answers), expected);
    assert!(many["taken"].as_u64() < Some(17) && many["refused"].as_u64() > Some(20), "{many}");
    assert_eq!(next(&mut peer), json!({"trapped": null}), "nothing is sent to this machine's own services");
    assert!(node.turned_away("candidate") >= 6.0 && node.turned_away("signal") >= 3.0);
    assert!(node.refusals("bad_signature") >= 6.0);
    node.says(&["status"]);
}
