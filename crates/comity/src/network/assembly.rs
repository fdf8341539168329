//! Puts a node together: data directory, store, ports, rules, links, doors; then, in the
//! background, discovery. What must be open before anybody may rely on the node comes first.

use super::brokers::{self, Brokers};
use super::scribe::{self, Scribe};
use super::shared::Shared;
use super::topics::{self, Topics};
use super::{AppConfig, Channels, Follow, Inner, JoinError, Network};
use super::{follow, ground, parts};
use crate::config::{self, Config, Flag, Origin, PeerAddress, Sources};
use crate::discovery::exchange;
use crate::discovery::mdns::{self, Advertised, Mdns};
use crate::door;
use crate::door::control;
use crate::door::health::{Check, Checks, OnFailure, first_checks};
use crate::driver::{Clock, Driver, Handle, Setup};
use crate::federation;
use crate::home::{Home, Place};
use crate::identity::{About, Identity};
use crate::link::{self, Links, OriginCertificate, Tls};
use crate::observe::Counters;
use crate::redaction::Redaction;
use crate::store::journal::{Journal, Limits};
use crate::store::{GROUP_MAX, Store};
use crate::tool::Tools;
use comity_core::node::{self, Answer, Ask, Input, Node, Record, SourceHealth};
use comity_core::peers::{Candidate, Source};
use comity_core::wire::txt::Txt;
use comity_core::{inbox, outbound, throttle};
use futures_util::future::join_all;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Longest name of an application in the name of its data directory, characters.
const FOLDER_NAME_MAX: usize = 64;

/// How long the parts of a node that is told to end may take; then they are left to themselves.
const END_TIME: Duration = Duration::from_secs(5);

/// How long after a name could not be resolved it is asked for again.
const RESOLVE_AGAIN: Duration = Duration::from_secs(10);

/// What a running node must be given back when it ends.
pub(super) struct Running {
    mdns: Option<Mdns>,
    brokers: Option<Brokers>,
    federating: Option<federation::Running>,
    tools: Tools,
    shared: Shared,
    pub(super) links: Links,
    store: JoinHandle<()>,
    driver: JoinHandle<()>,
    doors: Vec<JoinHandle<()>>,
    /// Held for its lock: the data directory is this node's until all else has ended. The store holds
    /// it too, for a node that is dropped.
    _home: Arc<Home>,
}

impl Running {
    /// Says goodbye everywhere, lets everything finish, and frees the data directory.
    /// Where nobody waits for that, the node still ends, and frees it then.
    pub(super) async fn end(self, handle: &Handle, reason: &str) {
        let _stopped = handle.stop().clone().drop_guard();
        let mdns = async {
            if let Some(mdns) = self.mdns {
                mdns.leave().await;
            }
        };
        let brokers = async {
            if let Some(brokers) = self.brokers {
                brokers.leave().await;
            }
        };
        let farewell = async { tokio::join!(mdns, brokers, self.shared.leave()) };
        let leave = handle.ask(Ask::Leave { reason: reason.to_owned() });
        let _ = tokio::join!(timeout(END_TIME, leave), timeout(END_TIME, farewell));
        let rest = async {
            if let Some(federating) = self.federating {
                federating.end().await;
            }
            let ended = async {
                handle.end().await;
                self.links.ended().await;
            };
            tokio::join!(ended, self.tools.end());
            self.shared.close(handle).await;
            for task in self.doors.into_iter().chain([self.driver, self.store]) {
                // Err: the task panicked, and the log says where.
                let _ = task.await;
            }
        };
        if timeout(END_TIME, rest).await.is_err() {
            tracing::warn!("a part of the node did not end in time");
        }
    }
}

/// The data directory of an application: beside the usual one, under its name.
pub(super) fn place_of(name: &str) -> Result<Place, JoinError> {
    let place = Place::find(None)?;
    Ok(match place {
        Place::Usual(base) if !name.is_empty() => {
            let mut folder = base.into_os_string();
            folder.push("-");
            folder.push(folder_of(name));
            Place::Usual(PathBuf::from(folder))
        }
        place => place,
    })
}

