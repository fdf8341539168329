//! The doors of a node, and what is reachable by whom: this file lists it all.
//!
//! | door | open to | paths |
//! | --- | --- | --- |
//! | network | whoever `local.trust` admits | `GET /dashflow/status`, `/dashflow/peers`, `/dashflow/introspect`, `/dashflow/events` |
//! | | whoever `local.trust` admits; each message is judged by itself | `GET /rpc` |
//! | | anybody; each message is judged by itself | `POST /dashflow/message` |
//! | | nodes that prove their key by TLS | `GET /dashflow/link`, `/dashflow/journal` |
//! | | known nodes that prove their key by TLS | `GET /dashflow/journal/lines`, `/dashflow/journal/growth` |
//! | | nodes that prove their key by TLS, while a link with them is up | `GET /dashflow/files` |
//! | | nodes that sign with their key | `POST /dashflow/rtc`, `PATCH /dashflow/rtc/{session}`, `DELETE /dashflow/rtc/{session}` |
//! | | known nodes that prove their key by TLS, where `mesh.enabled` is not off | `POST /mesh/basins/broadcast` |
//! | | those, and where `mesh.coordinator` is on, who shows an API key over TLS or loopback | `POST /mesh/knowledge/share`, `GET /mesh/compute/tasks`, `POST /mesh/compute/tasks`, `GET /mesh/compute/tasks/{id}`, `POST /mesh/compute/tasks/{id}/cancel`, `/mesh/compute/claim`, `/mesh/compute/renew`, `/mesh/compute/complete`, `/mesh/compute/fail`, `/mesh/compute/{id}/progress` |
//! | | all those, and whoever `mesh.coordinator_key` names | `POST /mesh/query`, `GET /mesh/sync`, `POST /mesh/knowledge/request`, `GET /mesh/knowledge/replicate`, `/mesh/compute/available` |
//! | | who shows an API key or an enrolment token over TLS or loopback, and known nodes that prove their key by TLS, where `mesh.coordinator` is on | `POST /mesh/register`, `/mesh/heartbeat`, `GET /mesh/nodes`, `/mesh/nodes/{id}`, `DELETE /mesh/nodes/{id}` |
//! | | anybody; it says nothing of this node | `GET /openapi.json` |
//! | | anybody, where `federation.origin` is set | `GET /.well-known/smcp/server` |
//! | | origins that sign with their key, where `federation.origin` is set | `POST /federation/v1/invite`, `/federation/v1/join`, `/federation/v1/leave`, `/federation/v1/remove`, `/federation/v1/heads`, `/federation/v1/call`, `PUT /federation/v1/send/{txn_id}`, `GET /federation/v1/channels/{channel}/events`, `/federation/v1/channels/{channel}/members`, `/federation/v1/channels/{channel}/digest`, `/federation/v1/capabilities`, `/federation/v1/health` |
//! | metrics | this machine, or whom `metrics.listen` lets in | `GET /metrics`, `/health`, `/health/live`, `/livez`, `/health/ready`, `/readyz`, `/health/checks` |
//! | control | this user, never the network | `comity_core::wire::control::path` |
//!
//! Besides the doors, and each for anybody who reaches it:
//! - libp2p listens at the network door's ports, by TCP, where the first byte tells it from TLS and HTTP, and by QUIC (UDP);
//!   `gossip.enabled = false` ends that. With `gossip.relay` others reach each other through it.
//! - mDNS listens at UDP port 5353 of the local network, the node's own and libp2p's; `--no-mdns` ends both.
//! - A WebRTC connection has UDP sockets of its own, at ports that the system chooses, while it lasts.
//! - The embedded MQTT broker listens where `mqtt.listen` says, when `mqtt.brokers` has `embedded` or `comity broker` runs,
//!   with nothing of this node behind it.
//!
//! The tests compare this list with what is there. Every HTTP door is behind [`guards`]; every refusal is a [`problem`].

mod compute;
pub(crate) mod control;
pub(crate) mod dashflow;
mod events;
mod federation;
pub(crate) mod guards;
pub(crate) mod health;
mod journal;
mod knowledge;
pub(crate) mod mcp;
mod mesh;
pub(crate) mod metrics;
pub(crate) mod openapi;
mod pace;
mod page;
pub(crate) mod problem;
mod registry;
mod rpc;
pub(crate) mod session;
pub(crate) mod shown;
mod signal;
mod streamed;

#[cfg(test)]
mod tests;

