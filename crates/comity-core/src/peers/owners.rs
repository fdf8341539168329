//! To whom ids belong: the keys on a person's list, and the ids that once proved a key. Nobody uses
//! such an id without its key, also after the peer book forgot the peer and after a restart. See
//! "Trust" in `protocols/identity.md`.

use crate::id::{NodeId, PeerId};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most ids remembered as verified once, about 80 bytes each. When there are more, those go first
/// that proved their key over the shortest time: keys are free, so a flood of new ones pushes out
/// each other, and not who has come more than once.
pub const VERIFIED_MAX: usize = 8192;

/// How often new ids are kept on disk, at most: each time all are written, and keys are free.
const NEW_KEPT_EVERY: Duration = Duration::from_secs(60);

/// How often it is kept that ids which are remembered already proved their key again.
const TIMES_KEPT_EVERY: Duration = Duration::from_secs(3600);

/// All ids that have an owner.
#[derive(Debug, Default)]
pub struct Owners {
    known: BTreeSet<NodeId>,
    known_ids: BTreeSet<PeerId>,
    /// When each id proved its key for the first and for the last time.
    verified: BTreeMap<PeerId, (Timestamp, Timestamp)>,
    /// Whether there are ids that are not kept on disk yet.
    has_new: bool,
    /// Whether there are times that are not.
    has_later: bool,
    /// When all was kept last, on the monotonic clock.
    kept_at: Option<Duration>,
}

impl Owners {
    /// Puts a key on the list; whether it was not there.
    pub fn know(&mut self, key: NodeId) -> bool {
        self.known_ids.insert(key.peer());
        self.known.insert(key)
    }

    /// Takes a key off the list; whether it was there.
    pub fn unknow(&mut self, key: NodeId) -> bool {
        self.known_ids.remove(&key.peer());
        self.known.remove(&key)
    }

    /// The keys on the list.
    pub fn known(&self) -> &BTreeSet<NodeId> {
        &self.known
    }

    /// Whether this id is that of a key on the list.
    pub fn is_known(&self, id: PeerId) -> bool {
        self.known_ids.contains(&id)
    }

    /// Whether this id belongs to a key.
    pub fn has(&self, id: PeerId) -> bool {
        self.is_known(id) || self.verified.contains_key(&id)
    }

    /// Notes that an id has just proved its key, or still has the link on which it did.
    pub fn note(&mut self, id: PeerId, wall: Timestamp) {
        if let Some((_, last)) = self.verified.get_mut(&id) {
            *last = wall;
            self.has_later = true;
            return;
        }
        self.remember(id, wall, wall);
        self.has_new = true;
    }

    /// Remembers what was noted in an earlier start.
    pub fn remember(&mut self, id: PeerId, first: Timestamp, last: Timestamp) {
        if self.verified.len() >= VERIFIED_MAX {
            let rank = |(_, (first, last)): &(&PeerId, &(Timestamp, Timestamp))| (last.since(*first), *last);
            let least = self.verified.iter().min_by_key(rank).map(|(id, _)| *id);
            least.and_then(|id| self.verified.remove(&id));
        }
        self.verified.insert(id, (first, last));
    }

    /// The ids that were verified, with when they first and last proved their key.
    pub fn verified(&self) -> impl Iterator<Item = (PeerId, Timestamp, Timestamp)> + '_ {
        self.verified.iter().map(|(id, (first, last))| (*id, *first, *last))
    }

    /// Whether it is time to keep the ids on disk, which the caller then does.
    pub fn take_due(&mut self, mono: Duration) -> bool {
        let due = |pause| self.kept_at.is_none_or(|at| mono.saturating_sub(at) >= pause);
        let due = self.has_new && due(NEW_KEPT_EVERY) || self.has_later && due(TIMES_KEPT_EVERY);
        due && self.take_change(mono)
    }

    /// Whether anything is not kept on disk yet, which the caller then does.
    pub fn take_change(&mut self, mono: Duration) -> bool {
        let changed = self.has_new || self.has_later;
        if changed {
            (self.has_new, self.has_later, self.kept_at) = (false, false, Some(mono));
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_flood_of_new_keys_pushes_out_none_that_came_twice() {
        let mut owners = Owners::default();
        let at = |second: u64| Timestamp::from_millis(second * 1000);
        let friend = PeerId(Uuid::from_u128(1));
        owners.note(friend, at(0));
        owners.note(friend, at(60));
        for number in 0..2 * VERIFIED_MAX as u64 {
            owners.note(PeerId(Uuid::from_u128(100 + u128::from(number))), at(100 + number));
        }
        assert!(owners.has(friend));
        assert!(owners.has(PeerId(Uuid::from_u128(99 + 2 * VERIFIED_MAX as u128))), "the newest has a place");
        assert_eq!(owners.verified().count(), VERIFIED_MAX);
    }

    #[test]
    fn that_somebody_came_again_is_kept_once_an_hour() {
        let mut owners = Owners::default();
        let (friend, mut kept) = (PeerId(Uuid::from_u128(1)), 0);
        for second in (0..2 * 3600).step_by(30) {
            owners.note(friend, Timestamp::from_millis(second * 1000));
            kept += u32::from(owners.take_due(Duration::from_secs(second)));
        }
        assert_eq!(kept, 2);
        assert!(owners.take_change(Duration::from_secs(7200)), "the last time is not kept yet");
        assert!(!owners.take_change(Duration::from_secs(7200)));
    }
}
