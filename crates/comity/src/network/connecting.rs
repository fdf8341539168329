//! Connecting to everybody that brokers tell of, at once.

use super::Network;
use crate::announcing::Filter;
use comity_core::id::PeerId;
use comity_core::node::Input;
use comity_core::peers::{PeerView, Presence, WEBRTC, Way};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long the connections may take: through relays, with lost packets.
const CONNECT_WAIT: Duration = Duration::from_secs(20);

/// What is said of a peer of which no more is known.
const UNKNOWN: &str = "no answer in time";

/// What became of the connection with one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// With whom.
    pub peer: PeerId,
    /// What its packets go through, or why there is none.
    pub outcome: Result<Way, String>,
}

impl Network {
    /// Connects to every announced peer that the filter takes and that takes WebRTC connections, and
    /// returns when each is connected or cannot be reached, after at most 20 s. Nodes connect to the
    /// first 64 peers by themselves; this is for the others, and for whoever wants to know. Nothing
    /// without a broker.
    pub async fn connect_to_discovered_peers(&self, filter: &Filter) -> Vec<Connection> {
        let Some(discovery) = self.discovery() else { return Vec::new() };
        let announced = discovery.discover_peers(filter).await;
        let takes = |protocols: &[String]| protocols.iter().any(|protocol| protocol == WEBRTC);
        let wanted = announced.into_iter().filter(|peer| takes(&peer.info.protocols) && peer.peer != self.id());
        let mut changes = self.peer_changes();
        let mut open: BTreeSet<PeerId> = wanted.map(|peer| peer.peer).collect();
        let unreached: BTreeSet<PeerId> =
            self.peers().await.iter().filter(is_unreachable).map(|peer| peer.id).collect();
        for peer in open.iter().copied() {
            self.0.handle.inform(Input::Wanted { peer }).await;
        }
        let mut connections = Vec::new();
        let until = Instant::now() + CONNECT_WAIT;
        loop {
            let peers = self.peers().await;
            for peer in &peers {
                let known = peer.way.map(Ok);
                // Who was not reached before, either, is being tried again.
                let failed = is_unreachable(&peer) && !unreached.contains(&peer.id);
                if let Some(outcome) = known.or(failed.then(|| Err(trouble(peer))))
                    && open.remove(&peer.id)
                {
                    connections.push(Connection { peer: peer.id, outcome });
                }
            }
            // Err: the time is over.
            if open.is_empty() || !matches!(timeout_at(until, changes.next()).await, Ok(Some(_))) {
                let why = |id| peers.iter().find(|peer| peer.id == id).map_or_else(|| UNKNOWN.to_owned(), trouble);
                connections.extend(open.into_iter().map(|peer| Connection { peer, outcome: Err(why(peer)) }));
                return connections;
            }
        }
    }
}

fn is_unreachable(peer: &&PeerView) -> bool {
    peer.presence == Presence::Unreachable
}

fn trouble(peer: &PeerView) -> String {
    peer.trouble.clone().unwrap_or_else(|| UNKNOWN.to_owned())
}
