//! What one feed hands over: many messages at little cost each. They wait in a vector that the
//! driver takes whole; one event tells it that there is something to take.

use super::{Event, Handle};
use comity_core::limits;
use comity_core::node::{Refusal, Send};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc};

/// Most messages of one feed that wait for the driver. More would let a sender run far ahead of the
/// pressure that a slow peer puts on it; less would wake tasks more often.
const WAITING_MAX: usize = 512;

/// The messages of one feed. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// A lock and not a channel: a message costs a push, and the driver takes all of them at once.
    /// It is held for no longer. While there is something in it, the driver has been told.
    waiting: Mutex<Vec<Send>>,
    taken: Notify,
}

/// Why a message was not put in.
enum Obstacle {
    /// The driver must be told too.
    Empty,
    Full,
}

impl Outbox {
    /// Puts in a message, without the secrets in it, once there is room. A caller that gives up meanwhile has sent nothing.
    /// Err: the driver has ended, and nobody takes anything out any more.
    pub(crate) async fn put(&self, send: Send, handle: &Handle) -> Result<(), Refusal> {
        if handle.0.events.is_closed() {
            return Err(Refusal::Leaving);
        }
        let send = handle.0.redaction.send(send, handle.now().wall);
        let send = send.map_err(|_| Refusal::TooLarge { max: limits::PAYLOAD_JSON_MAX })?;
        let (mut send, mut event) = (Some(send), None);
        while let Err(obstacle) = self.offer(&mut send, event.take()) {
            match obstacle {
                Obstacle::Empty => match handle.0.events.reserve().await {
                    Ok(permit) => event = Some(permit),
                    Err(_) => return Err(Refusal::Leaving),
                },
                Obstacle::Full => {
                    let taken = self.0.taken.notified();
                    let full = self.waiting().len() >= WAITING_MAX;
                    if full && handle.stop().run_until_cancelled(taken).await.is_none() {
                        return Err(Refusal::Leaving);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes everything out, into an empty vector whose memory serves the next messages.
    pub(super) fn take(&self, into: &mut Vec<Send>) {
        mem::swap(into, &mut self.waiting());
        self.0.taken.notify_waiters();
    }

    fn offer(&self, send: &mut Option<Send>, event: Option<mpsc::Permit<'_, Event>>) -> Result<(), Obstacle> {
        let mut waiting = self.waiting();
        match (waiting.len(), event) {
            (0, None) => return Err(Obstacle::Empty),
            (WAITING_MAX.., _) => return Err(Obstacle::Full),
            (0, Some(event)) => event.send(Event::Fed(self.clone())),
            (_, _) => {}
        }
        waiting.extend(send.take());
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Send>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
