//! Hears of work that another process on the same server took in, so that whoever waits for work here wakes.

use super::link::ServerUrl;
use sqlx::postgres::PgListener;
use std::time::Duration;
use tokio::sync::watch;

/// Commits, and says to all processes on the server that there may be work.
pub(super) const NOTIFY_AND_COMMIT: &str = "NOTIFY comity_tasks; COMMIT";

/// Its name.
const CHANNEL: &str = "comity_tasks";

/// How long after a connection was lost another is made.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Listens for as long as it is let.
pub(super) async fn run(url: ServerUrl, ticks: watch::Sender<u64>) {
    loop {
        if let Err(error) = listen(&url, &ticks).await {
            tracing::debug!(%error, "the queue's server is not heard");
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn listen(url: &ServerUrl, ticks: &watch::Sender<u64>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect(url.secret()).await?;
    listener.listen(CHANNEL).await?;
    loop {
        // What was said before, while nobody listened, may have been for us.
        ticks.send_modify(|tick| *tick += 1);
        // None: the connection was lost and is made again.
        listener.try_recv().await?;
    }
}
