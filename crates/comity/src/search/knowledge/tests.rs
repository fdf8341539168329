//! Entries on a real disk: what was acknowledged is there after a crash, bounds hold, and a walk by cursor misses nothing.

use super::entries::{Entries, Outcome};
use crate::scratch::Scratch;
use crate::store::knowledge::{Entry, Room};
use comity_core::id::NodeId;
use comity_core::identity::key::KeyPair;
use comity_core::knowledge::{About, Knowledge, Request, widened};
use comity_core::time::Timestamp;
use comity_core::wire::mesh::sync::Cursor;
use std::fs;
use std::path::Path;

const WIDE: Room = Room { entries: 1000, bytes: 1 << 30 };

fn key(seed: u8) -> KeyPair {
    KeyPair::from_seed([seed; 32])
}

fn me() -> NodeId {
    key(1).node()
}

async fn open(folder: &Path, room: Room) -> Entries {
    Entries::open_with(&folder.join("knowledge.db"), me(), room).await.expect("a file")
}

/// An entry of the node of this seed.
fn entry(seed: u8, id: &str, topic: &str, seconds: u64) -> Entry {
    let knowledge = Knowledge {
        id: id.to_owned(),
        topic: topic.to_owned(),
        topic_basin: Some(widened(&[0.1, seconds as f32])),
        content: format!("{id} at {seconds}"),
        source: Some("a \u{0} source".to_owned()),
        confidence: 0.7,
        created: Timestamp::from_millis(seconds * 1000).into(),
    };
    let signer = key(seed).node();
    let signature = knowledge.sign(&signer.to_string(), &key(seed));
    Entry { knowledge, signer, signature, via: (seed != 1).then(|| key(9).node()) }
}

fn about(topic: &str) -> Request {
    Request { about: About::Topic(topic.to_owned()), limit: 1000, min_confidence: None }
}

async fn contents(entries: &Entries, request: &Request) -> Vec<String> {
    entries.answer(request).await.expect("an answer").into_iter().map(|entry| entry.knowledge.content).collect()
}

/// Copies the files as they are.
fn copy(from: &Scratch, to: &Scratch) {
    for file in fs::read_dir(from.path()).expect("a folder").flatten() {
        fs::copy(file.path(), to.path().join(file.file_name())).expect("a copy");
    }
}

async fn take(entries: &Entries, some: Vec<Entry>) -> Vec<Outcome> {
    entries.take(some, None).await.expect("taken")
}

#[tokio::test]
async fn of_one_id_of_one_signer_the_newest_counts_and_of_two_signers_both() {
    let scratch = Scratch::new();
    let entries = open(scratch.path(), WIDE).await;
    let all = vec![entry(1, "a", "t", 5), entry(2, "a", "t", 6), entry(1, "a", "t", 7), entry(1, "a", "t", 6)];
    let outcomes = take(&entries, all).await;
    assert_eq!(outcomes, [Outcome::Added, Outcome::Added, Outcome::Changed, Outcome::Older]);
    assert_eq!(contents(&entries, &about("t")).await, ["a at 7", "a at 6"]);
    assert_eq!(take(&entries, vec![entry(1, "a", "t", 7)]).await, [Outcome::Unchanged]);
    assert_eq!(take(&entries, vec![entry(2, "a", "t", 9)]).await, [Outcome::Changed]);
    let found = entries.answer(&about("t")).await.expect("an answer");
    assert_eq!(found[0], entry(2, "a", "t", 9), "as it was, with who handed it over");
    found[0].knowledge.check(&found[0].signer.to_string(), &found[0].signer, &found[0].signature).expect("it holds");
    entries.close().await;
}

