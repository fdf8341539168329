//! The body of a request while it arrives: in time, and within what all bodies may hold together. A
//! body for which there is no room is not read, so that its sender waits; nothing is dropped.
//! See "Limits" in `protocols/identity.md`.

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Most bytes of bodies that one listener takes at once. HTTP/2 lets every connection send many
/// bodies at once, so that the limit of one body bounds nothing. Less lets few addresses keep the
/// others out; more is what they can make a node hold.
const ALL_MAX: usize = 256 * 1024 * 1024;

/// Most bytes of bodies that one address sends at once: sixteen of the largest. Whoever announces
/// more than it sends makes others wait behind the same address.
const ADDRESS_MAX: usize = 16 * 1024 * 1024;

/// Room for bodies. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Room {
    semaphore: Arc<Semaphore>,
    size: usize,
}

impl Room {
    /// What all connections of a listener share.
    pub(super) fn of_all() -> Self {
        Self::new(ALL_MAX)
    }

    /// What all connections from one address share.
    pub(super) fn of_an_address() -> Self {
        Self::new(ADDRESS_MAX)
    }

    fn new(size: usize) -> Self {
        Self { semaphore: Arc::new(Semaphore::new(size)), size }
    }

    /// Waits for room for so many bytes, in turn; a body that is larger than all of it has it alone.
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.min(self.size)).unwrap_or(u32::MAX);
        // Err: the semaphore was closed, which nobody does.
        Arc::clone(&self.semaphore).acquire_many_owned(bytes).await.ok()
    }
}

/// The room that one request has, kept until it is answered: what was made of its body is as large.
#[derive(Debug)]
pub(super) struct Held {
    address: Room,
    all: Room,
    permits: OnceLock<[Option<OwnedSemaphorePermit>; 2]>,
}

impl Held {
    /// Nothing yet, of these rooms.
    pub(super) fn nothing(address: Room, all: Room) -> Arc<Self> {
        Arc::new(Self { address, all, permits: OnceLock::new() })
    }

    /// Takes room for the whole body before any of it is read: bodies that had a part each and waited
    /// for the rest would wait for each other. The own address comes first: who waits there takes
    /// nothing from others.
    async fn take(self: Arc<Self>, bytes: usize) {
        let address = self.address.take(bytes).await;
        let all = self.all.take(bytes).await;
        // Err: it was taken before, and only a body that was not read takes.
        let _ = self.permits.set([address, all]);
    }
}

/// A request's body that must be here in time; the clock runs from the first wait for it.
pub(super) struct Patient {
    body: Incoming,
    taking: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    patience: Duration,
    until: Option<Pin<Box<Sleep>>>,
}

/// What a body reader is told when the client is too slow, or went away.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyFailure {
    #[error("the body took longer than {} s", .0.as_secs())]
    Slow(Duration),
    #[error(transparent)]
    Broken(#[from] hyper::Error),
}

impl Patient {
    /// A body of which at most `most` bytes will be read.
    pub(super) fn new(body: Incoming, held: Arc<Held>, most: usize, patience: Duration) -> Self {
        let announced = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = announced.map_or(most, |bytes| bytes.min(most));
        let taking = (!body.is_end_stream()).then(|| Box::pin(held.take(bytes)) as Pin<Box<_>>);
        Self { body, taking, patience, until: None }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        if let Some(taking) = &mut self.taking {
            std::task::ready!(taking.as_mut().poll(cx));
            self.taking = None;
        }
        Pin::new(&mut self.body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BodyFailure::Broken)))
    }
}

impl Body for Patient {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = this.poll_next(cx) {
            return Poll::Ready(frame);
        }
        let until = this.until.get_or_insert_with(|| Box::pin(sleep(this.patience)));
        until.as_mut().poll(cx).map(|()| Some(Err(BodyFailure::Slow(this.patience))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
