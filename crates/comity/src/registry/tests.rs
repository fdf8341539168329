//! What a registry keeps over a restart, and whom it lets do what, with the time as the tests say.

mod shared;

use super::*;
use crate::scratch::Scratch;
use comity_core::registry::roster::GONE_AFTER;
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

fn at(seconds: u64) -> Now {
    let mono = Duration::from_secs(seconds);
    Now { mono, wall: Timestamp::from_millis(1_700_000_000_000) + mono }
}

fn file(folder: &Scratch) -> Place {
    Place::File(folder.path().join("registry.db"))
}

async fn open(folder: &Scratch, now: Now) -> Registry {
    Registry::open(&file(folder), profile::Settings::default(), now).await.expect("a registry")
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
    registry.revoke("nobody", at(99)).await.expect("the disk takes it");
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
    registry.revoke("b", at(99)).await.expect("the disk takes it");
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
    let as_b = registry.register(&bearer(&a), &body("b", Value::Null), at(1)).await;
    assert_eq!(as_b.expect_err("not its own"), Refused::Key(key::Refused::OtherNode));
    assert_eq!(beat(&registry, &a, "b", at(1)), Err(Refused::Key(key::Refused::OtherNode)));
    assert!(registry.remove(&bearer(&a), "b", at(1)).await.is_err());
    // A known key takes nobody's name, gone or not.
    let taken = registry.register(&keyed(7, true), &body("a", Value::Null), at(1)).await;
    assert!(matches!(taken, Err(Refused::NotTheirs(_))), "{taken:?}");
    assert_eq!(registry.remove(&bearer(&a), "a", at(1)).await, Ok(()));
    let taken = registry.register(&keyed(7, true), &body("a", Value::Null), at(1)).await;
    assert_eq!(taken.expect_err("its key is good"), Refused::Roster(roster::Refused::Held));
    assert!(registry.register(&bearer(&a), &body("a", Value::Null), at(1)).await.is_ok());
    assert!(registry.register(&keyed(7, true), &body("c", Value::Null), at(1)).await.is_ok());
    for (shown, id) in [(keyed(9, false), "\n"), (keyed(9, false), "b")] {
        assert!(matches!(registry.node(&shown, id, at(1)), Err(Refused::NotTheirs(_))), "who asks is proved first");
    }
    assert_eq!(registry.node(&bearer(&a), "\n", at(1)), Err(Refused::Roster(roster::Refused::Unknown)));
}

#[tokio::test]
async fn a_key_speaks_for_the_node_that_named_and_proved_it_and_for_no_other() {
    let folder = Scratch::new();
    let registry = open(&folder, at(0)).await;
    let (a, _b) = (enrolled(&registry, "a", at(0)).await, enrolled(&registry, "b", at(0)).await);
    let (mine, unknown) = (json!({ "key": NodeId::from_bytes([9; 32]).to_string() }), keyed(9, false));
    let proved = Shown { key: unknown.key, ..bearer(&a) };
    registry.register(&bearer(&a), &body("a", mine.clone()), at(1)).await.expect("it is good");
    assert!(matches!(registry.node(&unknown, "a", at(1)), Err(Refused::NotTheirs(_))), "anybody can name a key");
    let other = Shown { key: Some(NodeId::from_bytes([8; 32])), ..bearer(&a) };
    let refused = registry.register(&other, &body("a", mine.clone()), at(1)).await;
    assert_eq!(refused.expect_err("it proved another"), Refused::Roster(roster::Refused::OtherKey));
    registry.register(&proved, &body("a", mine.clone()), at(1)).await.expect("it is good");
    registry.close(at(1)).await;
    let registry = open(&folder, at(2)).await;
    assert!(registry.node(&unknown, "b", at(2)).is_ok(), "also after a restart");
    assert!(registry.register(&unknown, &body("a", mine.clone()), at(2)).await.is_ok());
    for name in ["b", "c"] {
        let refused = registry.register(&unknown, &body(name, mine.clone()), at(2)).await;
        assert!(matches!(refused, Err(Refused::NotTheirs(_))), "{name}: {refused:?}");
    }
    assert_eq!(registry.remove(&unknown, "a", at(2)).await, Ok(()));
    let again = registry.register(&unknown, &body("a", mine.clone()), at(2)).await;
    assert!(matches!(again, Err(Refused::NotTheirs(_))), "{again:?}");
    assert!(registry.register(&proved, &body("a", mine), at(2)).await.is_ok(), "its API key is good");
}

