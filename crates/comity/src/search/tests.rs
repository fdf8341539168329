//! The index on a real disk: what was acknowledged is found, whatever happens to the process and to its files.

use super::change::Prepared;
use super::index::{Found, Index, Outcome, Question};
use super::restoring::IndexOpenError;
use super::whereabouts::Places;
use crate::scratch::Scratch;
use crate::store::documents::Standing;
use comity_core::basin::filter::Filters;
use comity_core::basin::settings::ENCODER;
use comity_core::basin::{DocId, Metadata, Metric, Projection, Record, Settings, encoder};
use comity_core::identity::key::KeyPair;
use comity_core::time::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const DIMENSION: usize = 32;

fn settings() -> Settings {
    Settings::new(DIMENSION, Metric::default(), Projection::Sphere, ENCODER).expect("settings")
}

fn keys() -> KeyPair {
    KeyPair::from_seed([1; 32])
}

/// An index whose clock says what the test wants.
async fn open_at(folder: &Path, clock: Arc<AtomicU64>) -> Index {
    let now = move || Timestamp::from_millis(clock.load(Ordering::Relaxed));
    Index::open(folder, settings(), keys(), now).await.expect("an index")
}

async fn open(folder: &Path) -> Index {
    open_at(folder, Arc::new(AtomicU64::new(1_000))).await
}

fn id(name: &str) -> DocId {
    name.parse().expect("a name")
}

/// A document of these words.
fn document(name: &str, words: &str) -> Prepared {
    let members = json!({"title": words, "kind": "text", "half": name.len() % 2});
    let metadata = Metadata::parse(&members.to_string()).expect("metadata");
    let vector = encoder::encode(words, DIMENSION).expect("words");
    Prepared { doc_id: id(name), vector, metadata, url: Some(format!("u:{name}")), excerpt: None, file: None }
}

fn question(words: &str, filters: &[&str]) -> Question {
    let unit = settings().unit(&encoder::encode(words, DIMENSION).expect("words")).expect("a point");
    let filters = Filters::parse(filters.iter().copied()).expect("filters");
    Question { unit, limit: 10, filters, sources: None }
}

async fn found(index: &Index, words: &str) -> Vec<Found> {
    index.search(question(words, &[])).await.expect("an answer")
}

fn names(found: &[Found]) -> Vec<&str> {
    found.iter().map(|one| one.doc_id.as_str()).collect()
}

#[tokio::test]
async fn a_document_is_found_as_it_was_put_last_and_not_when_it_is_deleted() {
    let scratch = Scratch::new();
    let index = open(scratch.path()).await;
    let put = index.put(vec![document("a", "red apple"), document("b", "green pear")]).await.expect("put");
    assert_eq!(put, [Outcome::Added, Outcome::Added]);
    let near = found(&index, "red apple").await;
    assert_eq!(names(&near)[0], "a");
    assert!(near[0].distance < 1e-3 && near[1].distance > 0.5, "{near:?}");

    let again = index.put(vec![document("a", "red apple"), document("b", "blue plum")]).await.expect("put");
    assert_eq!(again, [Outcome::Unchanged, Outcome::Changed]);
    assert!(found(&index, "green pear").await.iter().all(|one| one.distance > 0.5));
    assert_eq!(names(&found(&index, "blue plum").await)[0], "b");

    let gone = index.delete(vec![id("a"), id("nobody")]).await.expect("deleted");
    assert_eq!(gone, [Outcome::Deleted, Outcome::Unchanged]);
    assert_eq!(names(&found(&index, "red apple").await), ["b"]);
    assert_eq!(index.counts().await.expect("counts"), BTreeMap::from([(0, (1, 1))]));
    index.close().await;
}

#[tokio::test]
async fn of_several_changes_of_one_document_at_once_the_last_counts() {
    let scratch = Scratch::new();
    let index = open(scratch.path()).await;
    let all = vec![document("a", "one"), document("a", "two"), document("b", "three"), document("a", "four")];
    let outcomes = index.put(all).await.expect("put");
    assert_eq!(outcomes, [Outcome::Added, Outcome::Changed, Outcome::Added, Outcome::Changed]);
    assert_eq!(names(&found(&index, "four").await), ["a", "b"]);
    let since = index.since(0, 10).await.expect("a part of the log");
    let versions: Vec<_> = since.iter().map(|(whole, _)| (whole.doc_id.as_str(), whole.version)).collect();
    assert_eq!(versions, [("a", 3), ("b", 1)]);
    index.close().await;
}

