//! The store on real files: what is told to be safe is there after a restart, and what is not is not.

use super::*;
use crate::scratch::Scratch;
use comity_core::channel::Channel;
use comity_core::envelope::{Address, Kind, Message, More, Priority, Received, Signed, Ttl, Via};
use comity_core::id::NodeId;
use comity_core::identity::trust::Trust;
use comity_core::inbox::{Digest, Sample};
use comity_core::node::{Input, Record};
use comity_core::payload::Payload;
use sqlx::Connection;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

fn item(arrival: u64) -> Arc<Item> {
    let id = MessageId(Uuid::from_u128(u128::from(arrival)));
    let more = More {
        topic: Some("t".to_owned()),
        traceparent: Some("00-a-b-01".to_owned()),
        from_key: Some(NodeId::from_bytes([3; 32])),
        signature: Some(Signed { signature: [9; 64], covered: b"{}".to_vec() }),
        ..More::default()
    };
    let message = Message {
        id: Some(id),
        from: PeerId(Uuid::from_u128(7)),
        to: Address::Peer(PeerId(Uuid::from_u128(8))),
        kind: Kind::Suggestion,
        channel: Channel::new("custom:tea").expect("a channel"),
        priority: Priority::Normal,
        timestamp: now(),
        ttl: Ttl::DEFAULT,
        reply_to: Some(MessageId(Uuid::from_u128(5))),
        payload: Payload::from_sealed(vec![b'x'; 128]).expect("a payload"),
        more: Some(Box::new(more)),
    };
    let received = Received {
        message,
        trust: Trust::Verified,
        key: Some(NodeId::from_bytes([4; 32])),
        via: Via::Link,
        received_at: now(),
    };
    Arc::new(Item { arrival, received })
}

fn digest() -> Digest {
    let channel = Channel::new("_bugs").expect("a channel");
    let from = PeerId(Uuid::from_u128(7));
    Digest {
        since: now(),
        until: Some(now()),
        by_kind: BTreeMap::from([(Kind::Bug, 2), (Kind::Status, 1)]),
        by_channel: BTreeMap::from([(channel.clone(), 3)]),
        evicted: 4,
        samples: vec![Sample {
            at: now(),
            from,
            trust: Trust::Verified,
            kind: Kind::Bug,
            channel,
            text: "\"it broke\"".to_owned(),
        }],
        stride: 2,
    }
}

/// Opens the store, lets it write these records, and closes it; what the rules were told.
async fn write(path: &Path, records: Vec<Record>) -> Vec<Input> {
    let (store, _) = Store::open(path, now()).await.expect("a store");
    write_to(store, records).await
}

async fn write_to(store: Store, records: Vec<Record>) -> Vec<Input> {
    let (sender, receiver) = mpsc::channel(records.len().max(1));
    for (number, record) in (1..).zip(records) {
        sender.send((number, record)).await.expect("there is room");
    }
    drop(sender);
    let (told, mut heard) = mpsc::unbounded_channel();
    store.write(receiver, |input| tell(&told, input)).await;
    drop(told);
    let mut inputs = Vec::new();
    while let Some(input) = heard.recv().await {
        inputs.push(input);
    }
    inputs
}

fn tell(told: &mpsc::UnboundedSender<Input>, input: Input) -> std::future::Ready<()> {
    told.send(input).expect("somebody hears");
    std::future::ready(())
}

async fn restored(path: &Path) -> Restored {
    Store::open(path, now()).await.expect("a store").1
}

#[tokio::test]
async fn what_was_told_to_be_safe_is_there_after_a_restart() {
    let scratch = Scratch::new();
    let path = scratch.path().join("comity.db");
    let from = PeerId(Uuid::from_u128(7));
    let seen = |id, until| Record::Seen { from, id: MessageId(Uuid::from_u128(id)), until };
    let told = write(
        &path,
        vec![
            Record::ItemAdded(item(1)),
            Record::ItemAdded(item(2)),
            Record::Digest(Box::default()),
            Record::Digest(Box::new(digest())),
            Record::Setting { name: "mode", value: serde_json::json!("minimal") },
            seen(1, now() + Duration::from_secs(60)),
            seen(2, now()),
        ],
    )
    .await;
    assert!(matches!(told[..], [Input::Committed { upto: 7 }]), "{told:?}");
    let restored = restored(&path).await;
    assert_eq!(restored.items, [(*item(1)).clone(), (*item(2)).clone()]);
    assert_eq!(restored.digest, Some(digest()));
    assert_eq!(restored.settings, [("mode".to_owned(), serde_json::json!("minimal"))]);
    let id = MessageId(Uuid::from_u128(1));
    assert_eq!(restored.seen, [(from, id, now() + Duration::from_secs(60))], "the second may be forgotten");
}

