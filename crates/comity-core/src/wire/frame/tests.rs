//! Link frames: there and back, and what is refused.

use super::*;

fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

fn channel(name: &str) -> Channel {
    Channel::new(name).expect("a name")
}

fn frames() -> Vec<Frame> {
    let id = MessageId(Uuid::from_u128(1));
    vec![
        Frame::Channels(vec![channel("_status"), channel("custom:x")]),
        Frame::Subscribe { channel: channel("_debug"), quiet: true },
        Frame::Unsubscribe(channel("_debug")),
        Frame::Receipt(Receipt { received: 7, fates: vec![(id, FateKind::Inbox), (id, FateKind::Expired)] }),
        Frame::Ping { nonce: u64::MAX, ts: 1 },
        Frame::Pong { nonce: 0, ts: 2 },
        Frame::Call(Uuid::from_u128(7)),
        Frame::Goodbye { reason: "Feierabend ✓".to_owned() },
    ]
}

fn hello() -> Hello {
    Hello {
        card: json!({"name": "Ann", "sig": "x"}),
        boot: Boot(Uuid::from_u128(3)),
        protocol: "1.0.0".to_owned(),
        subscriptions: vec![(channel("_status"), false), (channel("custom:x"), true)],
        channels: vec![channel("_status")],
    }
}

#[test]
fn every_frame_reads_as_it_was_written_and_not_when_cut() {
    let mut texts: Vec<(String, Incoming)> =
        frames().into_iter().map(|frame| (frame.encode(), Incoming::Control(frame))).collect();
    texts.push((hello().encode(), Incoming::Hello(hello())));
    for (text, frame) in texts {
        assert_eq!(parse(text.as_bytes(), now()), Ok(frame));
        for end in 0..text.len() {
            assert!(parse(&text.as_bytes()[..end], now()).is_err(), "{text} cut at {end}");
        }
    }
}

#[test]
fn a_text_frame_without_link_is_a_message() {
    let text = br#"{"from":"11111111-1111-4111-8111-111111111111","to":"broadcast","type":"status","payload":1}"#;
    assert!(matches!(parse(text, now()), Ok(Incoming::Message(_))));
    assert!(matches!(parse(b"{}", now()), Err(BadFrame::Message { .. })));
    assert!(matches!(parse(b"[1]", now()), Err(BadFrame::Message { .. })));
}

#[test]
fn frames_of_a_later_version_are_told_from_broken_ones() {
    assert_eq!(parse(br#"{"link":"dance"}"#, now()), Err(BadFrame::Unknown));
    assert!(matches!(parse(br#"{"link":7}"#, now()), Err(BadFrame::Field { pointer: "/link", .. })));
    let receipt = br#"{"link":"receipt","received":1,"fates":[["00000000-0000-0000-0000-000000000001","sung"]]}"#;
    let empty = Frame::Receipt(Receipt { received: 1, fates: Vec::new() });
    assert_eq!(parse(receipt, now()), Ok(Incoming::Control(empty)));
}

#[test]
fn wrong_fields_and_long_lists_are_refused_by_name() {
    let names = |count: usize| Value::from((0..count).map(|number| format!("c{number}")).collect::<Vec<_>>());
    let fates = |count: usize| Value::from(vec![json!([Uuid::nil().to_string(), "read"]); count]);
    for (pointer, frame) in [
        ("/names", json!({"link": "channels"})),
        ("/names", json!({"link": "channels", "names": ["a b"]})),
        ("/names", json!({"link": "channels", "names": [1]})),
        ("/names", json!({"link": "channels", "names": names(1025)})),
        ("/channel", json!({"link": "subscribe", "quiet": false})),
        ("/quiet", json!({"link": "subscribe", "channel": "a", "quiet": 1})),
        ("/channel", json!({"link": "unsubscribe", "channel": ""})),
        ("/received", json!({"link": "receipt", "received": -1, "fates": []})),
        ("/fates", json!({"link": "receipt", "received": 1, "fates": [["x", "read"]]})),
        ("/fates", json!({"link": "receipt", "received": 1, "fates": [[]]})),
        ("/fates", json!({"link": "receipt", "received": 1, "fates": fates(FATES_MAX + 1)})),
        ("/nonce", json!({"link": "ping", "ts": 1})),
        ("/ts", json!({"link": "pong", "nonce": 1, "ts": 1.5})),
        ("/reason", json!({"link": "goodbye", "reason": "x".repeat(1025)})),
    ] {
        let bad = parse(frame.to_string().as_bytes(), now()).expect_err("must be refused");
        assert!(matches!(bad, BadFrame::Field { pointer: named, .. } if named == pointer), "{pointer}: {bad}");
    }
    for (field, value) in [
        ("boot", json!("x")),
        ("card", json!([])),
        ("protocol", json!(1)),
        ("channels", json!({})),
        ("subscriptions", json!([[]])),
        ("subscriptions", Value::from(vec![json!({"channel": "a"}); 257])),
    ] {
        let mut text: Value = serde_json::from_str(&hello().encode()).expect("JSON");
        text[field] = value;
        assert!(matches!(parse(text.to_string().as_bytes(), now()), Err(BadFrame::Field { .. })), "{field}");
    }
    assert!(matches!(parse(br#"{"link":"ping","link":"pong"}"#, now()), Err(BadFrame::Json(_))));
}
