//! The journal's forms for others: signed heads, proofs and checkpoints as JSON, and what a pub/sub message
//! becomes as `data` of an entry. Entries themselves are lines: `journal/line.rs`. See "Journal" in
//! `protocols/pubsub.md` and `docs/journal.md`.

use crate::id::{NodeId, encode_base64};
use crate::identity::canonical;
use crate::journal::{Checkpoint, CompactRange, Consistency, Entry, EntryProof, Head, Inclusion, PATH_MAX, TreeHash};
use crate::time::Timestamp;
use crate::wire::strict::{self, BadJson};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

/// Why a head, a proof or a checkpoint cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadForm {
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] BadJson),
    /// A field is missing or has another type or form.
    #[error("{wanted} is wanted at {pointer}")]
    Field {
        /// The field, as an RFC 6901 pointer.
        pointer: &'static str,
        /// What should be there.
        wanted: &'static str,
    },
    /// It is not in canonical JSON, where it must be.
    #[error("not canonical JSON")]
    NotCanonical,
}

/// A head as JSON.
pub fn head_to_value(head: &Head) -> Value {
    json!({
        "author": head.author.to_string(),
        "journal": head.journal.to_string(),
        "root": head.root.to_string(),
        "signature": encode_base64(&head.signature),
        "size": head.size,
    })
}

/// Reads a head. Its signature is not checked.
///
/// # Errors
/// [`BadForm`] names the field.
pub fn read_head(value: &Value) -> Result<Head, BadForm> {
    let fields = Fields(value);
    Ok(Head {
        author: fields.author("/author")?,
        journal: fields.hash("/journal")?,
        size: fields.number("/size")?,
        root: fields.hash("/root")?,
        signature: fields.signature("/signature")?,
    })
}

/// A proof that an entry is in a tree, as JSON.
pub fn inclusion_to_value(proof: &Inclusion) -> Value {
    json!({"index": proof.index, "path": texts(&proof.path), "size": proof.size})
}

/// Reads a proof that an entry is in a tree.
///
/// # Errors
/// [`BadForm`] names the field.
pub fn read_inclusion(value: &Value) -> Result<Inclusion, BadForm> {
    let fields = Fields(value);
    Ok(Inclusion { index: fields.number("/index")?, size: fields.number("/size")?, path: fields.hashes("/path")? })
}

/// A proof that one tree goes on from another, as JSON.
pub fn consistency_to_value(proof: &Consistency) -> Value {
    json!({"from": proof.from, "path": texts(&proof.path), "to": proof.to})
}

/// Reads a proof that one tree goes on from another.
///
/// # Errors
/// [`BadForm`] names the field.
pub fn read_consistency(value: &Value) -> Result<Consistency, BadForm> {
    let fields = Fields(value);
    Ok(Consistency { from: fields.number("/from")?, to: fields.number("/to")?, path: fields.hashes("/path")? })
}

/// An entry with its proof, as one JSON document.
pub fn entry_proof_to_value(proof: &EntryProof) -> Value {
    let entry: Value = serde_json::from_slice(&proof.line).unwrap_or_default();
    json!({"entry": entry, "head": head_to_value(&proof.head), "proof": inclusion_to_value(&proof.inclusion)})
}

/// Reads an entry with its proof, which is not checked.
///
/// # Errors
/// [`BadForm`] names the field.
pub fn read_entry_proof(text: &[u8]) -> Result<EntryProof, BadForm> {
    let value = strict::parse_within(text, crate::journal::DATA_DEPTH_MAX + 2)?;
    let fields = Fields(&value);
    let line = canonical::to_vec(fields.at("/entry", "an entry")?);
    let inclusion = read_inclusion(fields.at("/proof", "a proof of inclusion")?)?;
    Ok(EntryProof { line, inclusion, head: read_head(fields.at("/head", "a signed head")?)? })
}

/// An entry as a JSON object, with all its members.
pub fn entry_to_value(entry: &Entry) -> Value {
    let mut value = json!({
        "author": entry.author.to_string(),
        "data": entry.data,
        "hash": entry.hash.to_string(),
        "index": entry.index,
        "prev_hash": entry.prev_hash.to_string(),
        "timestamp": entry.timestamp.to_string(),
        "type": entry.kind.name(),
    });
    if let Some(signature) = &entry.signature {
        value["signature"] = encode_base64(signature).into();
    }
    value
}

/// A checkpoint as it stands in its file: canonical JSON, one line without its end.
pub fn write_checkpoint(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut value = checkpoint.signed();
    value["signature"] = encode_base64(&checkpoint.signature).into();
    canonical::to_vec(&value)
}

