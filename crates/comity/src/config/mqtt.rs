//! What the section `[mqtt]` means: which brokers, who this node is to them, and how it is proven.

use comity_core::wire::announce::Topics;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use zeroize::Zeroizing;

/// The broker that `federation:*` commands use when none is named.
pub const USUAL_BROKER: &str = "mqtt://localhost:1883";

/// Discovery over MQTT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// The brokers; none when it is off.
    pub brokers: Vec<Broker>,
    /// Where the embedded broker listens.
    pub listen: SocketAddr,
    /// Under which topics.
    pub topics: Topics,
    /// How often this node is announced.
    pub interval: Duration,
    /// Who this node is to brokers, instead of a name made of its key.
    pub client_id: Option<String>,
    /// Who it is by name.
    pub login: Option<Login>,
    /// PEM file of the authorities that brokers' certificates are checked by; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The client certificate.
    pub certificate: Option<super::TlsFiles>,
    /// Whether brokers' certificates are checked; `false` only for brokers on this machine.
    pub verify: bool,
    /// Whether unsigned announcements count: where `local.trust` is `open`.
    pub unsigned: bool,
    /// Whether name and metadata are announced.
    pub metadata: bool,
}

/// A user name and a secret: a password or a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name; empty when there is only a token.
    pub username: String,
    /// The secret.
    pub secret: Option<Zeroizing<String>>,
}

impl fmt::Debug for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A broker as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broker {
    /// One somewhere.
    At(BrokerUrl),
    /// One in this process.
    Embedded,
}

/// How a broker is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// TLS.
    Tls,
    /// WebSocket.
    WebSocket,
    /// WebSocket over TLS.
    WebSocketTls,
}

impl Transport {
    /// Whether it is encrypted.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::WebSocketTls)
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "mqtt",
            Self::Tls => "mqtts",
            Self::WebSocket => "ws",
            Self::WebSocketTls => "wss",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Tcp => 1883,
            Self::Tls => 8883,
            Self::WebSocket => 80,
            Self::WebSocketTls => 443,
        }
    }
}

/// The address of a broker. It is shown without its query, in which some brokers want a token.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// How it is spoken to.
    pub transport: Transport,
    /// Host name or address (IPv6 without brackets).
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path, for WebSockets.
    pub path: String,
    /// What follows the path with its question mark, for WebSockets.
    pub query: Zeroizing<String>,
}

impl BrokerUrl {
    /// How this machine reaches a broker of its own that listens there.
    pub(crate) fn of_own(listen: SocketAddr) -> Self {
        let host = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
            IpAddr::V6(ip) if ip.is_unspecified() => "::1".to_owned(),
            ip => ip.to_string(),
        };
        let (path, query) = (String::new(), Zeroizing::default());
        Self { transport: Transport::Tcp, host, port: listen.port(), path, query }
    }

    /// Whether it is on this machine, as far as the name tells.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// A text that is not the address of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBroker {
    /// It has a user name or a password in it.
    #[error(
        "a broker's URL must hold no user name or password, because URLs are shown and logged: set mqtt.username and \
         mqtt.password (or mqtt.password_file) instead"
    )]
    Secret,
    /// It is none.
    #[error("mqtt://host:port, mqtts://, ws://, wss:// or embedded is wanted")]
    Form,
}

impl FromStr for Broker {
    type Err = BadBroker;

    fn from_str(text: &str) -> Result<Self, BadBroker> {
        if text == "embedded" { Ok(Self::Embedded) } else { text.parse().map(Self::At) }
    }
}

impl FromStr for BrokerUrl {
    type Err = BadBroker;

    fn from_str(text: &str) -> Result<Self, BadBroker> {
        let (scheme, rest) = text.split_once("://").ok_or(BadBroker::Form)?;
        let transport = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" | "tcp" => Transport::Tcp,
            "mqtts" | "ssl" => Transport::Tls,
            "ws" => Transport::WebSocket,
            "wss" => Transport::WebSocketTls,
            _ => return Err(BadBroker::Form),
        };
        if rest.contains('@') {
            return Err(BadBroker::Secret);
        }
        let (rest, query) = rest.find('?').map_or((rest, ""), |at| rest.split_at(at));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = split(authority, transport.port()).ok_or(BadBroker::Form)?;
        let named = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        let plain = |path: &str| path.len() <= 1024 && path.chars().all(|c| c.is_ascii_graphic());
        let fits = !host.is_empty() && host.len() <= 253 && (named || host.parse::<IpAddr>().is_ok());
        let of_websocket = matches!(transport, Transport::WebSocket | Transport::WebSocketTls);
        if port == 0 || !fits || !plain(path) || !plain(query) || !of_websocket && !query.is_empty() {
            return Err(BadBroker::Form);
        }
        let path = match (of_websocket, path) {
            (false, "" | "/") => String::new(),
            (false, _) => return Err(BadBroker::Form),
            // Where brokers usually are.
            (true, "" | "/") => "/mqtt".to_owned(),
            (true, path) => path.to_owned(),
        };
        Ok(Self { transport, host, port, path, query: Zeroizing::new(query.to_owned()) })
    }
}

fn split(authority: &str, usual: u16) -> Option<(String, u16)> {
    if let Ok(address) = authority.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some((address.to_string(), usual));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, usual),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host.to_ascii_lowercase(), port))
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, host, port, path, query: _ } = self;
        let brackets = if host.contains(':') { ["[", "]"] } else { ["", ""] };
        write!(out, "{}://{}{host}{}:{port}{path}", transport.scheme(), brackets[0], brackets[1])
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_brokers_are_read_in_every_usual_form() {
        for (text, shown) in [
            ("mqtt://localhost", "mqtt://localhost:1883"),
            ("mqtts://Broker.example.org", "mqtts://broker.example.org:8883"),
            ("ssl://10.0.0.1:9", "mqtts://10.0.0.1:9"),
            ("ws://10.0.0.1", "ws://10.0.0.1:80/mqtt"),
            ("wss://[fd00::1]:9001/x", "wss://[fd00::1]:9001/x"),
            ("mqtt://[::1]/", "mqtt://[::1]:1883"),
            ("wss://x/mqtt?token=s3cret", "wss://x:443/mqtt"),
            ("wss://x?token=s3cret/y", "wss://x:443/mqtt"),
        ] {
            assert_eq!(text.parse::<BrokerUrl>().map(|url| url.to_string()), Ok(shown.to_owned()));
        }
        let url: BrokerUrl = "wss://x/mqtt?token=s3cret".parse().expect("a URL");
        assert_eq!((url.query.as_str(), format!("{url:?}").contains("s3cret")), ("?token=s3cret", false));
        for bad in [
            "",
            "localhost",
            "http://x",
            "mqtt://",
            "mqtt://x:0",
            "mqtt://x/y",
            "mqtt://x?y",
            "mqtt://a b",
            "ws://x/\u{1}",
        ] {
            assert_eq!(bad.parse::<BrokerUrl>(), Err(BadBroker::Form), "{bad}");
        }
        for secret in ["mqtt://ann:pass@x", "mqtt://ann@x", "wss://x/y?u=a@b"] {
            assert_eq!(secret.parse::<Broker>(), Err(BadBroker::Secret), "{secret}");
        }
        assert_eq!("embedded".parse(), Ok(Broker::Embedded));
    }
}
