//! The sweep that takes removed points out of all links. Who linked to one links instead to what it led to. In the
//! end all that can be reached is walked once: what cannot is free if it was removed, and linked again if not.

use crate::graph::{Graph, NONE, State, level};
use crate::plan::{Lists, Step, nearest_first};
use crate::rows::Wide;
use crate::scratch::Scratch;
use crate::select::{COPIES_MAX, COPY, Choice};

/// How many places one plan looks at: about a tenth of a millisecond where there is nothing to mend.
const PLACES_AT_ONCE: u32 = 4096;
/// How many lists of links one plan changes, so that writing them is short.
const LISTS_AT_ONCE: usize = 64;

/// How many removed copies, and links of theirs, are passed to come to one that stays. Further copies are linked
/// again only if nothing else leads to them.
const COPIES_PASSED_MAX: usize = 4096;

impl Graph {
    pub(crate) fn plan_sweep(&self, scratch: &mut Scratch) -> Step {
        let Some(from) = self.sweep else { return Step::Begin };
        if from >= self.places() {
            return self.plan_finish(scratch);
        }
        let mut lists = Lists::default();
        let end = self.places().min(from.saturating_add(PLACES_AT_ONCE));
        for place in from..end {
            if lists.len() >= LISTS_AT_ONCE {
                return Step::Mend { to: place, lists };
            }
            if matches!(self.state(place), State::Linked | State::Removed) {
                self.mend(place, &mut lists, scratch);
            }
        }
        Step::Mend { to: end, lists }
    }

    pub(crate) fn begin_sweep(&mut self) {
        for state in &mut self.states {
            if *state == State::Removed {
                *state = State::Swept;
            }
        }
        self.sweep = Some(0);
    }

    pub(crate) fn finish_sweep(&mut self, entry: u32, unreached: Vec<u32>) {
        self.entry = entry;
        for place in unreached {
            match self.state(place) {
                State::Linked => {
                    self.clear_links(place);
                    self.states[place as usize] = State::Waiting;
                    self.puts += 1;
                    self.waiting.insert(place, self.puts);
                }
                State::Removed | State::Swept => {
                    self.clear_links(place);
                    self.removed -= 1;
                    self.free(place);
                }
                State::Empty | State::Waiting => {}
            }
        }
        for state in &mut self.states {
            // What can still be reached is left to the next sweep.
            if *state == State::Swept {
                *state = State::Removed;
            }
        }
        self.sweep = None;
    }

    fn is_removed(&self, place: u32) -> bool {
        matches!(self.state(place), State::Removed | State::Swept)
    }

    /// Plans the links of a place without those to removed points, where it has any.
    fn mend(&self, place: u32, lists: &mut Lists, scratch: &mut Scratch) {
        for layer in 0..=level(place) {
            let links = self.links(layer, place);
            if !links.iter().any(|link| self.is_removed(*link)) {
                continue;
            }
            let Scratch { query, fresh, similarities, .. } = scratch;
            // One for one: a list that is always filled up is the longer to choose from, and no better.
            let mut choice = Choice::new(self, links.len());
            fresh.clear();
            fresh.extend(links.iter().copied().filter(|link| !self.is_removed(*link)));
            let kept = fresh.len();
            for removed in links.iter().filter(|link| self.is_removed(**link)) {
                let led_to = self.links(layer, *removed).iter().copied();
                for link in led_to.filter(|link| self.is_linked(*link) && *link != place) {
                    if !fresh.contains(&link) {
                        fresh.push(link);
                    }
                }
            }
            self.rows.widen(place, query);
            self.rows.similarities(query, fresh, similarities);
            for (similarity, link) in similarities.iter().zip(&*fresh).take(kept) {
                choice.keep(*similarity, *link);
            }
            for removed in links.iter().filter(|link| self.is_removed(**link)) {
                if choice.copies < COPIES_MAX {
                    self.next_copy(query, layer, place, *removed, &mut choice);
                }
            }
            for (similarity, link) in nearest_first(&fresh[kept..], &similarities[kept..]) {
                choice.offer(similarity, link);
            }
            lists.push(layer, place, &choice.links);
        }
    }

    /// Links to the next copy of a place that stays, after one that was removed: among copies, each may be reached by
    /// one other only.
    fn next_copy(&self, wide: &Wide, layer: usize, place: u32, removed: u32, choice: &mut Choice<'_>) {
        let mut similarity = Vec::new();
        let mut passed = vec![removed];
        let mut next = 0;
        while let Some(from) = passed.get(next).copied() {
            next += 1;
            self.rows.similarities(wide, &[from], &mut similarity);
            if similarity[0] < COPY {
                continue;
            }
            if self.is_linked(from) {
                if from != place && !choice.links.contains(&from) {
                    choice.keep(similarity[0], from);
                    return;
                }
            } else {
                let further = self.links(layer, from).iter().copied();
                let room = COPIES_PASSED_MAX.saturating_sub(passed.len());
                let new: Vec<u32> = further.filter(|link| !passed.contains(link)).take(room).collect();
                passed.extend(new);
            }
        }
    }

    /// Walks all that can be reached.
    fn plan_finish(&self, scratch: &mut Scratch) -> Step {
        let entry = match self.entry {
            entry if entry != NONE && self.is_linked(entry) => entry,
            _ => {
                let linked = (0..self.places()).filter(|place| self.is_linked(*place));
                linked.max_by_key(|place| level(*place)).unwrap_or(NONE)
            }
        };
        scratch.seen.clear(self.states.len());
        scratch.fresh.clear();
        if entry != NONE {
            scratch.seen.insert(entry);
            scratch.fresh.push(entry);
        }
        while let Some(place) = scratch.fresh.pop() {
            for layer in 0..=level(place) {
                let links = self.links(layer, place).iter().copied();
                scratch.fresh.extend(links.filter(|link| scratch.seen.insert(*link)));
            }
        }
        let stands = |place: &u32| self.is_linked(*place) || self.is_removed(*place);
        let unreached = (0..self.places()).filter(|place| stands(place) && !scratch.seen.contains(*place)).collect();
        Step::Finish { entry, unreached }
    }
}
