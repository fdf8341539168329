//! What a task may be when it is submitted, and who is able to do it. See "Compute" in `protocols/mesh.md`. How it is
//! written in JSON is in `wire/mesh/task.rs`.

use super::{ATTEMPTS, ATTEMPTS_MAX, CAPABILITIES_MAX, LEASE, LEASE_MAX, NAME_MAX, PAYLOAD_MAX, REQUIREMENTS_MAX};
use crate::hidden::is_hidden;
use crate::time::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a task requires, or a worker has, under a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Property {
    /// So much, finite: a worker that has more will do.
    Number(f64),
    /// Just this.
    Text(String),
    /// Just this.
    Flag(bool),
}

impl Property {
    /// The same as a JSON value.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Number(number) => Value::from(*number),
            Self::Text(text) => Value::from(text.as_str()),
            Self::Flag(flag) => Value::from(*flag),
        }
    }
}

/// A task as it is submitted.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// What is to be done, in its executor's words: the name of a tool.
    pub kind: String,
    /// What a worker must be able to do.
    pub capability: String,
    /// What it is to be done with, a JSON text.
    pub payload: String,
    /// What a worker must have.
    pub requirements: BTreeMap<String, Property>,
    /// The higher is the sooner.
    pub priority: i32,
    /// Until when it is of use.
    pub deadline: Option<Timestamp>,
    /// How often it may be tried.
    pub attempts_max: u32,
    /// How long a worker may be silent.
    pub lease: Duration,
    /// One submitter's tasks of one key are one task.
    pub idempotency_key: Option<String>,
    /// Who submits it, as the door has proven.
    pub submitted_by: String,
}

