//! Plain WebSockets on a node's event stream, `GET /dashflow/events`.

use crate::figures::{Measuring, Rate};
use crate::node::{Own, UNLIMITED};
use crate::progress::Progress;
use crate::server::Server;
use comity::Priority;
use futures_util::StreamExt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A WebSocket to the event stream of the node at the address, its first frame read.
pub(crate) async fn watch(address: SocketAddr) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, String> {
    let url = format!("ws://{address}/dashflow/events");
    let (mut socket, _) = connect_async(url).await.map_err(|error| error.to_string())?;
    match socket.next().await {
        Some(Ok(Message::Text(_))) => Ok(socket),
        other => Err(format!("a watcher was not greeted: {other:?}")),
    }
}

/// A node that sends to `comity up`, a process of its own, which so many watch: each message counts
/// once a watcher that was shown it.
pub(crate) async fn one_way(messages: usize, watchers: usize, window: usize) -> Result<Rate, String> {
    let variables = UNLIMITED.map(|(key, value)| (format!("COMITY_{}", key.replace('.', "_").to_uppercase()), value));
    let hub = Server::comity(&variables.each_ref().map(|(name, value)| (name.as_str(), *value)))?;
    let sender = Own::start("sender").await?;
    sender.link(hub.address()).await?;
    let (progress, skipped) = (Progress::new(watchers), Arc::new(AtomicUsize::new(0)));
    let mut watching = JoinSet::new();
    for number in 0..watchers {
        let mut socket = watch(hub.address()).await?;
        let (progress, skipped) = (progress.clone(), skipped.clone());
        watching.spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                let Message::Text(text) = message else { continue };
                if text.starts_with(r#"{"type":"message_received""#) {
                    progress.note(number);
                } else if text.starts_with(r#"{"type":"lagged""#) {
                    skipped.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    // Background messages go into the digest there: the disk is no part of this.
    let feed = sender.network.feed(None, "_suggestions", Priority::Background).map_err(|error| error.to_string())?;
    let text = "x".repeat(126);
    let rate = Measuring::begin(Some(hub.pid()));
    let send = async || feed.send(&text).await.map(|_| ()).map_err(|error| error.to_string());
    let sent = progress.send(messages, window, send).await;
    let rate = rate.end(messages * watchers);
    match skipped.load(Ordering::Relaxed) {
        0 => sent?,
        times => return Err(format!("watchers were too slow {times} times")),
    }
    sender.end().await;
    Ok(rate)
}
