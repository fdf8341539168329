//! What workers say of their tasks: those of other nodes in the wire's bodies, and the worker beside this node, whose
//! report goes to this node's queue or to the node that keeps the task.

use super::{Compute, NotDone};
use crate::driver::Clock;
use comity_core::task::TaskId;
use comity_core::wire::control::{WorkAnswer, WorkReport, WorkReported};
use comity_core::wire::mesh::task::{Answered, parse_complete, parse_fail, parse_progress, parse_renew};
use serde_json::{Value, json};

impl Compute {
    /// Lengthens the leases that a worker names.
    pub(crate) async fn renew(&self, worker: &str, body: &[u8]) -> Result<Vec<Answered>, NotDone> {
        let grips = parse_renew(body)?;
        self.0.room.heard(worker);
        let renewed = self.0.queue.renew(worker, &grips, Clock::wall()).await?;
        Ok(grips.iter().zip(renewed).map(|(grip, answer)| Answered::renewed(grip.id, answer)).collect())
    }

    /// Ends the tasks that a worker has done.
    pub(crate) async fn complete(&self, worker: &str, body: &[u8]) -> Result<Vec<Answered>, NotDone> {
        let done = parse_complete(body)?;
        let ids: Vec<_> = done.iter().map(|done| done.grip.id).collect();
        let ended = self.0.queue.complete(worker, done, Clock::wall()).await?;
        self.changed();
        Ok(ids.iter().zip(ended).map(|(id, answer)| Answered::stands(*id, answer)).collect())
    }

    /// Ends the attempts that failed, or takes back what was not begun.
    pub(crate) async fn fail(&self, worker: &str, body: &[u8]) -> Result<Vec<Answered>, NotDone> {
        let faults = parse_fail(body)?;
        let ids: Vec<_> = faults.iter().map(|fault| fault.grip.id).collect();
        let ended = self.0.queue.fail(worker, faults, Clock::wall()).await?;
        self.changed();
        Ok(ids.iter().zip(ended).map(|(id, answer)| Answered::stands(*id, answer)).collect())
    }

    /// Notes how far a worker is.
    pub(crate) async fn progress(&self, worker: &str, id: TaskId, body: &[u8]) -> Result<Answered, NotDone> {
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
        let WorkReport { node, leases, done, failed, progress } = report;
        let mut answers: Vec<WorkAnswer> = Vec::new();
        for (call, is_empty, body) in [
            ("renew", leases.is_empty(), json!({ "leases": leases })),
            ("complete", done.is_empty(), json!({ "done": done })),
            ("fail", failed.is_empty(), json!({ "failed": failed })),
        ] {
            if !is_empty {
                let said = self.say(node.as_deref(), call, body).await?;
                answers.extend(read::<Vec<WorkAnswer>>(node.as_deref(), said["answers"].clone())?);
            }
        }
        for one in progress {
            let body = json!({ "token": one.token, "fraction": one.fraction, "lines": one.lines });
            let said = self.say(node.as_deref(), &format!("{}/progress", one.id), body).await?;
            answers.push(read(node.as_deref(), said)?);
        }
        Ok(WorkReported { answers })
    }

    /// Says something to the keeper of tasks: this node, when none is named.
    async fn say(&self, node: Option<&str>, call: &str, body: Value) -> Result<Value, NotDone> {
        if let Some(node) = node {
            return self.0.elsewhere.tell(node, format!("/mesh/compute/{call}"), body).await;
        }
        let (me, body) = (self.me(), body.to_string());
        let body = body.as_bytes();
        let answers = match call {
            "renew" => self.renew(&me, body).await?,
            "complete" => self.complete(&me, body).await?,
            "fail" => self.fail(&me, body).await?,
            progress => {
                let id = progress.split('/').next().and_then(|id| id.parse().ok());
                let id = id.expect("the caller has written it from an id");
                return Ok(json!(self.progress(&me, id, body).await?));
            }
        };
        Ok(json!({ "answers": answers }))
    }
}

fn read<T: serde::de::DeserializeOwned>(node: Option<&str>, said: Value) -> Result<T, NotDone> {
    let node = node.unwrap_or("this node").to_owned();
    serde_json::from_value(said).map_err(|_| NotDone::Away { node, why: "its answer cannot be read".to_owned() })
}
