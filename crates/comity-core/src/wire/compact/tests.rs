//! Compact messages: layout, there and back, and frames that lie.

use super::*;
use crate::envelope::More;
use serde_json::{Value, json};

fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

fn channel(name: &str) -> Channel {
    Channel::new(name).expect("a name")
}

fn table(names: &[&str]) -> ChannelTable {
    let mut table = ChannelTable::default();
    for name in names {
        table.insert(channel(name)).expect("no collision");
    }
    table
}

fn packed(value: &Value) -> Payload {
    Payload::from_pack(crate::wire::pack::from_value(value)).expect("good")
}

fn message() -> Message {
    Message {
        id: Some(MessageId(Uuid::from_u128(0x0102_0304))),
        from: PeerId(Uuid::from_bytes(*b"0123456789abcdef")),
        to: Address::Broadcast,
        kind: Kind::Status,
        channel: channel("_status"),
        priority: Priority::Background,
        timestamp: Timestamp::from_millis(1_700_000_000_000),
        ttl: Ttl::from_seconds(90).expect("good"),
        reply_to: None,
        payload: packed(&json!({"working_on": "x"})),
        more: None,
    }
}

fn encoded(message: &Message, table: &ChannelTable) -> Bytes {
    let mut out = BytesMut::new();
    assert!(encode(message, table, &mut out));
    out.freeze()
}

fn decoded(frame: &Bytes, table: &ChannelTable) -> (Vec<Message>, Dropped) {
    let mut out = Vec::new();
    let dropped = decode(frame, table, now(), &mut out).expect("a whole frame");
    (out, dropped)
}

fn there_and_back(message: &Message) -> Message {
    let table = table(&["_status"]);
    let (mut messages, dropped) = decoded(&encoded(message, &table), &table);
    assert_eq!((messages.len(), dropped), (1, Dropped::default()));
    messages.remove(0)
}

#[test]
fn the_header_has_the_layout_of_the_protocol() {
    let message = Message {
        to: Address::Peer(PeerId(Uuid::from_bytes(*b"recipient-uuid-!"))),
        priority: Priority::Critical,
        reply_to: Some(MessageId(Uuid::from_u128(9))),
        ..message()
    };
    let frame = encoded(&message, &table(&["_status"]));
    let payload = message.payload.bytes();
    let mut wanted = vec![0x02, 2];
    wanted.extend(b"0123456789abcdef");
    wanted.extend(90u16.to_le_bytes());
    wanted.extend(channel("_status").hash().to_le_bytes());
    wanted.extend(1_700_000_000u32.to_le_bytes());
    wanted.extend(u16::try_from(payload.len()).expect("small").to_le_bytes());
    wanted.extend(12u16.to_le_bytes());
    assert_eq!(wanted.len(), HEADER);
    wanted.extend(b"recipient-uuid-!");
    wanted.extend(0x0102_0304u128.to_be_bytes());
    wanted.extend(9u128.to_be_bytes());
    wanted.extend(payload);
    assert_eq!(frame, wanted);
}

#[test]
fn every_type_priority_address_and_id_survives() {
    let peer = Address::Peer(PeerId(Uuid::from_u128(77)));
    let ids = [None, Some(MessageId(Uuid::from_u128(1)))];
    for kind in Kind::ALL {
        for (priority, to) in [(Priority::Critical, Address::Broadcast), (Priority::Normal, peer)] {
            for (id, reply_to) in [(ids[0], ids[0]), (ids[0], ids[1]), (ids[1], ids[0]), (ids[1], ids[1])] {
                let payload = if kind == Kind::Heartbeat { Payload::Empty } else { packed(&json!([1])) };
                let message = Message { kind, priority, to, id, reply_to, payload, ..message() };
                let back = there_and_back(&message);
                assert_eq!(back.payload.to_value(), message.payload.to_value());
                assert_eq!(Message { payload: message.payload.clone(), ..back }, message);
            }
        }
    }
}

#[test]
fn payloads_share_the_memory_of_the_frame() {
    let table = table(&["_status"]);
    let frame = encoded(&message(), &table);
    let (messages, _) = decoded(&frame, &table);
    assert!(frame.as_ptr_range().contains(&messages[0].payload.bytes().as_ptr()));
}

#[test]
fn json_payloads_milliseconds_and_groups_arrive_as_what_they_mean() {
    let message = Message {
        payload: Payload::from_value(&json!({"a": [1, "b"]})).expect("small"),
        timestamp: Timestamp::from_millis(1_700_000_000_999),
        to: Address::Group,
        ..message()
    };
    let back = there_and_back(&message);
    assert_eq!(back.payload, packed(&json!({"a": [1, "b"]})));
    assert_eq!((back.timestamp.millis(), back.to), (1_700_000_000_000, Address::Broadcast));
}

