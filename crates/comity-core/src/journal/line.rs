//! An entry as it stands in a file: one line, the canonical JSON of the whole entry. Its members stand in
//! one order and all but `data` have one length or few, so a line is written and read without a tree of
//! values. `docs/journal.md` describes it for other programs.

use super::entry::{DATA_DEPTH_MAX, DATA_MAX, Draft, Entry, EntryKind};
use super::plain;
use super::tree::{HASH_TEXT, TreeHash, read_base64};
use crate::id::{NodeId, encode_base64};
use crate::identity::canonical;
use crate::time::Timestamp;
use crate::wire::strict;
use serde_json::Value;

/// Bytes of a line without its data, at most: names, hashes, a signature, the longest index and type.
pub(super) const FRAME: usize = 448;

/// The longest line, bytes, without its end.
pub const LINE_MAX: usize = DATA_MAX + FRAME;

/// Characters of a node id.
const AUTHOR_TEXT: usize = 51;

/// Characters of a signature in base64url without padding.
const SIGNATURE_TEXT: usize = 86;

/// Characters of a time in UTC with milliseconds.
const TIME_TEXT: usize = 24;

/// The longest type, so that a later version may have types that this one can check without knowing them.
const KIND_MAX: usize = 64;

/// Why a line is not an entry, or not the one that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// It has not the form of an entry.
    #[error("not an entry in canonical JSON")]
    Form,
    /// It is longer than an entry can be.
    #[error("longer than {LINE_MAX} bytes")]
    TooLong,
    /// Its content is not what its hash is of.
    #[error("its content is not what its hash was made of")]
    Hash,
    /// Its `data` is not canonical JSON, or nested too deep.
    #[error("data is not canonical JSON")]
    Data,
    /// It is of a type that this version does not know.
    #[error("of a type that is not known here")]
    Kind,
}

/// What a line says of itself, its hash made anew. Whether it belongs where it stands is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Who wrote it.
    pub author: NodeId,
    /// Which place it says it has.
    pub index: u64,
    /// The hash of the entry before it, as it says.
    pub prev: TreeHash,
    /// Its own hash.
    pub hash: TreeHash,
    /// What stands as signature.
    pub signature: Option<[u8; 64]>,
    /// Its time.
    pub timestamp: Timestamp,
    /// Its type, if it is known here.
    pub kind: Option<EntryKind>,
}

/// The members of a line, as they stand there.
struct Members<'a> {
    author: &'a [u8],
    data: &'a [u8],
    hash: &'a [u8],
    index: &'a [u8],
    prev: &'a [u8],
    signature: Option<&'a [u8]>,
    timestamp: &'a [u8],
    kind: &'a [u8],
}

impl<'a> Members<'a> {
    /// Takes a line apart, from both its ends to the data between.
    fn of(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"{\"author\":\"")?;
        let (author, rest) = rest.split_at_checked(AUTHOR_TEXT)?;
        let rest = rest.strip_prefix(b"\",\"data\":")?;
        let rest = rest.strip_suffix(b"\"}")?;
        let (rest, kind) = cut_last(rest, KIND_MAX, |byte| byte.is_ascii_lowercase() || *byte == b'_')?;
        let rest = rest.strip_suffix(b"\",\"type\":\"")?;
        let (rest, timestamp) = rest.split_at_checked(rest.len().checked_sub(TIME_TEXT)?)?;
        let mut rest = rest.strip_suffix(b"\"timestamp\":\"")?;
        let mut signature = None;
        if let Some(before) = rest.strip_suffix(b"\",") {
            let (before, text) = before.split_at_checked(before.len().checked_sub(SIGNATURE_TEXT)?)?;
            if let Some(before) = before.strip_suffix(b"\"signature\":\"") {
                signature = Some(text);
                rest = before;
            }
        }
        let rest = rest.strip_suffix(b"\",")?;
        let (rest, prev) = rest.split_at_checked(rest.len().checked_sub(HASH_TEXT)?)?;
        let rest = rest.strip_suffix(b",\"prev_hash\":\"")?;
        let (rest, index) = cut_last(rest, 20, u8::is_ascii_digit)?;
        let rest = rest.strip_suffix(b"\",\"index\":")?;
        let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(HASH_TEXT)?)?;
        let data = rest.strip_suffix(b",\"hash\":\"")?;
        let is_object = data.first() == Some(&b'{') && data.last() == Some(&b'}');
        is_object.then_some(Self { author, data, hash, index, prev, signature, timestamp, kind })
    }

    /// What the hash is of: the entry without `hash` and `signature`.
    fn leaf(&self) -> TreeHash {
        TreeHash::of_leaf(&[
            b"{\"author\":\"",
            self.author,
            b"\",\"data\":",
            self.data,
            b",\"index\":",
            self.index,
            b",\"prev_hash\":\"",
            self.prev,
            b"\",\"timestamp\":\"",
            self.timestamp,
            b"\",\"type\":\"",
            self.kind,
            b"\"}",
        ])
    }

    /// Reads the members but for the data.
    fn link(&self) -> Option<Link> {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let author: NodeId = text(self.author)?.parse().ok()?;
        let index: u64 = text(self.index)?.parse().ok()?;
        let timestamp = Timestamp::parse(text(self.timestamp)?)?;
        // One entry has one text: another spelling of the same would be read alike and hashed otherwise.
        let is_canonical = author.to_string().as_bytes() == self.author
            && (self.index == b"0" || self.index[0] != b'0')
            && timestamp.to_string().as_bytes() == self.timestamp;
        let signature = self.signature.map(|signature| read_base64(signature).ok_or(())).transpose().ok()?;
        is_canonical.then_some(Link {
            author,
            index,
            prev: TreeHash(read_base64(self.prev)?),
            hash: TreeHash(read_base64(self.hash)?),
            signature,
            timestamp,
            kind: text(self.kind)?.parse().ok(),
        })
    }
}

