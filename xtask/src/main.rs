//! Developer tasks: `cargo xtask test|tidy|docs|image|sim|bench`.
//! It runs programs and reads files of this repository; it is no part of the product.

mod docs;
mod image;
mod measure;
mod peers;
mod program;
mod test;
mod tidy;

use program::Failed;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask TASK

  test [--offline] [FILTER]...  install what the tests need, build, run every test (or those that match)
                                --offline: only say what is missing
  tidy [--ratchet]              check the habits of this repository
                                --ratchet: lower the recorded exceptions to what is there now
  docs [--check]                write docs/ from what the program says of itself, or compare
  image [--dev] [--into FOLDER] build a static node and the folder of its container image (deploy/image)
  sim --seeds N [--from SEED]   simulate N worlds, one a seed
  bench messages|discovery|mqtt|files
                                measure side by side with real peers; bench memory: only what a node holds
  bench journal                 measure what the journal does on this disk, beside JetStream
  bench gossip                  measure how messages spread among 20, 100 and 500 nodes in one process
  bench federation [calls|events|backfill|memory]
                                measure calls and channels between organisations, beside Synapse
  bench redact                  measure what it costs to take secrets out
  bench search [VECTORS]...     measure nearest neighbours, beside hnswlib and usearch [default: 50000]
  bench sync [DOCUMENTS [SECONDS]]
                                measure how soon others have copies of documents [default: 100000 20]
  bench mesh [VECTORS]          measure questions to a mesh of nine nodes [default: 90000]
  bench registry [NODES [SECONDS]]
                                measure what the nodes of a mesh cost their registry [default: 10000 60]
  bench tasks                   measure the queue of tasks on SQLite and PostgreSQL, beside JetStream
  bench webrtc [CONNECTIONS]    measure connections across NATs and through a relay (root)
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test", rest @ ..] => test::run(rest),
        ["tidy"] => tidy::run(tidy::Ratchet::Keep),
        ["tidy", "--ratchet"] => tidy::run(tidy::Ratchet::Lower),
        ["docs"] => docs::run(docs::Wanted::Write),
        ["docs", "--check"] => docs::run(docs::Wanted::Compare),
        ["image", rest @ ..] => image::run(rest),
        ["sim", rest @ ..] => measure::sim(rest),
        [
            "bench",
            what @ ("messages" | "memory" | "discovery" | "mqtt" | "webrtc" | "files" | "journal" | "gossip"
            | "federation" | "search" | "sync" | "mesh" | "registry" | "tasks"),
            rest @ ..,
        ] => measure::bench(what, rest),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(sentence)) => {
            eprintln!("xtask: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// The root of this repository. What cargo says now goes before what it said when this was built: clones that share
/// their build cache share this program.
fn root() -> PathBuf {
    let built = || env!("CARGO_MANIFEST_DIR").into();
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(built, PathBuf::from);
    here.parent().expect("xtask/ is a folder of the repository").to_owned()
}
