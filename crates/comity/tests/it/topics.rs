//! Topics as an application uses them: roles, projects, rooms, handlers, and what becomes of secrets in all that is
//! said.

use crate::world::{PATIENCE, Scratch, eventually, introduce, soon, start, start_with, two};
use comity::gossip::{Kind, Said, TopicError, Topics};
use comity::{Channel, Message, Network};
use comity_core::redact::{Config, Redactor};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use tokio::sync::mpsc;
use tokio::time::timeout;

const META: &str = "hmmm/meta-discussion/v1";
const COORDINATION: &str = "CHORUS/coordination/v1";

/// Made up, in GitLab's form.
const SECRET: &str = "glpat-Zk3xQ9vW7tR2mN8pL4bY";

fn topics(network: &Network) -> &Topics {
    network.topics().expect("gossip is on")
}

fn data(value: Value) -> Map<String, Value> {
    value.as_object().cloned().expect("an object")
}

fn status(text: &str) -> Said {
    Said::new(Kind::StatusUpdate, data(json!({ "status": text })))
}

/// Publishes as soon as somebody who listens is connected.
async fn publish(network: &Network, topic: &str, said: Said) {
    eventually("somebody listens", async || match topics(network).publish_to(topic, said.clone()).await {
        Ok(()) => true,
        Err(TopicError::Nobody(_)) => false,
        Err(other) => panic!("{other}"),
    })
    .await;
}

async fn publish_raw(network: &Network, topic: &str, text: &str) {
    eventually("somebody listens", async || topics(network).publish_raw(topic, text.into()).await.is_ok()).await;
}

