//! The copy that a node keeps of another's journal: what was verified is appended, as in a journal of its own, but
//! signed by its author. What to believe is decided in `comity_core::journal::Follower`; see "Folder" in
//! `docs/journal.md`.

use super::Limits;
use super::error::JournalError;
use super::folder::{Folder, Taken};
use super::index::Segment;
use super::lines::{Lines, Piece};
use comity_core::id::NodeId;
use comity_core::journal::{Chain, Checkpoint, Head, TILE, read_checked, read_link};
use comity_core::wire::{journal as wire, strict};
use serde_json::Value;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

/// The last head that the author told, which may be ahead of the entries.
const TOLD: &str = "head.json";

/// What the author did, and the heads that prove it.
const FAULT: &str = "fault.json";

/// What the name of the folder of a copy ends with whose continuation its author dropped.
const ASIDE: &str = "before";

/// A copy on the disk. All of it blocks.
#[derive(Debug)]
pub(crate) struct Copy {
    folder: Folder,
    limits: Limits,
    segments: Vec<Segment>,
    /// The last segment, open.
    file: Option<File>,
    /// The entry that comes next.
    next: u64,
    /// Held as long as files are written.
    _taken: Taken,
}

/// What a copy was found to hold.
#[derive(Debug)]
pub(crate) struct Held {
    /// How far it goes.
    pub(crate) chain: Chain,
    /// The signature of the last entry.
    pub(crate) head: Option<Head>,
    /// The last head that the author told.
    pub(crate) told: Option<Head>,
    /// What the author did, if it was found to break the rules.
    pub(crate) fault: Option<String>,
}

