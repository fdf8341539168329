//! The bodies of the calls under `/mesh/compute`, in JSON: what submitters and workers say, read strictly and with
//! bounds, and what they are answered. It decides nothing; the rules are in `task.rs`. See "Compute" in
//! `protocols/mesh.md`. Keys that are not known are passed over.

mod answer;
mod few;
#[cfg(test)]
mod tests;

pub use answer::{Answered, Given, LineShown, LinesShown, Shown};

use crate::task::{
    ATTEMPTS, BATCH_MAX, BadTask, CAPABILITIES_MAX, LEASE, LINE_MAX, LINES_MAX, NewTask, Offer, PAYLOAD_MAX, Property,
    REQUIREMENTS_MAX, TaskId, cut,
};
use crate::time::Timestamp;
use crate::wire::strict::{self, BadJson};
use few::Few;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// Largest body of any of these calls, bytes: several tasks, or results, of the largest size.
pub const BODY_MAX: usize = 8 * 1024 * 1024;

/// Longest that a claim waits for work: less than what proxies on the way cut off.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// A body that is refused. Nothing of it was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// Larger than [`BODY_MAX`].
    #[error("the body is larger than {BODY_MAX} bytes")]
    TooLarge,
    /// Not JSON, or not of this form. The words are bounded, and ours and the reader's.
    #[error("the body is not what this call takes: {reason}")]
    Form {
        /// What is wrong, and where.
        reason: String,
    },
    /// A JSON text within the body breaks a bound.
    #[error("`{field}`: {cause}")]
    Json {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        cause: BadJson,
    },
    /// There is nothing in it.
    #[error("`{0}` is empty")]
    Nothing(&'static str),
    /// A time that is not RFC 3339.
    #[error("`{0}` is not a time as RFC 3339 has it")]
    Time(&'static str),
    /// A requirement or a property that is not a number, a text, or true or false.
    #[error("`{0}` takes numbers, texts, true and false")]
    NotAProperty(&'static str),
    /// What it says is beyond a bound.
    #[error(transparent)]
    Task(#[from] BadTask),
}

/// What a worker asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// What it is able to do.
    pub offer: Offer,
    /// How many tasks it wants, 1 to [`BATCH_MAX`].
    pub wanted: usize,
    /// How long it waits for the first, at most [`WAIT_MAX`].
    pub wait: Duration,
    /// How many tasks it could begin now, as it says.
    pub slots_free: u32,
    /// How full it is, as it says: what is lower is better.
    pub load: f64,
}

/// A lease, as its worker names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grip {
    /// The task.
    pub id: TaskId,
    /// The lease's number.
    pub token: u64,
}

/// A task that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// By which lease.
    pub grip: Grip,
    /// What came of it, a JSON text.
    pub result: String,
}

/// A task that could not be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// By which lease.
    pub grip: Grip,
    /// Why, in a sentence.
    pub cause: String,
    /// Whether another attempt may do better.
    pub is_worth_another: bool,
    /// Whether it was begun; otherwise it is given back, and the attempt does not count.
    pub is_begun: bool,
}

/// How far a worker is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// By which lease.
    pub grip: Grip,
    /// How much of it is done, 0 to 1.
    pub fraction: Option<f64>,
    /// What it has to say, at most [`LINES_MAX`] lines, each of at most [`LINE_MAX`] bytes.
    pub lines: Vec<String>,
}

/// What is said of several tasks at once.
type Batch<T> = Few<T, BATCH_MAX>;

#[derive(Deserialize)]
struct TaskBody {
    kind: String,
    capability: String,
    #[serde(default)]
    payload: Option<Box<RawValue>>,
    #[serde(default)]
    requirements: Option<Box<RawValue>>,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    deadline: Option<String>,
    #[serde(default)]
    max_attempts: Option<u32>,
    #[serde(default)]
    lease_seconds: Option<u32>,
    #[serde(default)]
    idempotency_key: Option<String>,
}

#[derive(Deserialize)]
struct ClaimBody {
    capabilities: Few<String, CAPABILITIES_MAX>,
    #[serde(default)]
    properties: Option<Box<RawValue>>,
    #[serde(default)]
    wanted: Option<usize>,
    #[serde(default)]
    wait_ms: u64,
    #[serde(default)]
    slots_free: Option<u32>,
    #[serde(default)]
    load: f64,
}

