//! What the `data` of a message says, for the types whose members the design fixes and that no rule of its own reads:
//! availability and help. Tasks are in [`super::task`]; the `data` of all other types is read by who knows it.

use super::{Violation, Wanted};
use crate::time::Timestamp;
use crate::wire::announce::read_time;
use serde_json::{Map, Value, json};

/// How many tasks a node takes at once, when it does not say.
pub const TASKS_MAX: u64 = 3;

/// The member of an `availability_broadcast` by which a node asks how tasks stand: it has not listened until now.
pub const ASKS: &str = "asks_for_tasks";

/// How much a node has to do: `availability_broadcast`, said every 30 s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// What the node calls itself.
    pub node_id: String,
    /// Whether it takes more.
    pub available_for_work: bool,
    /// How many tasks it has.
    pub current_tasks: u64,
    /// How many it takes at once.
    pub max_tasks: u64,
    /// When it last did something.
    pub last_activity: Timestamp,
    /// How it is.
    pub status: Status,
    /// When it said so.
    pub timestamp: Timestamp,
}

/// How busy a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It has nothing to do.
    Ready,
    /// It has something to do, and takes more.
    Working,
    /// It takes no more.
    Busy,
}

/// Somebody is stuck: `task_help_request`, in either of the two forms that are seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HelpRequest {
    /// The task or issue, as `issue_id` or `task_id`.
    pub about: Option<String>,
    /// Where it is.
    pub repository: Option<String>,
    /// Why, or what for, as `reason` or `help_needed`.
    pub reason: Option<String>,
    /// How urgent it is.
    pub urgency: Option<String>,
}

/// Whether a node can help: `task_help_response`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelpResponse {
    /// The issue or task that was asked about.
    pub issue_id: String,
    /// Whether it can.
    pub can_help: bool,
    /// What it can do.
    pub capabilities: Vec<String>,
}

impl Status {
    /// All of them, least busy first.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Working, Self::Busy];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Working => "working",
            Self::Busy => "busy",
        }
    }

    /// How busy who has so many tasks is.
    pub fn of(current_tasks: u64, max_tasks: u64) -> Self {
        match current_tasks {
            current if current >= max_tasks => Self::Busy,
            0 => Self::Ready,
            _ => Self::Working,
        }
    }
}

impl Availability {
    /// The `data` that says it.
    pub fn to_data(&self) -> Map<String, Value> {
        object(json!({
            "node_id": self.node_id,
            "available_for_work": self.available_for_work,
            "current_tasks": self.current_tasks,
            "max_tasks": self.max_tasks,
            "last_activity": self.last_activity.to_string(),
            "status": self.status.name(),
            "timestamp": self.timestamp.to_string(),
        }))
    }

    /// Reads it. Programs of the original write times as seconds, and tasks as a number or as a list.
    pub fn from_data(data: &Map<String, Value>) -> Result<Self, Violation> {
        let status = text(data, "status");
        let status = Status::ALL.into_iter().find(|one| status.as_deref() == Some(one.name()));
        let tasks = data.get("current_tasks");
        let current_tasks = match tasks {
            Some(Value::Array(tasks)) => Some(tasks.len() as u64),
            Some(Value::Null) => Some(0),
            _ => tasks.and_then(count),
        };
        Ok(Self {
            node_id: text(data, "node_id").ok_or_else(|| bad("node_id", "a text"))?,
            available_for_work: flag(data, "available_for_work")?,
            current_tasks: current_tasks.ok_or_else(|| bad("current_tasks", "a number or a list"))?,
            max_tasks: data
                .get("max_tasks")
                .map_or(Some(TASKS_MAX), count)
                .ok_or_else(|| bad("max_tasks", "a number"))?,
            last_activity: time(data, "last_activity")?,
            status: status.ok_or_else(|| bad("status", "ready, working or busy"))?,
            timestamp: time(data, "timestamp")?,
        })
    }
}

impl HelpRequest {
    /// The `data` that says it, about an issue.
    pub fn to_data(&self) -> Map<String, Value> {
        let members = [("issue_id", &self.about), ("repository", &self.repository), ("reason", &self.reason)];
        let members = members.into_iter().chain([("urgency", &self.urgency)]);
        members.filter_map(|(name, text)| Some((name.to_owned(), text.clone()?.into()))).collect()
    }

