//! Links between two sides: hellos, batches, ends, and what is refused.

use super::*;
use crate::link::mesh::{self, Socket};
use crate::link::wire::Wire;
use bytes::{Bytes, BytesMut};
use comity_core::limits::FRAME_MAX;
use comity_core::node::{DialFailure, DialOutcome, LinkLoss};
use comity_core::peers::{Candidate, Source};
use comity_core::wire::compact::{self, ChannelTable, Unreadable};
use comity_core::wire::json::{self as json_wire, Spelling};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::collections::HashMap;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Packet;

fn at(address: SocketAddr) -> Vec<Candidate> {
    vec![Candidate { address, source: Source::Manual }]
}

/// Links two sides; the first one dials.
pub(super) async fn linked(one: &mut Side, other: &mut Side) -> (Established, Established) {
    one.links.dial(DialId(7), Some(other.key.node()), at(other.address));
    let (dialed, accepted) = (one.link().await, other.link().await);
    let told = one.input().await;
    assert!(matches!(told, Input::Dialed { dial: DialId(7), outcome: DialOutcome::Linked(a) } if a == other.address));
    (dialed, accepted)
}

/// A peer that says whatever a test wants on its link.
pub(super) async fn rogue(side: &Side, key: &KeyPair) -> Socket {
    let tls = Tls::new(key, None).expect("TLS of a good key");
    let tcp = TcpStream::connect(side.address).await.expect("somebody listens");
    let (stream, _) = tls.connect(Wire::dialed(tcp), side.address.ip()).await.expect("a handshake");
    mesh::open(stream, side.address).await.expect("a WebSocket")
}

/// The same, once its hello was taken.
async fn greeted(side: &mut Side, key: &KeyPair) -> (Socket, Established) {
    let mut socket = rogue(side, key).await;
    let hello = hello_of(key, Boot(Uuid::new_v4()));
    socket.send(Packet::text(hello.encode())).await.expect("a link that takes a hello");
    let established = side.link().await;
    assert!(matches!(socket.next().await, Some(Ok(Packet::Text(_)))));
    (socket, established)
}

async fn loss(side: &mut Side) -> LinkLoss {
    loop {
        if let Input::LinkDown { loss, .. } = side.input().await {
            return loss;
        }
    }
}

/// Whether the other side hung up within the patience.
async fn is_closed(socket: &mut Socket) -> bool {
    timeout(PATIENCE, async { while let Some(Ok(_)) = socket.next().await {} }).await.is_ok()
}

