//! A static table of embeddings: a row of numbers for each token, and the vector of a text is the
//! mean of the rows of its tokens. It is two files in one folder: a table in the form of safetensors
//! (as Model2Vec and the `StaticEmbedding` of Sentence Transformers write) and, beside it,
//! `vocab.txt`, whose n-th line is the token of the n-th row (as BERT's). It runs no model. Where only
//! a `tokenizer.json` of the type `WordPiece` came with the table, this writes the tokens:
//! `jq -r '.model.vocab | to_entries | sort_by(.value)[].key' tokenizer.json > vocab.txt`

use super::tensors;
use super::vocabulary::Vocabulary;
use aws_lc_rs::digest::{Context, SHA256};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the file of tokens, which stands beside the table.
pub(crate) const VOCABULARY: &str = "vocab.txt";

/// The name of the table in a folder that is named instead of it.
pub(crate) const TENSORS: &str = "model.safetensors";

/// The largest file of tokens, bytes: a million tokens of thirty letters.
const VOCABULARY_MAX: u64 = 32 << 20;

/// The most of a text that is read, bytes: as much as is indexed of it.
const TEXT_MAX: usize = 1 << 20;

/// A table in memory, four bytes for each number.
#[derive(Debug)]
pub(crate) struct Table {
    vocabulary: Vocabulary,
    dimension: usize,
    numbers: Vec<f32>,
}

/// Why a table cannot be used. Nothing of it stays in memory.
#[derive(Debug, thiserror::Error)]
pub enum TableCause {
    /// The system does not let us read one of its files.
    #[error("{} cannot be read: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The file is not in the form of safetensors: its head names places that it does not have.
    #[error("the table is no safetensors file, or it is damaged: {0}")]
    Damaged(&'static str),
    /// It has not exactly one tensor, of two dimensions.
    #[error("the table holds {0} tensors, and exactly one of two dimensions is wanted")]
    Tensors(usize),
    /// Its numbers are of a type we do not read.
    #[error("the numbers of the table are of the type {0}, and F32, F16 or BF16 is wanted")]
    Type(String),
    /// It is larger than what we keep in memory.
    #[error("the table has {rows} rows of {dimension} numbers, which is more than is kept in memory")]
    TooLarge {
        /// Its tokens.
        rows: usize,
        /// The numbers of each.
        dimension: usize,
    },
    /// A number of it is none.
    #[error("row {0} of the table has a number that is not finite")]
    NotFinite(usize),
    /// The file of tokens is too large, or not UTF-8.
    #[error("{VOCABULARY} is not text in UTF-8 of at most {VOCABULARY_MAX} bytes")]
    Vocabulary,
    /// There are more or fewer tokens than rows.
    #[error("{VOCABULARY} has {tokens} lines, and the table {rows} rows")]
    Count {
        /// Lines of the file of tokens.
        tokens: usize,
        /// Rows of the table.
        rows: usize,
    },
}

impl Table {
    /// Reads the table at `path`, or in the folder `path`, with the tokens beside it. It blocks.
    ///
    /// # Errors
    /// [`TableCause`] when one of the files cannot be used, or they do not belong together.
    pub(crate) fn open(path: &Path) -> Result<Self, TableCause> {
        let table = if path.is_dir() { path.join(TENSORS) } else { path.to_owned() };
        let beside = table.with_file_name(VOCABULARY);
        let tensor = tensors::read(open(&table)?, |cause| TableCause::Io { path: table.clone(), cause })?;
        let text = vocabulary_text(&beside)?;
        let vocabulary = Vocabulary::of(&text);
        if vocabulary.lines() != tensor.rows {
            return Err(TableCause::Count { tokens: vocabulary.lines(), rows: tensor.rows });
        }
        Ok(Self { vocabulary, dimension: tensor.columns, numbers: tensor.numbers })
    }

    /// A name that tables have in common only when they are the same: nodes with one table compare their vectors.
    pub(crate) fn name(&self) -> String {
        let mut hash = Context::new(&SHA256);
        hash.update(&self.vocabulary.lines().to_le_bytes());
        for number in &self.numbers {
            hash.update(&number.to_le_bytes());
        }
        let hash: String = hash.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("table-{hash}")
    }

    /// How many numbers its vectors have.
    pub(crate) const fn dimension(&self) -> usize {
        self.dimension
    }

    /// The vector of the first MiB of a text, of length 1; `None` when no token of it has a row, or
    /// their rows cancel each other.
    pub(crate) fn encode(&self, text: &str) -> Option<Vec<f32>> {
        let mut sums = vec![0f64; self.dimension];
        self.vocabulary.each_token(&text[..text.floor_char_boundary(TEXT_MAX)], |row| {
            let from = row * self.dimension;
            for (sum, number) in sums.iter_mut().zip(&self.numbers[from..from + self.dimension]) {
                *sum += f64::from(*number);
            }
        });
        // The mean has the direction of the sum, and only that is kept.
        let length = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
        (length > 0.0).then(|| sums.iter().map(|sum| (sum / length) as f32).collect())
    }
}

fn open(path: &Path) -> Result<File, TableCause> {
    File::open(path).map_err(|cause| TableCause::Io { path: path.to_owned(), cause })
}

fn vocabulary_text(path: &Path) -> Result<String, TableCause> {
    let mut text = String::new();
    let read = io::Read::read_to_string(&mut io::Read::take(open(path)?, VOCABULARY_MAX + 1), &mut text);
    match read {
        Ok(bytes) if bytes as u64 <= VOCABULARY_MAX => Ok(text),
        Err(cause) if cause.kind() != io::ErrorKind::InvalidData => {
            Err(TableCause::Io { path: path.to_owned(), cause })
        }
        _ => Err(TableCause::Vocabulary),
    }
}
