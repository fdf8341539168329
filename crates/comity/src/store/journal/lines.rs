//! Lines of a file, one after the other, in one buffer. A line that is longer than any entry is not held.

use comity_core::journal::LINE_MAX;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take};
use std::path::Path;

/// Bytes read at once: some hundred entries, so that one seldom waits, and one entry is not paid for with many.
const READ: usize = 64 * 1024;

/// Reads lines of one file.
#[derive(Debug)]
pub(super) struct Lines {
    file: BufReader<Take<File>>,
    /// Where the next line begins.
    offset: u64,
    line: Vec<u8>,
}

/// What stands next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A line, without its end.
    Line(&'a [u8]),
    /// What has no end, or is longer than any line.
    Torn,
    /// Nothing.
    End,
}

impl Lines {
    /// Reads from this offset on, and nothing after `end`.
    pub(super) fn open(path: &Path, offset: u64, end: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let file = BufReader::with_capacity(READ, file.take(end.saturating_sub(offset)));
        Ok(Self { file, offset, line: Vec::new() })
    }

    /// Where the next line begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether nothing follows.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        self.file.fill_buf().map(<[u8]>::is_empty)
    }

    /// The next line.
    pub(super) fn read(&mut self) -> io::Result<Piece<'_>> {
        self.line.clear();
        let most = LINE_MAX as u64 + 1;
        let read = (&mut self.file).take(most).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(Piece::End);
        }
        if self.line.pop_if(|last| *last == b'\n').is_none() {
            return Ok(Piece::Torn);
        }
        self.offset += read as u64;
        Ok(Piece::Line(&self.line))
    }
}
