//! Single HTTP requests to peers: POSTs to those without links, and what is fetched from them.
//! The address given is the address dialled; no redirect is followed and no name looked up.
//! See "Network door" in `protocols/local-network.md`.

use super::Links;
use super::wire::Wire;
use axum::http::{HeaderMap, HeaderValue, Method, Request, header};
use bytes::Bytes;
use comity_core::envelope::Message;
use comity_core::id::{NodeId, PeerId};
use comity_core::node::{Input, PostFailure};
use comity_core::wire::json::{self, Spelling};
use comity_core::wire::strict;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// How long one request may take, from the first packet to the end of the answer.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// Largest answer that is read, bytes.
const ANSWER_MAX: usize = 1024 * 1024;

/// Largest head of an answer, bytes.
const HEAD_MAX: usize = 16 * 1024;

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whom {
    /// The address.
    pub(crate) address: SocketAddr,
    /// The key that must answer there, by TLS; `None` asks by plain HTTP.
    pub(crate) key: Option<NodeId>,
}

/// Why there is no answer that could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Nobody answered in time, or the connection broke.
    #[error("nobody answered")]
    Unreachable,
    /// Somebody with another key answered: nothing was sent to it.
    #[error("another key answered")]
    WrongKey,
    /// The answer was this HTTP status, not 2xx.
    #[error("the answer was HTTP status {0}")]
    Status(u16),
    /// The answer was larger than 1 MiB, or not JSON.
    #[error("the answer is not JSON of at most 1 MiB")]
    NotJson,
}

impl Links {
    /// Performs `Effect::Post`; the driver is told the end.
    pub(crate) fn post(&self, peer: PeerId, address: SocketAddr, coded: bool, message: Arc<Message>) {
        let Some(id) = message.id else { return };
        let links = self.clone();
        self.spawn(async move {
            let Ok(_seat) = links.0.posts.acquire().await else { return };
            let (coded, outcome) = links.post_either(address, coded, &message).await;
            links.0.handle.inform(Input::Posted { message: id, peer, coded, outcome }).await;
        });
    }

    /// Posts in the spelling that the peer is known to want; in the other one if it cannot read it.
    /// Returns which spelling was tried last.
    async fn post_either(
        &self,
        address: SocketAddr,
        coded: bool,
        message: &Message,
    ) -> (bool, Result<(), PostFailure>) {
        let first = self.post_once(address, coded, message).await;
        if coded || !matches!(first, Err(PostFailure::Status(400 | 422))) {
            return (coded, first);
        }
        (true, self.post_once(address, true, message).await)
    }

    async fn post_once(&self, address: SocketAddr, coded: bool, message: &Message) -> Result<(), PostFailure> {
        let mut message = message.clone();
        let me = self.0.handle.me();
        let signed = message.more.as_ref().is_some_and(|more| more.signature.is_some());
        if !signed && message.from == me.keys().peer() {
            json::sign(&mut message, me.keys());
        }
        let spelling = if coded { Spelling::Coded } else { Spelling::Design };
        let body = serde_json::json!({ "message": json::to_value(&message, spelling) }).to_string();
        let whom = Whom { address, key: None };
        match self.request(whom, Method::POST, "/dashflow/message", Some(body)).await {
            // The original design's clients refuse with a 200.
            Ok(answer) if says_refused(&answer) => Err(PostFailure::Status(409)),
            Ok(_) => Ok(()),
            Err(Unanswered::Status(status)) => Err(PostFailure::Status(status)),
            Err(_) => Err(PostFailure::Unreachable),
        }
    }

    /// What a peer answers to a GET, as JSON.
    pub(crate) async fn fetch(&self, whom: Whom, path: &str) -> Result<Value, Unanswered> {
        let body = self.request(whom, Method::GET, path, None).await?;
        strict::parse(&body).map_err(|_| Unanswered::NotJson)
    }

    /// What a peer answers to a GET within that time, up to so many bytes.
    pub(crate) async fn read(
        &self,
        whom: Whom,
        path: &str,
        within: Duration,
        answer_max: usize,
    ) -> Result<Bytes, Unanswered> {
        let call = async {
            let connecting = timeout(REQUEST_TIME, TcpStream::connect(whom.address)).await;
            let tcp = connecting.map_err(|_| Unanswered::Unreachable)?.map_err(|_| Unanswered::Unreachable)?;
            self.talk_over(tcp, whom, (Method::GET, path), HeaderMap::new(), Bytes::new(), answer_max).await
        };
        Ok(timeout(within, call).await.unwrap_or(Err(Unanswered::Unreachable))?.1)
    }

    /// A connection to a peer for several requests, one after the other. What is asked of it takes as long as whoever
    /// asks waits; it ends when it is dropped.
    pub(crate) async fn open(&self, address: SocketAddr, key: NodeId) -> Result<Requests, Unanswered> {
        let dialed = async {
            let tcp = TcpStream::connect(address).await.map_err(|_| Unanswered::Unreachable)?;
            let shake = self.0.tls.connect(Wire::dialed(tcp), address.ip()).await;
            let (stream, answered) = shake.map_err(|_| Unanswered::Unreachable)?;
            if answered != key {
                return Err(Unanswered::WrongKey);
            }
            let mut builder = hyper::client::conn::http1::Builder::new();
            let shake = builder.max_buf_size(HEAD_MAX).handshake(TokioIo::new(stream)).await;
            shake.map_err(|_| Unanswered::Unreachable)
        };
        let (sender, connection) = timeout(REQUEST_TIME, dialed).await.unwrap_or(Err(Unanswered::Unreachable))?;
        // Err: whoever asks next finds it closed.
        let carrying = tokio::spawn(async move { drop(connection.await) });
        Ok(Requests { address, sender, _carrying: AbortOnDropHandle::new(carrying) })
    }

