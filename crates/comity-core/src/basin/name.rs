//! The name of a document: taken from its URL, or given. See "Basins" in `protocols/mesh.md`. It names a document of
//! one node; another node's may have the same.

use crate::hidden::is_hidden;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Longest name, characters: what an application gives, such as a path or a UUID, with room.
pub const DOC_ID_MAX: usize = 128;

/// The name of a document among those of its node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocId(Box<str>);

/// A text that names no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotADocId {
    /// There is nothing in it.
    #[error("a doc_id is not empty")]
    Empty,
    /// It is longer than [`DOC_ID_MAX`].
    #[error("a doc_id has at most {DOC_ID_MAX} characters")]
    TooLong,
    /// A space, a control character, or one that is not shown as what it is.
    #[error("a doc_id has no spaces and no control characters: character {index} is one")]
    Character {
        /// Which character, from 0.
        index: usize,
    },
}

impl DocId {
    /// The name of the document at this URL: the first 16 hex digits of its SHA-256.
    pub fn of_url(url: &str) -> Self {
        let hash = Sha256::digest(url.as_bytes());
        Self(hash[..8].iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DocId {
    type Err = NotADocId;

    fn from_str(text: &str) -> Result<Self, NotADocId> {
        if text.is_empty() {
            return Err(NotADocId::Empty);
        }
        // A character has at most four bytes: a text beyond that is not counted to its end.
        if text.len() > 4 * DOC_ID_MAX || text.chars().count() > DOC_ID_MAX {
            return Err(NotADocId::TooLong);
        }
        // Of two names that look alike one would have what is not seen.
        match text.chars().position(|letter| letter.is_whitespace() || is_hidden(letter)) {
            Some(index) => Err(NotADocId::Character { index }),
            None => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for DocId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_named_by_its_url() {
        assert_eq!(DocId::of_url("https://example.org/a").as_str(), "b5b10dd0429e69ac");
        assert_ne!(DocId::of_url("https://example.org/a"), DocId::of_url("https://example.org/b"));
        let named = DocId::of_url("");
        assert_eq!(named.as_str().parse(), Ok(named));
    }

    #[test]
    fn a_given_name_is_printable_and_bounded() {
        let parse = |text: &str| text.parse::<DocId>();
        assert!(parse(&"é".repeat(DOC_ID_MAX)).is_ok());
        assert!(parse("docs/a-1.md#x").is_ok());
        assert_eq!(parse(""), Err(NotADocId::Empty));
        assert_eq!(parse(&"e".repeat(DOC_ID_MAX + 1)), Err(NotADocId::TooLong));
        assert_eq!(parse(&"é".repeat(1 << 20)), Err(NotADocId::TooLong));
        for text in ["ab c", "ab\tc", "ab\0c", "ab\u{a0}c", "ab\u{202e}c", "ab\u{7f}c"] {
            assert_eq!(parse(text), Err(NotADocId::Character { index: 2 }), "{text:?}");
        }
    }
}
