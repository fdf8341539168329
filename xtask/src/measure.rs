//! `cargo xtask sim` and `cargo xtask bench`: both are programs of their own, built optimised.

use crate::program::{self, Failed};

/// Simulates worlds. A seed that fails is printed with the line that replays it.
pub(crate) fn sim(words: &[&str]) -> Result<(), Failed> {
    run("comity-sim", words)
}

/// Measures side by side with real peers, which the measurement starts itself.
pub(crate) fn bench(what: &str, words: &[&str]) -> Result<(), Failed> {
    // How soon the command is ready is measured with the command itself, built in the same way.
    program::run(program::cargo().args(["build", "--release", "--package", "comity-cli"]))?;
    run("comity-bench", &[&[what], words].concat())
}

fn run(package: &str, words: &[&str]) -> Result<(), Failed> {
    program::run(program::cargo().args(["run", "--release", "--package", package, "--"]).args(words))
}
