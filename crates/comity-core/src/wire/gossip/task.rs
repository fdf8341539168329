//! How the words of [`crate::claim`] travel in gossip messages. See "Claims" in `protocols/pubsub.md`, which leaves the
//! form open; this is Comity's:
//!
//! | word | message | members of `data` |
//! | --- | --- | --- |
//! | open | `task_announcement` of the announcer | the task's own, `task_id`, `lease` |
//! | claim | `task_claim` of the claimant | `task_id`, `agent_id`, `claimant`, `time`, `sig`, `announcer`, `lease` |
//! | assigned | `task_progress` of the announcer | `task_id`, `announcer`, `lease`, `status` assigned, `assigned_to`, `time`, `sig` |
//! | through | `task_complete` of the owner | `task_id`, `agent_id`, `announcer`, `lease`, `status` completed or failed |
//! | given back | `task_progress` of the owner | the same, `status` released |
//! | ended | `task_complete` of the announcer | `task_id`, `announcer`, `lease`, `status` completed, failed or withdrawn, `assigned_to` |
//!
//! An assignment is no second announcement, because programs that know nothing of it take an announcement for an
//! invitation to claim; that a task makes progress, and that it is complete, they understand as it is meant. Whether a
//! `task_progress` or `task_complete` is the announcer's word is told by `announcer`, which then is its author. Without
//! `lease` a message is not one of these words, but for a claim: `{task_id, agent_id}` is one as it is.
//!
//! What the owner has to tell goes beside the words: [`RESULT`] or [`REASON`] in its `task_complete`, which the announcer
//! repeats in its own; and how far it is in a `task_progress` without `lease`.
//!
//! A claim is signed over `{claimant, task_id, time}` and an assignment over
//! `{announcer, assigned_to, lease, task_id, time}`, both in the context `comity/claim/1`: their members tell them
//! apart, and both can be shown to who does not hear gossip. In gossip itself the author of a message is proven anyway.

use super::body::{bad, id, text};
use super::{Envelope, Kind, Violation};
use crate::claim::{Finish, Lease, Outcome, Standing, Task, TaskId, Word};
use crate::id::{Libp2pId, NodeId, decode_base64, encode_base64};
use crate::identity::key::KeyPair;
use crate::identity::signature::{self, BadSignature, Context};
use crate::payload::Payload;
use crate::time::Timestamp;
use serde_json::{Map, Value, json};

/// The member that says how a task is.
pub const STATUS: &str = "status";
/// What came of a task that is done.
pub const RESULT: &str = "result";
/// Why a task was not done.
pub const REASON: &str = "reason";
/// Its content, where that is no object whose members could stand in `data` themselves.
pub const CONTENT: &str = "content";
/// A task that was not done.
pub const FAILED: &str = "failed";

const ASSIGNED: &str = "assigned";
const RELEASED: &str = "released";
const COMPLETED: &str = "completed";
const WITHDRAWN: &str = "withdrawn";

