//! Reading a journal that is open: entries one after the other, lines for followers, proofs, and all of it as
//! JSON Lines. It sees what was safe when it began, and takes memory for one entry.

use super::error::JournalError;
use super::folder::Folder;
use super::index::{Place, Segment};
use super::lines::{Lines, Piece};
use super::tile::Summary;
use super::{Journal, Shared};
use comity_core::id::NodeId;
use comity_core::journal::{Consistency, Entry, EntryKind, EntryProof, Head, TILE, TreeHash, read_entry, read_link};
use comity_core::time::Timestamp;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::Arc;

/// Bytes copied at once for an export.
const COPY: usize = 256 * 1024;

/// Which entries are wanted. What is not said is any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of one of these types; empty: of any.
    pub kinds: Vec<EntryKind>,
    /// Written by this node. All entries of a journal have one author.
    pub author: Option<NodeId>,
    /// About a message of this peer (`data.from_peer`).
    pub from_peer: Option<String>,
    /// Not earlier than this.
    pub since: Option<Timestamp>,
    /// Earlier than this.
    pub until: Option<Timestamp>,
}

impl Filter {
    pub(super) fn takes(&self, entry: &Entry) -> bool {
        let from_peer = || entry.data.get("from_peer").and_then(Value::as_str);
        (self.kinds.is_empty() || self.kinds.contains(&entry.kind))
            && self.author.is_none_or(|author| author == entry.author)
            && self.from_peer.as_deref().is_none_or(|peer| from_peer() == Some(peer))
            && self.since.is_none_or(|since| entry.timestamp >= since)
            && self.until.is_none_or(|until| entry.timestamp < until)
    }

    /// Whether any of these entries may be wanted.
    fn may_take(&self, summary: &Summary) -> bool {
        let kinds = self.kinds.iter().fold(0, |bits, kind| bits | kind.bit());
        (self.kinds.is_empty() || summary.kinds & kinds != 0)
            && self.since.is_none_or(|since| summary.latest >= since)
            && self.until.is_none_or(|until| summary.earliest < until)
    }
}

/// Entries, read as they are asked for. It blocks while it reads the disk.
#[derive(Debug)]
pub struct Entries {
    reading: Reading,
    filter: Filter,
    has_failed: bool,
}

/// Lines of a range, across tiles and segments.
#[derive(Debug)]
struct Reading {
    shared: Arc<Shared>,
    folder: Folder,
    next: u64,
    end: u64,
    lines: Option<Lines>,
}

/// Lines of a journal for a follower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piecewise {
    /// The lines, with their ends.
    pub lines: Vec<u8>,
    /// The entry that follows them.
    pub next: u64,
}

impl Journal {
    /// The last signed head; `None` while there is no entry.
    pub fn head(&self) -> Option<Head> {
        self.shared().index().head
    }

    /// The entries that are there.
    pub fn range(&self) -> Range<u64> {
        let index = self.shared().index();
        index.tiles.first()..index.tiles.size()
    }

    /// The entries of a range that a filter takes, in order. What was dropped is passed over, what is not there yet
    /// too. Asking for the next blocks while the disk is read.
    pub fn entries(&self, range: Range<u64>, filter: Filter) -> Entries {
        let there = self.range();
        let (next, end) = (range.start.max(there.start), range.end.min(there.end));
        Entries { reading: self.reading(next, end), filter, has_failed: false }
    }

    /// One entry. Blocks while the disk is read.
    ///
    /// # Errors
    /// [`JournalError`] when it is not there, or not as it was written.
    pub fn entry(&self, index: u64) -> Result<Entry, JournalError> {
        self.there(index)?;
        let mut reading = self.reading(index, index + 1);
        let damaged = reading.damaged();
        let line = reading.line()?.ok_or_else(|| reading_ended(index))?;
        read_entry(line).map_err(|_| damaged)
    }

    /// Lines from an entry on, whole ones, at least one and else at most so many bytes. Blocks while the disk is read.
    ///
    /// # Errors
    /// [`JournalError`] when that entry is not there, or the disk cannot be read.
    pub fn lines(&self, from: u64, bytes_max: usize) -> Result<Piecewise, JournalError> {
        self.there(from)?;
        let mut reading = self.reading(from, self.range().end);
        let (mut lines, mut next) = (Vec::new(), from);
        while let Some(line) = reading.line()? {
            if next > from && lines.len() + line.len() + 1 > bytes_max {
                break;
            }
            lines.extend_from_slice(line);
            lines.push(b'\n');
            next += 1;
        }
        Ok(Piecewise { lines, next })
    }

    /// What stands in for the entries that were dropped, as a line without its end. Blocks while the disk is read.
    ///
    /// # Errors
    /// [`JournalError::Io`] when the disk cannot be read.
    pub fn checkpoint(&self) -> Result<Option<Vec<u8>>, JournalError> {
        self.folder().checkpoint()
    }

    /// Proves one entry against the last signed head. Blocks while the disk is read.
    ///
    /// # Errors
    /// [`JournalError`] when it is not there.
    pub fn prove(&self, index: u64) -> Result<EntryProof, JournalError> {
        let (tiles, head) = {
            let index = self.shared().index();
            (index.tiles.clone(), index.head)
        };
        let head = head.ok_or(JournalError::Beyond { size: 0 })?;
        if index < tiles.first() {
            return Err(JournalError::Dropped { first: tiles.first() });
        }
        let inclusion = tiles.inclusion(index, head.size, |tile| self.leaves(tile))?;
        let mut reading = self.reading(index, index + 1);
        let line = reading.line()?.ok_or_else(|| reading_ended(index))?.to_vec();
        Ok(EntryProof { line, inclusion, head })
    }

