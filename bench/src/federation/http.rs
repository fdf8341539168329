//! Requests in JSON to a program on this machine, over one connection that is kept.

use super::said;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpStream;

/// A connection, and who asks by it.
pub(super) struct Http {
    sender: SendRequest<Full<Bytes>>,
    token: Option<String>,
}

impl Http {
    pub(super) async fn open(port: u16, token: Option<&str>) -> Result<Self, String> {
        let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.map_err(said)?;
        stream.set_nodelay(true).map_err(said)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(said)?;
        // It ends with the sender; what went wrong the sender is told.
        tokio::spawn(connection);
        Ok(Self { sender, token: token.map(str::to_owned) })
    }

    /// Asks, and reads the answer; anything but success is an error.
    pub(super) async fn ask(&mut self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let text = if method == Method::GET { String::new() } else { body.to_string() };
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(text)));
        self.sender.ready().await.map_err(said)?;
        let answer = self.sender.send_request(request.map_err(said)?).await.map_err(said)?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await.map_err(said)?.to_bytes();
        let read = serde_json::from_slice(&bytes);
        match read {
            Ok(value) if status.is_success() => Ok(value),
            _ => Err(format!("{path}: {status} {}", String::from_utf8_lossy(&bytes[..bytes.len().min(300)]))),
        }
    }
}