/// Why a message is not the word that it seems to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTask {
    /// A member is missing or has another form.
    #[error(transparent)]
    Member(#[from] Violation),
    /// The signature does not count.
    #[error("{0}, at /data/sig")]
    Signature(#[from] BadSignature),
    /// The author has no Ed25519 key, and so no node id.
    #[error("only a node with an Ed25519 key takes part, at /from")]
    NoNode,
    /// The claim is another node's than its author's.
    #[error("the claimant is not the author, at /data/claimant")]
    NotTheClaimant,
}

/// The message that says a word. The time is its own and that of what is signed; `agent` is what the node's program
/// calls itself.
pub fn write(word: &Word, key: &KeyPair, agent: &str, at: Timestamp) -> Envelope {
    let me = key.node();
    let (kind, data) = match word {
        Word::Stands { id, lease, standing: Standing::Open, content } => {
            (Kind::TaskAnnouncement, announcement(id, *lease, content.as_ref()))
        }
        Word::Stands { id, lease, standing: Standing::Assigned(owner), .. } => {
            (Kind::TaskProgress, assignment(id, *lease, owner, key, at))
        }
        Word::Stands { id, lease, standing: Standing::Ended { owner, outcome }, .. } => {
            let mut data = about(id, Some(&me), Some(*lease));
            data.insert(STATUS.to_owned(), outcome_name(*outcome).into());
            if let Some(owner) = owner {
                data.insert("assigned_to".to_owned(), owner.to_string().into());
            }
            (Kind::TaskComplete, data)
        }
        Word::Claim { announcer, id, lease, at } => (Kind::TaskClaim, claim(id, (*announcer, *lease), *at, key, agent)),
        Word::Finish { task, lease, finish } => {
            let mut data = about(&task.id, Some(&task.announcer), Some(*lease));
            data.insert("agent_id".to_owned(), agent.into());
            let (kind, status) = match finish {
                Finish::Completed => (Kind::TaskComplete, COMPLETED),
                Finish::Failed => (Kind::TaskComplete, FAILED),
                Finish::Released => (Kind::TaskProgress, RELEASED),
            };
            data.insert(STATUS.to_owned(), status.into());
            (kind, data)
        }
    };
    Envelope::new(kind, Libp2pId::from(me), at, data)
}

fn about(id: &TaskId, announcer: Option<&NodeId>, lease: Option<Lease>) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("task_id".to_owned(), id.text().into());
    if let Some(announcer) = announcer {
        data.insert("announcer".to_owned(), announcer.to_string().into());
    }
    if let Some(Lease(lease)) = lease {
        data.insert("lease".to_owned(), lease.into());
    }
    data
}

fn announcement(id: &TaskId, lease: Lease, content: Option<&Payload>) -> Map<String, Value> {
    let mut data = match content.map(Payload::to_value) {
        Some(Value::Object(content)) => content,
        Some(content) => Map::from_iter([(CONTENT.to_owned(), content)]),
        None => Map::new(),
    };
    data.extend(about(id, None, Some(lease)));
    data
}

fn claim(
    id: &TaskId,
    (announcer, lease): (Option<NodeId>, Option<Lease>),
    at: Timestamp,
    key: &KeyPair,
    agent: &str,
) -> Map<String, Value> {
    let signed = json!({ "claimant": key.node().to_string(), "task_id": id.text(), "time": at.to_string() });
    let mut data = about(id, announcer.as_ref(), lease);
    data.insert("agent_id".to_owned(), agent.into());
    with_signature(data, signed, key)
}

fn assignment(id: &TaskId, lease: Lease, owner: &NodeId, key: &KeyPair, at: Timestamp) -> Map<String, Value> {
    let mut signed = about(id, Some(&key.node()), Some(lease));
    signed.insert("assigned_to".to_owned(), owner.to_string().into());
    signed.insert("time".to_owned(), at.to_string().into());
    let data = Map::from_iter([(STATUS.to_owned(), ASSIGNED.into())]);
    with_signature(data, Value::Object(signed), key)
}

/// What is signed, its signature, and the rest.
fn with_signature(mut data: Map<String, Value>, signed: Value, key: &KeyPair) -> Map<String, Value> {
    let signature = signature::sign(key, Context::Claim, &signed);
    if let Value::Object(signed) = signed {
        data.extend(signed);
    }
    data.insert("sig".to_owned(), encode_base64(&signature).into());
    data
}

