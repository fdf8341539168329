//! The announcer's side: the tasks of this node, who claims them, who gets them, and how they end.

use super::{
    ANSWER_EVERY, ASKED_EVERY, CLAIM_AGE_MAX, CLAIM_AHEAD_MAX, Effect, Finish, Lease, OWN_BYTES_MAX, OWN_MAX, Outcome,
    Refused, SILENT_INTERVALS, Standing, State, Task, TaskId, Timer, Word,
};
use crate::id::NodeId;
use crate::payload::Payload;
use crate::time::{Now, Timestamp};
use std::time::Duration;

/// A task of this node.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) lease: Lease,
    pub(super) standing: Standing,
    pub(super) content: Payload,
    /// The best claim of this step: the earliest, and of those the one of the lowest id.
    best: Option<(Timestamp, NodeId)>,
    /// When it was last said how it stands.
    said_at: Duration,
    /// When its owner was last heard of; when it ended, if it has.
    since: Duration,
}

impl State {
    pub(super) fn announce(&mut self, id: TaskId, content: Payload, now: Now) -> Result<(), Refused> {
        let before = self.own.get(&id).map(|own| (own.lease, own.standing, own.content.len()));
        let (freed, earlier) = match before {
            None if self.own.len() >= OWN_MAX => return Err(Refused::Full),
            None => (0, 0),
            Some((lease, Standing::Ended { .. }, bytes)) => (bytes, lease.0),
            Some(_) => return Err(Refused::Known),
        };
        let bytes = self.own_bytes - freed + content.len();
        if bytes > OWN_BYTES_MAX {
            return Err(Refused::Full);
        }
        self.own_bytes = bytes;
        let lease = Lease(now.wall.millis().max(earlier + 1));
        let own = Own { lease, standing: Standing::Open, content, best: None, said_at: now.mono, since: now.mono };
        self.own.insert(id.clone(), own);
        self.changed = true;
        self.say_standing(&id, now);
        Ok(())
    }

    /// Takes up a task of an earlier start, and says how it stands.
    pub(super) fn resume(&mut self, id: TaskId, lease: Lease, standing: Standing, content: Payload, now: Now) {
        self.own_bytes += content.len();
        let own = Own { lease, standing, content, best: None, said_at: now.mono, since: now.mono };
        self.own.insert(id.clone(), own);
        if matches!(standing, Standing::Assigned(_)) {
            self.timers.set(Timer::Silence(id.clone()), now.mono + self.silence());
        }
        self.say_standing(&id, now);
    }

    pub(super) fn withdraw(&mut self, id: &TaskId, now: Now) -> Result<(), Refused> {
        let own = self.own.get(id).ok_or(Refused::Unknown)?;
        match own.standing {
            Standing::Ended { .. } => Err(Refused::NotOpen),
            standing => {
                let (owner, outcome) = (standing.owner(), Outcome::Withdrawn);
                self.stand(id, Standing::Ended { owner, outcome }, now);
                Ok(())
            }
        }
    }

    /// Somebody claims a task of this node; who gets it is decided at the end of the step.
    pub(super) fn take_claim(
        &mut self,
        from: NodeId,
        id: TaskId,
        lease: Option<Lease>,
        at: Timestamp,
        now: Now,
    ) -> Result<(), Refused> {
        let own = self.own.get_mut(&id).ok_or(Refused::Unknown)?;
        if at > now.wall + CLAIM_AHEAD_MAX || now.wall.since(at) > CLAIM_AGE_MAX {
            return Err(Refused::Time);
        }
        let current = own.lease;
        let refused = match own.standing {
            _ if lease.is_some_and(|lease| lease != current) => Refused::OldLease { current },
            Standing::Open => {
                let claim = (at, from);
                own.best = Some(own.best.map_or(claim, |best| best.min(claim)));
                self.claimed.insert(id);
                return Ok(());
            }
            // It did not hear that it has the task.
            Standing::Assigned(owner) if owner == from => {
                self.answer(&id, now);
                return Ok(());
            }
            Standing::Assigned(_) | Standing::Ended { .. } => Refused::NotOpen,
        };
        self.answer(&id, now);
        Err(refused)
    }

    /// Assigns a task to the best claim of the step.
    pub(super) fn decide(&mut self, id: &TaskId, now: Now) {
        let Some(own) = self.own.get_mut(id) else { return };
        if let (Some((_, claimant)), Standing::Open) = (own.best.take(), own.standing) {
            self.stand(id, Standing::Assigned(claimant), now);
        }
    }

