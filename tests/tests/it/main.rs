//! Process-level tests: the built `comity` among real peers, and what a person types.
//! Run by `cargo xtask test`, which brings the peers. Rules and parts have their own tests.

mod browser;
mod doors;
mod events;
mod health;
mod home;
mod lan;
mod mcp;
mod mdns;
mod openapi;
mod readme;
mod reference;
mod talk;
