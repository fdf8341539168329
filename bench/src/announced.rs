//! Discovery over MQTT at mosquitto: how soon a newcomer knows a thousand announced peers, beside
//! mosquitto's own client which only receives them; how soon a killed node is gone; and what it holds.

use crate::figures::{Latency, memory_kib};
use crate::mosquitto::Retained;
use crate::node::{BY_ADDRESS, Own};
use crate::server::Server;
use crate::table::{Unit, alone, line};
use comity::announcing::{About, Discovery, Filter};
use comity::config::{Config, Flag, Mqtt, Sources};
use comity::{PeerId, Presence};
use comity_core::identity::key::KeyPair;
use comity_core::time::Timestamp;
use comity_core::wire::announce::{PREFIX, PeerInfo, sign_info};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use tokio::time::timeout;

/// Peers that are announced.
const PEERS: usize = 1_000;

/// Newcomers of each kind.
const NEWCOMERS: usize = 20;

/// Nodes that are killed.
const KILLED: usize = 10;

/// How often it is looked who is known.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How long anything may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a node is left alone before it is measured.
const REST: Duration = Duration::from_secs(5);

/// Prints the table.
pub(crate) fn run() -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let broker = Server::mosquitto()?;
        let _kept = announce(broker.address()).await?;
        println!("{PEERS} signed announcements are kept.");
        println!("{:<52} {:>9} {:>9}  goal", "what", "median", "slowest");
        let goal = "median < 300 ms, slowest < 5 s";
        show("they are known, from before connecting", newcomers(broker.address()).await?, goal);
        show("  mosquitto_sub has received the same", receivers(&broker)?, "");
        show("a whole node knows them, from its start", nodes(broker.address()).await?, "");
        let (after_will, after_kill) = killed().await?;
        show("a killed peer is gone, from the broker's will", after_will, "< 2 s");
        show("  from the kill", after_kill, "");
        memory(&broker).await
    })
}

fn show(what: &str, times: Vec<Duration>, goal: &str) {
    let times = Latency::from_times(times);
    let ms = |share| format!("{:.0} ms", times.share(share).as_secs_f64() * 1e3);
    println!("{what:<52} {:>9} {:>9}  {goal}", ms(0.5), ms(1.0));
}

/// Has the broker keep an announcement of everybody, for an hour. They have names for addresses, which nobody dials.
async fn announce(broker: SocketAddr) -> Result<Retained, String> {
    let mut kept = Retained::open(broker).await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    for number in 0..PEERS {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let key = KeyPair::from_seed(seed);
        let info = PeerInfo {
            id: key.peer().to_string(),
            url: Some(format!("https://node-{number}.example.org:8400/dashflow/rtc")),
            capabilities: vec!["search".to_owned(), "summarise".to_owned()],
            protocols: vec!["http-rest".to_owned()],
            protocol_version: Some("1.0.0".to_owned()),
            metadata: [("version".to_owned(), "0.1.0".into())].into_iter().collect(),
            last_seen: Some(now),
            key: None,
            expires_at: Some(now + Duration::from_secs(3600)),
            session: Some("bench".to_owned()),
        };
        let body = sign_info(&info, &key).to_string();
        kept.publish(&format!("{PREFIX}/{}/announce", info.id), body).await?;
    }
    kept.settled().await?;
    Ok(kept)
}

fn url(broker: SocketAddr) -> String {
    format!("mqtt://{broker}")
}

fn settings(broker: SocketAddr) -> Result<Mqtt, String> {
    let flags = vec![Flag { name: "bench", key: "mqtt.brokers", values: vec![url(broker)] }];
    let (config, _) = Config::read(&Sources { flags, ..Sources::default() }).map_err(|error| error.to_string())?;
    config.mqtt.ok_or_else(|| "no broker is configured".to_owned())
}