#[test]
fn a_heartbeat_is_its_header_alone() {
    let heartbeat = Message { id: None, kind: Kind::Heartbeat, payload: Payload::Empty, ..message() };
    let frame = encoded(&heartbeat, &table(&["_status"]));
    assert_eq!((frame.len(), &frame[30..32]), (HEADER, [0, 0].as_slice()));
    assert_eq!(there_and_back(&heartbeat), heartbeat);
    let odd = Message { payload: packed(&json!(1)), ..heartbeat };
    assert_eq!(encoded(&odd, &table(&["_status"]))[0], EXTENDED);
}

#[test]
fn what_the_header_cannot_say_travels_as_extended() {
    let more = More { thread: Some("t".to_owned()), ..More::default() };
    let cases = [
        Message { more: Some(Box::new(more)), ..message() },
        Message { channel: channel("custom:unnamed"), ..message() },
        Message { kind: Kind::Extended, ..message() },
        Message { timestamp: Timestamp::from_millis(5_000_000_000_000), ..message() },
    ];
    for message in cases {
        assert_eq!(encoded(&message, &table(&["_status"]))[0], EXTENDED);
        let back = there_and_back(&message);
        assert_eq!(back.payload.to_value(), message.payload.to_value());
        assert_eq!(Message { payload: message.payload.clone(), ..back }, message);
    }
}

#[test]
fn of_two_names_with_one_hash_the_second_travels_as_extended() {
    let (first, second) = (channel("custom:72849"), channel("custom:410610"));
    assert_ne!(first, second);
    assert_eq!(first.hash(), second.hash());
    let mut both = ChannelTable::default();
    assert_eq!(both.insert(first.clone()), Ok(()));
    assert_eq!(both.insert(second.clone()), Err(Collision::Taken));
    assert_eq!(both.insert(first.clone()), Ok(()));
    for (channel, code) in [(first, 0x02), (second, EXTENDED)] {
        let message = Message { channel, ..message() };
        let frame = encoded(&message, &both);
        assert_eq!(frame[0], code);
        assert_eq!(decoded(&frame, &both).0[0].channel, message.channel);
    }
}

#[test]
fn a_table_is_bounded() {
    let mut table = ChannelTable::default();
    for number in 0..CHANNELS_MAX {
        assert_eq!(table.insert(channel(&format!("custom:{number}"))), Ok(()));
    }
    assert_eq!(table.insert(channel("_one_more")), Err(Collision::Full));
    assert!(table.resolve(channel("_one_more").hash()).is_none());
}

#[test]
fn large_payloads_are_compressed_when_that_saves_a_tenth() {
    let table = table(&["_status"]);
    let text = |bytes: usize| Message { payload: packed(&json!("x".repeat(bytes))), ..message() };
    let flags = |message: &Message| encoded(message, &table)[30];
    assert_eq!(flags(&text(1000)), 8, "small");
    assert_eq!(flags(&text(2000)), 8 | 2);
    assert_eq!(there_and_back(&text(2000)), text(2000));
    assert_eq!(there_and_back(&text(200_000)), text(200_000), "larger than the length field");
    let noise: Vec<u64> = (1..500u64).map(|seed| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)).collect();
    let noise = Message { payload: packed(&json!(noise)), ..message() };
    assert_eq!(flags(&noise), 8, "nothing to save");
}

#[test]
fn what_fits_in_no_compact_message_is_left_to_a_text_frame() {
    let noise: Vec<u64> = (1..9000u64).map(|seed| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)).collect();
    let large = Message { payload: packed(&json!(noise)), ..message() };
    let mut out = BytesMut::from("before".as_bytes());
    assert!(!encode(&large, &table(&["_status"]), &mut out));
    assert_eq!(&out[..], b"before");
}

#[test]
fn sealed_payloads_keep_their_flag_and_are_not_compressed() {
    let payload = Payload::from_sealed(vec![0; 5000]).expect("small");
    let sealed = Message { payload, to: Address::Peer(PeerId(Uuid::from_u128(1))), ..message() };
    assert_eq!(encoded(&sealed, &table(&["_status"]))[30], 1 | 4 | 8);
    assert_eq!(there_and_back(&sealed), sealed);
}

#[test]
fn a_batch_arrives_in_order_and_cut_anywhere_gives_what_is_whole() {
    let table = table(&["_status"]);
    let mut frame = BytesMut::new();
    let peer = Address::Peer(PeerId(Uuid::from_u128(77)));
    let batch = [message(), Message { to: peer, ..message() }, Message { kind: Kind::Extended, ..message() }];
    let mut ends = vec![];
    for message in &batch {
        assert!(encode(message, &table, &mut frame));
        ends.push(frame.len());
    }
    let frame = frame.freeze();
    assert_eq!(decoded(&frame, &table).0.len(), batch.len());
    for end in 1..frame.len() {
        let mut out = Vec::new();
        let result = decode(&frame.slice(..end), &table, now(), &mut out);
        assert_eq!(result.is_ok(), ends.contains(&end), "cut at {end}");
        assert_eq!(out.len(), ends.iter().filter(|whole| **whole <= end).count());
    }
}

