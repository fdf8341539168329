//! What a journal is when it is opened: what was acknowledged is there, what a crash left half written is cut
//! off and said. Entries under finished tiles are not read again; the signature of the last head says whether the
//! tiles are right.

use super::error::JournalError;
use super::folder::Folder;
use super::index::{Index, Segment};
use super::lines::{Lines, Piece};
use super::tile::{Leaf, RECORD, Tile};
use super::writer::GROUP_BYTES_MAX;
use comity_core::id::NodeId;
use comity_core::journal::{Chain, Checkpoint, CompactRange, Head, TILE, TreeHash, read_link};
use comity_core::wire::journal as wire;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

/// The most that one group may leave behind, bytes. More is no torn write.
const TORN_MAX: u64 = 2 * GROUP_BYTES_MAX as u64;

/// What disks write whole or not at all, bytes.
const SECTOR: u64 = 512;

/// Bytes at the end of a signed line that begin before its signature, and in an unsigned line after its data.
const SIGNED_END: usize = 180;

/// What was cut off when a journal was opened: a group that was being written when the node ended. Nobody was told
/// that it is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The first entry that was cut off.
    pub index: u64,
    /// How many whole entries.
    pub entries: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// A journal, ready to be written on.
#[derive(Debug)]
pub(super) struct Restored {
    pub index: Index,
    pub chain: Chain,
    pub recovered: Option<Recovered>,
}

/// Whether the hashes beside the segments are believed, until the signature says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Believed,
    MadeAnew,
}

/// Reads a journal of this author.
pub(super) fn restore(folder: &Folder, author: NodeId) -> Result<Restored, JournalError> {
    let mut restoring = Restoring::begin(folder, author)?;
    let chain = match restoring.run(Kept::Believed) {
        Err(JournalError::Damaged { .. }) => {
            let recovered = restoring.recovered;
            restoring = Restoring { recovered, ..Restoring::begin(folder, author)? };
            restoring.run(Kept::MadeAnew)?
        }
        chain => chain?,
    };
    Ok(Restored { index: restoring.index, chain, recovered: restoring.recovered })
}

struct Restoring<'a> {
    folder: &'a Folder,
    author: NodeId,
    checkpoint: Option<Checkpoint>,
    segments: Vec<u64>,
    index: Index,
    recovered: Option<Recovered>,
}

/// How far a segment could be read.
struct Scan {
    chain: Chain,
    /// Where the last signed line ends.
    end: u64,
    /// The head that it signs.
    head: Option<Head>,
    /// The first entry that is not there, or not right, and where its line begins.
    bad: u64,
    bad_at: u64,
}

impl<'a> Restoring<'a> {
    fn begin(folder: &'a Folder, author: NodeId) -> Result<Self, JournalError> {
        let checkpoint = match folder.checkpoint()? {
            None => None,
            Some(text) => {
                let damaged = JournalError::Damaged { folder: folder.path().to_owned(), index: 0 };
                Some(wire::read_checkpoint(&text).ok().filter(|checkpoint| checkpoint.check().is_ok()).ok_or(damaged)?)
            }
        };
        let range = checkpoint.as_ref().map_or_else(CompactRange::default, |checkpoint| checkpoint.range.clone());
        let damaged = JournalError::Damaged { folder: folder.path().to_owned(), index: range.size() };
        let mut index = Index::after(&range).ok_or(damaged)?;
        if let Some(checkpoint) = &checkpoint {
            index.journal = Some(checkpoint.journal);
        }
        Ok(Self { folder, author, checkpoint, segments: folder.segments()?, index, recovered: None })
    }

    fn run(&mut self, kept: Kept) -> Result<Chain, JournalError> {
        if let Some(checkpoint) = self.checkpoint.as_ref().filter(|checkpoint| checkpoint.author != self.author) {
            return Err(self.other_key(checkpoint.author));
        }
        self.remove_dropped()?;
        self.remove_unfinished()?;
        let start = self.index.tiles.first();
        let Some(last) = self.segments.pop() else {
            // There is no crash after which the entries that follow a checkpoint are gone.
            let is_new = self.checkpoint.is_none();
            return if is_new { Ok(Chain::new(self.author)) } else { Err(self.damaged(start)) };
        };
        if self.segments.first().unwrap_or(&last) != &start {
            return Err(self.damaged(start));
        }
        self.read_journal_id()?;
        for (at, first) in self.segments.clone().into_iter().enumerate() {
            let next = self.segments.get(at + 1).copied().unwrap_or(last);
            self.take_segment(first, next, kept)?;
        }
        self.take_last(last, kept)
    }

