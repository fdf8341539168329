//! Whom a question goes to: this node, those of its peers that it knows, or those that somebody named; and what is said of
//! those that did not answer.

use super::NotAsked;
use crate::link::{Unanswered, can_be_asked};
use comity_core::basin::filter::Filters;
use comity_core::node::NodeView;
use comity_core::peers::{PeerView, Presence};
use comity_core::wire::control;
use comity_core::wire::mesh::query::{self, Asked, NodeFailed, Query};
use serde_json::{Map, Value};
use std::time::Duration;

/// Nodes that one question goes to where nothing says which are better, or that it may name, at most.
pub(in crate::search) const ASKED_MAX: usize = 16;

/// What documents count of a node of which nothing was heard lately, beside 1 of those that are there: they may have
/// changed since, and yet what is clearly nearer stays before what is fresh.
const STALE: f64 = 0.9;

/// One node that is asked.
#[derive(Debug)]
pub(in crate::search) struct Target {
    pub(in crate::search) name: String,
    pub(in crate::search) peer: PeerView,
}

/// The question of somebody on this machine.
pub(super) fn read(wanted: control::Search) -> Result<Query, NotAsked> {
    let bad = |pointer, why: String| NotAsked::Field { pointer, why };
    let asked = match (wanted.query, wanted.basin) {
        (Some(text), None) if !text.trim().is_empty() => Asked::Text(text),
        (None, Some(numbers)) => Asked::Basin(numbers),
        _ => return Err(bad("/query", "a text or a basin is wanted, and not both".to_owned())),
    };
    let limit = wanted.limit.unwrap_or(query::LIMIT as u64);
    if !(1..=query::LIMIT_MAX as u64).contains(&limit) {
        return Err(bad("/limit", format!("a whole number from 1 to {} is wanted", query::LIMIT_MAX)));
    }
    let timeout = wanted.timeout_ms.unwrap_or(query::TIMEOUT.as_millis() as u64);
    if !(1..=30_000).contains(&timeout) {
        return Err(bad("/timeout_ms", "a whole number from 1 to 30000 is wanted".to_owned()));
    }
    let members: Map<String, Value> = wanted.filter.into_iter().map(|(name, value)| (name, value.into())).collect();
    let filters = Filters::of(&members).map_err(|wrong| bad("/filter", wrong.to_string()))?;
    let (limit, timeout) = (limit as usize, Duration::from_millis(timeout));
    Ok(Query { limit, include_nodes: wanted.nodes, timeout, filters, ..Query::new(asked) })
}

/// Who could be asked, at most so many: those that this node knows, and that have not left.
pub(in crate::search) fn everybody(view: &NodeView, most: usize) -> Vec<Target> {
    view.peers.iter().filter(|peer| can_be_asked(view, peer)).take(most).map(target).collect()
}

fn target(peer: &PeerView) -> Target {
    Target { name: name(peer), peer: peer.clone() }
}

/// Of those that are named whether this node itself is, which others are asked, and what cannot be asked.
pub(super) fn targets(view: &NodeView, named: &[String]) -> (bool, Vec<Target>, Vec<NodeFailed>) {
    let (mut is_here, mut targets, mut failed) = (false, Vec::new(), Vec::new());
    for wanted in named {
        if is_me(view, wanted) {
            is_here = true;
            continue;
        }
        let mut like = view.peers.iter().filter(|peer| is_called(peer, wanted)).peekable();
        let is_there = like.peek().is_some();
        match like.find(|peer| can_be_asked(view, peer)) {
            Some(peer) if targets.len() < ASKED_MAX => targets.push(target(peer)),
            Some(_) => failed.push((wanted, "more nodes are named than are asked")),
            None if is_there => failed.push((wanted, "it is away, or not known here (comity trust)")),
            None => failed.push((wanted, "no such node was heard of here")),
        }
    }
    let failed = failed.into_iter().map(|(node, cause)| NodeFailed { node: node.clone(), cause: cause.to_owned() });
    (is_here, targets, failed.collect())
}

fn name(peer: &PeerView) -> String {
    match (&peer.name, &peer.key) {
        (name, _) if !name.is_empty() => name.clone(),
        (_, Some(key)) => key.to_string(),
        _ => peer.id.to_string(),
    }
}

pub(super) fn is_called(peer: &PeerView, wanted: &str) -> bool {
    peer.name == wanted
        || peer.id.to_string() == wanted
        || peer.key.as_ref().is_some_and(|key| key.to_string() == wanted)
}

pub(super) fn is_me(view: &NodeView, wanted: &str) -> bool {
    view.name == wanted || view.peer.to_string() == wanted || view.node.to_string() == wanted
}

/// How fresh what a node has is, by how it goes with that node; `None`: it is no peer any more.
pub(super) fn freshness(presence: Option<Presence>) -> f64 {
    match presence {
        Some(Presence::Seen | Presence::Online) => 1.0,
        Some(Presence::Stale | Presence::Unreachable | Presence::Offline) | None => STALE,
    }
}

/// What is said of who has not answered in time.
pub(super) fn late(timeout: Duration) -> String {
    format!("no answer within {} ms", timeout.as_millis())
}

/// Why a node did not answer, in words.
pub(in crate::search) fn said(why: Unanswered, is_late: bool, timeout: Duration) -> String {
    match why {
        _ if is_late => late(timeout),
        Unanswered::Status(401 | 403) => "it does not know this node (comity trust, over there)".to_owned(),
        Unanswered::Status(404) => "it has no mesh".to_owned(),
        Unanswered::Unreachable => "it cannot be reached".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use comity_core::basin::merge::{Answered, Found, merge};
    use comity_core::basin::metadata::Shown;
    use comity_core::basin::settings::Settings;

    /// The first result where a node that is there and one of that presence have something so far away.
    fn first(presence: Option<Presence>, (there, other): (f64, f64)) -> String {
        let answered = |node: &str, presence, distance| Answered {
            node: node.to_owned(),
            freshness: freshness(presence),
            found: vec![Found { doc_id: node.parse().expect("a name"), shown: Shown::default(), distance }],
        };
        let answers = vec![answered("there", Some(Presence::Online), there), answered("other", presence, other)];
        merge(&Settings::default(), answers, 9).ranked.remove(0).node
    }

    #[test]
    fn what_a_silent_node_has_comes_after_what_is_about_as_near_and_before_what_is_far() {
        for presence in [Some(Presence::Stale), Some(Presence::Unreachable), Some(Presence::Offline), None] {
            assert_eq!(first(presence, (0.6, 0.5)), "there", "{presence:?}");
            assert_eq!(first(presence, (1.5, 0.5)), "other", "{presence:?}");
        }
        assert_eq!(first(Some(Presence::Seen), (0.6, 0.5)), "other");
    }
}
