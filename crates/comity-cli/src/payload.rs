//! What a person or a program gives as a payload, turned into JSON: valid JSON is taken as JSON,
//! anything else is a text, and `-` reads standard input.

use crate::exit::Failure;
use comity_core::limits::PAYLOAD_JSON_MAX;
use serde_json::Value;
use std::io::Read;

/// Reads a payload argument.
pub(crate) fn read(argument: &str) -> Result<Value, Failure> {
    if argument == "-" { bounded(std::io::stdin().lock()) } else { Ok(value(argument)) }
}

/// JSON, or else a text.
pub(crate) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// Reads all there is, if it fits into a message. The end of the last line is not part of a text.
fn bounded(from: impl Read) -> Result<Value, Failure> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(PAYLOAD_JSON_MAX).unwrap_or(u64::MAX);
    from.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() > PAYLOAD_JSON_MAX {
        return Err(Failure::Usage(format!(
            "standard input holds more than the {PAYLOAD_JSON_MAX} bytes of a message"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|_| Failure::Usage("standard input is not UTF-8 text".to_owned()))?;
    Ok(value(text.strip_suffix('\n').unwrap_or(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_taken_as_json_and_anything_else_as_text() {
        for (text, meant) in [
            ("{\"a\":1}", json!({"a": 1})),
            ("42", json!(42)),
            ("true", json!(true)),
            ("\"42\"", json!("42")),
            ("hello there", json!("hello there")),
            ("{broken", json!("{broken")),
            ("", json!("")),
        ] {
            assert_eq!(value(text), meant, "{text}");
        }
    }

    #[test]
    fn standard_input_is_bounded_and_loses_its_last_line_end() {
        assert_eq!(bounded("two\nlines\n".as_bytes()).expect("it fits"), json!("two\nlines"));
        assert_eq!(bounded("[1]\n".as_bytes()).expect("it fits"), json!([1]));
        assert!(matches!(bounded(&vec![b'x'; PAYLOAD_JSON_MAX + 1][..]), Err(Failure::Usage(_))));
        assert!(matches!(bounded(&[0xff][..]), Err(Failure::Usage(_))));
    }
}
