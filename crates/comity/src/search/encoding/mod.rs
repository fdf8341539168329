//! What makes vectors of texts: the hash that is built in, a static table of embeddings on disk, or a model behind HTTP
//! that the configuration names. Vectors of different encoders are never compared: an encoder's name stands in every
//! record, and the nodes of a mesh have the same. See "Basins" in `protocols/mesh.md`.

mod endpoint;
mod table;
mod tensors;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use table::TableCause;

use crate::config::{self, Hidden};
use crate::tool::http;
use axum::http::header::{self, HeaderValue};
use axum::http::{Request, StatusCode};
use comity_core::basin::settings::ENCODER;
use comity_core::basin::{Metric, Settings, SettingsError, encoder};
use endpoint::{AnswerCause, Endpoint};
use http_body_util::Full;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use url::Url;

/// How long a model may take for the texts of one request.
const MODEL_TIME: Duration = Duration::from_secs(60);

/// Texts of one request that are refused alone, too, before one is taken, until the server is at fault, and not they.
const REFUSED_MAX: usize = 8;

/// How many bytes of a refusal are read.
const REFUSAL_MAX: usize = 16 * 1024;

/// What makes the vector of a text. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) enum Encoder {
    /// The hash of its words, which is built in.
    Hash,
    /// A model that is asked over HTTP.
    Endpoint(Arc<Served>),
    /// A table on disk.
    Table(Arc<Table>),
}

/// A model, and where it is asked.
#[derive(Debug)]
pub(crate) struct Served {
    endpoint: Endpoint,
    url: Url,
    token: Option<Hidden>,
}

/// The vector of one text.
pub(crate) type Encoded = Result<Vec<f32>, NoVector>;

/// Why one text has no vector, whatever others have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoVector {
    /// The encoder does not know what it is made of.
    #[error("it has no word that the encoder knows")]
    NoWord,
    /// The server of the model does not take it.
    #[error("the embedding server refuses it with HTTP status {0}")]
    Refused(StatusCode),
    /// What the server of the model says of it has no direction, or is no vector.
    #[error("the embedding server gives no vector for it that can be used")]
    Unusable,
}

/// Why texts have no vectors. Nothing was indexed of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotEncoded {
    /// The server of the model cannot be asked, or does not answer.
    #[error("the embedding server: {0}")]
    Unanswered(#[from] http::Unanswered),
    /// It took too long.
    #[error("the embedding server did not answer in time")]
    Late,
    /// It refuses.
    #[error("the embedding server answers with HTTP status {0}")]
    Status(StatusCode),
    /// What it answers are no such vectors.
    #[error(transparent)]
    Answer(#[from] AnswerCause),
    /// There was one text, and that has none.
    #[error("the text: {0}")]
    Text(NoVector),
}

impl NotEncoded {
    /// What it says of a text that was asked for alone; `None` where no text can be at fault.
    fn of_one(&self) -> Option<NoVector> {
        match self {
            Self::Status(
                status @ (StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY),
            ) => Some(NoVector::Refused(*status)),
            // A vector of what is no number is no JSON that is understood.
            Self::Answer(AnswerCause::Zero(_) | AnswerCause::NotUnderstood { .. } | AnswerCause::Refused(_)) => {
                Some(NoVector::Unusable)
            }
            _ => None,
        }
    }
}

/// Why there is no encoder as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum NoEncoder {
    /// The table cannot be used.
    #[error("mesh.encoder: {}: {cause}", path.display())]
    Table {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        cause: TableCause,
    },
    /// The table has vectors of another dimension.
    #[error("mesh.encoder: the vectors of this table have {found} numbers: set mesh.dimension = {found}")]
    Dimension {
        /// How many.
        found: usize,
    },
    /// The name or the dimension is none.
    #[error("mesh.encoder: {0}")]
    Settings(#[from] SettingsError),
}

impl Encoder {
    /// The encoder that is configured, and what vectors are then.
    pub(crate) async fn open(mesh: &config::Mesh) -> Result<(Self, Settings), NoEncoder> {
        let (encoder, name) = match &mesh.encoder {
            config::Encoder::Hash => (Self::Hash, ENCODER.to_owned()),
            config::Encoder::Endpoint { url, model, token } => {
                let endpoint = Endpoint { model: model.clone() };
                let served = Served { endpoint, url: url.clone(), token: token.clone() };
                (Self::Endpoint(Arc::new(served)), model.clone())
            }
            config::Encoder::Table(path) => {
                let at = path.clone();
                let opened = spawn_blocking(move || Table::open(&at)).await.expect("reading a table does not panic");
                let table = opened.map_err(|cause| NoEncoder::Table { path: path.clone(), cause })?;
                if table.dimension() != mesh.dimension {
                    return Err(NoEncoder::Dimension { found: table.dimension() });
                }
                let name = table.name();
                (Self::Table(Arc::new(table)), name)
            }
        };
        let settings = Settings::new(mesh.dimension, Metric::default(), mesh.projection, &name)?;
        Ok((encoder, settings))
    }

    /// Whether texts go to another program.
    pub(super) fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Endpoint(_))
    }

    /// The vectors of texts, in their order. What is wrong with one text costs no other its vector.
    pub(crate) async fn encode(&self, texts: Vec<String>, dimension: usize) -> Result<Vec<Encoded>, NotEncoded> {
        match self {
            Self::Hash => Ok(blocking(texts, move |text| encoder::encode(text, dimension)).await),
            Self::Table(table) => {
                let table = table.clone();
                Ok(blocking(texts, move |text| table.encode(text)).await)
            }
            Self::Endpoint(served) => {
                let mut vectors = Vec::with_capacity(texts.len());
                for texts in texts.chunks(endpoint::TEXTS_MAX) {
                    vectors.extend(served.encode(texts, dimension).await?);
                }
                Ok(vectors)
            }
        }
    }
}

