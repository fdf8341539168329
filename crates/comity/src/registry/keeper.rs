//! The one writer of a registry's file: it takes changes in the order in which they were made, writes those that have
//! come meanwhile as one group, and tells each that it is safe.

use crate::store::registry::{Write, Writer};
use tokio::sync::{mpsc, oneshot};

/// Changes that are written at once, at most.
const GROUP_MAX: usize = 256;

/// What the keeper is told.
pub(super) enum Order {
    /// These belong together.
    Change(Vec<Write>, oneshot::Sender<()>),
    /// Nothing comes any more.
    Close(oneshot::Sender<()>),
}

/// Room for one change in the queue to the disk.
pub(super) struct Changed<'a>(mpsc::Permit<'a, Order>);

impl<'a> Changed<'a> {
    /// Waits for room; `None` when the keeper has ended.
    pub(super) async fn reserve(orders: &'a mpsc::Sender<Order>) -> Option<Self> {
        orders.reserve().await.ok().map(Self)
    }

    /// Hands a change over; what comes back tells that it is safe, or breaks off.
    pub(super) fn send(self, writes: Vec<Write>) -> oneshot::Receiver<()> {
        let (safe, told) = oneshot::channel();
        self.0.send(Order::Change(writes, safe));
        told
    }
}

/// Writes until it is told to close, or nobody is left.
pub(super) async fn run(mut writer: Writer, mut orders: mpsc::Receiver<Order>) {
    let mut taken = Vec::new();
    let mut closed = None;
    let mut is_failing = false;
    while closed.is_none() && orders.recv_many(&mut taken, GROUP_MAX).await > 0 {
        let (mut writes, mut waiting) = (Vec::new(), Vec::new());
        for order in taken.drain(..) {
            match order {
                Order::Change(some, safe) => {
                    writes.extend(some);
                    waiting.push(safe);
                }
                Order::Close(done) => closed = Some(done),
            }
        }
        match writer.commit(&writes).await {
            Ok(()) => {
                is_failing = false;
                for safe in waiting {
                    // Err: nobody waits any more.
                    let _ = safe.send(());
                }
            }
            Err(error) if is_failing => tracing::debug!(%error, "the registry still cannot be written"),
            Err(error) => {
                is_failing = true;
                tracing::error!(%error, "the registry cannot be written: look at the disk of the data directory");
            }
        }
    }
    writer.close().await;
    if let Some(done) = closed {
        // Err: nobody waits any more.
        let _ = done.send(());
    }
}
