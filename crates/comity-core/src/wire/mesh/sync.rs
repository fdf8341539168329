//! Changes of an index as nodes pull them (`GET /mesh/sync`) and tell them (`POST /mesh/basins/broadcast`), both ways,
//! and the cursor that says how far one has come. See "Delta sync" in `protocols/mesh.md`. Whether an update counts is
//! said by `basin/record.rs`.

use crate::basin::Record;
use crate::basin::record::VERSION_MAX;
use crate::basin::settings::{DIMENSION_MAX, ENCODER_MAX};
use crate::id::{NodeId, decode_base64, encode_base64};
use crate::time::Timestamp;
use crate::wire::mesh::form::{self, BadForm, Fault, Member};
use crate::wire::mesh::numbers;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Updates of a page where nothing else is said.
pub const LIMIT: usize = 1000;

/// Most updates of a page.
pub const LIMIT_MAX: usize = 10_000;

/// From how many bytes on a page takes no further update: what is written at once, and held twice for a moment. The one
/// that passes it is still in it, so that there is always one.
pub const PAGE_BYTES: usize = 32 * 1024 * 1024;

/// Largest page that is read, bytes: [`LIMIT_MAX`] updates of 256 numbers, from a node without our bound.
pub const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest cursor of another node, bytes: it is opaque.
pub const CURSOR_MAX: usize = 256;

/// Most bad updates of a page that are told one by one; more are counted.
pub const TOLD_MAX: usize = 100;

/// Longest time, bytes.
const TIME_MAX: usize = 64;

/// Bytes of a cursor: two numbers and its check.
const CURSOR_BYTES: usize = 20;

/// How far somebody has come in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Which log. A node that lost its log has another.
    pub log: u64,
    /// The last place of it that was given; 0 for none.
    pub after: u64,
}

/// A text that no node gave out as a cursor, or that was changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this kind of node, or one that was changed")]
pub struct BadCursor;

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// At the beginning of the log.
    Beginning,
    /// At this time, by the clock of the node that is asked; some may be given twice.
    Time(Timestamp),
    /// Exactly there. Whether it is of this log is for the log to say.
    Cursor(Cursor),
}

/// What `GET /mesh/sync` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncQuery {
    /// Where to begin.
    pub since: Since,
    /// How many, 1 to [`LIMIT_MAX`].
    pub limit: usize,
}

/// What an update need not say itself.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Whose documents these are where no `source_node` stands: the proven key of whoever sent them.
    pub sender: Option<NodeId>,
    /// The key of a node that goes by a name.
    pub named: &'a (dyn Fn(&str) -> Option<NodeId> + Sync),
    /// The time where no `timestamp` stands.
    pub now: Timestamp,
}

/// An update that cannot be read. The others are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("update {index}: {form}")]
pub struct BadUpdate {
    /// Which one, from 0.
    pub index: usize,
    /// What is wrong, and where in it.
    pub form: BadForm,
}

/// Updates that were read. None of them is checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Updates {
    /// Those that could be read, in their order.
    pub records: Vec<Record>,
    /// The first [`TOLD_MAX`] that could not.
    pub bad: Vec<BadUpdate>,
    /// How many could not.
    pub bad_count: usize,
}

/// A page of another node's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// What changed; none at all when one has caught up.
    pub updates: Updates,
    /// From where to go on, in the other node's own words.
    pub next_cursor: Option<String>,
}

impl Cursor {
    fn check(bytes: &[u8; 16]) -> [u8; 4] {
        let hash = Sha256::new().chain_update(b"comity/cursor\0").chain_update(bytes).finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.log.to_be_bytes());
        bytes[8..].copy_from_slice(&self.after.to_be_bytes());
        bytes
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        let check = Self::check(&bytes);
        out.write_str(&encode_base64(&[&bytes[..], &check].concat()))
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let bytes = Some(text).filter(|text| text.len() <= CURSOR_MAX).and_then(decode_base64).ok_or(BadCursor)?;
        let bytes: [u8; CURSOR_BYTES] = bytes.try_into().map_err(|_| BadCursor)?;
        let (place, check) = bytes.split_first_chunk::<16>().ok_or(BadCursor)?;
        if Self::check(place) != *check {
            return Err(BadCursor);
        }
        let number = |from: usize| place[from..from + 8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Ok(Self { log: number(0), after: number(8) })
    }
}

