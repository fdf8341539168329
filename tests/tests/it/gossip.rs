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

/// Watches a topic, and sees already what the other says there: it is not told when the watching begins.
fn watching(node: &Node, topic: &str, other: &Node, words: &[&str]) -> Lines {
    let mut lines = node.follow(&["watch", topic]);
    until("sight", PATIENCE, || {
        other.run(&[&["send", topic], words].concat());
        lines.during(Duration::from_millis(300)).iter().any(|line| line.contains("do you see this?")).then_some(())
    });
    lines
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
    let probe = [r#"{"task_id":"do you see this?","agent_id":"a-1","progress":0}"#, "--type", "task_progress"];
    let mut watching = [&bob, &carl].map(|node| watching(node, topic, &ann, &probe));
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
    assert_eq!(wrong.status.code(), Some(2));
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
    let mut watching = watching(&carl, topic, &ann, &["do you see this?"]);
    publish(&ann, &[topic, "hello"]);
    assert_eq!(said(&mut watching, "hello")["payload"], "hello");
    bob.says(&["topic", "leave", topic]);
    assert!(!bob.says(&["topic", "list"]).contains(topic));
}

#[test]
fn a_role_is_set_at_the_command_line_and_what_is_for_others_does_not_reach_it() {
    let (_lab, [ann, bob, carl]) = in_a_row();
    let words = ["role", "set", "Senior Developer", "--expertise", "golang", "--reports-to", "Tech Lead"];
    let shown = carl.says(&words);
    for line in ["Senior Developer, knows golang, reports to Tech Lead", "  CHORUS/hierarchy/tech_lead/v1"] {
        assert!(shown.contains(line), "{shown}");
    }
    bob.says(&["role", "set", "QA Engineer"]);
    let meta = "hmmm/meta-discussion/v1";
    let probe = [r#"{"text":"do you see this?"}"#, "--type", "meta_discussion"];
    let mut watching = [&bob, &carl].map(|node| watching(node, meta, &ann, &probe));
    let update = |text: &str| format!(r#"{{"status":"{text}"}}"#);
    publish(&ann, &[meta, &update("to QA"), "--type", "status_update", "--to-role", "qa_engineer"]);
    publish(&ann, &[meta, &update("of Rust"), "--type", "status_update", "--expertise", "rust"]);
    publish(&ann, &[meta, &update("of Go"), "--type", "status_update", "--expertise", "Golang"]);
    let to_both = [meta, &update("to both"), "--type", "status_update", "--to-role", "Senior Developer"];
    publish(&ann, &[&to_both[..], &["--to-role", "QA Engineer"]].concat());
    publish(&bob, &[meta, &update("of bob"), "--type", "status_update", "--as-role"]);
    let [of_bob, of_carl] = &mut watching;
    assert_eq!(status(of_bob), "to QA");
    assert_eq!(status(of_bob), "to both");
    assert_eq!(status(of_carl), "of Go");
    assert_eq!(status(of_carl), "to both");
    let last = said(of_carl, "of bob");
    assert_eq!(last["payload"]["from_role"], "QA Engineer");
    let nothing = ann.run(&["send", meta, &update("x"), "--type", "status_update", "--as-role"]);
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("no role"), "{nothing:?}");
    assert!(carl.says(&["role", "clear"]).starts_with("no role"));
    assert!(!carl.says(&["topic", "list"]).contains("golang"));
}

fn status(lines: &mut Lines) -> String {
    let message = said(lines, "status_update");
    message["payload"]["data"]["status"].as_str().expect("a status").to_owned()
}

#[test]
fn rooms_and_projects_are_joined_by_their_ids_and_kept_over_a_restart() {
    let bob = Node::alone("bob", &[]);
    let ann = Node::alone("ann", &["--peer", &bob.url()]);
    ann.knows(&bob);
    let mut in_the_room = bob.follow(&["room", "42"]);
    publish_in(&ann, &["room", "42", "hello there"]);
    assert_eq!(said(&mut in_the_room, "hello")["payload"], "hello there");
    bob.says(&["project", "join", "apollo"]);
    drop(in_the_room);
    let bob = bob.killed_and_started_again();
    assert_eq!(bob.says(&["project", "list"]).trim(), "apollo");
    assert!(bob.says(&["topic", "list"]).contains("CHORUS/meta/issue/42"));
    bob.says(&["project", "leave", "apollo"]);
    bob.says(&["room", "42", "--leave"]);
    assert_eq!(bob.json(&["topic", "list"])["topics"].as_array().map(Vec::len), Some(3));
}

fn publish_in(node: &Node, words: &[&str]) {
    until("listener", PATIENCE, || node.run(words).status.success().then_some(()));
}

/// Made up, in the form of an API key.
const SECRET: &str = "sk-proj-Zk3xQ9vW7tR2mN8pL4bYc6Hd1Jf5GsAaEeUuIiOo0TtPpQqX";

#[test]
fn a_secret_is_said_by_no_way_and_stands_in_no_log() {
    let bob = Node::alone("bob", &[]);
    let (ann, log) = Node::logged("ann", &["--peer", &bob.url()], "trace,comity=trace");
    ann.knows(&bob);
    bob.knows(&ann);
    let topic = "CHORUS/coordination/v1";
    let mut watching = bob.follow(&["watch"]);
    let progress = format!(r#"{{"task_id":"t-1","agent_id":"a-1","progress":0.5,"token":"{SECRET}"}}"#);
    publish(&ann, &[topic, &progress, "--type", "task_progress"]);
    assert_eq!(said(&mut watching, "t-1")["payload"]["data"]["token"], "[REDACTED]");
    ann.says(&["send", "bob", &format!("take {SECRET}")]);
    assert_eq!(said(&mut watching, "take")["payload"], "take [REDACTED]");
    let refused = ann.run(&["send", SECRET, "x"]);
    assert!(!String::from_utf8_lossy(&refused.stderr).contains(SECRET), "{refused:?}");
    let (ended, _) = ann.stop();
    assert!(ended.success());
    let log = std::fs::read_to_string(log.path().join("log")).expect("a log");
    assert!(log.contains("a secret was taken out"), "{log}");
    assert!(!log.contains(SECRET), "it stands in the log");
}
