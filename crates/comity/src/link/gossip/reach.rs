//! Which addresses libp2p may dial, and how many at once. Its parts learn addresses from strangers (identify, Kademlia,
//! hole punching) and dial them by themselves: every dial passes here. See "Dialling" in `protocols/identity.md`, and
//! "Operations" in `protocols/pubsub.md` for the limits.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

/// Dials at once.
const AT_ONCE: usize = 10;

/// Between the beginnings of two dials: five a second.
const PAUSE: Duration = Duration::from_millis(200);

/// Addresses that were permitted by the dial guard, or named by a person, and are remembered.
const PERMITTED_MAX: usize = 4096;

/// Where dials go through.
pub(super) struct Reach {
    /// Whether this machine has no address but loopback.
    on_loopback: bool,
    /// Where this node itself answers its owner: never dialled.
    private: Vec<SocketAddr>,
    turns: Arc<Semaphore>,
    // Locks and not messages: dials begin wherever libp2p happens to poll them.
    next: Mutex<Instant>,
    permitted: Mutex<BTreeSet<SocketAddr>>,
}

impl Reach {
    pub(super) fn new(on_loopback: bool, private: Vec<SocketAddr>) -> Self {
        Self {
            on_loopback,
            private,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            next: Mutex::new(Instant::now()),
            permitted: Mutex::default(),
        }
    }

    /// Lets an address be dialled that the dial guard has permitted, or that a person named.
    pub(super) fn permit(&self, address: SocketAddr) {
        let mut permitted = self.permitted.lock().unwrap_or_else(PoisonError::into_inner);
        if permitted.len() >= PERMITTED_MAX {
            permitted.pop_first();
        }
        permitted.insert(address);
    }

    /// Waits for its turn to dial this address; the turn is given back when it is dropped.
    pub(super) async fn dial(&self, address: SocketAddr) -> io::Result<OwnedSemaphorePermit> {
        if !self.admits(address) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "an address that is not dialled"));
        }
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(io::Error::other)?;
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let at = (*next).max(Instant::now());
            *next = at + PAUSE;
            at
        };
        sleep_until(at).await;
        Ok(turn)
    }

    fn admits(&self, address: SocketAddr) -> bool {
        if self.private.contains(&address) {
            return false;
        }
        let permitted = self.permitted.lock().unwrap_or_else(PoisonError::into_inner).contains(&address);
        permitted || self.is_common(address.ip().to_canonical())
    }

    /// Whether anybody may name this address.
    fn is_common(&self, ip: IpAddr) -> bool {
        let link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let loopback = ip.is_loopback() && !self.on_loopback;
        !(loopback || link_local || ip.is_unspecified() || ip.is_multicast())
    }
}
