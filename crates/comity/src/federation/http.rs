//! HTTP requests to other origins and to a mesh's registry: every address that a name leads to passes the dial guard, and is the one that is
//! dialled; certificates are checked by the authorities of this system. No redirect is followed here. See "Dialling" in
//! `protocols/identity.md`.

use crate::link::Tls;
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use bytes::Bytes;
use comity_core::id::NodeId;
use comity_core::identity::guard::{self, Forbidden};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ipnet::IpNet;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tower::Service;

/// How long a connection may take, its TLS included.
const CONNECT_TIME: Duration = Duration::from_secs(8);

/// How far apart the addresses of one name are tried, unless one has failed meanwhile.
const APART: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried, at most.
const ADDRESSES_MAX: usize = 8;

/// How long a connection is kept that nobody uses, and how many to one host.
const IDLE_TIME: Duration = Duration::from_secs(60);
const IDLE_MAX: usize = 4;

/// Largest head of an answer, bytes.
const HEAD_MAX: usize = 16 * 1024;

/// Where requests may go.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    /// Private networks that are listed.
    pub(crate) networks: Vec<IpNet>,
    /// Doors of this node that nobody may be led to.
    pub(crate) own_doors: Vec<SocketAddr>,
    /// Who must answer by TLS.
    pub(crate) server: Server,
}

