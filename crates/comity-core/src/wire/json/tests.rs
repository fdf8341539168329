//! JSON messages: both spellings, every default, every refusal with its field, and signatures.

use super::*;

const FROM: &str = "11111111-1111-4111-8111-111111111111";
const ID: &str = "22222222-2222-4222-8222-222222222222";

fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

fn read(value: &Value) -> Result<Message, BadMessage> {
    decode(value.to_string().as_bytes(), now())
}

/// A small good message with some fields set otherwise; `null` takes one away.
fn with(changes: Value) -> Value {
    let mut value = json!({"from": FROM, "to": "broadcast", "type": "status", "payload": {"a": 1}});
    for (name, change) in changes.as_object().expect("an object") {
        value[name] = change.clone();
    }
    value
}

fn refused(changes: Value) -> (String, BadMessageReason) {
    let bad = read(&with(changes)).expect_err("must be refused");
    (bad.pointer, bad.reason)
}

fn full(key: &KeyPair) -> Message {
    Message {
        id: Some(MessageId(Uuid::parse_str(ID).expect("a UUID"))),
        from: key.peer(),
        to: Address::Peer(KeyPair::from_seed([9; 32]).peer()),
        kind: Kind::Bug,
        channel: Channel::new("custom:x").expect("a name"),
        priority: Priority::Critical,
        timestamp: Timestamp::from_millis(1_700_000_000_123),
        ttl: Ttl::MAX,
        reply_to: Some(MessageId(Uuid::from_u128(5))),
        payload: Payload::from_value(&json!({"b": [1.5, "é", null], "a": {}})).expect("small"),
        more: Some(Box::new(More {
            topic: Some("weather".to_owned()),
            thread: Some("t-1".to_owned()),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            from_key: None,
            signature: None,
        })),
    }
}

#[test]
fn a_message_reads_as_it_was_written_in_either_spelling() {
    let message = full(&KeyPair::from_seed([1; 32]));
    for to in [message.to, Address::Broadcast, Address::Group] {
        let message = Message { to, ..message.clone() };
        for spelling in [Spelling::Design, Spelling::Coded] {
            assert_eq!(decode(&encode(&message, spelling), now()).as_ref(), Ok(&message));
            let wrapped = json!({ "message": to_value(&message, spelling) });
            assert_eq!(read(&wrapped).as_ref(), Ok(&message));
        }
    }
}

#[test]
fn every_type_and_priority_is_read_by_both_its_names() {
    for kind in Kind::ALL {
        for (field, name) in [("type", kind.name()), ("msg_type", coded_kind(kind)), ("msg_type", kind.name())] {
            let message = read(&with(json!({"type": null, field: name}))).expect("good");
            assert_eq!(message.kind, kind);
        }
    }
    for priority in Priority::ALL {
        for name in [priority.name(), coded_priority(priority)] {
            assert_eq!(read(&with(json!({ "priority": name }))).expect("good").priority, priority);
        }
    }
    let value = to_value(&full(&KeyPair::from_seed([1; 32])), Spelling::Coded);
    assert_eq!((&value["msg_type"], &value["priority"]), (&json!("BugReport"), &json!("Critical")));
    assert!(value["to"]["Peer"].is_string() && value.get("type").is_none());
}

#[test]
fn what_a_message_does_not_say_is_filled_in() {
    let message = read(&with(json!({}))).expect("good");
    assert_eq!((message.id, message.reply_to, message.more), (None, None, None));
    assert_eq!((message.timestamp, message.ttl), (now(), Ttl::DEFAULT));
    assert_eq!((message.channel.name(), message.priority), ("_status", Priority::Background));
    assert_eq!(read(&with(json!({"channel": "_errors"}))).expect("good").priority, Priority::Critical);
    assert_eq!(read(&with(json!({"payload": null}))).expect("good").payload, Payload::Empty);
    assert_eq!(read(&with(json!({"ttl": 0}))).expect("good").ttl.seconds(), 60);
    assert_eq!(read(&with(json!({"ttl": 3600}))).expect("good").ttl, Ttl::MAX);
}

#[test]
fn the_channel_is_the_channel_else_the_group_else_a_topic_that_names_one_else_that_of_the_type() {
    let channel = |changes: Value| {
        let message = read(&with(changes)).expect("good");
        let topic = message.more.and_then(|more| more.topic);
        (message.channel.name().to_owned(), topic)
    };
    let told = |name: &str, topic: Option<&str>| (name.to_owned(), topic.map(str::to_owned));
    let all = json!({"channel": "a", "to": "group:b", "topic": "_c"});
    assert_eq!(channel(all), told("a", Some("_c")));
    assert_eq!(channel(json!({"to": "group:b", "topic": "_c"})), told("b", Some("_c")));
    assert_eq!(channel(json!({"to": {"Channel": "b"}})), told("b", None));
    assert_eq!(channel(json!({"topic": "_c"})), told("_c", None));
    assert_eq!(channel(json!({"topic": "custom:c"})), told("custom:c", None));
    assert_eq!(channel(json!({"topic": "c"})), told("_status", Some("c")));
    assert_eq!(channel(json!({"type": "bug"})), told("_bugs", None));
    assert_eq!(channel(json!({"type": "query"})), told("_direct", None));
    assert_eq!(refused(json!({"topic": "_a b"})).0, "/topic");
}

