//! What a node says of itself when it registers, and what of that is refused before it is looked at further. Whether its
//! name is free, and its settings are those of the mesh, is decided in `registry/roster.rs`. See "Registry" in
//! `protocols/mesh.md`.

use crate::hidden;
use crate::id::NodeId;
use crate::wire::federation::well_known::Endpoint;
use std::fmt;
use std::sync::Arc;

/// Longest name of a node or of its service, characters: what the protocol gives a `node_id`.
pub const NAME_MAX: usize = 128;

/// Most capabilities of a node. Placement looks at each, for every task.
pub const CAPABILITIES_MAX: usize = 64;

/// Longest capability, characters.
pub const CAPABILITY_MAX: usize = 64;

/// Most centroids of a node, as the protocol says: each is compared with every query.
pub const CENTROIDS_MAX: usize = 16;

/// Most dimensions of a mesh: a signature and all centroids fit into a request of 1 MiB.
pub const DIMENSIONS_MAX: usize = 4096;

/// Longest name of a metric, a projection or an encoder, characters.
pub const SETTING_MAX: usize = 128;

/// Most that a node may say it runs, or has waiting: beyond it, the number is a mistake.
pub const TASKS_MAX: u32 = 1_000_000;

/// A node's name in the mesh, its `node_id`: 1 to 128 characters that are all seen.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

/// A text that is no node's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name of 1 to {NAME_MAX} visible characters is wanted")]
pub struct NotAName;

/// How full a node is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Tasks that it runs.
    pub running: u32,
    /// Tasks that wait in it.
    pub queued: u32,
    /// How much of its processors is in use: 0 to 1.
    pub cpu: f64,
    /// How much of its memory is in use: 0 to 1.
    pub memory: f64,
}

/// What a mesh is set to; all its nodes alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many numbers a vector has.
    pub dim: usize,
    /// How distances are measured.
    pub metric: String,
    /// How vectors become points.
    pub projection: String,
    /// What makes vectors of texts.
    pub encoder: String,
}

/// What a node says it is set to. What it leaves out is as in the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// How many numbers a vector has.
    pub dim: Option<usize>,
    /// How distances are measured.
    pub metric: Option<String>,
    /// How vectors become points.
    pub projection: Option<String>,
    /// What makes vectors of texts.
    pub encoder: Option<String>,
}

/// One of the settings of a mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// How many numbers a vector has.
    Dim,
    /// How distances are measured.
    Metric,
    /// How vectors become points.
    Projection,
    /// What makes vectors of texts.
    Encoder,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Its name.
    pub node: NodeName,
    /// What it is part of; several nodes may share it.
    pub service_name: String,
    /// Where it answers.
    pub endpoint: Endpoint,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Where its documents lie: as it told it, empty while it has none.
    pub basin_signature: Vec<f32>,
    /// Where they lie, where they are many and spread.
    pub centroids: Vec<Vec<f32>>,
    /// What it is set to.
    pub settings: Told,
    /// The key by which it signs.
    pub key: Option<NodeId>,
}

/// What is wrong with what a node says of itself, or how full it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRegistration {
    /// Its service has no name, or too long a one.
    #[error("service_name: a name of 1 to {NAME_MAX} visible characters is wanted")]
    ServiceName,
    /// It has too many capabilities.
    #[error("capabilities: at most {CAPABILITIES_MAX} are wanted")]
    Capabilities,
    /// One of them is empty, too long, or not seen.
    #[error("capabilities: each has 1 to {CAPABILITY_MAX} visible characters")]
    Capability,
    /// Its signature is longer than any may be, or has a number that is none.
    #[error("basin_signature: finite numbers are wanted, at most {DIMENSIONS_MAX}, that are not all 0")]
    BasinSignature,
    /// It has too many centroids.
    #[error("centroids: at most {CENTROIDS_MAX} are wanted")]
    Centroids,
    /// One of them is empty, too long, all 0, or has a number that is none.
    #[error("centroids: each has finite numbers, as many as the mesh has dimensions, that are not all 0")]
    Centroid,
    /// The name of a setting is too long.
    #[error("{0}: at most {SETTING_MAX} characters are wanted")]
    Setting(Setting),
    /// It says it runs, or has waiting, more than it can.
    #[error("load: running and queued are at most {TASKS_MAX}")]
    Tasks,
    /// It uses less than nothing, or more than there is.
    #[error("load: cpu and memory are shares from 0 to 1")]
    Share,
}

impl NodeName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`NotAName`].
    pub fn new(text: &str) -> Result<Self, NotAName> {
        // A path that ends in dots is another path: nobody could ask for such a node.
        let is_path = matches!(text, "." | "..");
        if is_name(text, NAME_MAX) && !is_path { Ok(Self(text.into())) } else { Err(NotAName) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is written as a node's key is: only who proves that key may have it.
    pub fn reads_as_key(&self) -> bool {
        self.0.trim_start().starts_with("ed25519:")
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, out)
    }
}