/// How long `is_so` takes to become true.
async fn until(began: Instant, is_so: impl AsyncFn() -> bool) -> Result<Duration, String> {
    while !is_so().await {
        if began.elapsed() > PATIENCE {
            return Err("what is measured does not happen".to_owned());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(began.elapsed())
}

async fn newcomers(broker: SocketAddr) -> Result<Vec<Duration>, String> {
    let (settings, all) = (settings(broker)?, Filter::default());
    let mut times = Vec::new();
    for _ in 0..NEWCOMERS {
        let began = Instant::now();
        let discovery = Discovery::start(&settings, None, About::default());
        times.push(until(began, async || discovery.get_peers(&all).await.len() >= PEERS).await?);
        discovery.stop().await;
    }
    Ok(times)
}

async fn nodes(broker: SocketAddr) -> Result<Vec<Duration>, String> {
    let url = url(broker);
    let mut times = Vec::new();
    for number in 0..NEWCOMERS {
        let began = Instant::now();
        let node = at(&format!("newcomer-{number}"), &url).await?;
        times.push(until(began, async || node.network.peers().await.len() >= PEERS).await?);
        node.end().await;
    }
    Ok(times)
}

async fn at(name: &str, url: &str) -> Result<Own, String> {
    Own::with(name, &[BY_ADDRESS, &[("mqtt.brokers", url)]].concat()).await
}

/// How long mosquitto's client takes to receive as many, from its start.
fn receivers(broker: &Server) -> Result<Vec<Duration>, String> {
    let (port, count, topic) = (broker.address().port().to_string(), PEERS.to_string(), format!("{PREFIX}/+/announce"));
    let words = ["-V", "5", "-q", "1", "-h", "127.0.0.1", "-p", &port, "-t", &topic, "-C", &count];
    let receive = |_| {
        let began = Instant::now();
        let ended = Command::new("mosquitto_sub").args(words).stdout(Stdio::null()).status();
        let received = ended.is_ok_and(|status| status.success());
        if received { Ok(began.elapsed()) } else { Err("mosquitto_sub does not receive them".to_owned()) }
    };
    (0..NEWCOMERS).map(receive).collect()
}

/// How soon a killed peer with a link is gone: from its will, and from the kill. At a broker of their own, as a node
/// that hears of a thousand does not connect to all of them.
async fn killed() -> Result<(Vec<Duration>, Vec<Duration>), String> {
    let broker = Server::mosquitto()?;
    let (url, mut listener) = (url(broker.address()), Retained::open(broker.address()).await?);
    let resident = at("resident", &url).await?;
    let here = async || -> Option<PeerId> {
        let peers = resident.network.peers().await;
        peers.iter().find(|peer| peer.presence == Presence::Online).map(|peer| peer.id)
    };
    let (mut after_will, mut after_kill) = (Vec::new(), Vec::new());
    for _ in 0..KILLED {
        let victim = Server::comity(&[("COMITY_MQTT_BROKERS", &url)])?;
        until(Instant::now(), async || here().await.is_some()).await?;
        let id = here().await.ok_or("the victim has left")?;
        let will = listener.heard(&format!("{PREFIX}/{id}/goodbye")).await?;
        let began = Instant::now();
        drop(victim);
        let gone = until(began, async || here().await.is_none());
        let said = async { timeout(PATIENCE, will).await.is_ok_and(|will| will.is_ok()).then(|| began.elapsed()) };
        let (gone, said) = tokio::join!(gone, said);
        let (gone, said) = (gone?, said.ok_or("no will came")?);
        after_will.push(gone.saturating_sub(said));
        after_kill.push(gone);
    }
    resident.end().await;
    Ok((after_will, after_kill))
}

async fn memory(broker: &Server) -> Result<(), String> {
    let without = rest(&Server::comity(&[])?).await?;
    let node = Server::comity(&[("COMITY_MQTT_BROKERS", &url(broker.address()))])?;
    let extra = line(format!("memory of MQTT with {PEERS} peers"), Unit::KiB).goal("<= 10240 KiB");
    alone(&extra, vec![rest(&node).await? - without]);
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let listen = free.map_err(|error| error.to_string())?;
    let variables = [("COMITY_MQTT_BROKERS", "embedded"), ("COMITY_MQTT_LISTEN", &listen.to_string())];
    let node = Server::comity(&variables)?;
    let _kept = announce(listen).await?;
    let extra = line("  with the embedded broker, which keeps them", Unit::KiB).goal("<= 20480 KiB");
    alone(&extra, vec![rest(&node).await? - without]);
    Ok(())
}

/// What a node holds of its own when it has rested.
async fn rest(node: &Server) -> Result<f64, String> {
    tokio::time::sleep(REST).await;
    memory_kib(node.pid(), "RssAnon")
}