    /// Reads it. It may say nothing at all.
    pub fn from_data(data: &Map<String, Value>) -> Self {
        Self {
            about: id(data, "issue_id").or_else(|| id(data, "task_id")),
            repository: text(data, "repository"),
            reason: text(data, "reason").or_else(|| text(data, "help_needed")),
            urgency: text(data, "urgency"),
        }
    }
}

impl HelpResponse {
    /// The `data` that says it.
    pub fn to_data(&self) -> Map<String, Value> {
        object(json!({ "issue_id": self.issue_id, "can_help": self.can_help, "capabilities": self.capabilities }))
    }

    /// Reads it.
    pub fn from_data(data: &Map<String, Value>) -> Result<Self, Violation> {
        let capabilities = data.get("capabilities").and_then(Value::as_array);
        let capabilities = capabilities.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        Ok(Self {
            issue_id: id(data, "issue_id").ok_or_else(|| bad("issue_id", "a text or a whole number"))?,
            can_help: flag(data, "can_help")?,
            capabilities: capabilities.collect(),
        })
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

pub(super) fn bad(member: &str, wanted: &'static str) -> Violation {
    Violation { pointer: format!("/data/{member}"), wanted: Wanted::Form(wanted) }
}

pub(super) fn text(data: &Map<String, Value>, name: &str) -> Option<String> {
    data.get(name)?.as_str().map(str::to_owned)
}

/// An id: a text, or a whole number as text.
pub(super) fn id(data: &Map<String, Value>, name: &str) -> Option<String> {
    match data.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

fn flag(data: &Map<String, Value>, name: &str) -> Result<bool, Violation> {
    data.get(name).and_then(Value::as_bool).ok_or_else(|| bad(name, "true or false"))
}

fn time(data: &Map<String, Value>, name: &str) -> Result<Timestamp, Violation> {
    data.get(name).and_then(read_time).ok_or_else(|| bad(name, "a time"))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
fn count(value: &Value) -> Option<u64> {
    let whole = |number: &f64| *number >= 0.0 && number.fract() == 0.0;
    value.as_u64().or_else(|| value.as_f64().filter(whole).map(|number| number as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::gossip::Kind;

    #[test]
    fn availability_reads_as_it_was_written_and_as_the_original_writes_it() {
        let at = Timestamp::from_millis(1_782_000_000_000);
        let said = Availability {
            node_id: "12D3KooWA1b2".to_owned(),
            available_for_work: true,
            current_tasks: 2,
            max_tasks: TASKS_MAX,
            last_activity: at,
            status: Status::of(2, TASKS_MAX),
            timestamp: at,
        };
        assert_eq!(Availability::from_data(&said.to_data()).as_ref(), Ok(&said));
        let mut original = said.to_data();
        original.insert("last_activity".to_owned(), json!(1_782_000_000));
        original.insert("timestamp".to_owned(), json!(1_782_000_000_000_u64));
        original.insert("current_tasks".to_owned(), json!(["a", 7]));
        original.shift_remove("max_tasks");
        assert_eq!(Availability::from_data(&original).as_ref(), Ok(&said));
        original.insert("status".to_owned(), json!("asleep"));
        assert_eq!(Availability::from_data(&original), Err(bad("status", "ready, working or busy")));
        assert_eq!([0, 1, 3].map(|tasks| Status::of(tasks, 3).name()), ["ready", "working", "busy"]);
    }

    #[test]
    fn both_forms_of_a_request_for_help_say_the_same() {
        let texts = |about: &str, reason: &str| HelpRequest {
            about: Some(about.to_owned()),
            reason: Some(reason.to_owned()),
            ..HelpRequest::default()
        };
        let one = object(json!({"issue_id": 17, "repository": "a/b", "reason": "stuck"}));
        let other = object(json!({"task_id": "t", "help_needed": "review", "urgency": "high"}));
        let (repository, urgency) = (Some("a/b".to_owned()), Some("high".to_owned()));
        assert_eq!(HelpRequest::from_data(&one), HelpRequest { repository, ..texts("17", "stuck") });
        assert_eq!(HelpRequest::from_data(&other), HelpRequest { urgency, ..texts("t", "review") });
        let said = texts("17", "stuck");
        assert_eq!(HelpRequest::from_data(&said.to_data()), said);
        let answer = HelpResponse { issue_id: "17".to_owned(), can_help: true, capabilities: vec!["rust".to_owned()] };
        assert_eq!(HelpResponse::from_data(&answer.to_data()).as_ref(), Ok(&answer));
        assert_eq!(Kind::TaskHelpResponse.entry_kind().name(), "collaboration");
    }
}
