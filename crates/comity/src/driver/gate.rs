//! The gate that senders pass: it is shut for a peer while the rules say that its queue is more
//! than half full. It slows senders down and refuses nothing; the queue itself does that.

use comity_core::id::PeerId;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// The longest that one message waits for one peer's queue; then the queue decides.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Which peers ask senders to wait.
#[derive(Debug)]
pub(super) struct Gate {
    /// Whether any peer asks: read for every message, so that an open gate costs one load.
    shut: AtomicBool,
    pressed: watch::Sender<Pressed>,
}

#[derive(Debug, Default)]
struct Pressed {
    peers: BTreeSet<PeerId>,
    /// Peers that kept a broadcast waiting for the full time: they hold up no other broadcast
    /// until they have caught up.
    given_up: BTreeSet<PeerId>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { shut: AtomicBool::new(false), pressed: watch::Sender::default() }
    }

    /// Shuts or opens the gate for a peer.
    pub(super) fn set(&self, peer: PeerId, on: bool) {
        self.pressed.send_modify(|pressed| {
            if on {
                pressed.peers.insert(peer);
            } else {
                pressed.peers.remove(&peer);
                pressed.given_up.remove(&peer);
            }
            self.shut.store(!pressed.peers.is_empty(), Ordering::Relaxed);
        });
    }

    /// Waits until the gate is open for the peer, or for everybody: [`WAIT_MAX`] at most.
    pub(super) async fn pass(&self, to: Option<PeerId>) {
        if !self.shut.load(Ordering::Relaxed) {
            return;
        }
        let mut pressed = self.pressed.subscribe();
        let open = pressed.wait_for(|pressed| match to {
            Some(peer) => !pressed.peers.contains(&peer),
            None => pressed.peers.is_subset(&pressed.given_up),
        });
        let waited = timeout(WAIT_MAX, open).await.is_ok();
        if !waited && to.is_none() {
            self.pressed.send_modify(|pressed| pressed.given_up.clone_from(&pressed.peers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_sender_waits_until_the_peer_has_caught_up() {
        let gate = Gate::new();
        let peer = PeerId::of_foreign("slow");
        gate.set(peer, true);
        let start = Instant::now();
        tokio::join!(gate.pass(Some(peer)), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            gate.set(peer, false);
        });
        assert_eq!(start.elapsed().as_millis(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_peer_holds_up_only_one_broadcast() {
        let gate = Gate::new();
        gate.set(PeerId::of_foreign("dead"), true);
        let start = Instant::now();
        gate.pass(None).await;
        assert_eq!(start.elapsed(), WAIT_MAX);
        gate.pass(None).await;
        assert_eq!(start.elapsed(), WAIT_MAX);
    }
}
