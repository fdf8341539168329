//! What the process-level tests stand on: nodes as processes, networks of their own, and the real
//! peers that `cargo xtask test` installed. The tests themselves are in `tests/it/`.
//!
//! Everything that is started is ended by its process id, and every folder and network namespace is
//! removed, when the value that stands for it is dropped.

pub mod container;
pub mod coturn;
pub mod deployed;
pub mod disk;
pub mod folder;
pub mod hostile;
pub mod http;
pub mod lab;
pub mod libp2p;
pub mod lines;
pub mod mosquitto;
pub mod nat;
pub mod node;
pub mod peers;
pub mod postgres;
pub mod realm;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long an event may take that is not itself what is measured. Machines that run tests are
/// busy; a test that waits for events is none the slower for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The folder of the repository. Whoever runs tests says where it is: the program that is run may have been built from
/// another clone, by whoever shares its build cache.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo and nextest say where a package is");
    PathBuf::from(here).join("..")
}

/// Asks again and again until there is an answer. For what can only be asked: every attempt is a
/// process of its own, so nothing spins.
pub fn until<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + within;
    while Instant::now() < end {
        if let Some(answer) = ask() {
            return answer;
        }
    }
    panic!("no {what} within {within:?}");
}
