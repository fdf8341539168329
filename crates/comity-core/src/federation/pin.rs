//! Which key is an origin's: the first one seen, and then only one that follows from it. See "Discovery" in
//! `protocols/federation.md`.

use super::Origin;
use crate::id::NodeId;
use crate::time::Timestamp;
use crate::wire::federation::well_known::{ROTATIONS_MAX, Rotation, WellKnown};

/// Most old keys of an origin that are remembered: those that changed longest ago are forgotten, and what they signed
/// can no longer be checked by who was not there.
const OLD_KEYS_MAX: usize = 64;

/// The keys of an origin, as this node knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The present one.
    pub key: NodeId,
    /// Those before, the latest first.
    pub old: Vec<OldKey>,
}

/// A key that an origin had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldKey {
    /// The key.
    pub key: NodeId,
    /// What it signed before this counts.
    pub until: Timestamp,
}

/// An origin shows a key that does not follow from the one that is pinned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{origin} shows another key ({shown}) than before ({pinned}), which did not sign the change: \
     `comity trust {origin}` accepts it, once you know why"
)]
pub struct KeyChanged {
    /// Whose.
    pub origin: Origin,
    /// The one that counts.
    pub pinned: NodeId,
    /// The one that was shown.
    pub shown: NodeId,
}

/// What is known of the key that the author of an event names, besides that it signed the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorKey {
    /// It is, or was then, the author's.
    Proven,
    /// Whose it is cannot be found out: its origin is gone, and nobody here saw its key. In a line, the hub's signature
    /// says that it took the event from who it says, and one author who is gone must not keep all others' events away; so
    /// it counts for as much as the hub does.
    Unverified,
    /// It is not the author's.
    Wrong,
}

impl AuthorKey {
    /// What is known of a key in what was signed at this time, by the keys that are known of its origin, if there are any.
    pub fn of(pin: Option<&Pin>, key: &NodeId, at: Timestamp) -> Self {
        match pin {
            None => Self::Unverified,
            Some(pin) if pin.counts(key, at) => Self::Proven,
            Some(_) => Self::Wrong,
        }
    }
}

impl Pin {
    /// The keys that a document shows, for an origin of which none is known.
    pub fn first(origin: &Origin, shown: &WellKnown) -> Self {
        Self::own(origin, shown.key, &shown.rotations)
    }

    /// The keys of an origin that has this one, and had those that lead to it.
    pub fn own(origin: &Origin, key: NodeId, rotations: &[Rotation]) -> Self {
        Self { key, old: chain(origin, key, rotations) }
    }

    /// What is pinned when this document was seen: the same, or the new key, if the pinned one signed for it, itself or
    /// through those between.
    ///
    /// # Errors
    /// [`KeyChanged`]; the pin stays.
    pub fn follow(&self, origin: &Origin, shown: &WellKnown) -> Result<Self, KeyChanged> {
        let mut old = chain(origin, shown.key, &shown.rotations);
        if shown.key != self.key && !old.iter().any(|old| old.key == self.key) {
            return Err(KeyChanged { origin: origin.clone(), pinned: self.key, shown: shown.key });
        }
        // What was known before stays as it was: a key that was stolen later cannot be given more time.
        for known in &self.old {
            match old.iter_mut().find(|old| old.key == known.key) {
                Some(same) => same.until = same.until.min(known.until),
                None => old.push(*known),
            }
        }
        old.truncate(OLD_KEYS_MAX);
        Ok(Self { key: shown.key, old })
    }

    /// Whether this key speaks for the origin in what was signed at this time.
    pub fn counts(&self, key: &NodeId, at: Timestamp) -> bool {
        *key == self.key || self.old.iter().any(|old| old.key == *key && at < old.until)
    }
}

