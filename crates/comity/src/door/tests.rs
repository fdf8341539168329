//! The network and metrics doors in front of a real node: its own rules and driver, with a disk
//! that does what the test says.

mod admission;
mod compute;
mod journal;
mod knowledge;
mod looks;
mod mesh;
mod messages;
mod metrics;
mod registry;
mod rpc;
mod streams;

use super::*;
use crate::compute::Compute;
use crate::driver::{Clock, Driver, Setup};
use crate::identity::{About, Identity};
use crate::link::{Caller, Ice, Links, Tls};
use crate::observe::Counters;
use crate::redaction::Redaction;
use crate::scratch::Scratch;
use crate::search::encoding::Encoder;
use crate::search::{Elsewhere, Entries, Index, Mesh};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use comity_core::basin::Settings;
use comity_core::envelope::{Address, Kind, Message, Priority, Ttl};
use comity_core::id::{MessageId, NodeId};
use comity_core::identity::key::KeyPair;
use comity_core::node::{self, Answer, Ask, Input, Node, Record, Restored};
use comity_core::payload::Payload;
use comity_core::wire::json::{self, Spelling};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

/// How long anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What peers reach, as `mod.rs` lists it.
pub(super) const NETWORK: [(&str, &str); 36] = [
    ("GET", "/dashflow/status"),
    ("GET", "/dashflow/peers"),
    ("GET", "/dashflow/introspect"),
    ("GET", "/dashflow/events"),
    ("GET", "/dashflow/link"),
    ("GET", "/dashflow/files"),
    ("GET", "/dashflow/journal"),
    ("GET", "/dashflow/journal/lines"),
    ("GET", "/dashflow/journal/growth"),
    ("POST", "/dashflow/message"),
    ("POST", "/dashflow/rtc"),
    ("PATCH", "/dashflow/rtc/{session}"),
    ("DELETE", "/dashflow/rtc/{session}"),
    ("POST", "/mesh/query"),
    ("GET", "/mesh/sync"),
    ("POST", "/mesh/basins/broadcast"),
    ("POST", "/mesh/knowledge/share"),
    ("POST", "/mesh/knowledge/request"),
    ("GET", "/mesh/knowledge/replicate"),
    ("GET", "/mesh/compute/tasks"),
    ("POST", "/mesh/compute/tasks"),
    ("GET", "/mesh/compute/tasks/{id}"),
    ("POST", "/mesh/compute/tasks/{id}/cancel"),
    ("GET", "/mesh/compute/available"),
    ("POST", "/mesh/compute/claim"),
    ("POST", "/mesh/compute/renew"),
    ("POST", "/mesh/compute/complete"),
    ("POST", "/mesh/compute/fail"),
    ("POST", "/mesh/compute/{id}/progress"),
    ("POST", "/mesh/register"),
    ("POST", "/mesh/heartbeat"),
    ("GET", "/mesh/nodes"),
    ("GET", "/mesh/nodes/{id}"),
    ("DELETE", "/mesh/nodes/{id}"),
    ("GET", "/rpc"),
    ("GET", "/openapi.json"),
];

/// What monitoring reaches, as `mod.rs` lists it.
pub(super) const METRICS: [(&str, &str); 7] = [
    ("GET", "/metrics"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/livez"),
    ("GET", "/health/ready"),
    ("GET", "/readyz"),
    ("GET", "/health/checks"),
];

/// What the disk does with records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Takes,
    Waits,
    Refuses,
}

/// A node behind its network door.
struct Home {
    handle: Handle,
    router: Router,
    disk: watch::Sender<Disk>,
    tls: Tls,
    stop: CancellationToken,
    /// What the mesh knows, and the folder it is in.
    mesh: Mesh,
    /// The registry, for it is a coordinator, too.
    registry: Registry,
    _folder: Scratch,
}

