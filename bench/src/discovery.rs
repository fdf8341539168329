//! How soon nodes know each other by mDNS, and how soon a node is ready: in a network namespace of
//! its own with nothing but loopback, so that no packet leaves this machine. Needs root, or a kernel
//! that lets users make namespaces.

use crate::node::Own;
use crate::table::{Latency, row};
use comity::{Network, PeerId, Presence};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Meetings of each kind.
const MEETINGS: usize = 50;

/// Starts of the command.
const STARTS: usize = 10;

/// The pause between two meetings: a record is not told twice within a second (RFC 6762, section 6),
/// so newcomers in quick succession wait for each other.
const QUIET: Duration = Duration::from_millis(1500);

/// How long two nodes may take to meet before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "BENCH_INSIDE";

/// Prints the table.
pub(crate) fn run() -> Result<(), String> {
    if std::env::var_os(INSIDE).is_none() {
        return enter();
    }
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().map_err(|error| error.to_string())?;
    if !up.success() {
        return Err("loopback does not come up".to_owned());
    }
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    row("what", "median", "slowest", None, "goal");
    runtime.block_on(async {
        let (newcomers, together) = (newcomers().await?, together().await?);
        show("newcomer to a running node, both know", &newcomers, "median < 400 ms, slowest < 1.5 s");
        show("two that start together, both know", &together, "median < 1.2 s, slowest < 2 s");
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

fn show(what: &str, times: &Latency, goal: &str) {
    let ms = |share| format!("{:.0} ms", times.share(share).as_secs_f64() * 1e3);
    row(what, &ms(0.5), &ms(1.0), None, goal);
}

async fn newcomers() -> Result<Latency, String> {
    let resident = Own::discovering("resident").await?;
    // What the resident says at its own start must not meet the first newcomer.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut times = Vec::new();
    for number in 0..MEETINGS {
        let began = Instant::now();
        let newcomer = Own::discovering(&format!("newcomer-{number}")).await?;
        both_know(&resident.network, &newcomer.network).await?;
        times.push(began.elapsed());
        newcomer.end().await;
        tokio::time::sleep(QUIET).await;
    }
    resident.end().await;
    Ok(Latency::from_times(times))
}

async fn together() -> Result<Latency, String> {
    let mut times = Vec::new();
    for number in 0..MEETINGS {
        let began = Instant::now();
        let (one, other) = (format!("one-{number}"), format!("other-{number}"));
        let (one, other) = tokio::try_join!(Own::discovering(&one), Own::discovering(&other))?;
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
    for number in 0..STARTS {
        let folder = std::env::temp_dir().join(format!("comity-bench-up-{}-{number}", std::process::id()));
        first.push(start(&folder)?);
        warm.push(start(&folder)?);
        std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    }
    Ok((Latency::from_times(first), Latency::from_times(warm)))
}

fn start(folder: &std::path::Path) -> Result<Duration, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("comity");
    let began = Instant::now();
    let mut node = Command::new(&program)
        .arg("up")
        .env("COMITY_HOME", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let mut line = String::new();
    let output = node.stdout.take().ok_or("no output")?;
    BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
    let took = began.elapsed();
    let ended = Command::new("kill").arg(node.id().to_string()).status().and_then(|_| node.wait());
    ended.map_err(|error| error.to_string())?;
    if line.starts_with("ready ") { Ok(took) } else { Err(format!("comity up said {line:?}")) }
}
