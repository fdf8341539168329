//! How one task goes on: each thing that can happen to it, whether it may, and what it then is. It is not the whole
//! task: what never changes stays in the store.

use super::{BACKOFF, BACKOFF_MAX, CAUSE_MAX, State, cut};
use crate::time::Timestamp;
use std::time::Duration;

/// What changes of a task, and what the changes depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// How it stands.
    pub state: State,
    /// How often it was given to a worker, since it was submitted or requeued.
    pub attempts: u32,
    /// How often it may be.
    pub attempts_max: u32,
    /// How long a worker may be silent.
    pub lease: Duration,
    /// The number of its last lease; 0 before the first.
    pub token: u64,
    /// Whose last lease it was.
    pub worker: Option<String>,
    /// When its lease ends; of one that is queued, when it may be tried.
    pub due: Timestamp,
    /// Until when it is of use.
    pub deadline: Option<Timestamp>,
    /// Whether its worker is to be told to stop.
    pub is_cancel_asked: bool,
    /// How much of it is done, 0 to 1.
    pub fraction: f64,
    /// Why its last attempt failed; of one that succeeded nothing.
    pub cause: Option<String>,
    /// When it was over.
    pub finished: Option<Timestamp>,
}

/// Why a worker's word, or a person's, does not count. The task is as it was, unless its deadline was noticed just then:
/// then it is expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such task, or it was swept.
    #[error("there is no such task")]
    Unknown,
    /// The token is of an older lease: somebody else has the task now, or had it since.
    #[error("the lease is an old one: the task was given to another attempt since")]
    Stale,
    /// The lease ran out, and the task waits for another attempt.
    #[error("the lease ran out, and the task waits for another attempt")]
    Lapsed,
    /// The lease is another worker's.
    #[error("the lease is another worker's")]
    NotYours,
    /// The task is over.
    #[error("the task is over: {}", .0.name())]
    Over(State),
    /// It is not over and not dead: there is nothing to requeue.
    #[error("only a task that failed or expired can be queued again, and this one is {}", .0.name())]
    NotDead(State),
}

impl Refused {
    /// The name by which programs know it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_task",
            Self::Stale => "stale_lease",
            Self::Lapsed => "lapsed_lease",
            Self::NotYours => "not_your_lease",
            Self::Over(_) => "task_is_over",
            Self::NotDead(_) => "not_dead",
        }
    }
}

/// What a worker hears when it renews its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed {
    /// When the lease ends now.
    pub until: Timestamp,
    /// Whether the submitter wants it to stop.
    pub is_cancel_asked: bool,
}

/// What became of a task whose time had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lapse {
    /// It waits for another attempt.
    Requeued,
    /// It was tried as often as it may be.
    Dead,
    /// Its deadline passed.
    Expired,
    /// Its submitter wanted it back, and its worker is gone.
    Cancelled,
}

/// How long a task waits after so many attempts.
pub fn backoff(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    BACKOFF.saturating_mul(1 << doublings).min(BACKOFF_MAX)
}

impl Course {
    /// How a new task begins.
    pub fn begin(attempts_max: u32, lease: Duration, deadline: Option<Timestamp>) -> Self {
        Self {
            state: State::Queued,
            attempts: 0,
            attempts_max,
            lease,
            token: 0,
            worker: None,
            due: Timestamp::default(),
            deadline,
            is_cancel_asked: false,
            fraction: 0.0,
            cause: None,
            finished: None,
        }
    }

    /// Whether it may be given to a worker now. A wait that is longer than any was begun by a clock that was ahead.
    pub fn is_ready(&self, now: Timestamp) -> bool {
        let waits = self.due > now && self.due <= now + BACKOFF_MAX;
        self.state == State::Queued && !waits && !self.is_too_late(now)
    }

