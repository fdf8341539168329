//! Asking peers that proved their key whom else they know (`GET /dashflow/peers`). What they answer
//! are claims about others: addresses to try, never proof. See "Discovery" in
//! `protocols/local-network.md`.

#[cfg(test)]
mod tests;

use crate::driver::Handle;
use crate::link::{Links, Whom};
use comity_core::id::{NodeId, PeerId};
use comity_core::identity::trust::Trust;
use comity_core::limits;
use comity_core::node::{Event, Input, NodeView};
use comity_core::peers::{Candidate, PeerView, Presence, Sighting, Source};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

/// How often peers are asked. Oftener costs requests; seldomer, and a network without multicast
/// takes longer to know itself.
const ROUND_EVERY: Duration = Duration::from_secs(60);

/// Peers asked in one round, at most; the next round goes on with the others.
const ASKED_MAX: usize = 8;

/// How long after a link comes up its peer is asked, so that those who come together are asked in
/// one go.
const SOON: Duration = Duration::from_millis(250);

/// Peers that are read from one answer, at most. Those named first are the ones that count.
const TOLD_MAX: usize = 256;

/// Asks whoever has proven its key, in rounds and whenever such a peer comes, until the node ends.
pub(crate) async fn run(handle: Handle, links: Links) {
    let mut events = handle.peer_events();
    let mut round_at = Instant::now() + ROUND_EVERY;
    let mut turn = 0;
    loop {
        tokio::select! {
            () = handle.stop().cancelled() => return,
            event = events.recv() => match event {
                Ok(event) => {
                    if matches!(&*event, Event::PeerJoined(peer) if peer.trust >= Trust::Verified) {
                        round_at = round_at.min(Instant::now() + SOON);
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            () = sleep_until(round_at) => {
                round_at = Instant::now() + ROUND_EVERY;
                let view = handle.look().await;
                for whom in askable(&view, turn) {
                    ask(&handle, &links, whom).await;
                }
                turn += 1;
            }
        }
    }
}

async fn ask(handle: &Handle, links: &Links, whom: Whom) {
    match links.fetch(whom, "/dashflow/peers").await {
        Ok(answer) => {
            for sighting in sightings(&answer, whom.address.ip(), handle.me().peer()) {
                handle.inform(Input::Sighted(sighting)).await;
            }
        }
        Err(error) => tracing::debug!(address = %whom.address, %error, "a peer did not say whom it knows"),
    }
}

/// Whom to ask in this turn: peers that are there and proved their key, each in its turn, at their
/// best address and by their key.
fn askable(view: &NodeView, turn: usize) -> Vec<Whom> {
    let whom = |peer: &PeerView| {
        let (key, address) = (peer.key?, *peer.addresses.first()?);
        let asks = peer.trust >= Trust::Verified && peer.presence == Presence::Online;
        asks.then_some(Whom { address, key: Some(key) })
    };
    let all: Vec<Whom> = view.peers.iter().filter_map(whom).collect();
    let start = if all.is_empty() { 0 } else { (turn * ASKED_MAX) % all.len() };
    all.iter().cycle().skip(start).take(ASKED_MAX.min(all.len())).copied().collect()
}

/// What an answer says of others. Whatever is not as the protocol says is passed over.
fn sightings(answer: &Value, told_by: IpAddr, me: PeerId) -> Vec<Sighting> {
    let peers = answer["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let sightings = peers.iter().take(TOLD_MAX).filter_map(|peer| sighting(peer, told_by));
    sightings.filter(|sighting| sighting.peer != me).collect()
}

fn sighting(peer: &Value, told_by: IpAddr) -> Option<Sighting> {
    let text = |name: &str| cut(peer[name].as_str().unwrap_or_default());
    let key: Option<NodeId> = ["key", "public_key"].iter().find_map(|name| peer[name].as_str()?.parse().ok());
    let claimed = peer["id"].as_str().and_then(|id| Uuid::parse_str(id).ok()).map(PeerId);
    let endpoints = peer["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let candidates: Vec<Candidate> = endpoints
        .iter()
        .chain([&peer["endpoint"]])
        .filter_map(|endpoint| address(endpoint.as_str()?))
        .take(limits::PEER_LIST_MAX)
        .map(|address| Candidate { address, source: Source::Exchange })
        .collect();
    if candidates.is_empty() {
        return None;
    }
    let capabilities = peer["capabilities"].as_array().map(Vec::as_slice).unwrap_or_default();
    let metadata = peer["metadata"].as_object().into_iter().flatten();
    Some(Sighting {
        source: Source::Exchange,
        told_by: Some(told_by),
        peer: key.map(|key| key.peer()).or(claimed)?,
        key,
        name: text("name"),
        version: text("version"),
        capabilities: capabilities.iter().filter_map(Value::as_str).take(limits::PEER_LIST_MAX).map(cut).collect(),
        candidates,
        metadata: metadata
            .filter_map(|(name, value)| Some((cut(name), cut(value.as_str()?))))
            .take(limits::PEER_LIST_MAX)
            .collect::<BTreeMap<_, _>>(),
        rendezvous: None,
    })
}

/// The address of an endpoint such as `http://10.0.0.1:8400`; names are not looked up for others.
fn address(endpoint: &str) -> Option<SocketAddr> {
    let rest = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"))?;
    rest.trim_end_matches('/').parse().ok()
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(limits::PEER_TEXT_MAX)].to_owned()
}
