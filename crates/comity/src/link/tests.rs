//! Tests of the links over real sockets on loopback: two sides with a channel for a driver.

mod dials;
mod doors;
mod meshes;
mod requests;
mod rtcs;
mod streams;

use super::*;
use crate::driver::{Clock, Driver, Event, Setup};
use crate::identity::{About, Identity};
use crate::observe::Counters;
use crate::redaction::Redaction;
use axum::extract::Extension;
use axum::routing::{get, post};
use comity_core::card::{self, Card};
use comity_core::envelope::{Address, Kind, Priority, Ttl};
use comity_core::id::MessageId;
use comity_core::identity::key::KeyPair;
use comity_core::node::{Config, Input, Node, NodeView, Restored};
use comity_core::payload::Payload;
use comity_core::time::Timestamp;
use comity_core::wire::frame::Hello;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A node as far as links know one: it listens, and what its driver would hear is in `events`.
struct Side {
    key: KeyPair,
    links: Links,
    events: mpsc::Receiver<Event>,
    address: SocketAddr,
    counters: Counters,
    view: NodeView,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Side {
    async fn start(seed: u8) -> Self {
        Self::with(seed, Limits::default()).await
    }

    async fn with(seed: u8, limits: Limits) -> Self {
        let tls = Tls::new(&key(seed), None).expect("TLS of a good key");
        Self::over(seed, limits, tls).await
    }

    async fn over(seed: u8, limits: Limits, tls: Tls) -> Self {
        let key = key(seed);
        let (handle, events, view) = handle(&key);
        let (counters, stop) = (handle.counters().clone(), handle.stop().clone());
        let links = Links::new(handle, tls.clone(), Some(Ice::default()));
        let router = links.router().merge(doors());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let serving = tokio::spawn(listen(vec![listener], tls.into(), router, limits, counters.clone(), stop.clone()));
        Self { key, links, events, address, counters, view, stop, serving }
    }

    async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("a driver that lives")
    }

    async fn link(&mut self) -> Established {
        match self.event().await {
            Event::Link(established) => *established,
            other => panic!("a link was wanted, not {other:?}"),
        }
    }

    async fn input(&mut self) -> Input {
        match self.event().await {
            Event::Input(input) => input,
            Event::Frame { link, frame, .. } => Input::Frame { link, frame },
            other => panic!("an input was wanted, not {other:?}"),
        }
    }

    /// The messages of the next `count`, however they were cut into frames.
    async fn messages(&mut self, count: usize) -> Vec<Message> {
        let mut all = Vec::new();
        while all.len() < count {
            match self.event().await {
                Event::Messages { batch, unreadable, .. } if unreadable.is_empty() => all.extend(batch),
                other => panic!("messages were wanted, not {other:?}"),
            }
        }
        all
    }

    /// How many connections were refused or cut for this cause.
    fn refused(&self, cause: Cause) -> u64 {
        self.count(&format!("comity_system_refused_connections_total{{cause=\"{}\"}} ", cause.name()))
    }

    /// How many messages or frames were dropped for this cause.
    fn dropped(&self, cause: &str) -> u64 {
        self.count(&format!("comity_pubsub_dropped_messages_total{{cause=\"{cause}\"}} "))
    }

    fn count(&self, metric: &str) -> u64 {
        let text = self.counters.render(&self.view);
        text.lines().find_map(|line| line.strip_prefix(metric)?.parse().ok()).unwrap_or(0)
    }

    /// Ends everything; fails if a connection, link or dial is left behind.
    async fn end(mut self) {
        self.stop.cancel();
        let drained = async { while self.events.recv().await.is_some() {} };
        let ended = async {
            self.serving.await.expect("serving does not panic");
            self.links.ended().await;
            drop(self.links);
        };
        timeout(PATIENCE, async { tokio::join!(drained, ended) }).await.expect("everything ends when told to");
    }
}

fn key(seed: u8) -> KeyPair {
    KeyPair::from_seed([seed; 32])
}

/// A handle, what its driver would hear, and how its node looks.
fn handle(key: &KeyPair) -> (Handle, mpsc::Receiver<Event>, NodeView) {
    let clock = Clock::start();
    let name = key.node().short();
    let me = Identity::start(key.clone(), About { name: name.clone(), ..About::default() }, clock.now().wall);
    let node = Node::new(Config::new(key.node(), name, me.boot(), 1), Restored::default(), clock.now());
    let (stop, view) = (CancellationToken::new(), node.view(clock.now()));
    let setup = Setup {
        me,
        node,
        clock,
        counters: Counters::new("0"),
        redaction: Redaction::with(None),
        doors: Vec::new(),
        interfaces: Vec::new(),
        stop,
    };
    let (driver, handle) = Driver::new(setup);
    (handle, driver.into_events(), view)
}

fn hello_of(key: &KeyPair, boot: Boot) -> Hello {
    hello_at(key, boot, wall())
}

fn hello_at(key: &KeyPair, boot: Boot, now: Timestamp) -> Hello {
    let card = Card {
        node: Some(key.node()),
        name: format!("node {}", key.node().short()),
        protocol: card::PROTOCOL.to_owned(),
        started_at: now,
        issued_at: now,
        expires_at: now + card::LIFETIME_MAX,
        ..Card::default()
    };
    Hello {
        card: comity_core::wire::card::sign(&card, key),
        boot,
        protocol: card::PROTOCOL.to_owned(),
        subscriptions: vec![(channel("_errors"), false), (channel("_status"), true)],
        channels: vec![channel("_status")],
    }
}

fn doors() -> Router {
    let who = |Extension(caller): Extension<Caller>| async move {
        let key = caller.key.map(|key| key.to_string());
        axum::Json(serde_json::json!({ "key": key, "tls": caller.tls, "ip": caller.address.ip() }))
    };
    Router::new().route("/who", get(who)).route("/echo", post(|body: String| async { body }))
}

fn wall() -> Timestamp {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    Timestamp::from_millis(u64::try_from(wall.as_millis()).expect("a year we live to see"))
}

fn channel(name: &str) -> Channel {
    Channel::new(name).expect("a channel name")
}

fn message(key: &KeyPair, on: &str, payload: &serde_json::Value) -> Message {
    Message {
        id: Some(MessageId(Uuid::new_v4())),
        from: key.peer(),
        to: Address::Broadcast,
        kind: Kind::Status,
        channel: channel(on),
        priority: Priority::Normal,
        timestamp: wall().whole_seconds(),
        ttl: Ttl::DEFAULT,
        reply_to: None,
        payload: Payload::from_value(payload).expect("a small payload"),
        more: None,
    }
}
