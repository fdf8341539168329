//! The tests that see `comity-core` from outside, in one binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod basin;
mod federation;
mod gossip;
mod knowledge;
mod redaction;
mod vectors;
