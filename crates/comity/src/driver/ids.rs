//! Message ids: UUIDv7 (RFC 9562), made without a lock and without asking for randomness each time.
//! Nothing secret hangs on them: a seen id counts only together with its sender.

use comity_core::id::MessageId;
use comity_core::time::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::{Builder, Uuid};

/// Steps that visit all 2^64 states; from SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A source of ids that never gives one twice, and shares none with another source but by chance.
#[derive(Debug)]
pub(super) struct Ids {
    state: AtomicU64,
    salt: [u8; 2],
}

impl Ids {
    /// A source that starts at a random place.
    pub(super) fn new() -> Self {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let [first, second, ..] = low.to_be_bytes();
        Self { state: AtomicU64::new(high), salt: [first, second] }
    }

    /// The next id, of this moment.
    pub(super) fn next(&self, wall: Timestamp) -> MessageId {
        let state = self.state.fetch_add(STEP, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let [a, b, c, d, e, f, g, h] = (mixed ^ (mixed >> 31)).to_be_bytes();
        let random = [a ^ self.salt[0], self.salt[1], h, b, c, d, e, f, g, a];
        MessageId(Builder::from_unix_timestamp_millis(wall.millis(), &random).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_version_7_and_never_repeat() {
        let ids = Ids::new();
        let wall = Timestamp::from_millis(1_700_000_000_000);
        let made: BTreeSet<_> = (0..100_000).map(|_| ids.next(wall)).collect();
        assert_eq!(made.len(), 100_000);
        assert!(made.iter().all(|id| id.0.get_version_num() == 7));
    }
}