/// Why a task, or a worker's offer, is refused. Nothing was kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTask {
    /// The name is empty.
    #[error("`{0}` is empty")]
    Empty(&'static str),
    /// The name is longer than [`NAME_MAX`].
    #[error("`{0}` is longer than {NAME_MAX} bytes")]
    TooLong(&'static str),
    /// The name has a character that cannot be seen.
    #[error("`{0}` has a character that cannot be seen")]
    Hidden(&'static str),
    /// The payload, or the result, is larger than [`PAYLOAD_MAX`].
    #[error("`{0}` is larger than {PAYLOAD_MAX} bytes")]
    TooLarge(&'static str),
    /// There are more than may be.
    #[error("`{0}` has more than {1} entries")]
    TooMany(&'static str, usize),
    /// The number is not within its bounds.
    #[error("`{0}` must be {1} to {2}")]
    OutOfBounds(&'static str, u64, u64),
    /// A requirement's number is not finite.
    #[error("`{0}` has a number that is not finite")]
    NotFinite(&'static str),
}

impl NewTask {
    /// A task that says nothing but what it must.
    pub fn plain(kind: &str, capability: &str, payload: String, submitted_by: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            capability: capability.to_owned(),
            payload,
            requirements: BTreeMap::new(),
            priority: 0,
            deadline: None,
            attempts_max: ATTEMPTS,
            lease: LEASE,
            idempotency_key: None,
            submitted_by: submitted_by.to_owned(),
        }
    }

    /// Whether it keeps within all bounds.
    pub fn check(&self) -> Result<(), BadTask> {
        check_name("kind", &self.kind)?;
        check_name("capability", &self.capability)?;
        check_name("submitted_by", &self.submitted_by)?;
        if let Some(key) = &self.idempotency_key {
            check_name("idempotency_key", key)?;
        }
        if self.payload.len() > PAYLOAD_MAX {
            return Err(BadTask::TooLarge("payload"));
        }
        properties("requirements", &self.requirements)?;
        if !(1..=ATTEMPTS_MAX).contains(&self.attempts_max) {
            return Err(BadTask::OutOfBounds("max_attempts", 1, u64::from(ATTEMPTS_MAX)));
        }
        if !(Duration::from_secs(1)..=LEASE_MAX).contains(&self.lease) {
            return Err(BadTask::OutOfBounds("lease_seconds", 1, LEASE_MAX.as_secs()));
        }
        Ok(())
    }

    /// What two tasks of one key must have in common: the SHA-256 over all that the submitter says but the key and the
    /// deadline. A deadline said as a time from now is another one whenever the task is submitted again; that of the
    /// first counts.
    pub fn digest(&self) -> [u8; 32] {
        self.digest_with(None)
    }

    /// The digest that was kept of such a task with this deadline while deadlines were part of it. Without one it is
    /// [`Self::digest`].
    pub fn digest_with(&self, deadline: Option<Timestamp>) -> [u8; 32] {
        // The length before each part keeps two parts from reading as one.
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(self.kind.as_bytes());
        part(self.capability.as_bytes());
        part(self.payload.as_bytes());
        part(self.requirements_text().as_bytes());
        part(&self.priority.to_le_bytes());
        part(&deadline.map_or(0, Timestamp::millis).to_le_bytes());
        part(&self.attempts_max.to_le_bytes());
        part(&self.lease.as_millis().to_le_bytes());
        hash.finalize().into()
    }

    /// The requirements as one text, a JSON object in order of names; empty for none. The same requirements are the same
    /// text.
    pub fn requirements_text(&self) -> String {
        if self.requirements.is_empty() { String::new() } else { text_of(&self.requirements) }
    }
}

/// What a worker is able to do, and has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Offer {
    /// What it is able to do.
    pub capabilities: BTreeSet<String>,
    /// What it has.
    pub properties: BTreeMap<String, Property>,
}

impl Offer {
    /// An offer of these capabilities.
    pub fn of<'a>(capabilities: impl IntoIterator<Item = &'a str>) -> Self {
        let capabilities = capabilities.into_iter().map(str::to_owned).collect();
        Self { capabilities, properties: BTreeMap::new() }
    }

    /// Whether it keeps within all bounds.
    pub fn check(&self) -> Result<(), BadTask> {
        if self.capabilities.len() > CAPABILITIES_MAX {
            return Err(BadTask::TooMany("capabilities", CAPABILITIES_MAX));
        }
        self.capabilities.iter().try_for_each(|capability| check_name("capabilities", capability))?;
        properties("properties", &self.properties)
    }
}

/// Whether a worker that has this meets these requirements: of numbers it has as much or more, the rest is equal.
pub fn meets(requirements: &BTreeMap<String, Property>, has: &BTreeMap<String, Property>) -> bool {
    requirements.iter().all(|(name, wanted)| match (wanted, has.get(name)) {
        (Property::Number(wanted), Some(Property::Number(has))) => has >= wanted,
        (wanted, Some(has)) => wanted == has,
        (_, None) => false,
    })
}

/// Refuses a name that is empty, too long, or not to be seen.
pub fn check_name(field: &'static str, text: &str) -> Result<(), BadTask> {
    match text {
        "" => Err(BadTask::Empty(field)),
        _ if text.len() > NAME_MAX => Err(BadTask::TooLong(field)),
        _ if text.chars().any(is_hidden) => Err(BadTask::Hidden(field)),
        _ => Ok(()),
    }
}

fn properties(field: &'static str, all: &BTreeMap<String, Property>) -> Result<(), BadTask> {
    if all.len() > REQUIREMENTS_MAX {
        return Err(BadTask::TooMany(field, REQUIREMENTS_MAX));
    }
    for (key, property) in all {
        check_name(field, key)?;
        match property {
            Property::Text(text) if text.len() > NAME_MAX => return Err(BadTask::TooLong(field)),
            Property::Text(text) if text.chars().any(is_hidden) => return Err(BadTask::Hidden(field)),
            Property::Number(number) if !number.is_finite() => return Err(BadTask::NotFinite(field)),
            _ => {}
        }
    }
    Ok(())
}

fn text_of(all: &BTreeMap<String, Property>) -> String {
    let members = all.iter().map(|(name, property)| (name.clone(), property.to_json()));
    Value::Object(members.collect()).to_string()
}
