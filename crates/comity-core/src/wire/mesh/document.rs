//! Documents to be indexed, as `POST /mesh/basins` takes them: one, a list, or one in each line. See the table of
//! `protocols/mesh.md`. Vectors of texts, versions and signatures are made elsewhere.

use crate::basin::encoder::TEXT_MAX;
use crate::basin::metadata::{Metadata, NotMetadata, SNIPPET_MAX, TITLE_MAX, URL_MAX, cut, is_url};
use crate::basin::name::DocId;
use crate::basin::settings::DIMENSION_MAX;
use crate::wire::mesh::form::{self, BadForm, Fault, Member};
use crate::wire::mesh::numbers;
use serde_json::Value;

/// Largest document, bytes: a text at its longest with escapes, or the longest vector, and metadata.
pub const DOCUMENT_BYTES_MAX: usize = 2 * TEXT_MAX + 256 * 1024;

/// Largest batch in one body, bytes; longer ones come line by line.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most documents in one body.
pub const BATCH_MAX: usize = 10_000;

/// Longest snippet that is taken of a text, bytes: two or three lines.
const SNIPPET: usize = 300;

/// What a vector is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A text that the mesh's encoder makes one of.
    Text(String),
    /// The vector itself, not yet a point.
    Basin(Vec<f32>),
}

/// A document to be indexed.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its name: given, or that of its URL.
    pub doc_id: DocId,
    /// Where it is.
    pub url: Option<String>,
    /// What it is called.
    pub title: Option<String>,
    /// What its vector is made of.
    pub content: Content,
    /// What else is said of it.
    pub metadata: Metadata,
}

/// A document of a batch that cannot be read. The others are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("document {index}: {form}")]
pub struct BadDocument {
    /// Which one, from 0; by line when they come so.
    pub index: usize,
    /// What is wrong, and where in it.
    pub form: BadForm,
}

impl Document {
    /// Reads one document.
    ///
    /// # Errors
    /// [`BadForm`] names the field.
    pub fn read(text: &str) -> Result<Self, BadForm> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(BadForm::new("", Fault::TooLarge { max: DOCUMENT_BYTES_MAX }));
        }
        let names = ["doc_id", "url", "title", "text", "basin", "metadata"];
        let [doc_id, url, title, text, basin, metadata] = form::members(text, names)?;
        let url = Member::of("url", url).map(read_url).transpose()?;
        let doc_id = match (Member::of("doc_id", doc_id), &url) {
            (Some(given), _) => given.doc_id()?,
            (None, Some(url)) => DocId::of_url(url),
            (None, None) => return Err(BadForm::new("doc_id", Fault::Wanted("a name, or a `url`"))),
        };
        let content = match (Member::of("text", text), Member::of("basin", basin)) {
            (Some(_), Some(basin)) => return Err(basin.bad(Fault::Both { other: "text" })),
            (None, None) => return Err(BadForm::new("text", Fault::Neither { other: "basin" })),
            (Some(text), None) => Content::Text(text.text(TEXT_MAX)?.into_owned()),
            (None, Some(basin)) => Content::Basin(numbers::read("basin", basin.raw, DIMENSION_MAX)?),
        };
        let title = Member::of("title", title).map(|title| title.text(TITLE_MAX)).transpose()?;
        let title = title.map(std::borrow::Cow::into_owned).filter(|title| !title.is_empty());
        let metadata = Member::of("metadata", metadata).map(|metadata| metadata.metadata()).transpose()?;
        Ok(Self { doc_id, url, title, content, metadata: metadata.unwrap_or_default() })
    }

    /// The metadata of its record: what is said of it, its `url` and `title`, and as `snippet` how its text begins,
    /// unless one is given.
    ///
    /// # Errors
    /// [`NotMetadata`] when that is too large.
    pub fn record_metadata(&self) -> Result<Metadata, NotMetadata> {
        let snippet = match &self.content {
            Content::Text(text) => Some(snippet(text)).filter(|snippet| !snippet.is_empty()),
            Content::Basin(_) => None,
        };
        if self.url.is_none() && self.title.is_none() && snippet.is_none() {
            return Ok(self.metadata.clone());
        }
        let mut members = self.metadata.to_map();
        for (name, text) in [("url", &self.url), ("title", &self.title)] {
            if let Some(text) = text {
                members.insert(name.to_owned(), text.as_str().into());
            }
        }
        if let Some(snippet) = snippet {
            members.entry("snippet").or_insert(Value::String(snippet));
        }
        Metadata::new(members)
    }
}

fn read_url(url: Member<'_>) -> Result<String, BadForm> {
    let text = url.text(URL_MAX)?;
    if is_url(&text) { Ok(text.into_owned()) } else { Err(url.bad(Fault::Wanted("a URL without spaces"))) }
}

/// How a text begins, its words one space apart.
fn snippet(text: &str) -> String {
    let mut snippet = String::new();
    let beginning = &text[..text.floor_char_boundary(8 * SNIPPET)];
    for word in beginning.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
        if snippet.len() >= SNIPPET {
            break;
        }
        if !word.is_empty() {
            snippet.push_str(if snippet.is_empty() { "" } else { " " });
            snippet.push_str(word);
        }
    }
    const { assert!(SNIPPET <= SNIPPET_MAX) };
    cut(snippet, SNIPPET)
}

/// Reads one document or a list of them. Each that cannot be read is named; the others stand.
///
/// # Errors
/// [`BadForm`] when the body as a whole is neither.
pub fn read_batch(body: &[u8]) -> Result<Vec<Result<Document, BadDocument>>, BadForm> {
    let text = form::text(body, BATCH_BYTES_MAX)?;
    let read = |(index, text)| Document::read(text).map_err(|form| BadDocument { index, form });
    if !text.trim_start().starts_with('[') {
        return Ok(vec![read((0, text))]);
    }
    let elements = form::elements("", text, BATCH_MAX)?;
    Ok(elements.into_iter().map(|raw| raw.get()).enumerate().map(read).collect())
}

/// Reads one line of many; `None` when it is empty.
///
/// # Errors
/// [`BadDocument`] names the line, from 0, and the field.
pub fn read_line(index: usize, line: &[u8]) -> Result<Option<Document>, BadDocument> {
    let bad = |form| BadDocument { index, form };
    let text = form::text(line, DOCUMENT_BYTES_MAX).map_err(bad)?;
    if text.trim().is_empty() { Ok(None) } else { Document::read(text).map(Some).map_err(bad) }
}

#[cfg(test)]
mod tests;