#[tokio::test]
async fn a_request_is_answered_as_the_rule_says_by_topic_and_by_vector() {
    let scratch = Scratch::new();
    let entries = open(scratch.path(), WIDE).await;
    let mut sure = entry(2, "sure", "Red Apple", 2);
    sure.knowledge.confidence = 0.9;
    let some = vec![entry(1, "near", "apple pie", 1), sure, entry(3, "other", "pear", 3), entry(3, "odd", "!?", 4)];
    take(&entries, some).await;
    assert_eq!(contents(&entries, &about("red apple")).await, ["sure at 2", "near at 1"]);
    assert_eq!(contents(&entries, &about("!?")).await, ["odd at 4"]);
    let certain = Request { min_confidence: Some(0.8), ..about("apple") };
    assert_eq!(contents(&entries, &certain).await, ["sure at 2"]);
    let basin = Request { about: About::Basin(vec![0.1, 3.0]), limit: 1, min_confidence: None };
    assert_eq!(contents(&entries, &basin).await, ["other at 3"]);
    let others = Request { about: About::Basin(vec![1.0]), limit: 10, min_confidence: None };
    assert!(contents(&entries, &others).await.is_empty());
    entries.close().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_after_a_crash() {
    use std::os::unix::fs::PermissionsExt;
    let (scratch, crashed) = (Scratch::new(), Scratch::new());
    let entries = open(scratch.path(), WIDE).await;
    take(&entries, vec![entry(1, "a", "t", 5), entry(2, "b", "t", 6)]).await;
    entries.take(vec![entry(2, "c", "t", 7)], Some((key(2).node(), "so far".to_owned()))).await.expect("taken");
    let mode = fs::metadata(scratch.path().join("knowledge.db")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // What a power cut leaves: the files as they are while the node runs.
    copy(&scratch, &crashed);
    entries.close().await;
    for folder in [&scratch, &crashed] {
        let entries = open(folder.path(), WIDE).await;
        assert_eq!(contents(&entries, &about("t")).await, ["c at 7", "b at 6", "a at 5"]);
        assert_eq!(entries.read(&key(2).node()).as_deref(), Some("so far"));
        assert_eq!(entries.written().others.entries, 2);
        entries.close().await;
    }
}

#[tokio::test]
async fn the_oldest_of_others_go_first_and_are_counted_and_ones_own_never() {
    let scratch = Scratch::new();
    let room = Room { entries: 5, bytes: 1 << 30 };
    let entries = open(scratch.path(), room).await;
    take(&entries, vec![entry(1, "own", "t", 1)]).await;
    take(&entries, (0..7).map(|number| entry(2, &format!("b{number}"), "t", 100 - number)).collect()).await;
    let written = entries.written();
    assert_eq!((written.own.entries, written.others.entries, written.dropped), (1, 4, 3));
    let kept = contents(&entries, &about("t")).await;
    assert_eq!(kept, ["b3 at 97", "b4 at 96", "b5 at 95", "b6 at 94", "own at 1"], "by when they came");
    let own = (0..5).map(|number| entry(1, &format!("own{number}"), "t", 1)).collect();
    let outcomes = take(&entries, own).await;
    assert_eq!(outcomes, [Outcome::Added, Outcome::Added, Outcome::Added, Outcome::Added, Outcome::Full]);
    let written = entries.written();
    assert_eq!((written.own.entries, written.others.entries, written.dropped), (5, 0, 7));
    assert_eq!(take(&entries, vec![entry(1, "own", "t", 2)]).await, [Outcome::Changed], "a new word has room");
    entries.close().await;

    let heavy = Scratch::new();
    let entries = open(heavy.path(), Room { entries: 1000, bytes: 2000 }).await;
    take(&entries, (0..50).map(|number| entry(2, &format!("b{number}"), "t", number)).collect()).await;
    let others = entries.written().others;
    assert!((1..10).contains(&others.entries) && others.bytes <= 2000, "{others:?}");
    entries.close().await;
}

/// All that comes after a cursor, in pages of two, and where it ended.
async fn walk(entries: &Entries, cursor: Option<Cursor>) -> Option<(Vec<String>, Cursor)> {
    let mut after = cursor.map_or(Some(0), |cursor| entries.place(cursor))?;
    let mut all = Vec::new();
    loop {
        let page = entries.since(after, 2).await.expect("a page");
        let Some((last, _)) = page.last() else { return Some((all, entries.cursor(after))) };
        after = *last;
        all.extend(page.into_iter().map(|(_, entry)| entry.knowledge.content));
    }
}

#[tokio::test]
async fn a_walk_by_cursor_gives_everything_once_and_then_only_what_changes_also_after_restarts() {
    let scratch = Scratch::new();
    let entries = open(scratch.path(), WIDE).await;
    take(&entries, (0..5).map(|number| entry(2, &format!("b{number}"), "t", number)).collect()).await;
    let (all, cursor) = walk(&entries, None).await.expect("a walk");
    assert_eq!(all, ["b0 at 0", "b1 at 1", "b2 at 2", "b3 at 3", "b4 at 4"]);
    take(&entries, vec![entry(2, "b1", "t", 50), entry(2, "b0", "t", 0)]).await;
    let (more, next) = walk(&entries, Some(cursor)).await.expect("a walk");
    assert_eq!(more, ["b1 at 50"]);
    entries.close().await;
    let entries = open(scratch.path(), WIDE).await;
    take(&entries, vec![entry(3, "new", "t", 60)]).await;
    assert_eq!(walk(&entries, Some(next)).await.expect("the same log").0, ["new at 60"]);
    assert_eq!(walk(&entries, Some(cursor)).await.expect("the same log").0, ["b1 at 50", "new at 60"]);
    assert_eq!(walk(&entries, Some(Cursor { log: next.log ^ 1, after: 0 })).await, None, "of another log");
    assert_eq!(walk(&entries, Some(entries.cursor(1000))).await, None, "beyond its end");
    entries.close().await;
}

#[tokio::test]
async fn a_cursor_of_what_an_older_copy_of_the_file_never_had_says_to_start_over() {
    let (scratch, backup) = (Scratch::new(), Scratch::new());
    let entries = open(scratch.path(), WIDE).await;
    take(&entries, vec![entry(2, "a", "t", 1)]).await;
    let (_, early) = walk(&entries, None).await.expect("a walk");
    entries.close().await;
    copy(&scratch, &backup);
    let entries = open(scratch.path(), WIDE).await;
    take(&entries, vec![entry(2, "b", "t", 2)]).await;
    let (_, late) = walk(&entries, None).await.expect("a walk");
    entries.close().await;
    // The backup is put back, and goes another way.
    let entries = open(backup.path(), WIDE).await;
    take(&entries, vec![entry(2, "c", "t", 3)]).await;
    assert_eq!(walk(&entries, Some(late)).await, None);
    assert_eq!(walk(&entries, Some(early)).await.expect("it had that").0, ["c at 3"]);
    entries.close().await;
}