#[test]
fn a_wrong_field_is_named() {
    let long = "x".repeat(257);
    for (pointer, changes) in [
        ("/from", json!({"from": null})),
        ("/from", json!({"from": "nobody"})),
        ("/from", json!({"from": 1})),
        ("/to", json!({"to": null})),
        ("/to", json!({"to": "everybody"})),
        ("/to", json!({"to": {"Channel": "a", "Peer": FROM}})),
        ("/to", json!({"to": {"Tribe": "a"}})),
        ("/to", json!({"to": []})),
        ("/to", json!({"to": "group:"})),
        ("/to/Channel", json!({"to": {"Channel": "a b"}})),
        ("/to/Peer", json!({"to": {"Peer": "x"}})),
        ("/type", json!({"type": null})),
        ("/type", json!({"type": "gossip"})),
        ("/type", json!({"type": 2})),
        ("/msg_type", json!({"type": null, "msg_type": "Gossip"})),
        ("/priority", json!({"priority": "urgent"})),
        ("/priority", json!({"priority": 2})),
        ("/channel", json!({"channel": "a b"})),
        ("/channel", json!({"channel": ""})),
        ("/timestamp", json!({"timestamp": "yesterday"})),
        ("/timestamp", json!({"timestamp": 1})),
        ("/ttl", json!({"ttl": 3601})),
        ("/ttl", json!({"ttl": -1})),
        ("/ttl", json!({"ttl": 1.5})),
        ("/ttl", json!({"ttl": "60"})),
        ("/reply_to", json!({"reply_to": "x"})),
        ("/id", json!({"id": "x"})),
        ("/from_key", json!({"from_key": "rsa:AAAA"})),
        ("/sig", json!({"sig": "AAAA"})),
        ("/thread", json!({"thread": long})),
        ("/topic", json!({"topic": long})),
        ("/traceparent", json!({"traceparent": 7})),
    ] {
        assert_eq!(refused(changes.clone()).0, pointer, "{changes}");
        let wrapped = read(&json!({ "message": with(changes) })).expect_err("must be refused");
        assert_eq!(wrapped.pointer, format!("/message{pointer}"));
    }
    assert_eq!(read(&json!([1])).expect_err("no object").pointer, "");
    let text = format!("{}", read(&with(json!({"ttl": 9999}))).expect_err("too long"));
    assert_eq!(text, "0 to 3600 seconds, a whole number is wanted (at /ttl)");
}

#[test]
fn a_key_twice_is_refused_wherever_it_is() {
    let text =
        format!(r#"{{"message":{{"from":"{FROM}","to":"broadcast","type":"status","payload":{{"a":1,"a":2}}}}}}"#);
    let bad = decode(text.as_bytes(), now()).expect_err("must be refused");
    assert_eq!(bad.pointer, "/message/payload/a");
    assert_eq!(bad.reason, BadMessageReason::Json(BadJsonReason::DuplicateKey));
}

#[test]
fn a_message_32_levels_deep_is_read_and_one_of_33_refused_wrapped_or_not() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let deep = with(json!({ "payload": nested(31) }));
    assert_eq!(strict::depth(&deep), 32);
    let message = read(&deep).expect("32 levels");
    assert_eq!(read(&json!({ "message": deep })).as_ref(), Ok(&message));
    assert_eq!(decode(&encode(&message, Spelling::Design), now()), Ok(message));
    let deeper = with(json!({ "payload": nested(32) }));
    for value in [deeper.clone(), json!({ "message": deeper })] {
        let bad = read(&value).expect_err("33 levels");
        assert_eq!(bad.reason, BadMessageReason::Json(BadJsonReason::TooDeep));
    }
}

#[test]
fn a_payload_of_256_kib_is_read_and_a_byte_more_refused() {
    let text = |bytes: usize| with(json!({ "payload": "x".repeat(bytes - 2) }));
    assert_eq!(read(&text(limits::PAYLOAD_JSON_MAX)).expect("fits").payload.len(), limits::PAYLOAD_JSON_MAX);
    let bad = read(&text(limits::PAYLOAD_JSON_MAX + 1)).expect_err("too large");
    assert_eq!((bad.pointer.as_str(), bad.reason), ("/payload", BadMessageReason::Payload(BadPayload::TooLarge)));
    let mut body = text(100).to_string().into_bytes();
    body.resize(strict::BYTES_MAX + 1, b' ');
    let bad = decode(&body, now()).expect_err("too large");
    assert_eq!(bad.reason, BadMessageReason::Json(BadJsonReason::TooLarge));
}

