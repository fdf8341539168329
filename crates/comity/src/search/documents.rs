//! Documents as somebody here brings them, made ready for the index: checked, freed of secrets, and turned into points. What
//! is wrong with one is said of that one; the others are not lost by it.

use super::change::Prepared;
use super::encoding::{Encoded, Encoder, NotEncoded};
use super::reading::snippet_plain;
use crate::driver::Handle;
use crate::redaction::labels;
use comity_core::basin::metadata::{TITLE_MAX, URL_MAX};
use comity_core::basin::{DocId, Metadata, Settings};
use comity_core::redact::Typed;
use comity_core::wire::control::{NewDocument, RefusedDocument};
use serde_json::{Map, Value};
use std::borrow::Cow;
use tokio::task::spawn_blocking;

/// Longest text that is turned into a point, bytes.
const TEXT_MAX: usize = 1024 * 1024;

/// How much of a text is kept for showing where the words of a question stand, bytes.
const EXCERPT_MAX: usize = 2048;

/// How much of a text is looked at for what is shown of it, bytes: beyond an excerpt, so that no secret is cut in it.
const HEAD_MAX: usize = 4 * EXCERPT_MAX;

/// What is wrong with a document: the field, and a sentence.
type Wrong = (&'static str, String);

/// Documents ready for the index; and those that are refused, each with its place among those that were brought.
pub(super) async fn prepare(
    mut documents: Vec<NewDocument>,
    (encoder, settings): (&Encoder, &Settings),
    handle: &Handle,
) -> Result<(Vec<Prepared>, Vec<RefusedDocument>), NotEncoded> {
    let is_encoded = |one: &NewDocument| one.basin.is_none() && one.text.as_ref().is_some_and(|text| fits(text));
    let texts = documents.iter().filter(|one| is_encoded(one)).filter_map(|one| one.text.clone()).collect();
    let texts = if encoder.is_elsewhere() { without_secrets_all(texts, handle).await } else { texts };
    let mut vectors = encoder.encode(texts, settings.dimension()).await?.into_iter();
    let brought: Vec<(NewDocument, Option<Encoded>)> = documents
        .drain(..)
        .map(|one| {
            let vector = if is_encoded(&one) { vectors.next() } else { None };
            (one, vector)
        })
        .collect();
    let (settings, handle) = (settings.clone(), handle.clone());
    let prepared = spawn_blocking(move || {
        let (mut ready, mut refused) = (Vec::with_capacity(brought.len()), Vec::new());
        for (number, (document, vector)) in (0..).zip(brought) {
            match prepared(document, vector, &settings, &handle) {
                Ok(document) => ready.push(document),
                Err((field, why)) => refused.push(RefusedDocument { document: number, field: field.to_owned(), why }),
            }
        }
        (ready, refused)
    });
    Ok(prepared.await.expect("preparing documents does not panic"))
}

/// Whether a text is of a length that is encoded.
pub(super) fn fits(text: &str) -> bool {
    text.len() <= TEXT_MAX
}

fn prepared(
    document: NewDocument,
    encoded: Option<Encoded>,
    settings: &Settings,
    handle: &Handle,
) -> Result<Prepared, Wrong> {
    let NewDocument { url, doc_id, title, text, basin, metadata, file } = document;
    let url = url.filter(|url| !url.is_empty());
    if url.as_ref().is_some_and(|url| url.len() > URL_MAX || url.chars().any(char::is_control)) {
        return Err(("url", format!("at most {URL_MAX} bytes without control characters are wanted")));
    }
    let doc_id = match (doc_id, &url) {
        (Some(id), _) => id.parse().map_err(|bad: comity_core::basin::NotADocId| ("doc_id", bad.to_string()))?,
        (None, Some(url)) => DocId::of_url(url),
        (None, None) => return Err(("url", "a URL is wanted, or a doc_id".to_owned())),
    };
    let vector = vector(text.as_deref(), encoded, basin, settings)?;
    let mut members = metadata;
    if let Some(url) = &url {
        members.insert("url".to_owned(), url.as_str().into());
    }
    // Cut only when secrets are out: half of one is not known for what it is.
    if let Some(title) = title.filter(|title| !title.is_empty()) {
        members.insert("title".to_owned(), cut(&without_secrets(cut(&title, HEAD_MAX), handle), TITLE_MAX).into());
    }
    let head = text.as_deref().map(|text| without_secrets(cut(text, HEAD_MAX), handle));
    if let Some(head) = &head {
        members.entry("snippet").or_insert_with(|| snippet_plain(head).into());
    }
    let excerpt = head.map(|head| cut(&head, EXCERPT_MAX).to_owned());
    let members = members_without_secrets(members, handle);
    let metadata = Metadata::new(members).map_err(|bad| ("metadata", bad.to_string()))?;
    Ok(Prepared { doc_id, vector, metadata, url, excerpt, file })
}

/// The numbers that are told to others: of a text, or those that were brought.
fn vector(
    text: Option<&str>,
    encoded: Option<Encoded>,
    basin: Option<Vec<f32>>,
    settings: &Settings,
) -> Result<Vec<f32>, Wrong> {
    let (field, numbers) = match (text, encoded, basin) {
        (Some(_), Some(Ok(numbers)), None) => ("text", numbers),
        (Some(_), Some(Err(why)), None) => return Err(("text", why.to_string())),
        (Some(_), None, None) => return Err(("text", format!("at most {TEXT_MAX} bytes are wanted"))),
        (None, _, Some(numbers)) => ("basin", numbers),
        (Some(_), _, Some(_)) => return Err(("basin", "a text or a basin is wanted, and not both".to_owned())),
        (None, _, None) => return Err(("text", "a text or a basin is wanted".to_owned())),
    };
    settings.check(&numbers).map_err(|bad| (field, bad.to_string()))?;
    Ok(numbers)
}

/// A text with what is secret taken out: it is told to other nodes.
fn without_secrets<'t>(text: &'t str, handle: &Handle) -> Cow<'t, str> {
    handle.redaction().text(text, || labels("document", "", ""), handle.now().wall)
}

/// The same of texts that a model elsewhere is to read whole.
async fn without_secrets_all(texts: Vec<String>, handle: &Handle) -> Vec<String> {
    let handle = handle.clone();
    let clean = spawn_blocking(move || {
        texts.iter().map(|text| without_secrets(text, &handle).into_owned()).collect::<Vec<_>>()
    });
    clean.await.expect("taking out secrets does not panic")
}

/// The same of what is said of a document.
fn members_without_secrets(members: Map<String, Value>, handle: &Handle) -> Map<String, Value> {
    let value = Value::Object(members);
    let clean =
        handle.redaction().document(&value, &Typed::default(), || labels("document", "", ""), handle.now().wall);
    match clean {
        Cow::Owned(Value::Object(clean)) => clean,
        _ => match value {
            Value::Object(members) => members,
            _ => Map::new(),
        },
    }
}

/// The beginning of a text, at most so many bytes of whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
