//! What a node that does nothing holds: on its own, for each plain WebSocket, and for each peer
//! that is linked to it by TLS. The node is `comity up` as shipped, a process of its own. And what the
//! redactor's rules hold, in this process.

use crate::figures::memory_kib;
use crate::node::{BY_ADDRESS, Own};
use crate::server::Server;
use crate::table::{Unit, alone, line};
use crate::watchers::watch;
use comity_core::redact::{Config, Redactor};
use std::time::Duration;

/// Plain WebSockets at once.
const WEBSOCKETS: usize = 1_000;

/// Linked peers at once; each is a whole node in this process.
const LINKS: usize = 200;

/// Peers at once that are linked and gossip too: fewer than a node connects with for gossip.
const GOSSIPING: usize = 100;

/// The peers beside the node share no documents: each would hold more files than this process may have for all.
const PEERS: &[(&str, &str)] = &[("mesh.enabled", "false")];

const WITHOUT_GOSSIP: (&str, &str) = ("COMITY_GOSSIP_ENABLED", "false");

/// How long a node is left alone before it is measured.
const REST: Duration = Duration::from_secs(2);

/// Prints these lines alone.
pub(crate) fn run() -> Result<(), String> {
    // First: what this process has given back would be taken again unseen.
    redactor()?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(measure())
}

/// Prints its lines of the table.
pub(crate) async fn measure() -> Result<(), String> {
    idle("memory of an idle node, resident", "<= 35840 KiB", &[]).await?;
    idle("  without gossip", "<= 20480 KiB", &[WITHOUT_GOSSIP]).await?;
    // Many in one go: who looks at a node is counted by the minute.
    let node = Server::comity(&[("COMITY_LIMITS_REQUESTS_PER_MINUTE", "1000000")])?;
    let each = line(format!("memory of an idle WebSocket, of {WEBSOCKETS}"), Unit::KiB).goal("<= 20 KiB");
    alone(&each, vec![growth(&node, WEBSOCKETS, async |_| watch(node.address()).await).await?]);
    let node = Server::comity(&[WITHOUT_GOSSIP])?;
    let each = line(format!("memory of an idle TLS link, of {LINKS}"), Unit::KiB).goal("<= 40 KiB");
    let keys = [BY_ADDRESS, PEERS, &[("gossip.enabled", "false")]].concat();
    alone(&each, vec![growth(&node, LINKS, async |number| linked(number, &node, &keys).await).await?]);
    let node = Server::comity(&[])?;
    let each = line(format!("  with one of gossip beside it, of {GOSSIPING}"), Unit::KiB);
    let keys = [BY_ADDRESS, PEERS].concat();
    alone(&each, vec![growth(&node, GOSSIPING, async |number| linked(number, &node, &keys).await).await?]);
    Ok(())
}

async fn linked(number: usize, node: &Server, keys: &[(&'static str, &str)]) -> Result<Own, String> {
    let peer = Own::with(&format!("peer-{number}"), keys).await?;
    peer.link(node.address()).await.map(|_| peer)
}

/// Prints what the redactor's rules hold: when they were read, and when texts were read by them.
fn redactor() -> Result<(), String> {
    let held = || memory_kib(std::process::id(), "RssAnon");
    let before = held()?;
    let redactor = Redactor::new(&Config::new([1; 32])).map_err(|bad| bad.to_string())?;
    alone(&line("memory of the redactor's rules", Unit::KiB), vec![held()? - before]);
    for text in [include_str!("../../ARCHITECTURE.md"), include_str!("memory.rs")] {
        redactor.text(text, &mut Vec::new());
    }
    alone(&line("  when they have read something", Unit::KiB), vec![held()? - before]);
    Ok(())
}

/// Prints what a node holds that has nothing to do, and how much of it is its own and not the program's.
async fn idle(what: &str, goal: &'static str, variables: &[(&str, &str)]) -> Result<(), String> {
    let node = Server::comity(variables)?;
    tokio::time::sleep(REST).await;
    alone(&line(what, Unit::KiB).goal(goal), vec![memory_kib(node.pid(), "VmRSS")?]);
    alone(&line("  of it its own", Unit::KiB), vec![memory_kib(node.pid(), "RssAnon")?]);
    Ok(())
}

/// How much private memory the node needs for each of so many connections.
async fn growth<C>(
    node: &Server,
    count: usize,
    connect: impl AsyncFn(usize) -> Result<C, String>,
) -> Result<f64, String> {
    // What the first one needs is needed once.
    let mut held = vec![connect(0).await?];
    tokio::time::sleep(REST).await;
    let before = memory_kib(node.pid(), "RssAnon")?;
    for number in 1..=count {
        held.push(connect(number).await?);
    }
    tokio::time::sleep(REST).await;
    let after = memory_kib(node.pid(), "RssAnon")?;
    drop(held);
    Ok((after - before) / count as f64)
}
