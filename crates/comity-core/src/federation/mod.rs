//! Federation: organisations that stay sovereign. Each is an origin; requests between them are signed, and what they
//! say on a shared channel is one line of signed events. See `protocols/federation.md`. What goes over the wire is
//! written and read in `wire/federation/`.

pub mod channel;
pub mod digesting;
pub mod event;
pub mod heads;
pub mod hub;
pub mod origin;
pub mod outbox;
pub mod participant;
pub mod pin;
pub mod roster;
pub mod verify;

pub use channel::{ChannelId, NotAChannel};
pub use event::{Authored, Event, EventId, Order};
pub use origin::{NotAnOrigin, Origin};
pub use pin::{AuthorKey, KeyChanged, OldKey, Pin};