#[tokio::test]
async fn arrival_numbers_are_never_given_twice_even_when_every_item_is_gone() {
    let scratch = Scratch::new();
    let path = scratch.path().join("comity.db");
    write(&path, (1..=5).map(|arrival| Record::ItemAdded(item(arrival))).collect()).await;
    let removed = [1, 2, 3, 5].map(|arrival| Record::ItemRemoved { arrival });
    write(&path, removed.into_iter().collect()).await;
    let some = restored(&path).await;
    assert_eq!(some.items.iter().map(|item| item.arrival).collect::<Vec<_>>(), [4]);
    assert_eq!(some.last_arrival, 5);
    // Added and removed in one group: never written, but its number is used up.
    write(
        &path,
        vec![Record::ItemAdded(item(6)), Record::ItemRemoved { arrival: 6 }, Record::ItemRemoved { arrival: 4 }],
    )
    .await;
    let none = restored(&path).await;
    assert_eq!((none.items.len(), none.last_arrival), (0, 6));
}

#[tokio::test]
async fn every_size_of_group_is_written_whole() {
    let scratch = Scratch::new();
    for size in [1, 7, 8, 9, 63, 64, 511, 512, 513, 1300] {
        let path = scratch.path().join(format!("{size}.db"));
        write(&path, (1..=size).map(|arrival| Record::ItemAdded(item(arrival))).collect()).await;
        let arrivals: Vec<_> = restored(&path).await.items.iter().map(|item| item.arrival).collect();
        assert_eq!(arrivals, (1..=size).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_in_silence_and_is_used_again_when_there_is_room() {
    let scratch = Scratch::new();
    let path = scratch.path().join("comity.db");
    let (mut store, _) = Store::open(&path, now()).await.expect("a store");
    let pages: i64 = sqlx::query("PRAGMA page_count").fetch_one(&mut store.connection).await.expect("a count").get(0);
    // SQLite's own limit makes it answer as a full disk does: SQLITE_FULL.
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 30));
    sqlx::raw_sql(limit).execute(&mut store.connection).await.expect("a limit");
    let health = store.health();
    let (sender, receiver) = mpsc::channel(4096);
    let (told, mut heard) = mpsc::unbounded_channel();
    let writer = tokio::spawn(store.write(receiver, move |input| tell(&told, input)));
    let mut number = 0;
    let mut send = async |record| {
        number += 1;
        sender.send((number, record)).await.expect("the writer lives");
        number
    };
    send(Record::ItemAdded(item(1))).await;
    assert!(matches!(heard.recv().await, Some(Input::Committed { upto: 1 })));
    for arrival in 2..=1000 {
        send(Record::ItemAdded(item(arrival))).await;
    }
    let lost_from = loop {
        match heard.recv().await.expect("the writer lives") {
            Input::Committed { .. } => {}
            Input::NotCommitted { from } => break from,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(&*health.borrow(), DiskHealth::Failing(sentence) if sentence.contains("full")));
    // A trial write fits in the pages there are, so the disk is found working again.
    let back = loop {
        match heard.recv().await.expect("the writer lives") {
            Input::Committed { upto } => break upto,
            Input::NotCommitted { from } => assert!(from > lost_from),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(back, 1000);
    assert_eq!(*health.borrow(), DiskHealth::Working);
    let number = send(Record::ItemRemoved { arrival: 1 }).await;
    assert!(matches!(heard.recv().await, Some(Input::Committed { upto }) if upto == number));
    drop(sender);
    writer.await.expect("the writer ends");
    let kept = restored(&path).await;
    assert!(kept.items.iter().all(|item| item.arrival > 1 && item.arrival < lost_from), "what was lost stays lost");
    assert_eq!(kept.items.len() as u64, lost_from - 2, "what was safe is there");
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.path().join("comity.db");
    let (mut store, _) = Store::open(&path, now()).await.expect("a store");
    sqlx::raw_sql("PRAGMA user_version = 99").execute(&mut store.connection).await.expect("a version");
    store.connection.close().await.expect("closed");
    let error = Store::open(&path, now()).await.expect_err("it is newer").to_string();
    assert!(error.contains("newer version") && error.contains("99"), "{error}");
}

#[tokio::test]
async fn an_older_database_is_upgraded_without_loss() {
    let scratch = Scratch::new();
    let path = scratch.path().join("comity.db");
    write(&path, vec![Record::ItemAdded(item(1))]).await;
    let (mut store, _) = Store::open(&path, now()).await.expect("a store");
    let steps = [schema::STEPS[0], "ALTER TABLE item ADD COLUMN note TEXT"];
    schema::upgrade(&mut store.connection, &steps, &path).await.expect("it is upgraded");
    schema::upgrade(&mut store.connection, &steps, &path).await.expect("a second time there is nothing to do");
    let row = sqlx::query("SELECT arrival, note FROM item").fetch_one(&mut store.connection).await.expect("the item");
    assert_eq!((row.get::<i64, _>(0), row.get::<Option<String>, _>(1)), (1, None));
    let broken = [steps[0], steps[1], "CREATE TABLE extra (a); SELECT nonsense"];
    schema::upgrade(&mut store.connection, &broken, &path).await.expect_err("a step that fails");
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'extra'";
    let count: i64 = sqlx::query(tables).fetch_one(&mut store.connection).await.expect("a count").get(0);
    assert_eq!(count, 0, "a step is whole or not at all");
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_what_to_do() {
    let scratch = Scratch::new();
    let path = scratch.path().join("comity.db");
    std::fs::write(&path, [b'x'; 8192]).expect("a file");
    let error = Store::open(&path, now()).await.expect_err("it is damaged").to_string();
    assert!(error.contains("damaged") && error.contains("mv "), "{error}");
    assert_eq!(std::fs::read(&path).expect("a file"), [b'x'; 8192]);
}

#[tokio::test]
async fn nobody_else_can_read_the_database() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let path = scratch.path().join("comity.db");
    let (store, _) = Store::open(&path, now()).await.expect("a store");
    for file in std::fs::read_dir(scratch.path()).expect("a folder") {
        let about = file.expect("a file").metadata().expect("its mode");
        assert_eq!(about.permissions().mode() & 0o077, 0);
    }
    drop(store);
}

/// Run by hand: `cargo test --release -p comity --lib inbox_items_a_second -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; says nothing when the machine is busy"]
async fn inbox_items_a_second() {
    const ITEMS: u64 = 200_000;
    let scratch = Scratch::new();
    let (store, _) = Store::open(&scratch.path().join("comity.db"), now()).await.expect("a store");
    let (sender, receiver) = mpsc::channel(8192);
    let started = Instant::now();
    let writer = tokio::spawn(store.write(receiver, |_| std::future::ready(())));
    let from = PeerId(Uuid::from_u128(7));
    let sample = item(0).received.clone();
    let mut number = 0;
    for arrival in 1..=ITEMS {
        let item = Arc::new(Item { arrival, received: sample.clone() });
        let seen = Record::Seen { from, id: MessageId(Uuid::new_v4()), until: now() };
        let mut records = vec![seen, Record::ItemAdded(item)];
        // Taken some 20,000 messages later, so that adding and taking never meet in one group.
        records.extend(arrival.checked_sub(20_000).map(|arrival| Record::ItemRemoved { arrival }));
        for record in records {
            number += 1;
            sender.send((number, record)).await.expect("the writer lives");
        }
    }
    drop(sender);
    writer.await.expect("the writer ends");
    let rate = ITEMS as f64 / started.elapsed().as_secs_f64();
    println!("{rate:.0} inbox items a second, each remembered, added and removed");
}
