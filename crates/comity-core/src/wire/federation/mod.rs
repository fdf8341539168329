//! What origins tell each other, in bytes. See `protocols/federation.md`.

pub mod authorization;
pub mod well_known;