    /// Removes what a checkpoint stands in for, and a crash left.
    fn remove_dropped(&mut self) -> Result<(), JournalError> {
        let first = self.index.tiles.first();
        let dropped = self.segments.partition_point(|segment| *segment < first);
        for segment in self.segments.drain(..dropped) {
            self.folder.remove_segment(segment).map_err(JournalError::at(self.folder.path()))?;
        }
        Ok(())
    }

    /// Removes a segment in which nothing was finished: its first group was being written.
    fn remove_unfinished(&mut self) -> Result<(), JournalError> {
        let Some(last) = self.segments.last().copied() else { return Ok(()) };
        let path = self.folder.segment(last);
        let failed = JournalError::at(&path);
        let bytes = fs::metadata(&path).map_err(&failed)?.len();
        let mut lines = Lines::open(&path, 0, bytes).map_err(&failed)?;
        let mut index = last;
        let mut bad_at = 0;
        while let Piece::Line(line) = lines.read().map_err(&failed)? {
            match read_link(line) {
                Ok(link) if link.signature.is_some() => return Ok(()),
                Ok(link) if link.index == index => index += 1,
                _ => break,
            }
            bad_at = lines.offset();
        }
        self.cut(last, 0..bytes, index, bad_at)?;
        self.folder.remove_segment(last).and_then(|()| self.folder.sync()).map_err(failed)?;
        self.segments.pop();
        Ok(())
    }

    fn read_journal_id(&mut self) -> Result<(), JournalError> {
        if self.index.journal.is_none() {
            let path = self.folder.segment(0);
            let failed = JournalError::at(&path);
            let mut lines = Lines::open(&path, 0, u64::MAX).map_err(&failed)?;
            let Piece::Line(line) = lines.read().map_err(&failed)? else { return Err(self.damaged(0)) };
            self.index.journal = Some(read_link(line).map_err(|_| self.damaged(0))?.hash);
        }
        Ok(())
    }

    /// Takes a segment that another follows: all of it is there.
    fn take_segment(&mut self, first: u64, next: u64, kept: Kept) -> Result<(), JournalError> {
        let path = self.folder.segment(first);
        let bytes = fs::metadata(&path).map_err(JournalError::at(&path))?.len();
        self.index.segments.push_back(Segment { first, bytes });
        let tiles = if kept == Kept::Believed { self.kept_tiles(first) } else { Vec::new() };
        if tiles.len() as u64 * TILE == next - first {
            tiles.iter().for_each(|tile| self.index.push_tile(tile));
            return Ok(());
        }
        let mut records = Vec::new();
        let scan = self.scan(first, 0, bytes, &mut records)?;
        if scan.end != bytes || scan.chain.next() != next {
            return Err(self.damaged(scan.bad.min(next)));
        }
        self.keep_tiles(first, &records);
        Ok(())
    }

    /// Takes the last segment, from its last finished tile on.
    fn take_last(&mut self, first: u64, kept: Kept) -> Result<Chain, JournalError> {
        let path = self.folder.segment(first);
        let bytes = fs::metadata(&path).map_err(JournalError::at(&path))?.len();
        self.index.segments.push_back(Segment { first, bytes });
        let mut tiles = if kept == Kept::Believed { self.kept_tiles(first) } else { Vec::new() };
        let resumed = tiles.pop();
        tiles.iter().for_each(|tile| self.index.push_tile(tile));
        let mut records: Vec<u8> =
            (first / TILE..).zip(&tiles).flat_map(|(number, tile)| tile.encode(number)).collect();
        let offset = resumed.map_or(0, |tile| tile.summary.offset);
        let scan = self.scan(first, offset, bytes, &mut records)?;
        let head = scan.head.ok_or_else(|| self.damaged(scan.bad))?;
        if head.check().is_err() {
            return Err(self.damaged(head.size - 1));
        }
        if scan.end < bytes {
            self.cut(first, scan.end..bytes, scan.bad, scan.bad_at)?;
        }
        // A node that was killed before its last group was safe has it in the system's memory: others are told of it now.
        let synced = File::open(&path).and_then(|file| file.sync_all()).and_then(|()| self.folder.sync());
        synced.map_err(JournalError::at(&path))?;
        if let Some(segment) = self.index.segments.back_mut() {
            segment.bytes = scan.end;
        }
        self.index.head = Some(head);
        self.keep_tiles(first, &records);
        Ok(scan.chain)
    }

