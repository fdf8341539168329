//! Questions that a coordinator answers for the nodes that are registered with it. Which of them are asked is decided in
//! `registry/`; who may ask, at the door. See "Routing" in `protocols/mesh.md`.

use super::hedging::until;
use super::{Mesh, NotAsked, Round, Target};
use comity_core::id::NodeId;
use comity_core::peers::Presence;
use comity_core::wire::mesh::query::{Answer, NodeFailed, Query};
use std::collections::BTreeMap;
use tokio::time::Instant;

impl Mesh {
    /// Answers for this node and for those that are registered with it: which of them are asked `routed` says, by the
    /// vector of the question and this node's key.
    pub(crate) async fn relay(
        &self,
        query: &Query,
        routed: impl FnOnce(&[f32], NodeId) -> Vec<NodeId>,
    ) -> Result<Answer, NotAsked> {
        let begun = Instant::now();
        let view = self.0.handle.look().await;
        // A model that does not answer in half of the time is not waited for: who asks can ask the nodes themselves.
        let unit = self.unit_until(query, begun + query.timeout / 2).await?;
        let (mut targets, mut failed) = (Vec::new(), Vec::new());
        for key in routed(&unit, view.node) {
            match view.peers.iter().find(|peer| peer.key == Some(key) && peer.presence != Presence::Offline) {
                Some(peer) => targets.push(Target { name: key.to_string(), peer: peer.clone() }),
                None => failed.push(NodeFailed { node: key.to_string(), cause: "it was not reached yet".to_owned() }),
            }
        }
        let asked = targets.len() + failed.len() + 1;
        let own = self.own(query, unit, BTreeMap::from([(super::OWN, 1.0)]));
        let round = Round { first: targets, ..Round::default() };
        let (own, mut heard) = tokio::join!(own, self.ask_all(round, (query, until(begun, query.timeout))));
        heard.answered.extend(own?);
        heard.failed.extend(failed);
        Ok(self.merged(query, heard, (asked, begun)))
    }
}
