//! JSON read strictly: every key once, bounded in depth, bytes and number of values, and errors
//! that name the place (RFC 6901 pointer). It reads; it does not know what a document means.

use crate::limits;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Largest document, bytes: a request body.
pub const BYTES_MAX: usize = 1024 * 1024;

/// Most values in a document: as many as 256 KiB of the shortest array, so that a small text never becomes a tree of
/// a hundred megabytes.
pub const VALUES_MAX: usize = 131_072;

/// A text that is not a JSON document as this module wants it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", At(pointer))]
pub struct BadJson {
    /// Where, as an RFC 6901 pointer; empty for the whole document.
    pub pointer: String,
    /// What is wrong there.
    pub reason: BadJsonReason,
}

/// What is wrong with a JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadJsonReason {
    /// Not JSON.
    #[error("not valid JSON (line {line}, column {column})")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// An object has this key twice.
    #[error("the key appears twice")]
    DuplicateKey,
    /// Nested deeper than [`limits::JSON_DEPTH_MAX`].
    #[error("nested deeper than {} levels", limits::JSON_DEPTH_MAX)]
    TooDeep,
    /// More than [`BYTES_MAX`] bytes.
    #[error("larger than {BYTES_MAX} bytes")]
    TooLarge,
    /// More than [`VALUES_MAX`] values.
    #[error("more than {VALUES_MAX} values")]
    TooManyValues,
}

/// Shows ` at <pointer>`, or nothing for the whole document.
struct At<'a>(&'a str);

impl fmt::Display for At<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(out, " at {}", self.0) }
    }
}

/// Reads one JSON document.
pub fn parse(text: &[u8]) -> Result<Value, BadJson> {
    parse_within(text, limits::JSON_DEPTH_MAX)
}

/// Reads one JSON document that may be nested this deep.
pub fn parse_within(text: &[u8], depth: usize) -> Result<Value, BadJson> {
    if text.len() > BYTES_MAX {
        return Err(BadJson { pointer: String::new(), reason: BadJsonReason::TooLarge });
    }
    let mut reading = Reading::default();
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = Node { reading: &mut reading, depth }.deserialize(&mut json);
    let value = value.and_then(|value| json.end().map(|()| value));
    value.map_err(|error| reading.blame(&error))
}

/// How deep a value is nested: 0 for a scalar, 1 for an object or array of scalars.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// How many values there are in a value: one for itself, and those in it.
pub fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// How many values a JSON text has at most: one, and one for each comma and each bracket that opens.
pub fn count_in(text: &[u8]) -> usize {
    let (mut count, mut is_string, mut is_escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_string,
            b'"' => is_string = !is_string,
            b',' | b'[' | b'{' if !is_string => count += 1,
            _ => {}
        }
    }
    count
}

/// Appends a step to an RFC 6901 pointer.
pub(crate) fn push_step(pointer: &mut String, step: &str) {
    pointer.push('/');
    pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
}

/// What is known while a document is read, for limits and for the error.
#[derive(Default)]
struct Reading {
    values: usize,
    reason: Option<BadJsonReason>,
    /// The way back from the error to the root, filled while the error is handed up.
    way_back: Vec<String>,
}

impl Reading {
    fn refuse<E: Error>(&mut self, reason: BadJsonReason) -> E {
        self.reason = Some(reason);
        E::custom("refused")
    }

    fn blame(&self, error: &serde_json::Error) -> BadJson {
        let syntax = BadJsonReason::Syntax { line: error.line(), column: error.column() };
        let mut pointer = String::new();
        for step in self.way_back.iter().rev() {
            push_step(&mut pointer, step);
        }
        BadJson { pointer, reason: self.reason.unwrap_or(syntax) }
    }
}

/// One value of the document, `depth` levels allowed from here.
struct Node<'a> {
    reading: &'a mut Reading,
    depth: usize,
}

