//! A graph as one file: a head, then the flat arrays as they are in memory, each with a checksum. Nothing is parsed
//! one by one, so that a million points are read in less than a second; and nothing is believed: a graph that was
//! read leads nowhere outside itself, whoever wrote it.

use crate::graph::{DIMENSION_MAX, Graph, LINKS_BASE, LINKS_UPPER, NONE, PLACES_MAX, State, level};
use crate::rows::{CHUNK, Chunk, Rows};
use bytemuck::{AnyBitPattern, NoUninit, Zeroable};
use crc32fast::Hasher;
use std::io::{self, ErrorKind, Read, Write};

/// What a file begins with.
const MAGIC: [u8; 8] = *b"cmtynear";
/// The head: magic, dimension, places, entry, a checksum, and the mark.
const HEAD: usize = 32;
/// How much is read or written at once, bytes: what stays in the processor's cache until it is summed.
const BLOCK: usize = 256 * 1024;

/// Why a file is not taken as a graph. Nothing is kept of it; it is to be built anew.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk failed.
    #[error("the file cannot be read: {0}")]
    Disk(#[from] io::Error),
    /// It ends before this part does.
    #[error("the file ends within its {0}")]
    Short(&'static str),
    /// It does not begin as a graph does.
    #[error("the file's head is not that of a graph")]
    Magic,
    /// This part is not what was written.
    #[error("the file's {0} are damaged: the checksum differs")]
    Checksum(&'static str),
    /// Vectors have at least one number, and not more than fit.
    #[error("the file's dimension {0} is not within 1 to {DIMENSION_MAX}")]
    Dimension(u32),
    /// There are more places than the file has bytes for.
    #[error("the file's count of {0} places is more than it holds")]
    Places(u32),
    /// A place is in a state that there is not.
    #[error("the file's state of the place {0} is unknown")]
    State(u32),
    /// A scale is not one that a vector can have.
    #[error("the file's scale of the place {0} is not within 0 to 1")]
    Scale(u32),
    /// A link leads to where no linked point is on that layer.
    #[error("the file's link from the place {place} to {to} on layer {layer} leads nowhere")]
    Link {
        /// Where it begins.
        place: u32,
        /// The layer it is on.
        layer: usize,
        /// Where it leads.
        to: u32,
    },
    /// Searches would begin nowhere.
    #[error("the file's entry {0} is no linked point")]
    Entry(u32),
}

impl Graph {
    /// Writes the graph, and a mark of the caller's choice, by which it knows later what the graph covers.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&self, to: &mut impl Write, mark: u64) -> io::Result<()> {
        let dimension = u32::try_from(self.rows.dimension).expect("dimensions are at most DIMENSION_MAX");
        to.write_all(&head(dimension, self.places(), self.entry, mark))?;
        let states: Vec<u8> = self.states.iter().map(|state| written(*state) as u8).collect();
        write_part(to, &states)?;
        write_part(to, &self.rows.scales)?;
        write_part(to, &self.rows.chunks)?;
        write_part(to, &self.base)?;
        write_part(to, &self.upper)
    }

    /// Reads a graph and its mark. No more memory is taken than some bytes for each of those the file is said to have.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not as it was written.
    pub fn read(from: &mut impl Read, bytes: u64) -> Result<(Self, u64), ReadError> {
        let mut bytes_of_head = [0; HEAD];
        fill(from, &mut bytes_of_head, "head")?;
        let number = |at: usize| {
            u32::from_le_bytes([bytes_of_head[at], bytes_of_head[at + 1], bytes_of_head[at + 2], bytes_of_head[at + 3]])
        };
        let (dimension, places, entry) = (number(8), number(12), number(16));
        let mark = u64::from(number(24)) | u64::from(number(28)) << 32;
        if bytes_of_head[..8] != MAGIC {
            return Err(ReadError::Magic);
        }
        if bytes_of_head != head(dimension, places, entry, mark) {
            return Err(ReadError::Checksum("head"));
        }
        let (length, upper) = lengths(dimension, places, bytes)?;
        let mut graph = Self::new(dimension as usize);
        graph.states = states(&read_part(from, length, "states")?)?;
        graph.rows = read_rows(from, dimension as usize, length)?;
        graph.base = read_part(from, length * LINKS_BASE, "links")?;
        graph.upper = read_part(from, upper, "links of the upper layers")?;
        graph.entry = entry;
        graph.count();
        graph.check_links()?;
        graph.count_links();
        Ok((graph, mark))
    }

    /// Finds out again what follows from the states.
    fn count(&mut self) {
        let mut end = 0;
        for place in 0..self.places() {
            self.upper_at.push(end);
            // As in `grow`, below 2^30.
            end += (level(place) * LINKS_UPPER) as u32;
            match self.state(place) {
                State::Empty => {}
                State::Waiting => {
                    self.live += 1;
                    self.puts += 1;
                    self.waiting.insert(place, self.puts);
                }
                State::Linked => self.live += 1,
                State::Removed | State::Swept => self.removed += 1,
            }
        }
        self.seek_free();
    }

    fn count_links(&mut self) {
        self.linked_by = vec![0; self.states.len()];
        for link in self.base.iter().filter(|link| **link != NONE) {
            let count = &mut self.linked_by[*link as usize];
            *count = count.saturating_add(1);
        }
    }

    fn check_links(&self) -> Result<(), ReadError> {
        let stands = |place: u32| matches!(self.states.get(place as usize), Some(State::Linked | State::Removed));
        let linked = self.live - self.waiting.len() + self.removed;
        if self.entry == NONE && linked > 0 || self.entry != NONE && !stands(self.entry) {
            return Err(ReadError::Entry(self.entry));
        }
        for place in 0..self.places() {
            for layer in 0..=level(place) {
                let slots = self.room(layer, place);
                let count = self.links(layer, place).len();
                let leads =
                    |to: &u32| stands(*to) && stands(place) && *to != place && (layer == 0 || level(*to) >= layer);
                let astray = slots[..count].iter().find(|to| !leads(to));
                if let Some(to) = astray.or_else(|| slots[count..].iter().find(|to| **to != NONE)) {
                    return Err(ReadError::Link { place, layer, to: *to });
                }
            }
        }
        Ok(())
    }
}

fn head(dimension: u32, places: u32, entry: u32, mark: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&dimension.to_le_bytes());
    head[12..16].copy_from_slice(&places.to_le_bytes());
    head[16..20].copy_from_slice(&entry.to_le_bytes());
    head[24..].copy_from_slice(&mark.to_le_bytes());
    let sum = crc32fast::hash(&head);
    head[20..24].copy_from_slice(&sum.to_le_bytes());
    head
}