/// What the data directory of an application is called. A hash tells names apart that would else be
/// called the same, or as the directory of a second node is: `…-2`.
fn folder_of(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let folder: String = name.chars().map(plain).take(FOLDER_NAME_MAX).collect();
    let numbered = folder.rsplit('-').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if folder == name && !numbered {
        return folder;
    }
    let (hash, ..) = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).as_fields();
    format!("{folder}-{hash:08x}")
}

/// Opens the data directory and reads the configuration there and in the environment; what the
/// application says comes before both.
pub(super) fn prepare(place: &Place, app: &AppConfig) -> Result<(Home, Config, Vec<Origin>), JoinError> {
    let (home, notice) = Home::open(place)?;
    if let Some(notice) = notice {
        tracing::warn!("{notice}");
    }
    let flag = |key: &'static str, values: Vec<String>| {
        (!values.is_empty()).then_some(Flag { name: config::PROGRAM, key, values })
    };
    let name = Some(app.name.clone()).filter(|name| !name.is_empty());
    let port = app.http_port.map(|port| port.to_string());
    let flags = [
        flag("name", name.into_iter().collect()),
        flag("capabilities", app.capabilities.clone()),
        flag("http.port", port.into_iter().collect()),
    ];
    let sources = Sources {
        usual_file: Some(home.config()),
        variables: Sources::environment(),
        flags: flags.into_iter().flatten().collect(),
        ..Sources::default()
    };
    let (mut config, origins) = Config::read(&sources)?;
    config.tell(&app.metadata, &app.version)?;
    let unsaid = |key: &str| origins.iter().any(|origin| origin.key == key && origin.from == "default");
    if unsaid("http.port") && unsaid("http.port_last") {
        config.http.ports = 0..=0;
    }
    if unsaid("control.http") && unsaid("control.port") {
        config.control = None;
    }
    if unsaid("metrics.enabled") && unsaid("metrics.port") {
        // An application that wants the node's metrics says where; by itself it opens few ports.
        config.metrics = None;
    }
    Ok((home, config, origins))
}

/// The ports of a node, bound and not yet served.
struct Ports {
    network: Vec<TcpListener>,
    control: Option<TcpListener>,
    metrics: Vec<TcpListener>,
}

impl Ports {
    async fn bind(config: &Config) -> Result<Self, JoinError> {
        let network = ground::listen(&config.http.listen, config.http.ports.clone())
            .map_err(|(address, cause)| JoinError::Door { address, cause })?;
        let control = control::bind_port(config).await.map_err(|failure| JoinError::Control(Box::new(failure)))?;
        let metrics = match &config.metrics {
            Some(door) => ground::listen(&[door.listen], door.ports.clone())
                .map_err(|(address, cause)| JoinError::Metrics { address, cause })?,
            None => Vec::new(),
        };
        Ok(Self { network, control, metrics })
    }

    /// What must never be dialled.
    fn own(&self) -> Vec<SocketAddr> {
        self.metrics.iter().chain(&self.control).filter_map(|listener| listener.local_addr().ok()).collect()
    }
}