impl Since {
    /// Reads a time or a cursor.
    ///
    /// # Errors
    /// [`BadForm`] when it is neither.
    pub fn read(text: &str) -> Result<Self, BadForm> {
        const WANTED: Fault =
            Fault::Wanted("an RFC 3339 time such as 2026-01-31T12:00:00Z, or a cursor as it was given");
        if text.is_empty() {
            return Ok(Self::Beginning);
        }
        if let Ok(cursor) = text.parse() {
            return Ok(Self::Cursor(cursor));
        }
        let time = Some(text).filter(|text| text.len() <= TIME_MAX).and_then(Timestamp::parse);
        time.map(Self::Time).ok_or(BadForm::new("since", WANTED))
    }
}

impl SyncQuery {
    /// Reads the parameters, decoded.
    ///
    /// # Errors
    /// [`BadForm`] names the parameter.
    pub fn read(since: Option<&str>, limit: Option<&str>) -> Result<Self, BadForm> {
        let since = since.map_or(Ok(Since::Beginning), Since::read)?;
        let limit = match limit {
            None => LIMIT,
            Some(raw) => {
                let wanted = "a whole number from 1 to 10000";
                Member { field: "limit", raw }.whole(1..=LIMIT_MAX as u64, wanted)? as usize
            }
        };
        Ok(Self { since, limit })
    }
}

/// A page that is being written.
#[derive(Debug)]
pub struct PageWriter {
    out: Vec<u8>,
    count: usize,
}

impl PageWriter {
    /// A page without updates.
    #[expect(clippy::new_without_default, reason = "a page is begun, not a value of its own")]
    pub fn new() -> Self {
        Self { out: b"{\"updates\":[".to_vec(), count: 0 }
    }

    /// Whether it takes no further update: the cursor is to be that of the last one.
    pub fn is_full(&self) -> bool {
        self.out.len() >= PAGE_BYTES || self.count >= LIMIT_MAX
    }

    /// How many updates it has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds an update.
    pub fn add(&mut self, record: &Record) {
        if self.count > 0 {
            self.out.push(b',');
        }
        self.count += 1;
        write_update(&mut self.out, record);
    }

    /// The page, with from where to go on.
    pub fn finish(mut self, next: Cursor) -> Vec<u8> {
        self.out.extend_from_slice(format!("],\"next_cursor\":\"{next}\"}}").as_bytes());
        self.out
    }
}

/// Appends an update.
pub fn write_update(out: &mut Vec<u8>, record: &Record) {
    let quoted = |text: &str| Value::from(text).to_string();
    out.extend_from_slice(format!("{{\"doc_id\":{}", quoted(record.doc_id.as_str())).as_bytes());
    if let Some(vector) = &record.vector {
        out.extend_from_slice(b",\"basin\":");
        numbers::write(out, vector);
    }
    let (encoder, sig) = (quoted(&record.encoder), encode_base64(&record.sig));
    let Record { metadata, node, timestamp, version, .. } = record;
    let metadata = metadata.as_str();
    let rest = format!(
        r#","metadata":{metadata},"source_node":"{node}","timestamp":"{timestamp}","version":{version},"encoder":{encoder}"#
    );
    out.extend_from_slice(rest.as_bytes());
    if record.deleted {
        out.extend_from_slice(b",\"deleted\":true");
    }
    out.extend_from_slice(format!(",\"sig\":\"{sig}\"}}").as_bytes());
}

/// The body of a broadcast: one update, or a list.
pub fn write_broadcast(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    if let [record] = records {
        write_update(&mut out, record);
        return out;
    }
    out.push(b'[');
    for (place, record) in records.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_update(&mut out, record);
    }
    out.push(b']');
    out
}

/// Reads a page of another node's log.
///
/// # Errors
/// [`BadForm`] when it is no page at all; what is wrong with single updates stands in the page.
pub fn read_page(body: &[u8], source: Source<'_>) -> Result<Page, BadForm> {
    let text = form::text(body, PAGE_BYTES_MAX)?;
    let [updates, cursor] = form::members(text, ["updates", "next_cursor"])?;
    let next_cursor = Member::of("next_cursor", cursor).map(|cursor| cursor.text(CURSOR_MAX)).transpose()?;
    let updates = Member::wanted("updates", updates)?.elements(LIMIT_MAX)?;
    Ok(Page { updates: read_updates(&updates, source), next_cursor: next_cursor.map(std::borrow::Cow::into_owned) })
}