impl Copy {
    /// Opens the copy of this author's journal, made if it is missing, and reads all of it. What is not right at its
    /// end is cut off: it can be had again.
    pub(crate) fn open(path: &Path, author: NodeId, limits: Limits) -> Result<(Self, Held), JournalError> {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(JournalError::at(parent))?;
        }
        let folder = Folder::new(path);
        let taken = folder.take()?;
        let (mut chain, damaged) = (Chain::new(author), |index| JournalError::Damaged { folder: path.into(), index });
        if let Some(text) = folder.checkpoint()? {
            let checkpoint = wire::read_checkpoint(&text).ok().filter(|checkpoint| checkpoint.check().is_ok());
            let checkpoint = checkpoint.filter(|checkpoint| checkpoint.author == author).ok_or_else(|| damaged(0))?;
            chain = Chain::after(&checkpoint);
        }
        let mut copy = Self { folder, limits, segments: Vec::new(), file: None, next: chain.next(), _taken: taken };
        let head = copy.read(&mut chain)?;
        if head.is_some_and(|head| head.check().is_err()) {
            return Err(damaged(chain.next().saturating_sub(1)));
        }
        let told = copy.document(TOLD)?.and_then(|value| wire::read_head(&value).ok());
        let told = told.filter(|told| told.author == author && told.check().is_ok());
        let fault = copy.document(FAULT)?.map(|value| value["fault"].as_str().unwrap_or("it was broken").to_owned());
        Ok((copy, Held { chain, head, told, fault }))
    }

    /// The first entry.
    pub(crate) fn first(&self) -> u64 {
        self.segments.first().map_or(self.next, |segment| segment.first)
    }

    /// Whether it is larger than a journal with these limits ever is: its author has dropped something by then, or keeps
    /// more than this node does.
    pub(crate) fn is_full(&self) -> bool {
        let most = self.limits.keep.saturating_add(self.limits.segment.saturating_mul(2));
        self.segments.iter().map(|segment| segment.bytes).sum::<u64>() > most
    }

    /// Puts this copy aside, in the place of one that was put aside before: its author dropped what follows it, so that a
    /// copy that begins later takes its place.
    pub(crate) fn put_aside(self) -> Result<(), JournalError> {
        let path = self.folder.path();
        let aside = path.with_extension(ASIDE);
        match fs::remove_dir_all(&aside) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(JournalError::at(&aside)(cause)),
            _ => {}
        }
        fs::rename(path, &aside).map_err(JournalError::at(path))
    }

    /// Appends lines that were verified and that end with a signed one, and waits until they are safe.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), JournalError> {
        let (mut begin, mut at) = (0, 0);
        let mut follows_signature = true;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let is_large =
                self.segments.last().is_some_and(|last| last.bytes + (at - begin) as u64 >= self.limits.segment);
            if follows_signature && is_large && self.next.is_multiple_of(TILE) {
                self.write(&lines[begin..at])?;
                (begin, self.file) = (at, None);
            }
            if self.file.is_none() {
                self.begin_segment()?;
            }
            follows_signature =
                read_link(line.strip_suffix(b"\n").unwrap_or(line)).is_ok_and(|link| link.signature.is_some());
            self.next += 1;
            at += line.len();
        }
        self.write(&lines[begin..])
    }

    /// Keeps a checkpoint, when there is nothing else yet.
    pub(crate) fn begin_after(&mut self, checkpoint: &Checkpoint) -> Result<(), JournalError> {
        self.folder.put_checkpoint(checkpoint).map_err(JournalError::at(self.folder.path()))?;
        self.next = checkpoint.range.size();
        Ok(())
    }

    /// Drops what a checkpoint of the author stands in for; whether that is the beginning of this copy. Nothing is
    /// dropped when it is not.
    pub(crate) fn drop_before(&mut self, checkpoint: &Checkpoint, author: NodeId) -> Result<bool, JournalError> {
        let first = checkpoint.range.size();
        if first <= self.first() || first >= self.next {
            return Ok(true);
        }
        let (chain, rest) = self.read_until(first, author)?;
        let (Some(last), true) = (rest, chain.range() == &checkpoint.range && chain.prev() == checkpoint.prev) else {
            return Ok(false);
        };
        let Rest { segment, offset } = last;
        let path = self.folder.path().to_owned();
        let failed = JournalError::at(&path);
        if offset > 0 && offset < segment.bytes {
            self.split(segment, offset, first).map_err(&failed)?;
        }
        self.folder.put_checkpoint(checkpoint).map_err(&failed)?;
        for segment in self.segments.extract_if(.., |segment| segment.first < first).collect::<Vec<_>>() {
            // Err: it is removed at the next start, because the checkpoint stands in for it.
            let _ = self.folder.remove_segment(segment.first);
        }
        self.file = None;
        if let Some(last) = self.segments.last() {
            self.file = Some(self.folder.open_segment(last.first).map_err(&failed)?);
        }
        Ok(true)
    }

    /// Keeps a head that the author told.
    pub(crate) fn keep_told(&self, head: &Head) -> Result<(), JournalError> {
        self.keep(TOLD, &wire::head_to_value(head))
    }

    /// Keeps what the author did, with the heads that prove it.
    pub(crate) fn keep_fault(&self, fault: &str, heads: &[Head]) -> Result<(), JournalError> {
        let heads: Vec<Value> = heads.iter().map(wire::head_to_value).collect();
        self.keep(FAULT, &serde_json::json!({ "fault": fault, "heads": heads }))
    }

    fn keep(&self, name: &str, value: &Value) -> Result<(), JournalError> {
        let path = self.folder.path().join(name);
        self.folder.put(name, format!("{value}\n").as_bytes()).map_err(JournalError::at(&path))
    }

    fn document(&self, name: &str) -> Result<Option<Value>, JournalError> {
        let path = self.folder.path().join(name);
        match fs::read(&path) {
            Ok(text) => Ok(strict::parse(text.trim_ascii_end()).ok()),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(JournalError::at(&path)(cause)),
        }
    }

    /// Reads all segments; the last signed head.
    fn read(&mut self, chain: &mut Chain) -> Result<Option<Head>, JournalError> {
        let found = self.folder.segments()?;
        let mut head = None;
        for (number, first) in found.iter().copied().enumerate() {
            let path = self.folder.segment(first);
            let failed = JournalError::at(&path);
            if first < chain.next() {
                // A crash left it: a checkpoint, or the segment before, has all of it.
                self.folder.remove_segment(first).map_err(failed)?;
                continue;
            }
            let damaged = |index| JournalError::Damaged { folder: self.folder.path().to_owned(), index };
            if first > chain.next() {
                return Err(damaged(chain.next()));
            }
            let bytes = fs::metadata(&path).map_err(&failed)?.len();
            let (end, signed) = read_segment(&path, bytes, chain, |_| false).map_err(&failed)?;
            if end < bytes {
                // A later segment begins where this one should end, unless it is what a crash left.
                if found[number + 1..].iter().any(|later| *later > chain.next()) {
                    return Err(damaged(chain.next()));
                }
                let (index, cut) = (chain.next(), bytes - end);
                tracing::warn!(index, bytes = cut, path = %path.display(), "the end of the copy of a journal is read anew");
                let file = self.folder.open_segment(first).map_err(&failed)?;
                file.set_len(end).and_then(|()| file.sync_all()).map_err(&failed)?;
            }
            head = signed.or(head);
            self.segments.push(Segment { first, bytes: end });
        }
        if let Some(last) = self.segments.last() {
            self.file = Some(self.folder.open_segment(last.first).map_err(JournalError::at(self.folder.path()))?);
        }
        self.next = chain.next();
        Ok(head)
    }

    /// Reads up to an entry; where that begins.
    fn read_until(&self, until: u64, author: NodeId) -> Result<(Chain, Option<Rest>), JournalError> {
        let checkpoint = self.folder.checkpoint()?.and_then(|text| wire::read_checkpoint(&text).ok());
        let mut chain = checkpoint.map_or_else(|| Chain::new(author), |checkpoint| Chain::after(&checkpoint));
        for segment in &self.segments {
            let path = self.folder.segment(segment.first);
            let read = read_segment(&path, segment.bytes, &mut chain, |next| next == until);
            let (offset, _) = read.map_err(JournalError::at(&path))?;
            if chain.next() == until {
                return Ok((chain, Some(Rest { segment: *segment, offset })));
            }
        }
        Ok((chain, None))
    }

    /// Writes the rest of a segment, from an entry on, as a segment of its own.
    fn split(&mut self, segment: Segment, offset: u64, first: u64) -> io::Result<()> {
        let length = usize::try_from(segment.bytes - offset).map_err(io::Error::other)?;
        let mut rest = vec![0; length];
        File::open(self.folder.segment(segment.first))?.read_exact_at(&mut rest, offset)?;
        let file = self.folder.open_segment(first)?;
        file.set_len(0)?;
        file.write_all_at(&rest, 0)?;
        file.sync_all()?;
        self.folder.sync()?;
        let at = self.segments.partition_point(|one| one.first < first);
        self.segments.insert(at, Segment { first, bytes: rest.len() as u64 });
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), JournalError> {
        let path = self.folder.segment(self.next);
        let failed = JournalError::at(&path);
        let file = self.folder.open_segment(self.next).map_err(&failed)?;
        file.set_len(0).and_then(|()| self.folder.sync()).map_err(&failed)?;
        self.segments.push(Segment { first: self.next, bytes: 0 });
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, text: &[u8]) -> Result<(), JournalError> {
        let (Some(file), Some(last)) = (&self.file, self.segments.last_mut()) else { return Ok(()) };
        let written = file.write_all_at(text, last.bytes).and_then(|()| file.sync_data());
        written.map_err(JournalError::at(&self.folder.segment(last.first)))?;
        last.bytes += text.len() as u64;
        Ok(())
    }
}

/// Where an entry begins.
struct Rest {
    segment: Segment,
    offset: u64,
}

/// Reads a segment's entries into the chain, up to the last signed one, or up to where `is_enough`; the offset there,
/// and the last head.
fn read_segment(
    path: &Path,
    bytes: u64,
    chain: &mut Chain,
    is_enough: impl Fn(u64) -> bool,
) -> io::Result<(u64, Option<Head>)> {
    let mut lines = Lines::open(path, 0, bytes)?;
    let (mut ahead, mut end, mut head) = (chain.clone(), 0, None);
    while let Piece::Line(line) = lines.read()? {
        let Ok(link) = read_checked(line) else { break };
        let Ok(signed) = ahead.step(&link) else { break };
        if signed.is_some() || is_enough(ahead.next()) {
            chain.clone_from(&ahead);
            (end, head) = (lines.offset(), signed.or(head));
        }
        if is_enough(ahead.next()) {
            break;
        }
    }
    Ok((end, head))
}
