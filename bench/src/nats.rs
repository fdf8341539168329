//! nats-server, driven by the async-nats client.

use crate::figures::{Latency, Measuring, Rate};
use crate::progress::Progress;
use crate::server::Server;
use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt;

async fn connect(server: &Server) -> Result<Client, String> {
    // The client drops what a slow subscription cannot hold: no measurement sends as many.
    let options = async_nats::ConnectOptions::new().subscription_capacity(1 << 20);
    options.connect(format!("nats://{}", server.address())).await.map_err(|error| error.to_string())
}

/// Request and reply, so many at a time.
pub(crate) async fn request_reply(
    server: &Server,
    requests: usize,
    at_a_time: usize,
) -> Result<(Latency, Rate), String> {
    let answerer = connect(server).await?;
    let mut questions = answerer.subscribe("question").await.map_err(|error| error.to_string())?;
    let replies = answerer.clone();
    let answering = tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            if let Some(reply) = question.reply {
                // A failed reply shows as a timeout of the asker.
                let _ = replies.publish(reply, question.payload).await;
            }
        }
    });
    answerer.flush().await.map_err(|error| error.to_string())?;
    let asker = connect(server).await?;
    let latency = Latency::of(Some(server.pid()), requests, at_a_time, move || {
        let asker = asker.clone();
        async move {
            asker.request("question", Bytes::from_static(&[b'x'; 128])).await.map(|_| ()).map_err(|e| e.to_string())
        }
    })
    .await;
    answering.abort();
    latency
}

/// One publisher, so many subscribers: each message counts once a subscriber.
pub(crate) async fn one_way(
    server: &Server,
    messages: usize,
    subscribers: usize,
    window: usize,
) -> Result<Rate, String> {
    let progress = Progress::new(subscribers);
    let mut receiving = tokio::task::JoinSet::new();
    for number in 0..subscribers {
        let client = connect(server).await?;
        let mut stream = client.subscribe("stream").await.map_err(|error| error.to_string())?;
        client.flush().await.map_err(|error| error.to_string())?;
        let progress = progress.clone();
        receiving.spawn(async move {
            let _client = client;
            while stream.next().await.is_some() {
                progress.note(number);
            }
        });
    }
    let publisher = connect(server).await?;
    let rate = Measuring::begin(Some(server.pid()));
    let publish =
        async || publisher.publish("stream", Bytes::from_static(&[b'x'; 128])).await.map_err(|error| error.to_string());
    progress.send(messages, window, publish).await?;
    Ok(rate.end(messages * subscribers))
}

/// Messages for a stream on disk, each acknowledged once it is synced; so many on their way.
pub(crate) async fn stored(server: &Server, messages: usize, at_a_time: usize, message: Bytes) -> Result<Rate, String> {
    let client = connect(server).await?;
    let stream = r#"{"name":"inbox","subjects":["inbox"],"storage":"file"}"#;
    let made = client.request("$JS.API.STREAM.CREATE.inbox", stream.into()).await.map_err(|error| error.to_string())?;
    if made.payload.windows(7).any(|part| part == b"\"error\"") {
        return Err(format!("nats-server makes no stream: {}", String::from_utf8_lossy(&made.payload)));
    }
    let (_, rate) = Latency::of(Some(server.pid()), messages, at_a_time, move || {
        let (client, message) = (client.clone(), message.clone());
        async move { client.request("inbox", message).await.map(|_| ()).map_err(|error| error.to_string()) }
    })
    .await?;
    Ok(rate)
}
