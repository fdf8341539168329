//! What a registry keeps over a restart, and whom it lets do what, with the time as the tests say.

use super::*;
use crate::scratch::Scratch;
use comity_core::registry::roster::GONE_AFTER;
use serde_json::{Value, json};

fn at(seconds: u64) -> Now {
    let mono = Duration::from_secs(seconds);
    Now { mono, wall: Timestamp::from_millis(1_700_000_000_000) + mono }
}

async fn open(folder: &Scratch, now: Now) -> Registry {
    Registry::open(&folder.path().join("registry.db"), profile::Settings::default(), now).await.expect("a registry")
}

fn bearer(secret: &Secret) -> Shown {
    Shown { authorization: Some(format!("Bearer {}", secret.expose())), is_private: true, key: None, is_known: false }
}

fn keyed(byte: u8, is_known: bool) -> Shown {
    Shown { authorization: None, is_private: true, key: Some(NodeId::from_bytes([byte; 32])), is_known }
}

fn body(name: &str, more: Value) -> Vec<u8> {
    let mut body =
        json!({ "node_id": name, "service_name": "kernel", "endpoint": "https://192.0.2.7", "capabilities": [] });
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    body.to_string().into_bytes()
}

/// Enrols a node: its API key.
async fn enrolled(registry: &Registry, name: &str, now: Now) -> Secret {
    let (token, _) = registry.invite(1, Duration::from_secs(60), now).await.expect("a token");
    let registered = registry.register(&bearer(&token), &body(name, Value::Null), now).await.expect("it is good");
    registered.api_key.expect("a key")
}

fn state(registry: &Registry, name: &str, now: Now) -> Option<State> {
    let all = registry.members(now);
    all.into_iter().find(|(member, _)| member.registration.node.as_str() == name).map(|(_, state)| state)
}

fn beat(registry: &Registry, key: &Secret, name: &str, now: Now) -> Result<Option<Timestamp>, Refused> {
    registry.heartbeat(&bearer(key), json!({ "node_id": name }).to_string().as_bytes(), now)
}

#[tokio::test]
async fn a_node_that_is_silent_is_stale_then_gone_and_back_when_it_is_heard() {
    let folder = Scratch::new();
    let registry = open(&folder, at(0)).await;
    let key = enrolled(&registry, "a", at(0)).await;
    assert_eq!(state(&registry, "a", at(89)), Some(State::Fresh));
    assert_eq!(state(&registry, "a", at(90)), Some(State::Stale));
    assert_eq!(state(&registry, "a", at(300)), Some(State::Gone));
    registry.look(at(300)).await;
    assert!(registry.present(at(300)).is_empty());
    assert!(beat(&registry, &key, "a", at(301)).is_ok());
    assert_eq!(state(&registry, "a", at(301)), Some(State::Fresh));
}

#[tokio::test]
async fn after_a_restart_all_are_there_and_have_an_interval_to_say_so() {
    let folder = Scratch::new();
    let registry = open(&folder, at(0)).await;
    let (a, b) = (enrolled(&registry, "a", at(0)).await, enrolled(&registry, "b", at(0)).await);
    let (token, _) = registry.invite(2, Duration::from_secs(9000), at(0)).await.expect("a token");
    let long = u64::from(GONE_AFTER) * 30;
    beat(&registry, &b, "b", at(long + 60)).expect("it is there");
    registry.revoke("nobody").await.expect("the disk takes it");
    registry.close(at(long + 60)).await;
    let later = at(5000);
    let registry = open(&folder, later).await;
    assert_eq!(state(&registry, "a", later), Some(State::Gone), "it was gone before");
    assert_eq!(state(&registry, "b", later), Some(State::Fresh));
    assert_eq!(state(&registry, "b", at(5029)), Some(State::Fresh));
    assert_eq!(state(&registry, "b", at(5030)), Some(State::Stale), "one interval, and no more");
    for (key, name) in [(&a, "a"), (&b, "b")] {
        assert!(beat(&registry, key, name, at(5030)).is_ok(), "{name}");
    }
    let registered = registry.register(&bearer(&token), &body("c", Value::Null), later).await.expect("it is good");
    assert!(registered.api_key.is_some());
    registry.revoke("b").await.expect("the disk takes it");
    registry.close(later).await;
    let registry = open(&folder, later).await;
    assert_eq!(state(&registry, "b", later), None);
    assert!(matches!(beat(&registry, &b, "b", later), Err(Refused::Unproven(_))));
    let again = registry.register(&bearer(&token), &body("d", Value::Null), later).await;
    assert!(again.is_ok(), "one use was left: {again:?}");
    let again = registry.register(&bearer(&token), &body("e", Value::Null), later).await;
    assert!(matches!(again, Err(Refused::Unproven(_))), "{again:?}");
}

#[tokio::test]
async fn a_token_is_used_only_by_a_registration_that_is_good() {
    let folder = Scratch::new();
    let registry = open(&folder, at(0)).await;
    let (token, _) = registry.invite(1, Duration::from_secs(60), at(0)).await.expect("a token");
    for bad in [json!({ "dim": 512 }), json!({ "encoder": "other" }), json!({ "basin_signature": [1.0] })] {
        let refused = registry.register(&bearer(&token), &body("a", bad.clone()), at(1)).await;
        assert!(matches!(refused, Err(Refused::Roster(roster::Refused::Differs(_)))), "{bad}: {refused:?}");
    }
    assert!(registry.members(at(1)).is_empty());
    let late = registry.register(&bearer(&token), &body("a", Value::Null), at(60)).await;
    assert_eq!(late.expect_err("it is over"), Refused::Key(key::Refused::Expired));
    let good = registry.register(&bearer(&token), &body("a", Value::Null), at(2)).await.expect("it is good");
    assert!(good.api_key.is_some());
    assert!(matches!(registry.invite(0, Duration::from_secs(1), at(0)).await, Err(Refused::Bounds(_))));
}

