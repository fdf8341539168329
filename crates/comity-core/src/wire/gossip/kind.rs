//! The 31 types of gossip messages: their names, what they belong to, what the journal calls them, and the files in
//! `schemas/gossip/` that say what they look like. One table; nothing here reads a message.
//! See "Messages" and "Journal" in `protocols/pubsub.md`.
//!
//! The journal's names for types that the text does not list: an answer stands with what it answers
//! (`context_response` with `context_request`), and what tells how good or how used a context was, or that there is
//! a new one, stands with `context_feedback`. The entry's `message_type` keeps them apart.

use crate::journal::EntryKind;

/// Which part of the design a type belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Tasks, and who can take them.
    Coordination,
    /// Talk about tasks.
    Meta,
    /// Who does what for whom.
    Roles,
    /// Context, and how good it was.
    Context,
    /// Events of the context system, SLURP on the wire.
    Slurp,
}

/// Makes the type and all that is looked up by it from one table.
macro_rules! kinds {
    ($($variant:ident, $name:literal, $group:ident, $journal:ident, $doc:literal;)*) => {
        /// What a gossip message is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = $doc] $variant,)*
        }

        impl Kind {
            /// All of them, in the order of the protocol.
            pub const ALL: [Self; 31] = [$(Self::$variant),*];

            /// The name on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it belongs to.
            pub fn group(self) -> Group {
                match self { $(Self::$variant => Group::$group,)* }
            }

            /// What its entries in the journal are.
            pub fn entry_kind(self) -> EntryKind {
                match self { $(Self::$variant => EntryKind::$journal,)* }
            }

            /// The JSON Schema (2020-12) of its messages, as it is in the repository.
            pub fn schema_text(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(
                        concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/gossip/", $name, ".json")
                    ),)*
                }
            }
        }
    };
}

kinds! {
    TaskAnnouncement, "task_announcement", Coordination, TaskAnnounced, "There is work to do.";
    TaskClaim, "task_claim", Coordination, TaskClaimed, "Somebody wants to do it.";
    TaskProgress, "task_progress", Coordination, TaskProgress, "How far it is, or who does it now.";
    TaskComplete, "task_complete", Coordination, TaskCompleted, "It is over, done or failed.";
    CapabilityBroadcast, "capability_broadcast", Coordination, CapabilityBroadcast, "What a node can do, said when it changes.";
    AvailabilityBroadcast, "availability_broadcast", Coordination, NetworkEvent, "How much a node has to do, said every 30 s.";
    MetaDiscussion, "meta_discussion", Meta, Collaboration, "Talk about a task.";
    TaskHelpRequest, "task_help_request", Meta, Collaboration, "Somebody is stuck.";
    TaskHelpResponse, "task_help_response", Meta, Collaboration, "Whether a node can help.";
    CoordinationRequest, "coordination_request", Meta, Collaboration, "Owners of tasks should talk.";
    CoordinationComplete, "coordination_complete", Meta, Collaboration, "They have agreed.";
    DependencyAlert, "dependency_alert", Meta, Collaboration, "One task depends on another.";
    EscalationTrigger, "escalation_trigger", Meta, Escalation, "A person must decide.";
    RoleAnnouncement, "role_announcement", Roles, Collaboration, "Which role a node has.";
    ExpertiseRequest, "expertise_request", Roles, Collaboration, "Who knows about this?";
    ExpertiseResponse, "expertise_response", Roles, Collaboration, "Somebody does.";
    StatusUpdate, "status_update", Roles, Collaboration, "How it goes.";
    WorkAllocation, "work_allocation", Roles, Collaboration, "A supervisor gives work to somebody.";
    RoleCollaboration, "role_collaboration", Roles, Collaboration, "Roles work together on something.";
    MentorshipRequest, "mentorship_request", Roles, Collaboration, "Somebody wants to be taught.";
    MentorshipResponse, "mentorship_response", Roles, Collaboration, "Whether somebody teaches.";
    ProjectUpdate, "project_update", Roles, Collaboration, "How a project is.";
    DeliverableReady, "deliverable_ready", Roles, Collaboration, "A result can be fetched.";
    FeedbackEvent, "feedback_event", Context, ContextFeedback, "How good a context was.";
    ContextRequest, "context_request", Context, ContextRequest, "A context is wanted.";
    ContextResponse, "context_response", Context, ContextRequest, "Here it is.";
    ContextUsage, "context_usage", Context, ContextFeedback, "How a context was used.";
    ContextRelevance, "context_relevance", Context, ContextFeedback, "How relevant a context is to whom.";
    SlurpEventGenerated, "slurp_event_generated", Slurp, ContextFeedback, "A discussion made an event.";
    SlurpEventAck, "slurp_event_ack", Slurp, ContextFeedback, "An event was taken, or not.";
    SlurpContextUpdate, "slurp_context_update", Slurp, ContextFeedback, "A context changed by events.";
}

impl Kind {
    /// The type of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The JSON Schema (2020-12) of what all messages have in common, as it is in the repository.
pub const ENVELOPE_SCHEMA: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/gossip/envelope.json"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_of_each_group_as_the_protocol_counts() {
        let of = |group: Group| Kind::ALL.iter().filter(|kind| kind.group() == group).count();
        let groups = [Group::Coordination, Group::Meta, Group::Roles, Group::Context, Group::Slurp];
        assert_eq!(groups.map(of), [6, 7, 10, 5, 3]);
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.name()), Some(kind));
        }
        assert_eq!(Kind::parse("TaskClaim"), None);
    }
}
