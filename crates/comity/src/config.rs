//! The configuration of a node, read twice: first what was written and by whom (file, environment,
//! flags), then what it means. This is the second reading; nothing here touches the network or
//! creates a file.

mod example;
mod federation;
mod gossip;
mod ice_server;
mod layers;
mod mesh;
mod mqtt;
mod peer_address;
mod policy;
mod reading;
#[cfg(test)]
mod tests;
mod told;
#[cfg(test)]
mod tool_tests;
mod tools;
mod written;

pub use example::example;
pub use federation::{Accept, Federation};
pub use gossip::{Bootstrap, Dht, Gossip, NotABootstrap};
pub use ice_server::{IceKind, IceServer, NotAnIceServer, RelayCredentials};
pub use layers::{Flag, Sources};
pub use mesh::{Coordinator, Encoder, Mesh, MeshSources, SourceTrust};
pub use mqtt::{BadBroker, Broker, BrokerUrl, Login, Mqtt, Transport, USUAL_BROKER};
pub use peer_address::{NotAPeerAddress, PeerAddress};
pub use policy::PolicyRules;
pub use tools::{Around, Command, Document as ToolDocument, Endpoint, Hidden, ToolKind, ToolServer};
pub use written::{KEYS, Key, Shape};

use comity_core::id::NodeId;
use comity_core::identity::trust::Admission;
use comity_core::redact::{self, BadRule, CustomRule, Redactor, Severity};
use ipnet::IpNet;
use layers::Layers;
use reading::Reading;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use told::{is_short, told};
use written::Document;

/// The ports of the network door when none is set.
pub const HTTP_PORTS: RangeInclusive<u16> = 8400..=8499;

/// The ports of the metrics door when none is set.
pub const METRICS_PORTS: RangeInclusive<u16> = 8500..=8599;

/// The ports of the control door on loopback when none is set.
pub const CONTROL_PORTS: RangeInclusive<u16> = 8600..=8699;

/// The origin of what the program says that embeds the node.
pub(crate) const PROGRAM: &str = "the application";

/// What is meant. Each field is explained, with its default and its price, where it is written:
/// [`KEYS`], or `deploy/comity.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The name people see; see [`Config::name_of`].
    pub name: Option<String>,
    /// What this node can do.
    pub capabilities: Vec<String>,
    /// What else is told about it.
    pub metadata: BTreeMap<String, String>,
    /// Nodes to connect to.
    pub peers: Vec<PeerAddress>,
    /// Proxies that are believed about addresses.
    pub trusted_proxies: Vec<IpNet>,
    /// The network door.
    pub http: Http,
    /// Who is admitted.
    pub admission: Admission,
    /// mDNS; `None` when it is switched off.
    pub mdns: Option<Mdns>,
    /// Discovery over MQTT; `None` when it has no broker.
    pub mqtt: Option<Mqtt>,
    /// Connections by WebRTC; `None` when they are switched off.
    pub webrtc: Option<Webrtc>,
    /// Gossip; `None` when it is switched off.
    pub gossip: Option<Gossip>,
    /// The certificate for clients that are not nodes.
    pub tls: Option<TlsFiles>,
    /// Federation; `None` when this node speaks for no origin.
    pub federation: Option<Federation>,
    /// The mesh; `None` when it is switched off.
    pub mesh: Option<Mesh>,
    /// What others may use.
    pub limits: Limits,
    /// What waits for the application.
    pub inbox: Inbox,
    /// The metrics door; `None` when it is closed.
    pub metrics: Option<MetricsDoor>,
    /// Whether the node leaves when a critical health check keeps failing.
    pub stop_on_failure: bool,
    /// The ports on loopback that the control door tries; `None` when it has no port.
    pub control: Option<RangeInclusive<u16>>,
    /// What each MCP client may use: `all`, `none` or names of tools; `*` is everybody else.
    pub mcp_clients: BTreeMap<String, String>,
    /// How secrets are taken out of what is said; `None` when they are not.
    pub redaction: Option<Redaction>,
    /// How much the journal keeps.
    pub journal: Journal,
    /// Where traces go; `None`: nowhere.
    pub otlp: Option<Otlp>,
    /// What is written to standard error.
    pub log: Log,
    /// The tool servers, by their names.
    pub tools: Vec<ToolServer>,
    /// Who may call which tool.
    pub policy: PolicyRules,
}

/// The network door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Addresses to listen on; empty: all, IPv4 and IPv6.
    pub listen: Vec<IpAddr>,
    /// Ports to try in this order; `0..=0` lets the system choose.
    pub ports: RangeInclusive<u16>,
    /// Origins of web pages that may talk to this node, lower case, as browsers write them.
    pub origins: Vec<String>,
    /// Host names of this node, lower case.
    pub hosts: Vec<String>,
}

