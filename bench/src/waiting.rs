//! Waiting for what can be asked for, and not for ever.

use std::time::{Duration, Instant};

/// How often is looked whether it is there.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until there is something, for so long at most.
pub(crate) async fn until<T>(
    what: &str,
    within: Duration,
    look: impl AsyncFn() -> Result<Option<T>, String>,
) -> Result<T, String> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(format!("{what} is not there within {} s", within.as_secs()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