/// Puts the node together and starts it.
pub(super) async fn assemble(
    home: Home,
    config: Config,
    (origins, redaction): (Vec<Origin>, Redaction),
    version: String,
) -> Result<Network, JoinError> {
    let clock = Clock::start();
    let now = clock.now();
    let (store, restored) = Store::open(&home.database(), now.wall).await?;
    let kept = topics::Kept::of(&restored.settings);
    let (followed, heads) = follow::kept(&restored.settings);
    let ports = Ports::bind(&config).await?;
    let embedded = brokers::embedded(&config).await?;
    let me = identity(&home, &config, (version, &redaction), clock)?;
    let tls = tls(&me, &config)?;
    let (keep, interfaces) = (Limits::keeping(config.journal.keep), ground::interfaces());
    let journal = scribe::open(home.journal(), me.keys().clone(), keep).await?;
    let (stop, counters) = (CancellationToken::new(), Counters::new(&me.about().version));
    redaction.begin(counters.clone());
    counters.opened(journal.clone());
    parts::in_background(&stop, tls.clone().keep_fresh());
    let setup = Setup {
        node: Node::new(rules(&me, &config, &ports), restored, now),
        me,
        clock,
        counters: counters.clone(),
        redaction,
        doors: ports.network.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
        interfaces: interfaces.clone(),
        stop: stop.clone(),
    };
    let (driver, handle) = Driver::new(setup);
    let own = ports.own();
    let (ports_own, own_doors) = (own.clone(), own.clone());
    let (control, metrics, network) = (ports.control, ports.metrics, ports.network);
    let links = Links::new(handle.clone(), tls.clone(), config.webrtc.as_ref().map(parts::ice));
    let scribe = Scribe::new(journal.clone(), handle.clone());
    let (topics, gossip) = gossip((&handle, &scribe), &config, &network, own, &kept).await?;
    let follow = Follow::new(&handle, &links, home.folder(), keep);
    let home = Arc::new(home);
    let (unopened, tools) = (stop.clone().drop_guard(), parts::tools(&config, &scribe, &stop));
    let (federation, federating) = parts::federate(&handle, &home, &config, (ports_own, &tools)).await?;
    let shared = Shared::open((&handle, &links), &home, &config, (&tls, own_doors)).await?;
    let beside = (&journal, &follow, &tools);
    let around = parts::around(&links, topics.as_ref(), beside, federation.as_ref(), &shared);
    let control = control::open(&handle, around, home.folder(), &config, &origins, control).await;
    let control = control.map_err(|failure| JoinError::Control(Box::new(failure)))?;
    unopened.disarm();
    let (records, taken) = mpsc::channel(GROUP_MAX);
    let (disk, store) = (store.health(), store.counted_by(counters.clone()));
    let store = tokio::spawn(write(store, taken, handle.clone(), (journal.clone(), home.clone())));
    let driver = tokio::spawn(driver.run(links.clone(), records));
    follow.resume(followed.as_ref(), heads.as_ref());
    let mut checks = first_checks(&handle, home.folder().to_owned(), (disk, journal.disk()));
    checks.push(follow.check());
    let (checks, ill) = examine(&handle, &config, checks);
    let speaks = link::Speaks { tls: Some(tls), gossip };
    let channels = federation.clone().map(Channels::new);
    let Shared { mesh, compute, registries } = shared.clone();
    let registry = registries.own;
    let behind = door::Behind { journal: Some(journal.clone()), federation, mesh, compute, registry };
    let doors = open_doors((&handle, &config), (network, speaks), metrics, (links.clone(), behind), checks);
    parts::in_background(&stop, async move { scribe.watch_peers().await });
    let mdns = discover(&handle, &links, &config, interfaces);
    let brokers = brokers::start(&handle, &links, &config, embedded);
    let discovery = brokers.as_ref().map(Brokers::discovery);
    let (data_dir, control_url) = (home.folder().to_owned(), control.url);
    let running = Running { mdns, brokers, federating, tools, shared, links, store, driver, doors, _home: home };
    let running = Mutex::new(Some(running));
    Ok(Network(Arc::new(Inner { data_dir, control_url, ill, discovery, topics, channels, journal, running, handle })))
}

