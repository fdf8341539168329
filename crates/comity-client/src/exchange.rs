//! One HTTP exchange with the node over its Unix socket. No rule and no shape is known here.

use crate::idle::{Connection, Streamed};
use crate::{Client, Error};
use bytes::Bytes;
use comity_core::wire::control::Problem;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// Largest answer that is read, bytes: a page of the inbox is at most half of it.
const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// Longest path that a Unix socket address holds on every system we know, bytes.
const SOCKET_PATH_MAX: usize = 100;

pub(crate) async fn get<T: DeserializeOwned>(client: &Client, path: &str, within: Duration) -> Result<T, Error> {
    exchange(client, Method::GET, path, Bytes::new(), within).await
}

pub(crate) async fn post<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    body: &impl Serialize,
    within: Duration,
) -> Result<T, Error> {
    exchange(client, Method::POST, path, json(body)?, within).await
}

pub(crate) async fn put<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    body: &impl Serialize,
    within: Duration,
) -> Result<T, Error> {
    exchange(client, Method::PUT, path, json(body)?, within).await
}

pub(crate) async fn delete<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    body: &impl Serialize,
    within: Duration,
) -> Result<T, Error> {
    exchange(client, Method::DELETE, path, json(body)?, within).await
}

/// Opens a stream within that time; its body goes on until one side ends it.
pub(crate) async fn open(client: &Client, path: &str, within: Duration) -> Result<Streamed, Error> {
    opened(client, request(Method::GET, path, Bytes::new())?, within).await
}

/// Writes an answer as it comes; how many bytes. What was written when this fails is not all of it.
pub(crate) async fn save(
    client: &Client,
    path: &str,
    within: Duration,
    out: &mut impl io::Write,
) -> Result<u64, Error> {
    let mut body = open(client, path, within).await?;
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        out.write_all(&data).map_err(|cause| Error::NotWritten { cause })?;
        bytes += data.len() as u64;
    }
    out.flush().map_err(|cause| Error::NotWritten { cause })?;
    Ok(bytes)
}

/// The same as [`open`], of what is posted.
pub(crate) async fn open_with(
    client: &Client,
    path: &str,
    body: &impl Serialize,
    within: Duration,
) -> Result<Streamed, Error> {
    opened(client, request(Method::POST, path, json(body)?)?, within).await
}

async fn opened(client: &Client, request: Request<Full<Bytes>>, within: Duration) -> Result<Streamed, Error> {
    let answered = async {
        let (response, connection) = send(client, request).await?;
        let body = accepted(response).await?.into_body();
        Ok(Streamed::new(body, client.idle.clone(), connection))
    };
    tokio::time::timeout(within, answered).await.unwrap_or(Err(Error::Silent { after: within }))
}

/// Opens a connection and turns it over to another protocol, within that time.
pub(crate) async fn upgrade(
    client: &Client,
    path: &str,
    protocol: &'static str,
    within: Duration,
) -> Result<TokioIo<Upgraded>, Error> {
    turn_over(client, request(Method::GET, path, Bytes::new())?, protocol, within).await
}

/// Opens a connection and turns it over to WebSocket (RFC 6455), within that time. What is answered to the key is
/// not looked at: it tells caches apart from servers, and a Unix socket has none.
pub(crate) async fn websocket(client: &Client, path: &str, within: Duration) -> Result<TokioIo<Upgraded>, Error> {
    let mut request = request(Method::GET, path, Bytes::new())?;
    request.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    let key = tokio_tungstenite::tungstenite::handshake::client::generate_key();
    let key = HeaderValue::from_str(&key).map_err(|wrong| Error::NotUnderstood(wrong.to_string()))?;
    request.headers_mut().insert(SEC_WEBSOCKET_KEY, key);
    turn_over(client, request, "websocket", within).await
}

async fn turn_over(
    client: &Client,
    mut request: Request<Full<Bytes>>,
    protocol: &'static str,
    within: Duration,
) -> Result<TokioIo<Upgraded>, Error> {
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    request.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocol));
    let answered = async {
        let (response, _connection) = send(client, request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            accepted(response).await?;
            return Err(Error::NotUnderstood(format!("it does not turn over to {protocol}")));
        }
        Ok(TokioIo::new(hyper::upgrade::on(response).await?))
    };
    tokio::time::timeout(within, answered).await.unwrap_or(Err(Error::Silent { after: within }))
}

async fn exchange<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    path: &str,
    body: Bytes,
    within: Duration,
) -> Result<T, Error> {
    let request = request(method, path, body)?;
    let answered = async {
        let (response, connection) = send(client, request).await?;
        let body = collect(accepted(response).await?.into_body()).await?;
        client.idle.put(connection);
        serde_json::from_slice(&body).map_err(|wrong| Error::NotUnderstood(wrong.to_string()))
    };
    tokio::time::timeout(within, answered).await.unwrap_or(Err(Error::Silent { after: within }))
}

fn request(method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Error> {
    let request = Request::builder().method(method).uri(path).header(HOST, "localhost");
    let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body));
    request.map_err(|wrong| Error::NotUnderstood(wrong.to_string()))
}

fn json(body: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|wrong| Error::NotUnderstood(wrong.to_string()))
}

/// Sends a request: on a connection that is idle, or on a new one.
async fn send(client: &Client, mut request: Request<Full<Bytes>>) -> Result<(Response<Incoming>, Connection), Error> {
    while let Some(mut connection) = client.idle.take().await {
        match connection.try_send_request(request).await {
            Ok(response) => return Ok((response, connection)),
            Err(mut failed) => match failed.take_message() {
                // The node closed it meanwhile, and has seen nothing of the request.
                Some(unsent) => request = unsent,
                None => return Err(failed.into_error().into()),
            },
        }
    }
    let stream = connect(&client.socket()).await.map_err(|failure| cannot_connect(client, failure))?;
    let (mut connection, driving) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends by itself when what sends requests, and the response or what that was turned over to, are dropped.
    tokio::spawn(driving.with_upgrades());
    let response = connection.send_request(request).await?;
    Ok((response, connection))
}

fn cannot_connect(client: &Client, failure: io::Error) -> Error {
    let data_dir = client.data_dir().to_owned();
    match failure.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => Error::NoNode { data_dir },
        ErrorKind::PermissionDenied => Error::NotOurs { data_dir, source: failure },
        _ => Error::Broken(failure.to_string()),
    }
}

/// Connects to a socket whose path may be longer than a socket address holds: then the folder is
/// opened and the socket named through it.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    if socket.as_os_str().len() <= SOCKET_PATH_MAX {
        return UnixStream::connect(socket).await;
    }
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(ErrorKind::NotFound.into());
    };
    let folder = std::fs::File::open(folder)?;
    let through = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&folder)));
    UnixStream::connect(through.join(name)).await
}

/// The response, if it is not a problem.
async fn accepted(response: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = collect(response.into_body()).await?;
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => Err(Error::Refused(problem)),
        Err(_) => Err(Error::NotUnderstood(format!("HTTP status {status}"))),
    }
}

async fn collect(body: Incoming) -> Result<Bytes, Error> {
    let body = Limited::new(body, ANSWER_MAX).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|broken| Error::Broken(broken.to_string()))
}