/// The word that a message says, if it says one, and who says it. What there is to do is not copied: it is in `data`.
pub fn read(envelope: &Envelope) -> Result<Option<(NodeId, Word)>, BadTask> {
    let kind = envelope.kind;
    let is_task = matches!(kind, Kind::TaskAnnouncement | Kind::TaskProgress | Kind::TaskComplete | Kind::TaskClaim);
    let has_lease = envelope.data.get("lease").is_some_and(|lease| !lease.is_null());
    if !is_task || !has_lease && kind != Kind::TaskClaim {
        return Ok(None);
    }
    let from = envelope.from.node().ok_or(BadTask::NoNode)?;
    let data = Data(&envelope.data);
    if kind == Kind::TaskClaim {
        return data.claim(from, envelope.timestamp).map(|word| Some((from, word)));
    }
    let (id, lease) = (data.task_id()?, data.lease()?.ok_or_else(|| bad("lease", LEASE))?);
    if kind == Kind::TaskAnnouncement {
        return Ok(Some((from, Word::Stands { id, lease, standing: Standing::Open, content: None })));
    }
    let announcer = data.node("announcer")?.ok_or_else(|| bad("announcer", NODE_ID))?;
    if announcer != from {
        let finish = data.finish(kind)?;
        return Ok(Some((from, Word::Finish { task: Task { announcer, id }, lease, finish })));
    }
    let standing = if kind == Kind::TaskProgress { data.assigned(&from)? } else { data.ended()? };
    Ok(Some((from, Word::Stands { id, lease, standing, content: None })))
}

const NODE_ID: &str = "a node id";
const LEASE: &str = "a whole number up to 2^53";

/// Highest lease: above it, numbers in JSON and in what is signed lose digits.
const LEASE_MAX: u64 = 1 << 53;

/// The members of a message about a task.
struct Data<'a>(&'a Map<String, Value>);

impl Data<'_> {
    fn claim(&self, from: NodeId, written_at: Timestamp) -> Result<Word, BadTask> {
        if self.node("claimant")?.is_some_and(|claimant| claimant != from) {
            return Err(BadTask::NotTheClaimant);
        }
        if self.0.contains_key("sig") {
            self.verify(&["claimant", "task_id", "time"], &from)?;
        }
        let at = self.0.get("time").map(|_| self.time()).transpose()?.unwrap_or(written_at);
        Ok(Word::Claim { announcer: self.node("announcer")?, id: self.task_id()?, lease: self.lease()?, at })
    }

    fn assigned(&self, announcer: &NodeId) -> Result<Standing, BadTask> {
        if text(self.0, STATUS).as_deref() != Some(ASSIGNED) {
            return Err(bad(STATUS, ASSIGNED).into());
        }
        self.time()?;
        let owner = self.node("assigned_to")?.ok_or_else(|| bad("assigned_to", NODE_ID))?;
        self.verify(&["announcer", "assigned_to", "lease", "task_id", "time"], announcer)?;
        Ok(Standing::Assigned(owner))
    }

    fn ended(&self) -> Result<Standing, BadTask> {
        let status = text(self.0, STATUS).unwrap_or_default();
        let outcomes = [Outcome::Completed, Outcome::Failed, Outcome::Withdrawn];
        let outcome = outcomes.into_iter().find(|outcome| outcome_name(*outcome) == status);
        let outcome = outcome.ok_or_else(|| bad(STATUS, "completed, failed or withdrawn"))?;
        Ok(Standing::Ended { owner: self.node("assigned_to")?, outcome })
    }

    fn finish(&self, kind: Kind) -> Result<Finish, BadTask> {
        match (kind, text(self.0, STATUS).as_deref()) {
            (Kind::TaskComplete, Some(COMPLETED)) => Ok(Finish::Completed),
            (Kind::TaskComplete, Some(FAILED)) => Ok(Finish::Failed),
            (Kind::TaskProgress, Some(RELEASED)) => Ok(Finish::Released),
            _ => Err(bad(STATUS, "completed, failed or released").into()),
        }
    }

    /// Whether this node signed exactly these members.
    fn verify(&self, names: &[&str], node: &NodeId) -> Result<(), BadTask> {
        let signature = text(self.0, "sig").and_then(|text| decode_base64(&text));
        let signature = signature.and_then(|bytes| bytes.try_into().ok());
        let signature = signature.ok_or_else(|| bad("sig", "64 bytes in base64url"))?;
        let member = |name: &&str| self.0.get(*name).map(|value| ((*name).to_owned(), value.clone()));
        let signed = names.iter().filter_map(member).collect();
        Ok(signature::verify(node, Context::Claim, &Value::Object(signed), &signature)?)
    }

    fn task_id(&self) -> Result<TaskId, BadTask> {
        let id = id(self.0, "task_id").and_then(|text| TaskId::new(&text).ok());
        id.ok_or_else(|| bad("task_id", "1 to 256 bytes without control characters").into())
    }

    fn lease(&self) -> Result<Option<Lease>, BadTask> {
        let Some(lease) = self.0.get("lease").filter(|lease| !lease.is_null()) else { return Ok(None) };
        let lease = lease.as_u64().filter(|lease| *lease <= LEASE_MAX);
        lease.map(|lease| Some(Lease(lease))).ok_or_else(|| bad("lease", LEASE).into())
    }

    fn node(&self, name: &str) -> Result<Option<NodeId>, BadTask> {
        let Some(value) = self.0.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
        let node = value.as_str().and_then(|text| text.parse().ok());
        node.map(Some).ok_or_else(|| bad(name, NODE_ID).into())
    }

    fn time(&self) -> Result<Timestamp, BadTask> {
        let time = text(self.0, "time").and_then(|text| Timestamp::parse(&text));
        time.ok_or_else(|| bad("time", "an RFC 3339 time").into())
    }
}

