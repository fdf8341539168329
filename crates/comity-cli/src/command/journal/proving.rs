//! `comity journal verify` and `comity journal check`: with nothing but files, and the author's key if it is had.

use crate::args::VerifyJournal;
use crate::exit::Failure;
use crate::page::{Look, Page, said, say};
use comity::home::{JOURNAL, Place, stored_key};
use comity::journal::{JournalError, Segment, verify as verify_files, verify_so_far};
use comity_client::{Client, Error};
use comity_core::id::NodeId;
use comity_core::journal::{Head, Report};
use comity_core::wire::{journal as wire, strict};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The largest document that is read, bytes: the largest entry, written with escapes, and its proof.
const DOCUMENT_MAX: u64 = 4 * 1024 * 1024;

pub(super) async fn verify(place: &Place, wanted: VerifyJournal, page: &mut Page) -> Result<(), Failure> {
    let told = wanted.head.as_deref().map(head).transpose()?;
    let report = match &wanted.path {
        Some(path) => {
            is_a_journal(path)?;
            verify_files(path, wanted.key, told).map_err(unreadable)?
        }
        None => verify_own(place, wanted.key, told).await?,
    };
    if let Some(told) = told.filter(|told| told.size < report.first) {
        say(&format!(
            "the head of {} entries says nothing of these: those before {} were dropped",
            told.size, report.first
        ));
    }
    show(&report, page)
}

/// This node's own journal, also while it is written.
async fn verify_own(place: &Place, key: Option<NodeId>, told: Option<Head>) -> Result<Report, Failure> {
    let folder = place.path().join(JOURNAL);
    let own = stored_key(place.path()).map_err(|wrong| Failure::Other(wrong.to_string()))?;
    let key = key.or(own.map(|key| key.node()));
    match Client::new(place.path()).journal().await {
        Ok(journal) => {
            let segments = journal.segments.iter().map(|one| Segment { first: one.first, bytes: one.bytes }).collect();
            // By what the node says that it has signed, an end is missed that somebody cut off its files.
            let signed = journal.head.as_ref().and_then(|head| wire::read_head(head).ok());
            verify_so_far(&folder, segments, key, told.or(signed)).map_err(unreadable)
        }
        Err(Error::NoNode { .. }) => {
            is_a_journal(&folder)?;
            verify_files(&folder, key, told).map_err(unreadable)
        }
        Err(error) => Err(error.into()),
    }
}

/// A folder without files would else be a journal without entries, and nothing wrong with it.
pub(super) fn is_a_journal(path: &Path) -> Result<(), Failure> {
    let about = std::fs::metadata(path).map_err(|cause| cannot_read(path, &cause))?;
    if !about.is_dir() {
        return Ok(());
    }
    let mut files = std::fs::read_dir(path).map_err(|cause| cannot_read(path, &cause))?;
    let is_segment = |name: &str| name.ends_with(".jsonl") || name == "lock";
    if files.any(|file| file.is_ok_and(|file| file.file_name().to_str().is_some_and(is_segment))) {
        return Ok(());
    }
    Err(Failure::Unknown(format!("{}: there is no journal in this folder", path.display())))
}

fn show(report: &Report, page: &mut Page) -> Result<(), Failure> {
    let author = report.author.map(|author| author.to_string());
    if page.json {
        let flaw = report.flaw.map(|flaw| json!({ "index": flaw.index, "wrong": flaw.wrong.to_string() }));
        page.value(&json!({
            "ok": flaw.is_none(),
            "author": author,
            "first": report.first,
            "size": report.size,
            "head": report.head.as_ref().map(wire::head_to_value),
            "flaw": flaw,
        }))?;
    } else if let Some(flaw) = report.flaw {
        let line = page.paint(&flaw.to_string(), Look::Bad);
        page.line(&line)?;
    } else {
        let of = author.map(|author| format!(" of {author}")).unwrap_or_default();
        page.line(&match report.size.checked_sub(1).filter(|_| report.size > report.first) {
            Some(last) => format!("nothing is wrong: entries {} to {last}{of}", report.first),
            None => format!("nothing is wrong: there is no entry{of}"),
        })?;
    }
    if report.flaw.is_some() { Err(Failure::Ill) } else { Ok(()) }
}

pub(super) fn check(file: &Path, key: Option<NodeId>, page: &mut Page) -> Result<(), Failure> {
    let text = read(file)?;
    let wrong = |why: String| Failure::Other(format!("{}: {why}", file.display()));
    let proof = wire::read_entry_proof(&text).map_err(|bad| wrong(bad.to_string()))?;
    let entry = proof.check().map_err(|_| wrong("it proves nothing: its parts do not fit each other".to_owned()))?;
    if let Some(key) = key.filter(|key| *key != entry.author) {
        return Err(wrong(format!("it is in the journal of {}, not of {key}", entry.author)));
    }
    if page.json {
        let head = wire::head_to_value(&proof.head);
        return page.value(&json!({ "ok": true, "entry": wire::entry_to_value(&entry), "head": head }));
    }
    let (index, author, size) = (entry.index, entry.author, proof.head.size);
    page.line(&format!("entry {index} is in the journal of {author}, which had {size} entries when it was signed"))?;
    page.line(&format!("{}  {}  {}", entry.timestamp, entry.kind, said(&Value::Object(entry.data))))
}

/// A head, as JSON or in a file.
fn head(text: &str) -> Result<Head, Failure> {
    let given = if text.trim_start().starts_with('{') { text.as_bytes().to_vec() } else { read(Path::new(text))? };
    let wrong = |why: String| Failure::Usage(format!("--head: {why}"));
    let value = strict::parse(given.trim_ascii()).map_err(|bad| wrong(bad.to_string()))?;
    let head = wire::read_head(&value).map_err(|bad| wrong(bad.to_string()))?;
    head.check().map_err(|bad| wrong(bad.to_string()))?;
    Ok(head)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(|cause| cannot_read(path, &cause))?;
    file.take(DOCUMENT_MAX + 1).read_to_end(&mut text).map_err(|cause| cannot_read(path, &cause))?;
    if text.len() as u64 > DOCUMENT_MAX {
        return Err(Failure::Other(format!("{}: more than {DOCUMENT_MAX} bytes", path.display())));
    }
    Ok(text)
}

fn cannot_read(path: &Path, cause: &std::io::Error) -> Failure {
    let sentence = format!("{}: {cause}", path.display());
    if cause.kind() == ErrorKind::NotFound { Failure::Unknown(sentence) } else { Failure::Other(sentence) }
}

fn unreadable(error: JournalError) -> Failure {
    Failure::Other(error.to_string())
}