#[tokio::test]
async fn a_filter_lets_only_documents_through_that_have_all_of_it() {
    let scratch = Scratch::new();
    let index = open(scratch.path()).await;
    let all = (0..300).map(|number| document(&"x".repeat(1 + number % 99), &format!("word{}", number % 99)));
    index.put(all.take(99).collect()).await.expect("put");
    let found = index.search(question("word5", &["half=1", "kind=text"])).await.expect("an answer");
    assert_eq!(found.len(), 10);
    assert!(found.iter().all(|one| one.doc_id.len() % 2 == 1), "{found:?}");
    let one = index.search(question("word5", &["title=word7"])).await.expect("an answer");
    assert_eq!(names(&one), ["x".repeat(8)]);
    let none = index.search(question("word5", &["half=1", "title=word7"])).await.expect("an answer");
    assert!(none.is_empty());
    index.close().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_found_after_a_restart_after_a_crash_and_without_the_graph() {
    let (scratch, crashed) = (Scratch::new(), Scratch::new());
    let index = open(scratch.path()).await;
    let all: Vec<_> = (0..200).map(|number| document(&format!("d{number}"), &format!("word{number}"))).collect();
    index.put(all).await.expect("put");
    index.delete((0..50).map(|number| id(&format!("d{number}"))).collect()).await.expect("deleted");
    // What a crash leaves: the files as they are now, without a graph.
    for file in std::fs::read_dir(scratch.path()).expect("a folder").flatten() {
        std::fs::copy(file.path(), crashed.path().join(file.file_name())).expect("a copy");
    }
    index.close().await;

    let graph = scratch.path().join("graph");
    let whole = std::fs::read(&graph).expect("the graph was written");
    for damage in ["none", "flipped", "cut", "gone"] {
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        match damage {
            "flipped" => bytes[middle] ^= 1,
            "cut" => bytes.truncate(middle),
            _ => {}
        }
        std::fs::write(&graph, bytes).expect("written");
        if damage == "gone" {
            std::fs::remove_file(&graph).expect("removed");
        }
        holds(scratch.path(), damage).await;
    }
    holds(crashed.path(), "crashed").await;
}

/// Whether documents 50 to 199 are found, and no others.
async fn holds(folder: &Path, what: &str) {
    let index = open(folder).await;
    for number in [0, 49, 50, 120, 199] {
        let near = found(&index, &format!("word{number}")).await;
        let exactly: Vec<_> = near.iter().filter(|one| one.distance < 1e-3).map(|one| one.doc_id.as_str()).collect();
        let name = format!("d{number}");
        assert_eq!(exactly.contains(&name.as_str()), number >= 50, "{what}: {number}: {near:?}");
    }
    // Places are used again, and what was changed then is caught up from a graph that is older.
    let put = (0..60).map(|number| document(&format!("n{number}"), &format!("new{number}"))).collect();
    index.put(put).await.expect("put");
    assert_eq!(names(&found(&index, "new7").await)[0], "n7", "{what}");
    index.delete((0..60).map(|number| id(&format!("n{number}"))).collect()).await.expect("deleted");
    index.close().await;
}

#[tokio::test]
async fn an_index_for_other_vectors_is_refused_by_name() {
    let scratch = Scratch::new();
    open(scratch.path()).await.close().await;
    let other = Settings::new(DIMENSION, Metric::default(), Projection::Simplex, ENCODER).expect("settings");
    let refused = Index::open(scratch.path(), other, keys(), || Timestamp::from_millis(1)).await;
    let Err(refused @ IndexOpenError::Settings { .. }) = refused else { panic!("{refused:?}") };
    assert!(refused.to_string().contains("simplex") && refused.to_string().contains("sphere"), "{refused}");
}

#[tokio::test]
async fn a_folder_put_back_to_an_older_state_has_another_log_and_one_that_went_on_has_not() {
    let (scratch, backup) = (Scratch::new(), Scratch::new());
    let index = open(scratch.path()).await;
    index.put(vec![document("a", "one")]).await.expect("put");
    let log = index.log();
    index.close().await;
    let index = open(scratch.path()).await;
    assert_eq!(index.log(), log, "a restart keeps the log");
    index.close().await;
    std::fs::copy(scratch.path().join("mesh.db"), backup.path().join("mesh.db")).expect("a copy");
    let index = open(scratch.path()).await;
    index.put(vec![document("b", "two")]).await.expect("put");
    index.close().await;
    std::fs::copy(backup.path().join("mesh.db"), scratch.path().join("mesh.db")).expect("put back");
    let index = open(scratch.path()).await;
    assert_ne!(index.log(), log);
    assert_eq!(names(&found(&index, "one").await), ["a"]);
    index.close().await;
}

/// Reads the log page by page until nothing is left, as another node does.
async fn walk(index: &Index, after: &mut u64, limit: usize, held: &mut BTreeMap<String, Option<Record>>) {
    loop {
        let since = index.since(*after, limit).await.expect("a part of the log");
        if since.is_empty() {
            return;
        }
        for (whole, vector) in since {
            assert!(whole.seq > *after, "given twice");
            *after = whole.seq;
            let record = super::mesh::record(whole, vector, keys().node(), ENCODER).expect("whole");
            record.check(&settings(), &keys().node()).expect("its numbers are its own");
            let before = held.get(record.doc_id.as_str()).cloned().flatten();
            assert!(before.is_none_or(|before| before.version < record.version), "an old state came later");
            held.insert(record.doc_id.to_string(), Some(record));
        }
    }
}

/// One history: writers, a clock that jumps, and a reader who walks meanwhile.
async fn history(seed: u64) {
    let scratch = Scratch::new();
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let index = open_at(scratch.path(), clock.clone()).await;
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (index, clock) = (index.clone(), clock.clone());
            tokio::spawn(async move {
                let mut random = StdRng::seed_from_u64(seed * 10 + writer);
                for _ in 0..8 {
                    clock.store(random.random_range(500_000..1_500_000), Ordering::Relaxed);
                    let names: Vec<String> =
                        (0..random.random_range(1..6)).map(|_| format!("d{}", random.random_range(0..12))).collect();
                    if random.random_bool(0.3) {
                        index.delete(names.iter().map(|name| id(name)).collect()).await.expect("deleted");
                    } else {
                        let put = |name: &String| document(name, &format!("word{}", random.random_range(0..50)));
                        index.put(names.iter().map(put).collect()).await.expect("put");
                    }
                }
            })
        })
        .collect();
    let (mut after, mut held) = (0, BTreeMap::new());
    let mut random = StdRng::seed_from_u64(seed);
    while writers.iter().any(|writer| !writer.is_finished()) {
        walk(&index, &mut after, random.random_range(1..5), &mut held).await;
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    walk(&index, &mut after, 3, &mut held).await;

    let walked: BTreeMap<String, u64> = held
        .values()
        .flatten()
        .filter(|record| !record.deleted)
        .map(|record| (record.doc_id.to_string(), record.version))
        .collect();
    let listed = index.list(("", &Standing::default()), true, 1000).await.expect("a list");
    let listed: BTreeMap<String, u64> = listed.into_iter().map(|one| (one.doc_id, one.version)).collect();
    assert_eq!(walked, listed, "seed {seed}");
    index.close().await;
}

