//! What somebody wants to say on a topic: a message of one of the 31 types, and for whom it is.

use comity_core::id::Libp2pId;
use comity_core::time::Timestamp;
use comity_core::wire::gossip::{Envelope, Kind, Priority};
use serde_json::{Map, Value};

/// A message to be published. [`Said::new`] is to everybody; the rest narrows it down.
///
/// ```
/// use comity::gossip::{Kind, Priority, Said};
/// let data = serde_json::json!({ "task_id": "t-1", "agent_id": "a-1", "progress": 0.5 });
/// let said = Said { priority: Some(Priority::High), ..Said::new(Kind::TaskProgress, data.as_object().cloned().unwrap()) };
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Which of the 31 types.
    pub kind: Kind,
    /// What it says, as the schema of its type wants it.
    pub data: Map<String, Value>,
    /// The role in which it is said.
    pub from_role: Option<String>,
    /// The roles that it is for; all, when there are none.
    pub to_roles: Vec<String>,
    /// The kinds of expertise that it is for; all, when there are none.
    pub required_expertise: Vec<String>,
    /// The project that it belongs to.
    pub project_id: Option<String>,
    /// How urgent it is.
    pub priority: Option<Priority>,
    /// The conversation that it belongs to.
    pub thread_id: Option<String>,
}

impl Said {
    /// A message to everybody.
    pub fn new(kind: Kind, data: Map<String, Value>) -> Self {
        Self {
            kind,
            data,
            from_role: None,
            to_roles: Vec::new(),
            required_expertise: Vec::new(),
            project_id: None,
            priority: None,
            thread_id: None,
        }
    }

    pub(super) fn envelope(self, from: Libp2pId, at: Timestamp) -> Envelope {
        Envelope {
            from_role: self.from_role,
            to_roles: self.to_roles,
            required_expertise: self.required_expertise,
            project_id: self.project_id,
            priority: self.priority,
            thread_id: self.thread_id,
            ..Envelope::new(self.kind, from, at, self.data)
        }
    }
}
