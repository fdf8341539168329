//! The control door: what commands, agents and browsers on this machine may ask of the node. It is
//! never reachable from the network: a Unix socket in a folder of the user's own, and a port on
//! loopback for those who show the node's token or a session cookie. See "Doors" in
//! `protocols/identity.md`; the shapes are in `comity_core::wire::control`.

mod checkup;
mod claims;
mod compute;
mod denied;
mod desk;
mod federation;
mod feed;
mod files;
mod index;
mod journal;
mod knowledge;
mod mesh;
mod open;
mod read;
mod streams;
pub(crate) mod target;
mod tools;

#[cfg(test)]
mod tests;

pub(crate) use denied::Denied;
pub(crate) use desk::{Desk, subscriptions};
pub(crate) use index::mesh;
pub(crate) use mesh::Registries;
pub(crate) use open::{Around, bind_port, open};
pub(crate) use read::Body;

use super::mcp;
use super::session::Sessions;
use crate::compute::Compute;
use crate::federation::Federation;
use crate::link::{Links, Server};
use crate::network::{Follow, Topics};
use crate::search::Mesh;
use crate::store::journal::Journal;
use crate::tool::Tools;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use comity_core::wire::control::{self, path};
use read::Params;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use streams::{arrivals, messages, peer_changes, queries};
use uuid::Uuid;

/// Largest body of a request, bytes (`protocols/identity.md`, "Limits").
const BODY_MAX: usize = 1024 * 1024;

/// Items of the inbox in one answer when nobody says.
const ITEMS: usize = 100;

/// What the control door knows besides the node itself.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// The data directory.
    pub(crate) data_dir: PathBuf,
    /// The configuration the node runs with.
    pub(crate) settings: Vec<control::Setting>,
    /// Which tools each MCP client may use.
    pub(crate) policy: mcp::Policy,
    /// Where the door is open on loopback, if it is.
    pub(crate) url: Option<String>,
    /// The node's links, which know the servers of WebRTC.
    pub(crate) links: Option<Links>,
    /// Its topics, if gossip is on.
    pub(crate) topics: Option<Topics>,
    /// Its journal.
    pub(crate) journal: Option<Journal>,
    /// The journals that it follows.
    pub(crate) follow: Option<Follow>,
    /// Federation, if this node speaks for an origin.
    pub(crate) federation: Option<Federation>,
    /// Its tools.
    pub(crate) tools: Option<Tools>,
    /// Its mesh, if it is on.
    pub(crate) mesh: Option<Mesh>,
    /// Its queue of tasks, if the mesh is on.
    pub(crate) compute: Option<Compute>,
    /// The registry that it is or has, if any.
    pub(crate) registries: Registries,
}

type Reply<T> = Result<Json<T>, Denied>;

/// Everything that both ways into the control door offer.
fn routes(desk: Desk) -> Router {
    let routes = Router::new()
        .route(path::NODE, get(node))
        .route(path::PEERS, get(peers))
        .route(path::PEER_CHANGES, get(peer_changes))
        .route(path::KNOWN, get(known).put(trust))
        .route(path::MESSAGES, get(messages).post(send))
        .route(path::QUERIES, get(queries).post(ask))
        .route(path::ANSWERS, post(respond))
        .route(path::INBOX, get(inbox))
        .route(path::ARRIVALS, get(arrivals))
        .route(path::ACKNOWLEDGE, post(acknowledge))
        .route(path::DIGEST, get(digest).post(take_digest))
        .route(path::ATTENTION, put(attention))
        .route(path::SUBSCRIBE, post(subscribe))
        .route(path::UNSUBSCRIBE, post(unsubscribe))
        .route(path::STATUS, put(status))
        .route(path::WHY, get(why))
        .route(path::CHECKUP, get(checkup))
        .route(path::SETTINGS, get(settings))
        .route(path::ICE, get(ice))
        .route(path::TOPICS, get(topics).post(join).delete(leave))
        .route(path::ROLE, get(role).put(take_role).delete(give_role_up))
        .route(path::PUBLISH, post(publish))
        .route(path::CLAIMS, get(claims::list).post(claims::announce))
        .route(path::CLAIM_STEPS, post(claims::step))
        .route(path::CLAIM_CHANGES, get(claims::changes))
        .merge(journal::routes())
        .merge(federation::routes())
        .merge(tools::routes())
        .merge(index::routes())
        .merge(knowledge::routes())
        .merge(compute::routes())
        .merge(mesh::routes())
        .with_state(desk.clone())
        .route_service(path::MCP, mcp::over_http(desk));
    routes.fallback(nothing_here).method_not_allowed_fallback(wrong_method).layer(DefaultBodyLimit::max(BODY_MAX))
}

/// What the Unix socket offers besides: it is open only to the user whose node this is.
fn socket_routes(desk: Desk, sessions: Arc<Sessions>, links: Links) -> Router {
    let files = Router::new().route(path::SEND_FILES, get(files::send)).route(path::RECEIVE_FILES, get(files::receive));
    let files = files.with_state(desk.clone()).layer(Extension(links));
    let own = Router::new().route(path::MCP_STDIO, get(mcp::over_stdio)).with_state(desk.clone());
    let codes = Router::new().route(path::CODES, post(one_time_code)).with_state((desk.clone(), sessions));
    routes(desk).merge(own).merge(codes).merge(files)
}

async fn node(State(desk): State<Desk>) -> Json<control::Node> {
    Json(desk.node().await)
}

async fn peers(State(desk): State<Desk>) -> Json<control::Peers> {
    Json(control::Peers { peers: desk.peers().await })
}

async fn known(State(desk): State<Desk>) -> Json<control::KnownNodes> {
    Json(desk.known().await)
}

