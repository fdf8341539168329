//! A small MQTT broker in this process, for machines that have none. It is the `mqtt5` crate's; it keeps
//! nothing on disk, and asks nobody who they are. It is for networks whose machines are trusted: others
//! belong to a broker with an access list. To who listens by MQTT 5 the crate tells the client id of whoever
//! speaks, and whoever connects under that id has the other thrown out.
//!
//! Bounded are the clients and those who are remembered, the packets, topics and subscriptions, what is kept,
//! and what waits for a client. Their product is large all the same: 512 clients that read nothing may have
//! `QUEUE_BYTES_MAX` waiting each, two gigabytes. How fast clients send is not bounded.

mod keeper;
mod websocket;

use keeper::Keeper;
use mqtt5::broker::config::{StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Most connections.
const CLIENTS_MAX: usize = 256;

/// Most messages kept for who comes later: an announcement of each client, and some capabilities. The keeper sees to it,
/// and bounds what they take together; what there is no room for is handed on to who is there.
const RETAINED_MAX: usize = 2048;

/// Largest packet, bytes: the largest body, its topic, and properties.
const PACKET_MAX: usize = 72 * 1024;

/// Most messages, and bytes, that wait for one client that is slow or away: all that is kept, which a newcomer gets at
/// once, and some more. Of more the crate drops the oldest.
const QUEUE_MAX: usize = RETAINED_MAX + 512;
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most messages on their way to one client.
const CHANNEL_MAX: usize = 64;

/// Most subscriptions of one client.
const SUBSCRIPTIONS_MAX: usize = 64;

/// How often the broker forgets clients that were away for longer than they wanted to be remembered.
const FORGET_EVERY: Duration = Duration::from_secs(30);

/// How long the broker remembers a client that is away, at most: nodes ask for three of their intervals.
const SESSION_KEPT_FOR: Duration = Duration::from_secs(300);

/// How long the broker may take to end.
const END_TIME: Duration = Duration::from_secs(2);

/// A running broker. Dropped, it ends as well.
pub struct Broker {
    address: SocketAddr,
    websocket: Option<(SocketAddr, JoinHandle<()>)>,
    shutdown: BrokerShutdownHandle,
    task: JoinHandle<()>,
    sweep: JoinHandle<()>,
    #[cfg(test)]
    router: Arc<mqtt5::broker::router::MessageRouter>,
    #[cfg(test)]
    keeper: Arc<Keeper>,
}

/// A broker that cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the MQTT broker cannot listen on {address}: {cause}")]
pub struct CannotListen {
    address: SocketAddr,
    cause: String,
}

impl Broker {
    /// Starts a broker there, and for WebSockets at `websocket`; port 0 lets the system choose.
    ///
    /// # Errors
    /// [`CannotListen`] when an address cannot be had.
    pub async fn start(listen: SocketAddr, websocket: Option<SocketAddr>) -> Result<Self, CannotListen> {
        let cannot = |cause: String| CannotListen { address: listen, cause };
        let door = match websocket {
            Some(address) => Some(open(address).await.map_err(|why| CannotListen { address, cause: why.to_string() })?),
            None => None,
        };
        let keeper = Arc::new(Keeper::default());
        let config = config(listen).with_event_handler(keeper.clone());
        let broker = MqttBroker::with_config(config).await.map_err(|cause| cannot(cause.to_string()))?;
        let mut broker = broker.with_auth_provider(keeper.clone());
        let storage = broker.storage().ok_or_else(|| cannot("it has no memory".to_owned()))?;
        let router = broker.router();
        keeper.begin(&router, storage);
        let address = broker.local_addr().ok_or_else(|| cannot("it has no address".to_owned()))?;
        let websocket = door.map(|(door, at)| (at, tokio::spawn(websocket::serve(door, websocket::near(address)))));
        let shutdown = broker.shutdown_handle();
        let task = tokio::spawn(async move {
            if let Err(error) = broker.run().await {
                tracing::error!(%error, "the MQTT broker ended");
            }
        });
        let sweeper = keeper.clone();
        let sweep = tokio::spawn(async move { sweeper.sweep().await });
        Ok(Self {
            address,
            websocket,
            shutdown,
            task,
            sweep,
            #[cfg(test)]
            router,
            #[cfg(test)]
            keeper,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for WebSockets, at the path `/mqtt`.
    pub fn websocket(&self) -> Option<SocketAddr> {
        self.websocket.as_ref().map(|(address, _)| *address)
    }

    /// Ends it.
    pub async fn stop(mut self) {
        self.shutdown.shutdown();
        if timeout(END_TIME, &mut self.task).await.is_err() {
            tracing::debug!("the MQTT broker took too long to end");
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shutdown.shutdown();
        self.task.abort();
        self.sweep.abort();
        if let Some((_, door)) = &self.websocket {
            door.abort();
        }
    }
}

async fn open(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let door = TcpListener::bind(address).await?;
    let address = door.local_addr()?;
    Ok((door, address))
}

fn config(listen: SocketAddr) -> BrokerConfig {
    let storage = StorageConfig::new()
        .with_backend(StorageBackend::Memory)
        .with_cleanup_interval(FORGET_EVERY)
        .with_max_queued_messages_per_client(QUEUE_MAX)
        .with_max_queued_bytes_per_client(QUEUE_BYTES_MAX);
    let mut config = BrokerConfig::new()
        .with_bind_address(listen)
        .with_storage(storage)
        .with_max_clients(CLIENTS_MAX)
        .with_session_expiry(SESSION_KEPT_FOR)
        .with_max_packet_size(PACKET_MAX)
        .with_client_channel_capacity(CHANNEL_MAX)
        .with_max_subscriptions_per_client(SUBSCRIPTIONS_MAX)
        .with_sys_topics_enabled(false);
    // An alias would keep its topic for as long as the connection stands.
    config.topic_alias_maximum = 0;
    config
}
