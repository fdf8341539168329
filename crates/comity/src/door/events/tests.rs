//! What of the stream needs no socket: its shapes, its filters, and what slow watchers are told.

use super::feed::{Shown, Watch};
use super::*;
use comity_core::envelope::{Address, Kind, Message, Priority, Received, Ttl, Via};
use comity_core::id::{MessageId, PeerId};
use comity_core::identity::trust::Trust;
use comity_core::node::Event;
use comity_core::payload::Payload;
use comity_core::time::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::broadcast;
use uuid::Uuid;

fn message(to: Address, payload: Payload) -> Event {
    let message = Message {
        id: Some(MessageId(Uuid::from_u128(1))),
        from: PeerId(Uuid::from_u128(2)),
        to,
        kind: Kind::Bug,
        channel: Channel::of_kind(Kind::Bug),
        priority: Priority::Normal,
        timestamp: Timestamp::from_millis(0),
        ttl: Ttl::DEFAULT,
        reply_to: None,
        payload,
        more: None,
    };
    let received_at = Timestamp::from_millis(0);
    Event::Message(Arc::new(Received { message, trust: Trust::Unverified, key: None, via: Via::Post, received_at }))
}

fn own_status(text: &str) -> Event {
    Event::OwnStatus(Some(json!({ "working_on": text })))
}

fn all() -> Filter {
    Filter { channels: None, payload: false }
}

fn shown(event: &Event, with_payload: bool) -> Option<Value> {
    let shown = Shown::of(event, 7)?;
    Some(serde_json::from_str(shown.text(with_payload)).expect("JSON"))
}

#[test]
fn directed_and_sealed_messages_and_what_is_the_owners_are_never_shown() {
    let sealed = Payload::from_sealed(vec![0; 64]).expect("a small payload");
    assert_eq!(shown(&message(Address::Broadcast, sealed), true), None);
    assert_eq!(shown(&message(Address::Peer(PeerId(Uuid::nil())), Payload::Empty), true), None);
    let evicted = Event::Evicted { peer: PeerId(Uuid::nil()), name: "x".to_owned() };
    assert_eq!(shown(&evicted, true), None);
    assert_eq!(shown(&Event::Twin { address: ([127, 0, 0, 1], 1).into() }, true), None);
    assert!(shown(&message(Address::Group, Payload::Empty), false).is_some());
}

#[test]
fn a_payload_is_shown_only_to_who_asks() {
    let event = message(Address::Broadcast, Payload::from_value(&json!({ "bug": 1 })).expect("a small payload"));
    let (short, long) = (shown(&event, false).expect("shown"), shown(&event, true).expect("shown"));
    assert!(short.get("payload").is_none() && short.get("trust").is_none());
    assert_eq!(
        (&long["payload"], &long["trust"], &long["seq"]),
        (&json!({ "bug": 1 }), &json!("unverified"), &json!(7))
    );
}

#[test]
fn texts_of_peers_are_cleaned() {
    let left = Event::PeerLeft { peer: PeerId(Uuid::nil()), name: "a\u{202e}\nb".to_owned(), goodbye: true };
    assert_eq!(shown(&left, false).expect("shown")["name"], "ab");
    let status = Event::PeerStatus { peer: PeerId(Uuid::nil()), status: Some(json!("x\u{0}y")) };
    assert_eq!(shown(&status, false).expect("shown")["status"]["working_on"], "xy");
}

#[test]
fn the_query_is_read_strictly() {
    let filter = |channels: &str, payload: &str| {
        Filter::of(&Params { channels: Some(channels.to_owned()), payload: Some(payload.to_owned()) })
    };
    assert_eq!(filter("", "0"), Ok(all()));
    let both = filter("_bugs,custom:x", "1").expect("a good query");
    assert_eq!(both.channels.map(|channels| channels.len()), Some(2));
    assert!(both.payload);
    let many = (0..257).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    for (channels, payload) in [("a b", "0"), ("a,", "0"), ("", "yes"), (many.as_str(), "0")] {
        assert!(filter(channels, payload).is_err(), "{channels} {payload}");
    }
}

#[test]
fn sse_is_chosen_by_its_media_type_alone() {
    assert!(names_sse("text/html, text/event-stream;q=0.9"));
    assert!(!names_sse("*/*") && !names_sse("text/event-streams"));
}

#[tokio::test]
async fn a_watcher_that_lags_is_told_how_much_it_missed_and_goes_on() {
    let (sender, events) = broadcast::channel(4);
    let mut watch = Watch::new(events, all(), 10);
    for seq in 11..=20 {
        sender.send(Arc::new(Shown::of(&own_status("x"), seq).expect("shown"))).expect("a watcher");
    }
    assert_eq!(watch.next().await.err(), Some(Missed::Some { seq: 16, skipped: 6 }));
    let seen: Vec<_> = std::iter::from_fn(|| watch.ready()).map(|event| event.expect("an event").seq).collect();
    assert_eq!(seen, [17, 18, 19, 20]);
    drop(sender);
    assert_eq!(watch.next().await.err(), Some(Missed::TheEnd));
    assert_eq!(shape::lagged(16, 6), r#"{"type":"lagged","seq":16,"skipped":6}"#);
}

#[tokio::test]
async fn a_filtered_watcher_passes_over_what_it_does_not_want() {
    let (sender, events) = broadcast::channel(8);
    let channels = Some(BTreeSet::from([Channel::of_kind(Kind::Bug)]));
    let mut watch = Watch::new(events, Filter { channels, payload: false }, 0);
    for (seq, event) in [(1, own_status("x")), (2, message(Address::Broadcast, Payload::Empty)), (3, own_status("y"))] {
        sender.send(Arc::new(Shown::of(&event, seq).expect("shown"))).expect("a watcher");
    }
    assert_eq!(watch.next().await.expect("an event").seq, 2);
    assert!(watch.ready().is_none());
}
