//! Many real nodes' rules on one clock: links that delay, break at any message and are cut off,
//! messages by POST that come doubled, late and out of order, disks that lose what was not synced,
//! and a judge that checks what must always hold.
//! It drives the product's own types; it is never published.

mod disk;
pub mod federation;
mod judge;
mod links;
mod random;
mod story;
mod world;

pub use judge::Violation;
pub use story::{Plant, Report, play};
