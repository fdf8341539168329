//! `comity search`: what this node and others have on something.

use crate::args::Search;
use crate::exit::Failure;
use crate::page::{Cell, Look, Page, cell, clean, looking, say};
use comity_client::Client;
use comity_client::control;
use comity_core::wire::mesh::query::Hit;
use std::collections::BTreeMap;

pub(crate) async fn run(client: &Client, wanted: Search, page: &mut Page) -> Result<(), Failure> {
    let Search { text, limit, node, filter, timeout } = wanted;
    let search = control::Search {
        query: Some(text),
        limit: Some(limit),
        nodes: node,
        filter: filter.into_iter().collect(),
        timeout_ms: Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        ..control::Search::default()
    };
    let answer = client.search(&search).await?;
    if page.json {
        return page.value(&answer.to_value());
    }
    let names = names(client).await?;
    let rows: Vec<Vec<Cell>> = answer.results.iter().map(|hit| row(hit, &names)).collect();
    if rows.is_empty() {
        page.line("Nothing was found.")?;
    } else {
        page.table(&["SCORE", "NODE", "TITLE", "WHERE", "HOW IT READS"], &rows)?;
    }
    let failed = answer.nodes_failed.len() as u64;
    for failed in &answer.nodes_failed {
        say(&format!("comity: {} did not answer: {}", clean(&failed.node), clean(&failed.cause)));
    }
    let asked = answer.nodes_queried;
    let nodes = if asked == 1 { "node" } else { "nodes" };
    page.line(&format!(
        "{} of {asked} {nodes} answered, in {} ms.",
        asked.saturating_sub(failed),
        answer.total_time.as_millis()
    ))
}

/// The names of nodes by their ids, this one's too.
async fn names(client: &Client) -> Result<BTreeMap<String, String>, Failure> {
    let peers = client.peers().await?;
    let named = peers.into_iter().filter_map(|peer| Some((peer.key?, peer.name)));
    let mut names: BTreeMap<String, String> = named.filter(|(_, name)| !name.is_empty()).collect();
    let own = client.node().await?;
    names.insert(own.node, own.name);
    Ok(names)
}

fn row(hit: &Hit, names: &BTreeMap<String, String>) -> Vec<Cell> {
    let shown = &hit.shown;
    vec![
        cell(format!("{:.3}", hit.mesh_score)),
        cell(names.get(&hit.source_node).unwrap_or(&hit.source_node)),
        looking(shown.title.as_deref().unwrap_or(hit.doc_id.as_str()), Look::Strong),
        cell(shown.url.as_deref().unwrap_or("-")),
        looking(shown.snippet.as_deref().unwrap_or("-"), Look::Faint),
    ]
}
