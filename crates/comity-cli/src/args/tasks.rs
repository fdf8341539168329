//! The flags of `comity task` and `comity worker`.

use super::duration;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use std::time::Duration;
use uuid::Uuid;

/// What to do with the queue of tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Put a task into this node's queue, and print its id
    ///
    /// It is on disk when this returns. A worker of this node, or of one that knows it, calls the tool with the
    /// parameters; of several that wait, the least loaded gets it. When nobody can do it, it waits.
    Submit(Submit),
    /// List the tasks of the queue, the newest first
    List {
        /// Only those in this state: queued, leased, running, succeeded, failed, cancelled, expired
        #[arg(long, value_name = "S")]
        state: Option<String>,
    },
    /// Show a task, with its result
    Show {
        /// Its id
        #[arg(value_parser = task_id)]
        id: Uuid,
    },
    /// Show what a task's worker says, until the task is over
    ///
    /// Exit code 0 when it succeeded, 1 when it did not.
    Watch {
        /// Its id
        #[arg(value_parser = task_id)]
        id: Uuid,
    },
    /// Take a task back: at once, or by telling its worker to stop
    Cancel {
        /// Its id
        #[arg(value_parser = task_id)]
        id: Uuid,
    },
    /// Give a task that failed or expired all its attempts again
    Requeue {
        /// Its id
        #[arg(value_parser = task_id)]
        id: Uuid,
    },
    /// List the tasks that failed as often as they may
    Dead,
    /// Take a task that is over out of the queue
    ///
    /// Tasks that are over go by themselves after a week, those that failed after a month.
    Discard {
        /// Its id
        #[arg(value_parser = task_id)]
        id: Uuid,
    },
    /// Show who does tasks of this node, and how many there are
    Workers,
}

/// Arguments of `comity task submit`.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// What a worker must be able to do: a tool, as SERVER/TOOL or its name alone
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) capability: String,
    /// The tool's arguments, a JSON object; `-` reads standard input [default: none]
    #[arg(long, value_name = "JSON")]
    pub(crate) params: Option<String>,
    /// The higher is the sooner
    #[arg(long, value_name = "N", default_value_t = 0, allow_hyphen_values = true)]
    pub(crate) priority: i32,
    /// Until when it is of use: a time from now as in `10m`, or an RFC 3339 time
    #[arg(long, value_name = "T")]
    pub(crate) deadline: Option<String>,
    /// How often it may be tried [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) attempts: Option<u32>,
    /// How long its worker may be silent before another gets it [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) lease: Option<Duration>,
    /// Tasks of one key are one task, with the deadline of the first
    #[arg(long, value_name = "K", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) key: Option<String>,
    /// What its worker must have, as NAME=VALUE; of numbers at least as much. May be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) require: Vec<String>,
    /// Wait until it is over, show what its worker says, and print its result
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Flags of `comity worker`.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// How many tasks may run at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) slots: u16,
    /// A tool that tasks may call, as SERVER/TOOL or its name alone; may be given several times [default: all]
    #[arg(long, value_name = "C", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) capability: Vec<String>,
    /// What this machine has, as NAME=VALUE, for tasks that require it; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) has: Vec<String>,
}

fn task_id(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| "a UUID such as `comity task submit` prints is wanted".to_owned())
}
