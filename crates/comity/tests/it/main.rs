//! The library over real sockets: several nodes in one process, on loopback, without mDNS; they
//! are named to each other by address. What a single rule decides is tested in `comity-core`.

mod attention;
mod brokered;
mod channels;
mod claims;
mod journal;
mod meeting;
mod talking;
mod topics;
mod world;
