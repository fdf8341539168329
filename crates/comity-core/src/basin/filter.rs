//! Which documents a question is about, by their metadata: `k=v`, all of which must hold. See `POST /mesh/query` in
//! `protocols/mesh.md`. An index may find them in another way; this says which they are.

use crate::basin::metadata::Metadata;
use crate::identity::canonical;
use serde_json::{Map, Value};

/// Most filters of a question: each is looked up for every candidate.
pub const FILTERS_MAX: usize = 8;

/// Longest name of a member that is filtered by, bytes.
pub const KEY_MAX: usize = 64;

/// Longest value that is filtered by, bytes.
pub const VALUE_MAX: usize = 256;

/// What a document's metadata must say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters(Vec<(String, String)>);

/// Why this is no filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// More than [`FILTERS_MAX`].
    #[error("filter: at most {FILTERS_MAX} are taken")]
    TooMany,
    /// There is no `=` between a key and a value.
    #[error("filter {index}: `key=value` is wanted")]
    NoValue {
        /// Which one, from 0.
        index: usize,
    },
    /// The key has other characters, none, or too many.
    #[error("filter {index}: a key has 1 to {KEY_MAX} letters, digits, `_`, `.` or `-`")]
    Key {
        /// Which one, from 0.
        index: usize,
    },
    /// The value is longer than [`VALUE_MAX`].
    #[error("filter {index}: a value has at most {VALUE_MAX} bytes")]
    Value {
        /// Which one, from 0.
        index: usize,
    },
    /// The value is a list, an object or null.
    #[error("filter {index}: a value is a text, a number, true or false")]
    NotAScalar {
        /// Which one, from 0.
        index: usize,
    },
}

impl Filters {
    /// Reads filters as a command takes them: `key=value` each. A value may contain `=`.
    ///
    /// # Errors
    /// [`FilterError`] says which one is wrong, and how.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, FilterError> {
        let mut filters = Self::default();
        for (index, text) in texts.into_iter().enumerate() {
            let (key, value) = text.split_once('=').ok_or(FilterError::NoValue { index })?;
            filters.push(index, key, value.to_owned())?;
        }
        Ok(filters)
    }

    /// The filters that an object of scalars is.
    ///
    /// # Errors
    /// [`FilterError`] says which one is wrong, and how.
    pub fn of(members: &Map<String, Value>) -> Result<Self, FilterError> {
        let mut filters = Self::default();
        for (index, (key, value)) in members.iter().enumerate() {
            filters.push(index, key, text_of(value).ok_or(FilterError::NotAScalar { index })?)?;
        }
        Ok(filters)
    }

    fn push(&mut self, index: usize, key: &str, value: String) -> Result<(), FilterError> {
        if index >= FILTERS_MAX {
            return Err(FilterError::TooMany);
        }
        if !is_key(key) {
            return Err(FilterError::Key { index });
        }
        if value.len() > VALUE_MAX {
            return Err(FilterError::Value { index });
        }
        self.0.push((key.to_owned(), value));
        Ok(())
    }

    /// Whether everything is wanted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys and values that are wanted.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether a document with this metadata is wanted.
    pub fn matches(&self, metadata: &Metadata) -> bool {
        self.is_empty() || self.matches_members(&metadata.to_map())
    }

    /// Whether a document with these members of metadata is wanted: each value is the text of the member, or of one
    /// element where the member is a list.
    pub fn matches_members(&self, members: &Map<String, Value>) -> bool {
        self.0.iter().all(|(key, wanted)| match members.get(key) {
            Some(Value::Array(items)) => items.iter().any(|item| is(item, wanted)),
            Some(value) => is(value, wanted),
            None => false,
        })
    }
}

/// What a document can be filtered by, as an index keeps it: every member, and every element of a list, that a filter can
/// name and match; but not the snippet, which is for showing.
pub fn tags(metadata: &Metadata) -> Vec<(String, String)> {
    let mut tags = Vec::new();
    for (key, value) in metadata.to_map() {
        if !is_key(&key) || key == "snippet" {
            continue;
        }
        let values = match value {
            Value::Array(items) => items,
            value => vec![value],
        };
        let texts = values.iter().filter_map(text_of).filter(|text| text.len() <= VALUE_MAX);
        tags.extend(texts.map(|text| (key.clone(), text)));
    }
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn is_key(key: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(is_plain)
}

fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        value => text_of(value).is_some_and(|text| text == wanted),
    }
}

/// A scalar as text: a number as canonical JSON writes it, so that 3 and 3.0 are one.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(is_so) => Some(is_so.to_string()),
        Value::Number(_) => String::from_utf8(canonical::to_vec(value)).ok(),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches(filter: &str, metadata: &str) -> bool {
        let metadata = Metadata::parse(metadata).expect("metadata");
        Filters::parse([filter]).expect("a filter").matches(&metadata)
    }

    #[test]
    fn a_filter_matches_the_text_of_a_scalar_or_of_an_element() {
        let metadata = r#"{"lang":"en","n":3.0,"half":0.5,"ok":true,"tags":["a",7,["deep"]],"o":{"x":1},"none":null}"#;
        for filter in ["lang=en", "n=3", "half=0.5", "ok=true", "tags=a", "tags=7"] {
            assert!(matches(filter, metadata), "{filter}");
        }
        for filter in ["lang=e", "n=3.0", "ok=yes", "tags=b", "tags=deep", "o=1", "none=null", "none=", "other=1"] {
            assert!(!matches(filter, metadata), "{filter}");
        }
        assert!(matches("q=a=b", r#"{"q":"a=b"}"#));
    }

    #[test]
    fn all_filters_must_hold() {
        let metadata = Metadata::parse(r#"{"a":["1","2"],"b":"x"}"#).expect("metadata");
        let filters = |texts: &[&str]| Filters::parse(texts.iter().copied()).expect("filters");
        assert!(filters(&["a=1", "a=2", "b=x"]).matches(&metadata));
        assert!(!filters(&["a=1", "b=y"]).matches(&metadata));
        assert!(filters(&[]).matches(&metadata));
    }

    #[test]
    fn a_bad_filter_is_named_with_its_place() {
        let parse = |texts: &[&str]| Filters::parse(texts.iter().copied());
        assert_eq!(parse(&["a=1", "b"]), Err(FilterError::NoValue { index: 1 }));
        assert_eq!(parse(&["=1"]), Err(FilterError::Key { index: 0 }));
        assert_eq!(parse(&["a b=1"]), Err(FilterError::Key { index: 0 }));
        assert_eq!(parse(&[&format!("{}=1", "k".repeat(KEY_MAX + 1))]), Err(FilterError::Key { index: 0 }));
        assert!(parse(&[&format!("{}={}", "k".repeat(KEY_MAX), "v".repeat(VALUE_MAX))]).is_ok());
        assert_eq!(parse(&[&format!("k={}", "v".repeat(VALUE_MAX + 1))]), Err(FilterError::Value { index: 0 }));
        assert!(parse(&["a=1"; FILTERS_MAX]).is_ok());
        assert_eq!(parse(&["a=1"; FILTERS_MAX + 1]), Err(FilterError::TooMany));
    }

    #[test]
    fn filters_of_an_object_are_those_of_a_command() {
        let members = json!({"lang": "en", "n": 3.0, "ok": true});
        let filters = Filters::of(members.as_object().expect("an object"));
        assert_eq!(filters, Filters::parse(["lang=en", "n=3", "ok=true"]));
        let bad = json!({"a": 1, "b": [1]});
        assert_eq!(Filters::of(bad.as_object().expect("an object")), Err(FilterError::NotAScalar { index: 1 }));
    }
}
