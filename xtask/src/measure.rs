//! `cargo xtask sim` and `cargo xtask bench`: both are programs of their own, built optimised.

use crate::peers;
use crate::program::{self, Failed};

/// Simulates worlds. A seed that fails is printed with the line that replays it.
pub(crate) fn sim(words: &[&str]) -> Result<(), Failed> {
    program::run(program::cargo().args(["run", "--release", "--package", "comity-sim", "--"]).args(words))
}

/// Measures side by side with real peers, which are installed when they are missing and which the
/// measurement starts itself.
pub(crate) fn bench(what: &str, words: &[&str]) -> Result<(), Failed> {
    let nats_server = peers::nats_server()?;
    // The measurements start the command too: it lies beside them.
    let packages = ["--release", "--package", "comity-cli", "--package", "comity-bench"];
    let program = program::build("comity-bench", &packages)?;
    // The networks with NATs, and the programs in them, are those of the tests.
    let comity = program.with_file_name("comity");
    let mut bench = program::program(program);
    bench.env("TESTED_COMITY", comity);
    if what == "search" {
        bench.env("BENCH_SEARCH_PYTHON", peers::search_python()?);
    }
    if what == "tasks" {
        bench.env("BENCH_QUEUE_PYTHON", peers::queue_python()?);
    }
    if what == "federation" {
        bench.env("BENCH_SYNAPSE_PYTHON", peers::synapse_python()?);
    }
    program::run(bench.arg(what).args(words).env("BENCH_NATS_SERVER", nats_server))
}
