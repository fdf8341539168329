//! `comity journal`: what the node has said and heard, what proves it, and whose journals it follows. What needs no
//! node is in `journal/proving.rs`.

mod proving;

use super::{client, place};
use crate::args::{Everywhere, Follow, Journal, Query, Tail, Wanted};
use crate::exit::Failure;
use crate::page::{Look, Page, cell, clean, looking, said, say};
use comity::journal::{Filter, JournalError, entries_of};
use comity_client::control::{Followed, Following, Journaled, Journals};
use comity_client::{Client, Entries};
use comity_core::wire::journal as wire;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

pub(crate) async fn run(everywhere: &Everywhere, wanted: Journal, page: &mut Page) -> Result<(), Failure> {
    match wanted {
        Journal::Verify(wanted) => proving::verify(&place(everywhere)?, wanted, page).await,
        Journal::Check { file, key } => proving::check(&file, key, page),
        Journal::Query(Query { path: Some(path), wanted }) => query_files(&path, wanted, page),
        other => ask_node(&client(everywhere)?, other, page).await,
    }
}

async fn ask_node(client: &Client, wanted: Journal, page: &mut Page) -> Result<(), Failure> {
    match wanted {
        Journal::Tail(wanted) => tail(client, wanted, page).await,
        Journal::Query(Query { wanted, .. }) => query(client, wanted, page).await,
        Journal::Head { out } => head(client, out.as_deref(), page).await,
        Journal::Export { out } => export(client, out.as_deref(), page).await,
        Journal::Prove { index, out } => document(&client.prove_entry(index).await?, out.as_deref(), page),
        Journal::Follow(wanted) => follow(client, wanted, page).await,
        Journal::Verify(_) | Journal::Check { .. } => unreachable!("these are run without a node, above"),
    }
}

async fn tail(client: &Client, wanted: Tail, page: &mut Page) -> Result<(), Failure> {
    show_all(client, &Entries { last: Some(wanted.lines), follow: wanted.follow, ..Entries::default() }, page).await
}

async fn query(client: &Client, wanted: Wanted, page: &mut Page) -> Result<(), Failure> {
    let entries = Entries {
        types: wanted.kinds.iter().map(|kind| kind.name().to_owned()).collect(),
        from_peer: wanted.from_peer,
        author: wanted.author.map(|author| author.to_string()),
        from: wanted.from,
        to: wanted.to,
        since: wanted.since.map(|time| time.to_string()),
        until: wanted.until.map(|time| time.to_string()),
        limit: wanted.limit,
        ..Entries::default()
    };
    show_all(client, &entries, page).await
}

fn query_files(path: &Path, wanted: Wanted, page: &mut Page) -> Result<(), Failure> {
    let Wanted { kinds, author, from_peer, from, to, since, until, limit } = wanted;
    let filter = Filter { kinds, author, from_peer, since, until };
    proving::is_a_journal(path)?;
    let failed = |error: JournalError| Failure::Other(error.to_string());
    let entries = entries_of(path, from.unwrap_or(0)..to.unwrap_or(u64::MAX), filter).map_err(failed)?;
    for entry in entries.take(limit.and_then(|limit| limit.try_into().ok()).unwrap_or(usize::MAX)) {
        show(&wire::entry_to_value(&entry.map_err(failed)?), page)?;
    }
    Ok(())
}

async fn show_all(client: &Client, wanted: &Entries, page: &mut Page) -> Result<(), Failure> {
    let mut entries = client.entries(wanted).await?;
    while let Some(next) = entries.next().await? {
        match next {
            Journaled::Entry(entry) => show(&entry, page)?,
            Journaled::Failed(why) => return Err(Failure::Other(why)),
        }
    }
    if wanted.follow { Err(Failure::Other("the node stopped".to_owned())) } else { Ok(()) }
}

fn show(entry: &Value, page: &mut Page) -> Result<(), Failure> {
    if page.json {
        return page.value(entry);
    }
    let line = line(entry, page);
    page.line(&line)
}

/// An entry in one line.
fn line(entry: &Value, page: &Page) -> String {
    let text = |value: &Value| value.as_str().map(clean).unwrap_or_default();
    let data = &entry["data"];
    let number = page.paint(&format!("{:>6}", entry["index"].as_u64().unwrap_or_default()), Look::Faint);
    let (time, kind) = (text(&entry["timestamp"]), page.paint(&text(&entry["type"]), Look::Strong));
    if data["message_type"].is_null() {
        return format!("{number}  {time}  {kind}  {}", said(data));
    }
    let (from, topic) = (text(&data["from_short"]), text(&data["topic"]));
    let told = data["data"].as_object().filter(|members| members.len() == 1).and_then(|members| members.get("text"));
    format!("{number}  {time}  {kind}  {from}  {topic}  {}", said(told.unwrap_or(&data["data"])))
}

