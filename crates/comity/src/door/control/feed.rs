//! Streams of the control door: JSON values, one a line, or as server-sent events for browsers.
//! A reader that goes away ends whatever produces the stream.

use crate::door::streamed;
use crate::driver::Handle;
use axum::body::Bytes;
use axum::http::header::{ACCEPT, HeaderMap};
use axum::response::Response;
use serde::Serialize;
use std::future::Future;
use tokio::sync::mpsc;

/// How values are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Lines,
    Events,
}

/// Answers with whatever `produce` sends, until it ends, the reader goes or the node stops.
pub(super) fn feed<T, F>(handle: &Handle, headers: &HeaderMap, produce: impl FnOnce(mpsc::Sender<T>) -> F) -> Response
where
    T: Serialize + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let framing = wanted(headers);
    let (content_type, idle): (_, &[u8]) = match framing {
        Framing::Events => ("text/event-stream", b":\n\n"),
        Framing::Lines => ("application/x-ndjson", b"\n"),
    };
    streamed::answer(handle, content_type, (move |value: T| framed(&value, framing), idle), produce)
}

fn wanted(headers: &HeaderMap) -> Framing {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("text/event-stream") { Framing::Events } else { Framing::Lines }
}

fn framed(value: &impl Serialize, framing: Framing) -> Bytes {
    let text = serde_json::to_string(value).expect("the door's own structs have string keys only");
    Bytes::from(if framing == Framing::Events { format!("data: {text}\n\n") } else { format!("{text}\n") })
}
