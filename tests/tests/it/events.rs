//! The stream of events of the network door, by Python `websockets` and by curl.

use comity_tests::PATIENCE;
use comity_tests::http::{curl, post};
use comity_tests::lines::Lines;
use comity_tests::node::Node;
use comity_tests::peers;
use serde_json::{Value, json};
use std::process::Command;

const STRANGER: &str = "11111111-2222-4333-8444-555555555555";

fn frame(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn websocket(node: &Node, query: &str) -> Lines {
    let url = format!("ws://127.0.0.1:{}/dashflow/events{query}", node.port());
    Lines::start(peers::python("events.py").arg(url))
}

#[test]
fn the_first_frame_is_the_status_and_messages_follow_without_their_payload() {
    let node = Node::alone("ann", &[]);
    let mut events = websocket(&node, "");
    let first = frame(&events.next(PATIENCE).expect("a first frame"));
    assert_eq!((&first["id"], first.get("type")), (&node.status["id"], None));

    let sent = json!({"id": "0c0c0c0c-0000-4000-8000-000000000001", "from": STRANGER, "to": "broadcast",
        "type": "suggestion", "payload": {"suggestion": "secret"}, "priority": "normal"});
    assert_eq!(post(&format!("{}/dashflow/message", node.url()), &sent.to_string()).status, 202);
    let event = events.wait_for("message_received", PATIENCE, |line| {
        let event = frame(line);
        (event["type"] == "message_received").then_some(event)
    });
    assert_eq!((&event["id"], &event["from"]), (&sent["id"], &sent["from"]));
    assert_eq!((&event["msg_type"], &event["channel"]), (&"suggestion".into(), &"_suggestions".into()));
    assert!(event["seq"].is_u64() && !event.to_string().contains("secret"), "{event}");
}

#[test]
fn a_frame_is_a_message_and_is_acknowledged() {
    let node = Node::alone("ann", &[]);
    let mut events = websocket(&node, "");
    let message = json!({"id": "0c0c0c0c-0000-4000-8000-000000000002", "from": STRANGER, "to": "broadcast",
        "type": "bug", "payload": {"bug": "it rattles"}, "priority": "normal"});
    events.say(&message.to_string());
    let acknowledged =
        events.wait_for("ack", PATIENCE, |line| Some(frame(line)).filter(|event| event["type"] == "ack"));
    assert_eq!(
        (&acknowledged["accepted"], &acknowledged["message_id"]),
        (&json!(true), &message["id"]),
        "{acknowledged}"
    );
    events.say("{\"type\":");
    let refused = events.wait_for("ack", PATIENCE, |line| Some(frame(line)).filter(|event| event["type"] == "ack"));
    assert_eq!(refused["accepted"], false, "{refused}");
    assert_eq!(node.json(&["inbox", "--peek"])["items"][0]["message"]["payload"]["bug"], "it rattles");
}

#[test]
fn channels_narrow_the_stream_and_payloads_are_not_for_strangers() {
    let node = Node::alone("ann", &[]);
    let mut events = websocket(&node, "?channels=_bugs");
    events.next(PATIENCE).expect("a first frame");
    for (number, kind) in [(1, "suggestion"), (2, "bug")] {
        let message = json!({"id": format!("0c0c0c0c-0000-4000-8000-00000000001{number}"), "from": STRANGER,
            "to": "broadcast", "type": kind, "payload": 1, "priority": "normal"});
        assert_eq!(post(&format!("{}/dashflow/message", node.url()), &message.to_string()).status, 202);
    }
    let event = events.wait_for("message_received", PATIENCE, |line| {
        Some(frame(line)).filter(|event| event["type"] == "message_received")
    });
    assert_eq!(event["channel"], "_bugs", "{event}");
    let url = format!("{}/dashflow/events?payload=1", node.url());
    let refused = curl(&["--max-time", "10", "-H", "Accept: text/event-stream", &url], None);
    refused.refused(403, "forbidden");
}

#[test]
fn the_same_stream_is_read_as_server_sent_events() {
    let node = Node::alone("ann", &[]);
    let mut stream = Command::new("curl");
    stream
        .args(["--silent", "--no-buffer", "-H", "Accept: text/event-stream"])
        .arg(format!("{}/dashflow/events", node.url()));
    let mut stream = Lines::start(&mut stream);
    let first = stream.wait_for("status", PATIENCE, |line| line.strip_prefix("data:").map(|data| frame(data.trim())));
    assert_eq!(first["id"], node.status["id"]);
    node.says(&["status", "testing", "--progress", "0.5"]);
    let update = stream.wait_for("status_update", PATIENCE, |line| {
        let event = line.strip_prefix("data:").map(|data| frame(data.trim()))?;
        (event["type"] == "status_update").then_some(event)
    });
    assert_eq!((&update["working_on"], &update["progress"]), (&"testing".into(), &json!(0.5)));
}

#[test]
fn a_page_of_another_origin_gets_no_websocket() {
    let node = Node::alone("ann", &[]);
    let url = format!("{}/dashflow/events", node.url());
    let upgrade = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13"];
    let more =
        ["-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "-H", "Origin: https://evil.example", "--http1.1", &url];
    curl(&[&upgrade[..], &more[..]].concat(), None).refused(403, "forbidden");
}
