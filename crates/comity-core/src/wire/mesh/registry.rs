//! Bodies of what a node and its registry say to each other, and of their answers: read by both, for either may be a
//! stranger. Who may register is decided in `registry/roster.rs`. See "Registry" in `protocols/mesh.md`.
//!
//! Beyond `protocols/mesh.md`: a node of a list may say its `centroids` and `key`, a list may be asked for in pages
//! (`?after=<node_id>&limit=<n>`, answered with `next`), and `load.cpu` and `load.memory` are shares from 0 to 1.

use super::reading::{BadBody, Fields, Items, Listed, number, text, texts, vector, vectors};
use crate::id::NodeId;
use crate::registry::key::Secret;
use crate::registry::profile::{self, Load, NodeName, Registration, Told};
use crate::registry::roster::{Heartbeat, INTERVAL, Member, NODES_MAX};
use crate::time::Timestamp;
use crate::wire::federation::well_known::Endpoint;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Nodes in one page with their centroids, at most: 26 MB of JSON with 16 centroids of 256 numbers each. Where they are
/// large, a registry ends a page sooner; a reader goes by `next`.
pub const PAGE_MAX: usize = 500;

/// Longest time between heartbeats that a registry may ask for: no longer than a node takes to notice that it is lost.
pub const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// The paths of what nodes ask a registry.
pub mod path {
    /// `POST`: a registration.
    pub const REGISTER: &str = "/mesh/register";
    /// `POST`: a heartbeat.
    pub const HEARTBEAT: &str = "/mesh/heartbeat";
    /// `GET ?after=&limit=`: a list of nodes.
    pub const NODES: &str = "/mesh/nodes";
    /// `GET` and `DELETE`: one node.
    pub const NODE: &str = "/mesh/nodes/{id}";
}

/// A node, as a registry tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelNode {
    /// Its name.
    pub node: NodeName,
    /// What it is part of.
    pub service_name: String,
    /// Where it answers.
    pub endpoint: Endpoint,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Where its documents lie; empty while it has none.
    pub basin_signature: Vec<f32>,
    /// When it was heard last.
    pub last_heartbeat: Timestamp,
    /// Where its documents lie, where they are many and spread.
    pub centroids: Vec<Vec<f32>>,
    /// The key by which it signs.
    pub key: Option<NodeId>,
}

/// What a registry answers to a registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// The node that is registered now.
    pub node: NodeName,
    /// Its new API key, shown this once.
    pub api_key: Option<Secret>,
    /// How often it says that it is there.
    pub interval: Duration,
    /// Who else is there.
    pub nodes: Vec<KernelNode>,
}

/// What a registry answers to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beaten {
    /// Whether it was taken.
    pub ok: bool,
    /// Whether others came, went or changed since this node was told last.
    pub peers_changed: bool,
}

/// Which part of a list of nodes is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The nodes after this one.
    pub after: Option<NodeName>,
    /// At most so many.
    pub limit: usize,
}

impl KernelNode {
    /// A member without its centroids, which make a list sixteen times as long.
    pub fn brief(member: &Member) -> Self {
        let said = &member.registration;
        Self {
            node: said.node.clone(),
            service_name: said.service_name.clone(),
            endpoint: said.endpoint.clone(),
            capabilities: said.capabilities.clone(),
            basin_signature: said.basin_signature.clone(),
            last_heartbeat: member.last_heartbeat,
            centroids: Vec::new(),
            key: said.key,
        }
    }

    /// A member with all that is known of it.
    pub fn whole(member: &Member) -> Self {
        Self { centroids: member.registration.centroids.clone(), ..Self::brief(member) }
    }

    /// Reads one node.
    ///
    /// # Errors
    /// [`BadBody`] names the field.
    pub fn read(text: &[u8]) -> Result<Self, BadBody> {
        Self::of(&Fields::read(text)?)
    }

    /// The node as JSON.
    pub fn write(&self) -> Vec<u8> {
        to_vec(&self.form())
    }

    fn of(fields: &Fields) -> Result<Self, BadBody> {
        let last_heartbeat = fields.time("last_heartbeat")?;
        let said = said(fields)?;
        Ok(Self {
            node: said.node,
            service_name: said.service_name,
            endpoint: said.endpoint,
            capabilities: said.capabilities,
            basin_signature: said.basin_signature,
            last_heartbeat,
            centroids: said.centroids,
            key: said.key,
        })
    }

    fn form(&self) -> NodeForm<'_> {
        NodeForm {
            node_id: self.node.as_str(),
            service_name: &self.service_name,
            endpoint: self.endpoint.to_string(),
            capabilities: &self.capabilities,
            basin_signature: &self.basin_signature,
            last_heartbeat: Some(self.last_heartbeat.to_string()),
            told: ToldForm::default(),
            centroids: &self.centroids,
            key: self.key.map(|key| key.to_string()),
        }
    }
}

