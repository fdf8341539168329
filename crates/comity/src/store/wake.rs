//! Hears that another process on the same server changed something, so that whoever waits for it here wakes.

use super::link::ServerUrl;
use sqlx::postgres::PgListener;
use std::time::Duration;
use tokio::sync::watch;

/// How long after a connection was lost another is made.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Listens to a channel for as long as it is let.
pub(super) async fn run(url: ServerUrl, channel: &'static str, ticks: watch::Sender<u64>) {
    loop {
        if let Err(error) = listen(&url, channel, &ticks).await {
            tracing::debug!(%error, channel, "the database server is not heard");
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn listen(url: &ServerUrl, channel: &str, ticks: &watch::Sender<u64>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect(url.secret()).await?;
    listener.listen(channel).await?;
    loop {
        // What was said before, while nobody listened, may have been for us.
        ticks.send_modify(|tick| *tick += 1);
        // None: the connection was lost and is made again.
        listener.try_recv().await?;
    }
}
