//! Reaching a peer: all its addresses are raced, the first that answers wins. The addresses have
//! passed the dial guard; nothing here looks up a name. See "Dialling" in `protocols/identity.md`.

use super::hello::{self, Greeted};
use super::mesh::{self, Socket};
use super::post::{Unanswered, Whom};
use super::wire::Wire;
use super::{Links, tls};
use crate::observe::DialEnd;
use comity_core::id::{DialId, NodeId, PeerId};
use comity_core::node::{DialFailure, DialOutcome, Input};
use comity_core::peers::{Candidate, Sighting, Way};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

/// How far apart attempts start, unless one has failed meanwhile.
const APART: Duration = Duration::from_millis(25);

/// Attempts under way at once.
const IN_FLIGHT_MAX: usize = 8;

/// How long one candidate may take to prove its key.
const ATTEMPT_TIME: Duration = Duration::from_secs(3);

/// How long a connection may leave our ClientHello unanswered before it counts as one that speaks
/// no TLS; what is left of [`ATTEMPT_TIME`] is for asking by plain HTTP.
const TLS_TIME: Duration = Duration::from_millis(1500);

impl Links {
    /// Performs `Effect::Dial`; the driver is told the end.
    pub(crate) fn dial(&self, dial: DialId, expect: Option<NodeId>, candidates: Vec<Candidate>) {
        let links = self.clone();
        self.spawn(async move {
            let start = Instant::now();
            let outcome = links.race(dial, expect, candidates).await;
            let end = match outcome {
                DialOutcome::Linked(_) => DialEnd::Linked,
                DialOutcome::Plain { .. } => DialEnd::Plain,
                DialOutcome::Failed(_) | DialOutcome::NoPath { .. } | DialOutcome::Yielded => DialEnd::Failed,
            };
            links.0.handle.counters().dialled(end, start.elapsed());
            links.0.handle.inform(Input::Dialed { dial, outcome }).await;
        });
    }

    async fn race(&self, dial: DialId, expect: Option<NodeId>, candidates: Vec<Candidate>) -> DialOutcome {
        let turn = Mutex::new(());
        let mut waiting = candidates.into_iter();
        let mut flying = FuturesUnordered::new();
        let mut failures = Vec::new();
        let mut next_start = Instant::now();
        loop {
            let may_start = flying.len() < IN_FLIGHT_MAX && waiting.len() > 0;
            tokio::select! {
                biased;
                Some((candidate, outcome)) = flying.next() => match outcome {
                    Ok(reached) => {
                        drop(flying);
                        return self.won(dial, candidate, reached).await;
                    }
                    Err(failure) => {
                        failures.push((candidate, failure));
                        next_start = Instant::now();
                    }
                },
                () = sleep_until(next_start), if may_start => {
                    let turn = &turn;
                    flying.extend(waiting.next().map(|candidate| async move {
                        (candidate, self.attempt(candidate, expect, turn).await)
                    }));
                    next_start = Instant::now() + APART;
                }
                else => return DialOutcome::Failed(failures),
            }
        }
    }

    async fn won(&self, dial: DialId, candidate: Candidate, reached: Reached) -> DialOutcome {
        match reached {
            Reached::Plain(sighting) => DialOutcome::Plain { address: candidate.address, sighting },
            Reached::Node { socket, greeted, key } => {
                self.establish(*socket, *greeted, key, (candidate.address, Way::Mesh), Some(dial)).await;
                DialOutcome::Linked(candidate.address)
            }
        }
    }

    /// Tries one candidate. Proving keys is raced; hellos take turns, so that the other side never
    /// sees two links of one dial.
    async fn attempt(
        &self,
        candidate: Candidate,
        expect: Option<NodeId>,
        turn: &Mutex<()>,
    ) -> Result<Reached, DialFailure> {
        let proof = timeout(ATTEMPT_TIME, self.prove(candidate, expect)).await;
        let (stream, key) = match proof.unwrap_or(Err(DialFailure::Unreachable))? {
            Proven::Node(stream, key) => (stream, key),
            Proven::Plain(sighting) => return Ok(Reached::Plain(sighting)),
        };
        let _turn = turn.lock().await;
        let mut socket = mesh::open(*stream, candidate.address).await?;
        match hello::exchange(&mut socket, &self.0.handle, key).await {
            Ok(greeted) => Ok(Reached::Node { socket: Box::new(socket), greeted: Box::new(greeted), key }),
            Err(failure) => {
                self.note_hello(failure, candidate.address);
                Err(failure)
            }
        }
    }

    async fn prove(&self, candidate: Candidate, expect: Option<NodeId>) -> Result<Proven, DialFailure> {
        let address = candidate.address;
        let tcp = TcpStream::connect(address).await.map_err(|_| DialFailure::Unreachable)?;
        let shake = timeout(TLS_TIME, self.0.tls.connect(Wire::dialed(tcp), address.ip())).await;
        match shake.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
            // Our own key is let through: the hello tells ourselves from a twin.
            Ok((_, key)) if expect.is_some_and(|expect| expect != key) && key != self.0.handle.me().node() => {
                Err(DialFailure::WrongKey)
            }
            Ok((stream, key)) => Ok(Proven::Node(Box::new(stream), key)),
            Err(failure) if expect.is_none() && tls::speaks_no_tls(&failure) => {
                self.ask_plainly(candidate).await.map(|sighting| Proven::Plain(Box::new(sighting)))
            }
            Err(_) => Err(DialFailure::Handshake),
        }
    }

    /// Asks a peer that speaks no TLS, and of which no key is known, for its status.
    async fn ask_plainly(&self, candidate: Candidate) -> Result<Sighting, DialFailure> {
        let whom = Whom { address: candidate.address, key: None };
        match self.fetch(whom, "/dashflow/status").await {
            Ok(status) => sighting(candidate, &status).ok_or(DialFailure::Incompatible),
            Err(Unanswered::Status(404)) => Err(DialFailure::Incompatible),
            Err(Unanswered::Status(_)) => Err(DialFailure::Refused),
            Err(_) => Err(DialFailure::Handshake),
        }
    }
}

/// What one attempt found.
enum Reached {
    Node { socket: Box<Socket>, greeted: Box<Greeted>, key: NodeId },
    Plain(Box<Sighting>),
}

/// The same, before the hellos.
enum Proven {
    Node(Box<tokio_rustls::client::TlsStream<Wire>>, NodeId),
    Plain(Box<Sighting>),
}

/// What a status answer claims; `None` when it is not one. The texts are the peer's: the peer book
/// cuts and cleans them.
fn sighting(candidate: Candidate, status: &Value) -> Option<Sighting> {
    let text = |field: &str| status.get(field).and_then(Value::as_str);
    let list = status.get("capabilities").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    Some(Sighting {
        source: candidate.source,
        told_by: Some(candidate.address.ip()),
        peer: PeerId(text("id")?.parse().ok()?),
        key: status.pointer("/card/node").and_then(Value::as_str).and_then(|node| node.parse().ok()),
        name: text("name")?.to_owned(),
        version: text("version").unwrap_or_default().to_owned(),
        capabilities: list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        candidates: vec![candidate],
        metadata: BTreeMap::new(),
        rendezvous: None,
    })
}
