//! How soon nodes are connected by WebRTC, and how many are, across NATs and through coturn, in network
//! namespaces; and what the channel adds to a round trip. Nodes, NATs, broker and relay are processes
//! of their own, as the tests start them. Needs root.

use crate::figures::Latency;
use comity_tests::coturn::{Coturn, Login};
use comity_tests::lab::{Cable, Host, Lab};
use comity_tests::mosquitto::Mosquitto;
use comity_tests::nat::{Kind, Net};
use comity_tests::node::{Node, text};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Connections of each kind that are timed.
const TIMED: usize = 20;

/// Connections over all pairs of NATs, unless the command says another number.
const CONNECTIONS: usize = 200;

/// How long a connection may take before it counts as none.
const PATIENCE: Duration = Duration::from_secs(20);

/// Round trips that are read of each kind of link: a link is asked once a second.
const ROUND_TRIPS: usize = 15;

/// How often a node is asked whether it is connected.
const ASK_EVERY: Duration = Duration::from_millis(20);

const LOGIN: [(&str, &str); 2] = [("COMITY_WEBRTC_USERNAME", "kern"), ("COMITY_WEBRTC_PASSWORD", "turnpass")];

/// Prints the table.
pub(crate) fn run() -> Result<(), String> {
    let connections = std::env::args().nth(2).map_or(Ok(CONNECTIONS), |number| number.parse());
    let connections = connections.map_err(|_| "usage: comity-bench webrtc [CONNECTIONS]".to_owned())?;
    println!("{:<52} {:>10} {:>10}  goal", "what", "median", "slowest");
    on_one_network()?;
    through_a_relay()?;
    across_nats(connections)
}

/// Two nodes of which each is on the other's list.
struct Pair(Node, Node);

impl Pair {
    fn start(hosts: [&Host; 2], words: &[&str], servers: &str) -> Self {
        let variables = [&[("COMITY_WEBRTC_SERVERS", servers)], &LOGIN[..]].concat();
        let [ann, bob] = hosts.map(|host| Node::on_with(host, "node", &[&["--no-mdns"], words].concat(), &variables));
        ann.says(&["trust", &text(&bob.status["node"])]);
        bob.says(&["trust", &text(&ann.status["node"])]);
        Self(ann, bob)
    }

    /// The kind of link, once both have it; `None` when they have none in time.
    fn linked(&self) -> Option<String> {
        let way = |node: &Node, other: &Node| Some(text(&node.peer(&other.id())?["link"]));
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let there = |node: &Node, other: &Node| {
                node.peer(&other.id()).is_some_and(|peer| peer["presence"] == "online" && !peer["link"].is_null())
            };
            if there(&self.0, &self.1) && there(&self.1, &self.0) {
                return way(&self.0, &self.1);
            }
            std::thread::sleep(ASK_EVERY);
        }
        None
    }

    /// Both say goodbye: what a killed node leaves at broker and relay stands there for minutes, and is dialled by the next.
    fn leave(self) {
        self.0.stop();
        self.1.stop();
    }

    /// How long it took the side that connected, from its decision until the link was up: the longest of its dials.
    fn took(&self) -> Duration {
        let of = |node: &Node| node.figure("comity_p2p_dial_seconds_sum");
        Duration::from_secs_f64(of(&self.0).max(of(&self.1)))
    }

    /// Round trips as one side measures them.
    fn round_trips(&self) -> Result<Latency, String> {
        let mut times = Vec::new();
        let read = |status: &Value| status["links"][0]["round_trip_us"].as_u64();
        for _ in 0..ROUND_TRIPS {
            std::thread::sleep(Duration::from_secs(1));
            times.extend(read(&self.0.json(&["status"])).map(Duration::from_micros));
        }
        if times.is_empty() { Err("no round trip was measured".to_owned()) } else { Ok(Latency::from_times(times)) }
    }
}

fn show(what: &str, times: &Latency, goal: &str) {
    let shown = |share| format!("{:.1} ms", times.micros(share) / 1e3);
    println!("{what:<52} {:>10} {:>10}  {goal}", shown(0.5), shown(1.0));
}

fn timed(pairs: impl Iterator<Item = (Pair, &'static str)>) -> Result<Latency, String> {
    let mut times = Vec::new();
    for (pair, wanted) in pairs {
        match pair.linked() {
            Some(way) if way == wanted => {
                times.push(pair.took());
                pair.leave();
            }
            other => return Err(format!("the link is {other:?} and not {wanted}")),
        }
    }
    Ok(Latency::from_times(times))
}

fn on_one_network() -> Result<(), String> {
    let lab = Lab::bridge(3);
    let broker = Mosquitto::on(&lab.host(3));
    let hosts = [&lab.host(1), &lab.host(2)];
    let url = broker.url();
    let words = ["--broker", url.as_str()];
    let pairs = (0..TIMED).map(|_| (Pair::start(hosts, &words, ""), "webrtc"));
    show("link up on one network", &timed(pairs)?, "median < 500 ms");
    let pair = Pair::start(hosts, &words, "");
    pair.linked().ok_or("no link by WebRTC")?;
    let channel = pair.round_trips()?;
    drop(pair);
    let port = format!("{}:8400", lab.host(2).address);
    let bob = Node::on(&lab.host(2), "bob", &["--no-mdns"]);
    let ann = Node::on(&lab.host(1), "ann", &["--no-mdns", "--peer", &port]);
    let pair = Pair(ann, bob);
    pair.linked().ok_or("no link by WebSocket")?;
    show("round trip by WebSocket", &pair.round_trips()?, "");
    show("round trip by data channel", &channel, "median at most twice that");
    Ok(())
}

fn through_a_relay() -> Result<(), String> {
    let cable = Cable { delay: Duration::from_millis(25), loss_percent: 0 };
    let net = Net::with(&[Kind::Symmetric, Kind::Symmetric], Some(cable));
    let (broker, coturn) = (Mosquitto::on(&net.public()), Coturn::on(&net.public(), Login::Password));
    let (hosts, url) = ([&net.host(1), &net.host(2)], broker.url());
    let pairs = (0..TIMED).map(|_| (Pair::start(hosts, &["--broker", &url], &coturn.turn()), "webrtc-relay"));
    show("link up through a relay, 50 ms from node to node", &timed(pairs)?, "median < 2 s");
    Ok(())
}

fn across_nats(connections: usize) -> Result<(), String> {
    let kinds = [Kind::Cone, Kind::Symmetric];
    let matrix = kinds.iter().flat_map(|one| kinds.iter().map(move |other| [*one, *other]));
    let (mut up, mut direct, mut all) = (0, 0, 0);
    for pair in matrix {
        let net = Net::new(&pair);
        let (broker, coturn) = (Mosquitto::on(&net.public()), Coturn::on(&net.public(), Login::Password));
        let (hosts, url) = ([&net.host(1), &net.host(2)], broker.url());
        for _ in 0..connections.div_ceil(4) {
            let pair = Pair::start(hosts, &["--broker", &url], &coturn.turn());
            let way = pair.linked();
            pair.leave();
            all += 1;
            up += usize::from(way.is_some());
            direct += usize::from(way.is_some_and(|way| way == "webrtc"));
        }
    }
    let share = 100.0 * up as f64 / f64::from(u32::try_from(all).unwrap_or(u32::MAX));
    println!(
        "{:<52} {up:>6}/{all:<4} {share:>7.1} %  100 % (relay reachable); {direct} direct",
        "connected across NATs"
    );
    Ok(())
}
