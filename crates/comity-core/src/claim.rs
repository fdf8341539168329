//! Who does a task, when several want it at once: the rules by which a node announces tasks, claims those of others,
//! and knows how each stands. Whoever announced a task decides; nobody else's word counts. See "Claims" in
//! `protocols/pubsub.md`. How words travel, and that their speakers are proven, is not its business.
//!
//! - **One writer for each task.** The announcer says how it stands: open, assigned, or ended. What it says is ordered
//!   by lease and then in this order, so that whoever hears two words in any order, twice, or only the later one,
//!   thinks the same. Each view has one owner at any time.
//! - **A lease for each announcement.** Claims and completions name it; those of an old one are refused. The first
//!   lease of a task is the announcer's wall clock in milliseconds: one that restarts without memory begins above
//!   what it said before, unless its clock was set back; then it is heard when the others have forgotten.
//! - **Words get lost.** A claim is said every [`AGAIN_AFTER`] until it is decided, and is void after
//!   [`CLAIM_TIMEOUT`]; a completion until it is confirmed. The announcer says every interval how its tasks stand, and
//!   at once, once a second at most, to who claims or completes what is not theirs. Whoever did not hear of a task for
//!   [`SILENT_INTERVALS`] forgets it. Who begins to listen asks, and is answered once in [`ASKED_EVERY`] at most.
//! - **Owners get lost.** One of whom nothing was heard for [`SILENT_INTERVALS`] loses the task, and it is announced
//!   again. Whoever is told to own what it does not work on gives it back.

mod id;
mod kept;
mod own;
mod seen;
#[cfg(test)]
mod tests;

pub use id::{BadTaskId, TASK_ID_MAX, TaskId};

use crate::id::NodeId;
use crate::payload::Payload;
use crate::time::{Now, Timestamp};
use crate::timers::Timers;
use own::Own;
use seen::Seen;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How long a claim waits for the announcer's decision.
pub const CLAIM_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a claim or a completion is said again.
pub const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// For how many intervals an owner, or an announcer, may be silent.
pub const SILENT_INTERVALS: u32 = 3;

/// How often one task's standing is said because somebody seems not to know it, at most.
pub const ANSWER_EVERY: Duration = Duration::from_secs(1);

/// How often all tasks' standing is said because somebody asks, at most: one question costs as many words as there are
/// tasks.
pub const ASKED_EVERY: Duration = Duration::from_secs(3);

/// How old a claim may be, by its claimant's clock: the claim's own time, and what clocks may differ.
const CLAIM_AGE_MAX: Duration = Duration::from_secs(10 + 30);

/// How far in the future a claim may be, by its claimant's clock.
const CLAIM_AHEAD_MAX: Duration = Duration::from_secs(60);

/// Most tasks that a node has announced and that it still speaks of.
pub const OWN_MAX: usize = 1024;

/// Most bytes of content of all of them, 1 MiB: all of it is said to everybody every interval, and kept on disk.
pub const OWN_BYTES_MAX: usize = 1024 * 1024;

/// Most tasks known of others; the one that was not heard of for the longest goes, unless this node has to do with it.
pub const SEEN_MAX: usize = 4096;

/// Most tasks known of one announcer.
pub const SEEN_OF_ONE_MAX: usize = 1024;

/// Most tasks that a node claims or owns at once.
pub const PARTS_MAX: usize = 256;

/// A task, wherever it is spoken of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Task {
    /// Who announced it, and decides.
    pub announcer: NodeId,
    /// Its id.
    pub id: TaskId,
}

/// The number of an announcement of a task; a later one is higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(pub u64);

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Whoever can may claim it.
    Open,
    /// This node does it.
    Assigned(NodeId),
    /// It is over.
    Ended {
        /// Who did it, if anybody.
        owner: Option<NodeId>,
        /// How it ended.
        outcome: Outcome,
    },
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is done.
    Completed,
    /// Its owner could not do it.
    Failed,
    /// Its announcer took it back.
    Withdrawn,
}

/// How an owner is through with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It is done.
    Completed,
    /// It cannot be done.
    Failed,
    /// Somebody else shall do it: it is announced again.
    Released,
}

/// What nodes tell each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The announcer: how a task stands.
    Stands {
        /// The task.
        id: TaskId,
        /// The lease that this is about.
        lease: Lease,
        /// How it stands.
        standing: Standing,
        /// What there is to do, where the announcer says that it is open; nobody who hears it needs it here.
        content: Option<Payload>,
    },
    /// Somebody: I want to do it.
    Claim {
        /// Whose task; any announcer's when that is not said.
        announcer: Option<NodeId>,
        /// The task.
        id: TaskId,
        /// The lease that was announced; whichever is open when that is not said.
        lease: Option<Lease>,
        /// When the claim was made, by the claimant's clock.
        at: Timestamp,
    },
    /// The owner: I am through with it.
    Finish {
        /// The task.
        task: Task,
        /// The lease by which the owner has it.
        lease: Lease,
        /// How.
        finish: Finish,
    },
}