#[tokio::test]
async fn a_node_can_only_write_what_is_its_own() {
    let folder = Scratch::new();
    let registry = open(&folder, at(0)).await;
    let (a, _b) = (enrolled(&registry, "a", at(0)).await, enrolled(&registry, "b", at(0)).await);
    let (name, other) = (NodeName::new("a").expect("a name"), NodeName::new("b").expect("a name"));
    let as_b = registry.register(&bearer(&a), &body("b", Value::Null), at(1)).await;
    assert_eq!(as_b.expect_err("not its own"), Refused::Key(key::Refused::OtherNode));
    assert_eq!(beat(&registry, &a, "b", at(1)), Err(Refused::Key(key::Refused::OtherNode)));
    assert!(registry.remove(&bearer(&a), &other, at(1)).await.is_err());
    // A known key takes nobody's name, gone or not.
    let taken = registry.register(&keyed(7, true), &body("a", Value::Null), at(1)).await;
    assert!(matches!(taken, Err(Refused::NotTheirs(_))), "{taken:?}");
    assert_eq!(registry.remove(&bearer(&a), &name, at(1)).await, Ok(()));
    let taken = registry.register(&keyed(7, true), &body("a", Value::Null), at(1)).await;
    assert_eq!(taken.expect_err("its key is good"), Refused::Roster(roster::Refused::Held));
    assert!(registry.register(&bearer(&a), &body("a", Value::Null), at(1)).await.is_ok());
    // A key that nobody knows gets nothing; one that a node named speaks for that node.
    let mine = json!({ "key": NodeId::from_bytes([9; 32]).to_string() });
    assert!(matches!(registry.node(&keyed(9, false), &name, at(1)), Err(Refused::NotTheirs(_))));
    registry.register(&bearer(&a), &body("a", mine), at(1)).await.expect("it is good");
    assert!(registry.node(&keyed(9, false), &other, at(1)).is_ok());
    assert_eq!(registry.remove(&keyed(9, false), &name, at(1)).await, Ok(()));
    assert!(registry.register(&keyed(7, true), &body("c", Value::Null), at(1)).await.is_ok());
}

#[tokio::test]
async fn a_key_in_plain_is_refused_and_a_node_has_120_requests_a_minute() {
    let folder = Scratch::new();
    let registry = open(&folder, at(0)).await;
    let key = enrolled(&registry, "a", at(0)).await;
    let plain = Shown { is_private: false, ..bearer(&key) };
    assert!(matches!(registry.asker(&plain, at(0)), Err(Refused::NotTheirs(_))));
    for number in 0..120 {
        assert!(registry.asker(&bearer(&key), at(1)).is_ok(), "{number}");
    }
    let refused = registry.asker(&bearer(&key), at(2));
    assert!(matches!(refused, Err(Refused::Pace(TooSoon::Often { .. }))), "{refused:?}");
    let other = enrolled(&registry, "b", at(2)).await;
    assert!(registry.asker(&bearer(&other), at(2)).is_ok(), "each for itself");
    for text in ["", "Bearer", "Bearer cmt_00", "Basic abc", &"x".repeat(100_000)] {
        let shown = Shown { authorization: Some(text.to_owned()), ..bearer(&key) };
        assert!(matches!(registry.asker(&shown, at(2)), Err(Refused::Unproven(_))), "{text:.20}");
    }
}

#[tokio::test]
async fn a_heartbeat_says_when_others_came_and_where_documents_lie_is_kept() {
    let folder = Scratch::new();
    let registry = open(&folder, at(0)).await;
    let a = enrolled(&registry, "a", at(0)).await;
    assert_eq!(beat(&registry, &a, "a", at(1)), Ok(None));
    enrolled(&registry, "b", at(2)).await;
    assert!(beat(&registry, &a, "a", at(3)).is_ok_and(|since| since.is_some()));
    assert_eq!(beat(&registry, &a, "a", at(4)), Ok(None), "it is told once");
    let moved = json!({ "node_id": "a", "basin_signature": vec![0.5; 256] }).to_string();
    registry.heartbeat(&bearer(&a), moved.as_bytes(), at(5)).expect("it is good");
    let (nodes, next) = registry.nodes(&bearer(&a), &Page { after: None, limit: 1 }, at(5)).expect("a page");
    assert_eq!((nodes.len(), next.as_ref().map(NodeName::as_str)), (1, Some("a")));
    let (nodes, next) = registry.nodes(&bearer(&a), &Page { after: next, limit: 1 }, at(5)).expect("a page");
    assert_eq!((nodes[0].node.as_str(), next), ("b", None));
    registry.close(at(6)).await;
    let registry = open(&folder, at(7)).await;
    let name = NodeName::new("a").expect("a name");
    let kept = registry.node(&bearer(&a), &name, at(7)).expect("it is kept");
    assert_eq!(kept.basin_signature, vec![0.5; 256]);
}
