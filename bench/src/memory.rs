//! What a node that does nothing holds: on its own, for each plain WebSocket, and for each peer
//! that is linked to it by TLS. The node is `comity up` as shipped, a process of its own.

use crate::figures::memory_kib;
use crate::node::{BY_ADDRESS, Own};
use crate::server::Server;
use crate::table::{Unit, alone, line};
use crate::watchers::watch;
use std::time::Duration;

/// Plain WebSockets at once.
const WEBSOCKETS: usize = 1_000;

/// Linked peers at once; each is a whole node in this process.
const LINKS: usize = 200;

/// How long a node is left alone before it is measured.
const REST: Duration = Duration::from_secs(2);

/// Prints these lines alone.
pub(crate) fn run() -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(measure())
}

/// Prints its lines of the table.
pub(crate) async fn measure() -> Result<(), String> {
    let node = Server::comity(&[])?;
    tokio::time::sleep(REST).await;
    let resident = line("memory of an idle node, resident", Unit::KiB).goal("<= 20480 KiB");
    alone(&resident, vec![memory_kib(node.pid(), "VmRSS")?]);
    alone(&line("  of it its own", Unit::KiB), vec![memory_kib(node.pid(), "RssAnon")?]);
    // Many in one go: who looks at a node is counted by the minute.
    let node = Server::comity(&[("COMITY_LIMITS_REQUESTS_PER_MINUTE", "1000000")])?;
    let each = line(format!("memory of an idle WebSocket, of {WEBSOCKETS}"), Unit::KiB).goal("<= 20 KiB");
    alone(&each, vec![growth(&node, WEBSOCKETS, async |_| watch(node.address()).await).await?]);
    let node = Server::comity(&[])?;
    let each = line(format!("memory of an idle TLS link, of {LINKS}"), Unit::KiB).goal("<= 40 KiB");
    let link = async |number| {
        let peer = Own::with(&format!("peer-{number}"), BY_ADDRESS).await?;
        peer.link(node.address()).await.map(|_| peer)
    };
    alone(&each, vec![growth(&node, LINKS, link).await?]);
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
