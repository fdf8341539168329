//! Nodes that only share a broker, which runs in this process.

use crate::world::{Scratch, eventually, soon, start_with};
use comity::announcing::Filter;
use comity::broker::Broker;
use comity::{Network, Way};
use std::net::SocketAddr;

async fn start(scratch: &Scratch, broker: &Broker, name: &str, capability: &str) -> Network {
    let url = format!("mqtt://{}", broker.address());
    start_with(scratch.path(), name, &[("mqtt.brokers", &url), ("capabilities", capability)]).await
}

#[tokio::test]
async fn discovered_peers_are_connected_by_webrtc() {
    let scratch = Scratch::new();
    let broker = Broker::start(SocketAddr::from(([127, 0, 0, 1], 0)), None).await.expect("a broker");
    let (ann, bob) = (start(&scratch, &broker, "ann", "cook").await, start(&scratch, &broker, "bob", "sing").await);
    let cid = start(&scratch, &broker, "cid", "paint").await;
    let discovery = ann.discovery().expect("a broker is configured");
    eventually("all are announced", async || discovery.get_peers(&Filter::default()).await.len() == 2).await;
    let sings = Filter { capabilities: vec!["sing".to_owned()], ..Filter::default() };
    let connections = soon(ann.connect_to_discovered_peers(&sings)).await;
    assert_eq!(connections.len(), 1);
    assert_eq!((connections[0].peer, &connections[0].outcome), (bob.id(), &Ok(Way::Rtc)));
    let all = soon(ann.connect_to_discovered_peers(&Filter::default())).await;
    assert!(all.len() == 2 && all.iter().all(|connection| connection.outcome.is_ok()), "{all:?}");
    for node in [&ann, &bob, &cid] {
        node.leave("the test is over").await;
    }
    broker.stop().await;
}