#[tokio::test]
async fn a_name_that_is_a_key_is_for_who_proves_that_key_also_with_a_token() {
    let folder = Scratch::new();
    let registry = open(&folder, at(0)).await;
    let (token, _) = registry.invite(1, Duration::from_secs(60), at(0)).await.expect("a token");
    let key = NodeId::from_bytes([9; 32]);
    let said = body(&key.to_string(), json!({ "key": key.to_string() }));
    for shown in [bearer(&token), keyed(7, true)] {
        let refused = registry.register(&shown, &said, at(1)).await;
        assert!(matches!(refused, Err(Refused::Roster(_))), "{refused:?}");
    }
    let proved = Shown { key: Some(key), ..bearer(&token) };
    assert!(registry.register(&proved, &said, at(1)).await.is_ok_and(|registered| registered.api_key.is_some()));
}

#[tokio::test]
async fn a_node_that_is_revoked_does_not_enrol_again_by_the_token_that_it_has() {
    let folder = Scratch::new();
    let registry = open(&folder, at(0)).await;
    let (token, _) = registry.invite(5, Duration::from_secs(9000), at(0)).await.expect("a token");
    for name in ["a", "b"] {
        assert!(registry.register(&bearer(&token), &body(name, Value::Null), at(1)).await.is_ok(), "{name}");
    }
    registry.close(at(1)).await;
    let registry = open(&folder, at(2)).await;
    let revoked = registry.revoke("a", at(99)).await.expect("the disk takes it");
    assert_eq!(revoked, Revoked { node: true, key: true, token: true });
    for name in ["a", "c"] {
        let again = registry.register(&bearer(&token), &body(name, Value::Null), at(2)).await;
        assert!(matches!(again, Err(Refused::Unproven(_))), "{name}: {again:?}");
    }
    assert_eq!(state(&registry, "b", at(2)), Some(State::Fresh), "who came by the same token stays");
    registry.close(at(2)).await;
    let registry = open(&folder, at(3)).await;
    assert!(matches!(registry.asker(&bearer(&token), at(3)), Err(Refused::Unproven(_))), "also after a restart");
    enrolled(&registry, "a", at(3)).await;
}

#[tokio::test]
async fn what_the_disk_does_not_take_is_as_before_and_written_when_it_is_well() {
    let folder = Scratch::new();
    let registry = open(&folder, at(0)).await;
    let a = enrolled(&registry, "a", at(0)).await;
    let (token, _) = registry.invite(1, Duration::from_secs(9000), at(0)).await.expect("a token");
    let file = SqliteConnectOptions::new().filename(folder.path().join("registry.db"));
    let mut disk = file.connect().await.expect("the file");
    sqlx::query("ALTER TABLE node RENAME TO away").execute(&mut disk).await.expect("the disk is broken");
    let refused = registry.register(&bearer(&token), &body("b", Value::Null), at(1)).await;
    assert_eq!(refused.expect_err("it cannot be kept"), Refused::Disk);
    assert_eq!(state(&registry, "b", at(1)), None);
    let moved = json!({ "node_id": "a", "basin_signature": vec![0.5; 256] }).to_string();
    registry.heartbeat(&bearer(&a), moved.as_bytes(), at(70)).expect("it is good");
    registry.look(at(70)).await;
    sqlx::query("ALTER TABLE away RENAME TO node").execute(&mut disk).await.expect("the disk is well");
    registry.look(at(71)).await;
    let registered = registry.register(&bearer(&token), &body("b", Value::Null), at(71)).await.expect("it is good");
    assert!(registered.api_key.is_some(), "its one use was left");
    // No farewell: what is in memory alone is lost.
    drop(registry);
    let registry = open(&folder, at(72)).await;
    assert_eq!(registry.node(&bearer(&a), "a", at(72)).expect("it is kept").basin_signature, vec![0.5; 256]);
    assert!(registry.node(&bearer(&a), "b", at(72)).is_ok());
}

#[tokio::test]
async fn a_list_of_large_nodes_is_given_in_pages_that_are_no_larger_than_others() {
    let folder = Scratch::new();
    let settings = profile::Settings { dim: 4096, ..profile::Settings::default() };
    let registry = Registry::open(&file(&folder), settings, at(0)).await.expect("a registry");
    let (key, wide) = (NodeId::from_bytes([1; 32]), vec![0.1_f32; 4096]);
    for number in 10..30 {
        let text = body(&format!("n{number}"), json!({ "basin_signature": wide }));
        let said = wire::read_register(&text).expect("it is good");
        let said = Registration { centroids: vec![wide.clone(); 16], ..said };
        registry.register_itself(said, key, at(0)).expect("there is room");
    }
    let (mut after, mut sizes) = (None, Vec::new());
    loop {
        let page = Page { after, limit: PAGE_MAX };
        let (nodes, next) = registry.nodes(&keyed(1, false), &page, at(0)).expect("a page");
        sizes.push(nodes.len());
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [16, 4], "1.1 MB each");
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
    let kept = registry.node(&bearer(&a), "a", at(7)).expect("it is kept");
    assert_eq!(kept.basin_signature, vec![0.5; 256]);
}
