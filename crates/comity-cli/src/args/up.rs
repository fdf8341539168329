//! The flags of `comity up`.

use clap::{Args, ValueEnum};

/// Flags of `comity up`.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct Up {
    /// The name that peers see
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The port of the network door [default: 8400, or the next free one up to 8499]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Do not look for peers by mDNS, and do not be found by it
    #[arg(long)]
    pub(crate) no_mdns: bool,
    /// A peer to reach, by its address; may be given several times
    #[arg(long, value_name = "URL")]
    pub(crate) peer: Vec<String>,
    /// An MQTT broker to find peers by, or `embedded` for one in this process; may be given several times
    #[arg(long, value_name = "URL")]
    pub(crate) broker: Vec<String>,
    /// Something this node can do; may be given several times
    #[arg(long, value_name = "C")]
    pub(crate) capability: Vec<String>,
    /// Be the registry of a mesh, with which others register
    #[arg(long)]
    pub(crate) coordinator: bool,
    /// How the log is written, on standard error
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
