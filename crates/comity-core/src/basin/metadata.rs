//! What is said of a document besides its vector: a JSON object, kept as its one canonical text, so that its hash is
//! the same everywhere. It says nothing of what the members mean, but for those that a result shows.

use crate::identity::canonical;
use crate::wire::strict::{self, BadJson};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt;

/// Longest metadata, bytes of canonical JSON: a title, an address, a snippet and a few dozen values.
pub const METADATA_MAX: usize = 16 * 1024;

/// Longest text of which metadata is read, bytes: canonical JSON has no spaces and few escapes, other texts have.
pub const METADATA_TEXT_MAX: usize = 4 * METADATA_MAX;

/// Deepest nesting of metadata: it is inside of an update, of a list and of a page.
pub const METADATA_DEPTH_MAX: usize = 16;

/// Longest URL of a document, bytes; as long as common clients and servers take.
pub const URL_MAX: usize = 2048;

/// Longest title that is handed on, bytes; more is cut.
pub const TITLE_MAX: usize = 512;

/// Longest snippet that is handed on, bytes; more is cut.
pub const SNIPPET_MAX: usize = 1024;

/// A JSON object as its RFC 8785 text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Metadata(Box<str>);

/// Why something is no metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotMetadata {
    /// Not JSON as it is read everywhere.
    #[error(transparent)]
    Json(#[from] BadJson),
    /// JSON, and no object.
    #[error("metadata is a JSON object")]
    NotAnObject,
    /// Longer than [`METADATA_MAX`].
    #[error("metadata has at most {METADATA_MAX} bytes")]
    TooLarge,
    /// Nested deeper than [`METADATA_DEPTH_MAX`].
    #[error("metadata is nested at most {METADATA_DEPTH_MAX} levels deep")]
    TooDeep,
}

impl Metadata {
    /// The metadata of these members.
    ///
    /// # Errors
    /// [`NotMetadata`] when they are too large or nested too deep.
    pub fn new(members: Map<String, Value>) -> Result<Self, NotMetadata> {
        let value = Value::Object(members);
        if strict::depth(&value) > METADATA_DEPTH_MAX {
            return Err(NotMetadata::TooDeep);
        }
        let text = canonical::to_vec(&value);
        if text.len() > METADATA_MAX {
            return Err(NotMetadata::TooLarge);
        }
        let text = String::from_utf8(text).expect("JSON that is written is UTF-8");
        Ok(Self(text.into_boxed_str()))
    }

    /// Reads a JSON text, written in any way.
    ///
    /// # Errors
    /// [`NotMetadata`] when it is not JSON, no object, too large or nested too deep.
    pub fn parse(text: &str) -> Result<Self, NotMetadata> {
        if text == "{}" {
            return Ok(Self::default());
        }
        if text.len() > METADATA_TEXT_MAX {
            return Err(NotMetadata::TooLarge);
        }
        match strict::parse_within(text.as_bytes(), METADATA_DEPTH_MAX)? {
            Value::Object(members) => Self::new(members),
            _ => Err(NotMetadata::NotAnObject),
        }
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        &*self.0 == "{}"
    }

    /// SHA-256 of the canonical text.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The members.
    pub fn to_map(&self) -> Map<String, Value> {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// What a result shows of the document: its `url`, `title` and `snippet`, each within its bound.
    pub fn shown(&self) -> Shown {
        let mut members = self.to_map();
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        Shown {
            url: text("url").filter(|url| is_url(url)),
            title: text("title").map(|title| cut(title, TITLE_MAX)),
            snippet: text("snippet").map(|snippet| cut(snippet, SNIPPET_MAX)),
        }
    }
}

/// What a result shows of a document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// Where it is.
    pub url: Option<String>,
    /// What it is called.
    pub title: Option<String>,
    /// How it begins.
    pub snippet: Option<String>,
}

impl Default for Metadata {
    fn default() -> Self {
        Self("{}".into())
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Whether a text can be where a document is: it may have any scheme, and nothing that breaks a line or hides a part.
pub(crate) fn is_url(text: &str) -> bool {
    let is_plain = |letter: char| !letter.is_control() && !letter.is_whitespace();
    (1..=URL_MAX).contains(&text.len()) && text.chars().all(is_plain)
}

/// A text of at most this many bytes, to the end of a character.
pub(crate) fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_has_one_text_and_one_hash_however_it_was_written() {
        let one = Metadata::parse(r#"{"b":1.0,"a":["é"]}"#).expect("metadata");
        let other = Metadata::parse("{ \"a\" : [\"\\u00e9\"], \"b\": 1 }").expect("metadata");
        assert_eq!(one, other);
        assert_eq!(one.as_str(), r#"{"a":["é"],"b":1}"#);
        assert_eq!(one.sha256(), other.sha256());
        assert!(Metadata::parse(" { } ").expect("metadata").is_empty());
    }

    #[test]
    fn what_is_too_large_too_deep_or_no_object_is_refused() {
        let of = |length: usize| Metadata::parse(&json!({"a": "x".repeat(length)}).to_string());
        assert!(of(METADATA_MAX - 8).is_ok());
        assert_eq!(of(METADATA_MAX - 7), Err(NotMetadata::TooLarge));
        assert_eq!(Metadata::parse(&" ".repeat(METADATA_TEXT_MAX + 1)), Err(NotMetadata::TooLarge));
        assert_eq!(Metadata::parse("[]"), Err(NotMetadata::NotAnObject));
        assert!(matches!(Metadata::parse(r#"{"a":1,"a":2}"#), Err(NotMetadata::Json(bad)) if bad.pointer == "/a"));
        let nested = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!(Metadata::parse(&nested(METADATA_DEPTH_MAX)).is_ok());
        assert!(matches!(Metadata::parse(&nested(METADATA_DEPTH_MAX + 1)), Err(NotMetadata::Json(_))));
        let deep = serde_json::from_str(&nested(METADATA_DEPTH_MAX + 1)).expect("an object");
        assert_eq!(Metadata::new(deep), Err(NotMetadata::TooDeep));
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let long = "é".repeat(TITLE_MAX);
        let said = json!({"url": "u".repeat(URL_MAX + 1), "title": long, "snippet": 7});
        let shown = Metadata::parse(&said.to_string()).expect("metadata").shown();
        assert_eq!((shown.url, shown.snippet), (None, None));
        assert_eq!(shown.title.map(|title| title.len()), Some(TITLE_MAX));
    }
}
