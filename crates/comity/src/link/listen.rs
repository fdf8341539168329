//! The one port: accepts connections within the limits, tells TLS, libp2p and HTTP by the first byte, and
//! serves a router that learns who is calling. It knows no path and no policy.
//! See "TLS on the one port" and "Limits" in `protocols/identity.md`.

use super::Cause;
use super::body::{Held, Patient, Room};
use super::gossip;
use super::tls::Tls;
use super::wire::Wire;
use crate::observe::Counters;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::Response;
use comity_core::id::NodeId;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The first byte of a TLS connection: a handshake record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// How long answers that are under way may take once the node stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long to wait after the system could not give another socket: its own limit was reached, and
/// only connections that end make room.
const BREATH: Duration = Duration::from_millis(50);

/// How often an HTTP/2 connection is asked whether anybody is there.
const HTTP2_PING: Duration = Duration::from_secs(15);

/// The most requests that one HTTP/2 connection has under way.
const HTTP2_STREAMS_MAX: u32 = 64;

/// How much of an HTTP/2 connection's bodies may be under way unread, bytes, and of one body. It is
/// memory that a client fills before anybody has asked for it.
const HTTP2_WINDOW: u32 = 128 * 1024;
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;

/// What a listener allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections in all. Each may cost some 40 KiB: too many starve the machine, too few keep
    /// peers out.
    pub(crate) connections: usize,
    /// Connections from one address; loopback is exempt. Peers behind one router share it.
    pub(crate) per_address: usize,
    /// Bytes of a request's head.
    pub(crate) head_bytes: usize,
    /// How long a client may take to send the head of a request, the TLS handshake included.
    pub(crate) head: Duration,
    /// Bytes of a request's body.
    pub(crate) body_bytes: usize,
    /// How long a client may take to send the body of a request.
    pub(crate) body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            per_address: 64,
            head_bytes: 16 * 1024,
            head: Duration::from_secs(10),
            body_bytes: 1024 * 1024,
            body: Duration::from_secs(30),
        }
    }
}

/// Who is calling: every request carries it as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The other end of the connection.
    pub(crate) address: SocketAddr,
    /// The key that the client proved in the TLS handshake, if any.
    pub(crate) key: Option<NodeId>,
    /// Whether the connection is TLS.
    pub(crate) tls: bool,
}

/// What a port speaks beside plain HTTP.
#[derive(Default)]
pub(crate) struct Speaks {
    /// TLS.
    pub(crate) tls: Option<Tls>,
    /// libp2p: its connections go there.
    pub(crate) gossip: Option<mpsc::Sender<gossip::Accepted>>,
}

impl From<Tls> for Speaks {
    fn from(tls: Tls) -> Self {
        Self { tls: Some(tls), gossip: None }
    }
}

/// Serves the router on these listeners, which share the limits, until `stop`; returns when every
/// connection has ended.
pub(crate) async fn listen(
    listeners: Vec<TcpListener>,
    speaks: Speaks,
    router: Router,
    limits: Limits,
    counters: Counters,
    stop: CancellationToken,
) {
    let router = router.layer(DefaultBodyLimit::max(limits.body_bytes));
    let (seats, bodies) = (Seats::new(limits), Room::of_all());
    let port = Arc::new(Port { speaks, router, limits, counters, stop, seats, bodies });
    let serving = TaskTracker::new();
    let accepting = listeners.into_iter().map(|listener| accept(Arc::clone(&port), listener, serving.clone()));
    futures_util::future::join_all(accepting).await;
    serving.close();
    serving.wait().await;
}

async fn accept(port: Arc<Port>, listener: TcpListener, serving: TaskTracker) {
    let mut failing = false;
    while let Some(accepted) = port.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((tcp, address)) => {
                failing = false;
                match port.seats.take(address.ip()) {
                    Ok(seat) => drop(serving.spawn(Arc::clone(&port).serve_socket(tcp, address, seat))),
                    Err(full) => port.refused(full),
                }
            }
            Err(failure) => {
                // Said once: it is so many times a second for as long as it lasts.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%failure, "no further connection can be accepted for now");
                }
                port.refused(Cause::NoSocket);
                sleep(BREATH).await;
            }
        }
    }
}

/// What all connections share.
struct Port {
    speaks: Speaks,
    router: Router,
    limits: Limits,
    counters: Counters,
    stop: CancellationToken,
    seats: Seats,
    bodies: Room,
}

impl Port {
    async fn serve_socket(self: Arc<Self>, tcp: TcpStream, address: SocketAddr, seat: Seat) {
        let stop = self.stop.clone();
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let deadline = Instant::now() + self.limits.head;
        let bodies = seat.bodies.clone();
        let opening = stop.run_until_cancelled(timeout(self.limits.head, self.open(tcp, address, seat)));
        let opened = match opening.await {
            None => return,
            Some(Ok(Ok(opened))) => opened,
            Some(Ok(Err(failure))) => {
                tracing::debug!(%address, %failure, "a connection ended before its first request");
                return self.refused(Cause::Handshake);
            }
            Some(Err(_)) => return self.refused(Cause::Slow),
        };
        match opened {
            // What libp2p has is its own from here.
            Opened::Nothing | Opened::Gossip => {}
            Opened::Plain(wire) => {
                self.serve(wire, Caller { address, key: None, tls: false }, bodies, deadline).await;
            }
            Opened::Tls(accepted) => {
                let caller = Caller { address, key: accepted.key, tls: true };
                self.serve(accepted.stream, caller, bodies, deadline).await;
            }
        }
    }