/// mDNS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mdns {
    /// Interfaces by name; empty: all but loopback, and loopback when there is no other.
    pub interfaces: Vec<String>,
}

/// How connections by WebRTC find their way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Webrtc {
    /// The servers that are asked for addresses.
    pub servers: Vec<IceServer>,
    /// What those want to see that relay; there is one whenever a server relays.
    pub credentials: Option<RelayCredentials>,
    /// The UDP ports that may be used; any when `None`.
    pub ports: Option<RangeInclusive<u16>>,
}

/// PEM files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What others may use of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Messages a second of one peer, sustained.
    pub messages_per_second: u32,
    /// Messages of one peer at once.
    pub messages_burst: u32,
    /// Messages a second of one address without proven keys.
    pub unverified_per_second: u32,
    /// HTTP requests a minute of one address.
    pub requests_per_minute: u32,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one address other than loopback.
    pub connections_per_address: usize,
    /// Request body, bytes.
    pub body_bytes: usize,
    /// Request head, bytes.
    pub header_bytes: usize,
    /// Time to send the head.
    pub header_time: Duration,
    /// Time to send the body.
    pub body_time: Duration,
    /// How far others' clocks may be ahead, and signed requests off.
    pub clock_skew: Duration,
    /// Message ids remembered.
    pub seen: usize,
    /// Messages that wait for one peer.
    pub queue_messages: usize,
    /// Bytes that wait for one peer.
    pub queue_bytes: usize,
}

/// What waits for the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbox {
    /// Items kept.
    pub items: usize,
    /// How long an item is kept.
    pub keep: Duration,
}

/// How much the journal keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Journal {
    /// Bytes after which the oldest entries are dropped.
    pub keep: u64,
}

/// How secrets are taken out of what is said. The rules were tried: they are good.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redaction {
    /// Built-in rules that are not used.
    pub off: Vec<String>,
    /// Patterns besides them, by the name of their rule.
    pub rules: BTreeMap<String, String>,
}

impl Redaction {
    /// The redactor that is meant; it hashes what it finds under this key.
    ///
    /// # Errors
    /// [`BadRule`], when it was not read from a configuration.
    pub fn redactor(&self, audit_key: [u8; 32]) -> Result<Redactor, BadRule> {
        Redactor::new(&self.rules(audit_key))
    }

    fn rules(&self, audit_key: [u8; 32]) -> redact::Config {
        let rule = |(name, pattern): (&String, &String)| CustomRule {
            name: name.clone(),
            severity: Severity::High,
            tags: Vec::new(),
            pattern: pattern.clone(),
        };
        let custom = self.rules.iter().map(rule).collect();
        redact::Config { custom, off: self.off.clone(), ..redact::Config::new(audit_key) }
    }
}

/// The metrics door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsDoor {
    /// The address to listen on.
    pub listen: IpAddr,
    /// Ports to try in this order.
    pub ports: RangeInclusive<u16>,
}

/// Where traces go.
#[derive(Clone, PartialEq, Eq)]
pub struct Otlp {
    /// The collector's URL, without `/v1/traces`.
    pub endpoint: String,
    /// Its bearer token.
    pub token: Option<String>,
}

impl fmt::Debug for Otlp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Otlp").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// What is written to standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// For whom.
    pub format: LogFormat,
    /// Which lines, in the language of `tracing_subscriber::EnvFilter`.
    pub filter: String,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// A value and where it came from, for `config show --origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The key, as in `http.port`; of a tool server or a rule, where it stands, as in `tools.files.kind`.
    pub key: String,
    /// The value as TOML; `unset` when there is none, `(hidden)` when it is a secret.
    pub value: String,
    /// `default`, a file, a variable or a flag.
    pub from: String,
}

impl Default for Config {
    fn default() -> Self {
        Self::read(&Sources::default()).expect("the defaults are valid: a test reads them").0
    }
}

impl Config {
    /// Reads the configuration, and where each value came from.
    pub fn read(sources: &Sources) -> Result<(Self, Vec<Origin>), ConfigError> {
        let layers = Layers::read(sources)?;
        let written = layers.document()?;
        let origins = origins(&layers, &written);
        Ok((mean(written, &layers)?, origins))
    }

    /// Takes up what a program says of itself beside the configuration.
    pub(crate) fn tell(&mut self, metadata: &BTreeMap<String, String>, version: &str) -> Result<(), ConfigError> {
        let wrong =
            |key: &str, problem: String| ConfigError::Wrong { key: key.to_owned(), from: PROGRAM.to_owned(), problem };
        if !is_short(version) {
            return Err(wrong("version", "at most 128 bytes of visible text are wanted".to_owned()));
        }
        self.metadata.extend(metadata.clone());
        told(&self.metadata, &self.capabilities).map_err(|problem| wrong("metadata", problem))
    }

