//! The network door, driven by curl from the text of the protocol alone.

use comity_tests::http::{curl, get, post};
use comity_tests::node::Node;
use serde_json::{Value, json};
use std::process::Command;

const STRANGER: &str = "11111111-2222-4333-8444-555555555555";

/// A message as the design spells it, with what is different.
fn message(different: &Value) -> Value {
    let mut message = json!({
        "id": format!("0a0a0a0a-0000-4000-8000-{:012x}", different.to_string().len()),
        "from": STRANGER, "to": "broadcast", "type": "suggestion", "channel": "_suggestions",
        "payload": {"suggestion": "use less"}, "priority": "normal",
        "timestamp": now(), "ttl": 60, "reply_to": null,
    });
    for (name, value) in different.as_object().expect("an object") {
        message[name] = value.clone();
    }
    message
}

/// The time as people write it, by another program's clock.
fn now() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.%3NZ"]).output().expect("date is there");
    String::from_utf8_lossy(&date.stdout).trim().to_owned()
}

fn say(node: &Node, body: &Value) -> comity_tests::http::Reply {
    post(&format!("{}/dashflow/message", node.url()), &body.to_string())
}

#[test]
fn status_peers_and_introspect_have_the_fields_of_the_protocol() {
    let node = Node::alone("ann", &["--capability", "sing"]);
    let status = get(&format!("{}/dashflow/status", node.url())).json();
    assert_eq!((&status["id"], &status["name"]), (&node.status["id"], &"ann".into()));
    assert_eq!((&status["capabilities"], &status["attention_mode"]), (&json!(["sing"]), &"focused".into()));
    assert!(status["card"]["sig"].is_string(), "{status}");
    for field in ["version", "endpoint", "status", "peer_count", "queue_length", "uptime_seconds"] {
        assert!(status.get(field).is_some(), "{field}: {status}");
    }
    let peers = get(&format!("{}/dashflow/peers", node.url())).json();
    assert_eq!(peers, json!({"peers": [], "total": 0, "online": 0}));
    let inside = get(&format!("{}/dashflow/introspect", node.url())).json();
    assert_eq!(inside["queue_stats"]["by_priority"], json!({"Critical": 0, "Normal": 0, "Background": 0}));
    for field in ["identity", "status", "peers", "attention_mode"] {
        assert!(inside.get(field).is_some(), "{field}: {inside}");
    }
    for field in ["channels", "links", "limits", "transports"] {
        assert!(inside.get(field).is_none(), "{field} is not for strangers: {inside}");
    }
}

#[test]
fn a_message_is_taken_in_both_spellings_wrapped_or_bare_and_once() {
    let node = Node::alone("ann", &[]);
    let wrapped = message(&json!({"payload": {"suggestion": "wrapped"}}));
    let reply = say(&node, &json!({"message": wrapped}));
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_eq!(reply.json(), json!({"accepted": true, "message_id": wrapped["id"], "error": null}));
    let again = say(&node, &json!({"message": wrapped}));
    let problem = again.refused(409, "replayed");
    assert_eq!((&problem["accepted"], &problem["message_id"]), (&json!(false), &wrapped["id"]));

    let bare =
        message(&json!({"payload": "bare", "to": {"Channel": "_bugs"}, "channel": null, "msg_type": "BugReport"}));
    let mut bare = bare.as_object().expect("an object").clone();
    bare.remove("type");
    bare.remove("channel");
    assert_eq!(say(&node, &Value::Object(bare)).status, 202);

    let inbox = node.json(&["inbox", "--peek"]);
    let items = inbox["items"].as_array().expect("a list");
    assert_eq!(items.len(), 2, "{inbox}");
    assert_eq!(items[0]["message"]["payload"]["suggestion"], "wrapped");
    assert_eq!((&items[1]["message"]["channel"], &items[1]["message"]["type"]), (&"_bugs".into(), &"bug".into()));
    for item in items {
        assert_eq!((&item["message"]["trust"], &item["message"]["via"]), (&"unverified".into(), &"post".into()));
    }
}