impl Load {
    /// The load, if its numbers can be.
    ///
    /// # Errors
    /// [`BadRegistration::Tasks`] or [`BadRegistration::Share`].
    pub fn checked(self) -> Result<Self, BadRegistration> {
        if self.running > TASKS_MAX || self.queued > TASKS_MAX {
            return Err(BadRegistration::Tasks);
        }
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        if is_share(self.cpu) && is_share(self.memory) { Ok(self) } else { Err(BadRegistration::Share) }
    }

    /// How full the node is, for comparing: all that it runs and that waits, and the fuller of processors and memory.
    pub fn weight(&self) -> f64 {
        f64::from(self.running) + f64::from(self.queued) + self.cpu.max(self.memory)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { dim: 256, metric: "fisher-rao".to_owned(), projection: "sphere".to_owned(), encoder: "hash".to_owned() }
    }
}

impl Settings {
    /// The first setting in which a node differs.
    pub fn differing(&self, told: &Told) -> Option<Setting> {
        let differs = |told: &Option<String>, own: &String| told.as_ref().is_some_and(|told| told != own);
        [
            (Setting::Dim, told.dim.is_some_and(|dim| dim != self.dim)),
            (Setting::Metric, differs(&told.metric, &self.metric)),
            (Setting::Projection, differs(&told.projection, &self.projection)),
            (Setting::Encoder, differs(&told.encoder, &self.encoder)),
        ]
        .into_iter()
        .find_map(|(setting, differs)| differs.then_some(setting))
    }
}

impl Setting {
    /// Its field in the body of a registration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dim => "dim",
            Self::Metric => "metric",
            Self::Projection => "projection",
            Self::Encoder => "encoder",
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl Registration {
    /// Whether all of it is within the bounds.
    ///
    /// # Errors
    /// [`BadRegistration`] names the field.
    pub fn check(&self) -> Result<(), BadRegistration> {
        if !is_name(&self.service_name, NAME_MAX) {
            return Err(BadRegistration::ServiceName);
        }
        check_capabilities(&self.capabilities)?;
        let Told { metric, projection, encoder, dim: _ } = &self.settings;
        for (setting, told) in
            [(Setting::Metric, metric), (Setting::Projection, projection), (Setting::Encoder, encoder)]
        {
            if told.as_ref().is_some_and(|told| told.chars().count() > SETTING_MAX) {
                return Err(BadRegistration::Setting(setting));
            }
        }
        check_places(&self.basin_signature, &self.centroids)
    }

    /// Where its documents lie: its centroids, else its signature, else nowhere.
    pub fn places(&self) -> &[Vec<f32>] {
        if !self.centroids.is_empty() {
            &self.centroids
        } else if !self.basin_signature.is_empty() {
            std::slice::from_ref(&self.basin_signature)
        } else {
            &[]
        }
    }

    /// Whether both say the same but for where documents lie, which changes whenever somebody indexes.
    pub fn is_same_but_for_places(&self, other: &Self) -> bool {
        let Self { node, service_name, endpoint, capabilities, basin_signature: _, centroids: _, settings, key } = self;
        (node, service_name, endpoint, capabilities, settings, key)
            == (&other.node, &other.service_name, &other.endpoint, &other.capabilities, &other.settings, &other.key)
    }

    /// The first vector that has not as many numbers as the mesh has dimensions.
    pub(super) fn has_other_dim(&self, dim: usize) -> bool {
        let signature = Some(&self.basin_signature).filter(|signature| !signature.is_empty());
        signature.into_iter().chain(&self.centroids).any(|vector| vector.len() != dim)
    }
}

/// Whether what a node says it can do is within the bounds.
///
/// # Errors
/// [`BadRegistration`] names the field.
pub fn check_capabilities(capabilities: &[String]) -> Result<(), BadRegistration> {
    if capabilities.len() > CAPABILITIES_MAX {
        return Err(BadRegistration::Capabilities);
    }
    let are_names = capabilities.iter().all(|capability| is_name(capability, CAPABILITY_MAX));
    if are_names { Ok(()) } else { Err(BadRegistration::Capability) }
}

/// Whether a signature, which may be empty, and centroids, which may not, can be where documents lie.
///
/// # Errors
/// [`BadRegistration`] names the field.
pub fn check_places(signature: &[f32], centroids: &[Vec<f32>]) -> Result<(), BadRegistration> {
    if !signature.is_empty() && !is_place(signature) {
        return Err(BadRegistration::BasinSignature);
    }
    if centroids.len() > CENTROIDS_MAX {
        return Err(BadRegistration::Centroids);
    }
    if centroids.iter().all(|centroid| is_place(centroid)) { Ok(()) } else { Err(BadRegistration::Centroid) }
}

fn is_place(vector: &[f32]) -> bool {
    (1..=DIMENSIONS_MAX).contains(&vector.len())
        && vector.iter().all(|number| number.is_finite())
        && vector.iter().any(|number| *number != 0.0)
}

/// Whether a text is a name of at most this many characters, all of which are seen.
pub fn is_name(text: &str, characters: usize) -> bool {
    // No character has more than four bytes: a text of megabytes is not counted.
    let is_short = text.len() <= 4 * characters && text.chars().count() <= characters;
    is_short && !text.trim().is_empty() && !text.chars().any(hidden::is_hidden)
}
