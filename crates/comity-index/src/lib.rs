//! Approximate nearest neighbours over unit vectors, in memory, with deletes and filters: a navigable graph of
//! layers (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical
//! Navigable Small World graphs") over rounded vectors, and a file of the exact ones.
//!
//! It knows no texts, no names and no clock. What stands at a place is its caller's matter.

mod beam;
mod file;
mod graph;
mod kernel;
mod mend;
mod plan;
mod rows;
mod scratch;
mod search;
mod select;
mod shelf;
#[cfg(test)]
mod tests;

pub use file::ReadError;
pub use graph::{DIMENSION_MAX, Graph, PLACES_MAX};
pub use plan::Plan;
pub use scratch::Scratch;
pub use search::Found;
pub use shelf::Shelf;
