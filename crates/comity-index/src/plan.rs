//! Linking, in two halves: a plan says how links will be, and is made while searches go on; then the links are
//! written, which is short.

use crate::graph::{Graph, LINKS_BASE, LINKS_UPPER, NONE, State, level};
use crate::rows::Wide;
use crate::scratch::{Scratch, entry, place_of, similarity_of};
use crate::select::{COPIES_MAX, COPY, Choice};

/// How many of the nearest points are considered as neighbours of a new one.
const EFFORT: usize = 128;
/// How many of them a new point links to on each layer. Others that come later link to it and it to them.
const LINKS_NEW: usize = 16;
/// With fewer links than this, a new point also considers what its neighbours link to: among many copies of one
/// vector, nothing else is near.
const LINKS_FEW: usize = 4;

/// What [`Graph::plan`] found is to be done, for [`Graph::link`].
#[derive(Debug)]
pub struct Plan {
    /// The state of the links that this follows from.
    pub(crate) changes: u64,
    pub(crate) step: Step,
}

#[derive(Debug)]
pub(crate) enum Step {
    /// Link a point, put by the `put` of this number.
    Point { place: u32, put: u64, lists: Lists },
    /// Begin to take the removed points out of all links.
    Begin,
    /// Mend the links of the places up to this one.
    Mend { to: u32, lists: Lists },
    /// All is mended. From this entry these cannot be reached.
    Finish { entry: u32, unreached: Vec<u32> },
}

/// New links of some points, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    heads: Vec<(u32, u8, u8)>,
    links: Vec<u32>,
    /// Whom these no longer link to on the layer where all points are, once for each.
    dropped: Vec<u32>,
}

impl Lists {
    pub(crate) fn push(&mut self, layer: usize, place: u32, links: &[u32]) {
        // Layers are at most 8, and links at most 32.
        self.heads.push((place, layer as u8, links.len() as u8));
        self.links.extend_from_slice(links);
    }

    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether but one point links to this one.
    fn is_last(&self, graph: &Graph, link: u32) -> bool {
        let linked_by = usize::from(graph.linked_by[link as usize]);
        // A plan changes a list for each of so many links.
        linked_by <= LINKS_NEW && linked_by <= 1 + self.dropped.iter().filter(|dropped| **dropped == link).count()
    }

    fn iter(&self) -> impl Iterator<Item = (usize, u32, &[u32])> {
        let mut links = self.links.as_slice();
        self.heads.iter().map(move |(place, layer, count)| {
            let (list, rest) = links.split_at(usize::from(*count));
            links = rest;
            (usize::from(*layer), *place, list)
        })
    }
}

impl Graph {
    /// Finds what is to be done next, if anything: the neighbours of a point that waits, or a part of a sweep that
    /// takes removed points out of all links. Searches may go on meanwhile.
    #[must_use]
    pub fn plan(&self, scratch: &mut Scratch) -> Option<Plan> {
        let sweeping = self.sweep.is_some() || self.sweep_is_due();
        // Both come forward where there is both to do.
        let step = match self.waiting.first_key_value() {
            Some((place, put)) if !sweeping || self.changes.is_multiple_of(2) => {
                Step::Point { place: *place, put: *put, lists: self.plan_point(*place, scratch) }
            }
            _ if sweeping => self.plan_sweep(scratch),
            _ => return None,
        };
        Some(Plan { changes: self.changes, step })
    }

    /// Takes all removed points out of all links at once, so that their places are free: for whoever has time, and searches
    /// nothing meanwhile.
    pub fn unlink_all(&mut self, scratch: &mut Scratch) {
        while self.removed > 0 {
            let step = self.plan_sweep(scratch);
            self.link(Plan { changes: self.changes, step });
        }
    }

    /// Does what was planned. A plan that no longer fits, because another was carried out since or its point is
    /// gone, changes nothing; the next one finds anew what is to be done.
    pub fn link(&mut self, plan: Plan) {
        if plan.changes != self.changes {
            return;
        }
        self.changes += 1;
        match plan.step {
            Step::Point { place, put, lists } => {
                if self.waiting.get(&place) == Some(&put) {
                    self.waiting.remove(&place);
                    self.states[place as usize] = State::Linked;
                    self.write_lists(&lists);
                    let lonely = self.links(0, place).is_empty();
                    if self.entry == NONE || lonely || level(place) > level(self.entry) {
                        self.entry = place;
                    }
                }
            }
            Step::Begin => self.begin_sweep(),
            Step::Mend { to, lists } => {
                self.write_lists(&lists);
                self.sweep = Some(to);
            }
            Step::Finish { entry, unreached } => self.finish_sweep(entry, unreached),
        }
    }

    fn write_lists(&mut self, lists: &Lists) {
        for (layer, place, links) in lists.iter() {
            let before = self.links(layer, place);
            // Nothing new may link to what is removed: a sweep may have passed here already.
            let allowed = |link: &u32| self.is_linked(*link) || before.contains(link);
            let kept: Vec<u32> = links.iter().copied().filter(allowed).collect();
            self.write_links(layer, place, &kept);
        }
    }

