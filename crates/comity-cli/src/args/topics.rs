//! The arguments of what is about topics of gossip: `comity topic`, `role`, `project` and `room`.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

/// What to do about topics.
#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// Listen to a topic
    Join {
        /// Its name, as in `CHORUS/projects/apollo/coordination/v1`
        topic: String,
    },
    /// Listen to a topic no more
    Leave {
        /// Its name
        topic: String,
    },
    /// List the topics that the node listens to
    List,
}

/// What to do about the node's role.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Take a role, in place of the one that the node has
    ///
    /// It is kept across restarts. Topics spell "Senior Developer" as `senior_developer`, and compare it so.
    Set {
        /// The role, as in `Senior Developer`
        role: String,
        /// What this node knows about; may be repeated
        #[arg(long, value_name = "WHAT")]
        expertise: Vec<String>,
        /// The role that it reports to
        #[arg(long, value_name = "ROLE")]
        reports_to: Option<String>,
    },
    /// Give the role up
    Clear,
    /// Show the role, and the topics that the node listens to
    Show,
}

/// What to do about projects.
#[derive(Debug, Subcommand)]
pub(crate) enum Project {
    /// Listen to a project
    Join {
        /// Its id
        project: String,
    },
    /// Listen to a project no more
    Leave {
        /// Its id
        project: String,
    },
    /// List the projects that the node listens to
    List,
}

/// Arguments of `comity room`.
#[derive(Debug, Args)]
pub(crate) struct Room {
    /// The issue's id
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) issue: String,
    /// What to say: valid JSON is taken as JSON, anything else as text; `-` reads standard input
    #[arg(allow_hyphen_values = true)]
    pub(crate) payload: Option<String>,
    /// Listen to it no more
    #[arg(long, conflicts_with = "payload")]
    pub(crate) leave: bool,
}
