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

/// Messages of a work queue on disk that are put, taken and acknowledged in a second, so many on their way; each step is
/// answered once it is synced.
pub(crate) async fn worked(server: &Server, messages: usize, at_a_time: usize) -> Result<f64, String> {
    let client = connect(server).await?;
    let stream = r#"{"name":"tasks","subjects":["tasks"],"storage":"file","retention":"workqueue"}"#;
    let consumer = r#"{"stream_name":"tasks","config":{"durable_name":"worker","ack_policy":"explicit"}}"#;
    for (subject, wanted) in
        [("$JS.API.STREAM.CREATE.tasks", stream), ("$JS.API.CONSUMER.DURABLE.CREATE.tasks.worker", consumer)]
    {
        let made = client.request(subject, wanted.into()).await.map_err(|error| error.to_string())?;
        if made.payload.windows(7).any(|part| part == b"\"error\"") {
            return Err(format!("nats-server refuses: {}", String::from_utf8_lossy(&made.payload)));
        }
    }
    let began = std::time::Instant::now();
    let mut putting = tokio::task::JoinSet::new();
    for _ in 0..at_a_time {
        let client = client.clone();
        putting.spawn(async move {
            for _ in 0..messages / at_a_time {
                client.request("tasks", Bytes::from_static(&[b'x'; 128])).await.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        });
    }
    let mut left = messages / at_a_time * at_a_time;
    while left > 0 {
        let inbox = client.new_inbox();
        let mut given = client.subscribe(inbox.clone()).await.map_err(|error| error.to_string())?;
        let wanted = format!(r#"{{"batch":{},"expires":200000000}}"#, left.min(100));
        let next = "$JS.API.CONSUMER.MSG.NEXT.tasks.worker";
        client.publish_with_reply(next, inbox, wanted.into()).await.map_err(|error| error.to_string())?;
        let mut acknowledging = Vec::new();
        while let Some(message) = given.next().await {
            // A status: there are no more, or none in time.
            let Some(reply) = message.reply.filter(|_| message.status.is_none()) else { break };
            let client = client.clone();
            acknowledging.push(async move { client.request(reply, Bytes::from_static(b"+ACK")).await });
            if acknowledging.len() == left.min(100) {
                break;
            }
        }
        left -= acknowledging.len();
        for acknowledged in futures_util::future::join_all(acknowledging).await {
            acknowledged.map_err(|error| error.to_string())?;
        }
    }
    while let Some(put) = putting.join_next().await {
        put.map_err(|error| error.to_string())??;
    }
    Ok((messages / at_a_time * at_a_time) as f64 / began.elapsed().as_secs_f64())
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
