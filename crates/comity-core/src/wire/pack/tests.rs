//! MessagePack: against `rmpv` as an independent reader, and against hostile bytes.

use super::*;
use serde_json::json;

fn sample() -> Value {
    json!({
        "a": [0, 127, 128, 255, 256, 65_535, 65_536, u64::MAX, -1, -32, -33, -128, -129, -32_769, i64::MIN],
        "f": [0.5, -1.25e300], "t": [true, false, null], "s": ["", "é", "x".repeat(40), "x".repeat(300)],
        "m": {"k": {"k": []}},
    })
}

#[test]
fn every_value_survives_the_way_there_and_back() {
    let bytes = from_value(&sample());
    assert_eq!(check(&bytes), Ok(()));
    assert_eq!(to_value(&bytes), sample());
}

#[test]
fn what_is_written_is_what_another_reader_reads() {
    let bytes = from_value(&sample());
    let read = rmpv::decode::read_value(&mut bytes.as_slice()).expect("another reader reads it");
    let back = serde_json::to_value(&read).expect("JSON");
    assert_eq!(back, sample());
}

#[test]
fn bytes_cut_anywhere_are_refused() {
    let bytes = from_value(&sample());
    for end in 0..bytes.len() {
        assert!(check(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert_eq!(check(&[bytes.as_slice(), &[0]].concat()), Err(BadPack::Trailing));
}

#[test]
fn lengths_that_lie_are_refused_before_anything_is_taken() {
    let lies: [&[u8]; 7] = [
        &[0xdd, 0xff, 0xff, 0xff, 0xff],
        &[0xdf, 0xff, 0xff, 0xff, 0xff, 0xa0],
        &[0xdb, 0xff, 0xff, 0xff, 0xff, b'x'],
        &[0xc6, 0x80, 0, 0, 0],
        &[0x92, 0x01],
        &[0x81, 0xa1],
        &[0xd9, 0x02, b'x'],
    ];
    for lie in lies {
        assert_eq!(check(lie), Err(BadPack::Cut), "{lie:x?}");
    }
}

#[test]
fn extensions_other_keys_and_duplicate_keys_are_refused() {
    for marker in [0xc1, 0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8] {
        assert_eq!(check(&[marker, 0, 0, 0, 0, 0, 0]), Err(BadPack::Extension));
    }
    assert_eq!(check(&[0x81, 0x01, 0x01]), Err(BadPack::KeyNotText));
    assert_eq!(check(&[0x82, 0xa1, b'a', 0x01, 0xa1, b'a', 0x01]), Err(BadPack::DuplicateKey));
    assert_eq!(check(&[0xa1, 0xff]), Err(BadPack::NotUtf8));
    let mut many = vec![0xde, 0, 100];
    for key in 0..100u8 {
        many.extend([0xa2, b'0' + key / 10 % 9, b'0' + key % 10, 0xc0]);
    }
    assert_eq!(check(&many), Err(BadPack::DuplicateKey));
}

#[test]
fn depth_is_bounded_as_in_json() {
    let nested = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
    assert_eq!(check(&nested(limits::PAYLOAD_DEPTH_MAX)), Ok(()));
    assert_eq!(check(&nested(limits::PAYLOAD_DEPTH_MAX + 1)), Err(BadPack::TooDeep));
    assert_eq!(check(&nested(60_000)), Err(BadPack::TooDeep));
}

#[test]
fn binary_reads_as_base64url_and_numbers_json_lacks_as_null() {
    assert_eq!(to_value(&[0xc4, 0x02, 0xff, 0xfe]), json!("__4"));
    assert_eq!(to_value(&[&[0xcb], f64::NAN.to_be_bytes().as_slice()].concat()), Value::Null);
    assert_eq!(to_value(&[0xff, 0xff]), Value::Null);
}

#[test]
fn any_bytes_are_judged_without_panic_as_another_reader_judges_them() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        let mut bytes = [0; 24];
        for byte in &mut bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = state.to_be_bytes()[0];
        }
        let length = usize::from(bytes[0]) % 24;
        let bytes = &bytes[..length];
        if check(bytes).is_ok() {
            let read = rmpv::decode::read_value(&mut &*bytes).expect("whatever is good is MessagePack");
            assert_eq!(rmpv_depth(&read), strict_depth(bytes));
        }
        to_value(bytes);
    }
}

fn rmpv_depth(value: &rmpv::Value) -> usize {
    match value {
        rmpv::Value::Array(items) => 1 + items.iter().map(rmpv_depth).max().unwrap_or(0),
        rmpv::Value::Map(members) => 1 + members.iter().map(|(_, value)| rmpv_depth(value)).max().unwrap_or(0),
        _ => 0,
    }
}

fn strict_depth(bytes: &[u8]) -> usize {
    crate::wire::strict::depth(&to_value(bytes))
}