    async fn open(&self, tcp: TcpStream, remote: SocketAddr, seat: Seat) -> io::Result<Opened> {
        let local = tcp.local_addr()?;
        let wire = Wire::accepted(tcp, seat);
        let Speaks { tls, gossip } = &self.speaks;
        match (wire.first_byte().await?, tls, gossip) {
            (None, ..) => Ok(Opened::Nothing),
            (Some(TLS_HANDSHAKE), Some(tls), _) => Ok(Opened::Tls(Box::new(tls.accept(wire).await?))),
            (Some(gossip::FIRST_BYTE), _, Some(gossip)) => {
                if gossip.try_send(gossip::Accepted { wire, local, remote }).is_err() {
                    self.refused(Cause::Full);
                }
                Ok(Opened::Gossip)
            }
            (Some(_), ..) => Ok(Opened::Plain(wire)),
        }
    }

    /// Serves one connection; `bodies` is the room of its address, `deadline` is when the head of its
    /// first request must be here.
    async fn serve<S>(&self, stream: S, caller: Caller, bodies: Room, deadline: Instant)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let asked = Arc::new(AtomicBool::new(false));
        let service = {
            let (asked, router, limits) = (Arc::clone(&asked), self.router.clone(), self.limits);
            let all = self.bodies.clone();
            service_fn(move |request| {
                asked.store(true, Ordering::Relaxed);
                answer(router.clone(), request, caller, Held::nothing(bodies.clone(), all.clone()), limits)
            })
        };
        let builder = self.builder();
        let mut connection = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let mut head = std::pin::pin!(tokio::time::sleep_until(deadline));
        let mut farewell = std::pin::pin!(sleep(FAREWELL));
        let (mut opening, mut stopping) = (true, false);
        loop {
            tokio::select! {
                outcome = connection.as_mut() => {
                    if let Err(failure) = outcome {
                        self.note(caller, &*failure);
                    }
                    return;
                }
                () = head.as_mut(), if opening => {
                    opening = false;
                    if !asked.load(Ordering::Relaxed) {
                        return self.refused(Cause::Slow);
                    }
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    farewell.as_mut().reset(Instant::now() + FAREWELL);
                    connection.as_mut().graceful_shutdown();
                }
                () = farewell.as_mut(), if stopping => return,
            }
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(self.limits.head_bytes);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(HTTP2_PING)
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .initial_connection_window_size(HTTP2_WINDOW)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .max_header_list_size(u32::try_from(self.limits.head_bytes).unwrap_or(u32::MAX));
        builder
    }

    fn refused(&self, cause: Cause) {
        self.counters.turned_away(cause.name());
    }

    fn note(&self, caller: Caller, failure: &(dyn std::error::Error + 'static)) {
        let slow = failure.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout);
        self.refused(if slow { Cause::Slow } else { Cause::Http });
        tracing::debug!(address = %caller.address, failure, "a connection broke");
    }
}

/// A connection, once its first byte has told what it is.
enum Opened {
    /// Closed before it said anything.
    Nothing,
    Plain(Wire),
    /// Handed on to libp2p.
    Gossip,
    Tls(Box<super::tls::Accepted>),
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    caller: Caller,
    room: Arc<Held>,
    limits: Limits,
) -> Result<Response, Infallible> {
    let patient = |body| Body::new(Patient::new(body, Arc::clone(&room), limits.body_bytes, limits.body));
    let mut request = request.map(patient);
    request.extensions_mut().insert(caller);
    tower::ServiceExt::oneshot(router, request).await
}

/// The places for connections, in all and by address.
pub(super) struct Seats {
    limits: Limits,
    // A lock and not a message: a seat is given back wherever its connection happens to be dropped.
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, Here>,
}

/// What the connections from one address have.
struct Here {
    seats: usize,
    bodies: Room,
}

/// One connection's place, given back on drop.
pub(crate) struct Seat {
    address: IpAddr,
    bodies: Room,
    taken: Arc<Mutex<Taken>>,
}

impl Seats {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, taken: Arc::default() }
    }

    pub(super) fn take(&self, address: IpAddr) -> Result<Seat, Cause> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.limits.connections {
            return Err(Cause::Full);
        }
        let here = taken.by_address.entry(address).or_insert_with(|| Here { seats: 0, bodies: Room::of_an_address() });
        if here.seats >= self.limits.per_address && !address.is_loopback() {
            return Err(Cause::FullAddress);
        }
        here.seats += 1;
        let bodies = here.bodies.clone();
        taken.all += 1;
        drop(taken);
        Ok(Seat { address, bodies, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            here.seats -= 1;
            if here.seats == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}
