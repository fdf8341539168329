//! Which of the near points a point links to: those that are nearer to it than to any it links to already, so that
//! links lead in many directions. Equal vectors would be in no direction at all; of these it links to two.

use crate::graph::Graph;

/// From this similarity on two vectors count as copies: a few codes differ by one.
pub(crate) const COPY: f32 = 0.999_99;
/// How many copies of a point may be among its links: one to come by, one to go on, as in a list.
pub(crate) const COPIES_MAX: usize = 2;

/// The links of one point while they are chosen.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    graph: &'a Graph,
    pub(crate) links: Vec<u32>,
    /// How many of them are copies of the point.
    pub(crate) copies: usize,
    room: usize,
    /// How much of the room is for those that are still to be kept.
    reserved: usize,
}

impl<'a> Choice<'a> {
    pub(crate) fn new(graph: &'a Graph, room: usize) -> Self {
        Self { graph, links: Vec::with_capacity(room + 1), copies: 0, room, reserved: 0 }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.links.len() + self.reserved >= self.room
    }

    /// Links to a point whatever else is linked to.
    pub(crate) fn keep(&mut self, similarity: f32, place: u32) {
        self.copies += usize::from(similarity >= COPY);
        self.links.push(place);
    }

    /// Keeps room for points that are to be kept whatever else is linked to.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.reserved += count;
    }

    /// Links to a point for which there was room kept.
    pub(crate) fn keep_reserved(&mut self, similarity: f32, place: u32) {
        self.reserved -= 1;
        self.keep(similarity, place);
    }

    /// Links to a point if it is in a direction of its own. The nearest are to be offered first.
    pub(crate) fn offer(&mut self, similarity: f32, place: u32) -> bool {
        let is_copy = similarity >= COPY;
        if self.is_full() || is_copy && self.copies >= COPIES_MAX {
            return false;
        }
        let rows = &self.graph.rows;
        // A second copy is in the direction of the first: it would never be chosen otherwise.
        if !is_copy && rows.kernel.any_above(similarity, place, rows, &self.links) {
            return false;
        }
        self.keep(similarity, place);
        true
    }
}
