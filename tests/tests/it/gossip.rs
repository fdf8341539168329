//! Topics that spread from node to node, as people use them at the command line.

use comity_tests::lab::Lab;
use comity_tests::lines::Lines;
use comity_tests::node::Node;
use comity_tests::{PATIENCE, until};
use serde_json::Value;
use std::time::Duration;

/// Hosts in a row: each reaches only its neighbours.
fn in_a_row() -> (Lab, [Node; 3]) {
    let lab = Lab::bridge(3);
    lab.part(1, 3);
    let nodes = [(1, "ann"), (2, "bob"), (3, "carl")].map(|(host, name)| Node::on(&lab.host(host), name, &[]));
    let [ann, bob, carl] = &nodes;
    for (one, other) in [(ann, bob), (bob, carl)] {
        one.knows(other);
        other.knows(one);
    }
    (lab, nodes)
}

/// Says this as soon as somebody listens.
fn publish(node: &Node, words: &[&str]) {
    until("listener", PATIENCE, || node.run(&[&["send"], words].concat()).status.success().then_some(()));
}

fn said(lines: &mut Lines, what: &str) -> Value {
    lines.wait_for(what, PATIENCE, |line| {
        let message: Value = serde_json::from_str(line).expect("one JSON object a line");
        line.contains(what).then_some(message)
    })
}

#[test]
fn what_is_said_on_a_topic_reaches_everybody_once_also_those_who_cannot_be_reached() {
    let (_lab, [ann, bob, carl]) = in_a_row();
    let topic = "CHORUS/coordination/v1";
    let mut watching = [&bob, &carl].map(|node| node.follow(&["watch", topic]));
    let progress = r#"{"task_id":"t-1","agent_id":"a-1","progress":0.5}"#;
    publish(&ann, &[topic, progress, "--type", "task_progress", "--priority", "high"]);
    for lines in &mut watching {
        let message = said(lines, "t-1");
        assert_eq!((&message["via"], &message["trust"]), (&"gossip".into(), &"verified".into()), "{message}");
        assert_eq!(message["from"], ann.id());
        assert_eq!(message["payload"]["data"]["progress"], 0.5);
        let more = lines.during(Duration::from_secs(1));
        assert!(!more.iter().any(|line| line.contains("t-1")), "once is enough: {more:?}");
    }
    let wrong = ann.run(&["send", topic, "{}", "--type", "context_request"]);
    assert_eq!(wrong.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("has no place on the topic CHORUS/coordination/v1"));
}

#[test]
fn a_topic_of_ones_own_is_heard_by_those_who_joined_it_until_they_leave() {
    let (_lab, [ann, bob, carl]) = in_a_row();
    let topic = "CHORUS/meta/issue/42";
    let deaf = ann.run(&["send", topic, "hello"]);
    assert!(String::from_utf8_lossy(&deaf.stderr).contains("join it first"), "{deaf:?}");
    for node in [&ann, &bob, &carl] {
        node.says(&["topic", "join", topic]);
        assert!(node.says(&["topic", "list"]).contains(topic));
    }
    let mut watching = carl.follow(&["watch", topic]);
    publish(&ann, &[topic, "hello"]);
    assert_eq!(said(&mut watching, "hello")["payload"]["text"], "hello");
    bob.says(&["topic", "leave", topic]);
    assert!(!bob.says(&["topic", "list"]).contains(topic));
}
