//! What a node shares with a mesh: its documents and what it knows, its queue of tasks, and the registry that it is or has.
//! Opened and closed together; none of them knows the others.

use super::JoinError;
use super::parts::in_background;
use crate::compute::Compute;
use crate::config::Config;
use crate::discovery::registry::{self, Said};
use crate::door::control::Registries;
use crate::driver::{Clock, Handle};
use crate::home::Home;
use crate::link::{Links, Tls};
use crate::registry::Registry;
use crate::search::encoding::Encoder;
use crate::search::{Elsewhere, Entries, Index, IndexOpenError, Mesh};
use crate::store::link::Place;
use comity_core::registry::profile::{self, NodeName};
use std::net::SocketAddr;
use tokio::sync::watch;

/// The parts of a node that a mesh has use for. Cloning shares them.
#[derive(Clone)]
pub(super) struct Shared {
    /// Its documents, and what it knows.
    pub(super) mesh: Option<Mesh>,
    /// Its queue of tasks.
    pub(super) compute: Option<Compute>,
    /// The registry that it is or has.
    pub(super) registries: Registries,
}

impl Shared {
    /// Opens what the configuration wants. `own_doors` is what is never dialled.
    pub(super) async fn open(
        (handle, links): (&Handle, &Links),
        home: &Home,
        config: &Config,
        (tls, own_doors): (&Tls, Vec<SocketAddr>),
    ) -> Result<Self, JoinError> {
        let elsewhere = watch::Sender::new(Elsewhere::new());
        let mesh = mesh(handle, links, home, (config, elsewhere.subscribe())).await?;
        let compute = compute(handle, links, home, config).await?;
        let shared = mesh.as_ref().zip(compute.clone()).map(|(mesh, work)| (mesh, work, elsewhere));
        let registries = registries(handle, home, config, (tls, own_doors), shared).await?;
        Ok(Self { mesh, compute, registries })
    }

    /// Tells the registry that this node leaves.
    pub(super) async fn leave(&self) {
        if let Some(joined) = &self.registries.joined {
            joined.leave().await;
        }
    }

    /// Writes what is under way, and closes the files.
    pub(super) async fn close(self, handle: &Handle) {
        if let Some(mesh) = self.mesh {
            mesh.close().await;
        }
        if let Some(compute) = self.compute {
            compute.close().await;
        }
        if let Some(registry) = self.registries.own {
            registry.close(handle.now()).await;
        }
    }
}

/// Opens the index, where there is one.
async fn mesh(
    handle: &Handle,
    links: &Links,
    home: &Home,
    (config, elsewhere): (&Config, watch::Receiver<Elsewhere>),
) -> Result<Option<Mesh>, JoinError> {
    let Some(settings) = &config.mesh else { return Ok(None) };
    let (encoder, vectors) = Encoder::open(settings).await?;
    let index = Index::open(&home.index(), vectors, handle.me().keys().clone(), Clock::wall).await?;
    let entries = Entries::open(&home.index().join("knowledge.db"), handle.me().node()).await;
    let entries = entries.map_err(IndexOpenError::from)?;
    let mesh = Mesh::new((index, encoder), entries, (handle, links), (settings, elsewhere));
    in_background(handle.stop(), mesh.clone().keep());
    Ok(Some(mesh))
}

/// Opens the queue of tasks, where the mesh is on.
async fn compute(handle: &Handle, links: &Links, home: &Home, config: &Config) -> Result<Option<Compute>, JoinError> {
    let Some(settings) = &config.mesh else { return Ok(None) };
    Ok(Some(Compute::open(&home.tasks(), handle, links, settings).await?))
}

/// Opens the registry that this node is, or registers with the one that it has.
async fn registries(
    handle: &Handle,
    home: &Home,
    config: &Config,
    (tls, own_doors): (&Tls, Vec<SocketAddr>),
    shared: Option<(&Mesh, Compute, watch::Sender<Elsewhere>)>,
) -> Result<Registries, JoinError> {
    let (Some(mesh), Some((shared, work, elsewhere))) = (&config.mesh, shared) else {
        return Ok(Registries::default());
    };
    let vectors = shared.index().settings();
    let settings = profile::Settings {
        dim: vectors.dimension(),
        metric: vectors.metric().name().to_owned(),
        projection: vectors.projection().name().to_owned(),
        encoder: vectors.encoder().to_owned(),
    };
    let id = || NodeName::new(&handle.me().node().to_string()).expect("a node id is 51 visible characters");
    let (name, places) = (mesh.node_name.clone().unwrap_or_else(id), shared.index().places());
    let said = Said { name, settings, places, elsewhere, work };
    let own = if mesh.is_coordinator {
        let place = mesh.store.clone().map_or_else(|| Place::File(home.registry()), Place::Server);
        let own = Registry::open(&place, said.settings.clone(), handle.now()).await?;
        in_background(handle.stop(), own.clone().keep(handle.clone()));
        in_background(handle.stop(), registry::itself(handle.clone(), own.clone(), said.clone()));
        Some(own)
    } else {
        None
    };
    let joined = match mesh.coordinator.clone() {
        Some(coordinator) => {
            let http = registry::way(&coordinator, tls, own_doors)?;
            Some(registry::start(handle, coordinator, said, (http, home.mesh_key())))
        }
        None => None,
    };
    Ok(Registries { own, joined })
}
