//! mosquitto, driven by the rumqttc client (MQTT 5, at most once, TCP_NODELAY at both ends).

use crate::figures::{Latency, Measuring, Rate};
use crate::progress::Progress;
use crate::server::Server;
use bytes::Bytes;
use rumqttc::mqttbytes::QoS;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, NetworkOptions, PublishOptions};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// Requests that the client takes before its network is ready, and that it writes in one go.
const REQUESTS_AT_ONCE: usize = 1024;

/// A client whose incoming payloads go to `take`; it ends when the value is dropped.
struct Connection {
    client: AsyncClient,
    polling: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.polling.abort();
    }
}

impl Connection {
    /// Connects, and returns once the broker has taken the subscription, where one is wanted.
    async fn open(
        server: &Server,
        name: &str,
        topic: Option<&str>,
        mut take: impl FnMut(&AsyncClient, Bytes) + Send + 'static,
    ) -> Result<Self, String> {
        let address = server.address();
        let mut options = MqttOptions::new(name, (address.ip().to_string(), address.port()));
        options.set_max_request_batch(REQUESTS_AT_ONCE);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        let (client, mut events) = AsyncClient::builder(options).capacity(REQUESTS_AT_ONCE).build();
        if let Some(topic) = topic {
            client.subscribe(topic, QoS::AtMostOnce).await.map_err(|error| error.to_string())?;
        }
        let subscribes = topic.is_some();
        let (ready, connected) = oneshot::channel();
        let own = client.clone();
        let polling = tokio::spawn(async move {
            let mut ready = Some(ready);
            // Err: the connection broke; whoever waits for a message notices.
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Incoming::Publish(publish)) => take(&own, publish.payload),
                    Event::Incoming(Incoming::SubAck(_)) => is_ready(&mut ready),
                    Event::Incoming(Incoming::ConnAck(_)) if !subscribes => is_ready(&mut ready),
                    _ => {}
                }
            }
        });
        let connection = Self { client, polling };
        connected.await.map_err(|_| "mosquitto does not take a client".to_owned())?;
        Ok(connection)
    }
}

/// A client that has a broker keep messages, and that hears goodbyes there.
pub(crate) struct Retained {
    client: AsyncClient,
    polling: tokio::task::JoinHandle<()>,
    acknowledged: Arc<AtomicU64>,
    asked: u64,
    /// A lock and no message: it is held for one step of a map.
    awaited: Arc<Mutex<HashMap<String, oneshot::Sender<()>>>>,
}

impl Drop for Retained {
    fn drop(&mut self) {
        self.polling.abort();
    }
}

impl Retained {
    /// Connects to any broker for MQTT 5.
    pub(crate) async fn open(broker: SocketAddr) -> Result<Self, String> {
        let options = MqttOptions::new("keeper", (broker.ip().to_string(), broker.port()));
        let (client, mut events) = AsyncClient::builder(options).capacity(REQUESTS_AT_ONCE).build();
        let (acknowledged, awaited) = (Arc::new(AtomicU64::new(0)), Arc::<Mutex<HashMap<_, _>>>::default());
        let (counted, heard) = (acknowledged.clone(), awaited.clone());
        let polling = tokio::spawn(async move {
            // Err: the connection broke; whoever waits for a message notices.
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Incoming::PubAck(_) | Incoming::SubAck(_)) => {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    Event::Incoming(Incoming::Publish(publish)) => {
                        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                        is_ready(&mut heard.lock().expect("nobody panics with it").remove(&topic));
                    }
                    _ => {}
                }
            }
        });
        Ok(Self { client, polling, acknowledged, asked: 0, awaited })
    }

    /// Publishes a message that the broker is to keep.
    pub(crate) async fn publish(&mut self, topic: &str, body: String) -> Result<(), String> {
        self.asked += 1;
        let options = PublishOptions::new(QoS::AtLeastOnce).retained();
        self.client.publish(topic, body, options).await.map_err(|error| error.to_string())
    }

    /// Waits until the broker has done everything.
    pub(crate) async fn settled(&self) -> Result<(), String> {
        while self.acknowledged.load(Ordering::Relaxed) < self.asked {
            if self.polling.is_finished() {
                return Err("the broker ended the connection".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Comes when something is said on this topic.
    pub(crate) async fn heard(&mut self, topic: &str) -> Result<oneshot::Receiver<()>, String> {
        let (said, heard) = oneshot::channel();
        self.awaited.lock().expect("nobody panics with it").insert(topic.to_owned(), said);
        self.asked += 1;
        self.client.subscribe(topic, QoS::AtLeastOnce).await.map_err(|error| error.to_string())?;
        // What is said before the broker has taken the subscription is never heard.
        self.settled().await?;
        Ok(heard)
    }
}

fn is_ready(waiting: &mut Option<oneshot::Sender<()>>) {
    // Err: whoever waited has gone.
    let _ = waiting.take().map(|waiting| waiting.send(()));
}

async fn publish(client: &AsyncClient, topic: &str, payload: Bytes) -> Result<(), String> {
    let options = PublishOptions::new(QoS::AtMostOnce);
    client.publish(topic, payload, options).await.map_err(|error| error.to_string())
}

/// Request and reply over two topics, so many at a time; the payload begins with the number by
/// which an answer finds its question.
pub(crate) async fn request_reply(
    server: &Server,
    requests: usize,
    at_a_time: usize,
) -> Result<(Latency, Rate), String> {
    let _answerer = Connection::open(server, "answerer", Some("question"), |client, question| {
        // Err: more questions at once than any measurement asks.
        let _ = client.try_publish("answer", question, PublishOptions::new(QoS::AtMostOnce));
    })
    .await?;
    // A lock and no message: it is held for one step of a map, by the asker's and the client's task.
    let waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<()>>>> = Arc::default();
    let answered = waiting.clone();
    let asker = Connection::open(server, "asker", Some("answer"), move |_, answer| {
        let number = answer.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let mut asked = answered.lock().expect("nobody panics with it").remove(&number);
        is_ready(&mut asked);
    })
    .await?;
    let (client, next) = (asker.client.clone(), Arc::new(AtomicU64::new(0)));
    Latency::of(Some(server.pid()), requests, at_a_time, move || {
        let (client, waiting, number) = (client.clone(), waiting.clone(), next.fetch_add(1, Ordering::Relaxed));
        async move {
            let mut payload = [b'x'; 128];
            payload[..8].copy_from_slice(&number.to_le_bytes());
            let (asked, answer) = oneshot::channel();
            waiting.lock().expect("nobody panics with it").insert(number, asked);
            publish(&client, "question", Bytes::copy_from_slice(&payload)).await?;
            answer.await.map_err(|error| error.to_string())
        }
    })
    .await
}

/// One publisher, so many subscribers: each message counts once a subscriber.
pub(crate) async fn one_way(
    server: &Server,
    messages: usize,
    subscribers: usize,
    window: usize,
) -> Result<Rate, String> {
    let progress = Progress::new(subscribers);
    let mut receiving = Vec::new();
    for number in 0..subscribers {
        let (name, progress) = (format!("subscriber-{number}"), progress.clone());
        receiving.push(Connection::open(server, &name, Some("stream"), move |_, _| progress.note(number)).await?);
    }
    let publisher = Connection::open(server, "publisher", None, |_, _| {}).await?;
    let rate = Measuring::begin(Some(server.pid()));
    let message = async || publish(&publisher.client, "stream", Bytes::from_static(&[b'x'; 128])).await;
    progress.send(messages, window, message).await?;
    Ok(rate.end(messages * subscribers))
}