/// A registration as it is sent.
pub fn write_register(said: &Registration) -> Vec<u8> {
    to_vec(&NodeForm {
        node_id: said.node.as_str(),
        service_name: &said.service_name,
        endpoint: said.endpoint.to_string(),
        capabilities: &said.capabilities,
        basin_signature: &said.basin_signature,
        last_heartbeat: None,
        told: ToldForm {
            dim: said.settings.dim,
            metric: said.settings.metric.as_deref(),
            projection: said.settings.projection.as_deref(),
            encoder: said.settings.encoder.as_deref(),
        },
        centroids: &said.centroids,
        key: said.key.map(|key| key.to_string()),
    })
}

/// Reads a registration, which is within all bounds.
///
/// # Errors
/// [`BadBody`] names the field.
pub fn read_register(text: &[u8]) -> Result<Registration, BadBody> {
    let fields = Fields::read(text)?;
    let setting = |name: &str| fields.maybe(name, "a text", self::text);
    let dim = fields.maybe("dim", "a whole number", |value| usize::try_from(value.as_u64()?).ok())?;
    let settings =
        Told { dim, metric: setting("metric")?, projection: setting("projection")?, encoder: setting("encoder")? };
    let said = Registration { settings, ..said(&fields)? };
    said.check()?;
    Ok(said)
}

impl Registered {
    /// The answer as it is sent; it has the API key in it.
    pub fn write(&self) -> Vec<u8> {
        to_vec(&RegisteredForm {
            node_id: self.node.as_str(),
            api_key: self.api_key.as_ref().map(Secret::expose),
            heartbeat_interval_seconds: self.interval.as_secs(),
            nodes: self.nodes.iter().map(KernelNode::form).collect(),
        })
    }

    /// Reads the answer of a registry to a node of this name, and how many of the nodes in it could not be read. What it
    /// leaves out is as usual.
    ///
    /// # Errors
    /// [`BadBody`] names the field.
    pub fn read(text: &[u8], asked: &NodeName) -> Result<(Self, usize), BadBody> {
        let listed = Listed::read(text, "nodes", NODES_MAX)?;
        let fields = &listed.fields;
        let wanted = "the name that was registered";
        fields.maybe("node_id", wanted, |value| (value.as_str()? == asked.as_str()).then_some(()))?;
        let wanted = "`cmt_` and 64 hexadecimal digits";
        let api_key = fields.maybe("api_key", wanted, |value| Secret::read(value.as_str()?).ok())?;
        let interval = fields.maybe("heartbeat_interval_seconds", "a number of seconds from 1 to 3600", |value| {
            let interval = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
            (Duration::from_secs(1)..=INTERVAL_MAX).contains(&interval).then_some(interval)
        })?;
        let nodes = listed.items(KernelNode::of);
        let interval = interval.unwrap_or(INTERVAL);
        Ok((Self { node: asked.clone(), api_key, interval, nodes: nodes.items }, nodes.refused))
    }
}

/// A heartbeat as it is sent.
pub fn write_heartbeat(node: &NodeName, beat: &Heartbeat) -> Vec<u8> {
    to_vec(&HeartbeatForm {
        node_id: node.as_str(),
        load: beat.load.map(LoadForm::from),
        basin_signature: beat.basin_signature.as_deref(),
        centroids: beat.centroids.as_deref(),
    })
}

/// Reads a heartbeat: whose it is, and what it says. One without a load says nothing of it.
///
/// # Errors
/// [`BadBody`] names the field.
pub fn read_heartbeat(text: &[u8]) -> Result<(NodeName, Heartbeat), BadBody> {
    let fields = Fields::read(text)?;
    let beat = Heartbeat {
        load: fields.object("load")?.map(|load| read_load(&load)).transpose()?,
        basin_signature: fields.maybe("basin_signature", VECTOR, vector)?,
        centroids: fields.maybe("centroids", VECTORS, vectors)?,
    };
    let (signature, centroids) = (&beat.basin_signature, &beat.centroids);
    profile::check_places(signature.as_deref().unwrap_or(&[]), centroids.as_deref().unwrap_or(&[]))?;
    Ok((fields.node("node_id")?, beat))
}

/// The answer to a heartbeat: since when others came, went or changed.
pub fn write_beaten(peers_changed_since: Option<Timestamp>) -> Vec<u8> {
    to_vec(&BeatenForm { ok: true, peers_changed_since: peers_changed_since.map(|since| since.to_string()) })
}

/// Reads the answer to a heartbeat. Registries may say since when, by a time or a count, or only that others changed.
///
/// # Errors
/// [`BadBody`] names the field.
pub fn read_beaten(text: &[u8]) -> Result<Beaten, BadBody> {
    let fields = Fields::read(text)?;
    let peers_changed = fields.maybe("peers_changed_since", "a time (RFC 3339)", |since| match since {
        Value::Bool(is_changed) => Some(*is_changed),
        Value::String(_) | Value::Number(_) => Some(true),
        _ => None,
    })?;
    let ok = fields.must("ok", "true or false", Value::as_bool)?;
    Ok(Beaten { ok, peers_changed: peers_changed.unwrap_or(false) })
}

