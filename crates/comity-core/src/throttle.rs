//! How fast each sender may send: a token bucket (GCRA) by proven key, else by address and claimed
//! id; who is neither linked nor known shares a bucket with all others of its address. See "Limits"
//! in `protocols/identity.md`.

use crate::id::{NodeId, PeerId};
use crate::registry::key::KeyHash;
use foldhash::quality::FixedState;
use hashbrown::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Who is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// A key that is linked or known. There are only so many, so one always has room.
    Key(NodeId),
    /// An API key that this node issued. There are only so many of them, too.
    ApiKey(KeyHash),
    /// Any other proven key: whoever signs can make as many as it likes.
    Stranger(NodeId),
    /// An address and the id claimed from there.
    Claimed(IpAddr, PeerId),
    /// All from one address that is neither linked nor known.
    Address(IpAddr),
}

/// A rate and how far it may be exceeded for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Messages a second, sustained; at least 1.
    pub per_second: u32,
    /// Messages at once after a pause; at least 1.
    pub burst: u32,
}

/// What the throttle obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// For each sender: 10 a second, bursts of 20. Too little slows honest peers; too much lets
    /// one peer fill the inbox.
    pub sender: Rate,
    /// For all senders of one address that are neither linked nor known: 100 a second, bursts of 200.
    pub address: Rate,
    /// Most senders remembered at once; with none idle, new ones are refused. Linked and known ones
    /// may take as many places again, which strangers cannot fill.
    pub senders_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sender: Rate { per_second: 10, burst: 20 },
            address: Rate { per_second: 100, burst: 200 },
            senders_max: 16_384,
        }
    }
}

/// The buckets of all senders heard lately.
#[derive(Debug)]
pub struct Throttle {
    config: Config,
    /// When each sender's bucket will be full again, in time since the start.
    full_at: HashMap<Sender, Duration, FixedState>,
}

impl Throttle {
    /// No sender heard yet. `seed` keys the table.
    pub fn new(config: Config, seed: u64) -> Self {
        Self { config, full_at: HashMap::with_hasher(FixedState::with_seed(seed)) }
    }

    /// Takes up to `wanted` messages from the sender's bucket: how many may pass, and when the
    /// next one may, if not all did.
    pub fn take(&mut self, sender: Sender, wanted: usize, now: Duration) -> (usize, Duration) {
        let rate = match sender {
            Sender::Address(_) => self.config.address,
            Sender::Key(_) | Sender::ApiKey(_) | Sender::Stranger(_) | Sender::Claimed(..) => self.config.sender,
        };
        let senders_max = match sender {
            Sender::Key(_) | Sender::ApiKey(_) => 2 * self.config.senders_max,
            Sender::Stranger(_) | Sender::Claimed(..) | Sender::Address(_) => self.config.senders_max,
        };
        let step = (Duration::from_secs(1) / rate.per_second.max(1)).max(Duration::from_nanos(1));
        let depth = step * rate.burst.max(1);
        if !self.full_at.contains_key(&sender) && self.full_at.len() >= senders_max {
            self.sweep(now);
            if self.full_at.len() >= senders_max {
                return (0, Duration::from_secs(1));
            }
        }
        let full_at = self.full_at.entry(sender).or_insert(now);
        *full_at = (*full_at).max(now);
        let room = (now + depth).saturating_sub(*full_at);
        let granted = usize::try_from(room.as_nanos() / step.as_nanos()).unwrap_or(usize::MAX).min(wanted);
        *full_at += step * u32::try_from(granted).unwrap_or(u32::MAX);
        let retry_after = (*full_at + step).saturating_sub(now + depth);
        (granted, retry_after)
    }

    /// Forgets senders whose buckets are full again.
    pub fn sweep(&mut self, now: Duration) {
        self.full_at.retain(|_, full_at| *full_at > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: Sender = Sender::Address(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn throttle(per_second: u32, burst: u32) -> Throttle {
        let address = Rate { per_second, burst };
        Throttle::new(Config { address, senders_max: 2, ..Config::default() }, 1)
    }

    #[test]
    fn a_burst_passes_then_the_sustained_rate() {
        let mut throttle = throttle(10, 20);
        let second = Duration::from_secs(1);
        assert_eq!(throttle.take(SENDER, 25, second).0, 20);
        assert_eq!(throttle.take(SENDER, 1, second), (0, Duration::from_millis(100)));
        assert_eq!(throttle.take(SENDER, 25, second * 2).0, 10);
        assert_eq!(throttle.take(SENDER, 25, second * 60).0, 20);
    }

    #[test]
    fn a_rate_without_a_limit_refuses_nothing() {
        let mut throttle = throttle(2_000_000_000, 1000);
        assert_eq!(throttle.take(SENDER, 1000, Duration::from_secs(1)).0, 1000);
    }

    #[test]
    fn more_senders_than_the_table_holds_are_refused_until_one_is_idle() {
        let mut throttle = throttle(10, 20);
        for last in 1..=2 {
            assert_eq!(throttle.take(Sender::Address([10, 0, 0, last].into()), 1, Duration::ZERO).0, 1);
        }
        assert_eq!(throttle.take(SENDER, 1, Duration::ZERO).0, 0);
        let key = NodeId::from_bytes([1; 32]);
        assert_eq!(throttle.take(Sender::Stranger(key), 1, Duration::ZERO).0, 0);
        assert_eq!(throttle.take(Sender::Key(key), 1, Duration::ZERO).0, 1, "strangers do not lock out a linked peer");
        assert_eq!(throttle.take(SENDER, 1, Duration::from_secs(1)).0, 1);
    }
}
