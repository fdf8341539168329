//! The one who changes a registry: it takes changes in the order in which they are asked for, those that have come
//! meanwhile as one group. It reads what other coordinators have changed, lets each change be decided on that, writes what
//! comes of it, and answers when that is safe. What is not written is made undone.

use super::books::{Books, Image};
use crate::store::registry::{RegistryError, Store, Write};
use comity_core::registry::profile::NodeName;
use comity_core::time::Now;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};

/// Changes that are written at once, at most.
const GROUP_MAX: usize = 256;

/// What the keeper is told.
pub(super) enum Order {
    /// Something is to be changed.
    Change(Change),
    /// Others may have changed something.
    Look(Now),
    /// Nothing comes any more.
    Close(oneshot::Sender<()>),
}

/// A change that is not decided yet.
pub(super) struct Change {
    /// The node that it concerns, if it concerns one.
    pub(super) node: Option<NodeName>,
    pub(super) now: Now,
    pub(super) decide: Box<dyn FnOnce(&mut Books) -> Decided + Send>,
}

/// What came of a change: what is to be written of it, and who waits to be told that it is.
pub(super) struct Decided {
    pub(super) writes: Vec<Write>,
    pub(super) tell: Box<dyn FnOnce() + Send>,
}

/// The keeper.
pub(super) struct Keeper {
    pub(super) store: Store,
    pub(super) books: Arc<Mutex<Books>>,
    /// Grows whenever a node comes, goes or changes.
    pub(super) mark: watch::Sender<u64>,
}

impl Keeper {
    /// Obeys until it is told to close, or nobody is left.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let (mut taken, mut closed, mut is_failing) = (Vec::new(), None, false);
        while closed.is_none() && orders.recv_many(&mut taken, GROUP_MAX).await > 0 {
            let (mut changes, mut looked) = (Vec::new(), None);
            for order in taken.drain(..) {
                match order {
                    Order::Change(change) => changes.push(change),
                    Order::Look(now) => looked = Some(now),
                    Order::Close(done) => closed = Some(done),
                }
            }
            let done = match (changes.last().map(|last| last.now), looked) {
                (Some(now), _) => self.change(changes, now).await,
                (None, Some(now)) => self.look(now).await,
                (None, None) => continue,
            };
            match done {
                Ok(()) => is_failing = false,
                Err(error) if is_failing => tracing::debug!(%error, "the registry still cannot be kept"),
                Err(error) => {
                    is_failing = true;
                    tracing::error!(%error, "the registry cannot be kept: look at the disk, or the server, of its store");
                }
            }
        }
        self.store.close().await;
        if let Some(done) = closed {
            // Err: nobody waits any more.
            let _ = done.send(());
        }
    }

    async fn look(&mut self, now: Now) -> Result<(), RegistryError> {
        let others = self.store.others(now).await?;
        self.with_books(|books| books.take(others, now));
        Ok(())
    }

    /// Whoever waits is told, or hears that nobody tells it any more.
    async fn change(&mut self, changes: Vec<Change>, now: Now) -> Result<(), RegistryError> {
        let others = self.store.begin(now).await?;
        let (writes, told, images) = self.with_books(|books| {
            books.take(others, now);
            decide(books, changes)
        });
        if let Err(error) = self.store.commit(&writes, now).await {
            self.with_books(|books| {
                images.into_iter().rev().for_each(|image| books.put_back(image, now));
                books.put_unwritten(writes);
            });
            return Err(error);
        }
        told.into_iter().for_each(|tell| tell());
        Ok(())
    }

    fn with_books<T>(&self, with: impl FnOnce(&mut Books) -> T) -> T {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let done = with(&mut books);
        let mark = books.roster.mark();
        drop(books);
        self.mark.send_if_modified(|said| std::mem::replace(said, mark) != mark);
        done
    }
}

type Told = Vec<Box<dyn FnOnce() + Send>>;

/// Decides each, and how it was before.
fn decide(books: &mut Books, changes: Vec<Change>) -> (Vec<Write>, Told, Vec<Image>) {
    let (mut writes, mut told, mut images) = (Vec::new(), Vec::new(), Vec::new());
    for Change { node, decide, .. } in changes {
        images.push(books.image(node));
        let Decided { writes: some, tell } = decide(books);
        writes.extend(some);
        told.push(tell);
    }
    (writes, told, images)
}