/// Cuts the longest run of such bytes off the end; `None` when there is none, or it is longer than that.
fn cut_last(text: &[u8], most: usize, is_one: impl Fn(&u8) -> bool) -> Option<(&[u8], &[u8])> {
    let length = text.iter().rev().take(most + 1).take_while(|byte| is_one(byte)).count();
    if length == 0 || length > most { None } else { text.split_at_checked(text.len() - length) }
}

/// Reads what a line says of itself and makes its hash anew. Its data is only hashed.
///
/// # Errors
/// [`BadLine`] when it is no entry, or has not the hash it says.
pub fn read_link(line: &[u8]) -> Result<Link, BadLine> {
    read(line).map(|(link, _)| link)
}

/// Reads what a line says of itself, and that its data is what a canonical form is.
///
/// # Errors
/// As [`read_link`], and [`BadLine::Data`].
pub fn read_checked(line: &[u8]) -> Result<Link, BadLine> {
    let (link, data) = read(line)?;
    if plain::is_plain(data, DATA_DEPTH_MAX) {
        return Ok(link);
    }
    let value = strict::parse_within(data, DATA_DEPTH_MAX).map_err(|_| BadLine::Data)?;
    if canonical::to_vec(&value) == data { Ok(link) } else { Err(BadLine::Data) }
}

/// Reads a whole entry.
///
/// # Errors
/// As [`read_checked`], and [`BadLine::Kind`].
pub fn read_entry(line: &[u8]) -> Result<Entry, BadLine> {
    let (link, data) = read(line)?;
    let Ok(Value::Object(data)) = strict::parse_within(data, DATA_DEPTH_MAX) else { return Err(BadLine::Data) };
    let kind = link.kind.ok_or(BadLine::Kind)?;
    Ok(Entry {
        index: link.index,
        timestamp: link.timestamp,
        author: link.author,
        kind,
        data,
        prev_hash: link.prev,
        hash: link.hash,
        signature: link.signature,
    })
}

fn read(line: &[u8]) -> Result<(Link, &[u8]), BadLine> {
    if line.len() > LINE_MAX {
        return Err(BadLine::TooLong);
    }
    let members = Members::of(line).ok_or(BadLine::Form)?;
    let link = members.link().ok_or(BadLine::Form)?;
    if members.leaf() == link.hash { Ok((link, members.data)) } else { Err(BadLine::Hash) }
}

/// An entry that has its place and its hash, and is not yet written.
#[derive(Debug)]
pub struct Placed<'a> {
    author: &'a str,
    draft: &'a Draft,
    index: String,
    prev: String,
    timestamp: String,
    /// Its hash.
    pub hash: TreeHash,
}

impl<'a> Placed<'a> {
    /// Puts what is to be journaled after the entry with the hash `prev`. `author` is the text of a node id.
    pub fn new(author: &'a str, draft: &'a Draft, index: u64, prev: &TreeHash) -> Self {
        let (index, prev, timestamp) = (index.to_string(), prev.to_string(), draft.timestamp.to_string());
        let mut placed = Self { author, draft, index, prev, timestamp, hash: TreeHash::ZERO };
        placed.hash = placed.members(&[], None).leaf();
        placed
    }

    fn members<'b>(&'b self, hash: &'b [u8], signature: Option<&'b [u8]>) -> Members<'b> {
        Members {
            author: self.author.as_bytes(),
            data: &self.draft.data,
            hash,
            index: self.index.as_bytes(),
            prev: self.prev.as_bytes(),
            signature,
            timestamp: self.timestamp.as_bytes(),
            kind: self.draft.kind.name().as_bytes(),
        }
    }

    /// Appends the line with its end, signed when it is the last of a group.
    pub fn write(&self, signature: Option<&[u8; 64]>, out: &mut Vec<u8>) {
        let hash = self.hash.to_string();
        let signature = signature.map(|signature| encode_base64(signature));
        let members = self.members(hash.as_bytes(), signature.as_deref().map(str::as_bytes));
        members.write(out);
    }
}

impl Members<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut put = |pieces: &[&[u8]]| pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        put(&[b"{\"author\":\"", self.author, b"\",\"data\":", self.data, b",\"hash\":\"", self.hash]);
        put(&[b"\",\"index\":", self.index, b",\"prev_hash\":\"", self.prev, b"\","]);
        if let Some(signature) = self.signature {
            put(&[b"\"signature\":\"", signature, b"\","]);
        }
        put(&[b"\"timestamp\":\"", self.timestamp, b"\",\"type\":\"", self.kind, b"\"}\n"]);
    }
}
