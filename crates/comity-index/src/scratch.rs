//! What a search needs while it runs, kept for the next one. It holds nothing that outlives a search.

use crate::graph::PLACES_MAX;
use crate::rows::Wide;

/// Memory that searches and plans work in, to be used again and again; one for each thread.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) seen: Seen,
    pub(crate) pool: Pool,
    pub(crate) query: Wide,
    pub(crate) other: Wide,
    pub(crate) fresh: Vec<u32>,
    pub(crate) similarities: Vec<f32>,
}

impl Scratch {
    /// Memory for searches, none taken as yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// Which places a search has been to: a bit for each, and a list of those set, so that clearing costs what was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    bits: Vec<u64>,
    set: Vec<u32>,
}

impl Seen {
    pub(crate) fn clear(&mut self, places: usize) {
        for word in self.set.drain(..) {
            self.bits[word as usize] = 0;
        }
        let words = places.div_ceil(64);
        if self.bits.len() < words {
            self.bits.resize(words, 0);
        }
    }

    /// Whether this is the first time.
    #[inline(always)]
    pub(crate) fn insert(&mut self, place: u32) -> bool {
        let word = place / 64;
        let bits = &mut self.bits[word as usize];
        let bit = 1 << (place % 64);
        if *bits & bit != 0 {
            return false;
        }
        if *bits == 0 {
            self.set.push(word);
        }
        *bits |= bit;
        true
    }

    pub(crate) fn contains(&self, place: u32) -> bool {
        self.bits[(place / 64) as usize] >> (place % 64) & 1 != 0
    }
}

/// How many entries that do not count may stand among those that do. Beyond it a search ends early, and what it
/// misses is found by comparing with all.
const UNCOUNTED_MAX: usize = 1 << 14;

/// The nearest places met so far, best first. Only those that may be results count toward the effort; the others
/// are kept as long as they are better than the worst that counts, because the way to results leads through them.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Similarity, place and two flags in one number, so that one comparison orders them.
    entries: Vec<u64>,
    effort: usize,
    counted: usize,
}

const UNEXPANDED: u64 = 1;
const COUNTED: u64 = 2;

/// An entry of the pool: the more similar is the larger, and of two equals the lower place.
#[inline(always)]
pub(crate) fn entry(similarity: f32, place: u32) -> u64 {
    let bits = similarity.to_bits();
    let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    u64::from(ordered) << 32 | u64::from(PLACES_MAX - 1 - place) << 2
}

#[inline(always)]
pub(crate) fn place_of(entry: u64) -> u32 {
    PLACES_MAX - 1 - (entry as u32 >> 2)
}

#[inline(always)]
pub(crate) fn similarity_of(entry: u64) -> f32 {
    let ordered = (entry >> 32) as u32;
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}

impl Pool {
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.counted = 0;
    }

    /// Makes what is here the start of another search.
    pub(crate) fn restart(&mut self, effort: usize, counts: impl Fn(u32) -> bool) {
        self.effort = effort;
        self.counted = 0;
        for entry in &mut self.entries {
            *entry = *entry & !COUNTED | UNEXPANDED;
            if counts(place_of(*entry)) {
                *entry |= COUNTED;
                self.counted += 1;
            }
        }
        self.trim();
    }

    /// Takes a place in, if it is near enough, and says where it stands.
    #[inline(always)]
    pub(crate) fn offer(&mut self, similarity: f32, place: u32, counts: impl Fn(u32) -> bool) -> Option<usize> {
        let mut entry = entry(similarity, place) | UNEXPANDED;
        if self.counted >= self.effort && self.entries.last().is_some_and(|last| entry <= *last) {
            return None;
        }
        if counts(place) {
            entry |= COUNTED;
            self.counted += 1;
        }
        let at = self.entries.partition_point(|other| *other > entry);
        self.entries.insert(at, entry);
        self.trim();
        Some(at)
    }

    /// The next place to go on from, which stands at or after one index.
    #[inline(always)]
    pub(crate) fn expand(&mut self, from: usize) -> Option<(usize, u32)> {
        let at = from + self.entries.get(from..)?.iter().position(|entry| entry & UNEXPANDED != 0)?;
        self.entries[at] &= !UNEXPANDED;
        Some((at, place_of(self.entries[at])))
    }

    /// Those that count, best first, as similarity and place.
    pub(crate) fn counted(&self) -> impl Iterator<Item = (f32, u32)> {
        let counted = self.entries.iter().filter(|entry| **entry & COUNTED != 0);
        counted.map(|entry| (similarity_of(*entry), place_of(*entry)))
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().map(|entry| place_of(*entry))
    }

    #[inline(always)]
    fn trim(&mut self) {
        while let Some(last) = self.entries.last() {
            let counts = last & COUNTED != 0;
            let crowded = self.entries.len() - self.counted > UNCOUNTED_MAX;
            if self.counted > self.effort || self.counted == self.effort && !counts || crowded {
                self.counted -= usize::from(counts);
                self.entries.pop();
            } else {
                return;
            }
        }
    }
}
