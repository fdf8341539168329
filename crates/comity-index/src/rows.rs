//! The vectors as the graph holds them: each number rounded to eight bits, and one scale for each vector, by which
//! its codes are a unit vector again. The exact vectors are not here.

use crate::kernel::Kernel;
use bytemuck::{Pod, Zeroable};

/// Codes in a chunk: one line of the processor's cache.
pub(crate) const CHUNK: usize = 64;
/// The largest code of a vector that is held.
const CODE_MAX: f32 = 127.0;
/// The largest code of a query, which is not held and may be finer. The products of 4,096 codes of 127 and as many
/// of this stay within 31 bits.
const QUERY_CODE_MAX: f32 = 2047.0;

/// Sixty-four codes of a vector that is held.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Chunk(pub(crate) [i8; CHUNK]);

/// Sixty-four codes of a vector to compare with.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct WideChunk(pub(crate) [i16; CHUNK]);

/// A vector to compare others with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wide {
    pub(crate) codes: Vec<WideChunk>,
    pub(crate) scale: f32,
}

/// The vectors of all places.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) dimension: usize,
    /// All rows, one after the other, each of `stride` chunks.
    pub(crate) chunks: Vec<Chunk>,
    /// What each row's codes are multiplied with.
    pub(crate) scales: Vec<f32>,
    pub(crate) stride: usize,
    pub(crate) kernel: Kernel,
}

impl Rows {
    pub(crate) fn new(dimension: usize) -> Self {
        let stride = dimension.div_ceil(CHUNK);
        Self { dimension, chunks: Vec::new(), scales: Vec::new(), stride, kernel: Kernel::of_this_machine() }
    }

    pub(crate) fn grow(&mut self, places: usize) {
        grow(&mut self.chunks, places * self.stride, Chunk([0; CHUNK]));
        grow(&mut self.scales, places, 0.0);
    }

    pub(crate) fn set(&mut self, place: u32, vector: &[f32]) {
        let start = place as usize * self.stride;
        let row = &mut self.chunks[start..start + self.stride];
        let mut squares = 0;
        let factor = factor(vector, CODE_MAX);
        for (chunk, numbers) in row.iter_mut().zip(vector.chunks(CHUNK)) {
            for (code, number) in chunk.0.iter_mut().zip(numbers) {
                let rounded = rounded(number * factor);
                squares += rounded * rounded;
                *code = rounded as i8;
            }
        }
        self.scales[place as usize] = scale(squares as f32);
    }

    /// Makes the vector of a place one to compare with.
    pub(crate) fn widen(&self, place: u32, wide: &mut Wide) {
        wide.codes.resize(self.stride, WideChunk([0; CHUNK]));
        wide.scale = self.scales[place as usize];
        for (wide, row) in wide.codes.iter_mut().zip(self.row(place)) {
            for (wide, code) in wide.0.iter_mut().zip(&row.0) {
                *wide = i16::from(*code);
            }
        }
    }

    /// Compares with the vectors of some places.
    pub(crate) fn similarities(&self, wide: &Wide, places: &[u32], into: &mut Vec<f32>) {
        self.kernel.similarities(wide, self, places, into);
    }

    #[inline(always)]
    pub(crate) fn row(&self, place: u32) -> &[Chunk] {
        &self.chunks[place as usize * self.stride..][..self.stride]
    }

    pub(crate) fn memory(&self) -> usize {
        self.chunks.capacity() * size_of::<Chunk>() + self.scales.capacity() * size_of::<f32>()
    }
}

impl Wide {
    /// Makes a query one to compare with.
    pub(crate) fn set(&mut self, query: &[f32]) {
        self.codes.clear();
        let mut squares = 0.0;
        let factor = factor(query, QUERY_CODE_MAX);
        for numbers in query.chunks(CHUNK) {
            let mut chunk = WideChunk([0; CHUNK]);
            for (code, number) in chunk.0.iter_mut().zip(numbers) {
                let rounded = rounded(number * factor);
                squares += (rounded * rounded) as f32;
                *code = rounded as i16;
            }
            self.codes.push(chunk);
        }
        self.scale = scale(squares);
    }
}

/// Lengthens by a quarter at a time, so that little memory stands unused.
pub(crate) fn grow<T: Clone>(numbers: &mut Vec<T>, length: usize, fill: T) {
    if length > numbers.capacity() {
        let capacity = length.max(numbers.capacity() + numbers.capacity() / 4);
        numbers.reserve_exact(capacity - numbers.len());
    }
    if length > numbers.len() {
        numbers.resize(length, fill);
    }
}

/// By what numbers are multiplied to be codes. A vector with a number that is none counts as all zeros, which is
/// similar to nothing.
fn factor(vector: &[f32], code_max: f32) -> f32 {
    if vector.iter().any(|number| !number.is_finite()) {
        return 0.0;
    }
    let largest = vector.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    if largest < f32::MIN_POSITIVE * 4096.0 { 0.0 } else { code_max / largest }
}

/// To the nearest whole number. `f32::round` is a call where the processor's oldest instructions must do.
fn rounded(number: f32) -> i32 {
    (number + 0.5_f32.copysign(number)) as i32
}

fn scale(squares: f32) -> f32 {
    if squares > 0.0 { 1.0 / squares.sqrt() } else { 0.0 }
}