async fn trust(State(desk): State<Desk>, Body(wanted): Body<control::Trusted>) -> Reply<control::KnownNode> {
    desk.trust(wanted).await.map(Json)
}

async fn send(State(desk): State<Desk>, Body(wanted): Body<control::Send>) -> Reply<control::Sent> {
    desk.send(wanted).await.map(Json)
}

async fn topics(State(desk): State<Desk>) -> Reply<control::Topics> {
    desk.topics().await.map(Json)
}

async fn join(State(desk): State<Desk>, Body(wanted): Body<control::Topic>) -> Reply<control::Topics> {
    desk.join(&wanted.topic).await.map(Json)
}

async fn leave(State(desk): State<Desk>, Body(wanted): Body<control::Topic>) -> Reply<control::Topics> {
    desk.leave(&wanted.topic).await.map(Json)
}

async fn role(State(desk): State<Desk>) -> Reply<control::OwnRole> {
    desk.role().await.map(Json)
}

async fn take_role(State(desk): State<Desk>, Body(wanted): Body<control::Role>) -> Reply<control::OwnRole> {
    desk.set_role(Some(wanted)).await.map(Json)
}

async fn give_role_up(State(desk): State<Desk>, Body(_): Body<control::Done>) -> Reply<control::OwnRole> {
    desk.set_role(None).await.map(Json)
}

async fn publish(State(desk): State<Desk>, Body(wanted): Body<control::Publish>) -> Reply<control::Done> {
    desk.publish(wanted).await.map(done)
}

async fn ask(State(desk): State<Desk>, Body(wanted): Body<control::Ask>) -> Reply<control::Message> {
    desk.ask(wanted).await.map(Json)
}

async fn respond(State(desk): State<Desk>, Body(answer): Body<control::Respond>) -> Reply<control::Sent> {
    desk.respond(answer).await.map(Json)
}

/// Which part of the inbox.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    after: Option<u64>,
    limit: Option<usize>,
}

async fn inbox(State(desk): State<Desk>, Params(page): Params<Page>) -> Reply<control::Inbox> {
    let items = desk.peek(page.after.unwrap_or(0), page.limit.unwrap_or(ITEMS)).await?;
    Ok(Json(control::Inbox { items }))
}

async fn acknowledge(State(desk): State<Desk>, Body(wanted): Body<control::Acknowledge>) -> Reply<control::Done> {
    desk.acknowledge(wanted.arrivals).await.map(done)
}

async fn digest(State(desk): State<Desk>) -> Reply<control::Digest> {
    desk.digest(false).await.map(Json)
}

async fn take_digest(State(desk): State<Desk>, Body(_): Body<control::Done>) -> Reply<control::Digest> {
    desk.digest(true).await.map(Json)
}

async fn attention(State(desk): State<Desk>, Body(wanted): Body<control::Attention>) -> Reply<control::Done> {
    desk.set_mode(wanted.mode.0).await.map(done)
}

async fn subscribe(State(desk): State<Desk>, Body(wanted): Body<control::Subscription>) -> Reply<control::Done> {
    desk.subscribe(wanted).await.map(done)
}

async fn unsubscribe(State(desk): State<Desk>, Body(wanted): Body<control::Unsubscribe>) -> Reply<control::Done> {
    desk.unsubscribe(wanted).await.map(done)
}

async fn status(State(desk): State<Desk>, Body(wanted): Body<control::OwnStatus>) -> Reply<control::Done> {
    desk.set_status(wanted.status).await.map(done)
}

/// Which message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    message: Uuid,
}

async fn why(State(desk): State<Desk>, Params(which): Params<Which>) -> Reply<control::Why> {
    desk.why(which.message).await.map(Json)
}

async fn checkup(State(desk): State<Desk>) -> Json<control::Checkup> {
    Json(desk.checkup().await)
}

async fn settings(State(desk): State<Desk>) -> Json<control::Settings> {
    Json(control::Settings { settings: desk.surroundings.settings.clone() })
}

/// How long the credentials are good that a page is lent: long enough to connect more than once.
const LENT_FOR: Duration = Duration::from_secs(3600);

async fn ice(State(desk): State<Desk>) -> Reply<control::IceServers> {
    let off = || Denied::new(StatusCode::CONFLICT, "conflict", "WebRTC is switched off here (webrtc.enabled)");
    let servers = desk.surroundings.links.as_ref().and_then(Links::ice_servers).ok_or_else(off)?;
    let lend = |server: &Server| {
        let lent = server.lend(SystemTime::now(), LENT_FOR);
        let (username, credential) = lent.map(|(name, password)| (name, password.to_string())).unzip();
        control::BrowserIceServer { urls: server.address.to_string(), username, credential }
    };
    Ok(Json(control::IceServers { servers: servers.iter().map(lend).collect() }))
}

async fn one_time_code(
    State((desk, sessions)): State<(Desk, Arc<Sessions>)>,
    Body(_): Body<control::Done>,
) -> Reply<control::OneTimeCode> {
    let closed =
        || Denied::new(StatusCode::CONFLICT, "conflict", "this node opens no port for browsers (control.http)");
    let url = desk.surroundings.url.clone().ok_or_else(closed)?;
    let (code, good_for) = sessions.one_time_code();
    Ok(Json(control::OneTimeCode {
        code,
        url: format!("{url}{}", path::SESSION),
        page: format!("{url}{}", path::PAGE),
        expires_in_seconds: good_for.as_secs(),
    }))
}

async fn nothing_here() -> Denied {
    Denied::nothing_here()
}

async fn wrong_method() -> Denied {
    Denied::new(StatusCode::METHOD_NOT_ALLOWED, "bad_request", "the control door has no such method at this path")
}

fn done(_: ()) -> Json<control::Done> {
    Json(control::Done {})
}
