//! Posts traces to a collector by plain HTTP/1.1, one connection for each batch. The exporter calls
//! from a thread of its own; the work is done on the node's runtime.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// How long one batch may take.
const POST_TIME: Duration = Duration::from_secs(10);

/// Largest answer read, bytes: a collector says little.
const ANSWER_MAX: usize = 64 * 1024;

/// The way to a collector.
#[derive(Debug)]
pub(super) struct Collector {
    runtime: Handle,
}

impl Collector {
    /// Does its work on the runtime of the caller.
    pub(super) fn new() -> Self {
        Self { runtime: Handle::current() }
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Answer<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let posting = self.runtime.spawn(async move { timeout(POST_TIME, post(request)).await });
        Box::pin(async move { posting.await?? })
    }
}

async fn post(mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let host = request.uri().authority().ok_or("the collector's URL names no host")?.clone();
    let stream = TcpStream::connect((host.host().trim_matches(['[', ']']), host.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends by itself when the answer is read and the sender dropped.
    tokio::spawn(connection);
    request.headers_mut().insert(HOST, HeaderValue::from_str(host.as_str())?);
    *request.uri_mut() = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}