#[test]
fn text_cut_anywhere_is_refused() {
    let mut message = full(&KeyPair::from_seed([1; 32]));
    sign(&mut message, &KeyPair::from_seed([1; 32]));
    let text = encode(&message, Spelling::Design);
    for end in 0..text.len() {
        assert!(decode(&text[..end], now()).is_err(), "cut at {end}");
    }
}

#[test]
fn a_signed_message_proves_its_sender() {
    let key = KeyPair::from_seed([1; 32]);
    let mut message = full(&key);
    assert_eq!(proven_key(&message), Ok(None));
    sign(&mut message, &key);
    assert_eq!(proven_key(&message), Ok(Some(key.node())));
    let read = decode(&encode(&message, Spelling::Design), now()).expect("good");
    assert_eq!(read, message);
    assert_eq!(proven_key(&read), Ok(Some(key.node())));
    sign(&mut message, &key);
    assert_eq!(read, message, "signing again replaces the signature");
}

#[test]
fn signing_keeps_every_digit_of_the_payload() {
    let key = KeyPair::from_seed([1; 32]);
    let payload = Payload::from_value(&json!([9_007_199_254_740_993u64, u64::MAX, 0.1])).expect("small");
    let mut message = Message { payload, ..full(&key) };
    sign(&mut message, &key);
    assert_eq!(decode(&encode(&message, Spelling::Design), now()).as_ref(), Ok(&message));
}

#[test]
fn a_signature_covers_what_was_received_in_whatever_spelling_and_travels_on_with_it() {
    let key = KeyPair::from_seed([1; 32]);
    let mut value = to_value(&full(&key), Spelling::Coded);
    value["from_key"] = key.node().to_string().into();
    value["later"] = json!({"unknown": true});
    value["sig"] = encode_base64(&signature::sign(&key, Context::Message, &value)).into();
    let message = read(&value).expect("good");
    assert_eq!(proven_key(&message), Ok(Some(key.node())));
    let passed_on = decode(&encode(&message, Spelling::Design), now()).expect("good");
    assert_eq!(proven_key(&passed_on), Ok(Some(key.node())));
    assert_eq!(passed_on.payload.to_value(), message.payload.to_value());
    assert_eq!(to_value(&message, Spelling::Design), value);
    assert!(to_value(&message, Spelling::Coded).get("sig").is_none());
}

#[test]
fn a_forged_signature_proves_nothing() {
    let (key, thief) = (KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32]));
    let mut message = full(&key);
    sign(&mut message, &key);
    let good = to_value(&message, Spelling::Design);
    let judged = |change: fn(&mut Value)| {
        let mut value = good.clone();
        change(&mut value);
        proven_key(&read(&value).expect("readable"))
    };
    assert_eq!(judged(|value| value["payload"] = json!(1)), Err(BadSignature::Wrong));
    assert_eq!(judged(|value| value["later"] = json!(1)), Err(BadSignature::Wrong));
    assert_eq!(judged(|value| value["from_key"] = Value::Null), Err(BadSignature::NoKey));
    assert_eq!(judged(|value| value["sig"] = Value::Null), Ok(None));
    let mut stolen = full(&key);
    sign(&mut stolen, &thief);
    assert_eq!(proven_key(&stolen), Err(BadSignature::NotTheSender));
}

#[test]
fn a_sealed_payload_stays_sealed_on_the_way() {
    let key = KeyPair::from_seed([1; 32]);
    let payload = Payload::from_sealed(vec![7; SEALED_MIN]).expect("small");
    let message = Message { payload, ..full(&key) };
    for spelling in [Spelling::Design, Spelling::Coded] {
        assert_eq!(decode(&encode(&message, spelling), now()).as_ref(), Ok(&message));
    }
    for payload in [json!({"sealed": "short"}), json!({"sealed": 1}), json!({"sealed": "!", "x": 1})] {
        assert!(matches!(read(&with(json!({ "payload": payload }))).expect("good").payload, Payload::Json(_)));
    }
}

#[test]
fn a_signed_message_names_its_id_and_its_time_itself() {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let whole = serde_json::json!({
        "id": "00000000-0000-4000-8000-000000000001", "from": "00000000-0000-4000-8000-000000000002",
        "to": "broadcast", "type": "bug", "payload": 1, "timestamp": "2023-11-14T22:13:20.000Z",
        "from_key": NodeId::from_bytes([1; 32]).to_string(), "sig": encode_base64(&[0; 64]),
    });
    assert!(decode(whole.to_string().as_bytes(), now).is_ok());
    for missing in ["id", "timestamp"] {
        let mut part = whole.clone();
        part.as_object_mut().expect("an object").remove(missing);
        let refused = decode(part.to_string().as_bytes(), now).expect_err("it could be replayed");
        assert_eq!(refused.pointer, format!("/{missing}"));
    }
}