/// Reads the body of a broadcast: one update, a list, or an object with `updates`.
///
/// # Errors
/// [`BadForm`] when it is none of them.
pub fn read_broadcast(body: &[u8], source: Source<'_>) -> Result<Updates, BadForm> {
    let text = form::text(body, PAGE_BYTES_MAX)?;
    if text.trim_start().starts_with('[') {
        return Ok(read_updates(&form::elements("", text, LIMIT_MAX)?, source));
    }
    let [updates] = form::members(text, ["updates"])?;
    if let Some(updates) = Member::of("updates", updates) {
        return Ok(read_updates(&updates.elements(LIMIT_MAX)?, source));
    }
    let mut read = Updates::default();
    read.take(0, read_update(text, source));
    Ok(read)
}

fn read_updates(raws: &[&RawValue], source: Source<'_>) -> Updates {
    let mut updates = Updates { records: Vec::with_capacity(raws.len()), ..Updates::default() };
    for (index, raw) in raws.iter().enumerate() {
        updates.take(index, read_update(raw.get(), source));
    }
    updates
}

impl Updates {
    fn take(&mut self, index: usize, read: Result<Record, BadForm>) {
        match read {
            Ok(record) => self.records.push(record),
            Err(form) => {
                self.bad_count += 1;
                if self.bad.len() < TOLD_MAX {
                    self.bad.push(BadUpdate { index, form });
                }
            }
        }
    }
}

/// Reads one update.
///
/// # Errors
/// [`BadForm`] names the field.
pub fn read_update(text: &str, source: Source<'_>) -> Result<Record, BadForm> {
    let names = ["doc_id", "basin", "metadata", "source_node", "timestamp", "version", "encoder", "deleted", "sig"];
    let [doc_id, basin, metadata, node, timestamp, version, encoder, deleted, sig] = form::members(text, names)?;
    let node = match Member::of("source_node", node) {
        Some(member) => read_node(member, source)?,
        None => source.sender.ok_or(BadForm::new("source_node", Fault::Missing))?,
    };
    let basin = Member::of("basin", basin).map(|basin| numbers::read("basin", basin.raw, DIMENSION_MAX));
    let metadata = Member::of("metadata", metadata).map(|metadata| metadata.metadata()).transpose()?;
    let deleted = Member::of("deleted", deleted).map(|deleted| deleted.is_so()).transpose()?;
    Ok(Record {
        doc_id: Member::wanted("doc_id", doc_id)?.doc_id()?,
        node,
        vector: basin.transpose()?,
        metadata: metadata.unwrap_or_default(),
        version: Member::wanted("version", version)?.whole(1..=VERSION_MAX, "a whole number from 1 to 2^53")?,
        encoder: Member::wanted("encoder", encoder)?.text(ENCODER_MAX)?.into_owned(),
        deleted: deleted.unwrap_or_default(),
        timestamp: match Member::of("timestamp", timestamp) {
            Some(member) => read_time(member)?,
            None => source.now,
        },
        sig: read_sig(Member::wanted("sig", sig)?)?,
    })
}

/// A node by its key, or by a name of which the key is known.
fn read_node(member: Member<'_>, source: Source<'_>) -> Result<NodeId, BadForm> {
    let text = member.text(super::query::NODE_NAME_MAX)?;
    let node = text.parse().ok().or_else(|| (source.named)(&text));
    node.ok_or(member.bad(Fault::Wanted("a node id, or the name of a node whose key is known")))
}

fn read_time(member: Member<'_>) -> Result<Timestamp, BadForm> {
    let time = Timestamp::parse(&member.text(TIME_MAX)?);
    time.ok_or(member.bad(Fault::Wanted("an RFC 3339 time")))
}

fn read_sig(member: Member<'_>) -> Result<[u8; 64], BadForm> {
    let bytes = decode_base64(&member.text(128)?);
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(member.bad(Fault::Wanted("64 bytes in base64url")))
}

#[cfg(test)]
mod tests;