/// A list of nodes as it is sent; `next` is the last of them where there are more.
pub fn write_nodes(nodes: &[KernelNode], next: Option<&NodeName>) -> Vec<u8> {
    to_vec(&NodesForm { nodes: nodes.iter().map(KernelNode::form).collect(), next: next.map(NodeName::as_str) })
}

/// Reads a list of nodes, and after which of them it goes on, if it does.
///
/// # Errors
/// [`BadBody`] where it is no list, or too long.
pub fn read_nodes(text: &[u8]) -> Result<(Items<KernelNode>, Option<NodeName>), BadBody> {
    let listed = Listed::read(text, "nodes", NODES_MAX)?;
    let next = listed.fields.maybe("next", "a node's name", |value| NodeName::new(value.as_str()?).ok())?;
    Ok((listed.items(KernelNode::of), next))
}

impl Page {
    /// Reads which part of a list is wanted: without a limit, [`PAGE_MAX`] nodes.
    ///
    /// # Errors
    /// [`BadBody`] names the parameter.
    pub fn read(after: Option<&str>, limit: Option<&str>) -> Result<Self, BadBody> {
        let bad = |pointer: &str, wanted| BadBody::Field { pointer: pointer.to_owned(), wanted };
        let after = after.map(NodeName::new).transpose().map_err(|_| bad("/after", "a node's name"))?;
        let limit =
            limit.map_or(Some(PAGE_MAX), |limit| limit.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit)));
        Ok(Self { after, limit: limit.ok_or_else(|| bad("/limit", "a number from 1 to 500"))? })
    }
}

/// The answer to a removal.
pub fn write_removed() -> Vec<u8> {
    to_vec(&json!({"ok": true}))
}

const VECTOR: &str = "a list of at most 4096 finite numbers";
const VECTORS: &str = "a list of at most 16 vectors";
const _: () = assert!(profile::DIMENSIONS_MAX == 4096 && profile::CENTROIDS_MAX == 16, "as the errors say");

/// What a node says of itself, but for its settings; within all bounds.
fn said(fields: &Fields) -> Result<Registration, BadBody> {
    let endpoint = |value: &Value| Endpoint::read(value.as_str()?);
    let said = Registration {
        node: fields.node("node_id")?,
        service_name: fields.must("service_name", "a text", text)?,
        endpoint: fields.must("endpoint", "a URL (https://host:port) without user, query and fragment", endpoint)?,
        capabilities: capabilities(fields)?,
        basin_signature: fields.maybe("basin_signature", VECTOR, vector)?.unwrap_or_default(),
        centroids: fields.maybe("centroids", VECTORS, vectors)?.unwrap_or_default(),
        settings: Told::default(),
        key: fields.key("key")?,
    };
    said.check()?;
    Ok(said)
}

fn capabilities(fields: &Fields) -> Result<Vec<String>, BadBody> {
    let capabilities = fields.maybe("capabilities", "a list of texts", texts)?.unwrap_or_default();
    profile::check_capabilities(&capabilities)?;
    Ok(capabilities)
}

fn read_load(fields: &Fields) -> Result<Load, BadBody> {
    let tasks = |name: &str| fields.maybe(name, "a whole number", number);
    let share = |name: &str| fields.maybe(name, "a number from 0 to 1", Value::as_f64);
    let load = Load {
        running: tasks("running")?.unwrap_or(0),
        queued: tasks("queued")?.unwrap_or(0),
        cpu: share("cpu")?.unwrap_or(0.0),
        memory: share("memory")?.unwrap_or(0.0),
    };
    Ok(load.checked()?)
}

/// Written from its own form, and not as a [`Value`]: there an `f32` would have the digits of a double.
fn to_vec(form: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(form).expect("texts and finite numbers are JSON")
}

/// A node as it is written, in a registration or a list.
#[derive(Serialize)]
struct NodeForm<'a> {
    node_id: &'a str,
    service_name: &'a str,
    endpoint: String,
    capabilities: &'a [String],
    basin_signature: &'a [f32],
    #[serde(skip_serializing_if = "Option::is_none")]
    last_heartbeat: Option<String>,
    #[serde(flatten)]
    told: ToldForm<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    centroids: &'a [Vec<f32>],
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Default, Serialize)]
struct ToldForm<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    dim: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    projection: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoder: Option<&'a str>,
}

#[derive(Serialize)]
struct RegisteredForm<'a> {
    node_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
    heartbeat_interval_seconds: u64,
    nodes: Vec<NodeForm<'a>>,
}

#[derive(Serialize)]
struct HeartbeatForm<'a> {
    node_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<LoadForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    basin_signature: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    centroids: Option<&'a [Vec<f32>]>,
}

#[derive(Serialize)]
struct LoadForm {
    running: u32,
    queued: u32,
    cpu: f64,
    memory: f64,
}

impl From<Load> for LoadForm {
    fn from(load: Load) -> Self {
        Self { running: load.running, queued: load.queued, cpu: load.cpu, memory: load.memory }
    }
}

#[derive(Serialize)]
struct BeatenForm {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    peers_changed_since: Option<String>,
}

#[derive(Serialize)]
struct NodesForm<'a> {
    nodes: Vec<NodeForm<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
}

#[cfg(test)]
mod tests;
