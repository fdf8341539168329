//! Scenes that a hostile peer plays: `tests/peers/hostile.py`, written from the protocol's text alone.

use crate::PATIENCE;
use crate::lab::Host;
use crate::lines::Lines;
use crate::peers;
use serde_json::Value;

/// How much a node may grow under any of these attacks, KiB. What it holds while it works is a few
/// MiB; what an attacker could make it hold without bounds is many times this.
pub const GROWTH_MAX: u64 = 48 * 1024;

/// Plays a scene on this machine.
pub fn scene(words: &[&str]) -> Lines {
    Lines::start(peers::python("hostile.py").args(words))
}

/// Plays a scene on a host of a lab.
pub fn scene_on(host: &Host, words: &[&str]) -> Lines {
    Lines::start(&mut host.run(peers::python("hostile.py").args(words)))
}

/// The next thing the scene says.
pub fn heard(scene: &mut Lines) -> Value {
    let line = scene.next(PATIENCE * 3).expect("the scene says something");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
