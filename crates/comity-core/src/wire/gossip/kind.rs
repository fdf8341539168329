//! The 31 types of gossip messages: their names, what they belong to, what the journal calls them, and the files in
//! `schemas/gossip/` that say what they look like. One table; nothing here reads a message.
//! See "Messages" and "Journal" in `protocols/pubsub.md`.
//!
//! The journal's names for types that the text does not list: an answer stands with what it answers
//! (`context_response` with `context_request`), and what tells how good or how used a context was, or that there is
//! a new one, stands with `context_feedback`. The entry's `message_type` keeps them apart.

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
    ($($variant:ident, $name:literal, $group:ident, $journal:literal, $doc:literal;)*) => {
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

            /// The type of its entries in the journal.
            pub fn journal_type(self) -> &'static str {
                match self { $(Self::$variant => $journal,)* }
            }

            /// The JSON Schema (2020-12) of its messages, as it is in the repository.
            pub fn schema_text(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(
                        concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/gossip/", $name, ".json")
                    ),)*
                }
            }
        }
    };
}

kinds! {
    TaskAnnouncement, "task_announcement", Coordination, "task_announced", "There is work to do.";
    TaskClaim, "task_claim", Coordination, "task_claimed", "Somebody wants to do it.";
    TaskProgress, "task_progress", Coordination, "task_progress", "How far it is, or who does it now.";
    TaskComplete, "task_complete", Coordination, "task_completed", "It is over, done or failed.";
    CapabilityBroadcast, "capability_broadcast", Coordination, "capability_broadcast", "What a node can do, said when it changes.";
    AvailabilityBroadcast, "availability_broadcast", Coordination, "network_event", "How much a node has to do, said every 30 s.";
    MetaDiscussion, "meta_discussion", Meta, "collaboration", "Talk about a task.";
    TaskHelpRequest, "task_help_request", Meta, "collaboration", "Somebody is stuck.";
    TaskHelpResponse, "task_help_response", Meta, "collaboration", "Whether a node can help.";
    CoordinationRequest, "coordination_request", Meta, "collaboration", "Owners of tasks should talk.";
    CoordinationComplete, "coordination_complete", Meta, "collaboration", "They have agreed.";
    DependencyAlert, "dependency_alert", Meta, "collaboration", "One task depends on another.";
    EscalationTrigger, "escalation_trigger", Meta, "escalation", "A person must decide.";
    RoleAnnouncement, "role_announcement", Roles, "collaboration", "Which role a node has.";
    ExpertiseRequest, "expertise_request", Roles, "collaboration", "Who knows about this?";
    ExpertiseResponse, "expertise_response", Roles, "collaboration", "Somebody does.";
    StatusUpdate, "status_update", Roles, "collaboration", "How it goes.";
    WorkAllocation, "work_allocation", Roles, "collaboration", "A supervisor gives work to somebody.";
    RoleCollaboration, "role_collaboration", Roles, "collaboration", "Roles work together on something.";
    MentorshipRequest, "mentorship_request", Roles, "collaboration", "Somebody wants to be taught.";
    MentorshipResponse, "mentorship_response", Roles, "collaboration", "Whether somebody teaches.";
    ProjectUpdate, "project_update", Roles, "collaboration", "How a project is.";
    DeliverableReady, "deliverable_ready", Roles, "collaboration", "A result can be fetched.";
    FeedbackEvent, "feedback_event", Context, "context_feedback", "How good a context was.";
    ContextRequest, "context_request", Context, "context_request", "A context is wanted.";
    ContextResponse, "context_response", Context, "context_request", "Here it is.";
    ContextUsage, "context_usage", Context, "context_feedback", "How a context was used.";
    ContextRelevance, "context_relevance", Context, "context_feedback", "How relevant a context is to whom.";
    SlurpEventGenerated, "slurp_event_generated", Slurp, "context_feedback", "A discussion made an event.";
    SlurpEventAck, "slurp_event_ack", Slurp, "context_feedback", "An event was taken, or not.";
    SlurpContextUpdate, "slurp_context_update", Slurp, "context_feedback", "A context changed by events.";
}

impl Kind {
    /// The type of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The JSON Schema (2020-12) of what all messages have in common, as it is in the repository.
pub const ENVELOPE_SCHEMA: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/gossip/envelope.json"));

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
