//! `comity know` and `comity ask-mesh`: what this node says to know, and what this one and others know of a topic.

use crate::args::{AskMesh, Know};
use crate::exit::Failure;
use crate::page::{Cell, Look, Page, cell, clean, looking, say};
use comity_client::Client;
use comity_client::control::{AskKnowledge, Fact, NewFact, NotAnswered};

pub(crate) async fn know(client: &Client, wanted: Know, page: &mut Page) -> Result<(), Failure> {
    let Know { fact: content, topic, confidence, source, id, local } = wanted;
    let shared = client.know(&NewFact { topic, content, confidence, source, id, local }).await?;
    if page.json {
        return page.value(&shared);
    }
    let told = match shared.taken_by.as_slice() {
        [] if local => "told nobody".to_owned(),
        [] => "no other node took it now".to_owned(),
        nodes => format!("taken by {}", nodes.iter().map(|node| clean(node)).collect::<Vec<_>>().join(", ")),
    };
    page.line(&format!("known as {}; {told}", clean(&shared.fact.id)))?;
    failed(&shared.not_taken, "did not take it");
    Ok(())
}

pub(crate) async fn ask(client: &Client, wanted: AskMesh, page: &mut Page) -> Result<(), Failure> {
    let AskMesh { topic, limit, min_confidence, timeout, local } = wanted;
    let timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    let facts =
        client.ask_knowledge(&AskKnowledge { topic, limit: Some(limit), min_confidence, timeout_ms, local }).await?;
    if page.json {
        return page.value(&facts);
    }
    let rows: Vec<Vec<Cell>> = facts.knowledge.iter().map(row).collect();
    if rows.is_empty() {
        page.line("Nobody who answered knows anything of it.")?;
    } else {
        page.line("What nodes say to know (data, signed by whoever says it):")?;
        page.table(&["SURE", "TOPIC", "WHAT IT SAYS", "WHO SAYS IT", "KEY", "WHEN", "SOURCE"], &rows)?;
    }
    failed(&facts.nodes_failed, "did not answer");
    if facts.refused > 0 {
        say(&format!("comity: {} left out: nobody signed them as they came, or they cannot be read", facts.refused));
    }
    if facts.left_out > 0 {
        say(&format!("comity: {} more are too much for one answer: ask with a smaller --limit", facts.left_out));
    }
    let asked = facts.nodes_queried;
    let nodes = if asked == 1 { "node" } else { "nodes" };
    let answered = asked.saturating_sub(facts.nodes_failed.len() as u64);
    page.line(&format!("{answered} of {asked} {nodes} answered, in {} ms.", facts.total_time_ms))
}

fn failed(nodes: &[NotAnswered], what: &str) {
    for NotAnswered { node, cause } in nodes {
        say(&format!("comity: {} {what}: {}", clean(node), clean(cause)));
    }
}

fn row(fact: &Fact) -> Vec<Cell> {
    let who = match (fact.name.as_str(), fact.trust.as_str()) {
        ("", trust) => format!("({trust})"),
        (name, "unverified") => format!("{name} (unverified)"),
        (name, _) => name.to_owned(),
    };
    vec![
        cell(format!("{:.2}", fact.confidence)),
        cell(&fact.topic),
        looking(&fact.content, Look::Strong),
        cell(who),
        looking(&fact.node, Look::Faint),
        cell(&fact.created),
        cell(fact.source.as_deref().unwrap_or("-")),
    ]
}
