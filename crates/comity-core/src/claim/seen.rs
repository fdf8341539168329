//! The view of a node: how tasks stand by their announcers' words, and what this node wants of them.

use super::{
    AGAIN_AFTER, CLAIM_TIMEOUT, Effect, Finish, Input, Lease, Lost, Mine, PARTS_MAX, Refused, SEEN_MAX,
    SEEN_OF_ONE_MAX, Standing, State, Task, TaskId, Timer, Word,
};
use crate::id::NodeId;
use crate::time::{Now, Timestamp};
use std::time::Duration;

/// A task as its announcer told of it last.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) lease: Lease,
    pub(super) standing: Standing,
    /// What this node has to do with it, under which lease.
    part: Option<(Lease, Part)>,
}

/// What a node has to do with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// It wants to do it.
    Claiming {
        /// When it said so first, by the wall clock.
        at: Timestamp,
        /// When the claim is void.
        until: Duration,
    },
    /// It does it.
    Holding,
    /// It is through with it, and the announcer has not said that it knows.
    Finishing(Finish),
}

impl Seen {
    pub(super) fn mine(&self) -> Option<Mine> {
        Some(match self.part?.1 {
            Part::Claiming { .. } => Mine::Claimed,
            Part::Holding => Mine::Held,
            Part::Finishing(_) => Mine::Finished,
        })
    }

    /// What this node does of the task, or is through with, and by which lease; a claim is neither.
    pub(super) fn work(&self) -> Option<(Lease, Option<Finish>)> {
        match self.part? {
            (_, Part::Claiming { .. }) => None,
            (lease, Part::Holding) => Some((lease, None)),
            (lease, Part::Finishing(finish)) => Some((lease, Some(finish))),
        }
    }
}

impl State {
    /// Takes up what this node does, or was through with, at an earlier start.
    pub(super) fn resume_part(&mut self, task: Task, lease: Lease, finish: Option<Finish>, now: Now) {
        let part = finish.map_or(Part::Holding, Part::Finishing);
        if task.announcer != self.config.me {
            *self.of_each.entry(task.announcer).or_default() += 1;
            self.of_others += 1;
            self.timers.set(Timer::Expiry(task.clone()), now.mono + self.silence());
        }
        if finish.is_some() {
            self.timers.set(Timer::Part(task.clone()), now.mono);
        }
        self.parts += 1;
        let standing = Standing::Assigned(self.config.me);
        self.seen.insert(task, Seen { lease, standing, part: Some((lease, part)) });
    }

    /// This node wants to do a task.
    pub(super) fn claim(&mut self, task: &Task, now: Now) -> Result<(), Refused> {
        let parts = self.parts;
        let seen = self.seen.get_mut(task).ok_or(Refused::Unknown)?;
        if seen.part.is_some() {
            return Err(Refused::Known);
        }
        if seen.standing != Standing::Open {
            return Err(Refused::NotOpen);
        }
        if parts >= PARTS_MAX {
            return Err(Refused::Full);
        }
        seen.part = Some((seen.lease, Part::Claiming { at: now.wall, until: now.mono + CLAIM_TIMEOUT }));
        self.parts += 1;
        self.speak_of(task, now);
        Ok(())
    }

    /// This node is through with a task.
    pub(super) fn finish(&mut self, task: &Task, finish: Finish, now: Now) -> Result<(), Refused> {
        let seen = self.seen.get_mut(task).ok_or(Refused::Unknown)?;
        match &mut seen.part {
            Some((_, part @ Part::Holding)) => *part = Part::Finishing(finish),
            _ => return Err(Refused::NotOwner),
        }
        self.changed = true;
        self.speak_of(task, now);
        Ok(())
    }

    /// Says what this node wants of a task, and sees to it that it is said again.
    fn speak_of(&mut self, task: &Task, now: Now) {
        let Some((lease, part)) = self.seen.get(task).and_then(|seen| seen.part) else { return };
        let word = match part {
            Part::Holding => return,
            Part::Claiming { at, .. } => {
                Word::Claim { announcer: Some(task.announcer), id: task.id.clone(), lease: Some(lease), at }
            }
            Part::Finishing(finish) => Word::Finish { task: task.clone(), lease, finish },
        };
        let again = match part {
            Part::Claiming { until, .. } => until.min(now.mono + AGAIN_AFTER),
            _ => now.mono + AGAIN_AFTER,
        };
        self.timers.set(Timer::Part(task.clone()), again);
        self.tell(task, word, now);
    }

    /// Tells everybody, or only itself where this node decides.
    fn tell(&mut self, task: &Task, word: Word, now: Now) {
        let me = self.config.me;
        if task.announcer == me {
            // Its own refusal needs no answer: the view that follows says the same.
            let _ = self.handle(Input::Heard(me, word), now);
        } else {
            self.effects.push_back(Effect::Say(word));
        }
    }

    /// Says again what this node wants of a task, or gives the claim up.
    pub(super) fn insist(&mut self, task: &Task, now: Now) {
        match self.seen.get(task).and_then(|seen| seen.part) {
            Some((_, Part::Claiming { until, .. })) if now.mono >= until => self.lose(task, Lost::Void),
            Some(_) => self.speak_of(task, now),
            None => {}
        }
    }

