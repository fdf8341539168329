//! MCP over streamable HTTP, as rmcp wants its HTTP client: what it sends, and answers as JSON or as server-sent events,
//! neither of them longer than there is room for.

use super::http::{self, Unanswered};
use crate::config::Endpoint;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse};
use sse_stream::{Error as SseError, Sse, SseStream};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// Largest answer that says why something was refused, bytes.
const REFUSAL_MAX: usize = 8 * 1024;

/// The HTTP client of one MCP server. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    endpoint: Arc<Endpoint>,
    /// Most bytes of one message.
    message_max: usize,
    /// Set when something was cut off.
    cut: Arc<AtomicBool>,
}

type Failure = StreamableHttpError<Unanswered>;

impl Client {
    pub(super) fn new(endpoint: Arc<Endpoint>, message_max: usize, cut: Arc<AtomicBool>) -> Self {
        Self { endpoint, message_max, cut }
    }

    async fn ask(
        &self,
        method: Method,
        headers: HashMap<HeaderName, HeaderValue>,
        session: Option<Arc<str>>,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        request.headers_mut().extend(headers.into_iter().map(|(name, value)| (Some(name), value)));
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        if let Some(session) = session {
            let value = HeaderValue::from_str(&session).map_err(|_| unexpected("its session id is none"))?;
            headers.insert(SESSION, value);
        }
        let answer = http::send(&self.endpoint.url, self.endpoint.bearer.as_ref(), request).await;
        answer.map_err(StreamableHttpError::Client)
    }

    /// The events of an answer; one that becomes too long ends them.
    fn events(&self, answer: Response<Incoming>) -> BoxStream<'static, Result<Sse, SseError>> {
        let (most, cut) = (self.message_max, self.cut.clone());
        let mut since_end = 0;
        let mut line = 0;
        let bounded = answer.into_body().into_data_stream().map_err(io::Error::other).and_then(move |piece: Bytes| {
            for byte in &piece {
                since_end += 1;
                match byte {
                    // An empty line ends an event.
                    b'\n' if line == 0 => since_end = 0,
                    b'\n' => line = 0,
                    b'\r' => {}
                    _ => line += 1,
                }
            }
            let too_long = since_end > most;
            if too_long {
                cut.store(true, Ordering::Relaxed);
            }
            std::future::ready(if too_long { Err(io::Error::other("an event is too long")) } else { Ok(piece) })
        });
        SseStream::from_bytes_stream(bounded).boxed()
    }
}

impl StreamableHttpClient for Client {
    type Error = Unanswered;

    async fn post_message(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _auth: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let in_session = session.is_some();
        let wants_answer = matches!(message, ClientJsonRpcMessage::Request(_));
        let body = Bytes::from(serde_json::to_vec(&message)?);
        let answer = self.ask(Method::POST, headers, session, body).await?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND && in_session {
            return Err(StreamableHttpError::SessionExpired);
        }
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let kind = content_type(&answer);
        if !status.is_success() {
            // What it says may be a JSON-RPC error, which belongs to the request.
            let said = http::body(answer, REFUSAL_MAX).await.unwrap_or_default();
            return match serde_json::from_slice::<ServerJsonRpcMessage>(&said) {
                Ok(message @ ServerJsonRpcMessage::Error(_)) if wants_answer => {
                    Ok(StreamableHttpPostResponse::Json(message, None))
                }
                _ => Err(unexpected(format!("HTTP status {status}"))),
            };
        }
        let session = answer.headers().get(SESSION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if kind.starts_with(EVENTS) {
            return Ok(StreamableHttpPostResponse::Sse(self.events(answer), session));
        }
        if !wants_answer {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if !kind.starts_with(JSON) {
            return Err(StreamableHttpError::UnexpectedContentType(Some(kind)));
        }
        let body = http::body(answer, self.message_max).await.map_err(|why| {
            self.cut.fetch_or(matches!(why, Unanswered::TooLarge(_)), Ordering::Relaxed);
            StreamableHttpError::Client(why)
        })?;
        Ok(StreamableHttpPostResponse::Json(serde_json::from_slice(&body)?, session))
    }

    async fn delete_session(
        &self,
        _uri: Arc<str>,
        session: Arc<str>,
        _auth: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failure> {
        // Whatever it answers: the session is not used any more.
        self.ask(Method::DELETE, headers, Some(session), Bytes::new()).await.map(drop)
    }

    async fn get_stream(
        &self,
        _uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _auth: Option<String>,
        mut headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failure> {
        if let Some(last) = last_event {
            let value = HeaderValue::from_str(&last).map_err(|_| unexpected("its event id is none"))?;
            headers.insert(LAST_EVENT, value);
        }
        let answer = self.ask(Method::GET, headers, session, Bytes::new()).await?;
        if answer.status() == StatusCode::METHOD_NOT_ALLOWED {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        let kind = content_type(&answer);
        if !answer.status().is_success() || !kind.starts_with(EVENTS) {
            return Err(unexpected(format!("HTTP status {} and {kind:?} for its events", answer.status())));
        }
        Ok(self.events(answer))
    }
}

fn content_type(answer: &Response<Incoming>) -> String {
    let value = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_ascii_lowercase()
}

fn unexpected(what: impl Into<String>) -> Failure {
    StreamableHttpError::UnexpectedServerResponse(what.into().into())
}