/// By what a server proves who it is.
#[derive(Clone)]
pub(crate) enum Server {
    /// A certificate of an authority of this system, or of one of this PEM file, which this key of the configuration names.
    Authority(&'static str, Option<PathBuf>),
    /// This key, as nodes do among themselves; this node proves its own, too.
    Key(Tls, NodeId),
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(_, file) => out.debug_tuple("Authority").field(file).finish(),
            Self::Key(_, key) => out.debug_tuple("Key").field(key).finish(),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its whole body.
    pub(crate) body: Bytes,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    /// The name leads where nothing may be dialled.
    #[error("{host} leads to {address}: {why} (federation.networks lists private ones that are meant)")]
    Forbidden {
        /// The name.
        host: String,
        /// The address.
        address: IpAddr,
        /// Why not.
        why: Forbidden,
    },
    /// The name leads nowhere.
    #[error("{host} has no address: {why}")]
    NoAddress {
        /// The name.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// Nobody answers there, or not as HTTP and TLS want.
    #[error("{0}")]
    Connection(String),
    /// Not in time.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// The answer is larger than it may be.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// The authorities cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{key} ({}): {cause}", path.display())]
pub struct BadAuthorities {
    key: &'static str,
    path: PathBuf,
    cause: String,
}

/// The way to other origins. Cloning shares its connections.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client<Guarded, Full<Bytes>>,
}

impl Http {
    /// Goes where it may. Needs a tokio runtime.
    pub(crate) fn new(reach: Reach) -> Result<Self, BadAuthorities> {
        let checked = match &reach.server {
            Server::Authority(key, file) => {
                Checked::Authority(TlsConnector::from(Arc::new(authorities(key, file.as_deref())?)))
            }
            Server::Key(tls, key) => Checked::Key(tls.clone(), *key),
        };
        let client = legacy::Builder::new(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(HEAD_MAX)
            .build(Guarded { reach: Arc::new(reach), checked });
        Ok(Self { client })
    }

    /// One request, and its whole answer of at most so many bytes, within that time.
    pub(crate) async fn request(
        &self,
        (method, uri): (Method, Uri),
        headers: HeaderMap,
        body: Bytes,
        (within, answer_max): (Duration, usize),
    ) -> Result<Answer, Unanswered> {
        let asking = async {
            let response = self.begin((method, uri), headers, body).await?;
            let (head, body) = response.into_parts();
            if head.status.is_redirection() {
                // What else it says is of no use.
                return Ok(Answer { status: head.status, headers: head.headers, body: Bytes::new() });
            }
            let body = Limited::new(body, answer_max).collect().await;
            let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                Some(_) => Unanswered::TooLarge(answer_max),
                None => Unanswered::Connection(format!("the answer broke off: {error}")),
            })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        timeout(within, asking).await.unwrap_or(Err(Unanswered::Late(within)))
    }

    /// One request, and the answer as it comes.
    pub(crate) async fn begin(
        &self,
        (method, uri): (Method, Uri),
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<axum::http::Response<hyper::body::Incoming>, Unanswered> {
        let request = Request::builder().method(method).uri(uri).body(Full::new(body));
        let mut request = request.map_err(|error| Unanswered::Connection(error.to_string()))?;
        request.headers_mut().extend(headers);
        self.client.request(request).await.map_err(|error| cause_of(&error))
    }
}

/// The cause that the connector gave, if it was one.
fn cause_of(error: &legacy::Error) -> Unanswered {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    let mut text = error.to_string();
    while let Some(error) = cause {
        if let Some(unanswered) = error.downcast_ref::<Unanswered>() {
            return unanswered.clone();
        }
        text = error.to_string();
        cause = error.source();
    }
    Unanswered::Connection(text)
}

fn authorities(key: &'static str, file: Option<&Path>) -> Result<rustls::ClientConfig, BadAuthorities> {
    let mut roots = rustls::RootCertStore::empty();
    // What cannot be used of a system's store is no reason to refuse the rest.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = file {
        let bad = |cause: String| BadAuthorities { key, path: path.to_owned(), cause };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|cause| bad(cause.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|cause| bad(cause.to_string()))?;
            roots.add(certificate).map_err(|cause| bad(cause.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config =
        builder.expect("the provider has TLS 1.2 and 1.3").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// What opens connections.
#[derive(Clone)]
struct Guarded {
    reach: Arc<Reach>,
    checked: Checked,
}

/// What opens TLS, and checks who answers.
#[derive(Clone)]
enum Checked {
    Authority(TlsConnector),
    Key(Tls, NodeId),
}

impl Service<Uri> for Guarded {
    type Response = TokioIo<Stream>;
    type Error = Unanswered;
    type Future = BoxFuture<'static, Result<Self::Response, Unanswered>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unanswered>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let guarded = self.clone();
        Box::pin(async move {
            let connecting = guarded.connect(&uri);
            timeout(CONNECT_TIME, connecting).await.unwrap_or(Err(Unanswered::Late(CONNECT_TIME))).map(TokioIo::new)
        })
    }
}

impl Guarded {
    async fn connect(&self, uri: &Uri) -> Result<Stream, Unanswered> {
        let is_plain = uri.scheme_str() == Some("http");
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
        let addresses = self.addresses(host, port).await?;
        let tcp = race(addresses).await.map_err(|error| Unanswered::Connection(format!("{host}: {error}")))?;
        // Small requests and answers alternate: none waits for another.
        let _ = tcp.set_nodelay(true);
        if is_plain {
            return Ok(Stream::Plain(tcp));
        }
        let failed = |error: io::Error| Unanswered::Connection(format!("TLS with {host}: {error}"));
        let stream = match &self.checked {
            Checked::Key(tls, key) => {
                let address = tcp.peer_addr().map_err(failed)?.ip();
                let (stream, answered) = tls.connect(tcp, address).await.map_err(failed)?;
                if answered != *key {
                    return Err(Unanswered::Connection(format!("{host}: another key answered")));
                }
                stream
            }
            Checked::Authority(tls) => {
                let name = host.trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(name).map_err(|error| Unanswered::Connection(error.to_string()))?;
                tls.connect(name, tcp).await.map_err(failed)?
            }
        };
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// The addresses of a host, if each of them may be dialled: a name with one that may not is led by somebody who
    /// means no good.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Unanswered> {
        let bare = host.trim_matches(['[', ']']);
        let found: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => {
                let none = |why: String| Unanswered::NoAddress { host: host.to_owned(), why };
                let found = tokio::net::lookup_host((bare, port)).await.map_err(|error| none(error.to_string()))?;
                let found: Vec<_> = found.take(ADDRESSES_MAX).collect();
                if found.is_empty() {
                    return Err(none("it is known and has none".to_owned()));
                }
                found
            }
        };
        for address in &found {
            if let Err(why) = guard::permit_origin(*address, &self.reach.networks, &self.reach.own_doors) {
                return Err(Unanswered::Forbidden { host: host.to_owned(), address: address.ip(), why });
            }
        }
        Ok(found)
    }
}

/// The first of these that answers.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut flying = FuturesUnordered::new();
    let mut next = Instant::now();
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    loop {
        tokio::select! {
            biased;
            Some(outcome) = flying.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => (failure, next) = (error, Instant::now()),
            },
            () = sleep_until(next), if waiting.len() > 0 => {
                flying.extend(waiting.next().map(TcpStream::connect));
                next = Instant::now() + APART;
            }
            else => return Err(failure),
        }
    }
}

/// A connection to another origin.
enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
