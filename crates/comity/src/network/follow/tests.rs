//! Two nodes of which one keeps to what the other's journal said: a copy within its bound, one whose author dropped what
//! was not read yet, and a head that is remembered.

use super::*;
use crate::config::{Config, Flag, Sources};
use crate::home::Home;
use crate::network::Network;
use crate::redaction::Redaction;
use crate::scratch::Scratch;
use crate::store::journal::verify;
use comity_core::journal::{Draft, EntryKind};
use comity_core::time::Timestamp;
use serde_json::json;

/// Longer than anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(scratch: &Scratch, name: &str) -> Network {
    let flag = |key: &'static str, value: &str| Flag { name: "the test", key, values: vec![value.to_owned()] };
    let flags = [
        ("name", name),
        ("http.port", "0"),
        ("http.listen", "127.0.0.1"),
        ("mdns.enabled", "false"),
        ("metrics.enabled", "false"),
        ("control.http", "false"),
        ("limits.requests_per_minute", "100000"),
        ("journal.keep", "1MiB"),
    ];
    let flags = flags.map(|(key, value)| flag(key, value)).into();
    let config = Config::read(&Sources { flags, ..Sources::default() }).expect("a valid configuration").0;
    let home = Home::lock(&scratch.path().join(name)).expect("the directory is free");
    let redaction = Redaction::open(&home, &config).expect("the rules are good");
    Network::run(home, config, Vec::new(), redaction).await.expect("the node starts")
}

/// Has both know each other, and the first let the other read its journal.
async fn introduce(ann: &Network, bob: &Network) {
    let answer = ann.0.handle.ask(Ask::Know { key: bob.node_id(), known: true }).await;
    assert!(matches!(answer, Answer::Done), "{answer:?}");
    let endpoint = ann.endpoints().into_iter().next().expect("the node listens");
    let address = endpoint.trim_start_matches("https://").parse().expect("an address");
    bob.add_peer(address).await.expect("the peer is taken up");
}

/// What keeps copies and heads for a node, besides its own.
async fn follow_of(node: &Network, scratch: &Scratch, limits: Limits) -> Follow {
    let links = node.0.running.lock().await.as_ref().expect("it runs").links.clone();
    Follow::new(&node.0.handle, &links, scratch.path(), limits)
}

/// Journals so many entries of a kilobyte.
async fn journal_some(node: &Network, entries: u64) {
    for number in 0..entries {
        let data = json!({ "number": number, "text": "x".repeat(500) });
        let data = data.as_object().cloned().expect("an object");
        let draft = Draft::new(EntryKind::NetworkEvent, Timestamp::default(), data).expect("small");
        node.journal().append(draft).await.expect("written");
    }
}

/// Waits until it goes so with the one that is followed.
async fn until(follow: &Follow, is_so: impl Fn(&Followed) -> bool) -> Followed {
    let mut changed = follow.changes();
    let coming = async {
        loop {
            changed.mark_unchanged();
            if let Some(one) = follow.list().await.into_iter().find(&is_so) {
                return one;
            }
            changed.changed().await.expect("it goes on");
        }
    };
    match tokio::time::timeout(PATIENCE, coming).await {
        Ok(one) => one,
        Err(_) => panic!("in vain: {:?}", follow.list().await),
    }
}

#[tokio::test]
async fn a_copy_stays_within_its_bound_however_much_its_author_hands_out() {
    let scratch = Scratch::new();
    let (ann, bob) = (start(&scratch, "ann").await, start(&scratch, "bob").await);
    introduce(&ann, &bob).await;
    journal_some(&ann, 800).await;
    let limits = Limits { keep: 50_000, segment: 20_000 };
    let follow = follow_of(&bob, &scratch, limits).await;
    follow.begin(ann.node_id()).await.expect("followed");
    // One answer may be more than there is room for.
    let read = until(&follow, |one| one.state.0 == Following::Current && one.size >= 800).await;
    journal_some(&ann, 10).await;
    let full = until(&follow, |one| one.detail.as_ref().is_some_and(|why| why.contains("journal.keep"))).await;
    assert_eq!((full.size, full.state.0), (read.size, Following::Waiting));
    assert_eq!(verify(Path::new(&full.folder), None, None).expect("readable").flaw, None);
}

#[tokio::test]
async fn a_copy_goes_on_after_what_its_author_dropped_before_it_was_read() {
    let scratch = Scratch::new();
    let (ann, bob) = (start(&scratch, "ann").await, start(&scratch, "bob").await);
    introduce(&ann, &bob).await;
    journal_some(&ann, 10).await;
    let follow = follow_of(&bob, &scratch, Limits::keeping(1024 * 1024)).await;
    follow.begin(ann.node_id()).await.expect("followed");
    let one = until(&follow, |one| one.state.0 == Following::Current && one.size >= 10).await;
    follow.end(ann.node_id()).await.expect("followed");
    journal_some(&ann, 2500).await;
    let first = ann.journal().figures().first;
    assert!(first > one.size, "it was dropped: {first}");
    follow.begin(ann.node_id()).await.expect("followed");
    let two = until(&follow, |two| two.state.0 == Following::Current && two.size >= 2510).await;
    assert_eq!(two.first, first);
    let folder = Path::new(&two.folder);
    let report = verify(folder, Some(ann.node_id()), ann.journal().head()).expect("readable");
    assert_eq!((report.flaw, report.first), (None, first));
    let before = verify(&folder.with_extension("before"), Some(ann.node_id()), None).expect("readable");
    assert_eq!((before.flaw, before.size), (None, one.size), "what was read before is kept");
}

#[tokio::test]
async fn a_peer_that_goes_back_on_its_journal_is_noticed_without_a_copy() {
    let scratch = Scratch::new();
    let (ann, bob) = (start(&scratch, "ann").await, start(&scratch, "bob").await);
    introduce(&ann, &bob).await;
    let watching = follow_of(&bob, &scratch, Limits::default()).await;
    journal_some(&ann, 10).await;
    watching.resume(None, None);
    let has_heard = || watching.heads().known(&ann.node_id()).is_some_and(|known| known.size >= 10);
    let mut changed = watching.changes();
    tokio::time::timeout(PATIENCE, changed.wait_for(|()| has_heard())).await.expect("it asks").expect("it runs");
    // It is remembered across restarts.
    let kept = watching.heads().to_value();
    let again = follow_of(&bob, &scratch, Limits::default()).await;
    let (key, folder) = (ann.node_id(), ann.data_dir().join("journal"));
    ann.leave("done").await;
    drop(ann);
    std::fs::remove_dir_all(folder).expect("it is ours");
    let ann = start(&scratch, "ann").await;
    introduce(&ann, &bob).await;
    again.resume(None, Some(&kept));
    let is_noticed =
        |follow: &Follow| matches!(follow.verdict(), Verdict::Degraded(why) if why.contains("another journal"));
    let mut changed = again.changes();
    let noticed = tokio::time::timeout(PATIENCE, changed.wait_for(|()| is_noticed(&again))).await.is_ok();
    assert!(noticed, "{:?}", again.verdict());
    // What it tells from now on is held against this.
    assert_eq!(again.heads().known(&key).map(|head| head.journal), ann.journal().head().map(|head| head.journal));
}
