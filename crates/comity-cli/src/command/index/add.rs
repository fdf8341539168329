//! `comity index add`: reads documents and hands them to the node, some at a time. What cannot be read is left out and
//! said; the others are indexed.

mod pages;

use super::{host, url};
use crate::args::Add;
use crate::exit::Failure;
use crate::page::{Page, clean, say};
use comity::reading::{self, Found, Walk, WalkCause};
use comity_client::Client;
use comity_client::control::{Indexed, NewDocument, NewDocuments, Unindex};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use tokio::task::spawn_blocking;

/// Files that the node is asked of at once.
const FILES: usize = 256;

/// Bytes of documents that are handed over at once, unless one alone has more.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Sentences of what is left out that are printed; more are only counted.
const SAID_MAX: u64 = 20;

/// How the bar looks.
const STYLE: &str = "{wide_bar}  {pos}/{len} documents  {per_sec}  {eta}";

/// How it went.
#[derive(Default)]
struct Sum {
    indexed: Indexed,
    removed: u64,
    left_out: BTreeMap<&'static str, u64>,
    /// Sentences of what is left out.
    said: u64,
}

pub(super) async fn run(client: &Client, flags: Add, page: &mut Page) -> Result<(), Failure> {
    let mut sum = Sum::default();
    let (paths, streams): (Vec<_>, Vec<_>) = flags.paths.iter().cloned().partition(|path| path.as_os_str() != "-");
    let (urls, paths): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.to_string_lossy().contains("://"));
    let addresses = urls.iter().map(|url| pages::address(&url.to_string_lossy())).collect::<Result<Vec<_>, _>>()?;
    if !streams.is_empty() {
        let document = read_stream(&flags)?;
        sum.take(client.index(&NewDocuments { documents: vec![document] }).await?, &[]);
    }
    let missing = pages::pages(client, &flags, &addresses, page, &mut sum).await?;
    let walked = if paths.is_empty() { Ok(()) } else { files(client, &flags, paths, page, &mut sum).await };
    if walked.is_ok() || !addresses.is_empty() {
        sum.show(page)?;
    }
    walked?;
    match missing {
        0 => Ok(()),
        missing => Err(Failure::Other(format!("{missing} of {} pages could not be fetched", addresses.len()))),
    }
}