    /// An owner says that it is through with a task of this node.
    pub(super) fn take_finish(
        &mut self,
        from: NodeId,
        id: &TaskId,
        lease: Lease,
        finish: Finish,
        now: Now,
    ) -> Result<(), Refused> {
        let own = self.own.get(id).ok_or(Refused::Unknown)?;
        let current = own.lease;
        let is_owner = own.standing.owner() == Some(from);
        let refused = match (own.standing, finish) {
            _ if lease != current => Refused::OldLease { current },
            _ if !is_owner => Refused::NotOwner,
            (Standing::Assigned(_), Finish::Released) => {
                self.announce_again(id, now);
                return Ok(());
            }
            (Standing::Assigned(_), _) => {
                let outcome = if finish == Finish::Completed { Outcome::Completed } else { Outcome::Failed };
                self.stand(id, Standing::Ended { owner: Some(from), outcome }, now);
                return Ok(());
            }
            // It did not hear that this is known.
            _ => {
                self.answer(id, now);
                return Ok(());
            }
        };
        self.answer(id, now);
        Err(refused)
    }

    /// A node is there: what it owns of this node's stays its own.
    pub(super) fn take_life(&mut self, node: NodeId, now: Now) {
        for own in self.own.values_mut().filter(|own| own.standing == Standing::Assigned(node)) {
            own.since = now.mono;
        }
    }

    /// Looks whether the owner of a task was heard of. This node need not hear of itself.
    pub(super) fn doubt_owner(&mut self, id: &TaskId, now: Now) {
        let Some(own) = self.own.get(id) else { return };
        if !matches!(own.standing, Standing::Assigned(owner) if owner != self.config.me) {
            return;
        }
        let due = own.since + self.silence();
        if now.mono >= due {
            self.announce_again(id, now);
        } else {
            self.timers.set(Timer::Silence(id.clone()), due);
        }
    }

    /// Says again how a task stands, until it has been over for so long that all others have forgotten it.
    pub(super) fn repeat(&mut self, id: &TaskId, now: Now) {
        let Some(own) = self.own.get(id) else { return };
        if matches!(own.standing, Standing::Ended { .. }) && now.mono >= own.since + self.silence() {
            self.forget_own(id);
        } else {
            self.say_standing(id, now);
        }
    }

    fn announce_again(&mut self, id: &TaskId, now: Now) {
        if let Some(own) = self.own.get_mut(id) {
            own.lease.0 += 1;
            self.stand(id, Standing::Open, now);
        }
    }

    /// Changes how a task stands, and says so.
    fn stand(&mut self, id: &TaskId, standing: Standing, now: Now) {
        let Some(own) = self.own.get_mut(id) else { return };
        (own.standing, own.best, own.since) = (standing, None, now.mono);
        self.changed = true;
        if matches!(standing, Standing::Assigned(_)) {
            self.timers.set(Timer::Silence(id.clone()), now.mono + self.config.interval * SILENT_INTERVALS);
        } else {
            self.timers.cancel(Timer::Silence(id.clone()));
        }
        self.say_standing(id, now);
    }

    fn say_standing(&mut self, id: &TaskId, now: Now) {
        let Some(own) = self.own.get_mut(id) else { return };
        own.said_at = now.mono;
        let (lease, standing) = (own.lease, own.standing);
        let content = (standing == Standing::Open).then(|| own.content.clone());
        self.timers.set(Timer::Repeat(id.clone()), now.mono + self.config.interval);
        self.effects.push_back(Effect::Say(Word::Stands { id: id.clone(), lease, standing, content }));
        self.see(Task { announcer: self.config.me, id: id.clone() }, lease, standing, now);
    }

    /// Somebody asks how all tasks stand.
    pub(super) fn take_question(&mut self, now: Now) {
        let at = self.answered_at.map_or(now.mono, |answered| now.mono.max(answered + ASKED_EVERY));
        self.timers.set_if_idle(Timer::Answer, at);
    }

    /// Says how all tasks stand.
    pub(super) fn answer_all(&mut self, now: Now) {
        self.answered_at = Some(now.mono);
        let ids: Vec<TaskId> = self.own.keys().cloned().collect();
        ids.iter().for_each(|id| self.answer(id, now));
    }

    /// Says soon how a task stands: somebody seems not to know.
    fn answer(&mut self, id: &TaskId, now: Now) {
        let Some(own) = self.own.get(id) else { return };
        let at = now.mono.max(own.said_at + ANSWER_EVERY);
        let repeat = Timer::Repeat(id.clone());
        if self.timers.deadline(&repeat).is_none_or(|due| due > at) {
            self.timers.set(repeat, at);
        }
    }

    fn forget_own(&mut self, id: &TaskId) {
        self.changed = true;
        if let Some(own) = self.own.remove(id) {
            self.own_bytes -= own.content.len();
        }
        self.timers.cancel(Timer::Repeat(id.clone()));
        self.timers.cancel(Timer::Silence(id.clone()));
        self.forget(&Task { announcer: self.config.me, id: id.clone() });
    }
}
