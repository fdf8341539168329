//! Messages, questions and answers between nodes.

use crate::world::{Scratch, eventually, introduce, soon, start, start_with, two};
use comity::network::Error;
use comity::{FateKind, Kind, Message, Mode, Network, PeerId, Priority, Refusal, Trust, Via};
use serde_json::json;
use std::time::Duration;

async fn fates(node: &Network, message: comity::MessageId) -> Vec<FateKind> {
    node.why(message).await.into_iter().map(|fate| fate.kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_arrives_once_with_what_is_proven_of_its_sender() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let mut messages = other.messages().await;
    let payload = json!({ "text": "hello", "n": [1, 2.5, null] });
    let sent = one.send_to(other.id(), "custom:room", &payload, Priority::Critical).await.expect("it is sent");
    assert_eq!(sent.peers, 1);
    let message = soon(messages.next()).await.expect("a message");
    assert_eq!((message.id(), message.from(), message.payload()), (Some(sent.id), one.id(), payload));
    assert_eq!((message.trust(), message.key(), message.via()), (Trust::Verified, Some(one.node_id()), Via::Link));
    assert_eq!((message.channel().name(), message.is_direct()), ("custom:room", true));
    eventually("its fate is told to the sender", async || fates(&one, sent.id).await.contains(&FateKind::Delivered))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_any_size_that_is_taken_arrives_and_one_too_large_is_refused_at_once() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let mut messages = other.messages().await;
    // A number takes nine bytes on most links, and twice as many where its message travels as text.
    let numbers = |count: u32| (0..count).map(|number| f64::from(number).sqrt()).collect::<Vec<_>>();
    let refused = one.send_to(other.id(), "custom:x", numbers(28_000), Priority::Critical).await;
    assert!(matches!(refused, Err(Error::Payload(_))), "{refused:?}");
    let feed = one.feed(Some(other.id()), "custom:x", Priority::Critical).expect("a channel");
    assert!(matches!(feed.send(numbers(28_000)).await, Err(Error::Payload(_))));
    for payload in [json!(numbers(7_000)), json!(numbers(13_000)), json!("\u{1}".repeat(43_000))] {
        one.send_to(other.id(), "custom:x", &payload, Priority::Critical).await.expect("it is sent");
        assert!(soon(messages.next()).await.expect("a message").payload() == payload);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_reaches_those_who_listen_and_only_them() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let third = start(scratch.path(), "third").await;
    introduce(&one, &third).await;
    third.set_attention_mode(Mode::Realtime).await.expect("it is set");
    let mut heard = third.messages_on("custom:news").await.expect("it is subscribed");
    eventually("the subscription is known", async || {
        one.broadcast("custom:news", "anybody?", Priority::Normal).await.is_ok_and(|sent| sent.peers == 1)
    })
    .await;
    one.broadcast("custom:news", "the news", Priority::Normal).await.expect("it is sent");
    while soon(heard.next()).await.expect("a message").payload() != "the news" {}
    assert_eq!(other.peek_messages(0, 10).await.expect("the inbox"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_message_is_read_by_its_receiver_alone() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let secret = json!({ "password": "swordfish" });
    one.send_encrypted(other.id(), "custom:room", &secret, Priority::Normal).await.expect("it is sent");
    eventually("it is in the inbox", async || !other.peek_messages(0, 1).await.expect("the inbox").is_empty()).await;
    let message = other.next_message().await.expect("the inbox").expect("a message");
    assert_eq!((message.payload(), message.is_closed()), (secret, false));
    let unknown = one.send_encrypted(PeerId::of_foreign("nobody"), "custom:room", 1, Priority::Normal).await;
    assert!(matches!(unknown, Err(Error::Refused(Refusal::UnknownPeer(_)))), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    other
        .answer(|query: Message| async move {
            match query.payload().as_i64() {
                Some(0) => panic!("nothing cannot be doubled: this is a part of the test"),
                Some(number) => Ok(json!({ "double": 2 * number })),
                None => Err("a number is wanted"),
            }
        })
        .await;
    let answer = soon(one.request(other.id(), Kind::Query, 21)).await.expect("an answer");
    assert_eq!((answer.payload(), answer.from(), answer.kind()), (json!({ "double": 42 }), other.id(), Kind::Response));
    let error = soon(one.request(other.id(), Kind::Query, "x")).await.expect_err("an error");
    assert!(matches!(&error, Error::Answered { code, detail } if code == "failed" && detail == "a number is wanted"));
    let error = soon(one.request(other.id(), Kind::Query, 0)).await.expect_err("an error");
    assert!(matches!(&error, Error::Answered { code, .. } if code == "failed"), "{error:?}");
    let many = (1..50).map(|number| one.request(other.id(), Kind::Query, number));
    let answers = soon(futures_util::future::join_all(many)).await;
    for (number, answer) in (1..).zip(answers) {
        assert_eq!(answer.expect("an answer").payload()["double"], 2 * number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_nobody_answers_is_refused_and_not_left_open() {
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    let error = soon(one.request(other.id(), Kind::Query, "anybody?")).await.expect_err("nobody answers");
    assert!(matches!(&error, Error::Answered { code, .. } if code == "no_answerer"), "{error:?}");
    other.answer(|_| async { std::future::pending::<Result<(), String>>().await }).await;
    let waited = one.request_within(other.id(), Kind::Query, "well?", Duration::from_millis(100));
    let error = soon(waited).await.expect_err("it takes too long");
    assert!(matches!(error, Error::Refused(Refusal::TimedOut { .. })), "{error:?}");
    let patient = tokio::time::timeout(
        Duration::from_millis(50),
        one.request_within(other.id(), Kind::Query, "ever?", Duration::MAX),
    );
    assert!(patient.await.is_err(), "it waits");
    assert!(one.digest().await.is_ok(), "the node has taken no harm");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_knows_what_became_of_messages() {
    let scratch = Scratch::new();
    // By gossip they might know each other before it is settled which of their two links stays; what is sent again by
    // the other one was delivered, and more is not known of it.
    let quiet = [("gossip.enabled", "false")];
    let one = start_with(scratch.path(), "one", &quiet).await;
    let other = start_with(scratch.path(), "other", &quiet).await;
    introduce(&one, &other).await;
    let kept = one.send_to(other.id(), "custom:a", 1, Priority::Normal).await.expect("it is sent").id;
    let counted = one.send_to(other.id(), "custom:a", 2, Priority::Background).await.expect("it is sent").id;
    eventually("kept", async || fates(&one, kept).await.contains(&FateKind::Inbox)).await;
    eventually("counted", async || fates(&one, counted).await.contains(&FateKind::Digested)).await;
    assert!(fates(&one, kept).await.starts_with(&[FateKind::Sent]));
    other.next_message().await.expect("the inbox").expect("a message");
    assert_eq!(fates(&other, kept).await, [FateKind::Inbox, FateKind::Read]);
    let unheard = one.request(other.id(), Kind::Query, 1).await.expect_err("nobody answers");
    assert!(unheard.to_string().contains("no_answerer"));
    assert_eq!(fates(&one, comity::MessageId(uuid::Uuid::nil())).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_keeps_its_order_and_loses_nothing() {
    // As many as may wait for a slow reader: what comes on top goes to the inbox.
    const COUNT: u64 = 8_000;
    let scratch = Scratch::new();
    let (one, other) = two(&scratch).await;
    other.set_attention_mode(Mode::Realtime).await.expect("it is set");
    let mut messages = other.messages().await;
    let feed = one.feed(Some(other.id()), "custom:feed", Priority::Normal).expect("a channel");
    let sending = tokio::spawn(async move {
        for number in 0..COUNT {
            feed.send(number).await.expect("it is taken");
        }
        feed.flush().await;
    });
    for number in 0..COUNT {
        assert_eq!(soon(messages.next()).await.expect("a message").payload(), number);
    }
    soon(sending).await.expect("it is sent");
}
