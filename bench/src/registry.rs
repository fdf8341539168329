//! The registry of a mesh of ten thousand nodes: how many enrol a second, and what their heartbeats cost it. The registry is
//! a process of its own as shipped. The nodes are only what they say: HTTP in plain on loopback, a connection for each
//! request, and each from an address of its own, for one address has not so many ports.

use crate::clusters::{Clusters, DIMENSION};
use crate::figures::{Latency, cpu_time, memory_kib};
use crate::server::Server;
use crate::table::{Unit, alone, line};
use crate::words::numbers;
use comity_client::Client;
use comity_client::control::Enroll;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep_until, timeout};

/// Nodes that are registered, the registry itself one of them, and seconds of heartbeats, when nobody says.
const USUAL: [usize; 2] = [10_000, 60];

/// Nodes that enrol with one token: fewer than a caller may ask the registry in a minute, for a token is a caller.
const USES: usize = 100;

/// Requests that are under way at once, at most.
const AT_ONCE: usize = 32;

/// How often a node says that it is there.
const INTERVAL: Duration = Duration::from_secs(30);

/// How long an answer may take before it counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Largest answer that is read, bytes: who enrols is told of 500 others.
const ANSWER_MAX: u64 = 16 * 1024 * 1024;

/// Measures, and prints a line for each figure.
pub(crate) fn run(words: &[String]) -> Result<(), String> {
    let [nodes, seconds] = numbers(words, USUAL)?;
    let others = nodes.checked_sub(1).filter(|others| *others > 0).ok_or("at least two nodes are wanted")?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(measure(others, seconds))
}

async fn measure(nodes: usize, seconds: usize) -> Result<(), String> {
    let registry = Server::comity(&[("COMITY_MESH_COORDINATOR", "true")])?;
    let client = Client::new(registry.folder());
    let mut tokens = Vec::new();
    for _ in 0..nodes.div_ceil(USES) {
        let wanted = Enroll { uses: USES as u32, expires_in_seconds: 3600 };
        tokens.push(client.enroll(&wanted).await.map_err(|error| error.to_string())?.token);
    }
    println!(
        "The registry and {nodes} others; they enrol with tokens for {USES} each, and say with their first heartbeat where \
         their documents lie: a signature of {DIMENSION} numbers, no centroids."
    );
    let began = Instant::now();
    let keys = enrolled(registry.address(), nodes, &tokens).await?;
    let took = began.elapsed().as_secs_f64();
    alone(&line(format!("nodes that enrol, {AT_ONCE} at once"), Unit::PerSecond), vec![nodes as f64 / took]);
    alone(&line("  its memory then, resident", Unit::KiB), vec![memory_kib(registry.pid(), "VmRSS")?]);

    let (before, began) = (cpu_time(registry.pid()), Instant::now());
    let beaten = beats(registry.address(), &keys, seconds).await?;
    let (took, cost) = (began.elapsed().as_secs_f64(), cpu_time(registry.pid()).saturating_sub(before));
    let rate = beaten.times.len() as f64 / took;
    alone(&line(format!("heartbeats of {nodes} nodes"), Unit::PerSecond), vec![rate]);
    alone(&line("  not answered by 200, in all", Unit::Count).goal("0"), vec![beaten.bad.len() as f64]);
    let share = cost.as_secs_f64() / took * 100.0;
    alone(&line("  processor time of the registry, of one core", Unit::Percent).goal("< 15 %"), vec![share]);
    // 200 MB as disks count them.
    let memory = memory_kib(registry.pid(), "VmRSS")?;
    alone(&line("  its memory, resident", Unit::KiB).goal("< 195,312 KiB"), vec![memory]);
    alone(&line("  the most it ever was", Unit::KiB), vec![memory_kib(registry.pid(), "VmHWM")?]);
    let times = Latency::from_times(beaten.times);
    alone(&line("  answered after, median", Unit::Millis), vec![times.micros(0.5) / 1e3]);
    alone(&line("  99 of 100 below", Unit::Millis), vec![times.micros(0.99) / 1e3]);
    match beaten.bad.first() {
        Some(bad) => Err(format!("not every heartbeat was answered by 200: {bad}")),
        None => Ok(()),
    }
}

