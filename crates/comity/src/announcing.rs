//! Discovery over MQTT for applications and commands: with a node, or without one. The operations have
//! the names of "Service interface" in `protocols/mqtt-discovery.md`.

use crate::config::{Broker, Mqtt as Settings};
use crate::discovery::mqtt::{self, Advertised, Mqtt, News, Setup};
use crate::observe::Counters;
use comity_core::announced::AnnouncedPeer;
use comity_core::id::PeerId;
use comity_core::identity::key::KeyPair;
use comity_core::node::{Input, SourceHealth};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

/// How long [`Discovery::discover_peers`] looks, at most.
pub const LOOK_TIME: Duration = Duration::from_secs(5);

/// When nothing new has come for so long, all that brokers keep is there.
const QUIET: Duration = Duration::from_millis(300);

/// Which peers are wanted; the default is all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// What they must be able to do, all of it.
    pub capabilities: Vec<String>,
    /// For how long they must have been running.
    pub min_uptime: Option<Duration>,
    /// Which versions of the protocol they may speak, as in `^1.0`.
    pub protocol_version: Option<semver::VersionReq>,
}

impl Filter {
    /// Whether a peer is wanted.
    pub fn takes(&self, peer: &AnnouncedPeer) -> bool {
        let info = &peer.info;
        let able = self.capabilities.iter().all(|wanted| info.capabilities.contains(wanted));
        let uptime = info.metadata.get("uptime").and_then(Value::as_f64);
        let old = self.min_uptime.is_none_or(|least| uptime.is_some_and(|uptime| uptime >= least.as_secs_f64()));
        let version = info.protocol_version.as_deref().and_then(|text| semver::Version::parse(text).ok());
        let speaks = self.protocol_version.as_ref().is_none_or(|req| version.is_some_and(|v| req.matches(&v)));
        able && old && speaks
    }
}

/// Discovery by the configured brokers. Cloning shares it.
#[derive(Clone)]
pub struct Discovery {
    mqtt: Mqtt,
    said: Option<Advertised>,
    health: watch::Receiver<Option<SourceHealth>>,
}

/// Ends a subscription when it is dropped.
#[derive(Debug)]
pub struct Subscription(JoinHandle<()>);

impl Subscription {
    /// Ends it.
    pub fn unsubscribe(self) {}
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Discovery {
    /// Starts to listen at the brokers, without a node; nothing is announced before [`Self::announce_self`]. It works as
    /// the owner of this key; without one, as somebody new.
    pub fn start(settings: &Settings, keys: Option<KeyPair>, about: About) -> Self {
        let keys = keys.unwrap_or_else(|| KeyPair::from_seed(rand::random()));
        let urls = settings.brokers.iter().filter_map(|broker| match broker {
            Broker::At(url) => Some(url.clone()),
            Broker::Embedded => None,
        });
        let setup = Setup {
            settings: settings.clone(),
            urls: urls.collect(),
            keys,
            role: about.role,
            advertised: None,
            counters: Counters::new(env!("CARGO_PKG_VERSION")),
        };
        let (healthy, health) = watch::channel(None);
        let healthy = Arc::new(healthy);
        let inform = move |input| {
            let healthy = healthy.clone();
            async move {
                if let Input::Source { health, .. } = input {
                    healthy.send_replace(Some(health));
                }
            }
        };
        // Nobody signals to a command.
        let (mqtt, _) = mqtt::start(setup, inform);
        let said = Advertised {
            urls: about.url.into_iter().collect(),
            capabilities: about.capabilities,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: now(),
            ..Advertised::default()
        };
        Self { mqtt, said: Some(said), health }
    }

    /// That of a running node, which announces itself.
    pub(crate) fn of_node(mqtt: Mqtt, health: watch::Receiver<Option<SourceHealth>>) -> Self {
        Self { mqtt, said: None, health }
    }

    /// Says goodbye, and ends.
    pub async fn stop(self) {
        self.mqtt.leave().await;
    }

    /// Announces this program, with this metadata, from now on; again, it changes what is said. Of a running node it
    /// changes the metadata alone.
    pub fn announce_self(&self, metadata: &BTreeMap<String, String>) {
        let metadata: Map<String, Value> =
            metadata.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        match &self.said {
            Some(said) => self.mqtt.announce(Advertised { metadata, ..said.clone() }),
            None => self.mqtt.announce_metadata(metadata),
        }
    }

    /// Looks for peers until nothing new comes, for at most [`LOOK_TIME`].
    pub async fn discover_peers(&self, filter: &Filter) -> Vec<AnnouncedPeer> {
        self.look(LOOK_TIME).await;
        self.get_peers(filter).await
    }

    /// Waits until all brokers have told what they keep, at most so long.
    pub async fn look(&self, most: Duration) {
        let until = Instant::now() + most;
        let mut news = self.mqtt.news();
        let mut health = self.health.clone();
        // Err: they did not all answer, or the source has ended; what is there is there.
        let _ = timeout_at(until, health.wait_for(Option::is_some)).await;
        while Instant::now() < until {
            let next = timeout(QUIET.min(until.saturating_duration_since(Instant::now())), news.recv()).await;
            if !matches!(next, Ok(Ok(_) | Err(RecvError::Lagged(_)))) {
                return;
            }
        }
    }

    /// Who is announced now.
    pub async fn get_peers(&self, filter: &Filter) -> Vec<AnnouncedPeer> {
        self.mqtt.peers().await.into_iter().filter(|peer| filter.takes(peer)).collect()
    }

    /// Calls back for everybody who is announced or says something new from now on, until the subscription is dropped.
    pub fn on_peer_discovered(&self, callback: impl Fn(&AnnouncedPeer) + Send + 'static) -> Subscription {
        let mut changes = self.changes();
        Subscription(tokio::spawn(async move {
            while let Some(change) = changes.next().await {
                if let Change::Here(peer) = change {
                    callback(&peer);
                }
            }
        }))
    }

    /// Everything that changes from now on.
    pub fn changes(&self) -> Changes {
        Changes(self.mqtt.news())
    }

    /// What is wrong with the brokers, if anything is known to be.
    pub fn trouble(&self) -> Option<String> {
        match &*self.health.borrow() {
            Some(SourceHealth::Failed(why)) => Some(why.clone()),
            _ => None,
        }
    }

    /// Waits until something is known of the brokers: what is wrong with them, if anything is.
    pub async fn settled(&self, most: Duration) -> Option<String> {
        let mut health = self.health.clone();
        // Err: nothing is known in time.
        let _ = timeout(most, health.wait_for(Option::is_some)).await;
        self.trouble()
    }
}

/// What is said of a program that announces itself without a node.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// What tells its connections from those of a node with the same key.
    pub role: &'static str,
    /// Where it can be reached.
    pub url: Option<String>,
    /// What it can do.
    pub capabilities: Vec<String>,
}

/// What changed about who is announced.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Somebody is there, or says something new.
    Here(Arc<AnnouncedPeer>),
    /// Somebody is gone.
    Gone(PeerId),
    /// So many changes were missed.
    Lagged(u64),
}

/// The changes, as they come.
pub struct Changes(tokio::sync::broadcast::Receiver<News>);

impl Changes {
    /// The next one; `None` when discovery has ended.
    pub async fn next(&mut self) -> Option<Change> {
        match self.0.recv().await {
            Ok(News::Here(peer)) => Some(Change::Here(peer)),
            Ok(News::Gone(peer)) => Some(Change::Gone(peer)),
            Err(RecvError::Lagged(missed)) => Some(Change::Lagged(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

fn now() -> comity_core::time::Timestamp {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    comity_core::time::Timestamp::from_millis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
}