#[test]
fn every_lie_about_the_length_breaks_the_frame_and_never_makes_another_payload() {
    let table = table(&["_status"]);
    let frame = encoded(&message(), &table);
    let length = u16::from_le_bytes([frame[28], frame[29]]);
    for lie in (0..u16::MAX).filter(|lie| *lie != length) {
        let mut bytes = frame.to_vec();
        bytes[28..30].copy_from_slice(&lie.to_le_bytes());
        let mut out = Vec::new();
        let result = decode(&Bytes::from(bytes), &table, now(), &mut out);
        assert!(result.is_err(), "a length of {lie}");
        // A length of 0 is a message without a payload, and then the frame breaks.
        assert!(out.iter().all(|message| lie == 0 && message.payload.is_empty()), "a length of {lie}");
    }
}

#[test]
fn what_is_unknown_is_dropped_by_cause_and_the_rest_is_read() {
    let table = table(&["_status"]);
    let good = encoded(&message(), &table);
    let spoilt = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        bytes
    };
    let payload = good.len() - message().payload.len();
    let frame: Vec<u8> = [
        spoilt(0, 0x06),
        spoilt(1, 3),
        spoilt(31, 0x80),
        spoilt(20, 0),
        spoilt(19, 0xff),
        spoilt(payload, 0xc1),
        spoilt(0, 0x01),
        spoilt(0, 0xff),
        spoilt(30, 8 | 2),
        spoilt(30, 8 | 1),
        good.to_vec(),
    ]
    .concat();
    let (messages, dropped) = decoded(&Bytes::from(frame), &table);
    assert_eq!(messages, [message()]);
    let id = message().id.expect("an id");
    let wanted = Dropped {
        // Each can be named to its sender.
        unreadable: vec![Unreadable { after: 0, id }; 10],
        unknown_type: 1,
        unknown_priority: 1,
        unknown_flag: 1,
        unknown_channel: 1,
        bad_ttl: 1,
        bad_payload: 5,
    };
    assert_eq!((dropped.total(), dropped), (10, wanted));
}

#[test]
fn a_ttl_of_zero_means_the_default() {
    let table = table(&["_status"]);
    let mut frame = encoded(&message(), &table).to_vec();
    frame[18..20].fill(0);
    assert_eq!(decoded(&Bytes::from(frame), &table).0[0].ttl, Ttl::DEFAULT);
}

#[test]
fn frames_that_are_empty_or_too_large_are_broken() {
    let table = ChannelTable::default();
    let mut out = Vec::new();
    assert_eq!(decode(&Bytes::new(), &table, now(), &mut out), Err(BrokenFrame::Empty));
    let large = Bytes::from(vec![0; limits::FRAME_MAX + 1]);
    assert_eq!(decode(&large, &table, now(), &mut out), Err(BrokenFrame::TooLarge));
}

/// A compact message that claims to be compressed, with this payload.
fn compressed(wire: &[u8]) -> Vec<u8> {
    let header = Header { code: 0x02, hash: channel("_status").hash(), flags: COMPRESSED, recipient: None };
    let mut out = BytesMut::new();
    assert!(header.write(&message(), wire, &mut out));
    out.to_vec()
}

#[test]
fn a_bomb_in_a_payload_or_in_many_is_dropped() {
    let table = table(&["_status"]);
    let zstd = |bytes: usize| zstd::bulk::compress(&vec![0xc0; bytes], 1).expect("compressed");
    let bomb = compressed(&zstd(limits::FRAME_MAX + 1));
    assert_eq!(decoded(&Bytes::from(bomb), &table).1.bad_payload, 1);
    let mut lie = zstd(1000);
    lie[4..6].copy_from_slice(&[0x40, 0xff]);
    assert_eq!(decoded(&Bytes::from(compressed(&lie)), &table).1.bad_payload, 1);
    let text = crate::wire::pack::from_value(&json!("x".repeat(250_000)));
    let many = compressed(&zstd::bulk::compress(&text, 1).expect("compressed")).repeat(100);
    let (messages, dropped) = decoded(&Bytes::from(many), &table);
    let held: usize = messages.iter().map(|message| message.payload.len()).sum();
    assert!(held <= DECOMPRESSED_MAX && dropped.bad_payload > 0);
    assert_eq!(messages.len() + dropped.bad_payload as usize, 100);
}

#[test]
fn any_bytes_are_read_without_panic() {
    let table = table(&["_status"]);
    let good = [encoded(&message(), &table), encoded(&Message { kind: Kind::Extended, ..message() }, &table)].concat();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let [at_high, at_low, byte, ..] = state.to_be_bytes();
            let at = usize::from(u16::from_be_bytes([at_high, at_low])) % bytes.len();
            bytes[at] = byte;
        }
        let mut out = Vec::new();
        let read = decode(&Bytes::from(bytes), &table, now(), &mut out);
        assert!(out.len() + read.map_or(0, |dropped| dropped.total() as usize) <= 2);
    }
}
