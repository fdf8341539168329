//! What origins tell each other, in bytes. See `protocols/federation.md`.

pub mod authorization;
pub mod body;
pub mod event;
pub mod proof;
pub mod stream;
pub mod well_known;
