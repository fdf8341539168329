//! What of the tasks survives a restart, as a value that the store keeps: the tasks of this node, and those it does. It
//! is to be on disk before what follows from it is said, or an announcer that crashed would give one lease twice. What
//! other nodes announce is not kept: they say it again.

use super::{Config, Finish, Lease, OWN_BYTES_MAX, OWN_MAX, Outcome, PARTS_MAX, Standing, State, Task, TaskId};
use crate::id::NodeId;
use crate::payload::Payload;
use crate::time::Now;
use serde_json::{Map, Value, json};

const OPEN: &str = "open";
const ASSIGNED: &str = "assigned";
const OUTCOMES: [(Outcome, &str); 3] =
    [(Outcome::Completed, "completed"), (Outcome::Failed, "failed"), (Outcome::Withdrawn, "withdrawn")];
const FINISHES: [(Finish, &str); 3] =
    [(Finish::Completed, "completed"), (Finish::Failed, "failed"), (Finish::Released, "released")];

impl State {
    /// Takes up what was kept, and says how this node's tasks stand. What cannot be read is left out: a later version
    /// may have written it.
    pub fn restored(config: Config, kept: &Value, now: Now) -> Self {
        let mut state = Self::new(config);
        let list = |name: &str| kept[name].as_array().into_iter().flatten();
        let own: Vec<_> = list("own").filter_map(own).take(OWN_MAX).collect();
        let is_there = |task: &Task| task.announcer != config.me || own.iter().any(|(id, ..)| *id == task.id);
        for (task, lease, finish) in list("parts").filter_map(part).filter(|(task, ..)| is_there(task)).take(PARTS_MAX)
        {
            if !state.seen.contains_key(&task) {
                state.resume_part(task, lease, finish, now);
            }
        }
        for (id, lease, standing, content) in own {
            if !state.own.contains_key(&id) && state.own_bytes + content.len() <= OWN_BYTES_MAX {
                state.resume(id, lease, standing, content, now);
            }
        }
        state
    }

    /// What must survive a restart.
    pub fn to_value(&self) -> Value {
        let own: Vec<Value> =
            self.own.iter().map(|(id, own)| of_own(id, own.lease, own.standing, &own.content)).collect();
        let works = self.seen.iter().filter_map(|(task, seen)| Some((task, seen.work()?)));
        let parts: Vec<Value> = works.map(|(task, (lease, finish))| of_part(task, lease, finish)).collect();
        json!({ "own": own, "parts": parts })
    }

    /// Whether [`Self::to_value`] gives something else than when this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// What was given is not kept.
    pub fn mark_changed(&mut self) {
        self.changed = true;
    }
}

fn of_own(id: &TaskId, lease: Lease, standing: Standing, content: &Payload) -> Value {
    let named = |outcome| OUTCOMES.iter().find(|(one, _)| *one == outcome).map(|(_, name)| *name);
    let name = match standing {
        Standing::Open => OPEN,
        Standing::Assigned(_) => ASSIGNED,
        Standing::Ended { outcome, .. } => named(outcome).unwrap_or_default(),
    };
    let owner = standing.owner().map(|owner| owner.to_string());
    // Nobody is told any more what there was to do.
    let content = if matches!(standing, Standing::Ended { .. }) { Value::Null } else { content.to_value() };
    json!({ "id": id.text(), "lease": lease.0, "standing": name, "owner": owner, "content": content })
}

fn own(value: &Value) -> Option<(TaskId, Lease, Standing, Payload)> {
    let owner = || value["owner"].as_str().and_then(|text| text.parse::<NodeId>().ok());
    let name = value["standing"].as_str()?;
    let standing = match name {
        OPEN => Standing::Open,
        ASSIGNED => Standing::Assigned(owner()?),
        ended => {
            let (outcome, _) = OUTCOMES.iter().find(|(_, name)| *name == ended)?;
            Standing::Ended { owner: owner(), outcome: *outcome }
        }
    };
    let (id, lease) = named(value)?;
    Some((id, lease, standing, Payload::from_value(&value["content"]).ok()?))
}

fn of_part(task: &Task, lease: Lease, finish: Option<Finish>) -> Value {
    let mut members = Map::new();
    members.insert("id".to_owned(), task.id.text().into());
    members.insert("announcer".to_owned(), task.announcer.to_string().into());
    members.insert("lease".to_owned(), lease.0.into());
    if let Some((_, name)) = FINISHES.iter().find(|(one, _)| Some(*one) == finish) {
        members.insert("finish".to_owned(), (*name).into());
    }
    Value::Object(members)
}

fn part(value: &Value) -> Option<(Task, Lease, Option<Finish>)> {
    let announcer = value["announcer"].as_str()?.parse().ok()?;
    let (id, lease) = named(value)?;
    let finish = match value["finish"].as_str() {
        Some(name) => Some(FINISHES.iter().find(|(_, one)| *one == name)?.0),
        None => None,
    };
    Some((Task { announcer, id }, lease, finish))
}

fn named(value: &Value) -> Option<(TaskId, Lease)> {
    Some((TaskId::new(value["id"].as_str()?).ok()?, Lease(value["lease"].as_u64()?)))
}
