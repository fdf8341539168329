//! Answers that come piece by piece for as long as there is something to say. What a piece looks like is said by whoever
//! answers.

use crate::driver::Handle;
use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::response::Response;
use futures_util::stream;
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Pieces that wait for a slow reader, at most; then the producer waits, and what it listens to counts what is skipped.
pub(super) const WAITING_MAX: usize = 64;

/// How often an idle stream says that the node is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Answers with whatever `produce` sends, each piece made by `frame`, until it ends, the reader goes or the node stops.
/// An idle stream says `idle` now and then.
pub(super) fn answer<T, F>(
    handle: &Handle,
    content_type: &'static str,
    (frame, idle): (impl Fn(T) -> Bytes + Send + 'static, &'static [u8]),
    produce: impl FnOnce(mpsc::Sender<T>) -> F,
) -> Response
where
    T: Send + 'static,
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
    let pieces = stream::unfold((receiver, frame), move |(mut receiver, frame)| async move {
        let piece = match timeout(KEEP_ALIVE, receiver.recv()).await {
            Ok(value) => frame(value?),
            Err(_) => Bytes::from_static(idle),
        };
        Some((Ok::<_, Infallible>(piece), (receiver, frame)))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