/// Whether this line of an exported journal is a checkpoint, and no entry.
pub fn is_checkpoint(line: &[u8]) -> bool {
    const AUTHOR_END: usize = 63;
    line.get(AUTHOR_END..).is_some_and(|rest| rest.starts_with(b",\"journal\":\""))
}

/// Reads a checkpoint. Its signature is not checked; but that every byte of it is where it should be.
///
/// # Errors
/// [`BadForm`] names the field.
pub fn read_checkpoint(line: &[u8]) -> Result<Checkpoint, BadForm> {
    let value = strict::parse(line)?;
    let fields = Fields(&value);
    let size = fields.number("/size")?;
    let wanted = BadForm::Field { pointer: "/nodes", wanted: "as many hashes as `size` has bits that are set" };
    let checkpoint = Checkpoint {
        author: fields.author("/author")?,
        journal: fields.hash("/journal")?,
        prev: fields.hash("/prev_hash")?,
        range: CompactRange::from_nodes(size, fields.hashes("/nodes")?).ok_or(wanted)?,
        signature: fields.signature("/signature")?,
    };
    if write_checkpoint(&checkpoint) == line { Ok(checkpoint) } else { Err(BadForm::NotCanonical) }
}

fn texts(hashes: &[TreeHash]) -> Vec<String> {
    hashes.iter().map(TreeHash::to_string).collect()
}

/// The members of a document that is being read.
struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    fn at(&self, pointer: &'static str, wanted: &'static str) -> Result<&'a Value, BadForm> {
        self.0.pointer(pointer).ok_or(BadForm::Field { pointer, wanted })
    }

    fn read<T>(
        &self,
        pointer: &'static str,
        wanted: &'static str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, BadForm> {
        read(self.at(pointer, wanted)?).ok_or(BadForm::Field { pointer, wanted })
    }

    fn author(&self, pointer: &'static str) -> Result<NodeId, BadForm> {
        self.read(pointer, "`ed25519:` and 32 bytes in base64url", |value| value.as_str()?.parse().ok())
    }

    fn hash(&self, pointer: &'static str) -> Result<TreeHash, BadForm> {
        self.read(pointer, "32 bytes in base64url", |value| value.as_str()?.parse().ok())
    }

    fn hashes(&self, pointer: &'static str) -> Result<Vec<TreeHash>, BadForm> {
        self.read(pointer, "a list of at most 64 hashes", |value| {
            let list = value.as_array().filter(|list| list.len() <= PATH_MAX)?;
            list.iter().map(|hash| hash.as_str()?.parse().ok()).collect()
        })
    }

    fn number(&self, pointer: &'static str) -> Result<u64, BadForm> {
        self.read(pointer, "a whole number below 2^53", |value| value.as_u64().filter(|number| *number < 1 << 53))
    }

    fn signature(&self, pointer: &'static str) -> Result<[u8; 64], BadForm> {
        self.read(pointer, "64 bytes in base64url", |value| {
            URL_SAFE_NO_PAD.decode(value.as_str()?).ok()?.try_into().ok()
        })
    }
}

/// What a pub/sub message becomes as `data` of an entry. What it does not say is left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MessageData {
    /// Its `type`.
    pub message_type: String,
    /// Who wrote it.
    pub from_peer: String,
    /// The same, short, for eyes only.
    pub from_short: String,
    /// When it was written, by its writer's clock.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub timestamp: Timestamp,
    /// What it says, after the redactor.
    #[serde(default)]
    pub data: Map<String, Value>,
    /// The topic it was on.
    pub topic: String,
    /// The role in which it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_role: Option<String>,
    /// The roles that it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to_roles: Vec<String>,
    /// What whoever answers should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_expertise: Vec<String>,
    /// The project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// `low`, `medium`, `high` or `urgent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// The conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
}

impl MessageData {
    /// As `data` of an entry.
    pub fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(members)) => members,
            _ => Map::new(),
        }
    }

    /// Reads `data` of an entry; `None` when the entry is not of a message.
    pub fn of(data: &Map<String, Value>) -> Option<Self> {
        Self::deserialize(data).ok()
    }
}

fn write_time<S: Serializer>(time: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(time)
}

fn read_time<'de, D: Deserializer<'de>>(json: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(json)?;
    Timestamp::parse(&text).ok_or_else(|| serde::de::Error::custom("an RFC 3339 time is wanted"))
}
