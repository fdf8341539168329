//! The flags of the commands that find peers by MQTT brokers, and of the broker.

use super::duration;
use clap::Args;
use std::time::Duration;

/// Flags of `comity discover`.
#[derive(Debug, Args)]
pub(crate) struct Discover {
    /// A broker; may be given several times
    #[arg(long, value_name = "URL")]
    pub(crate) broker: Vec<String>,
    /// How long to look at most, as in `500ms`, `5s`
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Only peers that can do this; may be given several times
    #[arg(long, value_name = "C")]
    pub(crate) capability: Vec<String>,
}

/// Flags of `comity announce`.
#[derive(Debug, Args)]
pub(crate) struct Announce {
    /// A broker; may be given several times
    #[arg(long, value_name = "URL")]
    pub(crate) broker: Vec<String>,
    /// Seconds between announcements [default: mqtt.interval_seconds, 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=1200))]
    pub(crate) interval: Option<u16>,
    /// Something that is there to be done; may be given several times
    #[arg(long, value_name = "C")]
    pub(crate) capability: Vec<String>,
    /// Where it can be reached
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// Flags of `comity federation:peers`.
#[derive(Debug, Args)]
pub(crate) struct FederationPeers {
    /// A broker; may be given several times
    #[arg(long, value_name = "URL")]
    pub(crate) broker: Vec<String>,
    /// Go on, and show every change
    #[arg(long)]
    pub(crate) watch: bool,
    /// Only peers that can do this; may be given several times
    #[arg(long, value_name = "C")]
    pub(crate) capability: Vec<String>,
}

/// Flags of `comity broker`.
#[derive(Debug, Args)]
pub(crate) struct Broker {
    /// Where to listen; port 0 lets the system choose
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:1883")]
    pub(crate) listen: std::net::SocketAddr,
    /// Where to listen for WebSockets
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) ws: Option<std::net::SocketAddr>,
}
