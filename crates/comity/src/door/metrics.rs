//! Metrics in OpenMetrics text: what the parts count, and what the node's view shows at the time
//! of asking. Names are `comity_<area>_<what>_<unit>`; no label has unbounded values. See "Health
//! and metrics" in `protocols/pubsub.md`.

mod snapshot;

#[cfg(test)]
mod tests;

use super::NETWORK;
use super::health::Checks;
use super::problem::{Code, Problem};
use crate::driver::Handle;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use snapshot::Snapshot;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The media type of what [`metrics`] answers.
const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Buckets of every latency, seconds.
pub(crate) const LATENCY_BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Buckets of every size, bytes: 64 B to 16 MiB.
pub(crate) const SIZE_BUCKETS: [f64; 10] =
    [64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];

/// What the metrics door shows. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Exposed {
    /// The node.
    pub(crate) handle: Handle,
    /// What the parts count.
    pub(crate) registry: Arc<Registry>,
    /// The checks.
    pub(crate) checks: Checks,
}

/// `GET /metrics`.
pub(super) async fn metrics(State(exposed): State<Exposed>) -> Result<Response, Problem> {
    let snapshot = Snapshot { view: exposed.handle.look().await, standing: exposed.checks.standing() };
    let text = render(&exposed.registry, snapshot)
        .map_err(|_| Problem::unavailable("the metrics cannot be written", Duration::from_secs(1)))?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], text).into_response())
}

fn render(registry: &Registry, snapshot: Snapshot) -> Result<String, std::fmt::Error> {
    let mut now = Registry::default();
    now.register_collector(Box::new(snapshot));
    let mut out = String::new();
    text::encode_registry(&mut out, registry)?;
    text::encode_registry(&mut out, &now)?;
    text::encode_eof(&mut out)?;
    Ok(out)
}

/// What the network door counts. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    answered: Family<Answered, Counter>,
    refused: Family<Refused, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    bytes: Family<Route, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            answered: Family::default(),
            refused: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            bytes: Family::new_with_constructor(|| Histogram::new(SIZE_BUCKETS)),
        }
    }
}

impl Tally {
    /// Shows the counts in this registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "comity_system_http_requests",
            "Requests answered by the network door",
            self.answered.clone(),
        );
        registry.register(
            "comity_errors_http_refusals",
            "Requests that the network door refused, by the code of the problem",
            self.refused.clone(),
        );
        registry.register_with_unit(
            "comity_system_http_request_duration",
            "Time from the head of a request to the head of its answer",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register_with_unit(
            "comity_system_http_request_size",
            "Bodies of requests, as announced",
            Unit::Bytes,
            self.bytes.clone(),
        );
    }
}

/// Counts every request and how it was answered.
pub(super) async fn count(State(tally): State<Tally>, request: Request, next: Next) -> Response {
    let route = route(request.method(), request.uri().path());
    let announced = announced_length(request.headers());
    let begun = Instant::now();
    let response = next.run(request).await;
    tally.seconds.get_or_create(&Route { route }).observe(begun.elapsed().as_secs_f64());
    tally.answered.get_or_create(&Answered { route, status: response.status().as_u16() }).inc();
    if let Some(length) = announced {
        tally.bytes.get_or_create(&Route { route }).observe(f64::from(length));
    }
    if let Some(code) = response.extensions().get::<Code>() {
        tally.refused.get_or_create(&Refused { code: code.name() }).inc();
    }
    response
}

/// The listed path that was asked for: whatever else is asked for counts as one.
fn route(method: &Method, path: &str) -> &'static str {
    let listed = NETWORK.iter().find(|(listed, at)| *listed == method.as_str() && *at == path);
    listed.map_or("other", |(_, at)| at)
}

fn announced_length(headers: &HeaderMap) -> Option<u32> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
