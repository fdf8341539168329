//! Discovery over MQTT of a running node: the brokers it was configured with, the embedded one, and
//! what it says of itself there.

use crate::announcing::Discovery;
use crate::broker::{Broker, CannotListen};
use crate::config::{self, BrokerUrl, Config};
use crate::discovery::mqtt::{self, Advertised, Mqtt, Session, Setup, Signal};
use crate::driver::Handle;
use crate::link::{Links, SIGNALING};
use comity_core::node::{Input, SourceHealth};
use comity_core::peers::{Source, WEBRTC};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Signals that wait to be published.
const SIGNALS_MAX: usize = 64;

/// How often the source is told who must have room there.
const FRIENDS_EVERY: Duration = Duration::from_secs(10);

/// What runs of it.
pub(super) struct Brokers {
    mqtt: Mqtt,
    embedded: Option<Broker>,
}

impl Brokers {
    /// The operations that applications use.
    pub(super) fn discovery(&self) -> Discovery {
        Discovery::of_node(self.mqtt.clone())
    }

    /// Says goodbye at every broker, and ends the embedded one.
    pub(super) async fn leave(self) {
        self.mqtt.leave().await;
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// Starts the embedded broker, if it is wanted. It must listen before anybody may rely on the node.
pub(super) async fn embedded(config: &Config) -> Result<Option<Broker>, CannotListen> {
    match &config.mqtt {
        Some(mqtt) if mqtt.brokers.contains(&config::Broker::Embedded) => {
            Broker::start(mqtt.listen, None).await.map(Some)
        }
        _ => Ok(None),
    }
}

/// Starts discovery over MQTT, in the background.
pub(super) fn start(handle: &Handle, links: &Links, config: &Config, embedded: Option<Broker>) -> Option<Brokers> {
    let Some(settings) = config.mqtt.clone() else {
        let handle = handle.clone();
        tokio::spawn(async move {
            handle.inform(Input::Source { source: Source::Mqtt, health: SourceHealth::Off }).await;
        });
        return None;
    };
    let urls = settings.brokers.iter().filter_map(|broker| match broker {
        config::Broker::At(url) => Some(url.clone()),
        config::Broker::Embedded => embedded.as_ref().map(|broker| BrokerUrl::of_own(broker.address())),
    });
    let open = settings.metadata;
    let setup = Setup {
        urls: urls.collect(),
        keys: handle.me().keys().clone(),
        session: Session::Kept,
        advertised: Some(advertised(handle, links, open)),
        counters: handle.counters().clone(),
        settings,
    };
    let informed = handle.clone();
    let inform = move |input: Input| {
        let handle = informed.clone();
        async move { handle.inform(input).await }
    };
    let (mqtt, signals) = mqtt::start(setup, inform);
    tokio::spawn(carry(links.clone(), mqtt.clone(), signals, handle.stop().clone()));
    tokio::spawn(befriend(handle.clone(), mqtt.clone()));
    tokio::spawn(advertise(handle.clone(), links.clone(), mqtt.clone(), open));
    Some(Brokers { mqtt, embedded })
}

/// Carries signals of connections between the brokers and the links, until the node ends.
async fn carry(links: Links, mqtt: Mqtt, mut incoming: mpsc::Receiver<Signal>, stop: CancellationToken) {
    let (sender, mut outgoing) = mpsc::channel(SIGNALS_MAX);
    links.use_broker(sender);
    let inward = async {
        while let Some(signal) = incoming.recv().await {
            links.signalled(signal.from, &signal.body).await;
        }
    };
    let outward = async {
        while let Some((to, body)) = outgoing.recv().await {
            if let Err(refused) = mqtt.publish_signal(to, body).await {
                tracing::debug!(%to, %refused, "a signal for a peer");
            }
        }
    };
    // Neither waits for the other: what one does may be what the other waits for.
    tokio::select! {
        ((), ()) = async { tokio::join!(inward, outward) } => {}
        () = stop.cancelled() => {}
    }
}

/// Tells the source whose keys are known here or were proven: they have room there whoever else is announced.
async fn befriend(handle: Handle, mqtt: Mqtt) {
    let stop = handle.stop().clone();
    let telling = async {
        loop {
            let view = handle.look().await;
            let proven = view.peers.iter().filter(|peer| peer.key.is_some()).map(|peer| peer.id);
            mqtt.befriend(view.known.iter().map(|key| key.peer()).chain(proven).collect()).await;
            sleep(FRIENDS_EVERY).await;
        }
    };
    stop.run_until_cancelled(telling).await;
}

/// Publishes what this node says of itself whenever it has changed.
async fn advertise(handle: Handle, links: Links, mqtt: Mqtt, open: bool) {
    let mut hello = handle.hello();
    loop {
        tokio::select! {
            () = handle.stop().cancelled() => return,
            changed = hello.changed() => if changed.is_err() { return },
        }
        mqtt.announce(advertised(&handle, &links, open));
    }
}

fn advertised(handle: &Handle, links: &Links, open: bool) -> Advertised {
    let (me, hello) = (handle.me(), handle.hello().borrow().clone());
    let endpoints = hello.card["endpoints"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let protocols = [links.serves_webrtc().then_some(WEBRTC), Some("ws-jsonrpc"), Some("http-rest")];
    let mut metadata = Map::new();
    if open {
        metadata.extend(me.about().metadata.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))));
        metadata.insert("name".to_owned(), me.name().into());
    }
    Advertised {
        urls: endpoints.map(|endpoint| format!("{endpoint}{SIGNALING}")).collect(),
        capabilities: me.about().capabilities.clone(),
        protocols: protocols.into_iter().flatten().map(str::to_owned).collect(),
        version: me.about().version.clone(),
        started_at: me.started_at(),
        metadata,
        chosen: false,
    }
}
