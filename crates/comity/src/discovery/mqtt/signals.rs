//! The sealed signals of WebRTC that go through brokers: out by all of them, in once each.

use super::connection::Publication;
use super::member::Order;
use super::{Hub, Signal};
use comity_core::id::PeerId;
use comity_core::wire::announce::BODY_MAX;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Signals for this node that wait to be taken; more are dropped and counted.
pub(super) const SIGNALS_MAX: usize = 256;

/// How long a broker may keep a signal for somebody who is away: as long as an attempt takes. Who came back to older ones
/// would answer somebody who has given up.
const SIGNAL_VALID: Duration = Duration::from_secs(15);

/// The signals that came last: a broker may deliver one twice, and so do two brokers.
#[derive(Default)]
pub(super) struct Taken {
    hasher: RandomState,
    last: VecDeque<u64>,
}

impl Taken {
    fn is_new(&mut self, from: PeerId, body: &[u8]) -> bool {
        let hash = self.hasher.hash_one((from, body));
        if self.last.contains(&hash) {
            return false;
        }
        self.last.truncate(SIGNALS_MAX - 1);
        self.last.push_front(hash);
        true
    }
}

impl<F> Hub<F> {
    pub(super) fn take_signal(&mut self, to: &str, from: &str, body: bytes::Bytes) {
        let from = from.parse().map(PeerId).ok().filter(|_| to == self.me.to_string() && body.len() <= BODY_MAX);
        match from {
            None => self.counters.unannounced("signal", 1),
            Some(from) => {
                if !self.taken.is_new(from, &body) {
                    return;
                }
                if self.signals.try_send(Signal { from, body }).is_err() {
                    self.counters.unannounced("signals_full", 1);
                }
            }
        }
    }

    pub(super) fn signal(&self, to: PeerId, body: &[u8]) {
        let topic = self.topics.signal(&to.to_string(), &self.me.to_string());
        // By each that is connected or about to be: whoever is announced may be met before all is acknowledged.
        for broker in &self.brokers {
            let expiry = Some(SIGNAL_VALID);
            let publication = Publication { topic: topic.clone(), body: body.to_vec(), retain: false, expiry };
            if broker.orders.try_send(Order::Publish(publication)).is_err() {
                self.counters.unannounced("orders_full", 1);
            }
        }
    }
}
