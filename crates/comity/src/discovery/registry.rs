//! The nodes of a mesh, as its registry tells of them: this node registers there, says that it is there, and asks again
//! who is there when others came or went. What the registry says is a claim, until a handshake proves it. It decides
//! nothing of who may register: `registry/` does, where this node is the registry. See "Registry" in `protocols/mesh.md`.

mod asking;
mod load;

use crate::config::Coordinator;
use crate::driver::Handle;
use crate::federation::http::{Http, Reach, Server};
use crate::link::Tls;
use crate::registry::Registry;
use asking::{Asking, Trouble};
use comity_core::id::PeerId;
use comity_core::limits;
use comity_core::node::{Input, SourceHealth};
use comity_core::peers::{Candidate, Sighting, Source};
use comity_core::registry::profile::{NodeName, Registration, Settings, Told};
use comity_core::registry::roster::{Heartbeat, INTERVAL};
use comity_core::wire::federation::well_known::Endpoint;
use comity_core::wire::mesh::registry::KernelNode;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use url::Host;

/// How long after a failure the registry is asked again at first, and at most.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// Nodes of one list that become peers, at most: a registry does not fill the peer book.
const SIGHTED_MAX: usize = 1024;

/// How long a node that ends waits for the registry to let it go.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// What this node says of itself to its registry, besides where it is.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// The name under which it registers.
    pub(crate) name: NodeName,
    /// What its index is made for.
    pub(crate) settings: Settings,
}

/// What the registry told last.
#[derive(Debug, Clone, Default)]
pub(crate) struct News {
    /// Whether this node is registered.
    pub(crate) is_registered: bool,
    /// What is wrong, while something is.
    pub(crate) trouble: Option<String>,
    /// Who is there.
    pub(crate) nodes: Vec<KernelNode>,
}

/// The registry that this node registers with. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    /// Where it is.
    pub(crate) endpoint: Endpoint,
    /// The name under which this node registers.
    pub(crate) name: NodeName,
    /// What it told last.
    pub(crate) news: watch::Receiver<News>,
    /// Cancelled when this node is to leave it.
    ending: CancellationToken,
}

impl Joined {
    /// Tells the registry that this node leaves, if that can be done soon.
    pub(crate) async fn leave(&self) {
        self.ending.cancel();
        let mut news = self.news.clone();
        let left = async { while news.changed().await.is_ok() {} };
        // Err: it takes too long, and the registry notices by itself that this node is silent.
        let _ = timeout(FAREWELL_TIME, left).await;
    }
}

/// The way to the registry that this node is to register with.
///
/// # Errors
/// The authorities cannot be read.
pub(crate) fn way(
    coordinator: &Coordinator,
    tls: &Tls,
    own_doors: Vec<SocketAddr>,
) -> Result<Http, crate::federation::BadAuthorities> {
    let everywhere = ["0.0.0.0/0", "::/0"].map(|network| network.parse().expect("a network"));
    let server = match coordinator.key {
        Some(key) => Server::Key(tls.clone(), key),
        None => Server::Authority("mesh.ca_file", coordinator.ca_file.clone()),
    };
    // A person named it: it may be anywhere but at this node's own doors.
    Http::new(Reach { networks: everywhere.to_vec(), own_doors, server })
}

/// Registers with a registry, and stays registered until the node ends.
pub(crate) fn start(handle: &Handle, coordinator: Coordinator, said: Said, (http, kept): (Http, PathBuf)) -> Joined {
    let (told, news) = watch::channel(News::default());
    let ending = handle.stop().child_token();
    let (endpoint, name) = (coordinator.endpoint.clone(), said.name.clone());
    let joined = Joined { endpoint, name, news, ending: ending.clone() };
    let asking = Asking::new(http, coordinator, said.name.clone(), kept);
    let member = Member { handle: handle.clone(), said, asking, told, registered: None, sighted: BTreeSet::new() };
    tokio::spawn(member.run(ending));
    joined
}

/// This node, as a member of a mesh.
struct Member {
    handle: Handle,
    said: Said,
    asking: Asking,
    told: watch::Sender<News>,
    /// What it was registered with last, and how often it is to say that it is there.
    registered: Option<(Registration, Duration)>,
    /// Who was told of by the last list.
    sighted: BTreeSet<PeerId>,
}