/// The keys before this one, the latest first, as far back as each signed for the next.
fn chain(origin: &Origin, last: NodeId, rotations: &[Rotation]) -> Vec<OldKey> {
    let mut chain: Vec<OldKey> = Vec::new();
    let mut key = last;
    let leads_to = |key: NodeId| move |rotation: &&Rotation| rotation.new_key == key && rotation.is_signed(origin);
    while let Some(rotation) = rotations.iter().find(leads_to(key)) {
        let is_known = rotation.key == last || chain.iter().any(|old| old.key == rotation.key);
        if is_known || chain.len() == ROTATIONS_MAX {
            break;
        }
        chain.push(OldKey { key: rotation.key, until: rotation.until });
        key = rotation.key;
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::key::KeyPair;
    use crate::wire::federation::well_known::Endpoint;

    fn origin() -> Origin {
        "alpha.test".parse().expect("an origin")
    }

    fn key(number: u8) -> KeyPair {
        KeyPair::from_seed([number; 32])
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// A document of this key, with a change from each pair's first to its second.
    fn shows(number: u8, changes: &[(u8, u8)]) -> WellKnown {
        let change = |(old, new): &(u8, u8)| Rotation::sign(&key(*old), key(*new).node(), &origin(), at(1000));
        WellKnown {
            endpoint: Endpoint::read("https://alpha.test").expect("a URL"),
            version: "1.0".to_owned(),
            components: Vec::new(),
            key: key(number).node(),
            rotations: changes.iter().map(change).collect(),
            card: None,
        }
    }

    fn pinned(number: u8) -> Pin {
        Pin { key: key(number).node(), old: Vec::new() }
    }

    #[test]
    fn the_first_key_that_is_seen_stays_until_it_signs_for_another() {
        let pin = Pin::first(&origin(), &shows(1, &[]));
        assert_eq!(pin, pinned(1));
        assert_eq!(pin.follow(&origin(), &shows(1, &[])), Ok(pin.clone()));
        let changed = KeyChanged { origin: origin(), pinned: key(1).node(), shown: key(2).node() };
        assert_eq!(pin.follow(&origin(), &shows(2, &[])), Err(changed.clone()));
        assert_eq!(pin.follow(&origin(), &shows(2, &[(3, 2)])), Err(changed));
        let next = pin.follow(&origin(), &shows(2, &[(1, 2)])).expect("signed");
        assert_eq!(next, Pin { key: key(2).node(), old: vec![OldKey { key: key(1).node(), until: at(1000) }] });
        assert!(next.follow(&origin(), &shows(1, &[])).is_err(), "never back");
    }

    #[test]
    fn a_change_is_followed_through_eight_keys_and_no_more() {
        let changes: Vec<(u8, u8)> = (1..9).map(|old| (old, old + 1)).collect();
        let next = pinned(1).follow(&origin(), &shows(9, &changes)).expect("eight changes");
        assert_eq!(next.old.len(), 8);
        assert_eq!(next.old[0].key, key(8).node(), "the latest first");
        let more: Vec<(u8, u8)> = (1..10).map(|old| (old, old + 1)).collect();
        assert!(pinned(1).follow(&origin(), &shows(10, &more)).is_err());
        assert!(pinned(1).follow(&origin(), &shows(9, &changes[1..])).is_err(), "a gap");
    }

    #[test]
    fn what_others_signed_and_circles_lead_nowhere() {
        let mut forged = shows(2, &[(1, 2)]);
        forged.rotations[0].key = key(3).node();
        assert!(pinned(3).follow(&origin(), &forged).is_err());
        let elsewhere = "beta.test".parse().expect("an origin");
        assert!(pinned(1).follow(&elsewhere, &shows(2, &[(1, 2)])).is_err(), "signed for another origin");
        let round = pinned(1).follow(&origin(), &shows(1, &[(1, 2), (2, 1)])).expect("the same key");
        assert!(round.old.iter().all(|old| old.key != key(1).node()));
    }

    #[test]
    fn an_old_key_counts_for_what_it_signed_before_its_end() {
        let pin = pinned(1).follow(&origin(), &shows(2, &[(1, 2)])).expect("signed");
        assert!(pin.counts(&key(1).node(), at(999)) && !pin.counts(&key(1).node(), at(1000)));
        assert!(pin.counts(&key(2).node(), at(0)) && !pin.counts(&key(3).node(), at(0)));
        // A stolen key signs that it lasts longer.
        let mut later = shows(2, &[]);
        later.rotations.push(Rotation::sign(&key(1), key(2).node(), &origin(), at(9000)));
        let same = pin.follow(&origin(), &later).expect("the same key");
        assert!(!same.counts(&key(1).node(), at(1000)));
    }

    #[test]
    fn whose_key_it_is_can_be_right_wrong_or_nowhere_to_be_had() {
        let of = |pin: Option<&Pin>, number: u8| AuthorKey::of(pin, &key(number).node(), at(0));
        assert_eq!(of(Some(&pinned(1)), 1), AuthorKey::Proven);
        assert_eq!(of(Some(&pinned(1)), 2), AuthorKey::Wrong, "who is known is not believed by any other key");
        assert_eq!(of(None, 1), AuthorKey::Unverified);
    }
}
