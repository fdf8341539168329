//! Streams of the control door: JSON values, one a line, or as server-sent events for browsers.
//! A reader that goes away ends whatever produces the stream.

use crate::driver::Handle;
use axum::body::{Body, Bytes};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::response::Response;
use futures_util::stream;
use serde::Serialize;
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Values that wait for a slow reader, at most; then the producer waits, and what it listens to
/// counts what is skipped.
const WAITING_MAX: usize = 64;

/// How often an idle stream says that the node is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

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
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let (gone, stop) = (sender.clone(), handle.stop().clone());
    let producing = produce(sender);
    tokio::spawn(async move {
        tokio::select! {
            () = producing => {}
            () = gone.closed() => {}
            () = stop.cancelled() => {}
        }
    });
    let framing = wanted(headers);
    let frames = stream::unfold(receiver, move |mut receiver| async move {
        let frame = match timeout(KEEP_ALIVE, receiver.recv()).await {
            Ok(value) => framed(&value?, framing),
            Err(_) => Bytes::from_static(if framing == Framing::Events { b":\n\n" } else { b"\n" }),
        };
        Some((Ok::<_, Infallible>(frame), receiver))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let content_type = if framing == Framing::Events { "text/event-stream" } else { "application/x-ndjson" };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn wanted(headers: &HeaderMap) -> Framing {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("text/event-stream") { Framing::Events } else { Framing::Lines }
}

fn framed(value: &impl Serialize, framing: Framing) -> Bytes {
    let text = serde_json::to_string(value).expect("the door's own structs have string keys only");
    Bytes::from(if framing == Framing::Events { format!("data: {text}\n\n") } else { format!("{text}\n") })
}
