//! The address of a peer as a person writes it: `host`, `host:port` or `http://host:port`.

use super::HTTP_PORTS;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A node to connect to, by name or address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// Host name or address (IPv6 without brackets).
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A text that is not `host:port`, with or without `http://` before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not host:port or http://host:port")]
pub struct NotAPeerAddress;

impl FromStr for PeerAddress {
    type Err = NotAPeerAddress;

    fn from_str(text: &str) -> Result<Self, NotAPeerAddress> {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Ok(address) = rest.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self { host: address.to_string(), port: *HTTP_PORTS.start() });
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| NotAPeerAddress)?),
            None => (rest, *HTTP_PORTS.start()),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let named = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        if port == 0 || host.is_empty() || host.len() > 253 || !(named || host.parse::<IpAddr>().is_ok()) {
            return Err(NotAPeerAddress);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(out, "[{}]:{}", self.host, self.port),
            false => write!(out, "{}:{}", self.host, self.port),
        }
    }
}