    fn plan_point(&self, place: u32, scratch: &mut Scratch) -> Lists {
        let mut lists = Lists::default();
        if self.entry == NONE {
            return lists;
        }
        let mut wide = std::mem::take(&mut scratch.query);
        self.rows.widen(place, &mut wide);
        let top = level(place).min(level(self.entry));
        self.descend(&wide, top, scratch);
        for layer in (0..=top).rev() {
            self.walk(&wide, layer, EFFORT, |place| self.is_linked(place), scratch);
            let Choice { mut links, copies, .. } = self.choose(&wide, layer, scratch);
            let (copied, others) = links.split_at(copies);
            let mut accepted = false;
            for neighbour in copied {
                accepted |= self.link_back(place, layer, *neighbour, true, &mut lists, scratch);
            }
            // Who looks for a copy comes by the others: that some other point links to it does not help.
            for neighbour in others {
                let linked = self.link_back(place, layer, *neighbour, false, &mut lists, scratch);
                accepted |= linked && copies == 0;
            }
            if !accepted && layer == 0 {
                insist(place, &mut links, copies, &mut lists);
            }
            lists.push(layer, place, &links);
        }
        scratch.query = wide;
        lists
    }

    /// Chooses what a new point links to, from the pool.
    fn choose(&self, wide: &Wide, layer: usize, scratch: &mut Scratch) -> Choice<'_> {
        let Scratch { pool, fresh, similarities, .. } = scratch;
        let mut choice = Choice::new(self, LINKS_NEW);
        for (similarity, place) in pool.counted() {
            choice.offer(similarity, place);
        }
        if choice.links.len() >= LINKS_FEW {
            return choice;
        }
        let known: Vec<u32> = pool.counted().map(|(_, place)| place).collect();
        fresh.clear();
        for link in choice.links.iter().flat_map(|link| self.links(layer, *link)) {
            if self.is_linked(*link) && !known.contains(link) && !fresh.contains(link) {
                fresh.push(*link);
            }
        }
        self.rows.similarities(wide, fresh, similarities);
        // A copy that was not near is not needed, and copies stand first among the links.
        for (similarity, place) in nearest_first(fresh, similarities).filter(|(similarity, _)| *similarity < COPY) {
            choice.offer(similarity, place);
        }
        choice
    }

    /// Plans the link from a neighbour back to a new point, and says whether there will be one.
    fn link_back(
        &self,
        place: u32,
        layer: usize,
        neighbour: u32,
        is_copy: bool,
        lists: &mut Lists,
        scratch: &mut Scratch,
    ) -> bool {
        let room = if layer == 0 { LINKS_BASE } else { LINKS_UPPER };
        let present = self.links(layer, neighbour);
        let mut links = [present, &[place]].concat();
        if is_copy || present.len() == room {
            links = self.choose_again(neighbour, layer, room, links, lists, scratch);
        }
        lists.push(layer, neighbour, &links);
        links.contains(&place)
    }

    /// Chooses the links of a point among more than it has room for. Who is linked to by no other stays.
    fn choose_again(
        &self,
        place: u32,
        layer: usize,
        room: usize,
        from: Vec<u32>,
        lists: &mut Lists,
        scratch: &mut Scratch,
    ) -> Vec<u32> {
        let Scratch { fresh, similarities, other, .. } = scratch;
        self.rows.widen(place, other);
        *fresh = from;
        self.rows.similarities(other, fresh, similarities);
        let new = fresh.last().copied();
        let is_last = |link: u32| layer == 0 && Some(link) != new && lists.is_last(self, link);
        let mut choice = Choice::new(self, room);
        choice.reserve(fresh.iter().filter(|link| is_last(**link)).count());
        for (similarity, place) in nearest_first(fresh, similarities) {
            if is_last(place) {
                choice.keep_reserved(similarity, place);
            } else {
                choice.offer(similarity, place);
            }
        }
        if layer == 0 {
            lists.dropped.extend(fresh.iter().filter(|link| Some(**link) != new && !choice.links.contains(link)));
        }
        choice.links
    }
}

/// Makes the nearest neighbour link to a new point that all refused, in the stead of another, which the new point
/// links to instead: whatever could be reached can be reached still. Copies stand first among links, and it is the
/// second of them that is replaced by one more.
fn insist(place: u32, links: &mut Vec<u32>, copies: usize, lists: &mut Lists) {
    let Some(nearest) = links.first().copied() else { return };
    let mut offset = 0;
    for (other, layer, count) in &lists.heads {
        let count = usize::from(*count);
        if *other == nearest && *layer == 0 {
            let at = if copies == 0 { count } else { count.min(COPIES_MAX) };
            let replaced = std::mem::replace(&mut lists.links[offset + at - 1], place);
            if copies == COPIES_MAX {
                links[COPIES_MAX - 1] = replaced;
            } else if !links.contains(&replaced) {
                links.push(replaced);
            }
            return;
        }
        offset += count;
    }
}

/// Places by their similarity.
pub(crate) fn nearest_first(places: &[u32], similarities: &[f32]) -> impl Iterator<Item = (f32, u32)> + use<> {
    let mut entries: Vec<u64> =
        places.iter().zip(similarities).map(|(place, similarity)| entry(*similarity, *place)).collect();
    entries.sort_unstable_by(|one, other| other.cmp(one));
    entries.into_iter().map(|entry| (similarity_of(entry), place_of(entry)))
}
