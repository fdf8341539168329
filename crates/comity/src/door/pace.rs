//! How often one caller may look, by known key or else by address; and how much text one address
//! may make this node read and check before its messages are judged by the rules. See "Limits" in
//! `protocols/identity.md`.

use super::guards::Source;
use super::problem::Problem;
use comity_core::throttle::{Config, Rate, Sender, Throttle};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Callers remembered at once, 64 bytes each; with none idle, new ones are told to wait.
const CALLERS_MAX: usize = 16_384;

/// Text that is read for one address, KiB begun: 4 MiB a second, twice as much at once. That is far
/// beyond what the rules let an address send, and a small part of one core's time.
const READING: Rate = Rate { per_second: 4096, burst: 8192 };

/// Seconds of a minute.
const SECONDS: u32 = 60;

/// The pace of all callers.
#[derive(Debug)]
pub(super) struct Pace {
    // A lock and not a message: every request asks and wants the answer before it goes on.
    throttle: Mutex<Throttle>,
    // The same.
    reading: Mutex<Throttle>,
}

impl Pace {
    /// So many requests a minute; a whole minute's worth at once.
    pub(super) fn new(per_minute: u32) -> Self {
        // A throttle counts by the second: of this one every second is a minute.
        let rate = Rate { per_second: per_minute.max(1), burst: per_minute.max(1) };
        let throttle = |rate| {
            let config = Config { sender: rate, address: rate, senders_max: CALLERS_MAX };
            Mutex::new(Throttle::new(config, rand::random()))
        };
        Self { throttle: throttle(rate), reading: throttle(READING) }
    }

    /// A text of so many bytes from this address, before it is read; loopback is exempt.
    pub(super) fn read(&self, source: Source, bytes: usize, now: Duration) -> Result<(), Problem> {
        if source.address.is_loopback() {
            return Ok(());
        }
        let wanted = bytes / 1024 + 1;
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        match reading.take(Sender::Address(source.address), wanted, now) {
            (granted, wait) if granted < wanted => Err(Problem::rate_limited("too much to read", wait)),
            _ => Ok(()),
        }
    }

    /// One request of this caller; loopback is exempt, as for connections. Only a key that is known has
    /// a pace of its own: others cost nothing, and an address could have as many as it likes.
    pub(super) fn take(&self, source: Source, known: bool, now: Duration) -> Result<(), Problem> {
        let sender = match source.key {
            Some(key) if known => Sender::Key(key),
            _ => Sender::Address(source.address),
        };
        self.take_as(sender, source, now)
    }

    /// The same for whoever is counted as this sender.
    pub(super) fn take_as(&self, sender: Sender, source: Source, now: Duration) -> Result<(), Problem> {
        if source.address.is_loopback() {
            return Ok(());
        }
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        match throttle.take(sender, 1, now / SECONDS) {
            (0, wait) => Err(Problem::rate_limited("too many requests", wait * SECONDS)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use comity_core::id::NodeId;

    #[test]
    fn one_address_is_read_so_much_and_the_others_as_well() {
        let pace = Pace::new(120);
        let read = |last, at| {
            let source = Source { address: [10, 0, 0, last].into(), key: None };
            (0..20).filter(|_| pace.read(source, (1 << 20) - 1, Duration::from_secs(at)).is_ok()).count()
        };
        assert_eq!(read(1, 0), 8, "MiB at once");
        assert_eq!(read(1, 1), 4, "MiB a second");
        assert_eq!(read(2, 1), 8, "MiB at once");
    }

    #[test]
    fn a_minutes_worth_passes_at_once_and_then_so_many_a_second() {
        let passed = |pace: &Pace, last, at| {
            let caller = Source { address: [10, 0, 0, last].into(), key: None };
            (0..500).filter(|_| pace.take(caller, false, Duration::from_secs(at)).is_ok()).count()
        };
        let pace = Pace::new(120);
        assert_eq!(passed(&pace, 1, 0), 120);
        assert_eq!(passed(&pace, 1, 1), 2);
        assert_eq!(passed(&pace, 2, 1), 120);
        let odd = Pace::new(100);
        assert_eq!((passed(&odd, 1, 0), passed(&odd, 1, 30), passed(&odd, 1, 90)), (100, 50, 100));
        let slow = Pace::new(30);
        assert_eq!((passed(&slow, 1, 0), passed(&slow, 1, 1), passed(&slow, 1, 4)), (30, 0, 2));
        let own = Source { address: [127, 0, 0, 1].into(), key: None };
        assert!((0..500).all(|_| pace.take(own, false, Duration::ZERO).is_ok()));
    }

    #[test]
    fn keys_that_nobody_knows_share_the_pace_of_their_address() {
        let pace = Pace::new(120);
        let keyed = |key: u8| Source { address: [10, 0, 0, 1].into(), key: Some(NodeId::from_bytes([key; 32])) };
        let strangers = (0..200).filter(|key| pace.take(keyed(*key), false, Duration::ZERO).is_ok()).count();
        assert_eq!(strangers, 120);
        assert!(pace.take(keyed(201), true, Duration::ZERO).is_ok(), "whom we know is not locked out");
    }
}
