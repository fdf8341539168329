//! What is told of tasks besides how they stand: what there is to do, how far it is, what came of it. It is data of
//! others: bounded, and forgotten with its task. Who may say it is decided by whoever calls.

use comity_core::claim::{OWN_BYTES_MAX, Task, TaskId};
use comity_core::id::NodeId;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most bytes of JSON of all tasks, 8 MiB.
pub(super) const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most bytes of JSON of one announcer's tasks: what it may announce, and as much that their owners say.
pub(super) const OF_ONE_MAX: usize = 2 * OWN_BYTES_MAX;

/// What is told of tasks.
#[derive(Debug, Default)]
pub(super) struct Told {
    tasks: BTreeMap<Task, Texts>,
    of_each: BTreeMap<NodeId, usize>,
    bytes: usize,
}

/// What is told of a task.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Texts {
    pub(super) content: Option<Value>,
    pub(super) progress: Option<Value>,
    pub(super) report: Option<Value>,
    bytes: usize,
}

/// What a text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Content,
    Progress,
    Report,
}

impl Texts {
    fn place(&mut self, what: What) -> &mut Option<Value> {
        match what {
            What::Content => &mut self.content,
            What::Progress => &mut self.progress,
            What::Report => &mut self.report,
        }
    }
}

impl Told {
    /// What is told of a task.
    pub(super) fn of(&self, task: &Task) -> Option<&Texts> {
        self.tasks.get(task)
    }

    /// Takes a text in the place of an earlier one; `false` when there is no room, and then nothing has changed.
    pub(super) fn put(&mut self, task: &Task, what: What, text: Value) -> bool {
        let before =
            self.tasks.get_mut(task).and_then(|texts| texts.place(what).as_ref().map(size)).unwrap_or_default();
        let size = size(&text);
        let of_one = self.of_each.get(&task.announcer).copied().unwrap_or_default();
        if self.bytes - before + size > BYTES_MAX || of_one - before + size > OF_ONE_MAX {
            return false;
        }
        let texts = self.tasks.entry(task.clone()).or_default();
        *texts.place(what) = Some(text);
        texts.bytes = texts.bytes - before + size;
        self.bytes = self.bytes - before + size;
        self.of_each.insert(task.announcer, of_one - before + size);
        true
    }

    /// Nobody works at the task yet, or any more: how far it is, and what came of it, is not known.
    pub(super) fn begin(&mut self, task: &Task) {
        for what in [What::Progress, What::Report] {
            self.drop_text(task, what);
        }
    }

    fn drop_text(&mut self, task: &Task, what: What) {
        let Some(texts) = self.tasks.get_mut(task) else { return };
        let Some(text) = texts.place(what).take() else { return };
        let size = size(&text);
        texts.bytes -= size;
        self.free(&task.announcer, size);
    }

    /// The task is not spoken of any more.
    pub(super) fn forget(&mut self, task: &Task) {
        if let Some(texts) = self.tasks.remove(task) {
            self.free(&task.announcer, texts.bytes);
        }
    }

    fn free(&mut self, announcer: &NodeId, bytes: usize) {
        self.bytes -= bytes;
        if let Some(of_one) = self.of_each.get_mut(announcer) {
            *of_one -= bytes;
            if *of_one == 0 {
                self.of_each.remove(announcer);
            }
        }
    }

    /// What is told of these tasks, to be kept.
    pub(super) fn to_value<'t>(&self, tasks: impl Iterator<Item = &'t Task>) -> Value {
        let told = tasks.filter_map(|task| Some((task, self.tasks.get(task)?)));
        told.map(|(task, texts)| {
            let (announcer, id) = (task.announcer.to_string(), task.id.text());
            json!({ "announcer": announcer, "id": id, "content": texts.content, "report": texts.report })
        })
        .collect()
    }

    /// What was kept. What cannot be read is left out.
    pub(super) fn of_value(value: &Value) -> Self {
        let mut told = Self::default();
        for kept in value.as_array().into_iter().flatten() {
            let announcer = kept["announcer"].as_str().and_then(|text| text.parse().ok());
            let id = kept["id"].as_str().and_then(|text| TaskId::new(text).ok());
            let (Some(announcer), Some(id)) = (announcer, id) else { continue };
            let task = Task { announcer, id };
            for (what, name) in [(What::Content, "content"), (What::Report, "report")] {
                if !kept[name].is_null() {
                    told.put(&task, what, kept[name].clone());
                }
            }
        }
        told
    }
}

/// How large it is as JSON text: it was that, or will be.
fn size(value: &Value) -> usize {
    value.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(announcer: u8, id: usize) -> Task {
        Task { announcer: NodeId::from_bytes([announcer; 32]), id: TaskId::new(&id.to_string()).expect("an id") }
    }

    #[test]
    fn a_text_takes_the_place_of_an_earlier_one_and_goes_with_its_task() {
        let (mut told, task) = (Told::default(), task(1, 1));
        for text in [json!({"title": "mow"}), json!("mow")] {
            assert!(told.put(&task, What::Content, text));
        }
        assert!(told.put(&task, What::Progress, json!(0.5)) && told.put(&task, What::Report, json!("done")));
        let kept = Told::of_value(&told.to_value([&task].into_iter()));
        told.begin(&task);
        let texts = told.of(&task).expect("it is told of");
        assert_eq!((&texts.content, &texts.progress, &texts.report), (&Some(json!("mow")), &None, &None));
        assert_eq!(told.bytes, "\"mow\"".len());
        told.forget(&task);
        assert_eq!((told.bytes, told.tasks.len(), told.of_each.len()), (0, 0, 0));
        let texts = kept.of(&task).expect("it was kept");
        assert_eq!(
            (&texts.content, &texts.progress, &texts.report),
            (&Some(json!("mow")), &None, &Some(json!("done")))
        );
        assert!(Told::of_value(&json!([1, {}, {"announcer": "x", "id": ""}])).tasks.is_empty());
    }

    #[test]
    fn nobody_takes_the_room_of_others() {
        let (mut told, large) = (Told::default(), json!("x".repeat(200_000)));
        let put = |told: &mut Told, announcer| {
            (0..1000).take_while(|id| told.put(&task(announcer, *id), What::Content, large.clone())).count()
        };
        assert_eq!(put(&mut told, 1), OF_ONE_MAX / size(&large));
        assert!(put(&mut told, 2) > 0);
        let all: usize = (3..20).map(|announcer| put(&mut told, announcer)).sum();
        assert!(all > 0 && told.bytes <= BYTES_MAX);
        assert!(!told.put(&task(1, 0), What::Report, large.clone()));
        assert!(told.put(&task(1, 0), What::Content, json!("short")), "what becomes smaller has room");
    }
}
