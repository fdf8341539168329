//! How often a node may ask: so many requests in any minute, counted exactly. `throttle.rs` smooths messages, and lets a
//! burst and the sustained rate through in one minute; a limit that is told to others as a number of requests a minute
//! may not. See "Security" in `protocols/mesh.md`.

use super::roster::NODES_MAX;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Requests of a node to register, query, or share knowledge in any minute.
pub const REQUESTS_MAX: usize = 120;

/// How long a request counts.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Callers that are remembered: each node, and as many that never registered. Each takes at most a kilobyte.
pub const CALLERS_MAX: usize = 2 * NODES_MAX;

/// What each caller asked within the last minute.
#[derive(Debug)]
pub struct Pace<K> {
    callers_max: usize,
    asked: BTreeMap<K, VecDeque<Duration>>,
    /// All of them, by when they asked last.
    order: BTreeSet<(Duration, K)>,
    latest: Duration,
}

/// A request that comes too soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooSoon {
    /// The caller asked too often (429).
    #[error("more than {REQUESTS_MAX} requests in a minute")]
    Often {
        /// When it may ask again.
        retry_after: Duration,
    },
    /// As many callers as are remembered asked within the minute (503).
    #[error("too many callers within a minute")]
    Crowded {
        /// When there may be room.
        retry_after: Duration,
    },
}

impl<K> Default for Pace<K> {
    fn default() -> Self {
        Self::new(CALLERS_MAX)
    }
}

impl<K> Pace<K> {
    /// Nobody asked yet.
    pub fn new(callers_max: usize) -> Self {
        Self { callers_max, asked: BTreeMap::new(), order: BTreeSet::new(), latest: Duration::ZERO }
    }
}

impl<K: Clone + Ord> Pace<K> {
    /// Counts a request. One that is refused does not count.
    ///
    /// # Errors
    /// [`TooSoon`].
    pub fn ask(&mut self, caller: &K, now: Duration) -> Result<(), TooSoon> {
        self.latest = self.latest.max(now);
        let now = self.latest;
        while self.order.first().is_some_and(|(last, _)| *last + WINDOW <= now) {
            if let Some((_, idle)) = self.order.pop_first() {
                self.asked.remove(&idle);
            }
        }
        if self.asked.len() >= self.callers_max && !self.asked.contains_key(caller) {
            let room_at = self.order.first().map_or(now, |(last, _)| *last + WINDOW);
            return Err(TooSoon::Crowded { retry_after: room_at.saturating_sub(now) });
        }
        let asked = self.asked.entry(caller.clone()).or_default();
        while asked.front().is_some_and(|at| *at + WINDOW <= now) {
            asked.pop_front();
        }
        if asked.len() >= REQUESTS_MAX {
            let retry_at = asked.front().map_or(now, |at| *at + WINDOW);
            return Err(TooSoon::Often { retry_after: retry_at.saturating_sub(now) });
        }
        if let Some(last) = asked.back() {
            self.order.remove(&(*last, caller.clone()));
        }
        asked.push_back(now);
        self.order.insert((now, caller.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::drawn::Dice;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn of_121_requests_in_a_minute_the_last_is_refused_and_told_when_it_may_come() {
        let mut pace = Pace::default();
        for number in 0..120 {
            assert_eq!(pace.ask(&"a", Duration::from_millis(100 * number)), Ok(()));
        }
        assert_eq!(pace.ask(&"a", seconds(12)), Err(TooSoon::Often { retry_after: seconds(48) }));
        assert_eq!(pace.ask(&"b", seconds(12)), Ok(()), "each for itself");
        assert_eq!(pace.ask(&"a", seconds(60)), Ok(()));
        assert!(pace.ask(&"a", seconds(60)).is_err());
    }

    #[test]
    fn in_no_minute_does_anybody_ask_more_often() {
        let (mut dice, mut pace, mut taken) = (Dice(7), Pace::default(), VecDeque::new());
        let mut now = Duration::ZERO;
        for _ in 0..5000 {
            now += Duration::from_millis(dice.below(700) as u64);
            taken.retain(|at| *at + WINDOW > now);
            let passed = pace.ask(&1, now).is_ok();
            assert_eq!(passed, taken.len() < REQUESTS_MAX);
            if passed {
                taken.push_back(now);
            }
        }
    }

    #[test]
    fn callers_are_bounded_and_the_idle_make_room() {
        let mut pace = Pace::new(2);
        assert_eq!((pace.ask(&1, seconds(0)), pace.ask(&2, seconds(1))), (Ok(()), Ok(())));
        assert_eq!(pace.ask(&3, seconds(2)), Err(TooSoon::Crowded { retry_after: seconds(58) }));
        assert_eq!(pace.ask(&1, seconds(3)), Ok(()), "who is there is not shut out");
        assert_eq!(pace.ask(&3, seconds(61)), Ok(()));
        assert_eq!(
            pace.ask(&4, seconds(10)),
            Err(TooSoon::Crowded { retry_after: seconds(2) }),
            "also as clocks go back"
        );
    }
}