/// Indexes files and folders.
async fn files(client: &Client, flags: &Add, paths: Vec<PathBuf>, page: &Page, sum: &mut Sum) -> Result<(), Failure> {
    let host = host(client).await?;
    let program = std::env::current_exe()?;
    // URLs are of real places: the same file is one document, by whatever link or relative path it is named.
    let real = |path: PathBuf| std::fs::canonicalize(&path).unwrap_or(path);
    let paths: Vec<PathBuf> = paths.into_iter().map(real).collect();
    let (recursive, walked) = (flags.recursive, paths.clone());
    let walked = spawn_blocking(move || Walk::over(walked, recursive).collect::<Vec<_>>());
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    for one in walked.await.map_err(|panic| Failure::Other(panic.to_string()))? {
        match one {
            Ok(file) => found.push(file),
            Err(cause) if cause.is_the_users() => return Err(Failure::Other(cause.to_string())),
            // Links are usual, and what they lead to is found where it is.
            Err(cause @ WalkCause::Link { .. }) => sum.count(cause.name()),
            Err(cause) => {
                sum.leave_out(cause.name(), &cause.to_string());
                if let WalkCause::Io { path, .. } = cause {
                    unread.push(path);
                }
            }
        }
    }
    let bar = bar(page, found.len());
    let mut seen = BTreeSet::new();
    for files in found.chunks(FILES) {
        let urls: Vec<String> = files.iter().map(|file| url(&host, &file.path)).collect();
        seen.extend(urls.iter().cloned());
        let known = client.known_files(urls.clone()).await?.files;
        let changed: Vec<(Found, String)> = files
            .iter()
            .cloned()
            .zip(urls)
            .filter(|(file, url)| known.get(url) != Some(&state(file, &flags.tag)))
            .collect();
        sum.indexed.unchanged += (files.len() - changed.len()) as u64;
        hand_over(client, flags, (&program, changed), &bar, sum).await?;
        bar.set_position(seen.len() as u64);
    }
    let unread: Vec<String> = unread.iter().map(|path| url(&host, path)).collect();
    for folder in paths.iter().filter(|path| path.is_dir()) {
        remove_gone(client, &format!("{}/", url(&host, folder).trim_end_matches('/')), (&seen, &unread), sum).await?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// What shows on a terminal how many of these documents are done.
fn bar(page: &Page, documents: usize) -> ProgressBar {
    let is_shown = !page.json && std::io::stderr().is_terminal();
    let bar = if is_shown { ProgressBar::new(documents as u64) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template(STYLE) {
        bar.set_style(style);
    }
    bar
}

/// Reads files and hands them to the node.
async fn hand_over(
    client: &Client,
    flags: &Add,
    (program, files): (&Path, Vec<(Found, String)>),
    bar: &ProgressBar,
    sum: &mut Sum,
) -> Result<(), Failure> {
    let (mut documents, mut bytes) = (Vec::new(), 0);
    let mut names = Vec::new();
    for (file, url) in files {
        let (path, program) = (file.path.clone(), program.to_owned());
        let read = spawn_blocking(move || reading::read(&path, &program)).await;
        match read.map_err(|panic| Failure::Other(panic.to_string()))? {
            Ok(read) => {
                bytes += read.text.len();
                names.push(file.path.display().to_string());
                let file = Some(state(&file, &flags.tag));
                documents.push(NewDocument { file, ..document(read, url, &flags.tag) });
            }
            Err(cause) => {
                let said = format!("{} {cause}", file.path.display());
                bar.suspend(|| sum.leave_out(cause.name(), &said));
            }
        }
        if bytes >= BATCH_BYTES {
            let documents = std::mem::take(&mut documents);
            sum.take(client.index(&NewDocuments { documents }).await?, &names);
            (names, bytes) = (Vec::new(), 0);
        }
        bar.inc(1);
    }
    if !documents.is_empty() {
        sum.take(client.index(&NewDocuments { documents }).await?, &names);
    }
    Ok(())
}

/// Takes documents out whose files are gone from a folder. What is at or below a place that could not be looked at may
/// be there still, and stays.
async fn remove_gone(
    client: &Client,
    prefix: &str,
    (seen, unread): (&BTreeSet<String>, &[String]),
    sum: &mut Sum,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let some = client.documents(prefix, after.take(), false).await?;
        let is_gone = |url: &Option<String>| {
            url.as_ref().is_some_and(|url| !seen.contains(url) && !unread.iter().any(|place| is_within(url, place)))
        };
        let gone = some.documents.iter().filter(|document| is_gone(&document.url));
        let doc_ids: Vec<String> = gone.map(|document| document.doc_id.clone()).collect();
        if !doc_ids.is_empty() {
            sum.removed += client.unindex(&Unindex { doc_ids, url_prefix: None }).await?.removed;
        }
        match some.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// Whether a URL is this place, or below it. A place without a path may be anywhere.
fn is_within(url: &str, place: &str) -> bool {
    let rest = url.strip_prefix(place.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn document(read: reading::Document, url: String, tags: &[(String, String)]) -> NewDocument {
    let mut metadata = tagged(tags);
    metadata.insert("kind".to_owned(), read.kind.as_str().into());
    if let Some(language) = read.language {
        metadata.insert("language".to_owned(), language.into());
    }
    NewDocument { url: Some(url), title: Some(read.title), text: Some(read.text), metadata, ..NewDocument::default() }
}

fn tagged(tags: &[(String, String)]) -> Map<String, Value> {
    let mut metadata = Map::new();
    for (name, value) in tags {
        match metadata.get_mut(name) {
            None => drop(metadata.insert(name.clone(), value.as_str().into())),
            Some(Value::Array(values)) => values.push(value.as_str().into()),
            Some(first) => *first = json!([first.clone(), value]),
        }
    }
    metadata
}

/// How a file is, and what it is tagged with: as it is again, it is not read again.
fn state(file: &Found, tags: &[(String, String)]) -> String {
    let modified = file.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let tags: String = tags.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    format!("{} {modified}{tags}", file.bytes)
}

/// A text from standard input.
fn read_stream(flags: &Add) -> Result<NewDocument, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(reading::BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let name = flags.url.as_deref().map_or("", |url| url.split(['?', '#']).next().unwrap_or(url));
    let name = name.rsplit('/').next().unwrap_or(name);
    let read = reading::read_bytes(name, &bytes, &std::env::current_exe()?);
    let read = read.map_err(|cause| Failure::Other(format!("standard input {cause}")))?;
    let title = flags.title.clone().or_else(|| (!read.title.is_empty()).then(|| read.title.clone()));
    let mut metadata = tagged(&flags.tag);
    metadata.insert("kind".to_owned(), read.kind.as_str().into());
    let doc_id = flags.url.is_none().then(|| comity_core::basin::DocId::of_url(&read.text).to_string());
    Ok(NewDocument { url: flags.url.clone(), doc_id, title, text: Some(read.text), metadata, ..NewDocument::default() })
}

impl Sum {
    fn take(&mut self, indexed: Indexed, names: &[String]) {
        self.indexed.added += indexed.added;
        self.indexed.changed += indexed.changed;
        self.indexed.unchanged += indexed.unchanged;
        for refused in indexed.refused {
            let at = usize::try_from(refused.document).unwrap_or(usize::MAX);
            let name = names.get(at).map_or("standard input", String::as_str);
            self.leave_out("refused", &format!("{name} is refused: {}: {}", refused.field, refused.why));
        }
    }

    fn count(&mut self, cause: &'static str) {
        *self.left_out.entry(cause).or_default() += 1;
    }

    fn leave_out(&mut self, cause: &'static str, sentence: &str) {
        self.count(cause);
        self.said += 1;
        if self.said <= SAID_MAX {
            say(&format!("comity: {}", clean(sentence)));
        } else if self.said == SAID_MAX + 1 {
            say("comity: what else is left out is only counted");
        }
    }

    fn show(&self, page: &mut Page) -> Result<(), Failure> {
        let Indexed { added, changed, unchanged, .. } = self.indexed;
        let left_out: u64 = self.left_out.values().sum();
        if page.json {
            return page.value(&json!({
                "added": added, "changed": changed, "unchanged": unchanged, "removed": self.removed,
                "left_out": self.left_out,
            }));
        }
        page.line(&format!("{added} added, {changed} changed, {unchanged} unchanged, {} removed", self.removed))?;
        if left_out > 0 {
            let causes: Vec<String> = self.left_out.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
            page.line(&format!("{left_out} left out: {}", causes.join(", ")))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_or_below_a_place_that_could_not_be_looked_at_is_told_from_what_is_beside_it() {
        let place = url("host", Path::new("/data/old"));
        for within in ["/data/old", "/data/old/a.txt", "/data/old/deep/b c.txt"] {
            assert!(is_within(&url("host", Path::new(within)), &place), "{within}");
            assert!(is_within(&url("host", Path::new(within)), &url("host", Path::new(""))), "{within} is somewhere");
        }
        for beside in ["/data", "/data/older", "/data/old.txt", "/other/data/old"] {
            assert!(!is_within(&url("host", Path::new(beside)), &place), "{beside}");
        }
    }
}
