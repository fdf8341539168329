//! The graph: what stands at each place, and its links on every layer. Points come and go here; how they are linked
//! is in `plan.rs` and `mend.rs`, how they are found in `search.rs`.

use crate::rows::{Rows, grow};
use std::collections::BTreeMap;

/// The most numbers a vector may have: what the products of codes leave room for in 32 bits.
pub const DIMENSION_MAX: usize = 4096;
/// How many places there may be: what two flags beside a place leave room for in 32 bits.
pub const PLACES_MAX: u32 = 1 << 30;

/// Links of a point on the layer where all points are.
pub(crate) const LINKS_BASE: usize = 32;
/// Links of a point on each layer above.
pub(crate) const LINKS_UPPER: usize = 16;
/// The highest layer. One point in 16 of a layer is also on the next, so that 2^30 points need no more.
pub(crate) const LEVEL_MAX: usize = 8;
/// Stands where there is no link, and no place.
pub(crate) const NONE: u32 = u32::MAX;
/// A sweep begins once one place in so many is of a removed point: it looks at all links, and what it costs must be
/// shared by many.
const REMOVED_SHARE: usize = 256;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Nothing.
    Empty = 0,
    /// A point without links. Searches compare with each.
    Waiting = 1,
    /// A point with its links.
    Linked = 2,
    /// A point that no search may find. Others still link to it.
    Removed = 3,
    /// A removed point that the sweep under way takes out of all links.
    Swept = 4,
}

/// Points and their links. Places are numbers that the caller chooses, best without gaps: memory is held for all up
/// to the highest.
#[derive(Clone, Debug)]
pub struct Graph {
    pub(crate) rows: Rows,
    pub(crate) states: Vec<State>,
    /// `LINKS_BASE` of each place, ended by `NONE` where they are fewer.
    pub(crate) base: Vec<u32>,
    /// How many link to each place on the layer where all points are. What was once as many as fit stays so.
    pub(crate) linked_by: Vec<u8>,
    /// Where each place's links of the layers above begin in `upper`.
    pub(crate) upper_at: Vec<u32>,
    /// `LINKS_UPPER` of each place for each layer it is on.
    pub(crate) upper: Vec<u32>,
    /// The points to be linked, each with the number of its `put`.
    pub(crate) waiting: BTreeMap<u32, u64>,
    pub(crate) puts: u64,
    /// Where searches begin, or `NONE`.
    pub(crate) entry: u32,
    pub(crate) live: usize,
    pub(crate) removed: usize,
    /// The place that the sweep under way goes on from.
    pub(crate) sweep: Option<u32>,
    /// How often links were changed: a plan that was made before is void.
    pub(crate) changes: u64,
    /// No place below is free.
    free_from: u32,
}

impl Graph {
    /// A graph without points.
    ///
    /// # Panics
    ///
    /// If the dimension is not within 1 to [`DIMENSION_MAX`].
    #[must_use]
    pub fn new(dimension: usize) -> Self {
        assert!((1..=DIMENSION_MAX).contains(&dimension), "a vector has 1 to {DIMENSION_MAX} numbers");
        Self {
            rows: Rows::new(dimension),
            states: Vec::new(),
            base: Vec::new(),
            linked_by: Vec::new(),
            upper_at: Vec::new(),
            upper: Vec::new(),
            waiting: BTreeMap::new(),
            puts: 0,
            entry: NONE,
            live: 0,
            removed: 0,
            sweep: None,
            changes: 0,
            free_from: 0,
        }
    }

