//! Three nodes on one network of their own: they find each other, and notice who is gone how.

use comity_tests::PATIENCE;
use comity_tests::lab::Lab;
use comity_tests::lines::Lines;
use comity_tests::node::Node;
use std::time::{Duration, Instant};

/// Three nodes that know each other, all pairs, both ways.
fn three() -> (Lab, Vec<Node>) {
    let lab = Lab::bridge(3);
    let nodes: Vec<Node> = (1..=3).map(|number| Node::on(&lab.host(number), &format!("n{number}"), &[])).collect();
    all_pairs_know_each_other(&nodes);
    (lab, nodes)
}

fn all_pairs_know_each_other(nodes: &[Node]) {
    for one in nodes {
        nodes.iter().filter(|other| other.id() != one.id()).for_each(|other| one.knows(other));
    }
}

/// What two nodes say of the third from now on, each in a stream of its own.
fn streams(nodes: &[Node]) -> Vec<Lines> {
    let mut streams: Vec<Lines> = nodes.iter().map(|node| node.follow(&["peers", "--watch"])).collect();
    for stream in &mut streams {
        stream.wait_for("peers that are there", PATIENCE, |line| line.contains("present").then_some(()));
    }
    streams
}

/// Both other nodes must say within `limit` that the last one is as named.
fn both_see(nodes: &[Node], gone: &str, streams: &mut [Lines], presence: &str, limit: Duration) {
    let start = Instant::now();
    for (node, stream) in nodes.iter().zip(streams) {
        node.sees_in(stream, presence, gone, PATIENCE, |peer| peer["presence"] == presence);
        let took = start.elapsed();
        assert!(took <= limit, "{presence} after {took:?}: {limit:?} at most");
    }
}

#[test]
fn three_nodes_know_each_other_verified_and_both_ways() {
    let (_lab, nodes) = three();
    for node in &nodes {
        for other in nodes.iter().filter(|other| other.id() != node.id()) {
            node.sees("source mdns", &other.id(), PATIENCE, |peer| {
                peer["sources"].as_array().is_some_and(|sources| sources.contains(&"mdns".into()))
            });
        }
        assert_eq!(node.json(&["peers"])["peers"].as_array().map(Vec::len), Some(2));
    }
}

#[test]
fn a_killed_node_is_unreachable_to_all_within_three_seconds() {
    let (_lab, mut nodes) = three();
    let gone = nodes.pop().expect("three nodes");
    let mut streams = streams(&nodes);
    gone.signal("KILL");
    both_see(&nodes, &gone.id(), &mut streams, "unreachable", Duration::from_secs(3));
}

#[test]
fn a_cut_cable_is_unreachable_within_five_seconds_and_heals() {
    let (lab, nodes) = three();
    let mut streams = streams(&nodes[..2]);
    lab.cut(3);
    both_see(&nodes[..2], &nodes[2].id(), &mut streams, "unreachable", Duration::from_secs(5));
    nodes[0].knows(&nodes[1]);
    lab.mend(3);
    all_pairs_know_each_other(&nodes);
}

#[test]
fn a_node_that_stands_still_for_two_seconds_raises_no_alarm() {
    let (_lab, nodes) = three();
    let still = nodes[2].id();
    let mut streams = streams(&nodes[..2]);
    let start = Instant::now();
    nodes[2].signal("STOP");
    // Nobody is asked anything here: what the others say is the only thing that may happen.
    let said = streams[0].during(Duration::from_secs(2));
    nodes[2].signal("CONT");
    assert!(start.elapsed() < Duration::from_millis(2500), "this machine is too busy for the test");
    let said = said.into_iter().chain(streams[0].during(Duration::from_secs(3)));
    let said = said.chain(streams[1].during(Duration::from_millis(100)));
    for line in said.filter(|line| line.contains(&still)) {
        for alarm in [r#""change":"left""#, "unreachable", "stale", "offline"] {
            assert!(!line.contains(alarm), "{alarm}: {line}");
        }
    }
    nodes[..2].iter().for_each(|node| node.knows(&nodes[2]));
}

#[test]
fn a_node_that_stops_is_offline_to_all_within_a_second() {
    let (_lab, mut nodes) = three();
    let gone = nodes.pop().expect("three nodes");
    let id = gone.id();
    let mut streams = streams(&nodes);
    gone.signal("TERM");
    both_see(&nodes, &id, &mut streams, "offline", Duration::from_secs(1));
    let (status, _folder) = gone.stop_after_signal();
    assert!(status.success(), "{status}");
}

#[test]
fn a_message_passes_between_hosts_and_the_receiver_says_who_wrote_it() {
    let (_lab, nodes) = three();
    nodes[0].says(&["send", "n2", "hello over there"]);
    let mut inbox = nodes[1].follow(&["inbox", "--follow"]);
    inbox.wait_for("the message", PATIENCE, |line| {
        let item: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let message = &item["message"];
        (message["payload"].to_string().contains("hello over there")
            && message["trust"] == "verified"
            && message["from"] == nodes[0].id().as_str())
        .then_some(())
    });
}