/// Serves the network door and the metrics door until the node ends.
fn open_doors(
    (handle, config): (&Handle, &Config),
    (network, speaks): (Vec<TcpListener>, link::Speaks),
    metrics: Vec<TcpListener>,
    (links, behind): (Links, door::Behind),
    checks: Checks,
) -> Vec<JoinHandle<()>> {
    let reachable = door::Config::from(config);
    let (names, limits) = (reachable.names.clone(), limits(config));
    let router = door::network(handle.clone(), links, behind, reachable);
    let serve = |listeners, speaks, router| {
        let (counters, stop) = (handle.counters().clone(), handle.stop().clone());
        tokio::spawn(link::listen(listeners, speaks, router, limits, counters, stop))
    };
    let doors = serve(network, speaks, router);
    vec![doors, serve(metrics, link::Speaks::default(), door::metrics(handle.clone(), checks, names))]
}

/// Writes records until nobody has any more; then everything is on the disk, and the data directory is let go.
async fn write(
    store: Store,
    records: mpsc::Receiver<(u64, Record)>,
    handle: Handle,
    (journal, home): (Journal, Arc<Home>),
) {
    let inform = move |input| {
        let handle = handle.clone();
        async move { handle.inform(input).await }
    };
    store.write(records, inform).await;
    journal.close().await;
    drop(home);
}

/// Carries out health checks from now on; what is cancelled when a critical one keeps failing, where the node is to
/// leave then.
fn examine(handle: &Handle, config: &Config, checks: Vec<Check>) -> (Checks, CancellationToken) {
    let (checks, ill) = (Checks::new(checks), CancellationToken::new());
    let on_failure = if config.stop_on_failure { OnFailure::Stop(ill.clone()) } else { OnFailure::CarryOn };
    tokio::spawn(checks.clone().run(handle.counters().clone(), handle.stop().clone(), on_failure));
    (checks, ill)
}

/// Starts gossip where it is wanted, and gives what the one port leaves it.
async fn gossip(
    (handle, scribe): (&Handle, &Scribe),
    config: &Config,
    network: &[TcpListener],
    private: Vec<SocketAddr>,
    kept: &topics::Kept,
) -> Result<(Option<Topics>, Option<mpsc::Sender<link::gossip::Accepted>>), JoinError> {
    let Some(settings) = config.gossip.clone() else {
        handle.inform(Input::Source { source: Source::Gossip, health: SourceHealth::Off }).await;
        return Ok((None, None));
    };
    let doors: Vec<_> = network.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let place = link::gossip::Place::new(&doors, &ground::interfaces(), private);
    let (hand, accepted) = link::gossip::door();
    let topics =
        Topics::start(handle, scribe.clone(), settings, place, accepted, kept).await.map_err(JoinError::Gossip)?;
    Ok((Some(topics), Some(hand)))
}

fn identity(
    home: &Home,
    config: &Config,
    (version, redaction): (String, &Redaction),
    clock: Clock,
) -> Result<Identity, JoinError> {
    let (keys, now) = (home.key()?, clock.now().wall);
    let about = About {
        name: config.name_of(&keys.node()),
        version: if version.is_empty() { env!("CARGO_PKG_VERSION").to_owned() } else { version },
        capabilities: config.capabilities.clone(),
        protocols: protocols(config),
        metadata: config.metadata.clone(),
    };
    Ok(Identity::start(keys, redaction.about(about, now), now))
}

fn protocols(config: &Config) -> Vec<String> {
    let gossip = config.gossip.is_some().then_some(topics::PROTOCOL);
    [Some("local-network"), gossip].into_iter().flatten().map(str::to_owned).collect()
}

fn tls(me: &Identity, config: &Config) -> Result<Tls, JoinError> {
    let origin = config.tls.as_ref();
    let origin = origin.map(|files| OriginCertificate { cert: files.cert.clone(), key: files.key.clone() });
    Tls::new(me.keys(), origin.as_ref()).map_err(|failure| JoinError::Tls(Box::new(failure)))
}

