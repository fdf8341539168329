//! HTTP requests to tool servers, for their documents, to embedding models, and for pages that are indexed: where the
//! configuration or the command line says and nowhere else. No redirect is followed here, no cookie kept, and no answer
//! read beyond what its asker has room for.

use crate::config::Hidden;
use axum::http::header::{self, HeaderValue};
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

/// How long a connection may take to be there.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long a document may take to be fetched.
const FETCH_TIME: Duration = Duration::from_secs(30);

/// Largest head of an answer, bytes.
const HEAD_MAX: usize = 32 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// The URL names no host, or it cannot be a request.
    #[error("{0} cannot be asked")]
    NotAsked(String),
    /// Nobody is there.
    #[error("{host} cannot be reached: {cause}")]
    Unreachable {
        /// Who was to be reached.
        host: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Nobody was there in time.
    #[error("{0} did not answer in time")]
    Silent(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    /// The answer is larger than there is room for.
    #[error("the answer has more than {0} bytes, and was cut off")]
    TooLarge(usize),
    /// The answer broke off.
    #[error("the answer broke off: {0}")]
    BrokeOff(Box<dyn std::error::Error + Send + Sync>),
}

/// The authorities of the system, for TLS. Read once, as it takes a while.
static TLS: LazyLock<TlsConnector> = LazyLock::new(|| {
    let mut roots = rustls::RootCertStore::empty();
    // Those that cannot be read check nothing; a server that they would vouch for is refused, and says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the versions that rustls has")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
});

/// Sends a request to the host of this URL; its target is the URL's path and query. The token goes there and nowhere
/// else.
pub(crate) async fn send(
    url: &Url,
    bearer: Option<&Hidden>,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Unanswered> {
    let not_asked = || Unanswered::NotAsked(host_of(url));
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    *request.uri_mut() = target.parse().map_err(|_| not_asked())?;
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(&host_of(url)).map_err(|_| not_asked())?);
    if let Some(token) = bearer {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(|_| not_asked())?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let stream = timeout(CONNECT_TIME, connect(url)).await.map_err(|_| Unanswered::Silent(host_of(url)))??;
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(HEAD_MAX.max(8192));
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // It ends by itself when the answer is read or dropped.
    tokio::spawn(async move { connection.await.inspect_err(|broken| tracing::debug!(%broken, "a server hung up")) });
    Ok(sender.send_request(request).await?)
}

/// The whole body of an answer, if it is not too large.
pub(crate) async fn body(answer: Response<Incoming>, most: usize) -> Result<Bytes, Unanswered> {
    let collected = Limited::new(answer.into_body(), most).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| match error.downcast::<LengthLimitError>() {
        Ok(_) => Unanswered::TooLarge(most),
        Err(error) => Unanswered::BrokeOff(error),
    })
}

/// Fetches a document.
pub(crate) async fn fetch(url: &Url, most: usize) -> Result<Bytes, String> {
    let fetched = timeout(FETCH_TIME, fetch_slowly(url, most)).await;
    fetched.unwrap_or_else(|_| Err(Unanswered::Silent(host_of(url)).to_string()))
}

async fn fetch_slowly(url: &Url, most: usize) -> Result<Bytes, String> {
    let request = Request::get("/").header(header::ACCEPT, "application/json").body(Full::default());
    let request = request.map_err(|bad| bad.to_string())?;
    let answer = send(url, None, request).await.map_err(|why| why.to_string())?;
    if answer.status() != StatusCode::OK {
        return Err(format!("{} answers with HTTP status {}", host_of(url), answer.status()));
    }
    body(answer, most).await.map_err(|why| why.to_string())
}

/// Anything that can be read and written.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(url: &Url) -> Result<Box<dyn Stream>, Unanswered> {
    let unreachable = |cause| Unanswered::Unreachable { host: host_of(url), cause };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    // Err: it only comes a little later.
    let _ = stream.set_nodelay(true);
    if url.scheme() != "https" {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Unanswered::NotAsked(host_of(url)))?;
    Ok(Box::new(TLS.connect(name, stream).await.map_err(unreachable)?))
}

/// The host and port of a URL, as requests name it.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