/// What the state machine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// There is something to do.
    Announce {
        /// Its id: none of ours that has not ended.
        id: TaskId,
        /// What it is.
        content: Payload,
    },
    /// Nobody shall do it any more.
    Withdraw(TaskId),
    /// This node wants to do it.
    Claim(Task),
    /// This node is through with it.
    Finish(Task, Finish),
    /// Somebody, proven to be this node, said this at some time. That it is there now is said besides.
    Heard(NodeId, Word),
    /// This node is there, and says so itself.
    Alive(NodeId),
    /// The same, and it asks how tasks stand: it has not listened until now.
    Asked(NodeId),
}

/// What must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Tell everybody.
    Say(Word),
    /// A task stands otherwise than before.
    Stands {
        /// The task.
        task: Task,
        /// The lease.
        lease: Lease,
        /// How it stands.
        standing: Standing,
    },
    /// A task is not spoken of any more.
    Forgotten(Task),
    /// This node owns it: begin.
    Won {
        /// The task.
        task: Task,
        /// The lease.
        lease: Lease,
    },
    /// This node does not get it, or owns it no more: stop.
    Lost {
        /// The task.
        task: Task,
        /// The lease.
        lease: Lease,
        /// Why.
        why: Lost,
    },
}

/// What a node has to do with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mine {
    /// It has claimed it, and does not know yet who gets it.
    Claimed,
    /// It does it.
    Held,
    /// It is through with it, and the announcer has not said that it knows.
    Finished,
}

/// Why a node does not get a task, or loses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// Another node owns it.
    ToAnother,
    /// It is over.
    Ended,
    /// It was announced again, under a new lease.
    AnnouncedAgain,
    /// The claim was not decided in time.
    Void,
    /// Its announcer was silent for too long.
    Unheard,
}

/// Why an input changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such task.
    #[error("there is no such task")]
    Unknown,
    /// A task of this id has not ended, or is claimed already.
    #[error("the task is there already")]
    Known,
    /// There is no room.
    #[error("there are too many tasks, or their content is too large")]
    Full,
    /// The task is assigned, or over.
    #[error("the task is not open")]
    NotOpen,
    /// Somebody else owns the task.
    #[error("another node owns the task, or nobody")]
    NotOwner,
    /// What was said is about another lease than this one.
    #[error("the lease is not the task's, which is {}", current.0)]
    OldLease {
        /// The lease that counts.
        current: Lease,
    },
    /// The claim was made too long ago, or in the future.
    #[error("the claim was made more than {} s ago, or in the future", CLAIM_AGE_MAX.as_secs())]
    Time,
}

/// What the state machine must know.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// How often nodes say that they are there, and announcers how their tasks stand: 30 s. Less costs messages, more
    /// leaves the tasks of lost nodes undone for longer.
    pub interval: Duration,
}

/// Deadlines; all of one task's are cancelled with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// When to say again how a task of this node stands, or to forget it.
    Repeat(TaskId),
    /// When to look whether the owner of a task of this node was heard of.
    Silence(TaskId),
    /// When to say again what this node wants of a task, or to give it up.
    Part(Task),
    /// When to forget a task of which its announcer does not speak.
    Expiry(Task),
    /// When to say how all tasks of this node stand: somebody asked.
    Answer,
}

/// The tasks of this node, and those it knows of.
#[derive(Debug)]
pub struct State {
    config: Config,
    own: BTreeMap<TaskId, Own>,
    own_bytes: usize,
    /// Tasks of this node that were claimed in this step.
    claimed: BTreeSet<TaskId>,
    seen: BTreeMap<Task, Seen>,
    /// How many tasks are known of each other announcer, and of all.
    of_each: BTreeMap<NodeId, usize>,
    of_others: usize,
    /// How many tasks this node claims or owns.
    parts: usize,
    timers: Timers<Timer>,
    effects: VecDeque<Effect>,
    /// When all tasks were last said again because somebody asked.
    answered_at: Option<Duration>,
    /// Whether anything that must survive a restart is otherwise than when it was last looked.
    changed: bool,
}

