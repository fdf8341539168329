//! Nodes that meet, part, and share a key by mistake.

use crate::world::{Scratch, acquainted, address, config, eventually, introduce, soon, start, two};
use comity::home::{Home, HomeError};
use comity::network::{Error, PeerChange};
use comity::redaction::Redaction;
use comity::{AppConfig, Network, Presence, Refusal, Source, Trust};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_of_which_one_names_the_other_know_each_other_proven() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let seen = other.peers().await.into_iter().find(|peer| peer.id == one.id()).expect("it is known");
    assert_eq!((seen.name.as_str(), seen.trust, seen.key), ("one", Trust::Verified, Some(one.node_id())));
    assert!(seen.reach.inbound && seen.sources.contains(&Source::Inbound));
    let seen = one.peer_named("other").await.expect("it is known by its name");
    assert_eq!((seen.id, seen.reach.name()), (other.id(), "both"));
    assert!(one.peers_with_capability("search").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_know_each_other_through_the_one_in_the_middle() {
    let scratch = Scratch::new();
    let (one, middle, other) =
        tokio::join!(start(scratch.path(), "one"), start(scratch.path(), "middle"), start(scratch.path(), "other"));
    introduce(&one, &middle).await;
    introduce(&other, &middle).await;
    acquainted(&one, other.id()).await;
    acquainted(&other, one.id()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_is_seen_by_the_others() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let mut changes = one.peer_changes();
    other.leave("done for today").await;
    let goodbye = soon(async {
        loop {
            match changes.next().await {
                Some(PeerChange::Left { peer, goodbye, .. }) if peer == other.id() => break goodbye,
                Some(_) => {}
                None => break false,
            }
        }
    })
    .await;
    assert!(goodbye);
    let presence = one.peers().await.into_iter().find(|peer| peer.id == other.id()).map(|peer| peer.presence);
    assert_eq!(presence, Some(Presence::Offline));
    let refused = one.send_to(other.id(), "custom:x", "too late", comity::Priority::Normal).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::Unreachable))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_left_refuses_and_frees_its_directory() {
    let scratch = Scratch::new();
    let node = start(scratch.path(), "one").await;
    let mut changes = node.peer_changes();
    let feed = node.feed(None, "custom:x", comity::Priority::Normal).expect("a channel");
    feed.send(1).await.expect("it is taken");
    node.leave("bye").await;
    node.leave("bye again").await;
    assert!(matches!(node.digest().await, Err(Error::Refused(Refusal::Leaving))));
    assert!(matches!(feed.send(2).await, Err(Error::Refused(Refusal::Leaving))));
    assert_eq!(soon(changes.next()).await, None);
    let again = start(scratch.path(), "one").await;
    assert_eq!(again.id(), node.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_node_lets_go_of_its_directory_and_links() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let gone = other.id();
    drop(other);
    eventually("the link is lost", async || {
        one.peers().await.iter().any(|peer| peer.id == gone && peer.presence != Presence::Online)
    })
    .await;
    eventually("the directory is free", async || Home::lock(&scratch.path().join("other")).is_ok()).await;
}

// On one thread: nothing else runs between the drop and the look at the lock.
#[tokio::test]
async fn a_dropped_node_keeps_its_directory_until_all_is_written() {
    let scratch = Scratch::new();
    drop(start(scratch.path(), "one").await);
    let held = Home::lock(&scratch.path().join("one"));
    assert!(matches!(held, Err(HomeError::InUse { .. })), "{held:?}");
    eventually("the directory is free", async || Home::lock(&scratch.path().join("one")).is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_ends_although_nobody_waits_for_it() {
    let scratch = Scratch::new();
    let node = start(scratch.path(), "one").await;
    let leaving = tokio::time::timeout(Duration::ZERO, node.leave("in a hurry"));
    assert!(leaving.await.is_err(), "a goodbye takes some time");
    assert_eq!(soon(node.twin()).await, None, "the node has ended");
    eventually("the directory is free", async || Home::lock(&scratch.path().join("one")).is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_the_same_key_is_refused() {
    let scratch = Scratch::new();
    let one = start(scratch.path(), "one").await;
    std::fs::create_dir(scratch.path().join("twin")).expect("a directory");
    std::fs::copy(scratch.path().join("one/node.key"), scratch.path().join("twin/node.key")).expect("a copy");
    let home = Home::lock(&scratch.path().join("twin")).expect("the directory is free");
    let redaction = Redaction::with(None);
    let twin = Network::run(home, config("twin"), Vec::new(), redaction).await.expect("the node starts");
    twin.add_peer(address(&one)).await.expect("the peer is taken up");
    let found = soon(twin.twin()).await;
    assert_eq!(found, Some(address(&one)));
    assert!(one.peers().await.is_empty() && twin.peers().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_with_an_impossible_name_is_told_so() {
    let app = AppConfig { name: "x".repeat(129), ..AppConfig::default() };
    let refused = Network::join(app).await.expect_err("the name is too long").to_string();
    assert!(refused.contains("name"), "{refused}");
}
