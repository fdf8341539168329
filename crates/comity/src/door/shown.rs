//! What peers wrote, made fit to be shown: without control and bidirectional characters, and cut.
//! Nothing here judges it; it stays data. See "Trust" in `protocols/identity.md`.

use comity_core::hidden::clean;
use serde_json::{Map, Value};

/// Longest text inside a peer's status, in characters.
const STATUS_TEXT_MAX: usize = 1024;

/// Largest `details` of a status that are passed on, bytes of JSON. A peer list repeats every
/// peer's: more would let a few hundred peers make answers of a hundred megabytes.
const DETAILS_MAX: usize = 4096;

/// A peer's text, cleaned and cut to so many characters.
pub(crate) fn text(text: &str, chars_max: usize) -> String {
    let cut = text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end]);
    clean(cut)
}

/// A hash in hexadecimal.
pub(crate) fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A text inside a status.
pub(super) fn status_text(value: &str) -> String {
    text(value, STATUS_TEXT_MAX)
}

/// The details of a status, cleaned; `None` when they are too large to be passed on.
pub(super) fn details(details: &Value) -> Option<Value> {
    (details.to_string().len() <= DETAILS_MAX).then(|| value(details))
}

/// A value whose texts and keys are cleaned. It is no deeper than any JSON that was read.
fn value(raw: &Value) -> Value {
    match raw {
        Value::String(raw) => Value::String(status_text(raw)),
        Value::Array(items) => items.iter().map(value).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(key, member)| (status_text(key), value(member))).collect::<Map<_, _>>())
        }
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_lose_control_and_bidi_characters_and_are_cut_between_characters() {
        assert_eq!(text("a\u{202e}b\u{0}\n\u{7f}c", 100), "abc");
        assert_eq!(text("äöü", 2), "äö");
    }

    #[test]
    fn details_are_cleaned_at_every_level_or_left_out() {
        let raw = json!({ "a\u{200f}": ["b\u{2066}", { "c": 1 }] });
        assert_eq!(details(&raw), Some(json!({ "a": ["b", { "c": 1 }] })));
        assert_eq!(details(&json!("x".repeat(DETAILS_MAX))), None);
    }
}