/// What there is to do, of the `data` of an announcement that [`write()`] wrote or that anybody may have written.
pub fn content(data: &Map<String, Value>) -> Value {
    let own = |name: &str| matches!(name, "task_id" | "lease");
    let mut members = data.iter().filter(|(name, _)| !own(name));
    match (members.next(), members.next()) {
        (Some((name, content)), None) if name == CONTENT => content.clone(),
        _ => data.iter().filter(|(name, _)| !own(name)).map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => COMPLETED,
        Outcome::Failed => FAILED,
        Outcome::Withdrawn => WITHDRAWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> KeyPair {
        KeyPair::from_seed([seed; 32])
    }

    fn at() -> Timestamp {
        Timestamp::from_millis(1_782_000_000_000)
    }

    fn words() -> Vec<Word> {
        let (ann, bob) = (key(1).node(), key(2).node());
        let (id, lease) = (TaskId::new("t-1").expect("an id"), Lease(1_782_000_000_000));
        let task = Task { announcer: ann, id: id.clone() };
        let stands = |standing| Word::Stands { id: id.clone(), lease, standing, content: None };
        let ended = |owner, outcome| stands(Standing::Ended { owner, outcome });
        let finish = |finish| Word::Finish { task: task.clone(), lease, finish };
        vec![
            stands(Standing::Assigned(bob)),
            ended(Some(bob), Outcome::Completed),
            ended(Some(bob), Outcome::Failed),
            ended(None, Outcome::Withdrawn),
            Word::Claim { announcer: Some(ann), id: id.clone(), lease: Some(lease), at: at() },
            Word::Claim { announcer: None, id: id.clone(), lease: None, at: at() },
            finish(Finish::Completed),
            finish(Finish::Failed),
            finish(Finish::Released),
        ]
    }

    /// Whose word it is: Ann announces, Bob does it.
    fn speaker(word: &Word) -> KeyPair {
        if matches!(word, Word::Stands { .. }) { key(1) } else { key(2) }
    }

    #[test]
    fn every_word_reads_as_it_was_written() {
        for word in words() {
            let speaker = speaker(&word);
            let envelope = write(&word, &speaker, "agent-2", at());
            assert_eq!(super::super::check(envelope.kind, &super::super::to_value(&envelope)), Ok(()), "{word:?}");
            assert_eq!(read(&envelope), Ok(Some((speaker.node(), word))));
        }
        let content = Payload::from_value(&json!({"title": "Add WebSocket support"})).expect("a payload");
        let id = TaskId::new("t-1").expect("an id");
        let word = Word::Stands { id, lease: Lease(7), standing: Standing::Open, content: Some(content) };
        let envelope = write(&word, &key(1), "agent-1", at());
        let wanted = json!({"title": "Add WebSocket support", "task_id": "t-1", "lease": 7});
        assert_eq!(Value::Object(envelope.data.clone()), wanted);
        let Ok(Some((_, Word::Stands { standing: Standing::Open, lease: Lease(7), .. }))) = read(&envelope) else {
            panic!("an announcement")
        };
    }

    #[test]
    fn a_claim_of_the_design_needs_neither_lease_nor_signature() {
        let data = Map::from_iter([("task_id".to_owned(), json!(17)), ("agent_id".to_owned(), json!("walnut"))]);
        let envelope = Envelope::new(Kind::TaskClaim, key(2).node().into(), at(), data);
        let id = TaskId::new("17").expect("an id");
        let claim = Word::Claim { announcer: None, id, lease: None, at: at() };
        assert_eq!(read(&envelope), Ok(Some((key(2).node(), claim))));
        // The other messages about tasks are nobody's word then.
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::TaskClaim) {
            assert_eq!(read(&Envelope { kind, ..envelope.clone() }), Ok(None));
        }
        let rsa = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().expect("a PeerId");
        assert_eq!(read(&Envelope { from: rsa, ..envelope }), Err(BadTask::NoNode));
    }

    #[test]
    fn whoever_changes_what_is_signed_or_speaks_for_another_is_refused() {
        let words = words();
        let claim = write(&words[4], &key(2), "agent-2", at());
        let assigned = write(&words[0], &key(1), "agent-1", at());
        let with = |envelope: &Envelope, name: &str, value: Value| {
            let mut envelope = envelope.clone();
            envelope.data.insert(name.to_owned(), value);
            read(&envelope).expect_err("must be refused")
        };
        let wrong = BadTask::Signature(BadSignature::Wrong);
        assert_eq!(with(&claim, "task_id", json!("t-2")), wrong);
        assert_eq!(with(&claim, "time", json!("2026-06-21T00:00:01Z")), wrong);
        assert_eq!(with(&claim, "sig", json!("AAAA")), BadTask::Member(bad("sig", "64 bytes in base64url")));
        assert_eq!(with(&claim, "claimant", json!(key(3).node().to_string())), BadTask::NotTheClaimant);
        assert_eq!(with(&claim, "claimant", json!("bob")), BadTask::Member(bad("claimant", NODE_ID)));
        assert_eq!(with(&assigned, "lease", json!(8)), wrong);
        assert_eq!(with(&assigned, "assigned_to", json!(key(3).node().to_string())), wrong);
        assert_eq!(with(&assigned, STATUS, json!("released")), BadTask::Member(bad(STATUS, ASSIGNED)));
        for lease in [json!(-1), json!("7"), json!(LEASE_MAX + 1)] {
            assert_eq!(with(&assigned, "lease", lease), BadTask::Member(bad("lease", LEASE)));
        }
        // An assignment handed on by another is read as that one's own word about a task that it has: it has none.
        let stolen = Envelope { from: key(3).node().into(), ..assigned.clone() };
        assert_eq!(read(&stolen), Err(BadTask::Member(bad(STATUS, "completed, failed or released"))));
        let mut unsigned = assigned;
        unsigned.data.shift_remove("sig");
        assert_eq!(read(&unsigned), Err(BadTask::Member(bad("sig", "64 bytes in base64url"))));
    }

    #[test]
    fn a_claim_is_no_assignment_though_both_are_signed_in_one_context() {
        let claim = write(&words()[4], &key(1), "agent-1", at());
        let mut forged = claim.clone();
        forged.kind = Kind::TaskProgress;
        forged.data.insert(STATUS.to_owned(), json!(ASSIGNED));
        forged.data.insert("assigned_to".to_owned(), json!(key(1).node().to_string()));
        assert_eq!(read(&forged), Err(BadTask::Signature(BadSignature::Wrong)));
    }
}