fn frame(messages: &[Message]) -> Bytes {
    let mut table = ChannelTable::default();
    let mut frame = BytesMut::new();
    for message in messages {
        let _ = table.insert(message.channel.clone());
        assert!(compact::encode(message, &table, &mut frame));
    }
    frame.freeze()
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    let (dialed, accepted) = linked(&mut one, &mut other).await;
    assert_eq!((dialed.dial, accepted.dial), (Some(DialId(7)), None));
    assert_eq!((dialed.key, accepted.key), (other.key.node(), one.key.node()));
    assert_eq!(dialed.remote, other.address);
    assert_eq!(accepted.card.node, Some(one.key.node()));
    assert_eq!(dialed.subscriptions, accepted.ours.subscriptions);
    assert!(dialed.subscriptions.contains(&(channel("_errors"), false)));
    drop((dialed, accepted));
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn everything_sent_arrives_once_and_in_order() {
    const COUNT: usize = 20_000;
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    let (dialed, accepted) = linked(&mut one, &mut other).await;
    let large = "x".repeat(100_000);
    let sent: Vec<_> = (0..COUNT)
        .map(|n| match n {
            10_000 => message(&one.key, "custom:large", &json!({ "n": n, "text": large })),
            _ => message(&one.key, ["_status", "custom:new", "custom:other"][n % 3], &json!({ "n": n })),
        })
        .map(Arc::new)
        .collect();
    let writer = dialed.writer.clone();
    let copies = sent.clone();
    let sending = tokio::spawn(async move {
        for batch in copies.chunks(700) {
            writer.send(Write::Messages(batch.to_vec())).await.expect("a writer that lives");
        }
    });
    let counted = async {
        let (mut count, mut weighed) = (0, 0);
        while count < COUNT {
            let Input::Written { messages, weight, .. } = one.input().await else { panic!("only writing here") };
            count += messages as usize;
            weighed += weight;
        }
        (count, weighed)
    };
    let (received, (count, weighed)) = tokio::join!(other.messages(COUNT), counted);
    sending.await.expect("sending does not panic");
    assert_eq!(count, COUNT);
    assert_eq!(weighed, sent.iter().map(|message| message.weight()).sum::<usize>());
    let numbers = |messages: Vec<Message>| -> Vec<_> {
        messages.iter().map(|m| (m.id, m.channel.clone(), m.payload.to_value()["n"].clone())).collect()
    };
    assert_eq!(numbers(received), numbers(sent.iter().map(|m| Message::clone(m)).collect()));
    drop((dialed, accepted));
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn control_frames_go_both_ways_between_messages() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    let (dialed, accepted) = linked(&mut one, &mut other).await;
    let ping = Frame::Ping { nonce: 9, ts: 1 };
    let hidden = Arc::new(message(&other.key, "_errors", &json!("hidden")));
    accepted.writer.send(Write::Messages(vec![hidden.clone()])).await.expect("a writer");
    accepted.writer.send(Write::Frame(ping.clone())).await.expect("a writer");
    dialed.writer.send(Write::Frame(ping.clone())).await.expect("a writer");
    assert_eq!(one.messages(1).await[0].id, hidden.id);
    assert!(matches!(one.input().await, Input::Frame { frame, .. } if frame == ping));
    while !matches!(other.input().await, Input::Frame { frame, .. } if frame == ping) {}
    drop((dialed, accepted));
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_goodbye_is_told_after_the_last_message() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    let (dialed, _accepted) = linked(&mut one, &mut other).await;
    let last = Arc::new(message(&one.key, "_status", &json!("last")));
    dialed.writer.send(Write::Messages(vec![last])).await.expect("a writer");
    dialed.writer.send(Write::Close { goodbye: true }).await.expect("a writer");
    assert_eq!(other.messages(1).await.len(), 1);
    assert!(matches!(other.input().await, Input::Frame { frame: Frame::Goodbye { .. }, .. }));
    assert_eq!(loss(&mut other).await, LinkLoss::Goodbye);
    assert_eq!(loss(&mut one).await, LinkLoss::Closed);
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_link_that_nobody_holds_closes_without_a_goodbye() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    let (dialed, _accepted) = linked(&mut one, &mut other).await;
    drop(dialed);
    assert_eq!(loss(&mut other).await, LinkLoss::Broken);
    assert_eq!(loss(&mut one).await, LinkLoss::Closed);
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn the_first_of_two_names_with_one_hash_keeps_it_and_nothing_is_lost() {
    let mut by_hash = HashMap::new();
    let (first, second) = (0_u32..)
        .map(|n| channel(&format!("custom:{n}")))
        .find_map(|name| by_hash.insert(name.hash(), name.clone()).map(|twin| (twin, name)))
        .expect("32 bits are few");
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    let (dialed, _accepted) = linked(&mut one, &mut other).await;
    let sent: Vec<_> =
        [&first, &second, &first, &second].map(|name| Arc::new(message(&one.key, name.name(), &json!({})))).to_vec();
    dialed.writer.send(Write::Messages(sent)).await.expect("a writer");
    let names: Vec<_> = other.messages(4).await.into_iter().map(|message| message.channel).collect();
    assert_eq!(names, [first.clone(), second.clone(), first, second]);
    drop(dialed);
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_frame_cut_at_any_byte_closes_the_link() {
    let mut side = Side::start(1).await;
    let key = key(2);
    let whole = frame(&[message(&key, "_status", &json!({ "n": 1 })), message(&key, "_status", &json!("two"))]);
    let half = frame(&[message(&key, "_status", &json!({ "n": 1 }))]).len();
    for cut in (0..whole.len()).filter(|cut| *cut != half).step_by(7).chain([31, 32, half - 1, half + 1]) {
        let (mut socket, _established) = greeted(&mut side, &key).await;
        socket.send(Packet::Binary(whole.slice(..cut))).await.expect("a link");
        assert_eq!(loss(&mut side).await, LinkLoss::Malformed, "cut at {cut}");
        assert!(is_closed(&mut socket).await);
    }
    side.end().await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_or_no_json_or_a_second_hello_closes_the_link() {
    let mut side = Side::start(1).await;
    let key = key(2);
    let large = Packet::Binary(vec![0; FRAME_MAX + 1].into());
    let huge = Packet::Binary(vec![0; 2 * FRAME_MAX].into());
    let hello = Packet::text(hello_of(&key, Boot(Uuid::new_v4())).encode());
    let broken = Packet::text("{");
    for packet in [large, huge, broken, hello] {
        let (mut socket, _established) = greeted(&mut side, &key).await;
        let _ = socket.send(packet).await;
        assert_eq!(loss(&mut side).await, LinkLoss::Malformed);
    }
    assert_eq!(side.refused(Cause::Malformed), 4);
    side.end().await;
}

#[tokio::test]
async fn what_cannot_be_understood_is_dropped_and_counted_and_the_link_lives() {
    let mut side = Side::start(1).await;
    let key = key(2);
    let (mut socket, _established) = greeted(&mut side, &key).await;
    for text in ["[]", r#"{"link":"later"}"#, r#"{"link":"ping"}"#, r#"{"from":1}"#] {
        socket.send(Packet::text(text)).await.expect("a link");
    }
    let nameable = MessageId(Uuid::new_v4());
    let strange = json!({ "id": nameable.to_string(), "type": "later" }).to_string();
    socket.send(Packet::text(strange)).await.expect("a link");
    let Event::Messages { unreadable, .. } = side.event().await else { panic!("messages were wanted") };
    assert_eq!(unreadable, [Unreadable { after: 0, id: nameable }]);
    let unnamed = message(&key, "custom:unnamed", &json!({}));
    let good = message(&key, "_status", &json!({}));
    let lost = unnamed.id.expect("an id");
    socket.send(Packet::Binary(frame(&[unnamed, good.clone()]))).await.expect("a link");
    let Event::Messages { batch, unreadable, .. } = side.event().await else { panic!("messages were wanted") };
    assert_eq!((batch.len(), batch[0].id), (1, good.id));
    assert_eq!(unreadable, [Unreadable { after: 0, id: lost }]);
    assert_eq!((side.dropped("bad_frame"), side.dropped("unknown_channel")), (5, 1));
    drop(socket);
    assert_eq!(loss(&mut side).await, LinkLoss::Broken);
    side.end().await;
}

#[tokio::test]
async fn a_json_message_is_read_on_a_link() {
    let mut side = Side::start(1).await;
    let key = key(2);
    let (mut socket, _established) = greeted(&mut side, &key).await;
    let sent = message(&key, "custom:json", &json!({ "a": 1 }));
    let text = json_wire::encode(&sent, Spelling::Design);
    socket.send(Packet::text(String::from_utf8(text).expect("UTF-8"))).await.expect("a link");
    assert_eq!(side.messages(1).await[0].id, sent.id);
    assert_eq!(side.count("comity_pubsub_link_messages_total{direction=\"in\"} "), 1);
    drop(socket);
    side.end().await;
}

#[tokio::test]
async fn a_card_of_somebody_else_or_of_another_version_gets_no_link() {
    let mut side = Side::start(1).await;
    let thief = key(2);
    let mut old = hello_of(&thief, Boot(Uuid::new_v4()));
    old.protocol = "2.0.0".to_owned();
    let mut forged = hello_of(&thief, Boot(Uuid::new_v4()));
    forged.card["name"] = "changed after signing".into();
    let stolen = hello_of(&key(3), Boot(Uuid::new_v4()));
    for hello in [old, forged, stolen] {
        let mut socket = rogue(&side, &thief).await;
        socket.send(Packet::text(hello.encode())).await.expect("a link that takes a hello");
        assert!(is_closed(&mut socket).await);
    }
    assert_eq!(side.refused(Cause::Hello), 3);
    assert!(side.events.try_recv().is_err());
    side.end().await;
}

#[tokio::test]
async fn a_side_that_says_nothing_is_cut() {
    let mut side = Side::start(1).await;
    let mut socket = rogue(&side, &key(2)).await;
    assert!(is_closed(&mut socket).await);
    assert!(side.events.try_recv().is_err());
    side.end().await;
}

#[tokio::test]
async fn a_twin_is_told_from_ourselves() {
    let (mut one, mut twin) = (Side::start(1).await, Side::start(1).await);
    for (address, wanted) in [(one.address, DialFailure::Ourselves), (twin.address, DialFailure::Twin)] {
        one.links.dial(DialId(1), None, at(address));
        let Input::Dialed { outcome: DialOutcome::Failed(failures), .. } = one.input().await else {
            panic!("a dial that fails was wanted")
        };
        assert_eq!(failures, vec![(at(address)[0], wanted)]);
    }
    while twin.refused(Cause::Twin) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(one.refused(Cause::Twin), 1);
    assert!(matches!(twin.input().await, Input::Twin { .. }), "the twin hears of it too");
    assert!(one.events.try_recv().is_err() && twin.events.try_recv().is_err());
    one.end().await;
    twin.end().await;
}

#[tokio::test]
async fn a_receiver_that_takes_nothing_makes_the_sender_wait() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    let (dialed, accepted) = linked(&mut one, &mut other).await;
    let noise: Vec<u8> = std::iter::repeat_with(rand::random).take(30_000).collect();
    let text = comity_core::id::encode_base64(&noise);
    let large = Arc::new(message(&one.key, "_status", &json!(text)));
    let batch: Vec<_> = std::iter::repeat_n(large, 50).collect();
    let mut taken = 0;
    let waits = loop {
        match timeout(Duration::from_millis(500), dialed.writer.send(Write::Messages(batch.clone()))).await {
            Ok(sent) => sent.expect("a writer that lives"),
            Err(_) => break true,
        }
        taken += 1;
        if taken > 1000 {
            break false;
        }
    };
    assert!(waits, "{taken} batches were taken and nobody read them");
    drop((dialed, accepted));
    one.end().await;
    other.end().await;
}
