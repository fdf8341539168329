//! Connections to the node that nobody uses just now: who asks often need not open one each time.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Connections that are kept, at most, and for how long: the node keeps them for half a minute.
const IDLE_MAX: usize = 16;
const IDLE_TIME: Duration = Duration::from_secs(15);

/// What begins requests on one connection.
pub(crate) type Connection = SendRequest<Full<Bytes>>;

/// Idle connections to one node. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Idle(Arc<Mutex<Vec<(Instant, Connection)>>>);

impl Idle {
    /// A connection that is still open.
    pub(crate) async fn take(&self) -> Option<Connection> {
        loop {
            let (since, mut connection) = self.all().pop()?;
            // Err: the node has closed it.
            if since.elapsed() < IDLE_TIME && connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(crate) fn put(&self, connection: Connection) {
        let mut all = self.all();
        all.retain(|(since, connection)| since.elapsed() < IDLE_TIME && !connection.is_closed());
        if all.len() < IDLE_MAX {
            all.push((Instant::now(), connection));
        }
    }

    // A lock and not a message: it is held for a moment, and never across a wait.
    fn all(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Connection)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer as it comes. Its connection is used again when it was read to its end.
#[derive(Debug)]
pub(crate) struct Streamed {
    body: Incoming,
    connection: Option<(Idle, Connection)>,
}

impl Streamed {
    pub(crate) fn new(body: Incoming, idle: Idle, connection: Connection) -> Self {
        Self { body, connection: Some((idle, connection)) }
    }

    /// The next piece; `None` after the last.
    pub(crate) async fn frame(&mut self) -> Option<hyper::Result<Frame<Bytes>>> {
        let frame = self.body.frame().await;
        if frame.is_none()
            && let Some((idle, connection)) = self.connection.take()
        {
            idle.put(connection);
        }
        frame
    }
}
