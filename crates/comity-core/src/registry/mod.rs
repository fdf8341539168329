//! The rules of a registry of the mesh: who is there, by which key, where a query goes, and who gets a piece of work.
//! Not how any of it is asked: bodies are read in `wire/mesh/`. See "Registry" and "Routing" in `protocols/mesh.md`.

#[cfg(test)]
pub(crate) mod drawn;
pub mod key;
pub mod latency;
pub mod pace;
pub mod placement;
pub mod profile;
pub mod roster;
pub mod routing;
