//! The memory of message ids: each message is handled once within twice its ttl.
//! See "Replay and clocks" in `protocols/identity.md`.

use crate::id::{MessageId, PeerId};
use crate::time::Timestamp;
use foldhash::quality::FixedState;
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

/// Ids that were seen, kept as keyed 64-bit fingerprints of sender and id: nobody without the key
/// can make two that collide, and nobody can use up the id of another sender's message.
#[derive(Debug)]
pub struct Seen {
    key: FixedState,
    capacity: usize,
    known: HashSet<u64, BuildHasherDefault<Identity>>,
    /// Fingerprints by the Unix second in which they may be forgotten.
    expiries: BTreeMap<u64, Vec<u64>>,
    /// How many entries of `expiries` stand for a look that was forgotten.
    void: HashMap<u64, u32, BuildHasherDefault<Identity>>,
    /// How many these are together: they take room till their time as well.
    voids: usize,
}

/// What asking about an id says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Never seen; remembered from now on.
    First,
    /// Seen before.
    Again,
    /// No room to remember it, so it must be refused: none is forgotten early.
    Full,
}

impl Seen {
    /// An empty memory for so many ids. `seed` keys the fingerprints; draw it at random.
    pub fn new(capacity: usize, seed: u64) -> Self {
        Self {
            key: FixedState::with_seed(seed),
            capacity,
            known: HashSet::default(),
            expiries: BTreeMap::new(),
            void: HashMap::default(),
            voids: 0,
        }
    }

    /// Looks up a message and remembers it until `until`.
    pub fn look(&mut self, from: PeerId, id: MessageId, until: Timestamp) -> Sight {
        let fingerprint = self.fingerprint(from, id);
        if self.known.len() + self.voids >= self.capacity {
            return if self.known.contains(&fingerprint) { Sight::Again } else { Sight::Full };
        }
        if !self.known.insert(fingerprint) {
            return Sight::Again;
        }
        self.expiries.entry(until.millis() / 1000 + 1).or_default().push(fingerprint);
        Sight::First
    }

    /// Whether a message was seen.
    pub fn knows(&self, from: PeerId, id: MessageId) -> bool {
        self.known.contains(&self.fingerprint(from, id))
    }

    /// How many of these were seen before; remembers none. Asked for all messages of a frame at
    /// once it lets the processor fetch their places in memory side by side, so that the
    /// [`Self::look`] at each of them need not wait.
    pub fn count_known(&self, messages: impl Iterator<Item = (PeerId, MessageId)>) -> usize {
        messages.filter(|(from, id)| self.knows(*from, *id)).count()
    }

    /// Forgets one message, because it could not be kept and may be sent again.
    pub fn forget(&mut self, from: PeerId, id: MessageId) {
        let fingerprint = self.fingerprint(from, id);
        if self.known.remove(&fingerprint) {
            *self.void.entry(fingerprint).or_default() += 1;
            self.voids += 1;
        }
    }

    /// Forgets what may be forgotten by now.
    pub fn sweep(&mut self, wall: Timestamp) {
        let later = self.expiries.split_off(&(wall.millis() / 1000 + 1));
        for fingerprint in std::mem::replace(&mut self.expiries, later).into_values().flatten() {
            match self.void.get_mut(&fingerprint) {
                None => {
                    self.known.remove(&fingerprint);
                    continue;
                }
                Some(1) => drop(self.void.remove(&fingerprint)),
                Some(more) => *more -= 1,
            }
            self.voids -= 1;
        }
        if self.known.is_empty() {
            self.known.shrink_to_fit();
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn fingerprint(&self, from: PeerId, id: MessageId) -> u64 {
        let mut hasher = self.key.build_hasher();
        hasher.write_u128(from.0.as_u128());
        hasher.write_u128(id.0.as_u128());
        hasher.finish()
    }
}

/// Fingerprints are hashes already.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn an_id_is_remembered_until_its_time_and_no_longer() {
        let (peer, id) = (PeerId(Uuid::from_u128(1)), MessageId(Uuid::from_u128(2)));
        let mut seen = Seen::new(10, 7);
        assert_eq!(seen.look(peer, id, at(100)), Sight::First);
        seen.sweep(at(100));
        assert_eq!(seen.look(peer, id, at(100)), Sight::Again);
        seen.sweep(at(102));
        assert_eq!(seen.look(peer, id, at(200)), Sight::First);
    }

    #[test]
    fn an_id_that_was_forgotten_and_came_again_is_remembered_for_its_new_time() {
        let (peer, id) = (PeerId(Uuid::from_u128(1)), MessageId(Uuid::from_u128(2)));
        let mut seen = Seen::new(10, 7);
        assert_eq!(seen.look(peer, id, at(100)), Sight::First);
        seen.forget(peer, id);
        assert_eq!(seen.look(peer, id, at(200)), Sight::First);
        seen.sweep(at(102));
        assert_eq!(seen.look(peer, id, at(200)), Sight::Again);
        seen.sweep(at(202));
        assert!(seen.is_empty());
    }

    #[test]
    fn one_sender_cannot_use_up_the_id_of_another() {
        let id = MessageId(Uuid::from_u128(2));
        let mut seen = Seen::new(10, 7);
        assert_eq!(seen.look(PeerId(Uuid::from_u128(1)), id, at(100)), Sight::First);
        assert_eq!(seen.look(PeerId(Uuid::from_u128(9)), id, at(100)), Sight::First);
    }

    #[test]
    fn a_full_memory_refuses_the_new_and_forgets_nothing() {
        let peer = PeerId(Uuid::from_u128(1));
        let mut seen = Seen::new(2, 7);
        for n in 0..2 {
            assert_eq!(seen.look(peer, MessageId(Uuid::from_u128(n)), at(100)), Sight::First);
        }
        assert_eq!(seen.look(peer, MessageId(Uuid::from_u128(5)), at(100)), Sight::Full);
        assert_eq!(seen.look(peer, MessageId(Uuid::from_u128(0)), at(100)), Sight::Again);
    }

    #[test]
    fn what_was_forgotten_takes_room_until_its_time() {
        let peer = PeerId(Uuid::from_u128(1));
        let mut seen = Seen::new(3, 7);
        for n in 0..3 {
            assert_eq!(seen.look(peer, MessageId(Uuid::from_u128(n % 2)), at(100)), Sight::First);
            seen.forget(peer, MessageId(Uuid::from_u128(n % 2)));
        }
        assert_eq!(seen.look(peer, MessageId(Uuid::from_u128(5)), at(100)), Sight::Full);
        seen.sweep(at(102));
        assert_eq!(seen.look(peer, MessageId(Uuid::from_u128(5)), at(200)), Sight::First);
        assert!(seen.void.is_empty() && seen.voids == 0);
    }
}
