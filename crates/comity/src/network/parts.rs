//! Parts of a node beside its rules: the tools that it offers, and the origin that it speaks for.

use super::shared::Shared;
use super::{Follow, JoinError, Topics};
use crate::config::{self, Config, IceKind, IceServer};
use crate::door::control;
use crate::driver::Handle;
use crate::federation::{Federation, Running};
use crate::home::Home;
use crate::link::{self, Ice, Links, Server};
use crate::network::Scribe;
use crate::store::journal::Journal;
use crate::tool::{self, Tools};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Begins to speak for an origin, where this node does.
pub(super) async fn federate(
    handle: &Handle,
    home: &Arc<Home>,
    config: &Config,
    (own_doors, tools): (Vec<SocketAddr>, &Tools),
) -> Result<(Option<Federation>, Option<Running>), JoinError> {
    let Some(settings) = config.federation.clone() else { return Ok((None, None)) };
    let limits = (own_doors, config.limits.clock_skew);
    let kept = (home, home.rotations()?);
    let started = Federation::start(settings, handle, kept, (limits, tools.clone())).await;
    let (federation, running) = started?;
    Ok((Some(federation), Some(running)))
}

/// What the control door reaches beside the rules.
pub(super) fn around<'a>(
    links: &'a Links,
    topics: Option<&Topics>,
    (journal, follow, tools): (&Journal, &Follow, &Tools),
    federation: Option<&Federation>,
    shared: &Shared,
) -> control::Around<'a> {
    let (journal, follow, tools) = (journal.clone(), follow.clone(), tools.clone());
    let (topics, federation) = (topics.cloned(), federation.cloned());
    let Shared { mesh, compute, registries } = shared.clone();
    control::Around { links, topics, journal, follow, federation, tools, mesh, compute, registries }
}

/// Starts the tool servers, which end with the node.
pub(super) fn tools(config: &Config, scribe: &Scribe, stop: &CancellationToken) -> Tools {
    let around = tool::Around { scribe: Some(scribe.clone()), stop: stop.child_token() };
    Tools::start(config.tools.clone(), config.policy.policy(), around)
}

/// Does something until the node ends.
pub(super) fn in_background(stop: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled(work).await });
}

/// How WebRTC connections find their way.
pub(super) fn ice(webrtc: &config::Webrtc) -> Ice {
    let server = |address: &IceServer| Server {
        address: address.clone(),
        credentials: webrtc.credentials.clone().filter(|_| address.kind != IceKind::Stun),
    };
    let secure = webrtc.servers.iter().any(|address| address.kind == IceKind::TurnTls);
    let tls = if secure { link::relay_tls() } else { None };
    Ice { servers: webrtc.servers.iter().map(server).collect(), ports: webrtc.ports.clone(), tls }
}