/// So many in every run; `COMITY_HISTORIES` asks for more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_by_cursor_during_changes_and_clocks_set_back_ends_with_what_is_there() {
    let wanted = std::env::var("COMITY_HISTORIES").ok().and_then(|wanted| wanted.parse().ok());
    for seed in 0..wanted.unwrap_or(20) {
        history(seed).await;
    }
}

#[tokio::test]
async fn a_start_by_time_gives_all_that_was_changed_since_also_when_the_clock_went_back() {
    let scratch = Scratch::new();
    let clock = Arc::new(AtomicU64::new(1_000));
    let index = open_at(scratch.path(), clock.clone()).await;
    index.put(vec![document("a", "one")]).await.expect("put");
    clock.store(5_000, Ordering::Relaxed);
    index.put(vec![document("b", "two")]).await.expect("put");
    clock.store(2_000, Ordering::Relaxed);
    index.put(vec![document("c", "three")]).await.expect("put");
    let since = |time| {
        let index = index.clone();
        async move {
            let after = index.before(Timestamp::from_millis(time)).await.expect("a place");
            let since = index.since(after, 10).await.expect("a part of the log");
            since.iter().map(|(whole, _)| whole.doc_id.clone()).collect::<Vec<_>>().join("")
        }
    };
    assert_eq!(since(0).await, "abc");
    assert_eq!(since(1_500).await, "bc");
    assert_eq!(since(4_000).await, "bc", "what came after the clock went back is not lost");
    assert_eq!(since(6_000).await, "");
    index.close().await;
}

