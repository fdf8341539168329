//! The nodes of a mesh, as its registry tells of them: this node registers there, says that it is there, and asks again
//! who is there when others came or went. What the registry says is a claim, until a handshake proves it. It decides
//! nothing of who may register: `registry/` does, where this node is the registry. See "Registry" in `protocols/mesh.md`.

mod asking;
mod load;

use crate::compute::Compute;
use crate::config::Coordinator;
use crate::driver::Handle;
use crate::federation::http::{Http, Reach, Server};
use crate::link::Tls;
use crate::registry::Registry;
use crate::search::{Elsewhere, Places};
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

/// How often a node asks who is there although nobody came or went, in turns: where documents lie changes, too.
const LIST_EVERY: u32 = 10;

/// How long a node that ends waits for the registry to let it go.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// What this node says of itself to its registry, besides where it is; and who is told what that says of others.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// The name under which it registers.
    pub(crate) name: NodeName,
    /// What its index is made for.
    pub(crate) settings: Settings,
    /// Where its documents lie.
    pub(crate) places: watch::Receiver<Places>,
    /// Where those of others lie.
    pub(crate) elsewhere: watch::Sender<Elsewhere>,
    /// The work that it does and keeps.
    pub(crate) work: Compute,
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
    let said = Said { name: name(handle, &coordinator, said.name), ..said };
    let (endpoint, name) = (coordinator.endpoint.clone(), said.name.clone());
    let joined = Joined { endpoint, name, news, ending: ending.clone() };
    let asking = Asking::new(http, coordinator, said.name.clone(), kept);
    let (handle, listing, sighted) = (handle.clone(), Listing::default(), BTreeSet::new());
    let member = Member { handle, said, asking, told, registered: None, listing, sighted };
    tokio::spawn(member.run(ending));
    joined
}

/// The name under which this node registers. Its key is a name only for who proves it, and that is done where the
/// registry is known by its own key; elsewhere the UUID of that key is its name.
fn name(handle: &Handle, coordinator: &Coordinator, name: NodeName) -> NodeName {
    if coordinator.key.is_some() || !name.reads_as_key() {
        return name;
    }
    NodeName::new(&handle.me().peer().to_string()).expect("a UUID is 36 visible characters")
}

/// When a member asks who is there.
#[derive(Debug, Default)]
struct Listing {
    /// Somebody may have come or gone since it was told.
    is_due: bool,
    /// Turns since then.
    turns: u32,
}

impl Listing {
    /// Notes what came of a heartbeat. While none is answered nobody says who came or went.
    fn note_beat(&mut self, beaten: &Result<bool, Trouble>) {
        self.is_due |= !matches!(beaten, Ok(false));
    }

    /// Whether it is to ask in this turn.
    fn turn(&mut self) -> bool {
        self.turns = self.turns.saturating_add(1);
        self.is_due || self.turns >= LIST_EVERY
    }
}

/// This node, as a member of a mesh.
struct Member {
    handle: Handle,
    said: Said,
    asking: Asking,
    told: watch::Sender<News>,
    /// What it was registered with last, and how often it is to say that it is there.
    registered: Option<(Registration, Duration)>,
    listing: Listing,
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
            && said.is_same_but_for_places(&now)
        {
            let beat = Heartbeat {
                load: Some(load::now(&self.said.work).await),
                basin_signature: Some(now.basin_signature.clone())
                    .filter(|_| now.basin_signature != said.basin_signature),
                centroids: Some(now.centroids.clone()).filter(|_| now.centroids != said.centroids),
            };
            match self.beat(&beat).await {
                Ok(()) => {
                    self.registered = Some((now, interval));
                    self.list_if_due().await?;
                    return Ok(interval);
                }
                Err(trouble) if trouble.is_lost => self.registered = None,
                Err(trouble) => return Err(trouble),
            }
        }
        let interval = self.asking.register(&now).await?;
        self.registered = Some((now, interval));
        self.listing.is_due = true;
        // A registration does not say how full a node is.
        let load = Some(load::now(&self.said.work).await);
        self.beat(&Heartbeat { load, ..Heartbeat::default() }).await?;
        self.list_if_due().await?;
        Ok(interval)
    }

    /// Says that this node is there.
    async fn beat(&mut self, beat: &Heartbeat) -> Result<(), Trouble> {
        let beaten = self.asking.beat(beat).await;
        self.listing.note_beat(&beaten);
        beaten.map(drop)
    }

    /// Asks who is there, where that is to be done. A list that fails is asked for again in the next turn.
    async fn list_if_due(&mut self) -> Result<(), Trouble> {
        if self.listing.turn() {
            self.list().await?;
            self.listing = Listing::default();
        }
        Ok(())
    }

    /// Asks who is there, and tells the rules.
    async fn list(&mut self) -> Result<(), Trouble> {
        let told_by = self.asking.address().await;
        let mut nodes = self.asking.list().await?;
        self.sighted = sight(&self.handle, &nodes, told_by, &self.sighted).await;
        // Taken out of the list, which is kept whole.
        let places =
            nodes.iter_mut().filter_map(|node| Some((node.key?, places(std::mem::take(&mut node.centroids), node))));
        let elsewhere = places.filter(|(key, _)| self.sighted.contains(&key.peer())).collect();
        self.said.elsewhere.send_replace(elsewhere);
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
        said.elsewhere.send_replace(registry.places(handle.now()));
        // Err: so long nobody came or went.
        let _ = timeout(INTERVAL, changes.changed()).await;
    }
}

/// Where the documents of a node lie: its centroids, else its signature.
fn places(centroids: Vec<Vec<f32>>, node: &KernelNode) -> Vec<Vec<f32>> {
    let on_the_whole = Some(&node.basin_signature).filter(|signature| centroids.is_empty() && !signature.is_empty());
    on_the_whole.map_or(centroids, |signature| vec![signature.clone()])
}

/// What this node says of itself now; `None` while it has no address.
fn registration(handle: &Handle, said: &Said) -> Option<Registration> {
    let (me, hello) = (handle.me(), handle.hello().borrow().clone());
    let endpoint = Endpoint::read(hello.card["endpoints"][0].as_str()?)?;
    let Settings { dim, metric, projection, encoder } = said.settings.clone();
    let Places { signature, centroids } = said.places.borrow().clone();
    let settings = Told { dim: Some(dim), metric: Some(metric), projection: Some(projection), encoder: Some(encoder) };
    Some(Registration {
        node: said.name.clone(),
        service_name: me.about().name.clone(),
        endpoint,
        capabilities: me.about().capabilities.clone(),
        basin_signature: signature,
        centroids,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_there_is_asked_after_a_change_after_a_failure_and_now_and_then() {
        let mut listing = Listing::default();
        listing.note_beat(&Ok(false));
        assert!(!listing.turn(), "nobody came or went");
        for changed in [Ok(true), Err(Trouble { sentence: String::new(), wait: Duration::ZERO, is_lost: false })] {
            listing = Listing::default();
            listing.note_beat(&changed);
            listing.note_beat(&Ok(false));
            assert!(listing.turn() && listing.turn(), "until there is a list: {changed:?}");
        }
        listing = Listing::default();
        let asked: Vec<u32> = (1..=12).filter(|_| listing.turn()).collect();
        assert_eq!(asked, [10, 11, 12], "nor is it forgotten when that list fails");
    }
}
