//! Messages brought to the door: what is taken, when it is acknowledged, and how hostile and
//! unlucky ones are refused.

use super::*;
use comity_core::identity::trust::Trust;

#[tokio::test]
async fn both_spellings_bare_and_wrapped_are_taken() {
    let home = Home::open().await;
    let from = Uuid::from_u128(5);
    let coded = json!({
        "id": Uuid::new_v4(), "from": from, "to": "Broadcast", "msg_type": "BugReport", "priority": "Normal",
        "payload": { "bug": "x" }, "timestamp": now(), "ttl": 60,
    });
    for message in [
        suggestion(from),
        json!({ "message": suggestion(from) }),
        coded.clone(),
        json!({ "message": with(coded, "id", Uuid::new_v4().to_string()) }),
    ] {
        let id = message.get("message").unwrap_or(&message)["id"].clone();
        let reply = home.post(message.to_string()).await;
        assert_eq!((reply.status, reply.json()), (202, json!({ "accepted": true, "message_id": id, "error": null })));
    }
    assert_eq!(home.inbox().await.len(), 4);
}

#[tokio::test]
async fn a_message_without_an_id_is_given_one() {
    let home = Home::open().await;
    let reply = home.post(with(suggestion(Uuid::from_u128(5)), "id", Value::Null).to_string()).await;
    assert_eq!(reply.status, 202);
    assert!(Uuid::parse_str(reply.json()["message_id"].as_str().expect("an id")).is_ok());
}

#[tokio::test]
async fn nothing_is_accepted_before_it_is_on_disk() {
    let home = Home::open().await;
    home.disk.send_replace(Disk::Waits);
    let mut posting = std::pin::pin!(home.post(suggestion(Uuid::from_u128(5)).to_string()));
    assert!(tokio::time::timeout(Duration::from_millis(100), posting.as_mut()).await.is_err());
    home.disk.send_replace(Disk::Takes);
    assert_eq!(posting.await.status, 202);
}

#[tokio::test]
async fn a_disk_that_refuses_is_said_with_when_to_try_again() {
    let home = Home::open().await;
    home.disk.send_replace(Disk::Refuses);
    let reply = home.post(suggestion(Uuid::from_u128(5)).to_string()).await;
    assert_eq!(reply.problem(), (503, "unavailable".to_owned()));
    assert_eq!(reply.json()["accepted"], false);
}

/// Posts this body to a fresh node and expects this refusal.
async fn refuses(body: impl Into<Body>, status: u16, code: &str, pointer: Option<&str>) {
    let home = Home::open().await;
    let reply = home.post(body).await;
    assert_eq!(reply.problem(), (status, code.to_owned()), "{reply:?}");
    let said = reply.json();
    assert_eq!(said["pointer"].as_str(), pointer, "{reply:?}");
    assert_eq!((&said["accepted"], &said["error"]), (&json!(false), &said["detail"]), "{reply:?}");
    assert!(said.get("message_id").is_some(), "{reply:?}");
    assert!(home.inbox().await.is_empty());
}

