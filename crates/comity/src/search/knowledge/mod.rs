//! Knowledge: what this node and others say to know, kept here, passed on, and asked for. What counts is in
//! `comity_core::knowledge`, what goes over the wire in `comity_core::wire::mesh::knowledge`. See the rows of knowledge in
//! `protocols/mesh.md`.

mod entries;
mod exchange;
mod pull;
#[cfg(test)]
mod tests;

pub(crate) use entries::{Entries, KnowledgeError};
pub(crate) use exchange::{Exchange, NotSaid, NotTaken};
pub(super) use pull::Pull;