/// Enrols nodes: the API key of each.
async fn enrolled(door: SocketAddr, nodes: usize, tokens: &[String]) -> Result<Vec<String>, String> {
    let part = |first: usize| async move {
        let mut keys = Vec::new();
        for node in (first..nodes).step_by(AT_ONCE) {
            let said = json!({
                "node_id": name(node), "service_name": "bench", "endpoint": "https://192.0.2.7:8400",
                "capabilities": ["search"],
            });
            let (status, body) = post((door, node), ("/mesh/register", tokens[node / USES].as_str()), &said).await?;
            // The rest is a long list of others.
            let key = body.split_once("\"api_key\":\"").and_then(|(_, rest)| Some(rest.split_once('"')?.0));
            match key {
                Some(key) if status == 200 => keys.push((node, key.to_owned())),
                _ => return Err(format!("{} is not enrolled: {status} {}", name(node), beginning(&body))),
            }
        }
        Ok::<_, String>(keys)
    };
    let mut keys = try_join_all((0..AT_ONCE).map(part)).await?.concat();
    keys.sort_unstable_by_key(|(node, _)| *node);
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

/// What came of heartbeats.
#[derive(Default)]
struct Beaten {
    /// How long after it was due each was answered.
    times: Vec<Duration>,
    /// What came instead of an answer with status 200.
    bad: Vec<String>,
}

/// Lets each node say that it is there as often as it should, for so long, evenly spread.
async fn beats(door: SocketAddr, keys: &[String], seconds: usize) -> Result<Beaten, String> {
    let nodes = keys.len();
    let apart = INTERVAL / u32::try_from(nodes).map_err(|_| "there are too many nodes")?;
    let in_all = (nodes * seconds).div_ceil(INTERVAL.as_secs() as usize);
    let signatures = Clusters::new().draw(nodes);
    let (signatures, begin) = (&signatures, Instant::now());
    let part = |first: usize| async move {
        let mut beaten = Beaten::default();
        for number in (first..in_all).step_by(AT_ONCE) {
            let node = number % nodes;
            let mut said = json!({
                "node_id": name(node), "load": { "running": 0, "queued": 0, "cpu": 0.25, "memory": 0.5 },
            });
            if number < nodes {
                said["basin_signature"] = json!(signatures[node * DIMENSION..][..DIMENSION]);
            }
            let due = begin + apart * u32::try_from(number).map_err(|_| "there are too many heartbeats")?;
            sleep_until(due).await;
            match post((door, node), ("/mesh/heartbeat", keys[node].as_str()), &said).await {
                Ok((200, _)) => beaten.times.push(due.elapsed()),
                Ok((status, body)) => beaten.bad.push(format!("{}: {status} {}", name(node), beginning(&body))),
                Err(why) => beaten.bad.push(format!("{}: {why}", name(node))),
            }
        }
        Ok::<_, String>(beaten)
    };
    let mut all = Beaten::default();
    for one in try_join_all((0..AT_ONCE).map(part)).await? {
        all.times.extend(one.times);
        all.bad.extend(one.bad);
    }
    // The last has its time, too.
    sleep_until(begin + apart * u32::try_from(in_all).map_err(|_| "there are too many heartbeats")?).await;
    Ok(all)
}

fn name(node: usize) -> String {
    format!("kernel-{node}")
}

/// As much of a text as an error shows.
fn beginning(body: &str) -> &str {
    &body[..body.floor_char_boundary(300)]
}

/// What the registry answers to this node, whose connection it is the only one of: the status, and the body.
async fn post(
    (door, node): (SocketAddr, usize),
    (path, key): (&str, &str),
    said: &Value,
) -> Result<(u16, String), String> {
    let body = said.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {door}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let exchange = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(own_address(node))?;
        let mut stream = socket.connect(door).await?;
        stream.set_nodelay(true)?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = timeout(ANSWER_WITHIN, exchange).await;
    let answer = answer.map_err(|_| format!("{path}: no answer within {} s", ANSWER_WITHIN.as_secs()))?;
    let answer = answer.map_err(|error| format!("{path}: {error}"))?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) =
        text.split_once("\r\n\r\n").ok_or_else(|| format!("{path}: {:?} is no answer", beginning(&text)))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| format!("{path}: {head:?} is no head of an answer"))?, body.to_owned()))
}

/// Where a node's connections come from, at any port: all of 127.0.0.0/8 is this machine.
fn own_address(node: usize) -> SocketAddr {
    let first = u32::from(Ipv4Addr::new(127, 1, 0, 1));
    let offset = u32::try_from(node).unwrap_or(0) & 0x7f_ffff;
    SocketAddr::from((Ipv4Addr::from(first + offset), 0))
}
