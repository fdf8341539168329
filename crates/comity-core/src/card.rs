//! What a node says about itself, signed. See "Card" in `protocols/identity.md`.
//! The JSON form is in [`crate::wire::card`].

use crate::id::NodeId;
use crate::time::Timestamp;
use serde_json::{Map, Value};
use std::time::Duration;

/// The longest a card may be valid.
pub const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// The version of the protocols that this code speaks.
pub const PROTOCOL: &str = "1.0.0";

/// A card. Texts are as the writer gave them: data, to be cleaned where they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Card {
    /// Whose card it is.
    pub node: Option<NodeId>,
    /// The name people see.
    pub name: String,
    /// What kind of program it is.
    pub service: String,
    /// Its version.
    pub version: String,
    /// The protocol version it speaks.
    pub protocol: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Its roles.
    pub roles: Vec<String>,
    /// What it knows about.
    pub expertise: Vec<String>,
    /// Whom it reports to.
    pub reports_to: Vec<String>,
    /// The protocols it speaks.
    pub protocols: Vec<String>,
    /// Where it can be reached, as URLs.
    pub endpoints: Vec<String>,
    /// The organisation it belongs to.
    pub origin: Option<String>,
    /// When it started.
    pub started_at: Timestamp,
    /// When this card was written; the latest counts.
    pub issued_at: Timestamp,
    /// When it stops being valid, at most [`LIFETIME_MAX`] after it was written.
    pub expires_at: Timestamp,
    /// Anything else the node chose to say.
    pub detail: Option<Map<String, Value>>,
}

/// Whether two protocol versions can talk: the major numbers are equal.
pub fn compatible(one: &str, other: &str) -> bool {
    let major = |version: &str| version.split('.').next().and_then(|text| text.parse::<u32>().ok());
    major(one).is_some() && major(one) == major(other)
}
