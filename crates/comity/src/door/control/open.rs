//! Opens the control door: the Unix socket, the loopback port, the token file; and serves both
//! until the node ends. Who may come in by the port is in `session.rs`; what it allows a client that
//! takes its time is in `link/listen.rs`, as for the other ports.

use super::desk::Desk;
use super::{BODY_MAX, Registries, Surroundings, routes, socket_routes};
use crate::compute::Compute;
use crate::config::{Config, Origin};
use crate::door::mcp::{BadPolicy, Policy};
use crate::door::session::{self, Sessions};
use crate::door::{self, guards, metrics, page, problem};
use crate::driver::Handle;
use crate::federation::Federation;
use crate::link::{self, Limits, Links};
use crate::network::{Follow, Topics};
use crate::observe;
use crate::search::Mesh;
use crate::store::journal::Journal;
use crate::tool::Tools;
use axum::Router;
use comity_core::wire::control::{FOLDER, SOCKET, Setting, TOKEN};
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::fs::{DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// Most connections at once by each way in: commands are short, agents and dashboards few. Whoever
/// fills the port, which every user of this machine reaches, takes no place at the socket.
const CONNECTIONS_MAX: usize = 256;

/// How long a connection to the socket may be idle: whoever asks often keeps its own.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How long to wait before accepting again when the system is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Longest path that a Unix socket address holds on every system we know, bytes.
const SOCKET_PATH_MAX: usize = 100;

/// The open door.
#[derive(Debug)]
pub(crate) struct Door {
    /// Where it is open on loopback, if it is.
    pub(crate) url: Option<String>,
}

/// Why the control door cannot be opened. Nothing is open then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The folder, the socket or the token cannot be made.
    #[error("the control door cannot be opened at {}: {source}", path.display())]
    Disk {
        /// What was to be made.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No port is free.
    #[error("the control door cannot listen on 127.0.0.1:{port}: {source} (set control.port, or control.http = false)")]
    Port {
        /// The last port that was tried.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// `mcp.clients` names a tool which is none.
    #[error(transparent)]
    Policy(#[from] BadPolicy),
}

/// The listener on loopback, where the configuration wants one: bound before the rules start, which
/// must never dial it.
pub(crate) async fn bind_port(config: &Config) -> Result<Option<TcpListener>, OpenError> {
    match &config.control {
        Some(ports) => listen(ports.clone()).await.map(Some),
        None => Ok(None),
    }
}

/// What the door reaches beside the rules.
pub(crate) struct Around<'a> {
    /// The node's links.
    pub(crate) links: &'a Links,
    /// Its topics, if gossip is on.
    pub(crate) topics: Option<Topics>,
    /// Its journal.
    pub(crate) journal: Journal,
    /// The journals that it follows.
    pub(crate) follow: Follow,
    /// Federation, if this node speaks for an origin.
    pub(crate) federation: Option<Federation>,
    /// Its tools.
    pub(crate) tools: Tools,
    /// Its mesh, if it is on.
    pub(crate) mesh: Option<Mesh>,
    /// Its queue of tasks, if the mesh is on.
    pub(crate) compute: Option<Compute>,
    /// The registry that it is or has, if any.
    pub(crate) registries: Registries,
}

/// Opens the door and serves it in the background until the node ends, on `tcp` too. The caller
/// holds the lock of the data directory, so a socket that is already there was left behind by a
/// crash.
pub(crate) async fn open(
    handle: &Handle,
    around: Around<'_>,
    data_dir: &Path,
    config: &Config,
    origins: &[Origin],
    tcp: Option<TcpListener>,
) -> Result<Door, OpenError> {
    let policy = Policy::read(&config.mcp_clients)?;
    let folder = data_dir.join(FOLDER);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Disk { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed(&folder))?;
    std::fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(failed(&folder))?;
    let token = session::token(&folder.join(TOKEN)).map_err(failed(&folder.join(TOKEN)))?;
    let http = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
    let sessions = Arc::new(Sessions::new(token, http.map_or(0, |address| address.port())));
    let socket = folder.join(SOCKET);
    let unix = bind(&socket).map_err(failed(&socket))?;
    let url = http.map(|address| format!("http://{address}"));
    let settings = origins.iter().map(setting).collect();
    let Around { links, topics, journal, follow, federation, tools, mesh, compute, registries } = around;
    let (data_dir, shared) = (data_dir.to_owned(), Some(links.clone()));
    let (journal, follow, tools) = (Some(journal), Some(follow), Some(tools));
    let surroundings = Surroundings {
        data_dir,
        settings,
        policy,
        url: url.clone(),
        links: shared,
        topics,
        journal,
        follow,
        federation,
        tools,
        mesh,
        compute,
        registries,
    };
    let desk = Desk { handle: handle.clone(), surroundings: Arc::new(surroundings) };
    if let Some(listener) = tcp {
        let router = counted(port_routes(desk.clone(), sessions.clone(), config), handle);
        let limits = Limits { connections: CONNECTIONS_MAX, body_bytes: BODY_MAX, ..Limits::default() };
        let (counters, stop) = (handle.counters().clone(), handle.stop().clone());
        tokio::spawn(link::listen(vec![listener], link::Speaks::default(), router, limits, counters, stop));
    }
    let router = counted(socket_routes(desk, sessions, links.clone()), handle);
    tokio::spawn(serve_socket(handle.clone(), unix, router, socket));
    Ok(Door { url })
}

/// The same routes, with every request counted.
fn counted(router: Router, handle: &Handle) -> Router {
    let counted = (handle.clone(), observe::Door::Control);
    router
        .layer(axum::middleware::from_fn_with_state(handle.clone(), problem::redact))
        .layer(axum::middleware::from_fn_with_state(counted, metrics::count))
}

/// A listener on loopback, at the first free of these ports. IPv4 only, so that there is one URL.
async fn listen(ports: RangeInclusive<u16>) -> Result<TcpListener, OpenError> {
    let last = *ports.end();
    for port in ports {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => return Ok(listener),
            Err(taken) if taken.kind() == ErrorKind::AddrInUse && port < last => {}
            Err(source) => return Err(OpenError::Port { port, source }),
        }
    }
    Err(OpenError::Port { port: last, source: ErrorKind::AddrInUse.into() })
}

fn setting(origin: &Origin) -> Setting {
    Setting { key: origin.key.clone(), value: origin.value.clone(), origin: origin.from.clone() }
}

/// What the port offers: the routes to those who are admitted, and the way to be admitted. No web
/// page of another origin gets past the guards.
fn port_routes(desk: Desk, sessions: Arc<Sessions>, config: &Config) -> Router {
    let (handle, links) = (desk.handle.clone(), desk.surroundings.links.clone());
    let admitted = match links.filter(Links::serves_webrtc) {
        Some(links) => routes(desk).merge(door::signals(door::Door::new(handle, config.into()), links, true)),
        None => routes(desk),
    };
    let admitted = admitted.layer(axum::middleware::from_fn_with_state(sessions.clone(), session::admit));
    guards::guard(admitted.merge(session::routes(sessions)).merge(page::routes()), guards::Names::loopback())
}

/// Binds the socket, for its owner only. A path longer than an address holds is bound through the
/// opened folder.
fn bind(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(failure) if failure.kind() != ErrorKind::NotFound => return Err(failure),
        _ => {}
    }
    let listener = match (socket.parent(), socket.file_name()) {
        (Some(folder), Some(name)) if socket.as_os_str().len() > SOCKET_PATH_MAX => {
            let folder = std::fs::File::open(folder)?;
            UnixListener::bind(Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))?
        }
        _ => UnixListener::bind(socket)?,
    };
    std::fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn serve_socket(handle: Handle, listener: UnixListener, router: Router, socket: PathBuf) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { break };
        tokio::select! {
            () = handle.stop().cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let serving = serve(handle.clone(), stream, router.clone());
                    tokio::spawn(async move { serving.await; drop(place) });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
    // It is gone already when the data directory was removed under the node.
    let _ = std::fs::remove_file(socket);
}

/// Serves one connection until it closes or the node ends.
async fn serve(handle: Handle, stream: UnixStream, router: Router) {
    let mut server = Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(IDLE_MAX);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).with_upgrades();
    tokio::select! {
        // Err: the client broke the connection; there is nobody to tell.
        _ = connection => {}
        () = handle.stop().cancelled() => {}
    }
}