    /// An announcer says how its task stands.
    pub(super) fn take_standing(
        &mut self,
        from: NodeId,
        id: TaskId,
        lease: Lease,
        standing: Standing,
        now: Now,
    ) -> Result<(), Refused> {
        let task = Task { announcer: from, id };
        if !self.seen.contains_key(&task) {
            self.make_room(from)?;
            *self.of_each.entry(from).or_default() += 1;
            self.of_others += 1;
        }
        self.see(task, lease, standing, now);
        Ok(())
    }

    /// Takes what is said of a task, unless it is older than what is known.
    pub(super) fn see(&mut self, task: Task, lease: Lease, standing: Standing, now: Now) {
        let is_own = task.announcer == self.config.me;
        let known = self.seen.get_mut(&task);
        let is_new = match &known {
            Some(seen) => (lease, standing.rank()) > (seen.lease, seen.standing.rank()),
            None => true,
        };
        match known {
            Some(seen) if is_new => (seen.lease, seen.standing) = (lease, standing),
            Some(seen) if (lease, standing) != (seen.lease, seen.standing) => return,
            Some(_) => {}
            None => {
                self.seen.insert(task.clone(), Seen { lease, standing, part: None });
            }
        }
        if !is_own {
            self.timers.set(Timer::Expiry(task.clone()), now.mono + self.silence());
        }
        if is_new {
            self.effects.push_back(Effect::Stands { task: task.clone(), lease, standing });
        }
        self.heed(&task, now);
    }

    /// Does what follows for this node from how a task stands.
    fn heed(&mut self, task: &Task, now: Now) {
        let me = self.config.me;
        let Some(seen) = self.seen.get_mut(task) else { return };
        let (lease, standing) = (seen.lease, seen.standing);
        let is_mine = standing == Standing::Assigned(me);
        match seen.part {
            // That is what giving it back leads to.
            Some((held, Part::Finishing(Finish::Released))) if held != lease => drop(self.drop_part(task)),
            Some((held, _)) if held != lease => self.lose(task, Lost::AnnouncedAgain),
            Some((_, Part::Claiming { .. })) if is_mine => {
                seen.part = Some((lease, Part::Holding));
                self.changed = true;
                self.timers.cancel(Timer::Part(task.clone()));
                self.effects.push_back(Effect::Won { task: task.clone(), lease });
            }
            Some((_, Part::Finishing(_))) if matches!(standing, Standing::Ended { .. }) => drop(self.drop_part(task)),
            Some(_) if matches!(standing, Standing::Ended { .. }) => self.lose(task, Lost::Ended),
            Some(_) if standing != Standing::Open && !is_mine => self.lose(task, Lost::ToAnother),
            Some(_) | None => {}
        }
        // Its claim was void, or it has forgotten: somebody else shall do it.
        if is_mine && self.seen.get(task).is_some_and(|seen| seen.part.is_none()) {
            let word = Word::Finish { task: task.clone(), lease, finish: Finish::Released };
            self.tell(task, word, now);
        }
    }

    fn lose(&mut self, task: &Task, why: Lost) {
        if let Some((lease, _)) = self.drop_part(task) {
            self.effects.push_back(Effect::Lost { task: task.clone(), lease, why });
        }
    }

    fn drop_part(&mut self, task: &Task) -> Option<(Lease, Part)> {
        let part = self.seen.get_mut(task)?.part.take()?;
        self.parts -= 1;
        self.changed = true;
        self.timers.cancel(Timer::Part(task.clone()));
        Some(part)
    }

    /// Room for one more task of this announcer: what was not heard of for the longest goes.
    fn make_room(&mut self, announcer: NodeId) -> Result<(), Refused> {
        if self.of_each.get(&announcer).is_some_and(|count| *count >= SEEN_OF_ONE_MAX) {
            return Err(Refused::Full);
        }
        if self.of_others < SEEN_MAX {
            return Ok(());
        }
        let has_part = |task: &Task| self.seen.get(task).is_some_and(|seen| seen.part.is_some());
        let oldest = self.timers.iter().find_map(|timer| match timer {
            Timer::Expiry(task) if !has_part(task) => Some(task.clone()),
            _ => None,
        });
        self.forget(&oldest.ok_or(Refused::Full)?);
        Ok(())
    }

    /// Nobody speaks of a task any more.
    pub(super) fn forget_unheard(&mut self, task: &Task) {
        self.lose(task, Lost::Unheard);
        self.forget(task);
    }

    pub(super) fn forget(&mut self, task: &Task) {
        self.drop_part(task);
        self.timers.cancel(Timer::Expiry(task.clone()));
        if self.seen.remove(task).is_none() {
            return;
        }
        self.effects.push_back(Effect::Forgotten(task.clone()));
        if task.announcer == self.config.me {
            return;
        }
        self.of_others -= 1;
        if let Some(count) = self.of_each.get_mut(&task.announcer) {
            *count -= 1;
            if *count == 0 {
                self.of_each.remove(&task.announcer);
            }
        }
    }
}
