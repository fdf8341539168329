//! Tools of an HTTP endpoint that an OpenAPI 3 document describes: each operation with an `operationId` is one. What the
//! document says is read in `openapi/document.rs`; here a call becomes a request, and its answer a result.

mod document;
#[cfg(test)]
mod tests;

use super::answer::{self, CallError};
use super::http::{self, Unanswered};
use super::server::Said;
use crate::config::{Hidden, ToolDocument};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{Method, Request};
use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use url::Url;

/// Largest document, bytes.
const DOCUMENT_MAX: usize = 4 * 1024 * 1024;

/// The argument that is the body of a request.
const BODY: &str = "body";

/// By what an endpoint knows that a call is one that it had (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// An endpoint and its operations.
#[derive(Debug)]
pub(super) struct Endpoint {
    url: Url,
    bearer: Option<Hidden>,
    operations: BTreeMap<String, Operation>,
}

/// One operation.
#[derive(Debug)]
struct Operation {
    said: Said,
    method: Method,
    /// The path, with `{name}` where arguments stand.
    path: String,
    parameters: Vec<Parameter>,
    /// Whether it takes a JSON body.
    body: bool,
    /// Whether its structured result stands inside of an object.
    wrapped: bool,
}

/// One argument that is not the body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameter {
    name: String,
    place: Place,
}

/// Where an argument goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Header(HeaderName),
}

impl Endpoint {
    /// Reads the document; what cannot be used of it is left out.
    pub(super) async fn read(
        document: &ToolDocument,
        url: Option<&Url>,
        bearer: Option<&Hidden>,
    ) -> Result<Self, String> {
        let (bytes, from) = match document {
            ToolDocument::At(at) => (http::fetch(at, DOCUMENT_MAX).await?, Some(at)),
            ToolDocument::File(path) => (file(path).await.map_err(|why| format!("{}: {why}", path.display()))?, None),
        };
        let document = document::Document::read(&bytes)?;
        let url = match url {
            Some(url) => url.clone(),
            None => document.server(from)?,
        };
        Ok(Self { url, bearer: bearer.cloned(), operations: document.operations() })
    }

    /// What its operations say of themselves.
    pub(super) fn said(&self) -> Vec<Said> {
        self.operations.values().map(|operation| operation.said.clone()).collect()
    }

    /// Calls an operation; the arguments fit its schema.
    pub(super) async fn call(
        &self,
        (tool, params, call_id): (&str, &Value, &str),
        output_max: usize,
    ) -> Result<Value, CallError> {
        let none = Map::new();
        let params = params.as_object().unwrap_or(&none);
        let operation =
            self.operations.get(tool).ok_or_else(|| CallError::new("unknown_tool", "there is no such operation"))?;
        let url = operation.url(&self.url, params)?;
        let mut request = operation.request(params)?;
        // Err: it came from elsewhere, and is none that a header can hold.
        if let Ok(id) = HeaderValue::from_str(call_id) {
            request.headers_mut().entry(IDEMPOTENCY_KEY).or_insert(id);
        }
        let failed = |why: Unanswered| match why {
            Unanswered::TooLarge(_) => CallError::too_large(output_max),
            other => CallError::new("server_failed", other.to_string()),
        };
        let answer = http::send(&url, self.bearer.as_ref(), request).await.map_err(failed)?;
        let status = answer.status();
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_json = is_json(kind);
        let body = http::body(answer, output_max).await.map_err(failed)?;
        let text = || String::from_utf8_lossy(&body).into_owned();
        let value = if is_json { serde_json::from_slice::<Value>(&body).ok() } else { None };
        if !status.is_success() {
            let data = json!({"status": status.as_u16(), "body": value.unwrap_or_else(|| text().into())});
            let sentence = format!("the endpoint answers with HTTP status {status}");
            return Err(CallError { data: Some(data), ..CallError::new("tool_error", sentence) });
        }
        match value {
            Some(value) if operation.said.output.is_some() => Ok(answer::structured(value, operation.wrapped)),
            Some(value) => Ok(answer::structured(value.clone(), !value.is_object())),
            None if is_json && !body.is_empty() => {
                Err(CallError::new("bad_result", "the endpoint's answer is no JSON"))
            }
            None => Ok(answer::text(text())),
        }
    }
}

impl Operation {
    fn url(&self, base: &Url, params: &Map<String, Value>) -> Result<Url, CallError> {
        let mut path = self.path.clone();
        for parameter in self.parameters.iter().filter(|parameter| parameter.place == Place::Path) {
            let text = params.get(&parameter.name).map(|value| plain(&parameter.name, value)).transpose()?;
            let text = text.unwrap_or_default();
            // Such a step would lead to another operation.
            if text.is_empty() || text == "." || text == ".." {
                return Err(CallError::bad_params(&format!("/{}", parameter.name), "it cannot be a step of a path"));
            }
            path = path.replace(&format!("{{{}}}", parameter.name), &encoded(&text));
        }
        let mut url = base.clone();
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        url.set_query(None);
        for parameter in self.parameters.iter().filter(|parameter| parameter.place == Place::Query) {
            let values = match params.get(&parameter.name) {
                None => continue,
                Some(Value::Array(items)) => items.as_slice(),
                Some(value) => std::slice::from_ref(value),
            };
            for value in values {
                url.query_pairs_mut().append_pair(&parameter.name, &plain(&parameter.name, value)?);
            }
        }
        Ok(url)
    }

    fn request(&self, params: &Map<String, Value>) -> Result<Request<Full<Bytes>>, CallError> {
        let body = params.get(BODY).filter(|_| self.body);
        let mut request = Request::new(Full::from(body.map(Value::to_string).unwrap_or_default()));
        *request.method_mut() = self.method.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"));
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for parameter in &self.parameters {
            if let (Place::Header(name), Some(value)) = (&parameter.place, params.get(&parameter.name)) {
                let text = plain(&parameter.name, value)?;
                let bad = |_| CallError::bad_params(&format!("/{}", parameter.name), "it cannot be a header's value");
                headers.insert(name.clone(), HeaderValue::from_str(&text).map_err(bad)?);
            }
        }
        Ok(request)
    }
}

async fn file(path: &std::path::Path) -> std::io::Result<Bytes> {
    let length = tokio::fs::metadata(path).await?.len();
    if usize::try_from(length).is_ok_and(|length| length <= DOCUMENT_MAX) {
        return tokio::fs::read(path).await.map(Bytes::from);
    }
    Err(std::io::Error::other(format!("it has more than {DOCUMENT_MAX} bytes")))
}

fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// A value as it stands in a path, a query or a header.
fn plain(name: &str, value: &Value) -> Result<String, CallError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(CallError::bad_params(&format!("/{name}"), "a text, a number, true or false is wanted")),
    }
}

/// A text as one step of a path.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => write!(out, "%{byte:02X}").expect("writing to a String does not fail"),
        }
    }
    out
}