    /// How many numbers a vector has.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.rows.dimension
    }

    /// Puts a point at a free place. Searches find it at once; it is linked by a later plan. Only the direction of
    /// the vector counts.
    ///
    /// # Panics
    ///
    /// If the vector is of another dimension, or the place is not free or not below [`PLACES_MAX`].
    pub fn put(&mut self, place: u32, vector: &[f32]) {
        assert!(vector.len() == self.rows.dimension, "vectors here have {} numbers", self.rows.dimension);
        assert!(place < PLACES_MAX, "places are below {PLACES_MAX}");
        self.grow(place as usize + 1);
        assert!(self.state(place) == State::Empty, "the place {place} is not free");
        self.rows.set(place, vector);
        self.states[place as usize] = State::Waiting;
        self.puts += 1;
        self.waiting.insert(place, self.puts);
        self.live += 1;
        self.seek_free();
    }

    /// Takes a point away: no search finds it any more. Says whether there was one. Its place is free at once if it
    /// was not linked, and after a sweep if it was: see [`Graph::is_unlinking`].
    pub fn remove(&mut self, place: u32) -> bool {
        if !self.contains(place) {
            return false;
        }
        self.live -= 1;
        if self.waiting.remove(&place).is_some() {
            self.free(place);
        } else {
            self.states[place as usize] = State::Removed;
            self.removed += 1;
        }
        true
    }

    /// Whether searches find a point at this place.
    #[must_use]
    pub fn contains(&self, place: u32) -> bool {
        matches!(self.states.get(place as usize), Some(State::Waiting | State::Linked))
    }

    /// Whether others still link to a point that was removed from this place, so that no other may be put there.
    #[must_use]
    pub fn is_unlinking(&self, place: u32) -> bool {
        matches!(self.states.get(place as usize), Some(State::Removed | State::Swept))
    }

    /// The lowest place at which nothing stands and which is not taken otherwise; [`PLACES_MAX`] if there is none.
    #[must_use]
    pub fn place(&self, taken: &dyn Fn(u32) -> bool) -> u32 {
        let mut places = self.free_from..PLACES_MAX;
        let free = |place: &u32| matches!(self.states.get(*place as usize), None | Some(State::Empty));
        places.find(|place| free(place) && !taken(*place)).unwrap_or(PLACES_MAX)
    }

    /// How many points searches can find.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live
    }

    /// How much there is to plan: the points that are not linked, and the removed ones if a sweep is due. Single
    /// removed points wait until there are enough for a sweep.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len() + if self.sweep.is_some() || self.sweep_is_due() { self.removed } else { 0 }
    }

    /// The memory this holds, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        /// What a point that waits costs in a tree of places, with the tree's own room.
        const WAITING: usize = 24;
        self.rows.memory()
            + self.states.capacity()
            + self.linked_by.capacity()
            + (self.base.capacity() + self.upper_at.capacity() + self.upper.capacity()) * size_of::<u32>()
            + self.waiting.len() * WAITING
    }

    pub(crate) fn sweep_is_due(&self) -> bool {
        self.removed > 0 && self.removed * REMOVED_SHARE >= self.states.len()
    }

    pub(crate) fn places(&self) -> u32 {
        u32::try_from(self.states.len()).expect("places are below PLACES_MAX")
    }

    #[inline(always)]
    pub(crate) fn state(&self, place: u32) -> State {
        self.states[place as usize]
    }

    #[inline(always)]
    pub(crate) fn is_linked(&self, place: u32) -> bool {
        self.state(place) == State::Linked
    }

    /// The links of a place on one of its layers.
    #[inline(always)]
    pub(crate) fn links(&self, layer: usize, place: u32) -> &[u32] {
        let slots = self.room(layer, place);
        let count = slots.iter().position(|link| *link == NONE).unwrap_or(slots.len());
        &slots[..count]
    }

    /// The links of a place and the room for more.
    #[inline(always)]
    pub(crate) fn room(&self, layer: usize, place: u32) -> &[u32] {
        match layer {
            0 => &self.base[place as usize * LINKS_BASE..][..LINKS_BASE],
            _ => &self.upper[self.upper_at[place as usize] as usize + (layer - 1) * LINKS_UPPER..][..LINKS_UPPER],
        }
    }

    /// Writes the links of a place on one of its layers.
    pub(crate) fn write_links(&mut self, layer: usize, place: u32, links: &[u32]) {
        let slots = match layer {
            0 => &mut self.base[place as usize * LINKS_BASE..][..LINKS_BASE],
            _ => &mut self.upper[self.upper_at[place as usize] as usize + (layer - 1) * LINKS_UPPER..][..LINKS_UPPER],
        };
        if layer == 0 {
            for link in slots.iter().take_while(|link| **link != NONE) {
                let count = &mut self.linked_by[*link as usize];
                if *count < u8::MAX {
                    *count = count.saturating_sub(1);
                }
            }
            for link in links {
                let count = &mut self.linked_by[*link as usize];
                *count = count.saturating_add(1);
            }
        }
        slots[..links.len()].copy_from_slice(links);
        slots[links.len()..].fill(NONE);
    }

    pub(crate) fn clear_links(&mut self, place: u32) {
        for layer in 0..=level(place) {
            self.write_links(layer, place, &[]);
        }
    }

    /// Makes a place free, to which nothing links.
    pub(crate) fn free(&mut self, place: u32) {
        self.states[place as usize] = State::Empty;
        self.free_from = self.free_from.min(place);
    }

    pub(crate) fn grow(&mut self, places: usize) {
        let before = self.states.len();
        if places <= before {
            return;
        }
        self.rows.grow(places);
        grow(&mut self.states, places, State::Empty);
        grow(&mut self.base, places * LINKS_BASE, NONE);
        grow(&mut self.linked_by, places, 0);
        grow(&mut self.upper_at, places, 0);
        let mut end = self.upper.len();
        for place in before..places {
            // Fewer than one link of the upper layers for each place, and places are below 2^30.
            self.upper_at[place] = end as u32;
            end += level(place as u32) * LINKS_UPPER;
        }
        grow(&mut self.upper, end, NONE);
    }

    pub(crate) fn seek_free(&mut self) {
        while self.states.get(self.free_from as usize).is_some_and(|state| *state != State::Empty) {
            self.free_from += 1;
        }
    }
}

/// The highest layer that a place is on: one in 16 is on the first, one of these in 16 on the second, and so on. It
/// follows from the place alone, so that nothing is drawn and room for its links is known once and for all.
pub(crate) fn level(place: u32) -> usize {
    // The last step of splitmix64.
    let mut mixed = (u64::from(place) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed.trailing_zeros() as usize / 4).min(LEVEL_MAX)
}
