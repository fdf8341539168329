//! How far several receivers have come, so that a sender can keep so close to the slowest that
//! nobody need drop anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long everything may stand still before a measurement is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a sender that is far ahead looks again.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How many messages each receiver has had. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Progress(Arc<[AtomicUsize]>);

impl Progress {
    pub(crate) fn new(receivers: usize) -> Self {
        Self((0..receivers).map(|_| AtomicUsize::new(0)).collect())
    }

    /// This receiver has had one more.
    pub(crate) fn note(&self, receiver: usize) {
        self.0[receiver].fetch_add(1, Ordering::Relaxed);
    }

    /// How far the slowest is; nobody holds anybody back where there is none.
    fn slowest(&self) -> usize {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).min().unwrap_or(usize::MAX)
    }

    /// Waits until every receiver has had at least as many.
    pub(crate) async fn reach(&self, count: usize) -> Result<(), String> {
        let (mut best, mut since) = (self.slowest(), Instant::now());
        while best < count {
            tokio::time::sleep(LOOK_EVERY).await;
            let slowest = self.slowest();
            if slowest > best {
                (best, since) = (slowest, Instant::now());
            } else if since.elapsed() > PATIENCE {
                return Err(format!("the slowest receiver stopped after {best} messages of {count}"));
            }
        }
        Ok(())
    }

    /// Sends `messages`, never more than `window` ahead of the slowest receiver, and waits until all
    /// have them.
    pub(crate) async fn send(
        &self,
        messages: usize,
        window: usize,
        mut send: impl AsyncFnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        for sent in 0..messages {
            // Looking at all receivers costs time: once in an eighth of the window is often enough.
            if sent >= window && sent % (window / 8) == 0 {
                self.reach(sent - window).await?;
            }
            send().await?;
        }
        self.reach(messages).await
    }
}
