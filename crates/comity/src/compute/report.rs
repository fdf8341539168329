//! What workers say of their tasks: those of other nodes in the wire's bodies, and the worker beside this node, whose
//! report goes to this node's queue or to the node that keeps the task.

use super::{Compute, NotDone};
use crate::driver::Clock;
use comity_core::task::TaskId;
use comity_core::wire::control::{DoneWork, Lease, WorkAnswer, WorkProgress, WorkReport, WorkReported};
use comity_core::wire::mesh::task::{Answered, parse_complete, parse_fail, parse_progress, parse_renew};
use serde_json::{Value, json};

/// What a worker may say of its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// It is still at these.
    Renew,
    /// It has done these.
    Complete,
    /// It could not do these, or gives them back.
    Fail,
    /// How far it is with this one.
    Progress(TaskId),
}

impl Word {
    /// Where a node hears it.
    fn path(self) -> String {
        match self {
            Self::Renew => "/mesh/compute/renew".to_owned(),
            Self::Complete => "/mesh/compute/complete".to_owned(),
            Self::Fail => "/mesh/compute/fail".to_owned(),
            Self::Progress(id) => format!("/mesh/compute/{id}/progress"),
        }
    }
}

impl Compute {
    /// Hears what a worker says in JSON: what it is answered, as JSON.
    pub(crate) async fn hear(&self, worker: &str, word: Word, body: &[u8]) -> Result<Value, NotDone> {
        let answers = match word {
            Word::Renew => self.renew(worker, body).await?,
            Word::Complete => self.complete(worker, body).await?,
            Word::Fail => self.fail(worker, body).await?,
            Word::Progress(id) => return Ok(json!(self.progress(worker, id, body).await?)),
        };
        Ok(json!({ "answers": answers }))
    }

    /// Lengthens the leases that a worker names.
    async fn renew(&self, worker: &str, body: &[u8]) -> Result<Vec<Answered>, NotDone> {
        let grips = parse_renew(body)?;
        self.0.room.heard(worker);
        let renewed = self.0.queue.renew(worker, &grips, Clock::wall()).await?;
        Ok(grips.iter().zip(renewed).map(|(grip, answer)| Answered::renewed(grip.id, answer)).collect())
    }

    /// Ends the tasks that a worker has done.
    async fn complete(&self, worker: &str, body: &[u8]) -> Result<Vec<Answered>, NotDone> {
        let done = parse_complete(body)?;
        let ids: Vec<_> = done.iter().map(|done| done.grip.id).collect();
        let ended = self.0.queue.complete(worker, done, Clock::wall()).await?;
        self.changed();
        Ok(ids.iter().zip(ended).map(|(id, answer)| Answered::stands(*id, answer)).collect())
    }

    /// Ends the attempts that failed, or takes back what was not begun.
    async fn fail(&self, worker: &str, body: &[u8]) -> Result<Vec<Answered>, NotDone> {
        let faults = parse_fail(body)?;
        let ids: Vec<_> = faults.iter().map(|fault| fault.grip.id).collect();
        let ended = self.0.queue.fail(worker, faults, Clock::wall()).await?;
        self.changed();
        Ok(ids.iter().zip(ended).map(|(id, answer)| Answered::stands(*id, answer)).collect())
    }

    /// Notes how far a worker is.
    async fn progress(&self, worker: &str, id: TaskId, body: &[u8]) -> Result<Answered, NotDone> {
        let progress = parse_progress(body, id)?;
        self.0.room.heard(worker);
        let answer = self.0.queue.progress(worker, progress, Clock::wall()).await?;
        self.changed();
        Ok(Answered::renewed(id, answer))
    }

    /// What the worker beside this node reports, without secrets, to the node that keeps its tasks.
    pub(crate) async fn report(&self, mut report: WorkReport) -> Result<WorkReported, NotDone> {
        for done in &mut report.done {
            done.result = self.clean(std::mem::take(&mut done.result));
        }
        report.failed.iter_mut().for_each(|failed| failed.error = self.clean_text(&failed.error));
        for progress in &mut report.progress {
            progress.lines.iter_mut().for_each(|line| *line = self.clean_text(line));
        }
        self.0.held.hear(&report);
        let WorkReport { node, leases, done, failed, progress } = report;
        let node = node.as_deref();
        let mut answers: Vec<WorkAnswer> = Vec::new();
        if !leases.is_empty() {
            answers.extend(self.say(node, Word::Renew, json!({ "leases": leases })).await?);
        }
        if !done.is_empty() {
            answers.extend(self.say_done(node, done).await?);
        }
        if !failed.is_empty() {
            answers.extend(self.say(node, Word::Fail, json!({ "failed": failed })).await?);
        }
        for one in progress {
            answers.extend(self.say_progress(node, one).await?);
        }
        Ok(WorkReported { answers })
    }

    /// Says which tasks are done. When they are refused, each is said alone, so that one that is bad keeps no other back;
    /// that one is answered by `bad_request`.
    async fn say_done(&self, node: Option<&str>, done: Vec<DoneWork>) -> Result<Vec<WorkAnswer>, NotDone> {
        match self.say(node, Word::Complete, json!({ "done": done })).await {
            Err(refused) if refused.is_for_good() => {}
            said => return said,
        }
        let mut answers = Vec::new();
        for one in done {
            match self.say(node, Word::Complete, json!({ "done": [one] })).await {
                Err(refused) if refused.is_for_good() => answers.push(WorkAnswer {
                    id: one.id,
                    ok: false,
                    state: None,
                    cancel: false,
                    code: Some("bad_request".to_owned()),
                    error: Some(refused.to_string()),
                }),
                said => answers.extend(said?),
            }
        }
        Ok(answers)
    }

    /// Says how far a task is. Lines that are refused cost no lease.
    async fn say_progress(&self, node: Option<&str>, progress: WorkProgress) -> Result<Vec<WorkAnswer>, NotDone> {
        let WorkProgress { id, token, fraction, lines } = progress;
        let body = json!({ "token": token, "fraction": fraction, "lines": lines });
        match self.say(node, Word::Progress(TaskId(id)), body).await {
            Err(refused) if refused.is_for_good() => {
                self.say(node, Word::Renew, json!({ "leases": [Lease { id, token }] })).await
            }
            said => said,
        }
    }

    /// Says something to the keeper of tasks, which is this node when none is named: its answers.
    async fn say(&self, node: Option<&str>, word: Word, body: Value) -> Result<Vec<WorkAnswer>, NotDone> {
        let said = match node {
            Some(node) => self.0.elsewhere.tell(node, word.path(), body).await?,
            None => self.hear(&self.me(), word, body.to_string().as_bytes()).await?,
        };
        match word {
            Word::Progress(_) => Ok(vec![read(node, said)?]),
            _ => read(node, said["answers"].clone()),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(node: Option<&str>, said: Value) -> Result<T, NotDone> {
    let node = node.unwrap_or("this node").to_owned();
    serde_json::from_value(said).map_err(|_| NotDone::Away { node, why: "its answer cannot be read".to_owned() })
}
