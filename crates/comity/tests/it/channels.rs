//! Channels by the library: two organisations in one process, on loopback.

use crate::world::{Scratch, eventually, soon, start_with};
use comity::Network;
use comity::channels::{ChannelEvents, Channels, Origin};
use serde_json::{Value, json};
use std::net::TcpListener;

/// A node that speaks for an origin on loopback, and that origin. Its port is free a moment before.
async fn origin(scratch: &Scratch, name: &str) -> (Network, Origin) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let (origin, port) = (format!("localhost:{port}"), port.to_string());
    let endpoint = format!("http://{origin}");
    let values = [("http.port", &*port), ("federation.origin", &*origin), ("federation.endpoint", &*endpoint)];
    let node = start_with(scratch.path(), name, &values).await;
    (node, origin.parse().expect("an origin"))
}

fn channels(node: &Network) -> &Channels {
    node.channels().expect("it speaks for an origin")
}

/// The next event that somebody said, and not the channel itself.
async fn said(events: &mut ChannelEvents) -> (Origin, Value) {
    loop {
        let event = soon(events.next()).await.expect("it goes on");
        if !event.authored.kind.starts_with("naomi:") {
            return (event.authored.origin.clone(), event.authored.data.clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_applications_share_a_channel() {
    let scratch = Scratch::new();
    let ((ann, a), (bob, b)) = (origin(&scratch, "ann").await, origin(&scratch, "bob").await);
    let (here, there) = (channels(&ann), channels(&bob));
    let id = here.create("project", Some("plans"), false).await.expect("it is new");
    assert_eq!(here.create("project", None, false).await.expect_err("it is there").code(), "conflict");
    here.invite(&id, &b).await.expect("bob is found");
    eventually("the invitation comes", async || there.invitations().await.is_ok_and(|all| all == [id.clone()])).await;
    there.answer(&id, true).await.expect("it was invited");
    let joined = async || there.list().await.is_ok_and(|all| all.iter().any(|one| one.is_member && one.last > 0));
    eventually("bob is a member", joined).await;
    let mut heard = [here.events(&id, 0), there.events(&id, 0)];
    here.say(&id, "note", json!({"n": 1})).await.expect("ann's own");
    there.say(&id, "note", json!({"n": 2})).await.expect("it is kept");
    for events in &mut heard {
        assert_eq!(said(events).await, (a.clone(), json!({"n": 1})));
        assert_eq!(said(events).await, (b.clone(), json!({"n": 2})));
    }
    there.leave(&id).await.expect("bob may");
    eventually("ann sees it", async || here.list().await.is_ok_and(|all| all[0].last > 0)).await;
    let ended = async || there.say(&id, "note", json!({})).await.is_err_and(|error| error.code() == "not_member");
    eventually("bob is no member", ended).await;
    ann.leave("done").await;
    bob.leave("done").await;
}