fn words(message: &Message) -> String {
    message.payload()["data"]["status"].as_str().expect("a status").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_receives_what_is_addressed_to_it_and_nothing_else_also_after_a_restart() {
    let scratch = Scratch::new();
    let (lead, developer) = two(&scratch).await;
    let expertise = ["golang".to_owned()];
    topics(&developer).join_roles("Senior Developer", &expertise, Some("Tech Lead")).await.expect("a role");
    let listed: Vec<String> = topics(&developer).list().iter().map(|topic| topic.name().to_owned()).collect();
    for topic in ["CHORUS/roles/senior_developer/v1", "CHORUS/expertise/golang/v1", "CHORUS/hierarchy/tech_lead/v1"] {
        assert!(listed.iter().any(|name| name == topic), "{listed:?}");
    }
    developer.leave("again").await;
    drop(developer);
    let developer = start(scratch.path(), "other").await;
    introduce(&lead, &developer).await;
    assert_eq!(topics(&developer).role().map(|role| role.role).as_deref(), Some("Senior Developer"));
    let mut heard = topics(&developer).messages_on(META).await.expect("a topic");
    let to = |roles: &[&str], expertise: &[&str], text: &str| Said {
        to_roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        required_expertise: expertise.iter().map(|what| (*what).to_owned()).collect(),
        ..status(text)
    };
    for said in [
        to(&["QA Engineer"], &[], "another role"),
        to(&["Senior Developer"], &["rust"], "another expertise"),
        to(&[], &["rust"], "another expertise, any role"),
        to(&["senior_developer", "QA Engineer"], &["Golang"], "for it"),
        to(&[], &[], "for all"),
    ] {
        publish(&lead, META, said).await;
    }
    let (one, other) = (soon(heard.next()).await, soon(heard.next()).await);
    // Gossip keeps no order.
    let heard = BTreeSet::from([one, other].map(|message| words(&message.expect("a message"))));
    assert_eq!(heard, BTreeSet::from(["for all", "for it"].map(String::from)));
    publish(&lead, "CHORUS/hierarchy/tech_lead/v1", status("to those below")).await;
    assert!(matches!(topics(&lead).publish_as_role(status("as what?")).await, Err(TopicError::NoRole)));
    topics(&developer).leave_roles().await.expect("no role");
    assert_eq!(topics(&developer).list().len(), 3, "the topics of every node");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_raw_that_others_would_call_a_lie() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let mut heard = topics(&other).messages_on(META).await.expect("a topic");
    for lie in ["no message", "{}", r#"{"type":"task_claim"}"#] {
        let refused = topics(&one).publish_raw(META, lie.into()).await.expect_err("it is none of the 31");
        assert!(matches!(&refused, TopicError::NotRaw { topic, .. } if topic.name() == META), "{refused}");
    }
    let of_another = json!({
        "type": "status_update", "from": topics(&other).me().to_string(), "timestamp": "2026-01-01T00:00:00Z", "data": {},
    });
    topics(&one).join("team/talk").await.expect("a topic");
    let refused = topics(&one).publish_raw("team/talk", of_another.to_string().into()).await;
    assert!(matches!(refused, Err(TopicError::NotRaw { .. })), "{refused:?}");
    let said = json!({
        "type": "status_update", "from": topics(&one).me().to_string(), "timestamp": comity_core::time::Timestamp::from_millis(now_ms()).to_string(),
        "data": { "status": "as it is" },
    });
    publish_raw(&one, META, &said.to_string()).await;
    assert_eq!(words(&soon(heard.next()).await.expect("a message")), "as it is");
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 500 million")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_listens_to_no_more_topics_than_its_peers_bear_also_after_a_restart() {
    let scratch = Scratch::new();
    let node = start(scratch.path(), "one").await;
    for topic in topics(&node).list() {
        topics(&node).leave(topic.name()).await.expect("it was joined");
    }
    for number in 0..256 {
        assert!(topics(&node).join(&format!("many/{number}")).await.expect("there is room"));
    }
    assert_eq!(topics(&node).join("one/more").await, Err(TopicError::TooMany));
    node.leave("again").await;
    drop(node);
    let node = start(scratch.path(), "one").await;
    assert_eq!(topics(&node).list().len(), 256);
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_and_rooms_are_topics_and_handlers_get_what_was_published() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let project = topics(&other).join_project("apollo").await.expect("a project");
    assert_eq!(project.name(), "CHORUS/projects/apollo/coordination/v1");
    let room = topics(&other).join_room("42").await.expect("a room");
    let (tell, mut told) = mpsc::channel(8);
    let (from_room, from_meta) = (tell.clone(), tell);
    let handling = topics(&other).subscribe_raw(room.name(), move |message: Message| {
        let tell = from_room.clone();
        async move { tell.send(message.raw()).await.expect("the test runs") }
    });
    let handling = handling.await.expect("a room");
    topics(&other)
        .set_meta_handler(move |message: Message| {
            let tell = from_meta.clone();
            async move { tell.send(words(&message).into_bytes()).await.expect("the test runs") }
        })
        .await;
    assert!(matches!(topics(&one).publish_raw(room.name(), b"x".into()).await, Err(TopicError::NotJoined(_))));
    topics(&one).join(room.name()).await.expect("a room");
    for raw in ["plain words", "{\"n\": 1}", "\"as JSON\""] {
        publish_raw(&one, room.name(), raw).await;
        assert_eq!(soon(told.recv()).await.as_deref(), Some(raw.as_bytes()));
    }
    publish(&one, META, status("about")).await;
    assert_eq!(soon(told.recv()).await.as_deref(), Some(&b"about"[..]));
    drop(handling);
    publish_raw(&one, room.name(), "nobody handles this").await;
    publish(&one, META, status("but this")).await;
    assert_eq!(soon(told.recv()).await.as_deref(), Some(&b"but this"[..]));
    assert!(topics(&other).leave(room.name()).await.expect("it was joined"));
    assert!(!topics(&other).leave(room.name()).await.expect("nothing to do"));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_leave_on_no_way() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let mut heard = topics(&other).messages_on(COORDINATION).await.expect("a topic");
    let progress = data(json!({ "task_id": "t", "agent_id": "a", "progress": 0.5, "token": SECRET }));
    publish(&one, COORDINATION, Said::new(Kind::TaskProgress, progress)).await;
    let said = soon(heard.next()).await.expect("a message").payload();
    assert_eq!(said["data"], json!({ "task_id": "t", "agent_id": "a", "progress": 0.5, "token": "[REDACTED]" }));
    // A secret where a signature stands elsewhere is one all the same.
    let signed =
        data(json!({ "task_id": "t", "agent_id": "a", "sig": SECRET, "announcer": one.node_id().to_string() }));
    publish(&one, COORDINATION, Said::new(Kind::TaskProgress, signed)).await;
    let said = soon(heard.next()).await.expect("a message").payload();
    assert_eq!(
        (&said["data"]["sig"], &said["data"]["announcer"]),
        (&json!("[REDACTED]"), &json!(one.node_id().to_string()))
    );
    // Of two members of one name a reader keeps one, and both leave.
    for node in [&one, &other] {
        topics(node).join("team/raw").await.expect("a topic");
    }
    let mut raw = topics(&other).messages_on("team/raw").await.expect("a topic");
    publish_raw(&one, "team/raw", &format!("{{\"a\":\"{SECRET}\",\"a\":1}}")).await;
    assert_eq!(soon(raw.next()).await.expect("a message").raw(), b"{\"a\":\"[REDACTED]\",\"a\":1}");
    let mut messages = other.messages().await;
    let channel = Channel::new("custom:x").expect("a channel");
    other.subscribe(channel.name()).await.expect("a channel");
    other.set_attention_mode(comity::Mode::Realtime).await.expect("a mode");
    one.send_to(other.id(), channel.name(), json!({ "note": format!("use {SECRET} there") }), comity::Priority::Normal)
        .await
        .expect("it is sent");
    let feed = one.feed(Some(other.id()), channel.name(), comity::Priority::Normal).expect("a feed");
    feed.send(json!([SECRET])).await.expect("it is sent");
    let first = soon(messages.next()).await.expect("a message").payload();
    assert_eq!(first, json!({ "note": "use [REDACTED] there" }));
    assert_eq!(soon(messages.next()).await.expect("a message").payload(), json!(["[REDACTED]"]));
    one.redaction().set(None);
    assert!(!one.redaction().is_on());
    feed.send(json!([SECRET])).await.expect("it is sent");
    assert_eq!(soon(messages.next()).await.expect("a message").payload(), json!([SECRET]));
    one.redaction().set(Some(Redactor::new(&Config::new([1; 32])).expect("the built-in rules")));
    feed.send(json!([SECRET])).await.expect("it is sent");
    assert_eq!(soon(messages.next()).await.expect("a message").payload(), json!(["[REDACTED]"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_a_topic_hears_no_more_of_it_and_rules_of_ones_own_hold() {
    let scratch = Scratch::new();
    let own = [("redaction.rules", "badge=badge ([0-9]{6})")];
    let (one, other) = (start_with(scratch.path(), "one", &own).await, start(scratch.path(), "other").await);
    introduce(&one, &other).await;
    for node in [&one, &other] {
        topics(node).join("team/talk").await.expect("a topic");
    }
    let mut heard = topics(&other).messages_on("team/talk").await.expect("a topic");
    publish_raw(&one, "team/talk", "my badge 123456").await;
    assert_eq!(soon(heard.next()).await.expect("a message").raw(), b"my badge [REDACTED]");
    topics(&other).leave("team/talk").await.expect("it was joined");
    eventually("nobody listens any more", async || {
        matches!(topics(&one).publish_raw("team/talk", b"?".into()).await, Err(TopicError::Nobody(_)))
    })
    .await;
    assert!(timeout(PATIENCE / 50, heard.next()).await.is_err(), "what is left is not heard");
}
