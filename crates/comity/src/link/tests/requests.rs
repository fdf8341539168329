//! POSTs and GETs to peers: spellings, refusals, bounds.

use super::*;
use crate::link::post::{Unanswered, Whom};
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Redirect;
use comity_core::node::PostFailure;
use serde_json::{Value, json};
use std::sync::Mutex;

/// A foreign peer that keeps what it was sent and answers with what `judge` says.
async fn foreign(judge: fn(&Value) -> StatusCode) -> (SocketAddr, Arc<Mutex<Vec<Value>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let take = move |body: Bytes| async move {
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let status = judge(&body);
        kept.lock().expect("no panic").push(body);
        status
    };
    let router = Router::new()
        .route("/dashflow/message", post(take))
        .route("/elsewhere", get(|| async { Redirect::temporary("/dashflow/status") }))
        .route("/large", get(|| async { vec![b' '; 1024 * 1024 + 1] }))
        .route("/twice", get(|| async { r#"{"a":1,"a":2}"# }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    tokio::spawn(axum::serve(listener, router).into_future());
    (address, seen)
}

async fn posted(side: &mut Side, address: SocketAddr, coded: bool) -> (bool, Result<(), PostFailure>) {
    let sent = Arc::new(message(&side.key, "_status", &json!({ "n": 1 })));
    side.links.post(key(9).peer(), address, coded, Arc::clone(&sent));
    match side.input().await {
        Input::Posted { message, coded, outcome, .. } if Some(message) == sent.id => (coded, outcome),
        other => panic!("the end of a POST was wanted, not {other:?}"),
    }
}

#[tokio::test]
async fn a_message_is_posted_wrapped_and_signed() {
    let mut side = Side::start(1).await;
    let (address, seen) = foreign(|_| StatusCode::ACCEPTED).await;
    assert_eq!(posted(&mut side, address, false).await, (false, Ok(())));
    let body = seen.lock().expect("no panic").remove(0);
    assert_eq!(body["message"]["type"], "status");
    assert_eq!(body["message"]["from_key"], side.key.node().to_string());
    let read = comity_core::wire::json::decode(body.to_string().as_bytes(), wall()).expect("a message");
    assert_eq!(comity_core::wire::json::proven_key(&read), Ok(Some(side.key.node())));
    side.end().await;
}

#[tokio::test]
async fn a_peer_that_cannot_read_one_spelling_gets_the_other() {
    let mut side = Side::start(1).await;
    let (address, seen) = foreign(|body| match body["message"]["msg_type"] {
        Value::Null => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    })
    .await;
    assert_eq!(posted(&mut side, address, false).await, (true, Ok(())));
    assert_eq!(posted(&mut side, address, true).await, (true, Ok(())));
    assert_eq!(seen.lock().expect("no panic").len(), 3);
    side.end().await;
}

#[tokio::test]
async fn a_refusal_is_told_with_its_status() {
    let mut side = Side::start(1).await;
    let (address, seen) = foreign(|_| StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!(posted(&mut side, address, false).await, (false, Err(PostFailure::Status(429))));
    assert_eq!(seen.lock().expect("no panic").len(), 1);
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    assert_eq!(posted(&mut side, nobody, false).await, (false, Err(PostFailure::Unreachable)));
    side.end().await;
}

#[tokio::test]
async fn redirects_large_answers_and_bad_json_are_refused() {
    let side = Side::start(1).await;
    let (address, _) = foreign(|_| StatusCode::OK).await;
    let whom = Whom { address, key: None };
    assert_eq!(side.links.fetch(whom, "/elsewhere").await, Err(Unanswered::Status(307)));
    assert_eq!(side.links.fetch(whom, "/large").await, Err(Unanswered::NotJson));
    assert_eq!(side.links.fetch(whom, "/twice").await, Err(Unanswered::NotJson));
    side.end().await;
}

#[tokio::test]
async fn a_verified_peer_is_asked_by_tls_and_knows_who_asks() {
    let (one, other) = (Side::start(1).await, Side::start(2).await);
    let right = Whom { address: other.address, key: Some(other.key.node()) };
    let wrong = Whom { address: other.address, key: Some(key(3).node()) };
    let who = one.links.fetch(right, "/who").await.expect("an answer");
    assert_eq!(who, json!({ "key": one.key.node().to_string(), "tls": true, "ip": "127.0.0.1" }));
    assert_eq!(one.links.fetch(wrong, "/who").await, Err(Unanswered::WrongKey));
    one.end().await;
    other.end().await;
}
