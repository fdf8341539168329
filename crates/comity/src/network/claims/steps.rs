//! What somebody here wants done about tasks: what makes no message is refused before the rules hear of it.

use super::outbox::Saying;
use super::run::{Runner, add_report};
use super::told::What;
use super::{ClaimError, Step, Taken, heard, members};
use crate::redaction::labels;
use comity_core::claim::{Finish, Input, Lease, Lost, Mine, Refused, Standing, Task, Word};
use comity_core::payload::Payload;
use comity_core::redact::Typed;
use comity_core::wire::gossip::{Envelope, Kind};
use serde_json::Value;
use tokio::sync::oneshot;

impl Runner {
    /// Something that somebody here wants done: of which task.
    pub(super) fn step(&mut self, step: Step) -> Result<Task, ClaimError> {
        let (now, me) = (self.handle.now(), self.handle.me().node());
        self.presence.active_at = now.wall;
        match step {
            Step::Announce { id, content } => {
                let labels = || labels("gossip", "task_id", Kind::TaskAnnouncement.name());
                if self.handle.redaction().text(id.text(), labels, now.wall) != id.text() {
                    return Err(ClaimError::Secret);
                }
                let content = Payload::from_value(&self.clean(Kind::TaskAnnouncement, &content.to_value()))?;
                let (lease, standing) = (Lease(now.wall.millis()), Standing::Open);
                let word = Word::Stands { id: id.clone(), lease, standing, content: Some(content.clone()) };
                self.fits(&self.envelope(&word))?;
                let task = Task { announcer: me, id: id.clone() };
                self.state.handle(Input::Announce { id, content }, now)?;
                self.told.forget(&task);
                Ok(task)
            }
            Step::Withdraw(id) => {
                self.state.handle(Input::Withdraw(id.clone()), now)?;
                Ok(Task { announcer: me, id })
            }
            Step::Claim(task) => {
                self.state.handle(Input::Claim(task.clone()), now)?;
                Ok(task)
            }
            Step::Progress { task, said } => {
                if self.state.mine(&task) != Some(Mine::Held) {
                    return Err(Refused::NotOwner.into());
                }
                let said = self.clean(Kind::TaskProgress, &said);
                let envelope = self.of_progress(&task, &said);
                self.fits(&envelope)?;
                self.outbox.put(Saying::Progress(task.clone(), said));
                self.take_progress(&task, heard::progress(&envelope.data));
                Ok(task)
            }
            Step::Finish { task, finish, report } => self.finish(task, finish, report),
        }
    }

    fn finish(&mut self, task: Task, finish: Finish, report: Option<Value>) -> Result<Task, ClaimError> {
        let now = self.handle.now();
        if self.state.mine(&task) != Some(Mine::Held) {
            return Err(Refused::NotOwner.into());
        }
        let report = report.map(|report| self.clean(Kind::TaskComplete, &report));
        if let Some((lease, _)) = self.state.standing(&task) {
            let mut envelope = self.envelope(&Word::Finish { task: task.clone(), lease, finish });
            add_report(&mut envelope, finish == Finish::Failed, report.as_ref());
            self.fits(&envelope)?;
        }
        self.state.handle(Input::Finish(task.clone(), finish), now)?;
        if let Some(report) = report {
            self.put_text(&task, What::Report, report);
        }
        Ok(task)
    }

    /// What is to be said, without secrets: it is said time and again, and they are found once.
    fn clean(&self, kind: Kind, said: &Value) -> Value {
        let labels = || labels("gossip", self.topics.names().coordination().name(), kind.name());
        let (redaction, now) = (self.handle.redaction(), self.handle.now().wall);
        redaction.document(said, &Typed::default(), labels, now).into_owned()
    }

    pub(super) fn take_task(&mut self, task: Task, reply: oneshot::Sender<Result<Taken, ClaimError>>) {
        let claimed = match self.state.mine(&task) {
            // Somebody else here wants it, too, or asks again.
            Some(Mine::Claimed | Mine::Held) => Ok(()),
            _ => self.step(Step::Claim(task.clone())).map(drop),
        };
        if let Err(why) = claimed {
            // Err: it does not wait any more.
            let _ = reply.send(self.too_late(&task, why));
            return;
        }
        self.waiting.entry(task.clone()).or_default().push(reply);
        // Its own task was decided in this moment.
        if self.state.mine(&task) == Some(Mine::Held) {
            self.decided(&task, None);
        }
    }

    /// That a task is not open any more is no error of whoever wants it.
    fn too_late(&self, task: &Task, why: ClaimError) -> Result<Taken, ClaimError> {
        match self.view(task) {
            Some(view) if why == ClaimError::Refused(Refused::NotOpen) => {
                let is_over = matches!(view.standing, Standing::Ended { .. });
                let why = if is_over { Lost::Ended } else { Lost::ToAnother };
                Ok(Taken::No { why, view: Some(Box::new(view)) })
            }
            _ => Err(why),
        }
    }

    pub(super) fn of_progress(&self, task: &Task, said: &Value) -> Envelope {
        let me = self.handle.me();
        let mut data = members(said);
        // With a lease it would be a word of the rules.
        data.remove("lease");
        data.insert("task_id".to_owned(), task.id.text().into());
        data.insert("announcer".to_owned(), task.announcer.to_string().into());
        data.insert("agent_id".to_owned(), me.name().into());
        Envelope::new(Kind::TaskProgress, me.node().into(), self.handle.now().wall, data)
    }
}
