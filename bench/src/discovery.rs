//! How soon nodes know each other by mDNS, and how soon a node is ready: in a network namespace of
//! its own, so that no packet leaves this machine. Needs root, or a kernel that lets users make
//! namespaces.

use crate::figures::Latency;
use crate::node::Own;
use crate::server::{Folder, comity, first_line};
use comity::{Network, PeerId, Presence};
use mdns_sd::{ServiceDaemon, ServiceInfo};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Meetings of each kind.
const MEETINGS: usize = 50;

/// Starts of the command.
const STARTS: usize = 10;

/// The pause between two meetings: a record is not told twice within a second (RFC 6762, section 6),
/// so newcomers in quick succession wait for each other.
const QUIET: Duration = Duration::from_millis(1500);

/// How long a node says what it says at its start: that must not meet the first newcomer.
const SAID: Duration = Duration::from_secs(3);

/// How long two nodes may take to meet before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "BENCH_INSIDE";

/// A network on which nobody else is. Its far end has no address, or this machine would be on the
/// network twice.
const NETWORK: &str = "ip link set lo up && ip link add eth0 type veth peer name other && \
                       ip link set other addrgenmode none && ip link set other up && \
                       ip addr add 10.77.0.200/24 dev eth0 && ip link set eth0 up";

/// Puts this machine on it twice.
const TWICE: &str = "ip -6 addr add fe80::2/64 dev other nodad";

/// Addresses on it at which nobody answers; a node that goes by the numbers tries them first.
const WITH_DEAD_ONES: &str = "10.77.0.101,10.77.0.102,10.77.0.103,10.77.0.104,10.77.0.105,10.77.0.200";

/// Prints the table.
pub(crate) fn run() -> Result<(), String> {
    if std::env::var_os(INSIDE).is_none() {
        return enter();
    }
    make(NETWORK)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    print("what", "median", "slowest", "goal");
    runtime.block_on(async {
        let goal = "median < 400 ms, slowest < 1.5 s";
        show("newcomer to a running node, both know", &newcomers().await?, goal);
        show("the same, five of its addresses dead", &newcomers_among_dead_addresses().await?, goal);
        let goal = "median < 1.2 s, slowest < 2 s";
        show("two that start together, both know", &together().await?, goal);
        make(TWICE)?;
        show("the same, on one network twice", &together().await?, goal);
        Ok::<_, String>(())
    })?;
    let (first, warm) = ready()?;
    show("comity up, first start, until ready", &first, "< 300 ms");
    show("comity up, warm, until ready", &warm, "< 100 ms");
    Ok(())
}

/// Runs this program again, alone in a network namespace.
fn enter() -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut inside = Command::new("unshare");
    inside.args(["--net", "--map-root-user", "--"]).arg(program).arg("discovery").env(INSIDE, "yes");
    let ended = inside.status().map_err(|error| format!("unshare (util-linux) is wanted: {error}"))?;
    if ended.success() { Ok(()) } else { Err("the measurement in the namespace failed".to_owned()) }
}

fn make(network: &str) -> Result<(), String> {
    let made = Command::new("sh").args(["-c", network]).status().map_err(|error| error.to_string())?;
    if made.success() { Ok(()) } else { Err("a network cannot be made here".to_owned()) }
}

fn show(what: &str, times: &Latency, goal: &str) {
    let ms = |share| format!("{:.0} ms", times.share(share).as_secs_f64() * 1e3);
    print(what, &ms(0.5), &ms(1.0), goal);
}

fn print(what: &str, median: &str, slowest: &str, goal: &str) {
    println!("{what:<40} {median:>10} {slowest:>10}  {goal}");
}

async fn newcomers() -> Result<Latency, String> {
    let resident = Own::with("resident", &[]).await?;
    let times = come_to(&resident).await?;
    resident.end().await;
    Ok(times)
}

/// The resident is announced by somebody else, who names more addresses than it has.
async fn newcomers_among_dead_addresses() -> Result<Latency, String> {
    let resident = Own::with("resident", &[("mdns.enabled", "false")]).await?;
    let port = resident.address()?.port();
    let texts = [("id", resident.network.id().to_string()), ("key", resident.network.node_id().to_string())];
    let announce = || {
        let daemon = ServiceDaemon::new()?;
        let (kind, host) = ("_dashflow._tcp.local.", "resident.local.");
        daemon.register(ServiceInfo::new(kind, "resident", host, WITH_DEAD_ONES, port, &texts[..])?)?;
        Ok(daemon)
    };
    let daemon = announce().map_err(|error: mdns_sd::Error| error.to_string())?;
    let times = come_to(&resident).await?;
    daemon.shutdown().map_err(|error| error.to_string())?;
    resident.end().await;
    Ok(times)
}

async fn come_to(resident: &Own) -> Result<Latency, String> {
    tokio::time::sleep(SAID).await;
    let mut times = Vec::new();
    for number in 0..MEETINGS {
        let began = Instant::now();
        let newcomer = Own::with(&format!("newcomer-{number}"), &[]).await?;
        both_know(&resident.network, &newcomer.network).await?;
        times.push(began.elapsed());
        newcomer.end().await;
        tokio::time::sleep(QUIET).await;
    }
    Ok(Latency::from_times(times))
}

async fn together() -> Result<Latency, String> {
    let mut times = Vec::new();
    for number in 0..MEETINGS {
        let began = Instant::now();
        let (one, other) = (format!("one-{number}"), format!("other-{number}"));
        let (one, other) = tokio::try_join!(Own::with(&one, &[]), Own::with(&other, &[]))?;
        both_know(&one.network, &other.network).await?;
        times.push(began.elapsed());
        tokio::join!(one.end(), other.end());
    }
    Ok(Latency::from_times(times))
}

async fn both_know(one: &Network, other: &Network) -> Result<(), String> {
    let began = Instant::now();
    while !(knows(one, other.id()).await && knows(other, one.id()).await) {
        if began.elapsed() > PATIENCE {
            return Err(format!("{} and {} do not meet", one.name(), other.name()));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

async fn knows(network: &Network, peer: PeerId) -> bool {
    let peers = network.peers().await;
    peers.iter().any(|known| known.id == peer && known.presence == Presence::Online && known.key.is_some())
}

/// Until `comity up` says that it is ready: in an empty folder, and again in the same.
fn ready() -> Result<(Latency, Latency), String> {
    let (mut first, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let folder = Folder::new();
        first.push(start(folder.path())?);
        warm.push(start(folder.path())?);
    }
    Ok((Latency::from_times(first), Latency::from_times(warm)))
}

fn start(folder: &Path) -> Result<Duration, String> {
    let began = Instant::now();
    let mut node = comity(folder)?.arg("up").spawn().map_err(|error| error.to_string())?;
    let line = first_line(&mut node)?;
    let took = began.elapsed();
    let ended = Command::new("kill").arg(node.id().to_string()).status().and_then(|_| node.wait());
    ended.map_err(|error| error.to_string())?;
    if line.starts_with("ready ") { Ok(took) } else { Err(format!("comity up said {line:?}")) }
}
