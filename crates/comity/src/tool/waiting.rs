//! Those who wait for what a call ends with: whoever made it, and whoever joined it by its id. A call of another origin
//! goes on for a while when the last of them has gone, so that one whose connection broke finds it again.

use super::CallError;
use serde_json::Value;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long a call of another origin goes on that nobody waits for.
pub(super) const ALONE_MAX: Duration = Duration::from_secs(10);

/// What a call ended with.
type Outcome = Option<Arc<Result<Value, CallError>>>;

/// Where a call's end will be.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    outcome: watch::Receiver<Outcome>,
    /// Everybody who waits holds a receiver of it.
    waiting: watch::Sender<()>,
}

/// Tells what a call ended with.
pub(super) struct Ender(watch::Sender<Outcome>);

impl Ender {
    pub(super) fn end(self, outcome: Result<Value, CallError>) {
        // Err: nobody waits any more.
        let _ = self.0.send(Some(Arc::new(outcome)));
    }
}

/// Somebody who waits, until this is dropped.
pub(super) struct Waiter {
    outcome: watch::Receiver<Outcome>,
    _waits: watch::Receiver<()>,
}

impl Waiter {
    /// What the call ends with; `cancel`: it is not wanted any more.
    pub(super) async fn wait(mut self, cancel: &CancellationToken) -> Result<Value, CallError> {
        tokio::select! {
            ended = self.outcome.wait_for(Option::is_some) => match ended.as_deref() {
                Ok(Some(outcome)) => (**outcome).clone(),
                _ => Err(CallError::new("server_failed", "the node ends")),
            },
            () = cancel.cancelled() => Err(CallError::cancelled()),
        }
    }
}

impl Ending {
    pub(super) fn new() -> (Ender, Self) {
        let (ender, outcome) = watch::channel(None);
        (Ender(ender), Self { outcome, waiting: watch::Sender::new(()) })
    }

    /// One more who waits.
    pub(super) fn waiter(&self) -> Waiter {
        Waiter { outcome: self.outcome.clone(), _waits: self.waiting.subscribe() }
    }

    /// Cancels a call once nobody has waited for it for so long.
    pub(super) async fn cancel_alone(&self, after: Duration, call: &CancellationToken) -> Infallible {
        loop {
            self.waiting.closed().await;
            sleep(after).await;
            if self.waiting.is_closed() {
                call.cancel();
                return pending().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_call_is_broken_off_when_nobody_came_back_for_it_in_time() {
        let (_ender, ending) = Ending::new();
        let call = CancellationToken::new();
        let (first, began) = (ending.waiter(), Instant::now());
        let people = async {
            sleep(Duration::from_secs(60)).await;
            drop(first);
            // Somebody is back before it is too late, and then goes for good.
            sleep(ALONE_MAX / 2).await;
            let second = ending.waiter();
            sleep(ALONE_MAX).await;
            assert!(!call.is_cancelled());
            drop(second);
        };
        let watched = async {
            tokio::select! {
                never = ending.cancel_alone(ALONE_MAX, &call) => match never {},
                () = call.cancelled() => {}
            }
        };
        tokio::join!(people, watched);
        assert_eq!(began.elapsed(), Duration::from_secs(60) + ALONE_MAX / 2 + ALONE_MAX * 2);
    }
}
