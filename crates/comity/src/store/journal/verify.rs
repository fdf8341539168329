//! Verification of a folder or an exported file, with nothing but the files and, if it is had, the author's key:
//! lines are hashed and signatures checked on all cores, and put to the rules in order.

use super::error::JournalError;
use super::folder::{CHECKPOINT_MAX, Folder};
use super::index::Segment;
use super::tile::{Gathering, Leaf, RECORD};
use comity_core::id::NodeId;
use comity_core::journal::{BadLine, Flaw, Head, LINE_MAX, Link, Report, TILE, Verifier, Wrong, read_checked};
use comity_core::wire::journal as wire;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;

/// Bytes read at once, between which the cores wait for each other: some hundredths of a second.
const BLOCK: usize = 8 * 1024 * 1024;

/// Most threads: from there on the disk or the order of entries is what one waits for.
const THREADS_MAX: usize = 16;

/// What of a journal is verified.
struct Source {
    path: PathBuf,
    /// Its first entry, and its hashes, when it is a segment.
    segment: Option<u64>,
    /// How much of it.
    bytes: u64,
}

/// Verifies a journal: its folder, a copy of that, or an exported file. With `author`, everything must be signed by
/// that key; without, the report says who signed. `told` is a head that the author is known to have signed, by which a
/// tail is missed that was cut off cleanly. Blocks, and uses all cores. A journal that is being written is to be
/// verified by [`super::Journal::verify`].
///
/// # Errors
/// [`JournalError::Io`] when it cannot be read. What is wrong with it is in the report.
pub fn verify(path: &Path, author: Option<NodeId>, told: Option<Head>) -> Result<Report, JournalError> {
    let about = fs::metadata(path).map_err(JournalError::at(path))?;
    if !about.is_dir() {
        let file = Source { path: path.to_owned(), segment: None, bytes: about.len() };
        return Verification::new(author, told).run(None, vec![file]);
    }
    let folder = Folder::new(path);
    let mut segments = Vec::new();
    for first in folder.segments()? {
        let path = folder.segment(first);
        segments.push(Segment { first, bytes: fs::metadata(&path).map_err(JournalError::at(&path))?.len() });
    }
    verify_segments(&folder, segments, author, told)
}

/// Verifies a journal that its node writes meanwhile, in its folder, so far as that node says that its segments are
/// safe. Blocks, and uses all cores.
///
/// # Errors
/// [`JournalError::Io`] when it cannot be read, as when a segment was dropped meanwhile.
pub fn verify_so_far(
    path: &Path,
    segments: Vec<Segment>,
    author: Option<NodeId>,
    told: Option<Head>,
) -> Result<Report, JournalError> {
    verify_segments(&Folder::new(path), segments, author, told)
}

/// Verifies these segments, so far as they are told to reach.
pub(super) fn verify_segments(
    folder: &Folder,
    segments: Vec<Segment>,
    author: Option<NodeId>,
    told: Option<Head>,
) -> Result<Report, JournalError> {
    let files = segments.into_iter().map(|Segment { first, bytes }| Source {
        path: folder.segment(first),
        segment: Some(first),
        bytes,
    });
    Verification::new(author, told).run(Some(folder), files.collect())
}

struct Verification {
    verifier: Verifier,
    /// The first entry of the first tile whose kept hashes are wrong.
    bad_tile: Option<u64>,
    threads: usize,
}

/// A line, read: what came of it, and where it begins in its block.
type Checked = (Result<Link, BadLine>, usize);