#[test]
fn wrong_messages_are_refused_with_the_field_that_is_wrong() {
    let node = Node::alone("ann", &[]);
    for (field, wrong) in [
        ("type", json!("opinion")),
        ("priority", json!("urgent")),
        ("from", json!("not a uuid")),
        ("ttl", json!(-1)),
        ("timestamp", json!("yesterday")),
        ("to", json!(7)),
    ] {
        let reply = say(&node, &message(&json!({field: wrong})));
        assert!([400, 422].contains(&reply.status), "{field}: {reply:?}");
        let problem = reply.refused(reply.status, "bad_request");
        let pointer = problem["pointer"].as_str().unwrap_or_default();
        assert!(pointer.ends_with(&format!("/{field}")), "{field}: {problem}");
    }
    let url = format!("{}/dashflow/message", node.url());
    post(&url, "{\"message\":").refused(400, "bad_request");
    post(&url, &format!("{{\"from\":\"{STRANGER}\",\"from\":\"{STRANGER}\"}}")).refused(400, "bad_request");
    let deep = format!("{}1{}", "[".repeat(33), "]".repeat(33));
    post(
        &url,
        &message(&json!({"payload": 0})).to_string().replacen("\"payload\":0", &format!("\"payload\":{deep}"), 1),
    )
    .refused(400, "bad_request");
    let old = message(&json!({"timestamp": "2020-01-01T00:00:00.000Z"}));
    assert!([400, 410].contains(&say(&node, &old).status), "an old message");
    let future = message(&json!({"timestamp": "2220-01-01T00:00:00.000Z"}));
    assert!(say(&node, &future).status >= 400, "a message from the future");
    assert_eq!(node.json(&["inbox", "--peek"])["items"], json!([]));
}

#[test]
fn what_is_too_large_is_refused_and_the_door_lives_on() {
    let node = Node::alone("ann", &[]);
    let url = format!("{}/dashflow/message", node.url());
    post(&url, &" ".repeat(1024 * 1024 + 1)).refused(413, "too_large");
    let payload = "x".repeat(256 * 1024 + 1);
    say(&node, &message(&json!({"payload": payload}))).refused(413, "too_large");
    assert_eq!(say(&node, &message(&json!({"payload": "x".repeat(200 * 1024)}))).status, 202);
    assert_eq!(get(&format!("{}/dashflow/status", node.url())).status, 200);
}

#[test]
fn the_doors_refuse_what_a_web_page_would_send() {
    let node = Node::alone("ann", &[]);
    let status = format!("{}/dashflow/status", node.url());
    let send = format!("{}/dashflow/message", node.url());
    let body = message(&json!({})).to_string();
    curl(&["-H", "Origin: https://evil.example", &status], None).refused(403, "forbidden");
    assert_eq!(curl(&["-H", "Host: evil.example", &status], None).status, 421);
    assert_eq!(curl(&["-H", "Content-Type: text/plain", &send], Some(&body)).status, 415);
    assert_eq!(curl(&["-H", "Content-Type: application/x-www-form-urlencoded", &send], Some(&body)).status, 415);
    assert_eq!(curl(&["-X", "DELETE", &send], None).status, 405);
    assert_eq!(get(&format!("{}/control/node", node.url())).status, 404, "the control door is another one");
    assert_eq!(get(&format!("{}/mcp", node.url())).status, 404);
}

#[test]
fn one_port_speaks_plain_and_tls_and_both_versions_of_http() {
    let node = Node::alone("ann", &[]);
    for scheme in ["http", "https"] {
        for version in ["--http1.1", if scheme == "http" { "--http2-prior-knowledge" } else { "--http2" }] {
            let reply = curl(&[version, &format!("{scheme}://127.0.0.1:{}/dashflow/status", node.port())], None);
            assert_eq!(reply.status, 200, "{scheme} {version}: {reply:?}");
        }
    }
}

#[test]
fn a_flood_from_one_sender_does_not_hinder_another() {
    // Slow enough that a busy machine is still a flood.
    let limits = [("COMITY_LIMITS_MESSAGES_PER_SECOND", "1"), ("COMITY_LIMITS_MESSAGES_BURST", "5")];
    let node = Node::alone_with("ann", &limits);
    let flood: Vec<u16> = (0..40)
        .map(|number| say(&node, &message(&json!({"id": format!("0b0b0b0b-0000-4000-8000-{number:012}")}))).status)
        .collect();
    assert!(flood.contains(&429), "{flood:?}");
    let limited = say(&node, &message(&json!({"id": "0b0b0b0b-0000-4000-8000-999999999999"})));
    if limited.status == 429 {
        limited.refused(429, "rate_limited");
        assert!(limited.headers.contains("retry-after:"), "{limited:?}");
    }
    let another = message(&json!({"from": "99999999-2222-4333-8444-555555555555"}));
    assert_eq!(say(&node, &another).status, 202);
}
