//! What is shown of a document that was found: the words around those that were asked for.

use super::super::index::Found;
use super::super::reading::{snippet, snippet_plain};
use comity_core::basin::Metadata;
use comity_core::basin::merge;
use comity_core::basin::metadata::Shown;
use comity_core::wire::mesh::query::{Asked, Query};
use std::collections::BTreeSet;

/// Words of a question that are looked for in texts, at most.
const WORDS_MAX: usize = 64;

/// What a document that was found is to those who asked; `None`: it is damaged.
pub(super) fn shown(found: Found, words: &[String]) -> Option<merge::Found> {
    let metadata = Metadata::parse(&found.metadata).ok()?;
    let mut shown = metadata.shown();
    if let Some(excerpt) = &found.excerpt {
        let text = if words.is_empty() { snippet_plain(excerpt) } else { snippet(excerpt, words) };
        shown = Shown { snippet: Some(text).filter(|text| !text.is_empty()), ..shown };
    }
    Some(merge::Found { doc_id: found.doc_id.parse().ok()?, shown, distance: found.distance })
}

/// The words of a question, as they are looked for in texts, each once.
pub(super) fn words(query: &Query) -> Vec<String> {
    let Asked::Text(text) = &query.asked else { return Vec::new() };
    let words = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    let mut seen = BTreeSet::new();
    words.map(str::to_lowercase).filter(|word| seen.insert(word.clone())).take(WORDS_MAX).collect()
}
