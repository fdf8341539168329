//! The STUN and TURN servers that a connection asks for its addresses (RFC 8489, RFC 8656), named
//! as `stun:host[:port]` and `turn:host[:port][?transport=udp|tcp]` (RFC 7064, RFC 7065).

use super::relay::Stream;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// The port of both protocols, and over TLS.
const PORT: u16 = 3478;
const PORT_TLS: u16 = 5349;

/// How long a name may take to be resolved, and a connection over TCP and TLS to come up.
const OPEN_TIME: Duration = Duration::from_secs(3);

/// How long the password made from a shared secret is valid: longer than a connection takes to be
/// made; an allocation is refreshed by the credentials it was made with.
const REST_VALID: Duration = Duration::from_secs(24 * 3600);

/// What a server is asked for, and how it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only how others see this node.
    Stun,
    /// To relay, asked over UDP.
    TurnUdp,
    /// To relay, asked over TCP.
    TurnTcp,
    /// To relay, asked over TLS.
    TurnTls,
}

/// A server's address as it was configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) kind: Kind,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Why an address is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not stun:HOST[:PORT], turn:HOST[:PORT][?transport=udp|tcp] or turns:HOST[:PORT]")]
pub(crate) struct BadServer(String);

impl FromStr for Address {
    type Err = BadServer;

    fn from_str(text: &str) -> Result<Self, BadServer> {
        let bad = || BadServer(text.chars().take(80).collect());
        let (scheme, rest) = text.split_once(':').ok_or_else(bad)?;
        let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
        let kind = match (scheme, query) {
            ("stun", None) => Kind::Stun,
            ("turn", None | Some("transport=udp")) => Kind::TurnUdp,
            ("turn", Some("transport=tcp")) => Kind::TurnTcp,
            ("turns", None | Some("transport=tcp")) => Kind::TurnTls,
            _ => return Err(bad()),
        };
        let usual = if kind == Kind::TurnTls { PORT_TLS } else { PORT };
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

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, query) = match self.kind {
            Kind::Stun => ("stun", ""),
            Kind::TurnUdp => ("turn", ""),
            Kind::TurnTcp => ("turn", "?transport=tcp"),
            Kind::TurnTls => ("turns", ""),
        };
        if self.host.contains(':') {
            write!(f, "{scheme}:[{}]:{}{query}", self.host, self.port)
        } else {
            write!(f, "{scheme}:{}:{}{query}", self.host, self.port)
        }
    }
}

/// How this node proves that it may use a relay.
#[derive(Clone)]
pub(crate) enum Credentials {
    /// A name and a password that last.
    LongTerm {
        /// The name.
        username: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// A secret shared with the server, from which names and passwords of one day are made (the
    /// "REST API" convention of coturn).
    Secret(Zeroizing<String>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// The name and the password to use now.
    pub(super) fn now(&self, who: &str, now: SystemTime) -> (String, Zeroizing<String>) {
        match self {
            Self::LongTerm { username, password } => (username.clone(), password.clone()),
            Self::Secret(secret) => {
                let until = now.duration_since(UNIX_EPOCH).unwrap_or_default() + REST_VALID;
                let username = format!("{}:{who}", until.as_secs());
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
                let password = STANDARD.encode(aws_lc_rs::hmac::sign(&key, username.as_bytes()));
                (username, Zeroizing::new(password))
            }
        }
    }
}

/// A server with what it wants to see.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: Address,
    /// `None` only for [`Kind::Stun`].
    pub(crate) credentials: Option<Credentials>,
}

/// A server that can be spoken to now.
pub(super) enum Opened {
    /// By datagrams, to this address.
    Datagrams(SocketAddr),
    /// By a connection.
    Stream { stream: Stream, local: SocketAddr, remote: SocketAddr },
}

impl Server {
    /// Resolves its name and, where it is spoken to over TCP, connects.
    pub(super) async fn open(&self, tls: Option<&Arc<rustls::ClientConfig>>) -> io::Result<Opened> {
        timeout(OPEN_TIME, self.connect(tls)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn connect(&self, tls: Option<&Arc<rustls::ClientConfig>>) -> io::Result<Opened> {
        let Address { kind, host, port } = &self.address;
        let mut found = lookup_host((host.as_str(), *port)).await?;
        if matches!(kind, Kind::Stun | Kind::TurnUdp) {
            return found.next().map(Opened::Datagrams).ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        let all: Vec<SocketAddr> = found.collect();
        let tcp = TcpStream::connect(all.as_slice()).await?;
        tcp.set_nodelay(true)?;
        let (local, remote) = (tcp.local_addr()?, tcp.peer_addr()?);
        let stream: Stream = if *kind == Kind::TurnTls {
            let tls = tls.ok_or(io::ErrorKind::Unsupported)?;
            let name = ServerName::try_from(host.clone()).map_err(|_| io::ErrorKind::InvalidInput)?;
            Box::new(tokio_rustls::TlsConnector::from(tls.clone()).connect(name, tcp).await?)
        } else {
            Box::new(tcp)
        };
        Ok(Opened::Stream { stream, local, remote })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_their_rfcs_write_them() {
        for (text, kind, host, port, shown) in [
            ("stun:a.example", Kind::Stun, "a.example", 3478, "stun:a.example:3478"),
            ("turn:10.0.0.1:99", Kind::TurnUdp, "10.0.0.1", 99, "turn:10.0.0.1:99"),
            ("turn:a?transport=tcp", Kind::TurnTcp, "a", 3478, "turn:a:3478?transport=tcp"),
            ("turns:[fd00::1]", Kind::TurnTls, "fd00::1", 5349, "turns:[fd00::1]:5349"),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!((address.kind, address.host.as_str(), address.port), (kind, host, port), "{text}");
            assert_eq!(address.to_string(), shown);
        }
        for text in ["", "a.example", "http:a", "stun:", "stun:a:0", "stun:a:x", "turn:a?transport=sctp", "stun:a/b", "stun:[::1", "stun:a@b"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    /// The same as `printf %s "$U" | openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn a_shared_secret_gives_a_name_that_ends_and_its_password() {
        let secret = Credentials::Secret(Zeroizing::new("north".to_owned()));
        let (name, password) = secret.now("kern", UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        assert_eq!(name, "1700086400:kern");
        assert_eq!(password.as_str(), "Pd2p7vdyZSyL0Pbn9ha+kg3x8nM=");
        assert!(!format!("{secret:?}").contains("north"));
    }
}
