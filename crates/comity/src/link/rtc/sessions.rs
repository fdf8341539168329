//! Which connections by WebRTC there are or are tried, with whom, and who began them: how much room there is for
//! each, so that strangers never take that of this node's own attempts or of known nodes. Nothing here connects.

use super::session::Order;
use super::{Declined, Rtc};
use comity_core::id::{LinkId, NodeId};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Connections that a node may have or try at once. Each holds a few sockets and some 100 KiB.
pub(super) const SESSIONS_MAX: usize = 256;

/// Connections that nodes which are not known here may have or try at once. What is left is for this node's own
/// attempts and for known nodes.
pub(super) const STRANGERS_MAX: usize = 192;

/// Connections that strangers at one address may be trying at once.
pub(super) const FROM_ONE_ADDRESS_MAX: usize = 16;

/// Connections that strangers may be trying through brokers at once, which do not say where they are.
pub(super) const BY_BROKERS_MAX: usize = 64;

/// Connections that one key may be trying at once.
pub(super) const FROM_ONE_KEY_MAX: usize = 2;

/// How long the id of a session that ended is not taken again: longer than its offer is good.
const SPENT_FOR: Duration = Duration::from_secs(150);

/// How many such ids are kept.
const SPENT_MAX: usize = 4096;

/// Orders that wait for a session, at most.
const ORDERS_MAX: usize = 16;

/// One connection, or the attempt at it.
pub(super) struct Entry {
    pub(super) peer: NodeId,
    origin: Origin,
    /// The link, once it is up.
    pub(super) link: Option<LinkId>,
    /// `None` when it is over, but for its last packets.
    pub(super) orders: Option<mpsc::Sender<Order>>,
}

/// Who began a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This node.
    Own,
    /// A node that is known here, or that the owner stands for.
    Friend,
    /// Somebody else, from this address; `None` when it was through a broker.
    Stranger(Option<IpAddr>),
}

impl Entry {
    pub(super) fn new(peer: NodeId, origin: Origin) -> Self {
        Self { peer, origin, link: None, orders: None }
    }

    /// Whether it is being tried.
    fn is_trying(&self) -> bool {
        self.link.is_none() && self.orders.is_some()
    }

    fn is_of_stranger(&self) -> bool {
        matches!(self.origin, Origin::Stranger(_))
    }
}

impl Rtc {
    pub(super) fn sessions(&self) -> MutexGuard<'_, BTreeMap<Uuid, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a session, if there is one.
    pub(super) fn enter(&self, id: Uuid, entry: Entry) -> Result<mpsc::Receiver<Order>, Declined> {
        let mut sessions = self.sessions();
        if sessions.contains_key(&id) || self.is_spent(id) {
            return Err(Declined::Because("an offer of this session was taken already".to_owned()));
        }
        if sessions.len() >= SESSIONS_MAX {
            return Err(Declined::Full);
        }
        let guests = || sessions.values().filter(|other| other.origin != Origin::Own && other.link.is_none());
        if entry.origin != Origin::Own {
            let from_it = guests().filter(|other| other.peer == entry.peer).count();
            if from_it >= FROM_ONE_KEY_MAX {
                return Err(Declined::Full);
            }
        }
        if let Origin::Stranger(from) = entry.origin {
            let there =
                |other: &&Entry| matches!(other.origin, Origin::Stranger(there) if there.map(block) == from.map(block));
            let from_there = guests().filter(there).count();
            let there_max = if from.is_some() { FROM_ONE_ADDRESS_MAX } else { BY_BROKERS_MAX };
            let strangers = sessions.values().filter(|other| other.is_of_stranger()).count();
            if from_there >= there_max || strangers >= STRANGERS_MAX {
                return Err(Declined::Full);
            }
        }
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        sessions.insert(id, Entry { orders: Some(orders), ..entry });
        Ok(waiting)
    }

    /// Its link is up.
    pub(super) fn settle(&self, id: Uuid, link: LinkId) {
        if let Some(entry) = self.sessions().get_mut(&id) {
            entry.link = Some(link);
        }
    }

    /// Whether this peer's own attempt is under way.
    pub(super) fn is_accepting(&self, peer: NodeId) -> bool {
        self.sessions().values().any(|entry| entry.peer == peer && entry.origin != Origin::Own && entry.is_trying())
    }

    fn is_spent(&self, id: Uuid) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        while spent.front().is_some_and(|(since, _)| since.elapsed() > SPENT_FOR) {
            spent.pop_front();
        }
        spent.iter().any(|(_, other)| *other == id)
    }

    /// The attempt of this side at connecting with this peer, if there is one.
    pub(super) fn rival(&self, peer: NodeId) -> Option<mpsc::Sender<Order>> {
        let own = |entry: &&Entry| entry.peer == peer && entry.origin == Origin::Own && entry.is_trying();
        self.sessions().values().find(own)?.orders.clone()
    }

    /// It is over, and stands in nobody's way; it takes its room until [`Self::forget`].
    pub(super) fn retire(&self, id: Uuid) {
        if let Some(entry) = self.sessions().get_mut(&id) {
            entry.orders = None;
        }
    }

    pub(super) fn forget(&self, id: Uuid) {
        let entry = self.sessions().remove(&id);
        if entry.is_some_and(|entry| entry.origin != Origin::Own) {
            let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
            spent.push_back((Instant::now(), id));
            if spent.len() > SPENT_MAX {
                spent.pop_front();
            }
        }
    }

    /// Where orders for a session go, if it is with this peer.
    pub(super) fn orders(&self, id: Uuid, peer: NodeId) -> Option<mpsc::Sender<Order>> {
        self.sessions().get(&id).filter(|entry| entry.peer == peer)?.orders.clone()
    }
}

/// What one customer of a provider has of addresses: a /64 of IPv6.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}
