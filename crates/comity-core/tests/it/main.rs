//! The tests that see `comity-core` from outside, in one binary.

mod vectors;
