//! What the section `[mesh]` means: what the index of this node is made for, whose documents are kept here, and with which
//! registry it registers, or that it is one.

use super::ConfigError;
use super::reading::Reading;
use super::tools::Hidden;
use super::written::MeshKeys;
use crate::store::link::ServerUrl;
use comity_core::basin::settings::ENCODER;
use comity_core::basin::{Metric, Projection, Settings};
use comity_core::id::NodeId;
use comity_core::registry::key::Secret;
use comity_core::registry::profile::NodeName;
use comity_core::wire::federation::well_known::Endpoint;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use url::{Host, Url};
use zeroize::Zeroizing;

/// The mesh: documents that are searched by what they mean, here and at other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mesh {
    /// Numbers of each vector.
    pub dimension: usize,
    /// How vectors become points.
    pub projection: Projection,
    /// Who makes vectors of text.
    pub encoder: Encoder,
    /// Whose documents are kept here.
    pub sources: MeshSources,
    /// How often they are asked for what has changed.
    pub sync_every: Duration,
    /// Where tasks and a registry are kept that several nodes share; `None`: in files of this node's.
    pub store: Option<ServerUrl>,
    /// Whether this node is the registry of a mesh.
    pub is_coordinator: bool,
    /// The registry that it registers with.
    pub coordinator: Option<Coordinator>,
    /// The name under which it is registered; its node id or the UUID of its key if there is none.
    pub node_name: Option<NodeName>,
}

/// Who makes vectors of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoder {
    /// The hash that is built in.
    Hash,
    /// A static table of embeddings: a file, or a folder with one.
    Table(PathBuf),
    /// A model behind an OpenAI-compatible endpoint.
    Endpoint {
        /// Where it is asked, all of it: `…/v1/embeddings`.
        url: Url,
        /// Its name there.
        model: String,
        /// The bearer token that the server wants.
        token: Option<Hidden>,
    },
}

/// The registry that this node registers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordinator {
    /// Where it is.
    pub endpoint: Endpoint,
    /// The key that must answer there; without one, a certificate of an authority.
    pub key: Option<NodeId>,
    /// Further authorities, PEM.
    pub ca_file: Option<PathBuf>,
    /// What is shown to it the first time.
    pub secret: Option<Secret>,
}

/// The nodes whose documents are kept here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MeshSources {
    named: BTreeMap<NodeId, SourceTrust>,
    others: Option<SourceTrust>,
}

/// What the documents of another node count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceTrust {
    /// As much as one's own.
    Full,
    /// Half as much.
    Partial,
    /// They are kept, and found only when that node is asked for by name.
    Observer,
}

impl MeshSources {
    /// What the documents of this node count; `None`: they are not kept here.
    pub fn trust(&self, node: &NodeId) -> Option<SourceTrust> {
        self.named.get(node).copied().or(self.others)
    }

    /// Whether nobody's documents are kept here.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.others.is_none()
    }
}