impl State {
    /// No tasks yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            own: BTreeMap::new(),
            own_bytes: 0,
            claimed: BTreeSet::new(),
            seen: BTreeMap::new(),
            of_each: BTreeMap::new(),
            of_others: 0,
            parts: 0,
            timers: Timers::default(),
            effects: VecDeque::new(),
            answered_at: None,
            changed: false,
        }
    }

    /// Takes one input. Claims that come in one step, before [`Self::effects`], are decided together.
    pub fn handle(&mut self, input: Input, now: Now) -> Result<(), Refused> {
        match input {
            Input::Announce { id, content } => self.announce(id, content, now),
            Input::Withdraw(id) => self.withdraw(&id, now),
            Input::Claim(task) => self.claim(&task, now),
            Input::Finish(task, finish) => self.finish(&task, finish, now),
            Input::Alive(node) => {
                self.take_life(node, now);
                Ok(())
            }
            Input::Asked(node) => {
                self.take_life(node, now);
                self.take_question(now);
                Ok(())
            }
            Input::Heard(from, word) => self.take_word(from, word, now),
        }
    }

    fn take_word(&mut self, from: NodeId, word: Word, now: Now) -> Result<(), Refused> {
        let me = self.config.me;
        match word {
            // Nobody tells this node how its own tasks stand.
            Word::Stands { .. } if from == me => Ok(()),
            Word::Stands { id, lease, standing, .. } => self.take_standing(from, id, lease, standing, now),
            Word::Claim { announcer, .. } if announcer.is_some_and(|announcer| announcer != me) => Ok(()),
            Word::Claim { id, lease, at, .. } => self.take_claim(from, id, lease, at, now),
            Word::Finish { task, .. } if task.announcer != me => Ok(()),
            Word::Finish { task, lease, finish } => self.take_finish(from, &task.id, lease, finish, now),
        }
    }

    /// What must be done, in order; empties the list. It ends the step: what was claimed in it is decided.
    pub fn effects(&mut self, now: Now) -> std::collections::vec_deque::Drain<'_, Effect> {
        while let Some(id) = self.claimed.pop_first() {
            self.decide(&id, now);
        }
        self.effects.drain(..)
    }

    /// When [`Self::wake`] is due, in time since the start.
    pub fn wake_at(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Does what is due.
    pub fn wake(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Repeat(id) => self.repeat(&id, now),
                Timer::Silence(id) => self.doubt_owner(&id, now),
                Timer::Part(task) => self.insist(&task, now),
                Timer::Expiry(task) => self.forget_unheard(&task),
                Timer::Answer => self.answer_all(now),
            }
        }
    }

    /// How a task stands, as far as this node knows.
    pub fn standing(&self, task: &Task) -> Option<(Lease, Standing)> {
        self.seen.get(task).map(|seen| (seen.lease, seen.standing))
    }

    /// All tasks that this node knows of.
    pub fn tasks(&self) -> impl Iterator<Item = (&Task, Lease, Standing)> {
        self.seen.iter().map(|(task, seen)| (task, seen.lease, seen.standing))
    }

    /// What there is to do, of a task of this node.
    pub fn content(&self, id: &TaskId) -> Option<&Payload> {
        self.own.get(id).map(|own| &own.content)
    }

    /// What this node has to do with a task.
    pub fn mine(&self, task: &Task) -> Option<Mine> {
        self.seen.get(task)?.mine()
    }

    /// How many tasks this node does.
    pub fn held(&self) -> usize {
        self.seen.values().filter(|seen| seen.mine() == Some(Mine::Held)).count()
    }

    /// How many effects wait to be taken.
    pub fn waiting(&self) -> usize {
        self.effects.len()
    }

    fn silence(&self) -> Duration {
        self.config.interval * SILENT_INTERVALS
    }
}

impl Refused {
    /// The name under which refusals are counted.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Known => "known",
            Self::Full => "full",
            Self::NotOpen => "not_open",
            Self::NotOwner => "not_owner",
            Self::OldLease { .. } => "old_lease",
            Self::Time => "time",
        }
    }
}

impl Standing {
    /// Who owns the task, or did at the end.
    pub fn owner(self) -> Option<NodeId> {
        match self {
            Self::Open => None,
            Self::Assigned(owner) => Some(owner),
            Self::Ended { owner, .. } => owner,
        }
    }

    /// The order of what an announcer says of one lease. An honest one never says two things of one rank; of those
    /// that do, everybody believes the same one.
    fn rank(self) -> (u8, Reverse<Option<NodeId>>, Option<Outcome>) {
        match self {
            Self::Open => (0, Reverse(None), None),
            Self::Assigned(owner) => (1, Reverse(Some(owner)), None),
            Self::Ended { owner, outcome } => (2, Reverse(owner), Some(outcome)),
        }
    }
}
