//! Many real nodes' rules on one clock: a network that delays, breaks, partitions, duplicates and
//! reorders, disks that lose what was not synced, and a judge that checks what must always hold.
//! It drives the product's own types; it is never published.

mod disk;
mod judge;
mod random;
mod story;
mod world;

pub use judge::Violation;
pub use story::{Plant, Report, play};
