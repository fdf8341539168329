//! `comity index`: documents of this machine in the node's index.

mod add;

use crate::args::Index;
use crate::command::progress::bytes;
use crate::exit::Failure;
use crate::page::{Look, Page, cell, looking, say};
use comity_client::Client;
use comity_client::control::{Document, IndexSource, IndexStats, Unindex};
use comity_core::basin::DocId;
use std::path::Path;

pub(crate) async fn run(client: &Client, wanted: Index, page: &mut Page) -> Result<(), Failure> {
    match wanted {
        Index::Add(flags) => add::run(client, flags, page).await,
        Index::Ls { prefix, all } => list(client, prefix.as_deref(), all, page).await,
        Index::Rm { documents } => remove(client, documents, page).await,
        Index::Stats => stats(&client.index_stats().await?, page),
    }
}

async fn list(client: &Client, prefix: Option<&str>, all: bool, page: &mut Page) -> Result<(), Failure> {
    let prefix = match prefix {
        Some(prefix) => place(client, prefix).await?,
        None => String::new(),
    };
    let mut after = None;
    let mut documents: Vec<Document> = Vec::new();
    loop {
        let some = client.documents(&prefix, after.take(), all).await?;
        if page.json {
            some.documents.iter().try_for_each(|document| page.value(document))?;
        } else {
            documents.extend(some.documents);
        }
        match some.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if page.json {
        return Ok(());
    }
    if documents.is_empty() {
        return page.line("No documents. `comity index add PATH` indexes some.");
    }
    let row = |document: &Document| {
        let version = document.version.to_string();
        let mut row = vec![
            cell(&document.doc_id),
            cell(&version),
            looking(&document.title, Look::Strong),
            cell(document.url.as_deref().unwrap_or("-")),
        ];
        if all {
            row.insert(1, cell(document.node.as_deref().unwrap_or("-")));
        }
        row
    };
    let rows: Vec<_> = documents.iter().map(row).collect();
    let headings = ["ID", "NODE", "VERSION", "TITLE", "WHERE"];
    let headings: Vec<&str> = headings.into_iter().filter(|heading| all || *heading != "NODE").collect();
    page.table(&headings, &rows)
}

async fn remove(client: &Client, documents: Vec<String>, page: &mut Page) -> Result<(), Failure> {
    let mut removed = 0;
    let mut missing = Vec::new();
    for document in documents {
        let by_id = Unindex { doc_ids: vec![document.clone()], url_prefix: None };
        let is_place = document.contains('/') || Path::new(&document).exists();
        let gone = if is_place {
            let url = place(client, &document).await?;
            let below = Unindex { url_prefix: Some(format!("{}/", url.trim_end_matches('/'))), ..Unindex::default() };
            let file = Unindex { doc_ids: vec![DocId::of_url(&url).to_string()], url_prefix: None };
            let own = client.unindex(&file).await?.removed;
            own + client.unindex(&below).await?.removed
        } else {
            client.unindex(&by_id).await?.removed
        };
        removed += gone;
        if gone == 0 {
            missing.push(document);
        }
    }
    if page.json {
        page.value(&comity_client::control::Unindexed { removed })?;
    } else {
        page.line(&format!("{removed} taken out"))?;
    }
    match missing.as_slice() {
        [] => Ok(()),
        missing => Err(Failure::Unknown(format!("not in the index: {}", missing.join(", ")))),
    }
}

fn stats(stats: &IndexStats, page: &mut Page) -> Result<(), Failure> {
    if page.json {
        return page.value(stats);
    }
    let others: u64 = stats.sources.iter().map(|source| source.documents).sum();
    page.pairs(&[
        ("documents", cell(stats.documents.to_string())),
        ("deleted, and remembered", cell(stats.deleted.to_string())),
        ("of other nodes", cell(format!("{others}, of {} nodes", stats.sources.len()))),
        ("vectors", cell(format!("{} numbers, {}, {}", stats.dimension, stats.metric, stats.projection))),
        ("encoder", cell(&stats.encoder)),
        ("not linked yet", cell(stats.waiting.to_string())),
        ("memory", cell(bytes(stats.memory_bytes))),
        ("disk", cell(bytes(stats.disk_bytes))),
    ])?;
    if stats.sources.is_empty() {
        return Ok(());
    }
    let row = |source: &IndexSource| {
        let state = match (&source.trouble, &source.current) {
            (Some(trouble), _) => looking(trouble, Look::Warning),
            (None, Some(current)) => cell(format!("current at {current}")),
            (None, None) => cell("not read yet"),
        };
        let (documents, refused) = (source.documents.to_string(), source.refused.to_string());
        vec![cell(&source.node), cell(&source.trust), cell(documents), cell(refused), state]
    };
    let rows: Vec<_> = stats.sources.iter().map(row).collect();
    page.line("")?;
    page.table(&["SOURCE", "TRUST", "DOCUMENTS", "REFUSED", "STATE"], &rows)
}

/// The URL that a path of this machine has in the index of the node; a URL is one already.
async fn place(client: &Client, written: &str) -> Result<String, Failure> {
    if written.contains("://") {
        return Ok(written.to_owned());
    }
    let host = host(client).await?;
    match std::path::absolute(written) {
        Ok(path) => Ok(url(&host, &std::fs::canonicalize(&path).unwrap_or(path))),
        Err(cause) => {
            say(&format!("comity: {written}: {cause}"));
            Ok(written.to_owned())
        }
    }
}

/// What stands for this machine in URLs of files: the node's name, since others have files at the same paths.
async fn host(client: &Client) -> Result<String, Failure> {
    let name = client.node().await?.name;
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    Ok(name.chars().map(plain).collect())
}

/// The URL of a file (RFC 8089).
fn url(host: &str, path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut url = format!("file://{host}");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'+' | b'@' | b',' | b'=' => {
                url.push(char::from(*byte));
            }
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_url_whatever_is_in_it() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(url("ann", Path::new("/a b/ü.md")), "file://ann/a%20b/%C3%BC.md");
        let no_text = Path::new(OsStr::from_bytes(b"/\xff?#"));
        assert_eq!(url("ann", no_text), "file://ann/%FF%3F%23");
    }
}
