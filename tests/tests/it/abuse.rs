//! What strangers can do to the doors of the built program: say too much, too slowly, from too many
//! places or with too many mouths. Each is cut or refused by its cause, and others work on.

use comity_tests::PATIENCE;
use comity_tests::hostile::{GROWTH_MAX, heard, scene, scene_on};
use comity_tests::http::{get, post};
use comity_tests::lab::Lab;
use comity_tests::lines::Lines;
use comity_tests::node::Node;
use comity_tests::{peers, until};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const STRANGER: &str = "11111111-2222-4333-8444-555555555555";

fn message(id: u64, text: &str) -> Value {
    json!({"id": format!("0f0f0f0f-0000-4000-8000-{id:012}"), "from": STRANGER, "to": "broadcast",
        "type": "suggestion", "payload": {"suggestion": text}, "priority": "normal"})
}

fn send(node: &Node, body: &str) -> comity_tests::http::Reply {
    post(&format!("{}/dashflow/message", node.url()), body)
}

/// Connections that began with this and then say one byte more every now and then, until every one
/// was closed; what each was told. Others are served all the while.
fn drip(node: &Node, count: usize, beginning: &str) -> Vec<String> {
    let mut open: Vec<(TcpStream, Vec<u8>)> = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(("127.0.0.1", node.port())).expect("a connection");
        stream.write_all(beginning.as_bytes()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a time");
        open.push((stream, Vec::new()));
    }
    let mut told = Vec::new();
    let end = Instant::now() + PATIENCE;
    while !open.is_empty() {
        assert!(Instant::now() < end, "{} of {count} are still open", open.len());
        let asked = Instant::now();
        assert_eq!(get(&format!("{}/dashflow/status", node.url())).status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "others wait: {:?}", asked.elapsed());
        open.retain_mut(|(stream, answer)| {
            let mut bytes = [0; 4096];
            // Err: it was closed while we spoke, which the next read tells.
            let _ = stream.write_all(b"x");
            let closed = match stream.read(&mut bytes) {
                Ok(0) => true,
                Ok(count) => {
                    answer.extend_from_slice(&bytes[..count]);
                    false
                }
                Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            };
            if closed {
                told.push(String::from_utf8_lossy(answer).into_owned());
            }
            !closed
        });
    }
    told
}

