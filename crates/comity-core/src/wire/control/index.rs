//! The index of the node's documents, and searches over all nodes, at the control door.

use super::named::rfc3339;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Documents to be indexed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDocuments {
    /// The documents, at most 1,000.
    pub documents: Vec<NewDocument>,
}

/// A document to be indexed: a text, which the node's encoder turns into a vector, or the vector itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDocument {
    /// Where it is. Two documents of one URL are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its id; left out: made of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_id: Option<String>,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it says, at most 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its vector, where there is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basin: Option<Vec<f32>>,
    /// What else is known of it, and what it can be found by: texts, numbers, truths, and lists of them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// How its file was when it was read, for whoever reads it again: see [`KnownFiles`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// What became of documents that were to be indexed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indexed {
    /// So many are new.
    pub added: u64,
    /// So many are in the place of an older version.
    pub changed: u64,
    /// So many were indexed already, exactly so.
    pub unchanged: u64,
    /// Those that were refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedDocument>,
}

/// A document that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedDocument {
    /// Which of the documents, from 0.
    pub document: u64,
    /// The field that is wrong.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

/// Documents to be taken out of the index: by id, or all whose URL begins so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unindex {
    /// Their ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doc_ids: Vec<String>,
    /// What their URLs begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_prefix: Option<String>,
}

/// How many documents were taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unindexed {
    /// So many.
    pub removed: u64,
}

/// URLs of files that somebody is about to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The URLs, at most 1,000.
    pub urls: Vec<String>,
}

/// How files were when they were indexed: whoever finds one unchanged need not read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownFiles {
    /// What was said of each in [`NewDocument::file`], by URL.
    pub files: BTreeMap<String, String>,
}

/// Documents of the index, by URL, and those of one URL by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Documents {
    /// The documents.
    pub documents: Vec<Document>,
    /// What to give as `after` for those that follow; left out: these are the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A document of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its id.
    pub doc_id: String,
    /// The node whose document it is; left out: this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What it is called.
    pub title: String,
    /// Its version: one more with each change.
    pub version: u64,
    /// When it was indexed as it is.
    #[serde(with = "rfc3339")]
    pub written: Timestamp,
    /// What else is known of it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

/// What the index has, and what it costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexStats {
    /// Numbers of each vector.
    pub dimension: u64,
    /// How distances are measured.
    pub metric: String,
    /// How numbers become points.
    pub projection: String,
    /// What turns texts into vectors.
    pub encoder: String,
    /// This node's documents.
    pub documents: u64,
    /// This node's documents that were deleted, and of which that is remembered.
    pub deleted: u64,
    /// The other nodes whose documents are kept here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<IndexSource>,
    /// Documents that are found by looking at each of them, because they are not linked with the others yet.
    pub waiting: u64,
    /// Memory of the graph, bytes.
    pub memory_bytes: u64,
    /// All of it on disk, bytes.
    pub disk_bytes: u64,
}

/// A node whose documents are kept here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexSource {
    /// Its id.
    pub node: String,
    /// What its documents count: `full`, `partial`, `observer`; `none` when they are no longer wanted.
    pub trust: String,
    /// Its documents that are here.
    pub documents: u64,
    /// When all that it had was here, last, an RFC 3339 time; left out: not since this node was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Why what it has could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Updates of it that did not count, since this node was started.
    pub refused: u64,
}

/// A question to this node and to others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// What is looked for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Or as a vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basin: Option<Vec<f32>>,
    /// Results in all, 1 to 1,000; 10 when nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Which nodes are asked: names, ids or keys; nobody: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// What documents must have in their metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, String>,
    /// How long others may take, ms; 1,000 when nobody says, 30,000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}
