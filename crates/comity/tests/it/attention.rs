//! The inbox, the digest and the attention modes.

use crate::world::{Scratch, eventually, introduce, soon, start, two};
use comity::network::{Bug, Status, Suggestion};
use comity::{Kind, Mode, Network, Priority};
use serde_json::{Value, json};

/// Sends one message of each priority and waits until the last is taken in.
async fn send_each(from: &Network, to: &Network) {
    for priority in [Priority::Background, Priority::Normal, Priority::Critical] {
        let sent = from.send_to(to.id(), "custom:x", priority.name(), priority).await.expect("it is sent");
        eventually("it is taken in", async || !to.why(sent.id).await.is_empty()).await;
    }
}

async fn inbox(node: &Network) -> Vec<Value> {
    let items = node.peek_messages(0, 100).await.expect("the inbox");
    items.iter().map(|item| item.payload()).collect()
}

async fn digested(node: &Network) -> u64 {
    node.digest().await.expect("the digest").by_kind.values().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_lets_through_what_it_should() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let table = [
        (Mode::Realtime, vec!["background", "normal", "critical"], 0, 0),
        (Mode::Focused, vec!["critical"], 1, 1),
        (Mode::Minimal, vec!["critical"], 0, 2),
    ];
    for (mode, at_once, kept, counted) in table {
        other.set_attention_mode(mode).await.expect("it is set");
        assert_eq!(other.attention_mode().await, mode);
        let mut messages = other.messages().await;
        let before = digested(&other).await;
        send_each(&one, &other).await;
        for expected in at_once {
            assert_eq!(soon(messages.next()).await.expect("a message").payload(), expected, "{mode:?}");
        }
        assert_eq!(inbox(&other).await.len(), kept, "{mode:?}");
        assert_eq!(digested(&other).await - before, counted, "{mode:?}");
        while other.next_message().await.expect("the inbox").is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_urgent_is_taken_first_and_what_is_acknowledged_is_gone() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    one.send_to(other.id(), "custom:x", "first", Priority::Normal).await.expect("it is sent");
    one.send_to(other.id(), "custom:x", "second", Priority::Normal).await.expect("it is sent");
    // Nobody listens, so that what should interrupt is kept.
    one.send_to(other.id(), "custom:x", "urgent", Priority::Critical).await.expect("it is sent");
    eventually("all are there", async || inbox(&other).await.len() == 3).await;
    let taken = other.next_message().await.expect("the inbox").expect("a message");
    assert_eq!(taken.payload(), "urgent");
    let rest = other.peek_messages(0, 10).await.expect("the inbox");
    let arrivals: Vec<u64> = rest.iter().filter_map(|message| message.arrival()).collect();
    assert!(arrivals.is_sorted());
    other.ack(&arrivals[..1]).await.expect("it is taken");
    assert_eq!(inbox(&other).await, [json!("second")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inbox_the_mode_and_the_subscriptions_survive_a_restart() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    other.subscribe("custom:kept").await.expect("it is subscribed");
    one.send_to(other.id(), "custom:x", "still here", Priority::Normal).await.expect("it is sent");
    eventually("it is there", async || inbox(&other).await.len() == 1).await;
    other.set_attention_mode(Mode::Minimal).await.expect("it is set");
    other.leave("restart").await;
    let other = start(scratch.path(), "other").await;
    assert_eq!(inbox(&other).await, [json!("still here")]);
    assert_eq!(other.attention_mode().await, Mode::Minimal);
    introduce(&one, &other).await;
    eventually("the subscription is told", async || {
        one.broadcast("custom:kept", 1, Priority::Critical).await.is_ok_and(|sent| sent.peers == 1)
    })
    .await;
    assert!(other.unsubscribe("custom:other").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_over_and_not_read_waits_in_the_inbox() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let messages = other.messages().await;
    let sent = one.send_to(other.id(), "custom:x", "unread", Priority::Critical).await.expect("it is sent");
    eventually("it is handed over", async || !other.why(sent.id).await.is_empty()).await;
    drop(messages);
    eventually("it is kept", async || inbox(&other).await == [json!("unread")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_counts_what_was_said_and_taking_it_begins_anew() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    other.set_attention_mode(Mode::Minimal).await.expect("it is set");
    one.broadcast_status(&Status { working_on: "tests".into(), progress: Some(0.5), details: None })
        .await
        .expect("sent");
    one.send_suggestion(&Suggestion { suggestion: "rest".into(), ..Suggestion::default() }).await.expect("sent");
    one.send_bug_report(&Bug { bug: "none".into(), ..Bug::default() }).await.expect("sent");
    one.report_llm_usage(&Default::default()).await.expect("sent");
    eventually("all are counted", async || digested(&other).await >= 4).await;
    let digest = other.take_digest().await.expect("the digest");
    for kind in [Kind::Status, Kind::Suggestion, Kind::Bug] {
        assert!(digest.by_kind.get(&kind).is_some_and(|count| *count >= 1), "{digest:?}");
    }
    assert_eq!(digested(&other).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_shown_to_others_until_it_is_cleared() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let shown = async || other.peers().await.into_iter().find(|peer| peer.id == one.id()).and_then(|peer| peer.status);
    one.set_status(&Status { working_on: "tests".into(), ..Status::default() }).await.expect("it is set");
    eventually("it is shown", async || shown().await.is_some_and(|status| status["working_on"] == "tests")).await;
    one.clear_status().await.expect("it is cleared");
    eventually("it is gone", async || shown().await.is_none()).await;
}