#[tokio::test]
async fn documents_of_another_node_stand_beside_ones_own_and_only_newer_ones_count() {
    let scratch = Scratch::new();
    let index = open(scratch.path()).await;
    let other = KeyPair::from_seed([2; 32]);
    let record = |words: &str, version| {
        let draft = comity_core::basin::Draft {
            doc_id: id("a"),
            vector: Some(encoder::encode(words, DIMENSION).expect("words")),
            metadata: Metadata::default(),
            version,
            timestamp: Timestamp::from_millis(1),
        };
        Record::sign(draft, &settings(), &other).expect("signed")
    };
    index.put(vec![document("a", "mine")]).await.expect("put");
    let take = |records| index.take(other.node(), records, (Some("c1".to_owned()), false));
    assert_eq!(take(vec![record("yours", 2)]).await.expect("taken"), [Outcome::Added]);
    assert_eq!(take(vec![record("older", 1), record("yours", 2)]).await.expect("taken"), [Outcome::Unchanged; 2]);
    assert_eq!(index.cursor(&other.node()).as_deref(), Some("c1"));
    assert_eq!(names(&found(&index, "mine").await), ["a", "a"]);
    assert_eq!(found(&index, "yours").await[0].source, 1);
    assert_eq!(index.since(0, 10).await.expect("the log").len(), 1, "others' documents are not told as ours");
    let anew = index.take(other.node(), vec![record("anew", 1)], (None, true)).await.expect("taken");
    assert_eq!(anew, [Outcome::Changed], "a node that lost its disk counts anew");
    index.forget_but(other.node(), &std::collections::BTreeSet::new()).await.expect("forgotten");
    assert_eq!(names(&found(&index, "anew").await), ["a"]);
    index.close().await;
}

#[tokio::test]
async fn after_a_change_of_keys_documents_are_signed_anew_and_keep_what_was_known_of_them() {
    let scratch = Scratch::new();
    let index = open(scratch.path()).await;
    index.put(vec![document("a", "one"), document("b", "two"), document("c", "three")]).await.expect("put");
    index.delete(vec![id("b")]).await.expect("deleted");
    index.close().await;
    let new = KeyPair::from_seed([9; 32]);
    let index =
        Index::open(scratch.path(), settings(), new.clone(), || Timestamp::from_millis(1)).await.expect("an index");
    let logged = index.since(0, 10).await.expect("the log");
    let old: Vec<_> = logged.into_iter().map(|(whole, vector)| (id(&whole.doc_id), vector)).collect();
    assert_eq!(old.len(), 3);
    index.sign(old).await.expect("signed");
    let logged = index.since(0, 10).await.expect("the log");
    assert_eq!(logged.len(), 3);
    for (whole, vector) in logged {
        let record = super::mesh::record(whole, vector, new.node(), ENCODER).expect("whole");
        record.check(&settings(), &new.node()).expect("signed by the new key");
    }
    assert_eq!(names(&found(&index, "one").await), ["a", "c"]);
    assert_eq!(index.list(("u:", &Standing::default()), true, 10).await.expect("a list").len(), 2);
    index.close().await;
}

#[tokio::test]
async fn a_list_in_pages_has_every_document_once_also_where_several_have_one_url() {
    let scratch = Scratch::new();
    let index = open(scratch.path()).await;
    let at = |name: &str, url: Option<&str>| Prepared { url: url.map(str::to_owned), ..document(name, name) };
    let all = vec![at("d", Some("u")), at("b", Some("u")), at("u", None), at("a", Some("v")), at("c", Some("u"))];
    index.put(all).await.expect("put");
    for limit in 1..=6 {
        let (mut after, mut seen) = (Standing::default(), Vec::new());
        loop {
            let page = index.list(("", &after), true, limit).await.expect("a list");
            seen.extend(page.iter().map(|one| one.doc_id.clone()));
            match page.last() {
                Some(last) => after = last.standing(),
                None => break,
            }
        }
        assert_eq!(seen, ["b", "c", "d", "u", "a"], "pages of {limit}");
    }
    index.close().await;
}

#[tokio::test]
async fn where_documents_lie_is_known_as_they_come_and_go_and_after_a_restart_with_and_without_its_file() {
    let scratch = Scratch::new();
    let index = open(scratch.path()).await;
    let places = |index: &Index| index.places().borrow().clone();
    assert_eq!(places(&index), Places::default());
    index.put(vec![document("a", "red apple"), document("b", "green pear")]).await.expect("put");
    let both = places(&index);
    assert_eq!((both.signature.len(), both.centroids.len()), (DIMENSION, 2));
    index.put(vec![document("b", "red apple")]).await.expect("put");
    let apples = settings().unit(&encoder::encode("red apple", DIMENSION).expect("words")).expect("a point");
    let near = |point: &[f32]| comity_core::basin::settings::distance(point, &apples) < 1e-3;
    assert!(near(&places(&index).signature), "the pear is gone");
    index.delete(vec![id("a")]).await.expect("deleted");
    let kept = places(&index);
    assert!(kept.centroids.len() == 1 && near(&kept.centroids[0]), "{kept:?}");
    index.close().await;
    let index = open(scratch.path()).await;
    assert_eq!(places(&index), kept);
    index.close().await;
    std::fs::write(scratch.path().join("spread"), "torn").expect("it is ours");
    let index = open(scratch.path()).await;
    assert!(near(&places(&index).signature) && places(&index).centroids.len() == 1, "made anew");
    index.delete(vec![id("b")]).await.expect("deleted");
    assert_eq!(places(&index), Places::default());
    index.close().await;
}