impl Reading<'_> {
    pub(super) fn mesh(&self, written: &MeshKeys) -> Result<Option<Mesh>, ConfigError> {
        let projection = self.one("mesh.projection", &written.projection, "sphere or simplex")?;
        let dimension = self.size("mesh.dimension", written.dimension)?;
        // Tried with the usual encoder: the name of the one that is meant may be known only when it is opened.
        let settings = Settings::new(dimension, Metric::default(), projection, ENCODER);
        settings.map_err(|bad| self.wrong("mesh.dimension", bad.to_string()))?;
        let encoder = self.mesh_encoder(written)?;
        let sync = self.small("mesh.sync_interval_seconds", written.sync_interval_seconds)?;
        let (sources, sync_every) = (self.mesh_sources(&written.sources)?, Duration::from_secs(sync));
        // What is wrong with it is said without it: it holds a password.
        let store = written.store.as_deref().map(str::parse::<ServerUrl>).transpose();
        let store = store.map_err(|bad| self.wrong("mesh.store", bad.to_string()))?;
        let (is_coordinator, coordinator, node_name) = self.registry(written)?;
        Ok(written.enabled.then_some(Mesh {
            dimension,
            projection,
            encoder,
            sources,
            sync_every,
            store,
            is_coordinator,
            coordinator,
            node_name,
        }))
    }

    /// Whether this node is a registry, with which one it registers, and under which name.
    fn registry(&self, written: &MeshKeys) -> Result<(bool, Option<Coordinator>, Option<NodeName>), ConfigError> {
        let coordinator = self.coordinator(written)?;
        let name = written.node_id.as_deref().map(|name| NodeName::new(name.trim())).transpose();
        let node_name = name.map_err(|wanted| self.wrong("mesh.node_id", wanted.to_string()))?;
        let is_coordinator = written.coordinator;
        if !written.enabled && (is_coordinator || coordinator.is_some()) {
            let key = if is_coordinator { "mesh.coordinator" } else { "mesh.coordinator_url" };
            return Err(self.wrong(key, "it is a part of the mesh, which mesh.enabled switches off"));
        }
        if is_coordinator && coordinator.is_some() {
            return Err(self.wrong("mesh.coordinator_url", "a registry registers with no other (mesh.coordinator)"));
        }
        Ok((is_coordinator, coordinator, node_name))
    }

    /// The registry that is meant. No key goes there without TLS, but on this machine.
    fn coordinator(&self, written: &MeshKeys) -> Result<Option<Coordinator>, ConfigError> {
        let secret = match (&written.api_key, &written.api_key_file) {
            (Some(_), Some(_)) => {
                return Err(self.wrong("mesh.api_key_file", "only one of it and mesh.api_key may be set"));
            }
            (Some(secret), None) => Some(("mesh.api_key", Zeroizing::new(secret.clone()))),
            (None, Some(file)) => Some(("mesh.api_key_file", self.secret("mesh.api_key_file", file.clone())?)),
            (None, None) => None,
        };
        let read = |(key, text): (&str, Zeroizing<String>)| {
            Secret::read(text.trim()).map_err(|wanted| self.wrong(key, wanted.to_string()))
        };
        let secret = secret.map(read).transpose()?;
        let Some(url) = &written.coordinator_url else { return Ok(None) };
        let wanted = || self.wrong("mesh.coordinator_url", "a URL such as https://host:port is wanted");
        let endpoint = Endpoint::read(url.trim()).ok_or_else(wanted)?;
        let is_here = match endpoint.host() {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        if endpoint.is_plain() && !is_here {
            let problem = "https:// is wanted: without TLS, keys are shown to nobody but this machine";
            return Err(self.wrong("mesh.coordinator_url", problem));
        }
        let key = written.coordinator_key.as_ref();
        let key = key.map(|key| self.one("mesh.coordinator_key", key, "a node's id, as ed25519:…"));
        let key: Option<NodeId> = key.transpose()?;
        if key.is_some() && endpoint.is_plain() {
            return Err(self.wrong("mesh.coordinator_key", "a key is proven by TLS: https:// is wanted"));
        }
        let ca_file = written.ca_file.clone().map(|file| self.path("mesh.ca_file", file));
        Ok(Some(Coordinator { endpoint, key, ca_file, secret }))
    }

    fn mesh_encoder(&self, written: &MeshKeys) -> Result<Encoder, ConfigError> {
        const KEY: &str = "mesh.encoder";
        let said = written.encoder.trim();
        if said == ENCODER {
            return Ok(Encoder::Hash);
        }
        if !said.contains("://") {
            return Ok(Encoder::Table(self.path(KEY, said.to_owned())));
        }
        let wanted = "the URL of an embeddings server such as http://127.0.0.1:8081/v1";
        let mut url: Url = self.one(KEY, said, wanted)?;
        let is_plain =
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
        if !is_plain || url.host_str().is_none() {
            return Err(self.wrong(KEY, format!("{wanted} is wanted, without a name and password in it")));
        }
        if !url.path().ends_with("/embeddings") {
            let path = format!("{}/embeddings", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        let Some(model) = written.encoder_model.clone().filter(|model| !model.trim().is_empty()) else {
            return Err(self.wrong("mesh.encoder_model", "the name of the server's model is wanted"));
        };
        let named = Settings::new(1, Metric::default(), Projection::default(), &model);
        named.map_err(|bad| self.wrong("mesh.encoder_model", bad.to_string()))?;
        Ok(Encoder::Endpoint { url, model, token: written.encoder_token.clone().map(Hidden::new) })
    }

    fn mesh_sources(&self, written: &BTreeMap<String, String>) -> Result<MeshSources, ConfigError> {
        const KEY: &str = "mesh.sources";
        let mut sources = MeshSources::default();
        for (node, trust) in written {
            let trust = match trust.trim() {
                "full" => SourceTrust::Full,
                "partial" => SourceTrust::Partial,
                "observer" => SourceTrust::Observer,
                other => {
                    return Err(
                        self.wrong(KEY, format!("full, partial or observer is wanted for {node}, not {other:?}"))
                    );
                }
            };
            if node.trim() == "*" {
                sources.others = Some(trust);
            } else {
                let node = self.one(KEY, node, "a node's id (`comity id` prints it), as ed25519:…, or *")?;
                sources.named.insert(node, trust);
            }
        }
        Ok(sources)
    }
}
