//! The flags of `comity claims`.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

/// What to do about tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum Claims {
    /// Announce a task: whoever can may take it
    ///
    /// Prints its id. It is announced until it is done or withdrawn, also after restarts.
    #[command(allow_missing_positional = true)]
    Announce {
        /// Its id, unique among this node's tasks [default: one is made]
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: Option<String>,
        /// What there is to do: valid JSON is taken as JSON, anything else as text; `-` reads standard input
        #[arg(value_name = "WHAT", allow_hyphen_values = true)]
        content: String,
    },
    /// Claim a task
    ///
    /// Its announcer decides who gets it. With --wait it says whether it is this node's: exit code 0 when it is, 4 when
    /// another node has it or it is over, 5 when its announcer has not decided within ten seconds.
    Take {
        /// Which
        #[command(flatten)]
        task: Which,
        /// Wait for the decision
        #[arg(long)]
        wait: bool,
    },
    /// Say how far this node is with a task that it does
    Progress {
        /// Which
        #[command(flatten)]
        task: Which,
        /// How far: `50%`, a share from 0 to 1, a text, or JSON; `-` reads standard input
        #[arg(value_name = "HOW_FAR", allow_hyphen_values = true)]
        said: String,
    },
    /// Say that a task is done
    Done {
        /// Which
        #[command(flatten)]
        task: Which,
        /// What came of it: valid JSON is taken as JSON, anything else as text; `-` reads standard input
        #[arg(allow_hyphen_values = true)]
        result: Option<String>,
    },
    /// Say that a task cannot be done; it is over then
    Fail {
        /// Which
        #[command(flatten)]
        task: Which,
        /// Why
        #[arg(value_parser = NonEmptyStringValueParser::new(), allow_hyphen_values = true)]
        why: String,
    },
    /// Give a task back: it is announced again, for others
    Release {
        /// Which
        #[command(flatten)]
        task: Which,
    },
    /// Take a task of this node back: nobody shall do it any more
    Withdraw {
        /// Its id
        id: String,
    },
    /// List the tasks that this node knows of
    List {
        /// Go on, and show every change
        #[arg(long)]
        watch: bool,
    },
}

/// Which task.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The task's id, as its announcer gave it
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) id: String,
    /// Who announced it, where several nodes have a task of this id: name, UUID or node id
    #[arg(long, value_name = "PEER", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) of: Option<String>,
}
