//! `comity mesh`: the registry of a mesh, its nodes, and who may be one.

use crate::args::Mesh;
use crate::exit::Failure;
use crate::page::{Look, Page, cell, looking};
use comity_client::Client;
use comity_client::control::{Enroll, MeshNode, Revoke};

pub(crate) async fn run(client: &Client, wanted: Mesh, page: &mut Page) -> Result<(), Failure> {
    match wanted {
        Mesh::Enroll { uses, expires } => {
            let token = client.enroll(&Enroll { uses, expires_in_seconds: expires.as_secs() }).await?;
            if page.json {
                return page.value(&token);
            }
            page.line(&token.token)?;
            let nodes = if uses == 1 { "one node".to_owned() } else { format!("{uses} nodes") };
            page.line(&format!("good for {nodes} until {}; revoke it as {}", token.expires, token.hash))
        }
        Mesh::Nodes => nodes(client, page).await,
        Mesh::Revoke { what } => {
            let revoked = client.revoke(&Revoke { what }).await?;
            if page.json {
                return page.value(&revoked);
            }
            let parts = [(revoked.node, "the node is out"), (revoked.api_key, "its API key is revoked")];
            let parts = parts.into_iter().chain([(revoked.token, "the token is revoked")]);
            let said: Vec<&str> = parts.filter(|(done, _)| *done).map(|(_, said)| said).collect();
            page.line(&said.join(", "))
        }
    }
}

async fn nodes(client: &Client, page: &mut Page) -> Result<(), Failure> {
    let all = client.mesh_nodes().await?;
    if page.json {
        return page.value(&all);
    }
    if let Some(registry) = &all.registered_with {
        let state = match &registry.trouble {
            Some(trouble) => format!("not well: {trouble}"),
            None if registry.registered => "registered".to_owned(),
            None => "not registered yet".to_owned(),
        };
        page.line(&format!("{} as {}: {state}", registry.url, registry.node_id))?;
    }
    if all.nodes.is_empty() {
        return page.line("No nodes.");
    }
    let rows: Vec<_> = all.nodes.iter().map(row).collect();
    page.table(&["NODE", "SERVICE", "STATE", "RUNNING", "LOAD", "CAN", "WHERE"], &rows)
}

fn row(node: &MeshNode) -> Vec<crate::page::Cell> {
    let state = match node.state.as_str() {
        "stale" | "gone" => looking(&node.state, Look::Warning),
        "told" => cell("-"),
        state => cell(state),
    };
    let running = match (node.running, node.queued) {
        (Some(running), Some(queued)) => format!("{running}+{queued}"),
        _ => "-".to_owned(),
    };
    let load = match (node.cpu, node.memory) {
        (Some(cpu), Some(memory)) => format!("{:.0}% cpu, {:.0}% memory", cpu * 100.0, memory * 100.0),
        _ => "-".to_owned(),
    };
    let can = if node.capabilities.is_empty() { "-".to_owned() } else { node.capabilities.join(" ") };
    let (service, node_id) = (cell(&node.service_name), looking(&node.node_id, Look::Strong));
    vec![node_id, service, state, cell(running), cell(load), cell(can), cell(&node.endpoint)]
}
