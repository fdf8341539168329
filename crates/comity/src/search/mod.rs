//! Documents that are searched by what they mean: the index of this node, and questions to others. What goes over the
//! wire is in `comity_core::wire::mesh`, and what counts in `comity_core::basin`. See `protocols/mesh.md`.

mod change;
mod documents;
pub(crate) mod encoding;
pub mod fetching;
mod index;
mod keeper;
mod knowledge;
mod mesh;
mod notices;
mod points;
pub mod reading;
mod restoring;
mod sync;
#[cfg(test)]
mod tests;
mod whereabouts;

pub use encoding::{NoEncoder, TableCause};
pub(crate) use index::{Index, IndexError};
pub(crate) use knowledge::{Entries, KnowledgeError, NotSaid, NotTaken};
pub(crate) use mesh::{Mesh, NotAsked, NotIndexed, NotTold, standing};
pub use restoring::IndexOpenError;
pub(crate) use whereabouts::{Elsewhere, Places};