#[test]
fn heads_and_bodies_that_drip_are_cut_in_time_while_others_are_served() {
    const DRIPPING: usize = 50;
    let hasty = [("COMITY_LIMITS_HEADER_SECONDS", "1"), ("COMITY_LIMITS_BODY_SECONDS", "1")];
    let node = Node::alone_with("ann", &hasty);
    let (files, memory) = (node.figure("comity_system_open_files"), node.memory());
    let heads = drip(&node, DRIPPING, "GET /dashflow/status HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ");
    assert!(heads.iter().all(String::is_empty), "{:?}", heads.first());
    assert_eq!(node.turned_away("slow"), DRIPPING as f64);
    let half = "POST /dashflow/message HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
                Content-Length: 1000000\r\n\r\n{\"from\": \"";
    let bodies = drip(&node, DRIPPING, half);
    let refused = |answer: &&String| answer.starts_with("HTTP/1.1 408") && answer.contains("in time");
    assert_eq!(bodies.iter().filter(refused).count(), DRIPPING, "{:?}", bodies.first());
    assert_eq!(node.refusals("bad_request"), DRIPPING as f64);
    until("all files closed", PATIENCE, || (node.figure("comity_system_open_files") <= files).then_some(()));
    assert!(node.memory() < memory + GROWTH_MAX, "{} KiB, {memory} before", node.memory());
}

/// A WebSocket of the events door of which nothing more will be heard, but for these bytes.
fn half_open(node: &Node, last: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", node.port())).expect("a connection");
    let upgrade = "GET /dashflow/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).and_then(|()| stream.write_all(last)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(90))).expect("a time");
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 101");
    stream
}

#[test]
fn a_websocket_of_which_nothing_is_heard_is_given_up_and_one_that_answers_is_not() {
    let node = Node::alone("ann", &[]);
    let files = node.figure("comity_system_open_files");
    let url = format!("ws://127.0.0.1:{}/dashflow/events", node.port());
    let mut alive = Lines::start(peers::python("events.py").arg(url));
    alive.next(PATIENCE).expect("a first frame");
    // Nothing; half a header; a frame of a mebibyte that never comes; a fragment without an end.
    let lasts: [&[u8]; 4] = [b"", b"\x81", b"\x81\xff\0\0\0\0\0\x10\0\0abcd{", b"\x01\x81abcdx"];
    let mut silent: Vec<TcpStream> = (0..40).map(|number| half_open(&node, lasts[number % lasts.len()])).collect();
    let start = Instant::now();
    for stream in &mut silent {
        let mut rest = Vec::new();
        // Err: it was reset, which is an end too.
        let _ = stream.read_to_end(&mut rest);
    }
    assert!(start.elapsed() < Duration::from_secs(85), "{:?}", start.elapsed());
    until("all files closed", PATIENCE, || (node.figure("comity_system_open_files") <= files + 1.0).then_some(()));
    node.says(&["status", "here"]);
    alive.wait_for("an event", PATIENCE, |line| line.contains("status_update").then_some(()));
}

#[test]
fn every_refusal_is_counted_by_its_cause_and_takes_nothing_and_holds_no_memory() {
    // So that each is refused for its own cause.
    let node = Node::alone_with("ann", &[("COMITY_LIMITS_MESSAGES_BURST", "1000")]);
    assert_eq!(send(&node, &message(1, "kept").to_string()).status, 202);
    let (inbox, memory) = (node.json(&["inbox", "--peek"]), node.memory());
    let large = " ".repeat(1024 * 1024 + 1);
    let deep = "[".repeat(1024 * 1024);
    let nested = message(2, "x").to_string().replace("\"x\"", &format!("{}1{}", "[".repeat(33), "]".repeat(33)));
    let twice = message(3, "x").to_string().replacen('{', "{\"priority\":\"normal\",", 1);
    let with = |name: &str, value: Value| {
        let mut message = message(4, "x");
        message[name] = value;
        message.to_string()
    };
    let refused = [
        (large, 413, "too_large"),
        (deep, 400, "bad_request"),
        (nested, 400, "bad_request"),
        (twice, 400, "bad_request"),
        ("{\"a\":".to_owned(), 400, "bad_request"),
        ("\u{feff}{}".to_owned(), 400, "bad_request"),
        (with("type", json!("opinion")), 422, "bad_request"),
        (with("priority", json!(["normal"])), 422, "bad_request"),
        (with("from", json!(7)), 422, "bad_request"),
        (with("ttl", json!(3601)), 422, "bad_request"),
        (with("timestamp", json!("2020-01-01T00:00:00.000Z")), 410, "expired"),
        (with("timestamp", json!("2220-01-01T00:00:00.000Z")), 422, "clock_skew"),
        (with("to", json!("99999999-2222-4333-8444-555555555555")), 421, "wrong_destination"),
        (with("channel", json!("custom:nobody")), 404, "unknown_channel"),
        (with("from", json!(node.id())), 401, "bad_signature"),
        (message(1, "kept").to_string(), 409, "replayed"),
    ];
    let rounds = 10;
    for _ in 0..rounds {
        for (body, status, code) in &refused {
            send(&node, body).refused(*status, code);
        }
    }
    let mut expected: Vec<&str> = refused.iter().map(|(_, _, code)| *code).collect();
    expected.sort_unstable();
    for code in expected.chunk_by(|one, next| one == next) {
        assert_eq!(node.refusals(code[0]), (rounds * code.len()) as f64, "{}", code[0]);
    }
    for (fate, each) in
        [("expired", 1), ("from_the_future", 1), ("duplicate", 1), ("forged", 1), ("wrong_destination", 1)]
    {
        assert_eq!(node.fates(fate), f64::from(rounds as u32 * each), "{fate}");
    }
    assert_eq!(node.json(&["inbox", "--peek"]), inbox, "what was there is there, and nothing else");
    assert!(node.memory() < memory + GROWTH_MAX, "{} KiB, {memory} before", node.memory());
}

#[test]
fn a_message_is_a_replay_after_a_kill_too() {
    let node = Node::alone("ann", &[]);
    let mut said = message(7, "once");
    said["ttl"] = json!(3600);
    assert_eq!(send(&node, &said.to_string()).status, 202);
    let node = node.killed_and_started_again();
    send(&node, &said.to_string()).refused(409, "replayed");
    assert_eq!(node.json(&["inbox", "--peek"])["items"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_thousand_that_claim_the_id_of_a_proven_peer_are_all_refused_and_it_is_not_disturbed() {
    let ann = Node::alone("ann", &[]);
    let bob = Node::alone("bob", &["--peer", &ann.url()]);
    ann.knows(&bob);
    let told = heard(&mut scene(&["crowd", &ann.port().to_string(), &bob.id(), "1000"]));
    assert_eq!(told["statuses"], json!({"401": 1000}), "{told}");
    assert_eq!((ann.fates("forged"), ann.refusals("bad_signature")), (1000.0, 1000.0));
    assert_eq!(ann.json(&["peers"])["peers"].as_array().map(Vec::len), Some(1));
    ann.knows(&bob);
    let mut inbox = ann.follow(&["inbox", "--follow"]);
    bob.says(&["send", "ann", "it is me", "--priority", "normal"]);
    inbox.wait_for("message", PATIENCE, |line| line.contains("it is me").then_some(()));
}

#[test]
fn a_thousand_that_claim_one_id_that_nobody_proves_are_one_unverified_peer() {
    let node = Node::alone("ann", &[]);
    let memory = node.memory();
    let told = heard(&mut scene(&["crowd", &node.port().to_string(), STRANGER, "1000"]));
    let refused = told["statuses"].as_object().into_iter().flatten().filter(|(status, _)| *status != "202");
    assert_eq!(refused.count(), 0, "{told}");
    let peers = node.json(&["peers"]);
    assert_eq!(peers["peers"].as_array().map(Vec::len), Some(1), "{peers}");
    assert_eq!((&peers["peers"][0]["trust"], &peers["peers"][0]["key"]), (&"unverified".into(), &Value::Null));
    assert!(node.memory() < memory + GROWTH_MAX, "{} KiB, {memory} before", node.memory());
}

#[test]
fn a_flood_from_one_address_leaves_another_undisturbed() {
    // So little that what a busy machine can pour is a flood.
    let node = Node::alone_with("ann", &[("COMITY_LIMITS_UNVERIFIED_PER_SECOND", "20")]);
    let (port, memory) = (node.port().to_string(), node.memory());
    let mut flood = scene(&["flood", &port, "127.0.0.2", "4"]);
    assert_eq!(heard(&mut flood)["scene"], "flooding");
    let told = heard(&mut scene(&["works", &port, "127.0.0.3", "25", "0.15"]));
    assert_eq!(told["statuses"], json!({"202": 25}), "{told}");
    assert!(told["slowest"].as_f64().is_some_and(|slowest| slowest < 2.0), "{told}");
    let asked = Instant::now();
    node.says(&["peers"]);
    assert!(asked.elapsed() < Duration::from_secs(2), "the owner waits: {:?}", asked.elapsed());
    flood.close();
    let poured = heard(&mut flood);
    let refused = poured["statuses"]["429"].as_f64().expect("most of it is refused");
    assert!(refused > poured["statuses"]["202"].as_f64().expect("some of it is taken"), "{poured}");
    assert_eq!((node.refusals("rate_limited"), node.fates("rate_limited")), (refused, refused));
    let critical = node.figure("comity_pubsub_inbox_items{priority=\"critical\"}");
    assert_eq!(critical, 25.0, "what the other said is all there");
    assert!(node.memory() < memory + GROWTH_MAX, "{} KiB, {memory} before", node.memory());
}

#[test]
fn bodies_that_never_end_hold_little_memory_and_make_only_their_own_address_wait() {
    let node = Node::alone("ann", &[]);
    let (port, memory) = (node.port().to_string(), node.memory());
    let mut hoard = scene(&["hoards", &port, "127.0.0.2", "200"]);
    assert_eq!(heard(&mut hoard)["scene"], "hoarding");
    let held = node.memory();
    assert!(held < memory + GROWTH_MAX, "{held} KiB, {memory} before, for 200 MB of bodies");
    let told = heard(&mut scene(&["works", &port, "127.0.0.3", "10", "0"]));
    assert_eq!(told["statuses"], json!({"202": 10}), "{told}");
    assert!(told["slowest"].as_f64().is_some_and(|slowest| slowest < 2.0), "{told}");
    drop(hoard);
    let told = heard(&mut scene(&["works", &port, "127.0.0.2", "10", "0"]));
    assert_eq!(told["statuses"], json!({"202": 10}), "what was held is free again: {told}");
}

#[test]
fn strangers_cannot_take_the_files_that_the_node_needs_itself() {
    let node = Node::with_files("ann", 120);
    let connect = |_| TcpStream::connect(("127.0.0.1", node.port())).expect("a connection");
    let held: Vec<TcpStream> = (0..300).map(connect).collect();
    until("refusals", PATIENCE, || (node.turned_away("full") >= 200.0).then_some(()));
    assert_eq!(node.turned_away("no_socket"), 0.0);
    node.says(&["status", "still here"]);
    node.says(&["subscribe", "custom:x"]);
    drop(held);
    until("room", PATIENCE, || (send(&node, &message(9, "hello").to_string()).status == 202).then_some(()));
}

#[test]
fn one_host_cannot_take_all_connections() {
    let lab = Lab::bridge(3);
    let node = Node::on(&lab.host(1), "ann", &["--no-mdns"]);
    let (address, port) = (lab.host(1).address, node.port().to_string());
    let mut greedy = scene_on(&lab.host(2), &["crowds_in", &address, &port, "200"]);
    let told = heard(&mut greedy);
    assert_eq!((&told["held"], &told["refused"]), (&json!(64), &json!(136)), "{told}");
    assert_eq!(node.turned_away("full_address"), 136.0);
    let mut other = lab.host(3).command("curl");
    other.args(["--silent", "--fail", "--max-time", "10", &format!("http://{address}:{port}/dashflow/status")]);
    assert!(peers::output(&mut other).contains(&node.id()));
}
