//! The one byte form of a JSON value that is signed and bound: RFC 8785 (JCS).
//! Numbers are doubles, as everywhere in JCS: integers beyond 2^53 lose their last digits here,
//! and only here.
//!
//! Written here and not by `serde_json_canonicalizer`, which the tests hold this against: everything that is signed passes
//! here several times, and that crate allocates for each member, and reads each name again. Numbers and escapes are by
//! libraries.

use serde_json::{Number, Value};
use std::cmp::Ordering;
use std::io::Write;

/// Whole numbers up to this are written alike as integers and as doubles.
const EXACT_MAX: u64 = 1 << 53;

/// The RFC 8785 form of a value.
pub fn to_vec(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(&mut out, value);
    out
}

/// Appends the RFC 8785 form of a value.
pub(crate) fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write(out, item);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by(|(one, _), (other, _)| order(one, other));
            out.push(b'{');
            for (place, (name, member)) in members.into_iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write_text(out, name);
                out.push(b':');
                write(out, member);
            }
            out.push(b'}');
        }
    }
}

/// How the names of members are ordered: by their UTF-16 form.
pub(crate) fn order(one: &str, other: &str) -> Ordering {
    one.encode_utf16().cmp(other.encode_utf16())
}

fn write_number(out: &mut Vec<u8>, number: &Number) {
    let is_exact = match (number.as_u64(), number.as_i64()) {
        (Some(number), _) => number <= EXACT_MAX,
        (None, Some(number)) => number.unsigned_abs() <= EXACT_MAX,
        (None, None) => false,
    };
    if is_exact {
        write!(out, "{number}").expect("a Vec takes everything");
    } else {
        let double = number.as_f64().expect("without arbitrary precision every number is one");
        out.extend_from_slice(ryu_js::Buffer::new().format_finite(double).as_bytes());
    }
}

/// Appends a text as JSON.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    // JSON's own escapes are those of RFC 8785: the short ones, else `\u00xx` in lower case, and nothing that need not be.
    serde_json::to_writer(out, text).expect("a Vec takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    /// Numbers that look random, and are the same each time.
    struct Draw(u64);

    impl Draw {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, end: u64) -> u64 {
            self.next() % end
        }

        fn text(&mut self) -> String {
            let letter = |draw: &mut Self| match draw.below(6) {
                0 => u32::try_from(draw.below(0x30)),
                1 => u32::try_from(0x70 + draw.below(0x30)),
                2 => u32::try_from(0xd7f0 + draw.below(0x20)),
                3 => u32::try_from(0xe000 + draw.below(0x2000)),
                4 => u32::try_from(0x1_0000 + draw.below(0x10_0000)),
                _ => u32::try_from(u64::from(b'a') + draw.below(26)),
            };
            (0..self.below(8)).filter_map(|_| char::from_u32(letter(self).ok()?)).collect()
        }

        fn value(&mut self, depth: u32) -> Value {
            match self.below(if depth == 0 { 7 } else { 9 }) {
                0 => Value::Null,
                1 => Value::Bool(self.below(2) == 0),
                2 => self.next().into(),
                3 => self.next().cast_signed().into(),
                4 => (self.below(40_000).cast_signed() - 20_000).into(),
                5 => Number::from_f64(f64::from_bits(self.next())).map_or(Value::Null, Value::Number),
                6 => self.text().into(),
                7 => (0..self.below(5)).map(|_| self.value(depth - 1)).collect(),
                _ => Value::Object(
                    (0..self.below(9)).map(|_| (self.text(), self.value(depth - 1))).collect::<Map<_, _>>(),
                ),
            }
        }
    }

    #[test]
    fn it_writes_what_another_implementation_writes() {
        let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
        for _ in 0..20_000 {
            let value = draw.value(4);
            let wanted = serde_json_canonicalizer::to_string(&value).expect("finite numbers");
            assert_eq!(String::from_utf8(to_vec(&value)), Ok(wanted), "{value}");
        }
    }

    #[test]
    fn names_are_ordered_by_utf_16_and_numbers_are_doubles() {
        let value = json!({
            "\u{e000}": 1, "\u{1f600}": 2, "b": 9_007_199_254_740_993_u64, "a": -0.0, "": 1e21, "c": "\u{7f}\u{1f}/\"",
        });
        let wanted =
            "{\"\":1e+21,\"a\":0,\"b\":9007199254740992,\"c\":\"\u{7f}\\u001f/\\\"\",\"\u{1f600}\":2,\"\u{e000}\":1}";
        assert_eq!(String::from_utf8(to_vec(&value)).as_deref(), Ok(wanted));
    }
}