/// How many places there are and how many links on the upper layers, if that is what the file has room for.
fn lengths(dimension: u32, places: u32, bytes: u64) -> Result<(usize, usize), ReadError> {
    if dimension == 0 || dimension as usize > DIMENSION_MAX {
        return Err(ReadError::Dimension(dimension));
    }
    let stride = (dimension as usize).div_ceil(CHUNK);
    // A state, a scale, the codes and the links of the lowest layer.
    let each = (1 + size_of::<f32>() + stride * CHUNK + LINKS_BASE * size_of::<u32>()) as u64;
    if places > PLACES_MAX || u64::from(places) * each > bytes {
        return Err(ReadError::Places(places));
    }
    let upper: usize = (0..places).map(|place| level(place) * LINKS_UPPER).sum();
    if u64::from(places) * each + (upper * size_of::<u32>()) as u64 > bytes {
        return Err(ReadError::Places(places));
    }
    Ok((places as usize, upper))
}

/// A sweep is not gone on with after reading, but begun again.
fn written(state: State) -> State {
    if state == State::Swept { State::Removed } else { state }
}

fn states(written: &[u8]) -> Result<Vec<State>, ReadError> {
    let state = |(place, state): (usize, &u8)| match state {
        0 => Ok(State::Empty),
        1 => Ok(State::Waiting),
        2 => Ok(State::Linked),
        3 => Ok(State::Removed),
        // Places are below 2^30.
        _ => Err(ReadError::State(place as u32)),
    };
    written.iter().enumerate().map(state).collect()
}

fn read_rows(from: &mut impl Read, dimension: usize, places: usize) -> Result<Rows, ReadError> {
    let mut rows = Rows::new(dimension);
    rows.scales = read_part(from, places, "scales")?;
    // A row of codes is at least as long as 1, so that its scale is at most 1.
    if let Some(place) = rows.scales.iter().position(|scale| !(0.0..=1.0).contains(scale)) {
        return Err(ReadError::Scale(place as u32));
    }
    rows.chunks = read_part::<Chunk>(from, places * rows.stride, "vectors")?;
    Ok(rows)
}

fn write_part<T: NoUninit>(to: &mut impl Write, part: &[T]) -> io::Result<()> {
    let mut sum = Hasher::new();
    let mut turned = Vec::new();
    for block in bytemuck::cast_slice::<T, u8>(part).chunks(BLOCK) {
        let block = if cfg!(target_endian = "big") {
            turned.clear();
            turned.extend_from_slice(block);
            turn(&mut turned, align_of::<T>());
            &turned
        } else {
            block
        };
        sum.update(block);
        to.write_all(block)?;
    }
    to.write_all(&sum.finalize().to_le_bytes())
}

fn read_part<T: Zeroable + AnyBitPattern + NoUninit>(
    from: &mut impl Read,
    length: usize,
    name: &'static str,
) -> Result<Vec<T>, ReadError> {
    let mut part: Vec<T> = bytemuck::zeroed_vec(length);
    let mut sum = Hasher::new();
    for block in bytemuck::cast_slice_mut::<T, u8>(&mut part).chunks_mut(BLOCK) {
        fill(from, block, name)?;
        sum.update(block);
        if cfg!(target_endian = "big") {
            turn(block, align_of::<T>());
        }
    }
    let mut written = [0; 4];
    fill(from, &mut written, name)?;
    if u32::from_le_bytes(written) != sum.finalize() {
        return Err(ReadError::Checksum(name));
    }
    Ok(part)
}

/// Turns numbers of four bytes round; all else here is single bytes.
fn turn(block: &mut [u8], width: usize) {
    if width == size_of::<u32>() {
        for number in block.chunks_exact_mut(width) {
            number.reverse();
        }
    }
}

fn fill(from: &mut impl Read, into: &mut [u8], name: &'static str) -> Result<(), ReadError> {
    from.read_exact(into).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => ReadError::Short(name),
        _ => ReadError::Disk(error),
    })
}
