//! `comity federation`: the origin that this node speaks for, and what is known of others.

use crate::args::Federation;
use crate::exit::Failure;
use crate::page::{Cell, Look, Page, cell, clean, looking, say};
use comity_client::Client;
use comity_client::control::{HeardOrigin, OtherOrigin};

pub(crate) async fn run(client: &Client, wanted: Federation, page: &mut Page) -> Result<(), Failure> {
    let Federation::Status = wanted;
    let state = client.federation().await?;
    if page.json {
        return page.value(&state);
    }
    page.pairs(&[
        ("origin", looking(&state.origin, Look::Strong)),
        ("key", cell(&state.key)),
        ("endpoint", cell(&state.endpoint)),
    ])?;
    if state.others.is_empty() {
        return page.line("No other origin is known. `comity channel invite CHANNEL ORIGIN` begins.");
    }
    page.line("")?;
    let rows: Vec<Vec<Cell>> = state.others.iter().map(other).collect();
    page.table(&["ORIGIN", "STATE", "HEALTH", "VERSION", "TOOLS", "WAITING", "KEY", "ENDPOINT"], &rows)?;
    for other in &state.others {
        let failure = other.heard.as_ref().and_then(|heard| heard.failure.as_ref());
        for wrong in other.key_changed.iter().chain(failure) {
            say(&format!("comity: {}", clean(wrong)));
        }
    }
    Ok(())
}

fn other(other: &OtherOrigin) -> Vec<Cell> {
    let (state, look) = match other {
        OtherOrigin { key_changed: Some(_), .. } => ("key changed".to_owned(), Look::Bad),
        OtherOrigin { failures: 0, key: Some(_), .. } => ("known".to_owned(), Look::Good),
        OtherOrigin { failures: 0, .. } => ("never reached".to_owned(), Look::Warning),
        OtherOrigin { failures, .. } => (format!("away, tried {failures} times"), Look::Warning),
    };
    let heard = other.heard.as_ref();
    let text = |text: Option<&str>| cell(text.unwrap_or("-"));
    vec![
        looking(&other.origin, Look::Strong),
        looking(state, look),
        health(heard),
        text(heard.and_then(|heard| heard.version.as_deref())),
        cell(heard.and_then(|heard| heard.tools).map_or_else(|| "-".to_owned(), |tools| tools.to_string())),
        cell(other.waiting.to_string()),
        text(other.key.as_deref()),
        text(other.endpoint.as_deref()),
    ]
}

/// How it says that it is, and which of its components are not well.
fn health(heard: Option<&HeardOrigin>) -> Cell {
    let Some(heard) = heard else { return cell("-") };
    if heard.failure.is_some() {
        return looking("does not answer", Look::Bad);
    }
    let Some(status) = &heard.status else { return cell("-") };
    let ill = heard.health.iter().filter(|(_, state)| *state != "ok").map(|(name, state)| format!("{name} {state}"));
    let ill: Vec<String> = ill.collect();
    let look = if status == "ok" { Look::Good } else { Look::Warning };
    looking(if ill.is_empty() { status.clone() } else { format!("{status} ({})", ill.join(", ")) }, look)
}