    /// Reads a segment from the beginning of a tile up to its last signed line, into the index.
    fn scan(&mut self, first: u64, offset: u64, bytes: u64, records: &mut Vec<u8>) -> Result<Scan, JournalError> {
        let path = self.folder.segment(first);
        let failed = JournalError::at(&path);
        let mut lines = Lines::open(&path, offset, bytes).map_err(&failed)?;
        let range = self.index.tiles.whole_range().ok_or_else(|| self.damaged(first))?;
        let mut next = range.size();
        let mut ahead: Option<Chain> = None;
        let mut pending = Vec::new();
        let mut scan = Scan { chain: Chain::new(self.author), end: offset, head: None, bad: next, bad_at: offset };
        let mut at = offset;
        loop {
            let offset = at;
            let Piece::Line(line) = lines.read().map_err(&failed)? else { break };
            let Ok(link) = read_link(line) else { break };
            if link.author != self.author && next == range.size() {
                return Err(self.other_key(link.author));
            }
            // What the first entry follows is in a tile that is not read; the tree says whether it is right.
            let journal = self.index.journal.filter(|_| next > 0);
            let prev = if next == 0 { TreeHash::ZERO } else { link.prev };
            let chain = ahead.get_or_insert_with(|| Chain::resumed(self.author, journal, prev, range.clone()));
            let Ok(head) = chain.step(&link) else { break };
            next = chain.next();
            at = lines.offset();
            pending.push(Leaf::of(&link, offset));
            if let Some(head) = head {
                for leaf in pending.drain(..) {
                    let number = self.index.tiles.finished();
                    let tile = self.index.push(first, &leaf);
                    records.extend(tile.iter().flat_map(|tile| tile.encode(number)));
                }
                scan = Scan { chain: chain.clone(), end: at, head: Some(head), bad: next, bad_at: at };
            }
        }
        Ok(Scan { bad: next, bad_at: at, ..scan })
    }

    /// Cuts off what follows the last group, if that is what a crash leaves: `bad` is the first entry that is not
    /// right, and `bad_at` where it begins.
    fn cut(&mut self, segment: u64, tail: Range<u64>, bad: u64, bad_at: u64) -> Result<(), JournalError> {
        let Range { start: end, end: bytes } = tail;
        let path = self.folder.segment(segment);
        let failed = JournalError::at(&path);
        let mut file = self.folder.open_segment(segment).map_err(&failed)?;
        let mut tail = Vec::new();
        if bytes - end > TORN_MAX {
            return Err(self.damaged(bad));
        }
        file.seek(SeekFrom::Start(end)).and_then(|_| file.read_to_end(&mut tail)).map_err(&failed)?;
        if !is_torn(&tail, end, bad_at) {
            return Err(self.damaged(bad));
        }
        file.set_len(end).and_then(|()| file.sync_all()).map_err(&failed)?;
        let index = if end == 0 { segment } else { self.index.tiles.size() };
        if !tail.is_empty() {
            self.recovered = Some(Recovered { index, entries: bad - index, bytes: bytes - end });
        }
        Ok(())
    }

    /// The tiles kept beside a segment, up to the first that does not hold.
    fn kept_tiles(&self, first: u64) -> Vec<Tile> {
        let records = fs::read(self.folder.tiles(first)).unwrap_or_default();
        let (records, _) = records.as_chunks::<RECORD>();
        (first / TILE..).zip(records).map_while(|(number, record)| Tile::decode(first, number, record)).collect()
    }

