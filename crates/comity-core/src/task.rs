//! Durable tasks that go to whoever is able: what a task may be, and how one goes on by what its worker, its submitter
//! and the time do. It keeps nothing and knows no database: the store loads a [`Course`], asks it, and writes it back.
//! See "Compute" in `protocols/mesh.md`; the tasks of `claim.rs` are others, which nodes agree on without a store.
//!
//! - **A lease has a token.** Each lease of a task has a higher one. Whoever speaks with an old one is refused, so that
//!   what a task does happens once in effect, however late a worker is.
//! - **Times are what the callers' clocks say.** A lease is kept as the time at which it ends. A clock that is ahead
//!   ends leases early, whose workers are then refused; one that was set back can lengthen none: a lease never lasts
//!   longer than its length from any time at which it is looked at.

mod course;
mod kept;
mod new;
#[cfg(test)]
mod tests;

pub use course::{Course, Lapse, Refused, Renewed, backoff};
pub use kept::{Kept, Leased, Line, Lines};
pub use new::{BadTask, NewTask, Offer, Property, check_name, meets};

use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use uuid::Uuid;

/// Largest payload, and largest result, bytes of JSON.
pub const PAYLOAD_MAX: usize = 1024 * 1024;

/// Longest kind, capability, submitter, worker, idempotency key, or name of a requirement, bytes.
pub const NAME_MAX: usize = 128;

/// Most requirements of a task, and most properties that a worker says it has.
pub const REQUIREMENTS_MAX: usize = 32;

/// Most capabilities that a worker asks with: more are more questions to the store for one claim.
pub const CAPABILITIES_MAX: usize = 64;

/// Most tasks in one call, submitted, claimed or ended: a group's share of memory and of the writer's time.
pub const BATCH_MAX: usize = 100;

/// Most attempts that a task may ask for.
pub const ATTEMPTS_MAX: u32 = 100;

/// Attempts of a task that says nothing.
pub const ATTEMPTS: u32 = 3;

/// Length of a lease of a task that says nothing.
pub const LEASE: Duration = Duration::from_secs(60);

/// Longest lease: a worker that died holds a task no longer.
pub const LEASE_MAX: Duration = Duration::from_secs(3600);

/// How long a task waits after its first attempt failed; twice as long after each further one.
pub const BACKOFF: Duration = Duration::from_secs(1);

/// The longest that a task waits between two attempts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// Longest line of progress or log, bytes. What is longer is cut.
pub const LINE_MAX: usize = 4096;

/// Most lines said at once.
pub const LINES_MAX: usize = 256;

/// Bytes of lines that are kept of one task: the oldest go first, and it is known how many went.
pub const LINES_KEPT_MAX: usize = 64 * 1024;

/// Longest sentence about a failure, bytes. What is longer is cut.
pub const CAUSE_MAX: usize = 1024;

/// For how long finished tasks are kept.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// For how long the dead are kept for a person to look at.
pub const DEAD_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The id of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub Uuid);

impl fmt::Display for TaskId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

/// A text that is not the id of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a task: a UUID is wanted")]
pub struct NotATaskId;

impl FromStr for TaskId {
    type Err = NotATaskId;

    fn from_str(text: &str) -> Result<Self, NotATaskId> {
        Uuid::try_parse(text).map(Self).map_err(|_| NotATaskId)
    }
}

/// How a task stands. The names are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Waits for a worker, or for the time of its next attempt.
    Queued,
    /// A worker has it, and was not heard of since.
    Leased,
    /// A worker has it, and says so.
    Running,
    /// It is done, and has a result.
    Succeeded,
    /// It was tried as often as it may be, or cannot be done: it is on the list of the dead.
    Failed,
    /// Its submitter took it back.
    Cancelled,
    /// Its deadline passed.
    Expired,
}

impl State {
    /// All of them, each at the place that is its number in the store.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Leased, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled, Self::Expired];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased => "leased",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// The state of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether it is over.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Leased | Self::Running)
    }

    /// Whether a worker has it.
    pub fn is_held(self) -> bool {
        matches!(self, Self::Leased | Self::Running)
    }
}

/// The text, cut to so many bytes where a character ends, without what cannot be seen.
pub fn cut(text: &str, bytes_max: usize) -> String {
    let short = &text[..text.floor_char_boundary(bytes_max)];
    crate::hidden::clean(short)
}
