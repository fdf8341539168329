//! Paths with a query part, percent-encoded as RFC 3986 wants it.

use std::fmt::Write;

/// The path with the pairs that have a value.
pub(crate) fn path(path: &str, pairs: &[(&str, Option<String>)]) -> String {
    let mut text = path.to_owned();
    let present = pairs.iter().filter_map(|(key, value)| value.as_ref().map(|value| (key, value)));
    for (position, (key, value)) in present.enumerate() {
        text.push(if position == 0 { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        encode(value, &mut text);
    }
    text
}

fn encode(value: &str, text: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
            _ => write!(text, "%{byte:02X}").expect("writing to a String does not fail"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_and_missing_ones_left_out() {
        assert_eq!(path("/p", &[("a", None), ("b", Some("x y&é".to_owned()))]), "/p?b=x%20y%26%C3%A9");
        assert_eq!(path("/p", &[("a", Some("1".to_owned())), ("b", Some("2".to_owned()))]), "/p?a=1&b=2");
        assert_eq!(path("/p", &[("a", None)]), "/p");
    }
}
