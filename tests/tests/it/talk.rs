//! What a person types: two nodes find each other by address, send, ask, wait, and say what became
//! of a message.

use comity_tests::PATIENCE;
use comity_tests::lines::Lines;
use comity_tests::node::{Node, text};
use comity_tests::until;
use serde_json::{Value, json};
use std::time::Duration;

/// Two nodes that know each other.
fn two() -> (Node, Node) {
    let ann = Node::alone("ann", &["--capability", "sing"]);
    let bob = Node::alone("bob", &["--peer", &ann.url()]);
    ann.knows(&bob);
    bob.knows(&ann);
    (ann, bob)
}

/// The next item that arrives in this inbox, taken.
fn arrival(inbox: &mut Lines) -> Value {
    let line = inbox.next(PATIENCE).expect("an item arrives");
    serde_json::from_str::<Value>(&line).expect("items are JSON, one a line")["message"].clone()
}

#[test]
fn a_peer_named_by_its_address_is_found_and_listed_by_capability() {
    let (ann, bob) = two();
    let can = |what| bob.json(&["peers", "--capability", what])["peers"].as_array().map(Vec::len);
    assert_eq!((can("sing"), can("dance")), (Some(1), Some(0)));
    let seen = bob.peer(&ann.id()).expect("it is there");
    assert_eq!((&seen["name"], &seen["key"]), (&"ann".into(), &ann.status["node"]));
    assert!(bob.says(&["peers"]).contains("ann"));
    assert!(text(&ann.status["node"]).starts_with("ed25519:"));
}

