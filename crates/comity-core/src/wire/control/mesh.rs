//! The registry of a mesh at the control door: who is registered, and who may. What nodes and their registry say to each
//! other is in `wire/mesh/registry.rs`.

use super::named::rfc3339;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The nodes of the mesh, as this node knows them: as its registry, or as its coordinator told it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MeshNodes {
    /// Whether this node is the registry.
    pub coordinator: bool,
    /// The registry that this node is registered with, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_with: Option<MeshCoordinator>,
    /// The nodes, by name.
    pub nodes: Vec<MeshNode>,
}

/// The registry that a node is registered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshCoordinator {
    /// Where it is.
    pub url: String,
    /// The name under which this node registers.
    pub node_id: String,
    /// Whether it is registered now.
    pub registered: bool,
    /// What went wrong last, while something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// A node of the mesh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeshNode {
    /// Its name in the mesh.
    pub node_id: String,
    /// What it is part of.
    pub service_name: String,
    /// Where it says that it answers.
    pub endpoint: String,
    /// What it says it can do.
    pub capabilities: Vec<String>,
    /// `fresh`, `stale` or `gone`; `told` where only its registry could say.
    pub state: String,
    /// When its registry heard it last.
    #[serde(with = "rfc3339")]
    pub last_heartbeat: Timestamp,
    /// Tasks that it runs, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    /// Tasks that wait in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<u32>,
    /// How much of its processors is in use, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// How much of its memory is in use, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// The key by which it signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// An enrolment token that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enroll {
    /// How many nodes may enrol with it.
    pub uses: u32,
    /// After how long it ends, seconds.
    pub expires_in_seconds: u64,
}

/// A new enrolment token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The token. It is told this once.
    pub token: String,
    /// The beginning of its SHA-256, by which it can be revoked.
    pub hash: String,
    /// How many nodes may enrol with it.
    pub uses: u32,
    /// When it ends.
    #[serde(with = "rfc3339")]
    pub expires: Timestamp,
}

/// The token is in no line of a log.
impl std::fmt::Debug for Enrolled {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Enrolled").field("hash", &self.hash).field("uses", &self.uses).finish_non_exhaustive()
    }
}

/// What is to be revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// A node's name, or the hash of a token as it was shown.
    pub what: String,
}

/// What was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Whether a node was taken out of the registry.
    pub node: bool,
    /// Whether a node's API key was revoked.
    pub api_key: bool,
    /// Whether an enrolment token was revoked.
    pub token: bool,
}
