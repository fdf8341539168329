//! The one byte form of a JSON value that is signed and bound: RFC 8785 (JCS).
//! Numbers are doubles, as everywhere in JCS: integers beyond 2^53 lose their last digits here,
//! and only here.

use serde_json::Value;

/// The RFC 8785 form of a value.
pub fn to_vec(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("a Value has only string keys, each once, and finite numbers")
}
