//! What a node journals of what is said and heard on topics, as an application sees it.

use crate::world::{PATIENCE, Scratch, eventually, start, two};
use comity::Network;
use comity::gossip::{Kind, Said, TopicError};
use comity::home::stored_key;
use comity::journal::{Entry, EntryKind, Filter, Journal, Limits, verify};
use comity_core::journal::Draft;
use comity_core::time::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

const ROOM: &str = "CHORUS/meta/issue/7";

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().expect("an object")
}

/// All entries of this type, in order.
async fn entries(node: &Network, kind: EntryKind) -> Vec<Entry> {
    let journal = node.journal().clone();
    let filter = Filter { kinds: vec![kind], ..Filter::default() };
    let read = move || journal.entries(0..u64::MAX, filter).collect::<Result<_, _>>();
    tokio::task::spawn_blocking(read).await.expect("it ends").expect("it can be read")
}

async fn has(node: &Network, kind: EntryKind, count: usize) {
    eventually(kind.name(), async || entries(node, kind).await.len() >= count).await;
}

/// Publishes as soon as somebody listens.
async fn published(node: &Network, said: Said) {
    let topics = node.topics().expect("gossip is on");
    let end = Instant::now() + PATIENCE;
    while let Err(refused) = topics.publish_coordination(said.kind, said.data.clone()).await {
        assert!(matches!(refused, TopicError::Nobody(_)) && Instant::now() < end, "{refused}");
        sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_is_said_and_heard_is_journaled_once_and_without_secrets() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let failed =
        json!({ "task_id": "t-1", "agent_id": "a-1", "status": "failed", "sig": "proof", "note": "password=hunter2" });
    published(&one, Said::new(Kind::TaskComplete, object(failed))).await;
    for node in [&one, &other] {
        has(node, EntryKind::TaskFailed, 1).await;
        let data = entries(node, EntryKind::TaskFailed).await.remove(0).data;
        assert_eq!(
            (&data["message_type"], &data["topic"]),
            (&json!("task_complete"), &json!("CHORUS/coordination/v1"))
        );
        assert_eq!((&data["data"]["sig"], &data["data"]["task_id"]), (&json!("[REDACTED]"), &json!("t-1")));
        assert!(!data["data"]["note"].to_string().contains("hunter2"), "{data:?}");
        has(node, EntryKind::PeerJoined, 1).await;
    }
    let head = one.journal().head().expect("a head");
    let folder = one.data_dir().join("journal");
    one.leave("done").await;
    let report = verify(&folder, Some(one.node_id()), Some(head)).expect("it can be read");
    assert_eq!(report.flaw, None, "the node has closed it");
    has(&other, EntryKind::PeerLeft, 1).await;
}

#[tokio::test]
async fn raw_messages_are_journaled_by_who_joined_and_by_nobody_when_nobody_listens() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let topics = one.topics().expect("gossip is on");
    topics.join(ROOM).await.expect("joined");
    let refused = topics.publish_raw(ROOM, b"alone".to_vec()).await;
    assert!(matches!(refused, Err(TopicError::Nobody(_))), "{refused:?}");
    assert!(entries(&one, EntryKind::Collaboration).await.is_empty(), "what was refused leaves no entry");
    other.topics().expect("gossip is on").join(ROOM).await.expect("joined");
    eventually("a listener", async || {
        topics.publish_raw(ROOM, b"token=ghp_0123456789abcdefghijABCDEFGHIJ012345".to_vec()).await.is_ok()
    })
    .await;
    for node in [&one, &other] {
        has(node, EntryKind::Collaboration, 1).await;
        let data = entries(node, EntryKind::Collaboration).await.remove(0).data;
        assert_eq!(data["message_type"], "raw");
        let text = data["data"]["text"].as_str().expect("a text");
        assert!(text.contains("[REDACTED]") && !text.contains("ghp_"), "{text}");
    }
}

#[tokio::test]
async fn a_journal_goes_on_where_it_was_when_the_node_is_started_again() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    has(&one, EntryKind::PeerJoined, 1).await;
    let first = one.journal().head().expect("a head");
    one.leave("done").await;
    drop(one);
    let one = start(scratch.path(), "one").await;
    crate::world::introduce(&one, &other).await;
    has(&one, EntryKind::PeerJoined, 2).await;
    let head = one.journal().head().expect("a head");
    assert_eq!(head.journal, first.journal);
    let proof = one.journal().prove_growth(first.size, head.size).expect("it goes on");
    assert_eq!(proof.check(&first.root, &head.root), Ok(()));
}

#[tokio::test]
async fn what_a_node_can_do_is_said_when_it_is_first_heard_and_nobody_is_disturbed_by_it() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    for node in [&one, &other] {
        // One's own, and the other's.
        has(node, EntryKind::CapabilityBroadcast, 2).await;
        assert!(node.digest().await.expect("the node runs").by_kind.is_empty());
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_breaks_no_journal() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    has(&one, EntryKind::PeerJoined, 1).await;
    let (folder, author, before) = (one.data_dir().to_owned(), one.node_id(), one.journal().head().expect("a head"));
    one.leave("done").await;
    drop(one);
    // For a while the clock was years ahead.
    let key = stored_key(&folder).expect("readable").expect("a key");
    let opened = Journal::open(&folder.join("journal"), key, Limits::default());
    let ahead = Timestamp::parse("2099-01-01T00:00:00Z").expect("a time");
    let journal = opened.expect("a journal").0;
    let draft = Draft::new(EntryKind::NetworkEvent, ahead, Map::new()).expect("small");
    let index = journal.append(draft).await.expect("written");
    journal.close().await;
    let one = start(scratch.path(), "one").await;
    crate::world::introduce(&one, &other).await;
    has(&one, EntryKind::PeerJoined, 2).await;
    let later = entries(&one, EntryKind::PeerJoined).await.remove(1);
    assert!(later.index > index && later.timestamp < ahead, "order is by index: {later:?}");
    let journal = one.journal().clone();
    let (found, report) = tokio::task::spawn_blocking(move || {
        let filter = Filter { since: Some(ahead), ..Filter::default() };
        let found: Result<Vec<_>, _> = journal.entries(0..u64::MAX, filter).collect();
        (found.expect("readable"), journal.verify(author, Some(before)).expect("readable"))
    })
    .await
    .expect("it ends");
    assert_eq!(found.iter().map(|entry| entry.index).collect::<Vec<_>>(), [index]);
    assert_eq!(report.flaw, None);
}