fn rules(me: &Identity, config: &Config, ports: &Ports) -> node::Config {
    let limits = &config.limits;
    let mut rules = node::Config::new(me.node(), me.name(), me.boot(), rand::random());
    rules.version.clone_from(&me.about().version);
    rules.capabilities.clone_from(&config.capabilities);
    rules.metadata.clone_from(&config.metadata);
    rules.admission = config.admission;
    rules.throttle.sender = throttle::Rate { per_second: limits.messages_per_second, burst: limits.messages_burst };
    rules.throttle.address = throttle::Rate {
        per_second: limits.unverified_per_second,
        burst: limits.unverified_per_second.saturating_mul(2),
    };
    rules.inbox = inbox::queue::Config { items_max: config.inbox.items, kept_for: config.inbox.keep, ..rules.inbox };
    rules.outbound =
        outbound::Config { messages_max: limits.queue_messages, weight_max: limits.queue_bytes, ..rules.outbound };
    rules.seen_max = limits.seen;
    rules.future_max = limits.clock_skew;
    rules.guard.own_doors = ports.own();
    rules
}

fn limits(config: &Config) -> link::Limits {
    let limits = &config.limits;
    link::Limits {
        connections: ground::connections(limits.connections),
        per_address: limits.connections_per_address,
        head_bytes: limits.header_bytes,
        head: limits.header_time,
        body_bytes: limits.body_bytes,
        body: limits.body_time,
    }
}

/// Starts every source of discovery, in the background.
fn discover(handle: &Handle, links: &Links, config: &Config, interfaces: Vec<IpNet>) -> Option<Mdns> {
    tokio::spawn(ground::watch_interfaces(handle.clone(), links.clone(), interfaces));
    tokio::spawn(exchange::run(handle.clone(), links.clone()));
    tokio::spawn(name_peers(handle.clone(), config.peers.clone()));
    let Some(mdns) = &config.mdns else {
        let handle = handle.clone();
        tokio::spawn(async move {
            handle.inform(Input::Source { source: Source::Mdns, health: SourceHealth::Off }).await;
        });
        return None;
    };
    let informed = handle.clone();
    let inform = move |input| {
        let handle = informed.clone();
        async move { handle.inform(input).await }
    };
    let started = mdns::start(announced_on(&mdns.interfaces, &config.http.listen), advertised(handle), inform);
    tokio::spawn(advertise(handle.clone(), started.clone()));
    Some(started)
}