    async fn request(&self, whom: Whom, method: Method, path: &str, json: Option<String>) -> Result<Bytes, Unanswered> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if json.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = Bytes::from(json.unwrap_or_default());
        let call = async {
            let tcp = TcpStream::connect(whom.address).await.map_err(|_| Unanswered::Unreachable)?;
            self.call_over(tcp, whom, (method, path), headers, body, ANSWER_MAX).await
        };
        Ok(timeout(REQUEST_TIME, call).await.unwrap_or(Err(Unanswered::Unreachable))?.1)
    }

    /// One request with these headers over a new connection to `whom`: the head and the body of the
    /// answer, if it is a good one.
    pub(super) async fn call_over(
        &self,
        tcp: TcpStream,
        whom: Whom,
        (method, path): (Method, &str),
        headers: HeaderMap,
        body: Bytes,
        answer_max: usize,
    ) -> Result<(HeaderMap, Bytes), Unanswered> {
        let talk = self.talk_over(tcp, whom, (method, path), headers, body, answer_max);
        timeout(REQUEST_TIME, talk).await.unwrap_or(Err(Unanswered::Unreachable))
    }

    /// The same, however long it takes.
    async fn talk_over(
        &self,
        tcp: TcpStream,
        whom: Whom,
        (method, path): (Method, &str),
        headers: HeaderMap,
        body: Bytes,
        answer_max: usize,
    ) -> Result<(HeaderMap, Bytes), Unanswered> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, whom.address.to_string())
            .header(header::CONNECTION, "close");
        let mut request = request.body(Full::new(body)).map_err(|_| Unanswered::Unreachable)?;
        request.headers_mut().extend(headers);
        // Boxed, as in `mesh::open`: what every dial carries along for its rarer parts leaves holes in the
        // memory that is kept for links.
        Box::pin(async {
            let wire = Wire::dialed(tcp);
            let Some(expect) = whom.key else { return exchange(wire, request, answer_max).await };
            let shake = self.0.tls.connect(wire, whom.address.ip()).await;
            match shake.map_err(|_| Unanswered::Unreachable)? {
                (stream, key) if key == expect => exchange(stream, request, answer_max).await,
                _ => Err(Unanswered::WrongKey),
            }
        })
        .await
    }
}

/// A connection on which a peer is asked again and again.
#[derive(Debug)]
pub(crate) struct Requests {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
    _carrying: AbortOnDropHandle<()>,
}

impl Requests {
    /// Whether the other side has not closed it.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends JSON and reads the whole answer, up to so many bytes. After an error the connection is of no use.
    pub(crate) async fn post(&mut self, path: &str, json: Bytes, answer_max: usize) -> Result<Bytes, Unanswered> {
        self.send(Method::POST, path, json, answer_max).await
    }

    /// Reads what is at a path, up to so many bytes. After an error the connection is of no use.
    pub(crate) async fn get(&mut self, path: &str, answer_max: usize) -> Result<Bytes, Unanswered> {
        self.send(Method::GET, path, Bytes::new(), answer_max).await
    }

    async fn send(&mut self, method: Method, path: &str, body: Bytes, answer_max: usize) -> Result<Bytes, Unanswered> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, self.address.to_string());
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request = request.body(Full::new(body)).map_err(|_| Unanswered::Unreachable)?;
        self.sender.ready().await.map_err(|_| Unanswered::Unreachable)?;
        let response = self.sender.send_request(request).await.map_err(|_| Unanswered::Unreachable)?;
        let status = response.status();
        if !status.is_success() {
            return Err(Unanswered::Status(status.as_u16()));
        }
        let body = Limited::new(response.into_body(), answer_max).collect().await;
        body.map(|body| body.to_bytes()).map_err(|_| Unanswered::NotJson)
    }
}

/// Sends one request and reads the whole answer.
async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    answer_max: usize,
) -> Result<(HeaderMap, Bytes), Unanswered>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = hyper::client::conn::http1::Builder::new();
    let shake = builder.max_buf_size(HEAD_MAX).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shake.map_err(|_| Unanswered::Unreachable)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|_| Unanswered::Unreachable)?;
        let status = response.status();
        let (head, body) = response.into_parts();
        let body = Limited::new(body, answer_max).collect().await;
        if !status.is_success() {
            return Err(Unanswered::Status(status.as_u16()));
        }
        body.map(|body| (head.headers, body.to_bytes())).map_err(|_| Unanswered::NotJson)
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        outcome = answer.as_mut() => outcome,
        // The connection ends first when it answered completely, or broke: either way it is known.
        _ = connection => answer.await,
    }
}

/// Whether an answer to a POST says that the message was not taken.
fn says_refused(answer: &[u8]) -> bool {
    strict::parse(answer).is_ok_and(|answer| answer["accepted"] == Value::Bool(false))
}