impl Node<'_> {
    fn deeper<E: Error>(&mut self) -> Result<usize, E> {
        self.depth.checked_sub(1).ok_or_else(|| self.reading.refuse(BadJsonReason::TooDeep))
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        self.reading.values += 1;
        if self.reading.values > VALUES_MAX {
            return Err(self.reading.refuse(BadJsonReason::TooManyValues));
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut items = Vec::new();
        loop {
            match seq.next_element_seed(Node { reading: &mut *self.reading, depth }) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => return Ok(Value::Array(items)),
                Err(error) => {
                    self.reading.way_back.push(items.len().to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                self.reading.way_back.push(key);
                return Err(self.reading.refuse(BadJsonReason::DuplicateKey));
            }
            match map.next_value_seed(Node { reading: &mut *self.reading, depth }) {
                Ok(value) => members.insert(key, value),
                Err(error) => {
                    self.reading.way_back.push(key);
                    return Err(error);
                }
            };
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(text: &str) -> (String, BadJsonReason) {
        let bad = parse(text.as_bytes()).expect_err("must be refused");
        (bad.pointer, bad.reason)
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let text = r#"{"a":[1,-2,2.5,18446744073709551615,true,null,"é\n"],"b":{}}"#;
        let value = parse(text.as_bytes()).expect("valid");
        assert_eq!(value, json!({"a": [1, -2, 2.5, u64::MAX, true, null, "é\n"], "b": {}}));
        assert_eq!(depth(&value), 2);
    }

    #[test]
    fn a_number_is_the_one_that_is_written() {
        // Numbers all over, as a linear congruence gives them.
        let numbers = (0..20_000u64).scan(1u64, |state, _| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            Some(f64::from_bits(*state))
        });
        for number in numbers.filter(|number| number.is_finite()) {
            let read = parse(format!("{number:e}").as_bytes()).expect("a number");
            assert_eq!(read.as_f64().map(f64::to_bits), Some(number.to_bits()), "{number:e}");
        }
    }

    #[test]
    fn values_are_counted_as_they_are_read() {
        for (text, values) in [("1", 1), ("[1,2]", 3), (r#"{"a":[{},"x,[\",{",[]],"b":1}"#, 6)] {
            assert_eq!(count(&parse(text.as_bytes()).expect("valid")), values, "{text}");
            assert!((values..=values + 2).contains(&count_in(text.as_bytes())), "{text}");
        }
        let dense = format!("[0{}]", ",0".repeat(999));
        assert_eq!(count_in(dense.as_bytes()), 1001);
    }

    #[test]
    fn a_key_that_appears_twice_is_refused_and_named() {
        assert_eq!(refused(r#"{"a":[0,{"x/y":1,"x/y":1}]}"#), ("/a/1/x~1y".to_owned(), BadJsonReason::DuplicateKey));
        assert_eq!(refused(r#"{"a":1,"\u0061":1}"#), ("/a".to_owned(), BadJsonReason::DuplicateKey));
    }

    #[test]
    fn depth_32_is_read_and_33_is_refused() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(depth(&parse(nested(32).as_bytes()).expect("32 levels")), 32);
        assert_eq!(refused(&nested(33)).1, BadJsonReason::TooDeep);
        assert_eq!(refused(&"[".repeat(100_000)).1, BadJsonReason::TooDeep);
        let objects = r#"{"a":"#.repeat(33) + "1" + &"}".repeat(33);
        assert_eq!(refused(&objects), ("/a".repeat(32), BadJsonReason::TooDeep));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in
            ["", " ", "{", "[1,]", "{\"a\":}", "1 2", "nul", "\"\u{1}\"", "{'a':1}", "NaN", "1e999", "\"\\ud800\""]
        {
            assert!(matches!(refused(text).1, BadJsonReason::Syntax { .. }), "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn size_and_number_of_values_are_bounded() {
        let text = format!("\"{}\"", "x".repeat(BYTES_MAX - 1));
        assert_eq!(refused(&text).1, BadJsonReason::TooLarge);
        assert!(parse(&text.as_bytes()[..text.len() - 2]).is_err(), "cut");
        assert!(parse(format!("\"{}\"", "x".repeat(BYTES_MAX - 2)).as_bytes()).is_ok());
        let many = |values: usize| format!("[0{}]", ",0".repeat(values - 2));
        assert!(parse(many(VALUES_MAX).as_bytes()).is_ok());
        assert_eq!(refused(&many(VALUES_MAX + 1)).1, BadJsonReason::TooManyValues);
    }
}
