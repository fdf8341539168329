//! Basins: documents as points on a sphere, who made them, and how what several nodes found becomes one ranking.
//! Nothing here keeps an index or asks a node. See "Basins" in `protocols/mesh.md`; the forms on the wire are in
//! `wire/mesh/`.

pub mod encoder;
pub mod filter;
pub mod merge;
pub mod metadata;
pub mod name;
pub mod record;
pub mod settings;
pub mod spread;

pub use metadata::{Metadata, NotMetadata};
pub use name::{DocId, NotADocId};
pub use record::{Beside, Draft, Held, Record, RecordError};
pub use settings::{Field, Metric, Projection, Settings, SettingsError, VectorError};
