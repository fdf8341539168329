//! What nodes of a mesh and its registry tell each other, in bytes: questions and answers, documents and changes of their
//! indexes, registrations, knowledge, tasks. Everything is read from hostile bytes, within bounds. See
//! `protocols/mesh.md`; the rules are in `basin/`, `registry/`, `knowledge.rs` and `task.rs`.

pub mod document;
pub mod form;
pub mod knowledge;
pub mod numbers;
pub mod query;
pub mod reading;
pub mod registry;
pub mod sync;
pub mod task;
