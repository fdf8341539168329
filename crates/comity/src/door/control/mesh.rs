//! The registry of the mesh as the control door offers it: who is registered, tokens for those who may, and taking both
//! back. The owner alone gets here.

use super::denied::Denied;
use super::desk::Desk;
use super::read::Body;
use super::{Reply, path};
use crate::discovery::registry::Joined;
use crate::registry::{Refused, Registry};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use comity_core::registry::profile::Load;
use comity_core::registry::roster;
use comity_core::wire::control;
use comity_core::wire::mesh::registry::KernelNode;
use std::time::Duration;

/// How long to wait when the disk takes nothing: somebody must make room.
const WHEN_DISK: Duration = Duration::from_secs(30);

/// What this node has to do with registries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registries {
    /// The registry that it is.
    pub(crate) own: Option<Registry>,
    /// The registry that it is registered with.
    pub(crate) joined: Option<Joined>,
}

/// The paths of the registry.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route(path::MESH_NODES, get(nodes))
        .route(path::MESH_TOKENS, post(enroll))
        .route(path::MESH_REVOKE, post(revoke))
}

async fn nodes(State(desk): State<Desk>) -> Reply<control::MeshNodes> {
    let Registries { own, joined } = &desk.surroundings.registries;
    match (own, joined) {
        (Some(registry), _) => {
            let nodes = registry.members(desk.handle.now());
            let nodes = nodes.iter().map(|(member, state)| {
                let state = match state {
                    roster::State::Fresh => "fresh",
                    roster::State::Stale => "stale",
                    roster::State::Gone => "gone",
                };
                shown(&KernelNode::brief(member), state, member.load)
            });
            Ok(Json(control::MeshNodes { coordinator: true, registered_with: None, nodes: nodes.collect() }))
        }
        (None, Some(joined)) => {
            let news = joined.news.borrow().clone();
            let registered_with = Some(control::MeshCoordinator {
                url: joined.endpoint.to_string(),
                node_id: joined.name.to_string(),
                registered: news.is_registered,
                trouble: news.trouble,
            });
            let nodes = news.nodes.iter().map(|node| shown(node, "told", None)).collect();
            Ok(Json(control::MeshNodes { coordinator: false, registered_with, nodes }))
        }
        (None, None) => {
            Err(conflict("this node is no registry (mesh.coordinator) and has none (mesh.coordinator_url)"))
        }
    }
}

fn shown(node: &KernelNode, state: &str, load: Option<Load>) -> control::MeshNode {
    control::MeshNode {
        node_id: node.node.to_string(),
        service_name: node.service_name.clone(),
        endpoint: node.endpoint.to_string(),
        capabilities: node.capabilities.clone(),
        state: state.to_owned(),
        last_heartbeat: node.last_heartbeat,
        running: load.map(|load| load.running),
        queued: load.map(|load| load.queued),
        cpu: load.map(|load| load.cpu),
        memory: load.map(|load| load.memory),
        key: node.key.map(|key| key.to_string()),
    }
}

async fn enroll(State(desk): State<Desk>, Body(wanted): Body<control::Enroll>) -> Reply<control::Enrolled> {
    let good_for = Duration::from_secs(wanted.expires_in_seconds);
    let (secret, token) = own(&desk)?.invite(wanted.uses, good_for, desk.handle.now()).await?;
    let (hash, token_text) = (secret.hash().to_string(), secret.expose().to_owned());
    Ok(Json(control::Enrolled { token: token_text, hash, uses: token.uses_left, expires: token.expires }))
}

async fn revoke(State(desk): State<Desk>, Body(wanted): Body<control::Revoke>) -> Reply<control::Revoked> {
    let revoked = own(&desk)?.revoke(&wanted.what, desk.handle.now()).await?;
    if !(revoked.node || revoked.key || revoked.token) {
        let detail = "no node of this name is registered, and no token has this hash";
        return Err(Denied::new(StatusCode::NOT_FOUND, "unknown_peer", detail));
    }
    Ok(Json(control::Revoked { node: revoked.node, api_key: revoked.key, token: revoked.token }))
}

fn own(desk: &Desk) -> Result<&Registry, Denied> {
    let none = || conflict("this node is no registry: start it with --coordinator (mesh.coordinator)");
    desk.surroundings.registries.own.as_ref().ok_or_else(none)
}

fn conflict(detail: &str) -> Denied {
    Denied::new(StatusCode::CONFLICT, "conflict", detail)
}

impl From<Refused> for Denied {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Bounds(_) => Self::field("/uses", why.to_string()),
            _ => {
                let denied = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why.to_string());
                Self { retry_after: Some(WHEN_DISK), ..denied }
            }
        }
    }
}