    fn is_too_late(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Gives it to a worker, under a new token.
    pub fn lease_to(&mut self, worker: &str, now: Timestamp) {
        self.state = State::Leased;
        self.attempts += 1;
        self.token += 1;
        self.worker = Some(worker.to_owned());
        self.due = now + self.lease;
        self.fraction = 0.0;
    }

    /// Whether this worker has it by this token.
    fn grip(&self, worker: &str, token: u64) -> Result<(), Refused> {
        match self.state {
            _ if token != self.token => Err(Refused::Stale),
            _ if self.worker.as_deref() != Some(worker) => Err(Refused::NotYours),
            State::Queued => Err(Refused::Lapsed),
            state if state.is_final() => Err(Refused::Over(state)),
            _ => Ok(()),
        }
    }

    /// The worker says that it is at it.
    pub fn renew(&mut self, worker: &str, token: u64, now: Timestamp) -> Result<Renewed, Refused> {
        self.grip(worker, token)?;
        if self.is_too_late(now) {
            self.finish(State::Expired, now);
            return Err(Refused::Over(State::Expired));
        }
        self.state = State::Running;
        self.due = now + self.lease;
        Ok(Renewed { until: self.due, is_cancel_asked: self.is_cancel_asked })
    }

    /// The worker says how far it is.
    pub fn progress(
        &mut self,
        worker: &str,
        token: u64,
        fraction: Option<f64>,
        now: Timestamp,
    ) -> Result<Renewed, Refused> {
        let renewed = self.renew(worker, token, now)?;
        if let Some(fraction) = fraction.filter(|fraction| fraction.is_finite()) {
            self.fraction = fraction.clamp(0.0, 1.0);
        }
        Ok(renewed)
    }

    /// The worker has done it. Said again by the same token it is done still; `true` only the first time. What is done
    /// is done, also when its submitter wanted it back.
    pub fn complete(&mut self, worker: &str, token: u64, now: Timestamp) -> Result<bool, Refused> {
        match self.grip(worker, token) {
            Err(Refused::Over(State::Succeeded)) => return Ok(false),
            gripped => gripped?,
        }
        self.fraction = 1.0;
        // Why an earlier attempt failed says nothing of a task that is done.
        self.cause = None;
        self.finish(State::Succeeded, now);
        Ok(true)
    }

    /// The worker could not do it; another attempt is made where it may be. The answer is how it stands.
    pub fn fail(
        &mut self,
        worker: &str,
        token: u64,
        (cause, is_worth_another): (&str, bool),
        now: Timestamp,
    ) -> Result<State, Refused> {
        self.grip(worker, token)?;
        self.cause = Some(cut(cause, CAUSE_MAX));
        self.try_again(is_worth_another, now);
        Ok(self.state)
    }

    /// The worker gives it back untouched: others may have it at once, and the attempt does not count. The answer is how
    /// it stands.
    pub fn give_back(&mut self, worker: &str, token: u64, now: Timestamp) -> Result<State, Refused> {
        self.grip(worker, token)?;
        self.attempts = self.attempts.saturating_sub(1);
        if self.is_cancel_asked {
            self.finish(State::Cancelled, now);
        } else {
            (self.state, self.due) = (State::Queued, now);
        }
        Ok(self.state)
    }

    /// The submitter wants it back. At once when nobody has it; otherwise its worker is told. The answer is how it
    /// stands.
    pub fn cancel(&mut self, now: Timestamp) -> Result<State, Refused> {
        match self.state {
            State::Cancelled => {}
            State::Queued => self.finish(State::Cancelled, now),
            state if state.is_final() => return Err(Refused::Over(state)),
            _ => self.is_cancel_asked = true,
        }
        Ok(self.state)
    }

    /// A person wants it tried again: all its attempts are new, its token goes on rising. A deadline that passed no
    /// longer counts.
    pub fn requeue(&mut self, now: Timestamp) -> Result<(), Refused> {
        if !matches!(self.state, State::Failed | State::Expired) {
            return Err(Refused::NotDead(self.state));
        }
        if self.is_too_late(now) {
            self.deadline = None;
        }
        (self.state, self.attempts, self.due) = (State::Queued, 0, now);
        (self.finished, self.is_cancel_asked, self.fraction) = (None, false, 0.0);
        Ok(())
    }

    /// What the time makes of it; `None` when nothing. It also shortens what a clock that was ahead made too long.
    pub fn lapse(&mut self, now: Timestamp) -> Option<Lapse> {
        if self.state.is_final() {
            return None;
        }
        if self.is_too_late(now) {
            self.finish(State::Expired, now);
            return Some(Lapse::Expired);
        }
        if self.state == State::Queued {
            self.due = self.due.min(now + BACKOFF_MAX);
            return None;
        }
        if self.due > now {
            self.due = self.due.min(now + self.lease);
            return None;
        }
        let worker = self.worker.as_deref().unwrap_or_default();
        self.cause = Some(cut(&format!("the lease of {worker} ran out"), CAUSE_MAX));
        self.try_again(true, now);
        Some(match self.state {
            State::Cancelled => Lapse::Cancelled,
            State::Failed => Lapse::Dead,
            _ => Lapse::Requeued,
        })
    }

    fn try_again(&mut self, is_worth_another: bool, now: Timestamp) {
        if self.is_cancel_asked {
            self.finish(State::Cancelled, now);
        } else if is_worth_another && self.attempts < self.attempts_max {
            self.state = State::Queued;
            self.due = now + backoff(self.attempts);
        } else {
            self.finish(State::Failed, now);
        }
    }

    fn finish(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.finished = Some(now);
    }
}