#[test]
fn a_message_waits_in_the_inbox_until_it_is_taken() {
    let (ann, bob) = two();
    let mut inbox = bob.follow(&["inbox", "--follow", "--peek"]);
    let sent = ann.json(&["send", "bob", r#"{"suggestion": "rest"}"#, "--type", "suggestion"]);
    let message = arrival(&mut inbox);
    assert_eq!((&message["id"], &message["payload"]), (&sent["id"], &json!({"suggestion": "rest"})));
    assert_eq!((&message["trust"], &message["key"]), (&"verified".into(), &ann.status["node"]));
    assert_eq!((&message["via"], &message["from_name"]), (&"link".into(), &"ann".into()));
    let items = |words: &[&str]| bob.json(words)["items"].as_array().map(Vec::len);
    assert_eq!(items(&["inbox", "--peek"]), Some(1));
    assert_eq!(items(&["inbox"]), Some(1));
    assert_eq!(items(&["inbox"]), Some(0));
}

#[test]
fn a_sealed_message_is_readable_by_its_receiver() {
    let (ann, bob) = two();
    let mut inbox = bob.follow(&["inbox", "--follow"]);
    ann.says(&["send", "bob", "between us", "--sealed", "--priority", "normal"]);
    assert_eq!(arrival(&mut inbox)["payload"], "between us");
}

#[test]
fn a_channel_reaches_those_who_listen() {
    let (ann, bob) = two();
    bob.says(&["subscribe", "custom:builds"]);
    let mut watch = bob.follow(&["watch", "custom:builds"]);
    // Ann learns over the link that Bob listens, and the watching command takes a moment to start.
    until("message on the channel", PATIENCE, || {
        ann.json(&["send", "custom:builds", r#"{"build": 1}"#, "--priority", "critical"]);
        watch.next(Duration::from_millis(300)).filter(|line| line.contains("custom:builds"))
    });
    let sent = ann.json(&["send", "custom:builds", r#"{"build": 2}"#]);
    assert_eq!(sent["peers"], 1, "{sent}");
    bob.says(&["unsubscribe", "custom:builds"]);
}

#[test]
fn a_question_is_answered_by_a_program_and_without_one_by_an_error() {
    let (ann, bob) = two();
    let unanswered = ann.run(&["ask", "bob", "anybody?", "--timeout", "10s"]);
    assert!(!unanswered.status.success(), "nobody answers there");
    let mut answering = Lines::start(&mut bob.command(&["answer", "--exec", "tr a-z A-Z"]));
    let answer = until("answer, once the program listens", PATIENCE, || {
        Some(ann.run(&["ask", "bob", "what is up?", "--timeout", "10s"])).filter(|output| output.status.success())
    });
    assert!(String::from_utf8_lossy(&answer.stdout).contains("WHAT IS UP?"), "{answer:?}");
    answering.signal("INT");
    answering.ended(PATIENCE);
}

#[test]
fn background_messages_are_digested_and_critical_ones_are_not() {
    let (ann, bob) = two();
    assert_eq!(bob.json(&["attention"])["mode"], "focused");
    let digested = || (bob.json(&["digest", "--peek"])["total"] == 1).then_some(());
    ann.says(&["send", "_status", r#"{"working_on": "x", "progress": 0.1}"#]);
    until("status message in the digest", PATIENCE, digested);
    let digest = bob.json(&["digest"]);
    assert!(text(&digest["text"]).starts_with("Since last check: 1 status update"), "{digest}");
    assert_eq!((&digest["total"], &bob.json(&["digest"])["total"]), (&json!(1), &json!(0)));

    bob.says(&["attention", "minimal"]);
    ann.says(&["send", "bob", "quiet", "--priority", "normal"]);
    until("second message in the digest", PATIENCE, digested);
    assert_eq!(bob.json(&["inbox", "--peek"])["items"], json!([]));
    bob.says(&["attention", "realtime"]);
    assert_eq!(bob.json(&["attention"])["mode"], "realtime");
}

#[test]
fn why_tells_what_became_of_a_message() {
    let (ann, bob) = two();
    let mut inbox = bob.follow(&["inbox", "--follow", "--peek"]);
    let sent = ann.json(&["send", "bob", "follow me", "--priority", "normal"]);
    let id = text(&sent["id"]);
    arrival(&mut inbox);
    let fates = |node: &Node| -> Vec<String> {
        let why = node.json(&["why", &id]);
        why["fates"].as_array().into_iter().flatten().map(|step| step["fate"].to_string().replace('"', "")).collect()
    };
    until("fate at the receiver", PATIENCE, || fates(&bob).contains(&"inbox".to_owned()).then_some(()));
    until("report of the receiver", PATIENCE, || fates(&ann).contains(&"inbox".to_owned()).then_some(()));
    assert!(fates(&ann).contains(&"sent".to_owned()), "{:?}", fates(&ann));
    let unknown = ann.run(&["why", "00000000-0000-4000-8000-000000000000"]);
    assert_eq!(unknown.status.code(), Some(4), "{unknown:?}");
}

#[test]
fn the_inbox_survives_a_kill_and_the_node_keeps_its_id() {
    let (ann, bob) = two();
    let mut inbox = bob.follow(&["inbox", "--follow", "--peek"]);
    ann.says(&["send", "bob", "remember", "--priority", "normal"]);
    arrival(&mut inbox);
    drop(inbox);
    let id = bob.id();
    let bob = bob.killed_and_started_again();
    assert_eq!(bob.id(), id);
    assert_eq!(bob.json(&["inbox", "--peek"])["items"][0]["message"]["payload"], "remember");
}

#[test]
fn errors_say_what_to_do_and_have_stable_exit_codes() {
    let node = Node::alone("ann", &[]);
    let check = |words: &[&str], code: i32, says: &str| {
        let output = node.run(words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "comity {words:?}: {told}");
        assert!(told.contains(says), "comity {words:?}: {told}");
    };
    check(&["send", "nobody", "hello"], 4, "comity peers");
    check(&["send", "_status", "x", "--priority", "urgent"], 2, "critical, normal, background");
    check(&["peers", "extra"], 2, "--help");
    let elsewhere = comity_tests::folder::Folder::new();
    let output = comity_tests::node::comity(&["peers", "--data-dir"]).arg(elsewhere.path()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("comity up"), "{output:?}");
}