#[tokio::test]
async fn what_is_not_json_is_a_bad_request() {
    let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    refuses("[1,]", 400, "bad_request", Some("/1")).await;
    for body in ["", "{", "nul", "\u{feff}{}", "{} {}", "\"\u{0}\""] {
        refuses(body, 400, "bad_request", Some("")).await;
    }
    refuses(vec![0xff_u8, 0xfe, 0x00], 400, "bad_request", Some("")).await;
    refuses(deep(34), 400, "bad_request", Some(&"/0".repeat(33))).await;
    let home = Home::open().await;
    assert_eq!(home.post(deep(100_000)).await.problem(), (400, "bad_request".to_owned()));
    let message = |levels| {
        with(suggestion(Uuid::from_u128(5)), "payload", serde_json::from_str::<Value>(&deep(levels)).expect("JSON"))
    };
    assert_eq!(home.post(message(31).to_string()).await.status, 202);
    assert_eq!(home.post(message(32).to_string()).await.problem(), (400, "bad_request".to_owned()));
    refuses(r#"{"from":"a","from":"b"}"#, 400, "bad_request", Some("/from")).await;
}

#[tokio::test]
async fn a_wrong_field_is_named() {
    let good = || suggestion(Uuid::from_u128(5));
    for (member, value) in [
        ("id", json!("7")),
        ("id", json!(7)),
        ("from", json!("me")),
        ("from", Value::Null),
        ("to", json!("everybody")),
        ("to", json!({ "Peer": "x" })),
        ("to", Value::Null),
        ("type", json!("order")),
        ("type", Value::Null),
        ("channel", json!("a b")),
        ("channel", json!("x".repeat(129))),
        ("priority", json!("urgent")),
        ("priority", json!(2)),
        ("timestamp", json!("yesterday")),
        ("timestamp", json!(1_700_000_000)),
        ("ttl", json!(3601)),
        ("ttl", json!(-1)),
        ("ttl", json!(1.5)),
        ("reply_to", json!("x")),
        ("from_key", json!("ed25519:x")),
        ("sig", json!("x")),
        ("traceparent", json!("x".repeat(257))),
    ] {
        let pointer = if value == json!({ "Peer": "x" }) { "/to/Peer".to_owned() } else { format!("/{member}") };
        let bad = with(good(), member, value);
        refuses(bad.to_string(), 422, "bad_request", Some(&pointer)).await;
        let wrapped = format!("/message{pointer}");
        refuses(json!({ "message": bad }).to_string(), 422, "bad_request", Some(&wrapped)).await;
    }
    for body in ["[]", "7", "null", "\"message\""] {
        refuses(body, 422, "bad_request", Some("")).await;
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_without_reading_on() {
    let body = |bytes: usize| format!("{}{}", suggestion(Uuid::from_u128(5)), " ".repeat(bytes)).into_bytes();
    let mut exact = body(1 << 20);
    exact.truncate(1 << 20);
    let home = Home::open().await;
    assert_eq!(home.post(exact.clone()).await.status, 202);
    exact.push(b' ');
    refuses(exact, 413, "too_large", None).await;
    let payload = with(suggestion(Uuid::from_u128(5)), "payload", "x".repeat(256 * 1024));
    refuses(payload.to_string(), 413, "too_large", Some("/payload")).await;
}

#[tokio::test]
async fn what_is_late_early_foreign_or_unwanted_is_refused_by_its_own_code() {
    let good = || suggestion(Uuid::from_u128(5));
    refuses(with(good(), "timestamp", in_seconds(-61)).to_string(), 410, "expired", Some("/timestamp")).await;
    refuses(with(good(), "timestamp", in_seconds(90)).to_string(), 422, "clock_skew", Some("/timestamp")).await;
    let other = with(good(), "to", Uuid::from_u128(99).to_string());
    refuses(other.to_string(), 421, "wrong_destination", Some("/to")).await;
    refuses(with(good(), "channel", "custom:x").to_string(), 404, "unknown_channel", Some("/channel")).await;
}

#[tokio::test]
async fn a_message_is_taken_once() {
    let home = Home::open().await;
    let message = suggestion(Uuid::from_u128(5)).to_string();
    assert_eq!(home.post(message.clone()).await.status, 202);
    let again = home.post(message).await;
    assert_eq!(again.problem(), (409, "replayed".to_owned()));
    assert_eq!(home.inbox().await.len(), 1);
}

#[tokio::test]
async fn a_signature_proves_the_sender_and_a_wrong_one_refuses_the_message() {
    let home = Home::open().await;
    let message = signed(3, |_| {});
    assert_eq!(home.post(message.to_string()).await.status, 202);
    let items = home.inbox().await;
    assert_eq!((items[0].received.trust, items[0].received.key), (Trust::Verified, Some(node_id(3))));
    for forged in [
        with(signed(3, |_| {}), "payload", json!({ "bug": "another" })),
        with(signed(3, |_| {}), "to", home.handle.me().peer().to_string()),
        with(signed(3, |_| {}), "from", Uuid::from_u128(5).to_string()),
        with(signed(3, |_| {}), "from_key", node_id(4).to_string()),
        with(signed(3, |_| {}), "from_key", Value::Null),
    ] {
        let reply = home.post(forged.to_string()).await;
        assert_eq!(reply.problem(), (401, "bad_signature".to_owned()), "{forged}");
        assert_eq!(reply.json()["pointer"], "/sig");
    }
}

#[tokio::test]
async fn a_claimed_from_that_belongs_to_a_key_is_refused_without_that_key() {
    let home = Home::open().await;
    let claimed = suggestion(KeyPair::from_seed([3; 32]).peer().0);
    let by_another =
        home.ask(keyed([192, 168, 1, 6], 4), Request::post("/dashflow/message"), claimed.to_string()).await;
    assert_eq!(by_another.problem(), (403, "forbidden".to_owned()));
    assert_eq!(home.post(signed(3, |_| {}).to_string()).await.status, 202);
    let unproven = home.post(with(claimed, "id", Uuid::new_v4().to_string()).to_string()).await;
    assert_eq!(unproven.problem(), (401, "bad_signature".to_owned()));
    assert_eq!(unproven.json()["pointer"], "/from");
}

#[tokio::test]
async fn a_certificate_proves_the_sender_too() {
    let home = Home::open().await;
    let message = suggestion(KeyPair::from_seed([4; 32]).peer().0);
    let reply = home.ask(keyed([192, 168, 1, 6], 4), Request::post("/dashflow/message"), message.to_string()).await;
    assert_eq!(reply.status, 202);
    assert_eq!(home.inbox().await[0].received.key, Some(node_id(4)));
}

#[tokio::test]
async fn a_flood_is_told_when_to_try_again_and_disturbs_nobody_else() {
    let home = Home::open().await;
    let mut refused = None;
    for _ in 0..30 {
        let reply = home.post(suggestion(Uuid::from_u128(5)).to_string()).await;
        if reply.status != 202 {
            refused = Some(reply);
        }
    }
    let refused = refused.expect("more than the burst of twenty");
    assert_eq!(refused.problem(), (429, "rate_limited".to_owned()));
    assert_eq!(refused.json()["retry_after"], 1);
    assert_eq!(home.post(signed(3, |_| {}).to_string()).await.status, 202);
}