async fn head(client: &Client, out: Option<&Path>, page: &mut Page) -> Result<(), Failure> {
    match client.journal().await?.head {
        Some(head) => document(&head, out, page),
        None => Err(Failure::Unknown("the journal has no entry yet".to_owned())),
    }
}

/// Writes a document where it is wanted.
fn document(value: &Value, out: Option<&Path>, page: &mut Page) -> Result<(), Failure> {
    let Some(path) = out else { return page.value(value) };
    let failed = |cause: std::io::Error| Failure::Other(format!("{}: {cause}", path.display()));
    std::fs::write(path, format!("{value}\n")).map_err(failed)
}

async fn export(client: &Client, out: Option<&Path>, page: &mut Page) -> Result<(), Failure> {
    let Some(path) = out else {
        let mut out = BufWriter::new(std::io::stdout());
        client.export_journal(&mut out).await?;
        return Ok(());
    };
    let failed = |cause: std::io::Error| Failure::Other(format!("{}: {cause}", path.display()));
    let file = File::create(path).map_err(failed)?;
    let mut writer = BufWriter::new(&file);
    let written = client.export_journal(&mut writer).await;
    if written.is_err() {
        // What is there is not all of it. Err: it can be removed by hand.
        let _ = std::fs::remove_file(path);
    }
    let bytes = written?;
    writer.flush().and_then(|()| file.sync_all()).map_err(failed)?;
    if page.json {
        return page.value(&json!({ "path": path.display().to_string(), "bytes": bytes }));
    }
    page.line(&format!("{bytes} bytes in {}", path.display()))
}

async fn follow(client: &Client, wanted: Follow, page: &mut Page) -> Result<(), Failure> {
    let Some(peer) = wanted.peer else { return list(client.followed_journals().await?, page) };
    if wanted.stop {
        let left = client.follow_journal(&peer, false).await?;
        return if page.json { page.value(&Journals { journals: left }) } else { page.line("not followed any more") };
    }
    let followed = client.follow_journal(&peer, true).await?;
    let Some(one) = followed.first() else {
        return Err(Failure::Other("the node does not say that it follows that journal".to_owned()));
    };
    if !page.json {
        say(&format!("a copy of the journal of {} is kept in {}", shown(one), one.folder));
        say("its entries are shown by `comity journal query --path` with that folder");
    }
    let mut changes = client.journal_changes(&one.author).await?;
    while let Some(now) = changes.next().await? {
        if page.json {
            page.value(&now)?;
        } else {
            let line = progress(&now, page);
            page.line(&line)?;
        }
        match now.state.0 {
            Following::Broken => return Err(Failure::Ill),
            Following::Current if wanted.once => return Ok(()),
            _ => {}
        }
    }
    Err(Failure::Other("the node stopped".to_owned()))
}

fn list(journals: Vec<Followed>, page: &mut Page) -> Result<(), Failure> {
    let broken = journals.iter().any(|one| one.state.0 == Following::Broken);
    if page.json {
        page.value(&Journals { journals })?;
    } else if journals.is_empty() {
        page.line("No journal is followed. `comity journal follow PEER` begins.")?;
    } else {
        let row = |one: &Followed| {
            let detail = one.detail.as_deref().unwrap_or(&one.folder);
            let (state, size) = (looking(one.state.0.name(), look(one)), format!("{} of {}", one.size, one.told));
            vec![looking(shown(one), Look::Strong), state, cell(size), cell(detail)]
        };
        let rows: Vec<_> = journals.iter().map(row).collect();
        page.table(&["AUTHOR", "STATE", "ENTRIES", "DETAIL"], &rows)?;
    }
    if broken { Err(Failure::Ill) } else { Ok(()) }
}

fn look(one: &Followed) -> Look {
    match one.state.0 {
        Following::Current => Look::Good,
        Following::Reading => Look::Plain,
        Following::Waiting => Look::Warning,
        Following::Broken => Look::Bad,
    }
}

/// Its name, else its key.
fn shown(one: &Followed) -> String {
    one.name.as_deref().map_or_else(|| one.author.clone(), clean)
}

fn progress(one: &Followed, page: &Page) -> String {
    let state = page.paint(one.state.0.name(), look(one));
    let detail = one.detail.as_deref().map(|detail| format!(": {}", clean(detail))).unwrap_or_default();
    format!("{state}  {} of {} entries verified{detail}", one.size, one.told)
}
