//! What is said to an embedding model behind OpenAI's `POST /v1/embeddings`, which many servers
//! speak, and how its answer is read. It opens no connection.

use serde::Deserialize;
use serde_json::json;

/// The most texts of one request: servers put as many through a model at once, and the answer to
/// them, of 4096 numbers each, is below 6 MiB.
pub(crate) const TEXTS_MAX: usize = 64;

/// The most of one text that is sent, bytes: models see some thousand tokens, of which one has
/// four letters in English and one in Chinese; servers refuse what is longer than their model sees.
pub(crate) const TEXT_MAX: usize = 8 << 10;

/// What one number of an answer takes at most, bytes: twenty digits, sign, exponent, comma, blanks.
const NUMBER_MAX: usize = 32;

/// What an answer has besides its numbers, bytes for each text.
const FRAME_MAX: usize = 1 << 10;

/// The most that is shown of what a server says, characters.
const SAID_MAX: usize = 200;

/// A model, as its server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The name of the model, such as `text-embedding-3-small`.
    pub(crate) model: String,
}

/// Why an answer holds no vectors. None of them was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerCause {
    /// The server says why it does not answer.
    #[error("the embedding server refused: {0}")]
    Refused(String),
    /// It is not JSON of the form that OpenAI describes.
    #[error("the embedding server's answer is not understood at line {line}, column {column}")]
    NotUnderstood {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// It is longer than what was asked for can be.
    #[error("the embedding server's answer is longer than {0} bytes")]
    TooLong(usize),
    /// It has more or fewer vectors than there were texts.
    #[error("the embedding server gave {given} vectors for {wanted} texts")]
    Count {
        /// How many it has.
        given: usize,
        /// How many texts there were.
        wanted: usize,
    },
    /// `index` is twice the same, or of no text.
    #[error("the embedding server's answer has no single vector of index {0}")]
    Index(usize),
    /// A vector has another dimension than the mesh.
    #[error("the embedding model gives {given} numbers, and the mesh has {wanted}")]
    Dimension {
        /// How many numbers it has.
        given: usize,
        /// How many the mesh says.
        wanted: usize,
    },
    /// A vector has no direction.
    #[error("the vector of index {0} has only zeros")]
    Zero(usize),
}

impl Endpoint {
    /// The body of a request for the vectors of at most [`TEXTS_MAX`] texts; of each the beginning.
    pub(crate) fn request(&self, texts: &[&str]) -> String {
        let input: Vec<&str> = texts.iter().map(|text| &text[..text.floor_char_boundary(TEXT_MAX)]).collect();
        json!({ "model": self.model, "input": input, "encoding_format": "float" }).to_string()
    }
}

/// The most bytes that the answer for so many texts may have: who receives it stops there.
pub(crate) const fn answer_max(texts: usize, dimension: usize) -> usize {
    texts.saturating_mul(dimension.saturating_mul(NUMBER_MAX).saturating_add(FRAME_MAX)).saturating_add(FRAME_MAX)
}

/// An answer. Fields that are not needed are not looked at.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Vec<Row>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Row {
    /// Which text it is of; some servers leave it out, and keep the order.
    index: Option<usize>,
    embedding: Vec<f32>,
}

/// The vectors of an answer in the order of the texts, each of this dimension.
///
/// # Errors
/// [`AnswerCause`] when not every text has exactly one vector that the mesh can use.
pub(crate) fn answer(body: &[u8], texts: usize, dimension: usize) -> Result<Vec<Vec<f32>>, AnswerCause> {
    let longest = answer_max(texts, dimension);
    if body.len() > longest {
        return Err(AnswerCause::TooLong(longest));
    }
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| AnswerCause::NotUnderstood { line: error.line(), column: error.column() })?;
    if let Some(error) = answer.error {
        return Err(AnswerCause::Refused(said(&error)));
    }
    if answer.data.len() != texts {
        return Err(AnswerCause::Count { given: answer.data.len(), wanted: texts });
    }
    let mut vectors = vec![Vec::new(); texts];
    for (place, row) in answer.data.into_iter().enumerate() {
        let index = row.index.unwrap_or(place);
        if row.embedding.len() != dimension {
            return Err(AnswerCause::Dimension { given: row.embedding.len(), wanted: dimension });
        }
        // A number that is too large for an f32 is refused where it is read.
        if row.embedding.iter().all(|number| *number == 0.0) {
            return Err(AnswerCause::Zero(index));
        }
        match vectors.get_mut(index) {
            Some(vector) if vector.is_empty() => *vector = row.embedding,
            _ => return Err(AnswerCause::Index(index)),
        }
    }
    Ok(vectors)
}

/// What a server says of its refusal, on one short line.
fn said(error: &serde_json::Value) -> String {
    let message = error.get("message").unwrap_or(error);
    let said = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_MAX).collect()
}