use crate::compute::Compute;
use crate::driver::Handle;
use crate::federation::Federation;
use crate::link::Links;
use crate::observe;
use crate::registry::Registry;
use crate::search::Mesh;
use crate::store::journal::Journal;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension, FromRequestParts};
use axum::http::request::Parts;
use axum::middleware;
use axum::routing::{get, patch, post};
use comity_core::id::NodeId;
use comity_core::identity::trust::{Admission, Trust};
use comity_core::node::{NodeView, Refusal};
use comity_core::registry::roster::Holder;
use comity_core::throttle::Sender;
use dashflow::Limits;
use events::Feed;
use guards::{Names, Source};
use health::Checks;
use ipnet::IpNet;
use pace::Pace;
use problem::Problem;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// What the network door obeys.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Under which names it answers, and which web pages may talk to it.
    pub(crate) names: Names,
    /// Proxies that are believed about addresses.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Who is admitted at all.
    pub(crate) admission: Admission,
    /// What others may use.
    pub(crate) limits: Limits,
    /// The key of the coordinator that this node registers with, where it is configured.
    pub(crate) coordinator: Option<NodeId>,
}

impl From<&crate::config::Config> for Config {
    fn from(config: &crate::config::Config) -> Self {
        let limits = &config.limits;
        Self {
            names: Names { hosts: hosts(config), origins: config.http.origins.clone(), configured: true },
            trusted_proxies: config.trusted_proxies.clone(),
            admission: config.admission,
            coordinator: config.mesh.as_ref().and_then(|mesh| mesh.coordinator.as_ref()?.key),
            limits: Limits {
                body_bytes: limits.body_bytes,
                messages_per_second: limits.messages_per_second,
                messages_burst: limits.messages_burst,
                unverified_per_second: limits.unverified_per_second,
                requests_per_minute: limits.requests_per_minute,
                connections: limits.connections,
                connections_per_address: limits.connections_per_address,
            },
        }
    }
}

/// The names by which this node is called: those that are configured, and those by which other origins find it.
fn hosts(config: &crate::config::Config) -> Vec<String> {
    let federation = config.federation.iter();
    let names = federation.flat_map(|federation| {
        [federation.origin.name().to_owned(), federation.endpoint.host().to_string().to_ascii_lowercase()]
    });
    config.http.hosts.iter().cloned().chain(names).collect()
}

/// What the network door reaches beside the rules and links.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    /// The node's journal.
    pub(crate) journal: Option<Journal>,
    /// Federation, if it speaks for an origin.
    pub(crate) federation: Option<Federation>,
    /// Its mesh, if it is on.
    pub(crate) mesh: Option<Mesh>,
    /// Its queue of tasks, if the mesh is on.
    pub(crate) compute: Option<Compute>,
    /// The registry of the mesh, if this node is its coordinator.
    pub(crate) registry: Option<Registry>,
}

/// The network door: [`NETWORK`]. Needs a tokio runtime.
pub(crate) fn network(
    handle: Handle,
    links: Links,
    Behind { journal, federation, mesh, compute, registry }: Behind,
    config: Config,
) -> Router {
    let counted = (handle.clone(), observe::Door::Network);
    let body_max = config.limits.body_bytes;
    let names = config.names.clone();
    let door = Door::new(handle, config);
    let router = Router::new()
        .route("/dashflow/status", get(dashflow::status))
        .route("/dashflow/peers", get(dashflow::peers))
        .route("/dashflow/introspect", get(dashflow::introspect))
        .route("/dashflow/events", get(events::events))
        .route("/dashflow/message", post(dashflow::message))
        .route("/dashflow/journal", get(journal::head))
        .route("/dashflow/journal/lines", get(journal::lines))
        .route("/dashflow/journal/growth", get(journal::growth))
        .route("/rpc", get(rpc::rpc))
        .route("/openapi.json", get(openapi::document));
    let router = router.with_state(door.clone()).merge(links.router());
    let router = if links.serves_webrtc() { router.merge(signals(door.clone(), links.clone(), false)) } else { router };
    let router = match mesh {
        Some(mesh) => router.merge(mesh::router(door.clone(), mesh, registry.clone())),
        None => router,
    };
    let router = match compute {
        Some(compute) => router.merge(compute::router(door.clone(), compute, registry.clone())),
        None => router,
    };
    let router = match registry {
        Some(registry) => router.merge(registry::router(door.clone(), registry)),
        None => router,
    };
    let router = match federation {
        Some(federation) => router.merge(federation::router(door, federation, body_max)),
        None => router,
    };
    let router = router.layer(Extension(links)).layer(Extension(journal)).layer(DefaultBodyLimit::max(body_max));
    guards::guard(closed(router), names)
        .layer(middleware::from_fn_with_state(counted.0.clone(), problem::redact))
        .layer(middleware::from_fn_with_state(counted, metrics::count))
}

/// How connections by WebRTC are asked for: of the network door, and of the control door by its page. Either way it
/// is signed, and the key that signed is judged; that of the page is `by_owner`, who has opened it.
pub(crate) fn signals(door: Door, links: Links, by_owner: bool) -> Router {
    Router::new()
        .route("/dashflow/rtc", post(signal::offer))
        .route("/dashflow/rtc/{session}", patch(signal::change).delete(signal::end))
        .with_state(door)
        .layer(Extension(signal::ByOwner(by_owner)))
        .layer(Extension(links))
}