#[derive(Deserialize)]
struct GripBody {
    id: Uuid,
    token: u64,
}

#[derive(Deserialize)]
struct DoneBody {
    id: Uuid,
    token: u64,
    #[serde(default)]
    result: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct FaultBody {
    id: Uuid,
    token: u64,
    error: String,
    #[serde(default = "yes")]
    retry: bool,
    #[serde(default = "yes")]
    begun: bool,
}

#[derive(Deserialize)]
struct ProgressBody {
    token: u64,
    #[serde(default)]
    fraction: Option<f64>,
    #[serde(default)]
    line: Option<String>,
    #[serde(default)]
    lines: Few<String, LINES_MAX>,
}

fn yes() -> bool {
    true
}

/// The tasks of a body, one or an array of them, as this submitter's. `key` is what the header `Idempotency-Key` says:
/// it is the key of a single task, and of each of several with its place behind it, unless they have their own.
pub fn parse_submit(body: &[u8], submitted_by: &str, key: Option<&str>) -> Result<Vec<NewTask>, BadBody> {
    let is_single = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let bodies = if is_single { Few(vec![read(body)?]) } else { read::<Batch<TaskBody>>(body)? };
    let tasks = counted("tasks", bodies)?.into_iter().enumerate().map(|(place, body)| {
        let of_header = key.map(|key| if is_single { key.to_owned() } else { format!("{key}/{place}") });
        let task = NewTask {
            kind: body.kind,
            capability: body.capability,
            payload: json_text("payload", body.payload)?,
            requirements: parse_properties("requirements", body.requirements)?,
            priority: body.priority,
            deadline: body.deadline.as_deref().map(|text| time("deadline", text)).transpose()?,
            attempts_max: body.max_attempts.unwrap_or(ATTEMPTS),
            lease: body.lease_seconds.map_or(LEASE, |seconds| Duration::from_secs(u64::from(seconds))),
            idempotency_key: body.idempotency_key.or(of_header),
            submitted_by: submitted_by.to_owned(),
        };
        task.check()?;
        Ok(task)
    });
    tasks.collect()
}

/// What a worker asks for.
pub fn parse_claim(body: &[u8]) -> Result<Claim, BadBody> {
    let body = read::<ClaimBody>(body)?;
    let capabilities = body.capabilities.0.into_iter().collect();
    let offer = Offer { capabilities, properties: parse_properties("properties", body.properties)? };
    offer.check()?;
    let wanted = body.wanted.unwrap_or(1);
    if !(1..=BATCH_MAX).contains(&wanted) {
        return Err(BadTask::OutOfBounds("wanted", 1, BATCH_MAX as u64).into());
    }
    if !body.load.is_finite() {
        return Err(BadTask::NotFinite("load").into());
    }
    let slots_free = body.slots_free.unwrap_or(u32::try_from(wanted).unwrap_or(u32::MAX));
    let wait = Duration::from_millis(body.wait_ms).min(WAIT_MAX);
    Ok(Claim { offer, wanted, wait, slots_free, load: body.load })
}

/// The leases that a worker renews: `{leases[{id,token}]}`.
pub fn parse_renew(body: &[u8]) -> Result<Vec<Grip>, BadBody> {
    #[derive(Deserialize)]
    struct Body {
        leases: Batch<GripBody>,
    }
    let bodies = counted("leases", read::<Body>(body)?.leases)?;
    Ok(bodies.into_iter().map(|body| grip(body.id, body.token)).collect())
}

/// The tasks that a worker has done: `{done[{id,token,result?}]}`.
pub fn parse_complete(body: &[u8]) -> Result<Vec<Done>, BadBody> {
    #[derive(Deserialize)]
    struct Body {
        done: Batch<DoneBody>,
    }
    let bodies = counted("done", read::<Body>(body)?.done)?;
    let done = bodies.into_iter().map(|body| {
        let result = json_text("result", body.result)?;
        Ok(Done { grip: grip(body.id, body.token), result })
    });
    done.collect()
}

/// Whether a JSON text may be the result of a task, as [`parse_complete`] reads it.
pub fn check_result(text: &str) -> Result<(), BadBody> {
    check_json("result", text)
}

/// The tasks that a worker could not do: `{failed[{id,token,error,retry=true,begun=true}]}`.
pub fn parse_fail(body: &[u8]) -> Result<Vec<Fault>, BadBody> {
    #[derive(Deserialize)]
    struct Body {
        failed: Batch<FaultBody>,
    }
    let bodies = counted("failed", read::<Body>(body)?.failed)?;
    let faults = bodies.into_iter().map(|body| Fault {
        grip: grip(body.id, body.token),
        cause: cut(&body.error, crate::task::CAUSE_MAX),
        is_worth_another: body.retry,
        is_begun: body.begun,
    });
    Ok(faults.collect())
}

/// How far a worker is with this task: `{token,fraction?,line?,lines[]?}`, at most [`LINES_MAX`] lines in all.
pub fn parse_progress(body: &[u8], id: TaskId) -> Result<Progress, BadBody> {
    let body = read::<ProgressBody>(body)?;
    let lines: Vec<_> = body.line.into_iter().chain(body.lines.0).map(|line| cut(&line, LINE_MAX)).collect();
    if lines.len() > LINES_MAX {
        return Err(BadTask::TooMany("lines", LINES_MAX).into());
    }
    Ok(Progress { grip: Grip { id, token: body.token }, fraction: body.fraction, lines })
}

/// Reads requirements as the store keeps them: what [`NewTask::requirements_text`] wrote.
pub fn read_requirements(text: &str) -> Result<BTreeMap<String, Property>, BadBody> {
    if text.is_empty() {
        return Ok(BTreeMap::new());
    }
    let value = strict::parse(text.as_bytes()).map_err(|cause| BadBody::Json { field: "requirements", cause })?;
    properties_of("requirements", value)
}

fn grip(id: Uuid, token: u64) -> Grip {
    Grip { id: TaskId(id), token }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadBody> {
    if body.len() > BODY_MAX {
        return Err(BadBody::TooLarge);
    }
    serde_json::from_slice(body).map_err(|error| BadBody::Form { reason: cut(&error.to_string(), REASON_MAX) })
}

/// Longest reason in an error, bytes: the reader's words may repeat what was read.
const REASON_MAX: usize = 160;

fn counted<T>(field: &'static str, Few(bodies): Batch<T>) -> Result<Vec<T>, BadBody> {
    if bodies.is_empty() { Err(BadBody::Nothing(field)) } else { Ok(bodies) }
}

/// A JSON text as it was written, within all bounds of one; `null` when there is none.
fn json_text(field: &'static str, raw: Option<Box<RawValue>>) -> Result<String, BadBody> {
    let Some(raw) = raw else { return Ok("null".to_owned()) };
    check_json(field, raw.get())?;
    Ok(Box::<str>::from(raw).into_string())
}

fn check_json(field: &'static str, text: &str) -> Result<(), BadBody> {
    if text.len() > PAYLOAD_MAX {
        return Err(BadTask::TooLarge(field).into());
    }
    strict::parse(text.as_bytes()).map(drop).map_err(|cause| BadBody::Json { field, cause })
}

fn parse_properties(field: &'static str, raw: Option<Box<RawValue>>) -> Result<BTreeMap<String, Property>, BadBody> {
    let Some(raw) = raw else { return Ok(BTreeMap::new()) };
    let value = strict::parse(raw.get().as_bytes()).map_err(|cause| BadBody::Json { field, cause })?;
    properties_of(field, value)
}

fn properties_of(field: &'static str, value: Value) -> Result<BTreeMap<String, Property>, BadBody> {
    let Value::Object(members) = value else { return Err(BadBody::NotAProperty(field)) };
    if members.len() > REQUIREMENTS_MAX {
        return Err(BadTask::TooMany(field, REQUIREMENTS_MAX).into());
    }
    let properties = members.into_iter().map(|(name, value)| {
        let property = match value {
            Value::String(text) => Property::Text(text),
            Value::Bool(flag) => Property::Flag(flag),
            Value::Number(number) => Property::Number(number.as_f64().ok_or(BadBody::NotAProperty(field))?),
            _ => return Err(BadBody::NotAProperty(field)),
        };
        Ok((name, property))
    });
    properties.collect()
}

fn time(field: &'static str, text: &str) -> Result<Timestamp, BadBody> {
    Timestamp::parse(text).ok_or(BadBody::Time(field))
}
