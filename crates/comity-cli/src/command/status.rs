//! `comity status` and `comity id`: how the node is, who it is, and what it says it is doing.

use crate::args::Status;
use crate::exit::Failure;
use crate::page::{Look, Page, cell, looking, said};
use crate::payload;
use comity_client::Client;
use comity_client::control::Node;
use serde_json::{Value, json};

pub(crate) async fn run(client: &Client, wanted: Status, page: &mut Page) -> Result<(), Failure> {
    if wanted.clear {
        client.set_status(None).await?;
        return if page.json { page.value(&json!({ "status": null })) } else { page.line("doing nothing") };
    }
    if let Some(set) = &wanted.set {
        let status = meant(payload::read(set)?, wanted.progress);
        client.set_status(Some(status.clone())).await?;
        return if page.json { page.value(&json!({ "status": status })) } else { page.line(&said(&status)) };
    }
    let node = client.node().await?;
    if page.json { page.value(&node) } else { show(&node, page) }
}

/// A status as peers expect it: `working_on` and `progress`. An object is taken as it is.
fn meant(set: Value, progress: Option<f64>) -> Value {
    let mut status = if set.is_object() { set } else { json!({ "working_on": set }) };
    if let Some(progress) = progress {
        status["progress"] = json!(progress);
    }
    status
}

pub(crate) async fn id(client: &Client, page: &mut Page) -> Result<(), Failure> {
    let node = client.node().await?;
    if page.json {
        return page.value(&json!({ "id": node.id, "node": node.node, "name": node.name }));
    }
    page.pairs(&[("id", cell(node.id.to_string())), ("node", cell(&node.node)), ("name", cell(&node.name))])
}

fn show(node: &Node, page: &mut Page) -> Result<(), Failure> {
    let waiting = node.inbox.iter().filter(|(_, count)| **count > 0);
    let waiting: Vec<_> = waiting.map(|(priority, count)| format!("{count} {priority}")).collect();
    let channels: Vec<_> = node.subscriptions.iter().map(|one| one.channel.as_str()).collect();
    let mut pairs = vec![
        ("name", looking(&node.name, Look::Strong)),
        ("id", cell(node.id.to_string())),
        ("node", cell(&node.node)),
        ("version", cell(format!("{}, up {}", node.version, lasting(node.uptime_seconds)))),
        ("doing", cell(node.status.as_ref().map_or_else(|| "nothing".to_owned(), said))),
        ("attention", cell(node.attention_mode.0.name())),
        ("inbox", cell(if waiting.is_empty() { "empty".to_owned() } else { waiting.join(", ") })),
        ("peers", cell(format!("{} online of {} known", node.peers_online, node.peers_total))),
        ("channels", cell(channels.join(" "))),
        ("endpoints", cell(node.endpoints.join(" "))),
        ("control", cell(node.control_url.as_deref().unwrap_or("Unix socket only"))),
        ("data", cell(&node.data_dir)),
    ];
    pairs.extend(node.sources.iter().map(|source| {
        let text = match &source.detail {
            Some(detail) => format!("{}: {detail}", source.state),
            None => source.state.clone(),
        };
        (source.source.0.name(), looking(text, health(&source.state)))
    }));
    page.pairs(&pairs)
}

fn health(state: &str) -> Look {
    match state {
        "failed" => Look::Bad,
        "off" => Look::Faint,
        _ => Look::Good,
    }
}

/// A length of time in its two largest units.
fn lasting(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_given_as_text_becomes_what_peers_expect() {
        assert_eq!(meant(json!("tests"), Some(0.25)), json!({"working_on": "tests", "progress": 0.25}));
        assert_eq!(meant(json!({"a": 1}), None), json!({"a": 1}));
    }

    #[test]
    fn lengths_of_time_have_two_units() {
        assert_eq!([lasting(5), lasting(65), lasting(3660), lasting(90_000)], ["5s", "1m 5s", "1h 1m", "1d 1h"]);
    }
}