    /// The name of a node with this key: the configured one, or `node-` and the beginning of the key.
    pub fn name_of(&self, node: &NodeId) -> String {
        self.name.clone().unwrap_or_else(|| format!("node-{}", node.short()))
    }
}

fn mean(written: Document, layers: &Layers) -> Result<Config, ConfigError> {
    let reading = Reading { layers };
    let ports = match (written.http.port, written.http.port_last) {
        (None, None) => HTTP_PORTS,
        (first, last) => {
            let first = first.unwrap_or(*HTTP_PORTS.start());
            first..=last.unwrap_or(first)
        }
    };
    if ports.is_empty() || (*ports.start() == 0 && *ports.end() != 0) {
        return Err(reading.wrong("http.port_last", "it must not be below http.port, and port 0 stands alone"));
    }
    let capabilities = reading.words("capabilities", written.node.capabilities)?;
    let admission = reading.admission(&written.local.trust)?;
    let mdns = written.mdns.enabled.then_some(Mdns { interfaces: written.mdns.interfaces });
    Ok(Config {
        name: reading.name(written.node.name)?,
        metadata: reading.metadata(written.node.metadata, &capabilities)?,
        capabilities,
        peers: reading.each("peers", &written.node.peers, "host:port or http://host:port")?,
        trusted_proxies: reading.nets("trusted_proxies", &written.node.trusted_proxies)?,
        http: Http {
            listen: reading.each("http.listen", &written.http.listen, "an IP address")?,
            ports,
            origins: reading.origins(written.http.origins)?,
            hosts: reading.words("http.hosts", written.http.hosts)?.iter().map(|host| host.to_lowercase()).collect(),
        },
        admission,
        mdns: mdns.clone(),
        mqtt: reading.mqtt(written.mqtt, admission)?,
        webrtc: if written.webrtc.enabled { Some(reading.webrtc(written.webrtc)?) } else { None },
        gossip: reading.gossip(written.gossip, mdns.as_ref())?,
        tls: reading.tls(written.tls.cert, written.tls.key)?,
        federation: reading.federation(written.federation)?,
        mesh: reading.mesh(&written.mesh)?,
        limits: reading.limits(&written.limits)?,
        inbox: Inbox {
            items: reading.size("inbox.items", written.inbox.items)?,
            keep: Duration::from_secs(24 * 3600 * reading.small("inbox.days", written.inbox.days)?),
        },
        metrics: match written.metrics.enabled {
            false => None,
            true => Some(MetricsDoor {
                listen: reading.one("metrics.listen", &written.metrics.listen, "an IP address")?,
                ports: written.metrics.port.map_or(METRICS_PORTS, |port| port..=port),
            }),
        },
        stop_on_failure: written.metrics.stop_on_failure,
        control: written.control.http.then(|| written.control.port.map_or(CONTROL_PORTS, |port| port..=port)),
        mcp_clients: written.mcp.clients,
        redaction: reading.redaction(written.redaction)?,
        journal: Journal { keep: reading.bytes("journal.keep", &written.journal.keep)? },
        otlp: reading.otlp(written.otlp.endpoint, written.otlp.token)?,
        log: Log {
            format: match written.log.format.as_str() {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err(reading.wrong("log.format", "text or json is wanted")),
            },
            filter: written.log.filter,
        },
        tools: tools::servers(layers)?,
        policy: policy::policy(layers)?,
    })
}

fn origins(layers: &Layers, written: &Document) -> Vec<Origin> {
    let values = serde_json::to_value(written).expect("a struct of texts and numbers is JSON");
    let origin = |key: &Key| {
        let value = values.pointer(&format!("/{}", key.path.replace('.', "/"))).filter(|value| !value.is_null());
        let value = match value {
            None => "unset".to_owned(),
            Some(_) if key.secret => "(hidden)".to_owned(),
            Some(value) => value.to_string(),
        };
        Origin { key: key.path.to_owned(), value, from: layers.origin(key.path) }
    };
    KEYS.iter().map(origin).chain(tools::origins(layers)).collect()
}

/// Why the configuration cannot be used. The node does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key that does not exist: a typing error, or a key of another version.
    #[error("there is no key `{key}` ({from}): did you mean `{nearest}`?")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The file, or the environment.
        from: String,
        /// The most similar key there is.
        nearest: String,
    },
    /// A value that is not of its key's form or range.
    #[error("`{key}` ({from}): {problem}")]
    Wrong {
        /// The key.
        key: String,
        /// The file, variable or flag.
        from: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file that was named is not there.
    #[error("there is no configuration file {}", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// The file is not TOML, or cannot be read.
    #[error("{}: {error}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and in which line.
        error: String,
    },
}
