//! The exact vectors, in a file: a row of a fixed length for each place, with nothing in memory. It does not know
//! which rows are in use; a row that was never written is all zeros, or beyond the end.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What a shelf begins with.
const MAGIC: [u8; 8] = *b"cmtyrows";
/// The head, bytes: a page, so that rows of a power of two do not lie across pages.
const HEAD: u64 = 4096;
/// Where in the head the mark is, bytes from its beginning.
const MARK: u64 = 16;
/// How much is read or written at once, bytes. Beyond it a call costs little beside the copying.
const BLOCK: usize = 1024 * 1024;

/// A file of exact vectors, each in the row of its place.
#[derive(Debug)]
pub struct Shelf {
    file: File,
    dimension: usize,
}

impl Shelf {
    /// Opens a shelf, or makes an empty one that only its owner may read.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, is not a shelf, or holds vectors of another dimension.
    pub fn open(path: &Path, dimension: usize) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let wanted = u32::try_from(dimension).ok().filter(|dimension| *dimension > 0);
        let Some(wanted) = wanted else { return Err(refused("a vector has at least one number, and fewer than 2^32")) };
        if file.metadata()?.len() == 0 {
            let mut head = vec![0; HEAD as usize];
            head[..8].copy_from_slice(&MAGIC);
            head[8..12].copy_from_slice(&wanted.to_le_bytes());
            file.write_all_at(&head, 0)?;
            return Ok(Self { file, dimension });
        }
        let mut head = [0; 12];
        match file.read_exact_at(&mut head, 0) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(refused("the file is not a shelf")),
            read => read?,
        }
        let (magic, found) = head.split_at(8);
        if magic != MAGIC {
            return Err(refused("the file is not a shelf"));
        }
        let found = found.iter().rev().fold(0, |found, byte| found << 8 | u32::from(*byte));
        if found != wanted {
            return Err(refused(&format!("the shelf's vectors have {found} numbers, not {wanted}")));
        }
        Ok(Self { file, dimension })
    }

    /// Writes vectors to the rows of their places; of two for one place, the later. Rows side by side are one write.
    ///
    /// # Errors
    ///
    /// If a vector is of another dimension, which writes nothing, or the disk fails, which leaves some written.
    pub fn write(&self, rows: &[(u32, &[f32])]) -> io::Result<()> {
        if rows.iter().any(|(_, vector)| vector.len() != self.dimension) {
            return Err(refused(&format!("the shelf's vectors have {} numbers", self.dimension)));
        }
        let mut sorted: Vec<&(u32, &[f32])> = rows.iter().collect();
        sorted.sort_by_key(|(place, _)| *place);
        let mut block = Vec::new();
        for run in runs(&sorted, |row| row.0, self.rows_at_once()) {
            block.clear();
            block.extend(run.iter().flat_map(|(_, vector)| vector.iter().flat_map(|number| number.to_le_bytes())));
            self.file.write_all_at(&block, self.offset(run[0].0))?;
        }
        Ok(())
    }

    /// Writes a mark of the caller's choice into the head.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn mark(&self, mark: [u64; 2]) -> io::Result<()> {
        self.file.write_all_at(mark.map(u64::to_le_bytes).as_flattened(), MARK)
    }

    /// The mark that was written last; zeros where none was.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn marked(&self) -> io::Result<[u64; 2]> {
        let mut bytes = [[0; 8]; 2];
        self.file.read_exact_at(bytes.as_flattened_mut(), MARK)?;
        Ok(bytes.map(u64::from_le_bytes))
    }

    /// Waits until all that was written is on the disk.
    ///
    /// # Errors
    ///
    /// If the disk fails: nothing since the last time may be counted on.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Reads the vector of a place.
    ///
    /// # Errors
    ///
    /// If `into` is of another dimension, the row is beyond the end, or the disk fails.
    pub fn read(&self, place: u32, into: &mut [f32]) -> io::Result<()> {
        if into.len() != self.dimension {
            return Err(refused(&format!("the shelf's vectors have {} numbers", self.dimension)));
        }
        self.file.read_exact_at(bytemuck::cast_slice_mut(into), self.offset(place))?;
        to_native(into);
        Ok(())
    }

    /// Reads the vectors of some places and shows each, in the order of the places. Rows side by side are one read.
    ///
    /// # Errors
    ///
    /// If a row is beyond the end, or the disk fails: some have been shown.
    pub fn read_many(&self, places: &[u32], mut each: impl FnMut(u32, &[f32])) -> io::Result<()> {
        let mut sorted = places.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut block = Vec::new();
        for run in runs(&sorted, |place| *place, self.rows_at_once()) {
            block.resize(run.len() * self.dimension, 0.0);
            self.file.read_exact_at(bytemuck::cast_slice_mut(&mut block), self.offset(run[0]))?;
            to_native(&mut block);
            for (place, vector) in run.iter().zip(block.chunks_exact(self.dimension)) {
                each(*place, vector);
            }
        }
        Ok(())
    }

    /// How long the file is.
    ///
    /// # Errors
    ///
    /// If the disk does not say.
    pub fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn offset(&self, place: u32) -> u64 {
        HEAD + u64::from(place) * (self.dimension * size_of::<f32>()) as u64
    }

    fn rows_at_once(&self) -> usize {
        (BLOCK / (self.dimension * size_of::<f32>())).max(1)
    }
}

/// Splits what is sorted by place into runs of places side by side.
fn runs<T>(sorted: &[T], place: impl Fn(&T) -> u32 + Copy, longest: usize) -> impl Iterator<Item = &[T]> {
    let adjacent = move |one: &T, other: &T| place(one).checked_add(1) == Some(place(other));
    sorted.chunk_by(adjacent).flat_map(move |run| run.chunks(longest))
}

fn to_native(numbers: &mut [f32]) {
    if cfg!(target_endian = "big") {
        for number in numbers {
            *number = f32::from_bits(u32::from_le(number.to_bits()));
        }
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}
