//! Discovery over MQTT for applications and commands: with a node, or without one. The operations have
//! the names of "Service interface" in `protocols/mqtt-discovery.md`.

use crate::config::{Broker, BrokerUrl, Mqtt as Settings};
pub use crate::discovery::mqtt::Standing;
use crate::discovery::mqtt::{self, Advertised, Mqtt, News, Session, Setup};
use crate::observe::Counters;
use comity_core::announced::AnnouncedPeer;
use comity_core::id::PeerId;
use comity_core::identity::key::KeyPair;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

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

impl Standing {
    /// What is wrong with brokers, those included that have not answered. `None` when all work.
    pub fn trouble(&self) -> Option<String> {
        let silent = self.silent.iter().map(|url| format!("{url}: it has not answered yet"));
        let all: Vec<String> = self.troubles.iter().cloned().chain(silent).collect();
        match self.brokers {
            0 => Some("no broker is named".to_owned()),
            _ => Some(all.join("; ")).filter(|all| !all.is_empty()),
        }
    }
}

impl Discovery {
    /// Starts to listen at the brokers, without a node; nothing is announced before [`Self::announce_self`]. It works as
    /// the owner of this key; without one, as somebody new. The embedded broker is that of a node on this machine.
    pub fn start(settings: &Settings, keys: Option<KeyPair>, about: About) -> Self {
        let keys = keys.unwrap_or_else(|| KeyPair::from_seed(rand::random()));
        let urls = settings.brokers.iter().map(|broker| match broker {
            Broker::At(url) => url.clone(),
            Broker::Embedded => BrokerUrl::of_own(settings.listen),
        });
        let setup = Setup {
            settings: settings.clone(),
            urls: urls.collect(),
            keys,
            session: Session::Passing,
            advertised: None,
            counters: Counters::new(env!("CARGO_PKG_VERSION")),
        };
        // There is no node to be informed, and nobody signals to a command.
        let (mqtt, _) = mqtt::start(setup, |_| std::future::ready(()));
        let said = Advertised {
            urls: about.url.into_iter().collect(),
            capabilities: about.capabilities,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: now(),
            ..Advertised::default()
        };
        Self { mqtt, said: Some(said) }
    }

    /// That of a running node, which announces itself.
    pub(crate) fn of_node(mqtt: Mqtt) -> Self {
        Self { mqtt, said: None }
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
        // What is there is there, also if they did not all answer.
        self.settled(most).await;
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
        let mut standing = self.mqtt.standing();
        standing.mark_unchanged();
        Changes { news: self.mqtt.news(), standing }
    }

    /// How the brokers are.
    pub fn standing(&self) -> Standing {
        self.mqtt.standing().borrow().clone()
    }

    /// Waits until something is known of every broker, at most so long: how they are then.
    pub async fn settled(&self, most: Duration) -> Standing {
        let mut standing = self.mqtt.standing();
        // Err: they did not all answer, or the source has ended.
        let _ = timeout(most, standing.wait_for(|standing| standing.silent.is_empty())).await;
        self.standing()
    }
}

/// What is said of a program that announces itself without a node.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Where it can be reached.
    pub url: Option<String>,
    /// What it can do.
    pub capabilities: Vec<String>,
}

/// What changed about who is announced, or about the brokers.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Somebody is there, or says something new.
    Here(Arc<AnnouncedPeer>),
    /// Somebody is gone.
    Gone(PeerId),
    /// So many changes were missed.
    Lagged(u64),
    /// How the brokers are now.
    Standing(Standing),
}

/// The changes, as they come.
pub struct Changes {
    news: broadcast::Receiver<News>,
    standing: watch::Receiver<Standing>,
}

impl Changes {
    /// The next one; `None` when discovery has ended.
    pub async fn next(&mut self) -> Option<Change> {
        tokio::select! {
            biased;
            news = self.news.recv() => match news {
                Ok(News::Here(peer)) => Some(Change::Here(peer)),
                Ok(News::Gone(peer)) => Some(Change::Gone(peer)),
                Err(RecvError::Lagged(missed)) => Some(Change::Lagged(missed)),
                Err(RecvError::Closed) => None,
            },
            // Err: discovery has ended, and all its news is told.
            changed = self.standing.changed() => {
                changed.ok().map(|()| Change::Standing(self.standing.borrow_and_update().clone()))
            }
        }
    }
}

fn now() -> comity_core::time::Timestamp {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    comity_core::time::Timestamp::from_millis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
}