/// The metrics door: [`METRICS`].
pub(crate) fn metrics(handle: Handle, checks: Checks, names: Names) -> Router {
    let counted = (handle.clone(), observe::Door::Metrics);
    let health = Router::new()
        .route("/health", get(health::all))
        .route("/health/live", get(health::live))
        .route("/livez", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/readyz", get(health::ready))
        .route("/health/checks", get(health::history))
        .with_state(checks);
    let router = Router::new().route("/metrics", get(metrics::metrics)).with_state(handle).merge(health);
    guards::guard(closed(router), names)
        .layer(middleware::from_fn_with_state(counted.0.clone(), problem::redact))
        .layer(middleware::from_fn_with_state(counted, metrics::count))
}

/// The router with a problem for every other path and method.
fn closed(router: Router) -> Router {
    router
        .fallback(|| async { Problem::no_such_path() })
        .method_not_allowed_fallback(|| async { Problem::no_such_method() })
}

/// What the calls of the network door share. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Door(Arc<Shared>);

struct Shared {
    handle: Handle,
    config: Config,
    feed: Feed,
    pace: Pace,
    /// The pace of workers, who fetch and report more often than others ask.
    work_pace: Pace,
}

impl Door {
    /// For the node behind `handle`. Needs a tokio runtime.
    pub(crate) fn new(handle: Handle, config: Config) -> Self {
        let feed = Feed::start(handle.clone());
        let pace = Pace::new(config.limits.requests_per_minute);
        let work_pace = Pace::new(compute::WORK_PER_MINUTE);
        Self(Arc::new(Shared { handle, config, feed, pace, work_pace }))
    }

    fn handle(&self) -> &Handle {
        &self.0.handle
    }

    fn limits(&self) -> &Limits {
        &self.0.config.limits
    }

    fn coordinator(&self) -> Option<NodeId> {
        self.0.config.coordinator
    }

    fn take_pace(&self, source: Source) -> Result<(), Problem> {
        let known = source.key.is_some_and(|key| self.handle().last_view().known.contains(&key));
        self.0.pace.take(source, known, self.handle().now().mono)
    }

    /// The same for a worker. Who is not known has the pace of all requests.
    fn take_work_pace(&self, source: Source) -> Result<(), Problem> {
        let known = source.key.is_some_and(|key| self.handle().last_view().known.contains(&key));
        if known { self.0.work_pace.take(source, known, self.handle().now().mono) } else { self.take_pace(source) }
    }

    /// The same for a worker that the registry knows by this.
    fn take_work_pace_as(&self, holder: Holder, source: Source) -> Result<(), Problem> {
        let sender = match holder {
            Holder::Key(key) => Sender::Key(key),
            Holder::ApiKey(hash) => Sender::ApiKey(hash),
        };
        self.0.work_pace.take_as(sender, source, self.handle().now().mono)
    }

    fn feed(&self) -> &Feed {
        &self.0.feed
    }

    /// Lets whoever `local.trust` admits look at the node as it is now.
    async fn admit(&self, source: Source) -> Result<Visit, Problem> {
        let view = self.handle().look().await;
        let trust = match source.key {
            Some(key) if view.known.contains(&key) => Trust::Known,
            Some(_) => Trust::Verified,
            None => Trust::Unverified,
        };
        let wanted = self.0.config.admission.wanted(source.address, &view.interfaces);
        if trust < wanted {
            let refusal = Refusal::NotAdmitted { wanted: wanted.name() };
            return Err(Problem::of_refusal(&refusal, source.key.is_some()));
        }
        Ok(Visit { source, trust, view })
    }

    /// Whether somebody who was let in may still watch, with the payloads of messages or without. Who
    /// came without a key was admitted by its address, and has nothing to lose.
    async fn may_watch(&self, source: Source, payload: bool) -> bool {
        source.key.is_none() || self.admit(source).await.is_ok_and(|visit| !payload || visit.is_known())
    }

    /// The node's signed card, and the first endpoint it names: in the spelling of the TXT record, for
    /// whoever cannot check a node's certificate by its key. TLS is on the same port.
    fn card(&self) -> (Value, Option<String>) {
        let card = self.handle().hello().borrow().card.clone();
        let endpoint = card["endpoints"][0].as_str().map(|url| url.replacen("https://", "http://", 1));
        (card, endpoint)
    }
}

impl FromRequestParts<Door> for Source {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        match parts.extensions.get() {
            Some(caller) => Ok(Self::of(caller, &parts.headers, &door.0.config.trusted_proxies)),
            None => Err(Problem::unavailable("the connection does not say who calls", Duration::from_secs(1))),
        }
    }
}

/// Somebody who looks at this node, admitted and within the pace; and what there is to see.
struct Visit {
    source: Source,
    trust: Trust,
    view: Arc<NodeView>,
}

impl Visit {
    fn is_known(&self) -> bool {
        self.trust == Trust::Known
    }
}

impl FromRequestParts<Door> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        let source = Source::from_request_parts(parts, door).await?;
        door.take_pace(source)?;
        door.admit(source).await
    }
}
