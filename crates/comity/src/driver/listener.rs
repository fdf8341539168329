//! A listener: where the driver hands the messages that attention lets through at once. It is
//! bounded; what does not fit goes to the inbox, so that a slow listener loses nothing.

use super::{Event, Handle};
use comity_core::envelope::Received;
use comity_core::id::ListenerId;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::sync::{Notify, mpsc};

/// Most messages that wait for one listener; about 3 MB of small ones.
pub(super) const WAITING_MAX: usize = 8192;

/// The driver's side of a listener.
#[derive(Debug)]
pub(crate) struct Mailbox {
    batches: mpsc::Sender<Vec<Arc<Received>>>,
    waiting: Arc<AtomicUsize>,
    drained: Arc<Notify>,
}

/// The receiving side. Dropping it ends the listening.
pub(crate) struct Listener {
    id: ListenerId,
    handle: Handle,
    batches: mpsc::Receiver<Vec<Arc<Received>>>,
    waiting: Arc<AtomicUsize>,
    drained: Arc<Notify>,
    current: std::vec::IntoIter<Arc<Received>>,
}

/// A new listener and its mailbox.
pub(super) fn open(id: ListenerId, handle: Handle) -> (Mailbox, Listener) {
    let (sender, batches) = mpsc::channel(WAITING_MAX);
    let waiting = Arc::new(AtomicUsize::new(0));
    let drained = Arc::new(Notify::new());
    let mailbox = Mailbox { batches: sender, waiting: waiting.clone(), drained: drained.clone() };
    (mailbox, Listener { id, handle, batches, waiting, drained, current: Vec::new().into_iter() })
}

impl Mailbox {
    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Told whenever the listener has taken all but a quarter of what fits.
    pub(super) fn drained(&self) -> Arc<Notify> {
        self.drained.clone()
    }

    /// Hands over as many as there is room for and returns the rest.
    pub(super) fn put(&self, mut batch: Vec<Arc<Received>>) -> Vec<Arc<Received>> {
        let room = WAITING_MAX.saturating_sub(self.waiting.load(Ordering::Relaxed));
        let rest = batch.split_off(room.min(batch.len()));
        if batch.is_empty() {
            return rest;
        }
        self.waiting.fetch_add(batch.len(), Ordering::Relaxed);
        match self.batches.try_send(batch) {
            Ok(()) => rest,
            Err(mpsc::error::TrySendError::Full(mut batch) | mpsc::error::TrySendError::Closed(mut batch)) => {
                batch.extend(rest);
                batch
            }
        }
    }
}

impl Listener {
    /// The next message, opened if it was sealed for this node; `None` when the node has ended.
    pub(crate) async fn recv(&mut self) -> Option<Arc<Received>> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// The same, for streams.
    pub(crate) fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Arc<Received>>> {
        loop {
            if let Some(received) = self.current.next() {
                return Poll::Ready(Some(self.handle.me().open(received, self.handle.counters())));
            }
            match ready!(self.batches.poll_recv(context)) {
                Some(batch) => self.hold(batch),
                None => return Poll::Ready(None),
            }
        }
    }

    fn hold(&mut self, batch: Vec<Arc<Received>>) {
        let before = self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        if before - batch.len() <= WAITING_MAX / 4 {
            self.drained.notify_one();
        }
        self.current = batch.into_iter();
    }
}

impl Drop for Listener {
    /// Tells the driver; what was handed over and not taken goes to the inbox.
    fn drop(&mut self) {
        self.batches.close();
        let mut left: Vec<_> = self.current.by_ref().collect();
        while let Ok(batch) = self.batches.try_recv() {
            left.extend(batch);
        }
        let (id, handle) = (self.id, self.handle.clone());
        match handle.0.events.try_send(Event::Unlisten { listener: id, left }) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(event)) => {
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(async move { handle.put(event).await });
                }
            }
        }
    }
}