impl Member {
    async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let Some(done) = stop.run_until_cancelled(self.turn()).await else { break };
            let pause = match done {
                Ok(interval) => {
                    failures = 0;
                    self.tell(None).await;
                    interval
                }
                Err(trouble) => {
                    let again = AGAIN_FIRST.saturating_mul(1 << failures).min(AGAIN_MAX).max(trouble.wait);
                    failures = (failures + 1).min(6);
                    self.tell(Some(trouble.sentence)).await;
                    again
                }
            };
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                break;
            }
        }
        if self.registered.is_some() {
            // Err: the registry notices by itself that this node is silent.
            let _ = self.asking.leave().await;
        }
    }

    /// Registers, if it is not or says something else now; else says that it is there. How long to wait after it.
    async fn turn(&mut self) -> Result<Duration, Trouble> {
        let Some(now) = registration(&self.handle, &self.said) else {
            return Ok(AGAIN_FIRST);
        };
        if let Some((said, interval)) = self.registered.clone()
            && said == now
        {
            let beat = Heartbeat { load: load::now(), ..Heartbeat::default() };
            match self.asking.beat(&beat).await {
                Ok(peers_changed) => {
                    if peers_changed {
                        self.list().await?;
                    }
                    return Ok(interval);
                }
                Err(trouble) if trouble.is_lost => self.registered = None,
                Err(trouble) => return Err(trouble),
            }
        }
        let interval = self.asking.register(&now).await?;
        self.registered = Some((now, interval));
        self.list().await?;
        self.asking.beat(&Heartbeat { load: load::now(), ..Heartbeat::default() }).await?;
        Ok(interval)
    }

    /// Asks who is there, and tells the rules.
    async fn list(&mut self) -> Result<(), Trouble> {
        let told_by = self.asking.address().await;
        let nodes = self.asking.list().await?;
        self.sighted = sight(&self.handle, &nodes, told_by, &self.sighted).await;
        self.told.send_modify(|news| news.nodes = nodes);
        Ok(())
    }

    /// Says how it is, where that changed.
    async fn tell(&self, trouble: Option<String>) {
        let is_registered = self.registered.is_some();
        let changed = self.told.send_if_modified(|news| {
            let changed = news.trouble != trouble || news.is_registered != is_registered;
            (news.trouble, news.is_registered) = (trouble.clone(), is_registered);
            changed
        });
        if !changed {
            return;
        }
        let health = match trouble {
            None => SourceHealth::Up,
            Some(why) => {
                tracing::warn!(%why, "the registry of the mesh");
                SourceHealth::Failed(why)
            }
        };
        self.handle.inform(Input::Source { source: Source::Registry, health }).await;
    }
}

/// Keeps this node in its own registry, and tells the rules who is registered, until the node ends.
pub(crate) async fn itself(handle: Handle, registry: Registry, said: Said) {
    let (mut changes, mut sighted) = (registry.changes(), BTreeSet::new());
    handle.inform(Input::Source { source: Source::Registry, health: SourceHealth::Up }).await;
    loop {
        if let Some(now) = registration(&handle, &said)
            && let Err(why) = registry.register_itself(now, handle.me().node(), handle.now())
        {
            tracing::warn!(%why, "this node is not in its own registry");
        }
        changes.mark_unchanged();
        let nodes: Vec<KernelNode> = registry.present(handle.now());
        // Where they say they are nobody else said.
        sighted = sight(&handle, &nodes, None, &sighted).await;
        // Err: so long nobody came or went.
        let _ = timeout(INTERVAL, changes.changed()).await;
    }
}

/// What this node says of itself now; `None` while it has no address.
fn registration(handle: &Handle, said: &Said) -> Option<Registration> {
    let (me, hello) = (handle.me(), handle.hello().borrow().clone());
    let endpoint = Endpoint::read(hello.card["endpoints"][0].as_str()?)?;
    let Settings { dim, metric, projection, encoder } = said.settings.clone();
    let settings = Told { dim: Some(dim), metric: Some(metric), projection: Some(projection), encoder: Some(encoder) };
    Some(Registration {
        node: said.name.clone(),
        service_name: me.about().name.clone(),
        endpoint,
        capabilities: me.about().capabilities.clone(),
        basin_signature: Vec::new(),
        centroids: Vec::new(),
        settings,
        key: Some(me.node()),
    })
}

/// Tells the rules of nodes, and of those that were told of and are no more: who was told of now.
async fn sight(
    handle: &Handle,
    nodes: &[KernelNode],
    told_by: Option<IpAddr>,
    before: &BTreeSet<PeerId>,
) -> BTreeSet<PeerId> {
    let me = handle.me().peer();
    let sightings = nodes.iter().filter_map(|node| sighting(node, told_by));
    let mut now = BTreeSet::new();
    for sighting in sightings.filter(|sighting| sighting.peer != me).take(SIGHTED_MAX) {
        now.insert(sighting.peer);
        handle.inform(Input::Sighted(sighting)).await;
    }
    for peer in before.difference(&now) {
        handle.inform(Input::Unsighted { source: Source::Registry, peer: *peer }).await;
    }
    now
}

/// A node as a peer: only those with a key speak as nodes do among themselves. Names are not looked up for others.
fn sighting(node: &KernelNode, told_by: Option<IpAddr>) -> Option<Sighting> {
    let key = node.key?;
    let ip = match node.endpoint.host() {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    };
    let address = ip.map(|ip| SocketAddr::new(ip, node.endpoint.port()));
    let cut = |text: &String| text[..text.floor_char_boundary(limits::PEER_TEXT_MAX)].to_owned();
    Some(Sighting {
        source: Source::Registry,
        told_by,
        peer: key.peer(),
        key: Some(key),
        name: cut(&node.service_name),
        version: String::new(),
        capabilities: node.capabilities.iter().take(limits::PEER_LIST_MAX).map(cut).collect(),
        candidates: address.map(|address| Candidate { address, source: Source::Registry }).into_iter().collect(),
        metadata: BTreeMap::new(),
        rendezvous: None,
    })
}
