//! Topics of gossip as the control door takes and gives them.

use super::Named;
use crate::wire::gossip::{Kind, Priority};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A topic by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// The name, as in `CHORUS/coordination/v1`.
    pub topic: String,
}

/// The topics that a node listens to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topics {
    /// By name.
    pub topics: Vec<String>,
    /// The node's PeerId, as other libp2p programs write it.
    pub peer_id: String,
    /// Where they reach it: libp2p addresses that end with the PeerId.
    pub addresses: Vec<String>,
}

/// The role of a node among others, in its owner's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// The role, as in `Senior Developer`.
    pub role: String,
    /// What the node knows about.
    #[serde(default)]
    pub expertise: Vec<String>,
    /// Whom it reports to: a role, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reports_to: Option<String>,
}

/// Which role a node has, and what it therefore listens to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRole {
    /// The role, if it has one.
    pub role: Option<Role>,
    /// All topics that the node listens to, by name.
    pub topics: Vec<String>,
}

/// Something to be said on a topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Where.
    pub topic: String,
    /// What: the `data` of the message when there is a type, else the message itself.
    pub payload: Value,
    /// Which of the 31 types it is; without one it is published as it is, where this node listens.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Named<Kind>>,
    /// How urgent it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Named<Priority>>,
    /// Whether it is said in the node's role.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_role: bool,
    /// The roles that it is for; all, when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to_roles: Vec<String>,
    /// The kinds of expertise that it is for; all, when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_expertise: Vec<String>,
    /// The project that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The conversation that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}
