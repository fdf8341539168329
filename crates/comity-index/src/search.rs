//! Searching: by the graph where it leads quickly to what is wanted, and by comparing with every point where few
//! pass the filter, or where the graph gave fewer than there are.

use crate::graph::{Graph, NONE, State};
use crate::scratch::{Scratch, entry, place_of, similarity_of};

/// A point that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Where it stands.
    pub place: u32,
    /// The cosine of the angle between it and the query, as far as rounded vectors tell: within about 0.005 of the
    /// exact one.
    pub similarity: f32,
}

/// The most places a walk keeps in order, of which those that do not pass a filter are but a part: fewer of these
/// than the pool has room for.
const KEPT_MAX: usize = 1 << 14;
/// How many places are asked of a filter to estimate how many pass.
const SAMPLES: usize = 512;
/// What going on from a place costs, where looking at a place and asking a filter costs one: some twenty comparisons.
const EXPANSION_COST: usize = 128;
/// What comparing with a vector costs, where all are compared with.
const COMPARISON_COST: usize = 6;
/// For so many places that are kept in order, keeping them so costs one more for each.
const KEPT_PER_COST: usize = 16;
/// How many vectors are compared with at once where all are.
const SCAN_BATCH: usize = 256;

impl Graph {
    /// The points most similar to a query among those that pass the filter, best first: as many as wanted, or all
    /// there are. More effort finds more of the truly nearest and takes longer.
    ///
    /// # Panics
    ///
    /// If the query is of another dimension.
    #[must_use]
    pub fn search(
        &self,
        query: &[f32],
        wanted: usize,
        effort: usize,
        among: Option<&dyn Fn(u32) -> bool>,
        scratch: &mut Scratch,
    ) -> Vec<Found> {
        assert!(query.len() == self.rows.dimension, "vectors here have {} numbers", self.rows.dimension);
        let wanted = wanted.min(self.live);
        if wanted == 0 {
            return Vec::new();
        }
        let mut best = Best { entries: Vec::new(), wanted };
        let passes = |place: u32| among.is_none_or(|among| among(place));
        scratch.query.set(query);
        self.compare(self.waiting.keys().copied().filter(|place| passes(*place)), &mut best, scratch);
        let effort = effort.max(wanted);
        let linked = self.live - self.waiting.len();
        let walks = self.walks(effort, among);
        let met = if walks { self.walk_for(effort, &passes, &mut best, scratch) } else { 0 };
        if met < wanted.min(linked) {
            // The walk may have met some of them: all are compared with anew.
            best.entries.retain(|entry| self.state(place_of(*entry)) == State::Waiting);
            let linked = (0..self.places()).filter(|place| self.is_linked(*place) && passes(*place));
            self.compare(linked, &mut best, scratch);
        }
        best.found()
    }

    /// Walks the graph, and says how many were met that pass.
    fn walk_for(&self, effort: usize, passes: &impl Fn(u32) -> bool, best: &mut Best, scratch: &mut Scratch) -> usize {
        if self.entry == NONE {
            return 0;
        }
        let query = std::mem::take(&mut scratch.query);
        self.descend(&query, 0, scratch);
        self.walk(&query, 0, effort, |place| self.is_linked(place) && passes(place), scratch);
        scratch.query = query;
        let mut met = 0;
        for (similarity, place) in scratch.pool.counted() {
            met += 1;
            best.offer(similarity, place);
        }
        met
    }

    /// Whether a walk of this effort is quicker than comparing with all.
    fn walks(&self, effort: usize, among: Option<&dyn Fn(u32) -> bool>) -> bool {
        let places = self.states.len();
        let (mut asked, mut passed) = (1, 1);
        if let Some(among) = among {
            let step = places.div_ceil(SAMPLES).max(1);
            let sample = (0..self.places()).step_by(step).filter(|place| self.is_linked(*place));
            (asked, passed) =
                sample.fold((0, 0), |(asked, passed), place| (asked + 1, passed + usize::from(among(place))));
        }
        if passed == 0 {
            return false;
        }
        // Places that do not pass are kept between those that do.
        let kept = effort.saturating_mul(asked) / passed;
        let walk = kept.saturating_mul(EXPANSION_COST + kept / KEPT_PER_COST);
        let scan = places + COMPARISON_COST * (places * passed / asked);
        kept <= KEPT_MAX && walk < scan
    }

    /// Compares the query with the vectors of some places.
    fn compare(&self, places: impl Iterator<Item = u32>, best: &mut Best, scratch: &mut Scratch) {
        let Scratch { query, fresh, similarities, .. } = scratch;
        let mut places = places.peekable();
        while places.peek().is_some() {
            fresh.clear();
            fresh.extend(places.by_ref().take(SCAN_BATCH));
            self.rows.similarities(query, fresh, similarities);
            for (similarity, place) in similarities.iter().zip(&*fresh) {
                best.offer(*similarity, *place);
            }
        }
    }
}

/// The best met so far.
struct Best {
    entries: Vec<u64>,
    wanted: usize,
}

impl Best {
    fn offer(&mut self, similarity: f32, place: u32) {
        let entry = entry(similarity, place);
        if self.entries.len() >= self.wanted {
            if self.entries.last().is_some_and(|last| entry <= *last) {
                return;
            }
            self.entries.pop();
        }
        let at = self.entries.partition_point(|other| *other > entry);
        self.entries.insert(at, entry);
    }

    fn found(self) -> Vec<Found> {
        let found = |entry: u64| Found { place: place_of(entry), similarity: similarity_of(entry) };
        self.entries.into_iter().map(found).collect()
    }
}