/// Encodes texts on a thread that may take its time.
async fn blocking(texts: Vec<String>, encode: impl Fn(&str) -> Option<Vec<f32>> + Send + 'static) -> Vec<Encoded> {
    let encoded = spawn_blocking(move || texts.iter().map(|text| encode(text).ok_or(NoVector::NoWord)).collect());
    encoded.await.expect("encoding does not panic")
}

impl Served {
    /// The vectors of the texts of one request; each text is asked for alone where one of them may spoil it for all.
    async fn encode(&self, texts: &[String], dimension: usize) -> Result<Vec<Encoded>, NotEncoded> {
        match self.ask_in_time(texts, dimension).await {
            Ok(vectors) => Ok(vectors.into_iter().map(Ok).collect()),
            Err(why) if why.of_one().is_none() => Err(why),
            Err(why) if texts.len() == 1 => Ok(why.of_one().map(Err).into_iter().collect()),
            Err(_) => {
                let alone = timeout(MODEL_TIME, self.encode_each(texts, dimension)).await;
                alone.unwrap_or(Err(NotEncoded::Late))
            }
        }
    }

    /// The same, of each text alone.
    async fn encode_each(&self, texts: &[String], dimension: usize) -> Result<Vec<Encoded>, NotEncoded> {
        let mut encoded = Vec::with_capacity(texts.len());
        let mut is_any_taken = false;
        for text in texts {
            match self.ask_in_time(std::slice::from_ref(text), dimension).await {
                Ok(vectors) => {
                    is_any_taken = true;
                    encoded.extend(vectors.into_iter().map(Ok));
                }
                Err(why) => match why.of_one() {
                    Some(of_one) if is_any_taken || encoded.len() + 1 < REFUSED_MAX => encoded.push(Err(of_one)),
                    _ => return Err(why),
                },
            }
        }
        Ok(encoded)
    }

    async fn ask_in_time(&self, texts: &[String], dimension: usize) -> Result<Vec<Vec<f32>>, NotEncoded> {
        timeout(MODEL_TIME, self.ask(texts, dimension)).await.unwrap_or(Err(NotEncoded::Late))
    }

    async fn ask(&self, texts: &[String], dimension: usize) -> Result<Vec<Vec<f32>>, NotEncoded> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut request = Request::new(Full::new(self.endpoint.request(&texts).into()));
        *request.method_mut() = axum::http::Method::POST;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        let answer = http::send(&self.url, self.token.as_ref(), request).await?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            // What the server says of it is in the log of whoever runs it; its words may quote the texts.
            let _ = http::body(answer, REFUSAL_MAX).await;
            return Err(NotEncoded::Status(status));
        }
        let body = http::body(answer, endpoint::answer_max(texts.len(), dimension)).await?;
        let count = texts.len();
        let read = spawn_blocking(move || endpoint::answer(&body, count, dimension));
        Ok(read.await.expect("reading vectors does not panic")?)
    }
}