    /// Proves that the tree of the first `to` entries goes on from that of the first `from`. Blocks while the disk is
    /// read.
    ///
    /// # Errors
    /// [`JournalError`] when there are not so many, or those in question were dropped.
    pub fn prove_growth(&self, from: u64, to: u64) -> Result<Consistency, JournalError> {
        let tiles = self.shared().index().tiles.clone();
        Ok(tiles.consistency(from, to, |tile| self.leaves(tile))?)
    }

    /// Writes all of it as JSON Lines: the checkpoint, if entries were dropped, and every entry. Blocks.
    ///
    /// # Errors
    /// [`JournalError`] when the disk cannot be read, or `out` not written.
    pub fn export(&self, out: &mut impl Write) -> Result<(), JournalError> {
        let segments: Vec<Segment> = self.shared().index().segments.iter().copied().collect();
        let files: Result<Vec<(File, u64)>, JournalError> = segments
            .iter()
            .map(|segment| {
                let path = self.folder().segment(segment.first);
                let gone = JournalError::Dropped { first: self.range().start };
                match File::open(&path) {
                    Ok(file) => Ok((file, segment.bytes)),
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(gone),
                    Err(cause) => Err(JournalError::at(&path)(cause)),
                }
            })
            .collect();
        let checkpoint = self.folder().checkpoint()?;
        let failed = JournalError::at(self.folder().path());
        let written = checkpoint.map_or(Ok(()), |text| out.write_all(&text).and_then(|()| out.write_all(b"\n")));
        written.map_err(&failed)?;
        let mut piece = vec![0; COPY];
        for (file, bytes) in files? {
            copy(&mut file.take(bytes), out, &mut piece).map_err(&failed)?;
        }
        Ok(())
    }

    fn there(&self, index: u64) -> Result<(), JournalError> {
        let there = self.range();
        if index < there.start {
            Err(JournalError::Dropped { first: there.start })
        } else if index >= there.end {
            Err(JournalError::Beyond { size: there.end })
        } else {
            Ok(())
        }
    }

    fn reading(&self, next: u64, end: u64) -> Reading {
        Reading { shared: self.shared().clone(), folder: self.folder().clone(), next, end, lines: None }
    }

    /// The leaves of a whole tile, made anew from its entries.
    fn leaves(&self, tile: u64) -> Result<Vec<TreeHash>, JournalError> {
        let mut reading = self.reading(tile * TILE, (tile + 1) * TILE);
        let mut leaves = Vec::with_capacity(usize::try_from(TILE).unwrap_or_default());
        loop {
            let damaged = reading.damaged();
            let Some(line) = reading.line()? else { return Ok(leaves) };
            leaves.push(read_link(line).map_err(|_| damaged)?.hash);
        }
    }
}

fn reading_ended(index: u64) -> JournalError {
    JournalError::Beyond { size: index }
}

/// Copies by large pieces: `io::copy` takes 8 KiB at a time where it does not know the other side.
fn copy(from: &mut impl Read, out: &mut impl Write, piece: &mut [u8]) -> io::Result<()> {
    loop {
        match from.read(piece)? {
            0 => return Ok(()),
            read => out.write_all(&piece[..read])?,
        }
    }
}

impl Reading {
    /// The next line; `None` at the end of the range.
    fn line(&mut self) -> Result<Option<&[u8]>, JournalError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let mut lines = match self.lines.take() {
            Some(lines) => lines,
            None => self.seek()?,
        };
        let failed = JournalError::at(self.folder.path());
        if lines.is_at_end().map_err(&failed)? {
            lines = self.seek()?;
        }
        let damaged = self.damaged();
        let lines = self.lines.insert(lines);
        match lines.read().map_err(failed)? {
            Piece::Line(line) => {
                self.next += 1;
                Ok(Some(line))
            }
            Piece::Torn | Piece::End => Err(damaged),
        }
    }

    /// Opens the segment of the next entry, where that begins.
    fn seek(&self) -> Result<Lines, JournalError> {
        let (place, first, size) = {
            let index = self.shared.index();
            (index.place(self.next), index.tiles.first(), index.tiles.size())
        };
        let Some(place) = place else {
            let gone = self.next < first;
            return Err(if gone { JournalError::Dropped { first } } else { JournalError::Beyond { size } });
        };
        let Place { segment, offset, bytes, index } = place;
        let path = self.folder.segment(segment);
        let failed = JournalError::at(&path);
        let mut lines = Lines::open(&path, offset, bytes).map_err(&failed)?;
        for _ in index..self.next {
            if !matches!(lines.read().map_err(&failed)?, Piece::Line(_)) {
                return Err(self.damaged());
            }
        }
        Ok(lines)
    }

    fn damaged(&self) -> JournalError {
        JournalError::Damaged { folder: self.folder.path().to_owned(), index: self.next }
    }
}

impl Entries {
    /// Passes over tiles in which nothing is wanted.
    fn skip(&mut self) {
        let reading = &mut self.reading;
        while reading.next < reading.end && (reading.lines.is_none() || reading.next.is_multiple_of(TILE)) {
            let index = reading.shared.index();
            if index.summary(reading.next).is_none_or(|summary| self.filter.may_take(summary)) {
                return;
            }
            drop(index);
            reading.next = (reading.next / TILE + 1) * TILE;
            reading.lines = None;
        }
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_failed {
            self.skip();
            let damaged = self.reading.damaged();
            let entry = match self.reading.line() {
                Ok(None) => return None,
                Ok(Some(line)) => read_entry(line).map_err(|_| damaged),
                Err(error) => Err(error),
            };
            match entry {
                Ok(entry) if !self.filter.takes(&entry) => {}
                entry => {
                    self.has_failed = entry.is_err();
                    return Some(entry);
                }
            }
        }
        None
    }
}
