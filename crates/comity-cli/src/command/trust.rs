//! `comity trust`: the list of known nodes.

use crate::args::Trust;
use crate::exit::Failure;
use crate::page::{Look, Page, cell, clean, looking};
use comity_client::Client;
use comity_client::control::{KnownNode, KnownNodes};
use comity_core::federation::Origin;

pub(crate) async fn run(client: &Client, wanted: Trust, page: &mut Page) -> Result<(), Failure> {
    let Some(peer) = wanted.peer else { return list(client, page).await };
    if !wanted.remove && is_origin(client, &peer).await? {
        let other = client.trust_origin(&peer).await?;
        if page.json {
            return page.value(&other);
        }
        let key = other.key.as_deref().unwrap_or("-");
        return page.line(&format!("{} speaks by {key} from now on", clean(&other.origin)));
    }
    let node = client.trust(&peer, !wanted.remove).await?;
    if page.json {
        return page.value(&node);
    }
    let is = if wanted.remove { "is not on the list of known nodes any more" } else { "is a known node from now on" };
    page.line(&format!("{} {} {is}", name(&node), node.key))
}

/// Whether a name is that of an origin, and not of a peer: an origin that is known comes first, for anybody can take a
/// name.
async fn is_origin(client: &Client, name: &str) -> Result<bool, Failure> {
    let Ok(origin) = Origin::said(name) else { return Ok(false) };
    // Err: this node speaks for no origin.
    let Ok(state) = client.federation().await else { return Ok(false) };
    if state.others.iter().any(|other| other.origin == origin.as_str()) {
        return Ok(true);
    }
    let is_peer = client.peers().await?.iter().any(|peer| peer.name == name);
    Ok(!is_peer && (origin.as_str().contains(['.', ':']) || origin.name() == "localhost"))
}

async fn list(client: &Client, page: &mut Page) -> Result<(), Failure> {
    let known = client.known().await?;
    if page.json {
        return page.value(&KnownNodes { known });
    }
    if known.is_empty() {
        return page.line("No node is on the list. `comity trust PEER` puts one there.");
    }
    let row = |node: &KnownNode| vec![looking(name(node), Look::Strong), cell(node.id.to_string()), cell(&node.key)];
    page.table(&["NAME", "ID", "NODE"], &known.iter().map(row).collect::<Vec<_>>())
}

/// What it calls itself, if it was met.
fn name(node: &KnownNode) -> String {
    node.name.as_deref().map_or_else(|| "-".to_owned(), clean)
}
