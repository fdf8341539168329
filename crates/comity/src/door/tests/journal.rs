//! Who reaches what of the journal at the network door.

use super::*;
use crate::scratch::Scratch;
use crate::store::journal::{Journal, Limits};
use axum::http::Request;
use comity_core::journal::{Draft, EntryKind, Follower, Told};
use comity_core::wire::journal as wire;

/// A node with a journal of some entries, in groups of one.
async fn home_with(entries: u64) -> (Home, Journal, Scratch) {
    let scratch = Scratch::new();
    let key = KeyPair::from_seed([1; 32]);
    let limits = Limits { keep: 200_000, segment: 50_000 };
    let (journal, _) = Journal::open(&scratch.path().join("journal"), key, limits).expect("a journal");
    for number in 0..entries {
        let data = json!({ "number": number, "text": "x".repeat(300) });
        let data = data.as_object().cloned().expect("an object");
        let draft = Draft::new(EntryKind::NetworkEvent, Clock::start().now().wall, data).expect("small");
        journal.append(draft).await.expect("written");
    }
    let mut home = Home::open().await;
    let links = Links::new(home.handle.clone(), home.tls.clone(), Some(Ice::default()));
    let config = Config::from(&crate::config::Config::default());
    home.router =
        network(home.handle.clone(), links, Behind { journal: Some(journal.clone()), ..Behind::default() }, config);
    (home, journal, scratch)
}

async fn know(home: &Home, seed: u8) {
    assert!(matches!(home.handle.ask(Ask::Know { key: node_id(seed), known: true }).await, Answer::Done));
    home.handle.look().await;
}

const NEAR: [u8; 4] = [192, 168, 1, 5];

#[tokio::test]
async fn heads_are_for_whoever_proves_a_key_and_entries_for_known_nodes() {
    let (home, journal, _scratch) = home_with(3).await;
    let get = async |caller, path| home.ask(caller, Request::get(path), Body::empty()).await;
    let [head, lines, growth] =
        ["/dashflow/journal", "/dashflow/journal/lines?from=0", "/dashflow/journal/growth?from=1&to=3"];
    for path in [head, lines, growth] {
        assert_eq!(get(neighbour(), path).await.problem(), (401, "bad_signature".to_owned()), "{path}");
    }
    let told = get(keyed(NEAR, 2), head).await.json();
    assert_eq!(wire::read_head(&told["head"]).ok(), journal.head());
    for path in [lines, growth] {
        assert_eq!(get(keyed(NEAR, 2), path).await.problem(), (403, "forbidden".to_owned()), "{path}");
    }
    know(&home, 2).await;
    let read = get(keyed(NEAR, 2), lines).await;
    assert_eq!((read.status, read.text.lines().count()), (200, 3));
    let proof = get(keyed(NEAR, 2), growth).await.json();
    let proof = wire::read_consistency(&proof).expect("a proof");
    assert_eq!((proof.from, proof.to), (1, 3));
    for wrong in [
        "/dashflow/journal/lines",
        "/dashflow/journal/lines?from=x",
        "/dashflow/journal/lines?from=0&more=1",
        "/dashflow/journal/growth?from=0&to=3",
        "/dashflow/journal/growth?from=3&to=1",
    ] {
        assert_eq!(get(keyed(NEAR, 2), wrong).await.problem().0, 400, "{wrong}");
    }
    assert_eq!(get(keyed(NEAR, 2), "/dashflow/journal/growth?from=1&to=9").await.problem().0, 409);
    assert_eq!(get(keyed(NEAR, 2), "/dashflow/journal/lines?from=3").await.text, "", "there is none yet");
}

#[tokio::test]
async fn news_are_waited_for() {
    let (home, journal, _scratch) = home_with(1).await;
    let request = Request::get("/dashflow/journal?after=1&wait=20");
    let asking = home.ask(keyed(NEAR, 2), request, Body::empty());
    let writing = async {
        let draft = Draft::new(EntryKind::NetworkEvent, Clock::start().now().wall, serde_json::Map::new());
        journal.append(draft.expect("small")).await.expect("written");
    };
    let (answer, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(asking, writing) }).await.expect("news");
    assert_eq!(answer.json()["head"]["size"], 2);
    let none = home.ask(keyed(NEAR, 2), Request::get("/dashflow/journal?after=2&wait=0"), Body::empty()).await;
    assert_eq!(none.json()["head"]["size"], 2, "there are none");
}

#[tokio::test]
async fn who_begins_late_is_handed_the_checkpoint_and_what_is_left_in_bounded_pieces() {
    let (home, journal, _scratch) = home_with(1500).await;
    let first = journal.range().start;
    assert!(first > 0, "the oldest were dropped");
    know(&home, 2).await;
    let mut follower = Follower::new(journal.head().expect("a head").author);
    follower.handle_head(journal.head().expect("a head"), Told::Now).expect("new");
    let read = home.ask(keyed(NEAR, 2), Request::get("/dashflow/journal/lines?from=0"), Body::empty()).await;
    let (checkpoint, lines) = read.text.split_once('\n').expect("lines");
    follower.handle_checkpoint(&wire::read_checkpoint(checkpoint.as_bytes()).expect("one")).expect("right");
    let read = follower.handle_lines(lines.as_bytes()).expect("right");
    assert!(lines.len() <= 1024 * 1024 && read.next > first);
    assert_eq!(read.next, 1500);
}
