//! Process-level tests: the built `comity` among real peers, and what a person types.
//! Run by `cargo xtask test`, which brings the peers. Rules and parts have their own tests.

mod abuse;
mod aiortc;
mod browser;
mod claims;
mod deploy;
mod disk;
mod doors;
mod events;
mod federation;
mod files;
mod gossip;
mod health;
mod home;
mod image;
mod interop;
mod journal;
mod lan;
mod liars;
mod mcp;
mod mdns;
mod mqtt;
mod nat;
mod newcomer;
mod openapi;
mod page;
mod readme;
mod reference;
mod relays;
mod rpc;
mod shown;
mod talk;
mod tools;
mod topic_liars;
mod traces;
