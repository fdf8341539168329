//! Entries of a journal that is only files: of a stopped node, a copy, or an export. What each says is read and its hash
//! made anew; whether they follow each other is what `verify` says.

use super::error::JournalError;
use super::folder::Folder;
use super::lines::{Lines, Piece};
use super::read::Filter;
use comity_core::journal::{Entry, read_entry};
use comity_core::wire::journal as wire;
use std::collections::VecDeque;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Entries of files, read as they are asked for. It blocks while it reads the disk.
#[derive(Debug)]
pub struct FileEntries {
    /// The files that are not read yet.
    files: VecDeque<PathBuf>,
    lines: Option<(PathBuf, Lines)>,
    range: Range<u64>,
    filter: Filter,
    /// The entry that comes next.
    next: u64,
}

/// The entries of a range that a filter takes, oldest first, in a folder or an exported file. An end that is still being
/// written is left out.
///
/// # Errors
/// [`JournalError::Io`] when it cannot be read.
pub fn entries_of(path: &Path, range: Range<u64>, filter: Filter) -> Result<FileEntries, JournalError> {
    let about = fs::metadata(path).map_err(JournalError::at(path))?;
    let files = if about.is_dir() {
        let folder = Folder::new(path);
        let segments = folder.segments()?;
        // What a segment has ends where the next one begins.
        let ends = segments.iter().skip(1).copied().chain([u64::MAX]);
        let wanted = segments.iter().zip(ends).filter(|(first, end)| **first < range.end && *end > range.start);
        wanted.map(|(first, _)| folder.segment(*first)).collect()
    } else {
        VecDeque::from([path.to_owned()])
    };
    Ok(FileEntries { files, lines: None, next: range.start, range, filter })
}

impl FileEntries {
    /// The next entry, wanted or not.
    fn read(&mut self) -> Result<Option<Entry>, JournalError> {
        loop {
            let (path, lines) = match &mut self.lines {
                Some(open) => open,
                None => {
                    let Some(path) = self.files.pop_front() else { return Ok(None) };
                    let lines = Lines::open(&path, 0, u64::MAX).map_err(JournalError::at(&path))?;
                    self.lines.insert((path, lines))
                }
            };
            let is_first = lines.offset() == 0;
            match lines.read().map_err(JournalError::at(path))? {
                Piece::Line(line) if is_first && wire::is_checkpoint(line) => {}
                Piece::Line(line) => {
                    let damaged = |_| JournalError::Damaged { folder: path.clone(), index: self.next };
                    return read_entry(line).map(Some).map_err(damaged);
                }
                Piece::Torn | Piece::End => self.lines = None,
            }
        }
    }
}

impl Iterator for FileEntries {
    type Item = Result<Entry, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.read() {
                Ok(None) => return None,
                Ok(Some(entry)) => {
                    self.next = entry.index.saturating_add(1);
                    if self.range.contains(&entry.index) && self.filter.takes(&entry) {
                        return Some(Ok(entry));
                    }
                }
                Err(error) => {
                    (self.files, self.lines) = (VecDeque::new(), None);
                    return Some(Err(error));
                }
            }
        }
    }
}