/// The interfaces for mDNS: those that are named, else only loopback for a node that listens nowhere
/// else. None named means all.
fn announced_on(named: &[String], listen: &[IpAddr]) -> Vec<String> {
    if !named.is_empty() || listen.is_empty() || !listen.iter().all(IpAddr::is_loopback) {
        return named.to_vec();
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.into_iter().filter(if_addrs::Interface::is_loopback).map(|interface| interface.name).collect()
}

/// Publishes what mDNS says about this node whenever it has changed.
async fn advertise(handle: Handle, mdns: Mdns) {
    let mut hello = handle.hello();
    let mut said = advertised(&handle);
    loop {
        tokio::select! {
            () = handle.stop().cancelled() => return,
            changed = hello.changed() => if changed.is_err() { return },
        }
        let now = advertised(&handle);
        if now != said {
            said = now.clone();
            mdns.announce(now).await;
        }
    }
}

fn advertised(handle: &Handle) -> Advertised {
    let (me, hello) = (handle.me(), handle.hello().borrow().clone());
    let endpoint = hello.card["endpoints"][0].as_str().unwrap_or_default();
    let port = endpoint.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default();
    let txt = Txt {
        id: Some(me.peer()),
        name: me.about().name.clone(),
        version: me.about().version.clone(),
        capabilities: me.about().capabilities.clone(),
        endpoint: endpoint.replacen("https://", "http://", 1),
        key: Some(me.node()),
        metadata: me.about().metadata.clone(),
        more: false,
    };
    Advertised { txt, port }
}

/// Hands the rules the addresses of the peers that the configuration names, each as soon as its
/// name can be resolved.
async fn name_peers(handle: Handle, peers: Vec<PeerAddress>) {
    handle.inform(Input::Source { source: Source::Manual, health: SourceHealth::Up }).await;
    let all = join_all(peers.iter().map(|peer| name_peer(&handle, peer)));
    // None: the node has ended.
    let _ = handle.stop().run_until_cancelled(all).await;
}

async fn name_peer(handle: &Handle, peer: &PeerAddress) {
    loop {
        match resolve(peer).await {
            Ok(candidates) => {
                if let Answer::Refused(refusal) = handle.ask(Ask::AddPeer(candidates)).await {
                    tracing::warn!(%peer, %refusal, "a named peer is not looked for");
                }
                return;
            }
            Err(failure) => tracing::warn!(%peer, %failure, "a named peer's address cannot be found"),
        }
        sleep(RESOLVE_AGAIN).await;
    }
}

async fn resolve(peer: &PeerAddress) -> std::io::Result<Vec<Candidate>> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((peer.host.as_str(), peer.port)).await?.collect();
    if found.is_empty() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    Ok(found.into_iter().map(|address| Candidate { address, source: Source::Manual }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::collections::BTreeSet;

    fn prepared(app: &AppConfig, file: &str) -> Result<Config, JoinError> {
        let scratch = Scratch::new();
        std::fs::write(scratch.path().join("comity.toml"), file).expect("a file");
        prepare(&Place::Named(scratch.path().to_owned()), app).map(|(_, config, _)| config)
    }

    #[test]
    fn an_application_gets_the_port_it_asks_for_and_any_free_one_when_nobody_does() {
        let ports = |http_port, file| {
            let app = AppConfig { http_port, ..AppConfig::default() };
            prepared(&app, file).expect("all is valid").http.ports
        };
        assert_eq!(ports(Some(9123), ""), 9123..=9123);
        assert_eq!(ports(None, ""), 0..=0);
        assert_eq!(ports(None, "[http]\nport = 9000"), 9000..=9000);
        assert_eq!(ports(None, "[http]\nport_last = 8410"), 8400..=8410);
    }

    #[test]
    fn what_peers_would_not_take_from_an_application_is_refused_when_it_joins() {
        let refused = |app: AppConfig| prepared(&app, "").expect_err("too much").to_string();
        let entry = |value: String| ("room".to_owned(), value);
        let long = refused(AppConfig { metadata: [entry("x".repeat(129))].into(), ..AppConfig::default() });
        assert!(long.contains("`metadata` (the application)") && long.contains("room"), "{long}");
        let version = refused(AppConfig { version: "1".repeat(129), ..AppConfig::default() });
        assert!(version.contains("`version`"), "{version}");
        let app = AppConfig { metadata: [entry("4".to_owned())].into(), ..AppConfig::default() };
        let config = prepared(&app, "[metadata]\nfloor = \"2\"").expect("all is valid");
        assert_eq!(config.metadata.len(), 2);
    }

    #[test]
    fn no_two_applications_share_a_directory() {
        assert_eq!(folder_of("planner-v2"), "planner-v2");
        let long = "x".repeat(FOLDER_NAME_MAX + 1);
        let names = ["数据", "服务", "---", "team/a", "team-a", "Team-A", "2", "a-2", "a", &long, &long[1..]];
        let folders: BTreeSet<String> = names.iter().map(|name| folder_of(name)).collect();
        assert_eq!(folders.len(), names.len());
        assert!(!folders.contains("2") && !folders.contains("a-2"), "a second node would take it: {folders:?}");
    }

    #[test]
    fn a_node_that_listens_on_loopback_alone_is_announced_there_alone() {
        let [loopback, other] = [[127, 0, 0, 1], [10, 0, 0, 7]].map(IpAddr::from);
        let used = announced_on(&[], &[loopback]);
        assert!(!used.is_empty() && used.iter().all(|name| name.starts_with("lo")), "{used:?}");
        assert_eq!(announced_on(&["eth0".to_owned()], &[loopback]), ["eth0"]);
        assert!(announced_on(&[], &[loopback, other]).is_empty() && announced_on(&[], &[]).is_empty());
    }
}
