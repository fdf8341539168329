//! To whom ids belong: the keys on a person's list, and the ids that once proved a key. Nobody uses
//! such an id without its key, also after the peer book forgot the peer and after a restart. See
//! "Trust" in `protocols/identity.md`.

use crate::id::{NodeId, PeerId};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Most ids remembered as verified once, about 80 bytes each. When there are more, those go first
/// that proved their key over the shortest time: keys are free, so a flood of new ones pushes out
/// each other, and not who has come more than once.
pub const VERIFIED_MAX: usize = 8192;

/// All ids that have an owner.
#[derive(Debug, Default)]
pub struct Owners {
    known: BTreeSet<NodeId>,
    known_ids: BTreeSet<PeerId>,
    /// When each id proved its key for the first and for the last time.
    verified: BTreeMap<PeerId, (Timestamp, Timestamp)>,
    changed: bool,
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

    /// Notes that an id has just proved its key.
    pub fn note(&mut self, id: PeerId, wall: Timestamp) {
        if let Some((_, last)) = self.verified.get_mut(&id) {
            *last = wall;
            return;
        }
        self.remember(id, wall, wall);
        self.changed = true;
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

    /// Whether an id was noted for the first time since this was last asked.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
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
}
