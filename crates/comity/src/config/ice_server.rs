//! The STUN and TURN servers of the configuration: `stun:host[:port]`, `turn:host[:port]`,
//! `turn:host[:port]?transport=tcp`, `turns:host[:port]` (RFC 7064, RFC 7065), and what they want
//! to see.

use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// The port of both protocols, and over TLS.
const PORT: u16 = 3478;
const PORT_TLS: u16 = 5349;

/// What a server is asked for, and how it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceKind {
    /// Only how others see this node.
    Stun,
    /// To relay, asked over UDP.
    TurnUdp,
    /// To relay, asked over TCP.
    TurnTcp,
    /// To relay, asked over TLS.
    TurnTls,
}

impl IceKind {
    /// Whether it is asked by datagrams, and then says as well how others see this node.
    pub(crate) fn is_by_datagrams(self) -> bool {
        matches!(self, Self::Stun | Self::TurnUdp)
    }
}

/// A server's address as it was configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceServer {
    /// What it is asked for.
    pub kind: IceKind,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Why an address is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not stun:HOST[:PORT], turn:HOST[:PORT][?transport=udp|tcp] or turns:HOST[:PORT]")]
pub struct NotAnIceServer(String);

impl FromStr for IceServer {
    type Err = NotAnIceServer;

    fn from_str(text: &str) -> Result<Self, NotAnIceServer> {
        let bad = || NotAnIceServer(text.chars().take(80).collect());
        let (scheme, rest) = text.split_once(':').ok_or_else(bad)?;
        let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
        let kind = match (scheme, query) {
            ("stun", None) => IceKind::Stun,
            ("turn", None | Some("transport=udp")) => IceKind::TurnUdp,
            ("turn", Some("transport=tcp")) => IceKind::TurnTcp,
            ("turns", None | Some("transport=tcp")) => IceKind::TurnTls,
            _ => return Err(bad()),
        };
        let usual = if kind == IceKind::TurnTls { PORT_TLS } else { PORT };
        // A bare IPv6 address is written in brackets, as in URLs.
        let (host, port) = match place.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((host, "")) => (host, usual),
            Some((host, port)) => (host, port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(bad)?),
            None => match place.split_once(':') {
                None => (place, usual),
                Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
            },
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_');
        if host.is_empty() || port == 0 || !host.chars().all(plain) {
            return Err(bad());
        }
        Ok(Self { kind, host: host.to_owned(), port })
    }
}

impl fmt::Display for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, query) = match self.kind {
            IceKind::Stun => ("stun", ""),
            IceKind::TurnUdp => ("turn", ""),
            IceKind::TurnTcp => ("turn", "?transport=tcp"),
            IceKind::TurnTls => ("turns", ""),
        };
        if self.host.contains(':') {
            write!(f, "{scheme}:[{}]:{}{query}", self.host, self.port)
        } else {
            write!(f, "{scheme}:{}:{}{query}", self.host, self.port)
        }
    }
}

/// How this node proves that it may use a relay.
#[derive(Clone, PartialEq, Eq)]
pub enum RelayCredentials {
    /// A name and a password that last.
    LongTerm {
        /// The name.
        username: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// A secret shared with the server, from which names and passwords of one day are made (the
    /// "REST API" convention of coturn).
    Secret {
        /// What the names end with.
        username: String,
        /// The secret.
        secret: Zeroizing<String>,
    },
}

impl fmt::Debug for RelayCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayCredentials")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_their_rfcs_write_them() {
        for (text, kind, host, port, shown) in [
            ("stun:a.example", IceKind::Stun, "a.example", 3478, "stun:a.example:3478"),
            ("turn:10.0.0.1:99", IceKind::TurnUdp, "10.0.0.1", 99, "turn:10.0.0.1:99"),
            ("turn:a?transport=tcp", IceKind::TurnTcp, "a", 3478, "turn:a:3478?transport=tcp"),
            ("turns:[fd00::1]", IceKind::TurnTls, "fd00::1", 5349, "turns:[fd00::1]:5349"),
        ] {
            let address: IceServer = text.parse().expect(text);
            assert_eq!((address.kind, address.host.as_str(), address.port), (kind, host, port), "{text}");
            assert_eq!(address.to_string(), shown);
        }
        for text in [
            "",
            "a.example",
            "http:a",
            "stun:",
            "stun:a:0",
            "stun:a:x",
            "turn:a?transport=sctp",
            "stun:a/b",
            "stun:[::1",
            "stun:a@b",
        ] {
            assert!(text.parse::<IceServer>().is_err(), "{text}");
        }
    }
}
