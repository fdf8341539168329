//! What others say of tasks, and what of it is told besides how they stand. Who may say what is decided by the rules.

use super::TaskChange;
use super::run::Runner;
use super::told::What;
use comity_core::claim::{Finish, Input, Standing, Task, TaskId, Word};
use comity_core::id::NodeId;
use comity_core::wire::gossip::body::{ASKS, Availability};
use comity_core::wire::gossip::task::{self, REASON, RESULT, STATUS};
use comity_core::wire::gossip::{Envelope, Kind};
use serde_json::{Map, Value};

/// Nodes of which it is remembered how much they have to do; with more, all are forgotten.
const PRESENT_MAX: usize = 1024;

impl Runner {
    /// A word of another node. Says whether it is news.
    pub(super) fn hear(&mut self, from: NodeId, data: &Map<String, Value>, word: Word) -> bool {
        let (now, before) = (self.handle.now(), self.state.waiting());
        let me = self.handle.me().node();
        let heard = self.state.handle(Input::Heard(from, word.clone()), now);
        if let Err(refused) = heard {
            tracing::debug!(%from, ?word, %refused, "a word about a task changes nothing");
            self.handle.counters().unheeded(refused.name());
        }
        let changed = self.state.waiting() > before;
        match word {
            Word::Stands { id, lease, standing, .. } => {
                let task = Task { announcer: from, id };
                if heard.is_ok() && self.state.standing(&task) == Some((lease, standing)) {
                    self.hear_texts(&task, standing, data, changed);
                }
                changed
            }
            Word::Finish { task, finish, .. } if task.announcer == me => {
                if heard.is_ok() && changed && finish != Finish::Released {
                    self.put_report(&task, data);
                }
                changed
            }
            Word::Claim { .. } | Word::Finish { .. } => true,
        }
    }

    /// Another node is there, or was once.
    pub(super) fn live(&mut self, from: NodeId, is_there: bool) {
        if is_there {
            // It is never refused.
            let _ = self.state.handle(Input::Alive(from), self.handle.now());
        }
    }

    /// What an announcer says of a task besides how it stands.
    fn hear_texts(&mut self, task: &Task, standing: Standing, data: &Map<String, Value>, changed: bool) {
        match standing {
            Standing::Open => {
                if changed {
                    self.told.begin(task);
                }
                if self.told.of(task).is_none_or(|texts| texts.content.is_none()) || changed {
                    self.put_text(task, What::Content, task::content(data));
                }
            }
            Standing::Ended { .. } => self.put_report(task, data),
            Standing::Assigned(_) => {}
        }
    }

    fn put_report(&mut self, task: &Task, data: &Map<String, Value>) {
        if let Some(report) = data.get(RESULT).or_else(|| data.get(REASON)) {
            self.put_text(task, What::Report, report.clone());
        }
    }

    pub(super) fn put_text(&mut self, task: &Task, what: What, text: Value) {
        if !self.told.put(task, what, text) {
            self.handle.counters().unheeded("no_room_for_text");
        }
    }

    /// A coordination message that is no word of the rules: its author is there; it may ask, or say how far it is.
    pub(super) fn hear_of(&mut self, from: NodeId, envelope: &Envelope, is_there: bool) -> bool {
        let asks = envelope.kind == Kind::AvailabilityBroadcast && envelope.data.get(ASKS) == Some(&Value::Bool(true));
        if asks && is_there {
            // It is never refused.
            let _ = self.state.handle(Input::Asked(from), self.handle.now());
        }
        self.live(from, is_there);
        match envelope.kind {
            Kind::TaskProgress => self.hear_progress(from, &envelope.data),
            Kind::TaskComplete => self.hear_bare_end(from, &envelope.data),
            Kind::AvailabilityBroadcast => return self.hear_presence(from, &envelope.data),
            // Its card says so, too.
            Kind::CapabilityBroadcast => return !is_of_our_kind(from, &envelope.data),
            _ => {}
        }
        true
    }

    /// Every node says every half a minute that it is there; how much it has to do is news when it changes. That
    /// a node of our own kind came is told otherwise; of others, what is heard first is news, too.
    fn hear_presence(&mut self, from: NodeId, data: &Map<String, Value>) -> bool {
        let Ok(said) = Availability::from_data(data) else { return true };
        if self.present.len() >= PRESENT_MAX && !self.present.contains_key(&from) {
            self.present.clear();
        }
        let said = (said.available_for_work, said.current_tasks, said.status);
        self.present.insert(from, said).map_or(!is_of_our_kind(from, data), |before| before != said)
    }

    fn hear_progress(&mut self, from: NodeId, data: &Map<String, Value>) {
        let Some(id) = task_id(data) else { return };
        let announcer: Option<NodeId> =
            data.get("announcer").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let is_its = |task: &Task, standing: Standing| {
            task.id == id && announcer.is_none_or(|one| one == task.announcer) && standing == Standing::Assigned(from)
        };
        let found = match announcer {
            Some(announcer) => self.state.standing(&Task { announcer, id: id.clone() }).and_then(|(_, standing)| {
                let task = Task { announcer, id: id.clone() };
                is_its(&task, standing).then_some(task)
            }),
            None => {
                self.state.tasks().find(|(task, _, standing)| is_its(task, *standing)).map(|(task, ..)| task.clone())
            }
        };
        if let Some(task) = found {
            self.take_progress(&task, progress(data));
        }
    }

    /// A program of the original design names no lease when it is through: it has the one that counts, or none.
    fn hear_bare_end(&mut self, from: NodeId, data: &Map<String, Value>) {
        let Some(id) = task_id(data) else { return };
        let task = Task { announcer: self.handle.me().node(), id };
        let Some((lease, Standing::Assigned(owner))) = self.state.standing(&task) else { return };
        if owner == from {
            let failed = data.get(STATUS).and_then(Value::as_str) == Some(task::FAILED);
            let finish = if failed { Finish::Failed } else { Finish::Completed };
            self.hear(from, data, Word::Finish { task, lease, finish });
        }
    }

    pub(super) fn take_progress(&mut self, task: &Task, said: Value) {
        self.put_text(task, What::Progress, said);
        if let Some(view) = self.view(task) {
            self.tell(TaskChange::Progress(Box::new(view)));
        }
    }
}

/// Whether whoever says this of itself calls itself by a node id, as nodes of our own kind do.
fn is_of_our_kind(from: NodeId, data: &Map<String, Value>) -> bool {
    data.get("node_id").and_then(Value::as_str) == Some(from.to_string().as_str())
}

fn task_id(data: &Map<String, Value>) -> Option<TaskId> {
    match data.get("task_id")? {
        Value::String(text) => TaskId::new(text).ok(),
        Value::Number(number) => TaskId::new(&number.to_string()).ok(),
        _ => None,
    }
}

/// How far an owner is, of what it says: all but whose words they are.
pub(super) fn progress(data: &Map<String, Value>) -> Value {
    let own = |name: &str| matches!(name, "task_id" | "announcer" | "agent_id");
    data.iter().filter(|(name, _)| !own(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
