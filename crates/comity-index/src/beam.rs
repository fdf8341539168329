//! The walk through one layer: from the nearest places known to their neighbours, as long as any comes nearer.
//! Searches and plans share it.

use crate::graph::{Graph, level};
use crate::rows::Wide;
use crate::scratch::Scratch;

/// How many places are kept on the way down through the upper layers. With one only, a walk ends too often in the
/// wrong one of two clusters.
const DESCENT_EFFORT: usize = 8;

impl Graph {
    /// Goes down from the entry to just above a layer, and leaves in the pool the nearest met there.
    pub(crate) fn descend(&self, wide: &Wide, to: usize, scratch: &mut Scratch) {
        scratch.pool.clear();
        scratch.pool.restart(DESCENT_EFFORT, |_| true);
        scratch.seen.clear(self.states.len());
        self.rows.similarities(wide, &[self.entry], &mut scratch.similarities);
        scratch.pool.offer(scratch.similarities[0], self.entry, |_| true);
        for layer in (to + 1..=level(self.entry)).rev() {
            self.walk(wide, layer, DESCENT_EFFORT, |_| true, scratch);
        }
    }

    /// Goes through a layer from the places in the pool, and leaves there the nearest met.
    pub(crate) fn walk(
        &self,
        wide: &Wide,
        layer: usize,
        effort: usize,
        counts: impl Fn(u32) -> bool,
        scratch: &mut Scratch,
    ) {
        let Scratch { seen, pool, fresh, similarities, .. } = scratch;
        pool.restart(effort, &counts);
        seen.clear(self.states.len());
        for place in pool.places() {
            seen.insert(place);
        }
        let mut next = 0;
        while let Some((at, place)) = pool.expand(next) {
            fresh.clear();
            fresh.extend(self.links(layer, place).iter().copied().filter(|link| seen.insert(*link)));
            self.rows.similarities(wide, fresh, similarities);
            next = at + 1;
            for (similarity, place) in similarities.iter().zip(&*fresh) {
                if let Some(at) = pool.offer(*similarity, *place, &counts) {
                    next = next.min(at);
                    self.rows.kernel.prefetch(self.room(layer, *place));
                }
            }
        }
    }
}