impl Verification {
    fn new(author: Option<NodeId>, told: Option<Head>) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        Self { verifier: Verifier::new(author, told), bad_tile: None, threads }
    }

    fn run(mut self, folder: Option<&Folder>, files: Vec<Source>) -> Result<Report, JournalError> {
        let mut first_to_read = 0;
        if let Some(folder) = folder
            && let Some(text) = folder.checkpoint()?
        {
            first_to_read = self.take_checkpoint(&text, &files);
        }
        // What a checkpoint stands in for may still be there after a crash.
        let files: Vec<Source> =
            files.into_iter().filter(|file| file.segment.is_none_or(|first| first >= first_to_read)).collect();
        let last = files.len().saturating_sub(1);
        for (number, file) in files.iter().enumerate() {
            let tiles = match (folder, file.segment) {
                (Some(folder), Some(first)) => Some(TileFile::open(folder, first)?),
                _ => None,
            };
            self.take_file(file, tiles, number == last).map_err(JournalError::at(&file.path))?;
        }
        let mut report = self.verifier.finish();
        if report.flaw.is_none() {
            // Hashes of entries that were changed are wrong too, and say less.
            report.flaw = self.bad_tile.map(|index| Flaw { index, wrong: Wrong::BadTile });
        }
        Ok(report)
    }

    /// Takes the checkpoint of a folder; the first entry that follows it.
    fn take_checkpoint(&mut self, text: &[u8], files: &[Source]) -> u64 {
        match wire::read_checkpoint(text).ok().filter(|checkpoint| checkpoint.check().is_ok()) {
            Some(checkpoint) => {
                self.verifier.handle_checkpoint(&checkpoint);
                checkpoint.range.size()
            }
            None => {
                self.verifier.handle_bad_checkpoint(files.first().and_then(|file| file.segment).unwrap_or(0));
                0
            }
        }
    }

    fn take_file(&mut self, file: &Source, mut tiles: Option<TileFile>, is_last: bool) -> io::Result<()> {
        let mut from = File::open(&file.path)?.take(file.bytes);
        let mut block = Vec::new();
        let mut offset = 0;
        let mut is_first = file.segment.is_none();
        loop {
            let read = (&mut from).take((BLOCK - block.len().min(BLOCK)) as u64).read_to_end(&mut block)?;
            let end = block.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            if read == 0 && end == 0 {
                break;
            }
            let mut lines = &block[..end];
            if std::mem::take(&mut is_first) && is_checkpoint(lines) {
                let length = lines.iter().position(|byte| *byte == b'\n').unwrap_or_default();
                self.take_checkpoint(&lines[..length], &[]);
                lines = &lines[length + 1..];
            }
            let skipped = end - lines.len();
            self.take_lines(lines, offset + skipped as u64, tiles.as_mut());
            block.drain(..end);
            offset += end as u64;
            if block.len() > LINE_MAX {
                self.verifier.handle_line(Err(BadLine::TooLong));
            }
            if self.verifier.is_done() && self.verifier.heads().len() == 0 {
                return Ok(());
            }
        }
        if !block.is_empty() {
            if is_last {
                self.verifier.handle_torn_line();
            } else {
                self.verifier.handle_line(Err(BadLine::Form));
            }
        }
        let bad_tile = tiles.and_then(TileFile::finish);
        self.bad_tile = self.bad_tile.or(bad_tile);
        Ok(())
    }

    /// Takes whole lines that begin at this offset of their file.
    fn take_lines(&mut self, lines: &[u8], offset: u64, mut tiles: Option<&mut TileFile>) {
        for (begin, checked) in self.check_lines(lines) {
            for (line, at) in checked {
                if let (Ok(link), Some(tiles)) = (&line, tiles.as_mut()) {
                    tiles.push(link, offset + (begin + at) as u64);
                }
                self.verifier.handle_line(line);
            }
        }
        let heads: Vec<(u64, Head)> = self.verifier.heads().collect();
        for (size, from) in self.bad_heads(&heads) {
            self.verifier.handle_bad_head(size, from);
        }
    }

    /// Reads lines on all cores; where each part begins, and what came of its lines.
    fn check_lines(&self, lines: &[u8]) -> Vec<(usize, Vec<Checked>)> {
        let mut parts = Vec::new();
        let mut begin = 0;
        for number in 1..=self.threads {
            let middle = (lines.len() * number / self.threads).max(begin);
            let end = lines[middle..].iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| middle + at + 1);
            if end > begin {
                parts.push((begin, &lines[begin..end]));
                begin = end;
            }
        }
        thread::scope(|scope| {
            let parts: Vec<_> =
                parts.into_iter().map(|(begin, part)| (begin, scope.spawn(move || check_part(part)))).collect();
            parts.into_iter().filter_map(|(begin, part)| Some((begin, part.join().ok()?))).collect()
        })
    }

    /// Checks signatures on all cores; those that are bad.
    fn bad_heads(&self, heads: &[(u64, Head)]) -> Vec<(u64, u64)> {
        let part = heads.len().div_ceil(self.threads).max(1);
        let bad = |heads: &[(u64, Head)]| {
            let bad = heads.iter().filter(|(_, head)| head.check().is_err());
            bad.map(|(from, head)| (head.size, *from)).collect::<Vec<_>>()
        };
        thread::scope(|scope| {
            let parts: Vec<_> = heads.chunks(part).map(|part| scope.spawn(move || bad(part))).collect();
            parts.into_iter().filter_map(|part| part.join().ok()).flatten().collect()
        })
    }
}

fn check_part(part: &[u8]) -> Vec<Checked> {
    let mut checked = Vec::new();
    let mut at = 0;
    for line in part.split_inclusive(|byte| *byte == b'\n') {
        checked.push((read_checked(line.strip_suffix(b"\n").unwrap_or(line)), at));
        at += line.len();
    }
    checked
}

fn is_checkpoint(lines: &[u8]) -> bool {
    let first = lines.split(|byte| *byte == b'\n').next().unwrap_or_default();
    first.len() as u64 <= CHECKPOINT_MAX && wire::is_checkpoint(first)
}

/// The hashes beside a segment, held against its entries.
struct TileFile {
    first: u64,
    records: Vec<u8>,
    gathering: Gathering,
    /// The tile that is gathered.
    number: u64,
    /// The first entry of the first that is wrong.
    bad: Option<u64>,
}

impl TileFile {
    fn open(folder: &Folder, first: u64) -> Result<Self, JournalError> {
        let path = folder.tiles(first);
        let records = match fs::read(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Vec::new(),
            records => records.map_err(JournalError::at(&path))?,
        };
        Ok(Self { first, records, gathering: Gathering::default(), number: first / TILE, bad: None })
    }

    fn push(&mut self, link: &Link, offset: u64) {
        let Some(tile) = self.gathering.push(self.first, &Leaf::of(link, offset)) else { return };
        let at = self.finished();
        let record = self.records.get(at..(at + RECORD).min(self.records.len())).unwrap_or_default();
        // A record that is not there yet is made at the next start.
        if !record.is_empty() && record != tile.encode(self.number) {
            self.bad.get_or_insert(self.number * TILE);
        }
        self.number += 1;
    }

    /// The first entry of the first tile that is wrong, or whose entries are not there.
    fn finish(self) -> Option<u64> {
        self.bad.or_else(|| (self.records.len() > self.finished()).then_some(self.number * TILE))
    }

    /// Bytes of the records of finished tiles.
    fn finished(&self) -> usize {
        usize::try_from(self.number - self.first / TILE).unwrap_or(usize::MAX).saturating_mul(RECORD)
    }
}
