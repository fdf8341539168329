//! The rules of a Comity node: pure state machines that are told what happened and when, and
//! answer with what must be done.
//!
//! Nothing in this crate opens a socket or a file, reads a clock, spawns a task or draws a random
//! number. The body (`comity`) waits for events, hands them to [`node::Node`] and performs the
//! effects in order; the simulator (`comity-sim`) does the same on one clock for many nodes.

pub mod announced;
pub mod audience;
pub mod basin;
pub mod card;
pub mod channel;
pub mod claim;
pub mod envelope;
pub mod federation;
pub mod hidden;
pub mod id;
pub mod identity;
pub mod inbox;
pub mod journal;
pub mod knowledge;
pub mod ledger;
pub mod limits;
pub mod node;
pub mod outbound;
pub mod payload;
pub mod peers;
pub mod redact;
pub mod registry;
pub mod request;
pub mod seen;
pub mod task;
pub mod throttle;
pub mod time;
mod timers;
pub mod tool;
pub mod topic;
pub mod transfer;
pub mod wire;
