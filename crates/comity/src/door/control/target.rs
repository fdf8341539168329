//! Whom a person or an agent means: a peer by name, UUID or key, or a channel.

use super::denied::{Denied, channel};
use axum::http::StatusCode;
use comity_core::channel::Channel;
use comity_core::id::{NodeId, PeerId};
use comity_core::node::NodeView;
use comity_core::peers::PeerView;
use uuid::Uuid;

/// Where a message goes, or whose messages are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// One peer.
    Peer(PeerId),
    /// Everybody who listens to the channel.
    Channel(Channel),
    /// Everybody who listens to the topic.
    Topic(Channel),
}

/// What this text names. Channels begin with `_` or `custom:`; a peer's name comes before a topic, which has a `/` in
/// its name, and before the name of any other channel that this node listens to.
pub(crate) fn resolve(view: &NodeView, text: &str) -> Result<Target, Denied> {
    if text.starts_with('!') {
        let sentence = format!("this node takes part in no federated channel, and so not in {text}");
        return Err(Denied::new(StatusCode::NOT_FOUND, "unknown_channel", sentence));
    }
    if text.starts_with('_') || text.starts_with("custom:") {
        return channel(text).map(Target::Channel);
    }
    match peer(view, text) {
        Err(denied) if denied.code == "unknown_peer" && text.contains('/') => {
            Channel::new(text).map(Target::Topic).map_err(|_| denied)
        }
        Err(denied) if denied.code == "unknown_peer" => {
            let own = Channel::new(text).ok().filter(|channel| view.subscriptions.contains_key(channel));
            own.map(Target::Channel).ok_or(denied)
        }
        found => found.map(Target::Peer),
    }
}

/// The peer that this text names: a UUID, a node id, its first eight characters, or a name. Of
/// several with one name the most trusted counts, there or not: what is meant for somebody who is away
/// never goes to a namesake. A name that is the beginning of another's key names nobody.
pub(crate) fn peer(view: &NodeView, text: &str) -> Result<PeerId, Denied> {
    if let Some(id) = id(text) {
        return known(view, id, text);
    }
    let begins = |key: &NodeId| key.short() == text;
    let is_a_key = view.known.iter().any(begins) || view.peers.iter().filter_map(|peer| peer.key.as_ref()).any(begins);
    let named = |peer: &&PeerView| if is_a_key { peer.key.as_ref().is_some_and(begins) } else { peer.name == text };
    let best = view.peers.iter().filter(named).map(|peer| peer.trust).max();
    let found: Vec<_> = view.peers.iter().filter(named).filter(|peer| Some(peer.trust) == best).collect();
    match found.as_slice() {
        [] if text == view.name => Err(ourselves()),
        [] => Err(Denied::unknown_peer(text)),
        [one] => Ok(one.id),
        several => Err(ambiguous(text, several)),
    }
}

/// The key that this text names: a node id, met or not, or a peer that has proven its key. Whoever
/// is trusted from now on must be the one that is meant: a name must be that of one peer alone.
pub(crate) fn key(view: &NodeView, text: &str) -> Result<NodeId, Denied> {
    if let Ok(key) = text.parse::<NodeId>() {
        return if key == view.node { Err(ourselves()) } else { Ok(key) };
    }
    let listed = Uuid::parse_str(text).ok().and_then(|id| view.known.iter().find(|key| key.peer().0 == id));
    if let Some(listed) = listed {
        return Ok(*listed);
    }
    let id = peer(view, text)?;
    let means = |peer: &&PeerView| peer.name == text || peer.key.is_some_and(|key| key.short() == text);
    let namesakes: Vec<_> = view.peers.iter().filter(means).collect();
    if namesakes.len() > 1 {
        return Err(ambiguous(text, &namesakes));
    }
    let proven = view.peers.iter().find(|peer| peer.id == id).and_then(|peer| peer.key);
    proven.ok_or_else(|| {
        let sentence =
            format!("{text} has not proven its key here: name it by the node id that `comity id` prints over there");
        Denied::new(StatusCode::CONFLICT, "conflict", sentence)
    })
}

fn ambiguous(name: &str, peers: &[&PeerView]) -> Denied {
    let ids: Vec<_> = peers.iter().map(|peer| peer.id.to_string()).collect();
    let sentence = format!("{} peers are called {name}: name one by its id, {}", ids.len(), ids.join(" or "));
    Denied::new(StatusCode::CONFLICT, "conflict", sentence)
}

fn id(text: &str) -> Option<PeerId> {
    let of_key = text.parse::<NodeId>().ok().map(|key| key.peer());
    of_key.or_else(|| Uuid::parse_str(text).ok().map(PeerId))
}

fn known(view: &NodeView, id: PeerId, text: &str) -> Result<PeerId, Denied> {
    if id == view.peer {
        return Err(ourselves());
    }
    view.peers.iter().find(|peer| peer.id == id).map(|peer| peer.id).ok_or_else(|| Denied::unknown_peer(text))
}

fn ourselves() -> Denied {
    Denied::new(StatusCode::BAD_REQUEST, "bad_request", "that is this node itself")
}