impl Drop for Home {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Home {
    async fn open() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let clock = Clock::start();
        let about = About { name: "home".to_owned(), version: "1.2.3".to_owned(), ..About::default() };
        let me = Identity::start(KeyPair::from_seed([1; 32]), about, clock.now().wall);
        let tls = Tls::new(me.keys(), None).expect("TLS of a good key");
        let mut config = Config::from(&crate::config::Config::default());
        change(&mut config);
        let mut rules = node::Config::new(me.node(), me.name(), me.boot(), 1);
        rules.admission = config.admission;
        let stop = CancellationToken::new();
        let (driver, handle) = Driver::new(Setup {
            node: Node::new(rules, Restored::default(), clock.now()),
            me,
            clock,
            counters: Counters::new("1.2.3"),
            redaction: Redaction::with(None),
            doors: vec![SocketAddr::from(([127, 0, 0, 1], 8400))],
            interfaces: Vec::new(),
            stop: stop.clone(),
        });
        let links = Links::new(handle.clone(), tls.clone(), Some(Ice::default()));
        let (records, taken) = mpsc::channel(64);
        let (disk, doing) = watch::channel(Disk::Takes);
        tokio::spawn(run_disk(taken, doing, handle.clone()));
        tokio::spawn(driver.run(links.clone(), records));
        let folder = Scratch::new();
        let index = Index::open(folder.path(), Settings::default(), KeyPair::from_seed([1; 32]), Clock::wall);
        let settings = crate::config::Config::default().mesh.expect("it is on");
        let (index, me) = (index.await.expect("an index"), handle.me().node());
        let entries = Entries::open(&folder.path().join("knowledge.db"), me).await.expect("a file");
        let elsewhere = watch::channel(Elsewhere::new()).1;
        let mesh = Mesh::new((index, Encoder::Hash), entries, (&handle, &links), (&settings, elsewhere));
        let compute = Compute::open(&folder.path().join("tasks.db"), &handle, &links, &settings).await;
        let compute = Some(compute.expect("a queue"));
        let path = crate::store::link::Place::File(folder.path().join("registry.db"));
        let registry = Registry::open(&path, Default::default(), clock.now()).await.expect("a registry");
        let behind =
            Behind { mesh: Some(mesh.clone()), compute, registry: Some(registry.clone()), ..Behind::default() };
        let router = network(handle.clone(), links, behind, config);
        Self { router, handle, disk, tls, stop, mesh, registry, _folder: folder }
    }

    /// Sends a request as this caller; a `Host` and a JSON type are added.
    async fn ask(&self, caller: Caller, request: axum::http::request::Builder, body: impl Into<Body>) -> Reply {
        let headers = request.headers_ref().cloned().unwrap_or_default();
        let request = if headers.contains_key("host") { request } else { request.header("host", "127.0.0.1:8400") };
        let request = if headers.contains_key("content-type") {
            request
        } else {
            request.header("content-type", "application/json")
        };
        let mut request = request.body(body.into()).expect("a request");
        request.extensions_mut().insert(caller);
        Reply::of(self.router.clone().oneshot(request).await.expect("routers do not fail")).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask(neighbour(), Request::get(path), Body::empty()).await
    }

    async fn post(&self, body: impl Into<Body>) -> Reply {
        self.ask(neighbour(), Request::post("/dashflow/message"), body).await
    }

    async fn inbox(&self) -> Vec<Arc<comity_core::inbox::Item>> {
        match self.handle.ask(Ask::Peek { after: 0, limit: 100 }).await {
            Answer::Items(items) => items,
            other => panic!("items were wanted, not {other:?}"),
        }
    }
}

/// The store's place: tells the node of every record what the test wants.
async fn run_disk(mut records: mpsc::Receiver<(u64, Record)>, mut doing: watch::Receiver<Disk>, handle: Handle) {
    while let Some((number, _)) = records.recv().await {
        let decided = doing.wait_for(|disk| *disk != Disk::Waits).await.map(|disk| *disk);
        handle
            .inform(match decided {
                Ok(Disk::Refuses) => Input::NotCommitted { from: number },
                _ => Input::Committed { upto: number },
            })
            .await;
    }
}

/// An answer, read.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    async fn of(response: axum::response::Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 16 << 20).await.expect("a body");
        let text = String::from_utf8(body.to_vec()).expect("text");
        Self { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The status and code of a problem, which must be one in every respect.
    fn problem(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        assert_eq!(body["status"], self.status, "{self:?}");
        assert_eq!(body["type"], "about:blank", "{self:?}");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{self:?}");
        assert_eq!(self.headers.contains_key("retry-after"), matches!(self.status, 429 | 503), "{self:?}");
        assert_eq!(self.headers.contains_key("www-authenticate"), self.status == 401, "{self:?}");
        (self.status, body["code"].as_str().expect("a code").to_owned())
    }
}

