//! A Comity node as a library: [`Network::join`] makes this program a peer of its local network.
//!
//! The rules are in `comity-core`; this crate is the body around them. It waits for events, hands
//! them to the rules and performs what they answer. What peers can reach is listed in
//! `door/mod.rs`; every message of the wire is described in `protocols/local-network.md`.

pub mod config;
pub(crate) mod driver;
pub mod home;
pub(crate) mod link;
#[cfg(test)]
mod scratch;

pub use network::Network;