    /// Keeps tiles that were made anew. What cannot be kept is made again the next time.
    fn keep_tiles(&self, first: u64, records: &[u8]) {
        let path = self.folder.tiles(first);
        if fs::read(&path).is_ok_and(|kept| kept == records) {
            return;
        }
        if let Err(error) = self.folder.open_tiles(first).and_then(|file| {
            file.set_len(0)?;
            std::os::unix::fs::FileExt::write_all_at(&file, records, 0)
        }) {
            tracing::warn!(path = %path.display(), %error, "hashes of the journal are not kept, and are made again");
        }
    }

    fn damaged(&self, index: u64) -> JournalError {
        JournalError::Damaged { folder: self.folder.path().to_owned(), index }
    }

    fn other_key(&self, found: NodeId) -> JournalError {
        JournalError::OtherKey { folder: self.folder.path().to_owned(), found, key: self.author }
    }
}

/// Whether a tail that begins at `at` is what a crash leaves of one group: less than all of it, so that its last line
/// has no end, or sectors that were not written and read as zeros. Any other was acknowledged, and changed.
fn is_torn(tail: &[u8], at: u64, bad_at: u64) -> bool {
    if has_lost_sectors(tail, at) {
        let mut signed = tail.split_inclusive(|byte| *byte == b'\n').filter(|line| is_signed(line));
        return signed.next().is_none_or(|first| signed.next().is_none() && tail.ends_with(first));
    }
    let bad = usize::try_from(bad_at - at).ok().and_then(|from| tail.get(from..)).unwrap_or_default();
    let has_another_end = bad.split_last().is_some_and(|(_, line)| read_link(line).is_ok());
    !bad.contains(&b'\n') && !has_another_end
}

/// Whether a line, whole but for its last byte, has a signature.
fn is_signed(line: &[u8]) -> bool {
    let Some((_, line)) = line.split_last() else { return false };
    let end = &line[line.len().saturating_sub(SIGNED_END)..];
    line.ends_with(b"\"}") && end.windows(14).any(|window| window == b",\"signature\":\"".as_slice())
}

/// Whether some zeros begin where a sector or the tail does, and end where a sector does.
fn has_lost_sectors(tail: &[u8], at: u64) -> bool {
    let Some(begin) = tail.iter().position(|byte| *byte == 0) else { return false };
    let length = tail[begin..].iter().take_while(|byte| **byte == 0).count();
    let (begin, end) = (begin as u64, (begin + length) as u64);
    (begin == 0 || (at + begin).is_multiple_of(SECTOR))
        && ((at + end).is_multiple_of(SECTOR) || end == tail.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use comity_core::journal::{Draft, EntryKind, Placed};
    use comity_core::time::Timestamp;

    fn line(signed: bool) -> Vec<u8> {
        let data = serde_json::json!({"signature": "x", "text": "y".repeat(300)});
        let data = data.as_object().expect("an object").clone();
        let draft = Draft::new(EntryKind::CapabilityBroadcast, Timestamp::default(), data).expect("small");
        let author = NodeId::from_bytes([3; 32]).to_string();
        let mut line = Vec::new();
        Placed::new(&author, &draft, 0, &TreeHash::ZERO).write(signed.then_some(&[9; 64]), &mut line);
        line
    }

    #[test]
    fn what_a_crash_leaves_is_told_from_what_somebody_changed() {
        let group = [line(false), line(true)].concat();
        let second = line(false).len();
        for length in 0..group.len() {
            let bad = if length < second { 0 } else { second };
            assert!(is_torn(&group[..length], 77, 77 + bad as u64), "{length}");
        }
        assert!(!is_torn(&group, 77, 77 + second as u64), "the last line is there: it was changed");
        assert!(!is_torn(&group, 77, 77), "an earlier one was changed");
        let mut byte = group.clone();
        *byte.last_mut().expect("a byte") = b'\x0b';
        assert!(!is_torn(&byte, 77, 77 + second as u64), "even in its end");
        let mut zero = group;
        zero[100] = 0;
        assert!(!is_torn(&zero, 77, 77), "one byte is no sector");
        let mut lost = [line(false), line(false), line(false), line(false), line(true)].concat();
        lost[512 - 77..1024 - 77].fill(0);
        assert!(is_torn(&lost, 77, 77 + second as u64), "a sector was not written");
        let more = [lost, line(true)].concat();
        assert!(!is_torn(&more, 77, 77 + second as u64), "another group follows: this one was acknowledged");
    }
}