/// Somebody on the local network who proves nothing.
fn neighbour() -> Caller {
    Caller { address: SocketAddr::from(([192, 168, 1, 5], 40_000)), key: None, tls: false }
}

/// Somebody on this address with the key of this seed.
fn keyed(address: [u8; 4], seed: u8) -> Caller {
    Caller { address: SocketAddr::from((address, 40_000)), key: Some(node_id(seed)), tls: true }
}

fn node_id(seed: u8) -> NodeId {
    KeyPair::from_seed([seed; 32]).node()
}

/// A suggestion by a peer without a key, which waits in the inbox.
fn suggestion(from: Uuid) -> Value {
    json!({
        "id": Uuid::new_v4(), "from": from, "to": "broadcast", "type": "suggestion", "channel": "_suggestions",
        "payload": { "suggestion": "rest" }, "priority": "normal", "timestamp": now(), "ttl": 60, "reply_to": null,
    })
}

fn now() -> String {
    Clock::start().now().wall.to_string()
}

/// The time so many seconds from now.
fn in_seconds(seconds: i64) -> String {
    let wall = Clock::start().now().wall;
    let offset = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { (wall - offset).to_string() } else { (wall + offset).to_string() }
}

/// The same message with one member changed.
fn with(mut message: Value, member: &str, value: impl Into<Value>) -> Value {
    message[member] = value.into();
    message
}

/// A message signed by the key of this seed, as it goes over the wire.
fn signed(seed: u8, change: impl FnOnce(&mut Message)) -> Value {
    let key = KeyPair::from_seed([seed; 32]);
    let mut message = Message {
        id: Some(MessageId(Uuid::new_v4())),
        from: key.peer(),
        to: Address::Broadcast,
        kind: Kind::Bug,
        channel: comity_core::channel::Channel::of_kind(Kind::Bug),
        priority: Priority::Normal,
        timestamp: Clock::start().now().wall,
        ttl: Ttl::DEFAULT,
        reply_to: None,
        payload: Payload::from_value(&json!({ "bug": "a leak" })).expect("a small payload"),
        more: None,
    };
    json::sign(&mut message, &key);
    change(&mut message);
    json::to_value(&message, Spelling::Design)
}

/// The list at the head of `mod.rs`, the routes that are made below it, and the paths that the tests
/// ask for are the same. The routes of the mesh are made beside it, those of links and streams elsewhere.
#[test]
fn the_list_of_what_is_reachable_names_every_path_and_no_other() {
    let (head, made) = include_str!("mod.rs").split_once("pub(crate) mod").expect("a head");
    let paths = |text: &'static str, before: &str, after: char| -> BTreeSet<&'static str> {
        let found = text.split(before).skip(1).filter_map(|rest| rest.split(after).next());
        found.map(|path| path.trim_start_matches(|c: char| c.is_ascii_uppercase() || c == ' ')).collect()
    };
    let quoted = |text| paths(text, "`", '`').into_iter().filter(|path| path.starts_with('/')).collect::<BTreeSet<_>>();
    let mut routed = paths(made, ".route(\"", '"');
    routed.extend(["/dashflow/link", "/dashflow/files"]);
    for beside in [include_str!("mesh.rs"), include_str!("compute.rs"), include_str!("registry.rs")] {
        routed.extend(paths(beside, ".route(\"", '"'));
    }
    use comity_core::wire::mesh::knowledge::path as known;
    routed.extend([known::SHARE, known::REQUEST, known::REPLICATE]);
    let asked = NETWORK.iter().chain(&METRICS).map(|(_, path)| *path).collect::<BTreeSet<_>>();
    let is_federation = |path: &&str| path.starts_with("/federation/") || path.starts_with("/.well-known/");
    let (of_others, of_all): (BTreeSet<_>, BTreeSet<_>) = quoted(head).into_iter().partition(is_federation);
    assert_eq!(of_all, asked);
    assert_eq!(routed, asked);
    use comity_core::wire::federation::body::path as called;
    use comity_core::wire::federation::well_known;
    let all = [
        well_known::PATH,
        called::INVITE,
        called::JOIN,
        called::LEAVE,
        called::REMOVE,
        called::SEND,
        called::EVENTS,
        called::MEMBERS,
        called::DIGEST,
        called::HEADS,
        called::CALL,
        called::CAPABILITIES,
        called::HEALTH,
    ];
    assert_eq!(of_others, BTreeSet::from(all), "federation.rs");
}
