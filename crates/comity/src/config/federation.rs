//! What the section `[federation]` means: for whom this node speaks, and whom it meets how.

use super::ConfigError;
use super::reading::Reading;
use super::written::FederationKeys;
use comity_core::federation::Origin;
use comity_core::wire::federation::well_known::Endpoint;
use ipnet::IpNet;
use std::path::PathBuf;
use std::time::Duration;

/// Longest prefix of a proxy, bytes.
const BASE_MAX: usize = 256;

/// Federation with other organisations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Federation {
    /// The name under which this node speaks.
    pub origin: Origin,
    /// Where others reach it.
    pub endpoint: Endpoint,
    /// What stands before the paths that others sign: what a proxy takes off.
    pub public_base: String,
    /// Whose invitations are accepted at once.
    pub accept: Accept,
    /// Who is refused.
    pub blocked: Vec<Origin>,
    /// Private networks in which other origins may be.
    pub networks: Vec<IpNet>,
    /// Origins that are asked without TLS.
    pub plain: Vec<Origin>,
    /// Further authorities for certificates, PEM.
    pub ca_file: Option<PathBuf>,
    /// Bytes that a member may have stored on a channel of this origin.
    pub quota: u64,
    /// Events a second of one origin on one channel of this one.
    pub events_per_second: u32,
    /// Invitations an hour of one origin.
    pub invitations_per_hour: u32,
    /// Requests a minute of one origin.
    pub requests_per_minute: u32,
    /// How often lines are compared.
    pub compare_every: Duration,
}

/// Whose invitations are accepted without asking a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accept {
    /// Everybody's.
    All,
    /// Those of these origins.
    These(Vec<Origin>),
}

impl Accept {
    /// Whether an invitation of this origin is accepted at once.
    pub fn includes(&self, origin: &Origin) -> bool {
        match self {
            Self::All => true,
            Self::These(origins) => origins.contains(origin),
        }
    }
}

impl Reading<'_> {
    pub(super) fn federation(&self, written: FederationKeys) -> Result<Option<Federation>, ConfigError> {
        let quota = self.bytes("federation.quota", &written.quota)?;
        let Some(name) = &written.origin else { return Ok(None) };
        let origin = self.said_origin("federation.origin", name)?;
        let said = written.endpoint.unwrap_or_else(|| format!("https://{origin}"));
        let wanted = || self.wrong("federation.endpoint", "a URL such as https://host:port is wanted");
        let endpoint = Endpoint::read(said.trim()).ok_or_else(wanted)?;
        let accept = if written.accept.iter().any(|name| name.trim() == "*") {
            Accept::All
        } else {
            Accept::These(self.said_origins("federation.accept", &written.accept)?)
        };
        let events = self.small("federation.events_per_second", written.events_per_second)?;
        let invitations = self.small("federation.invitations_per_hour", written.invitations_per_hour)?;
        let requests = self.small("federation.requests_per_minute", written.requests_per_minute)?;
        let compare = self.small("federation.compare_seconds", written.compare_seconds)?;
        let public_base = match written.public_base {
            None => endpoint.target(""),
            Some(base) => {
                let base = base.trim().trim_end_matches('/');
                let is_path = base.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
                if !is_path || base.len() > BASE_MAX || !(base.is_empty() || base.starts_with('/')) {
                    return Err(self.wrong("federation.public_base", "a path such as /comity is wanted"));
                }
                base.to_owned()
            }
        };
        Ok(Some(Federation {
            origin,
            endpoint,
            public_base,
            accept,
            blocked: self.said_origins("federation.blocked", &written.blocked)?,
            networks: self.nets("federation.networks", &written.networks)?,
            plain: self.said_origins("federation.plain", &written.plain)?,
            ca_file: written.ca_file.map(|file| self.path("federation.ca_file", file)),
            quota,
            events_per_second: u32::try_from(events).unwrap_or(u32::MAX),
            invitations_per_hour: u32::try_from(invitations).unwrap_or(u32::MAX),
            requests_per_minute: u32::try_from(requests).unwrap_or(u32::MAX),
            compare_every: Duration::from_secs(compare),
        }))
    }

    fn said_origins(&self, key: &str, texts: &[String]) -> Result<Vec<Origin>, ConfigError> {
        texts.iter().map(|text| self.said_origin(key, text)).collect()
    }

    fn said_origin(&self, key: &str, text: &str) -> Result<Origin, ConfigError> {
        Origin::said(text).map_err(|why| self.wrong(key, format!("{why}; found {text:?}")))
    }
}
