//! One tensor of two dimensions read from a safetensors file: eight bytes that say how long the head
//! is, a head in JSON, and the numbers, little end first. It follows the format's description at
//! `huggingface/safetensors` and reads no more of it.

use super::table::TableCause;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};

/// The longest head, bytes: one tensor takes a hundred, and notes of its maker some thousand.
const HEAD_MAX: u64 = 1 << 20;

/// The most numbers that are kept, which is 1 GiB of memory: a million tokens of 256 numbers.
const NUMBERS_MAX: usize = 1 << 28;

/// The numbers of a tensor, row by row.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) numbers: Vec<f32>,
}

/// What the head says of a tensor.
#[derive(Deserialize)]
struct Description {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// The types of numbers that are read.
#[derive(Clone, Copy)]
enum Type {
    F32,
    F16,
    Bf16,
}

impl Type {
    fn named(name: &str) -> Option<Self> {
        match name {
            "F32" => Some(Self::F32),
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::Bf16),
            _ => None,
        }
    }

    const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    fn number(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Self::F32, [a, b, c, d]) => f32::from_le_bytes([*a, *b, *c, *d]),
            (Self::Bf16, [a, b]) => f32::from_le_bytes([0, 0, *a, *b]),
            (Self::F16, [a, b]) => half(u16::from_le_bytes([*a, *b])),
            _ => f32::NAN,
        }
    }
}

/// Reads the only tensor of a file. What the system says is put in our words by `failed`.
pub(super) fn read(file: impl Read, failed: impl Fn(io::Error) -> TableCause) -> Result<Tensor, TableCause> {
    let mut file = BufReader::new(file);
    let (description, kind) = head(&mut file, &failed)?;
    let [rows, columns] = description.shape[..] else { return Err(TableCause::Tensors(1)) };
    let too_large = || TableCause::TooLarge { rows, dimension: columns };
    let count = rows.checked_mul(columns).filter(|count| *count <= NUMBERS_MAX).ok_or_else(too_large)?;
    if count == 0 {
        return Err(TableCause::Damaged("the table is empty"));
    }
    let (from, to) = description.data_offsets;
    if from != 0 || to != (count * kind.bytes()) as u64 {
        return Err(TableCause::Damaged("the tensor is not as long as its shape says"));
    }
    let mut numbers = Vec::new();
    let mut row = vec![0; columns * kind.bytes()];
    for index in 0..rows {
        file.read_exact(&mut row).map_err(|cause| broken_off(cause, &failed))?;
        numbers.extend(row.chunks_exact(kind.bytes()).map(|bytes| kind.number(bytes)));
        if numbers[index * columns..].iter().any(|number| !number.is_finite()) {
            return Err(TableCause::NotFinite(index));
        }
    }
    Ok(Tensor { rows, columns, numbers })
}

fn head(file: &mut impl Read, failed: &impl Fn(io::Error) -> TableCause) -> Result<(Description, Type), TableCause> {
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|cause| broken_off(cause, failed))?;
    let length = u64::from_le_bytes(length);
    if length > HEAD_MAX {
        return Err(TableCause::Damaged("its head is too long"));
    }
    let mut head = Vec::new();
    file.take(length).read_to_end(&mut head).map_err(failed)?;
    let head: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&head).map_err(|_| TableCause::Damaged("its head is no JSON object"))?;
    let mut tensors: Vec<_> = head.into_iter().filter(|(name, _)| name != "__metadata__").map(|(_, it)| it).collect();
    let (1, Some(only)) = (tensors.len(), tensors.pop()) else { return Err(TableCause::Tensors(tensors.len())) };
    let description: Description =
        serde_json::from_value(only).map_err(|_| TableCause::Damaged("its head does not describe a tensor"))?;
    match Type::named(&description.dtype) {
        Some(kind) => Ok((description, kind)),
        None => Err(TableCause::Type(description.dtype.chars().filter(char::is_ascii_alphanumeric).take(16).collect())),
    }
}

fn broken_off(cause: io::Error, failed: &impl Fn(io::Error) -> TableCause) -> TableCause {
    if cause.kind() == io::ErrorKind::UnexpectedEof { TableCause::Damaged("it breaks off") } else { failed(cause) }
}

/// A number of IEEE 754's binary16.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, (bits >> 10) & 0x1f, bits & 0x3ff);
    let size = match exponent {
        0 => f32::from(fraction) * 2f32.powi(-24),
        31 if fraction == 0 => f32::INFINITY,
        31 => f32::NAN,
        _ => f32::from(fraction | 0x400) * 2f32.powi(i32::from(exponent) - 25),
    };
    if sign == 1 { -size } else { size }
}
