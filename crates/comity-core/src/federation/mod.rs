//! Federation: organisations that stay sovereign. Each is an origin; requests between them are signed. See
//! `protocols/federation.md`. What goes over the wire is written and read in `wire/federation/`.

pub mod origin;
pub mod pin;

pub use origin::{NotAnOrigin, Origin};
pub use pin::{KeyChanged, OldKey, Pin};
