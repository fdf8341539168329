//! The tests that see `comity-core` from outside, in one binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod federation;
mod gossip;
mod redaction;
mod vectors;
