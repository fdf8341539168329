//! The STUN and TURN servers that a connection asks for its addresses (RFC 8489, RFC 8656): their
//! names are resolved, and connections to them made.

use super::relay::Stream;
use crate::config::{IceKind, IceServer, RelayCredentials};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// How long a name may take to be resolved, and a connection over TCP and TLS to come up.
const OPEN_TIME: Duration = Duration::from_secs(3);

/// How long the password made from a shared secret is valid: longer than a connection takes to be
/// made; an allocation is refreshed by the credentials it was made with.
const REST_VALID: Duration = Duration::from_secs(24 * 3600);

/// How the certificates of `turns:` servers are checked: by the authorities of this system. `None`
/// when it names none.
pub(crate) fn relay_tls() -> Option<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    // What cannot be used of a system's store is no reason to refuse the rest.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return None;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// The name and the password to use now.
pub(super) fn credentials(of: &RelayCredentials, now: SystemTime) -> (String, Zeroizing<String>) {
    lasting(of, now, REST_VALID)
}

/// The same; what is made from a shared secret is good for so long.
fn lasting(of: &RelayCredentials, now: SystemTime, valid: Duration) -> (String, Zeroizing<String>) {
    match of {
        RelayCredentials::LongTerm { username, password } => (username.clone(), password.clone()),
        RelayCredentials::Secret { username, secret } => {
            let until = now.duration_since(UNIX_EPOCH).unwrap_or_default() + valid;
            let username = format!("{}:{username}", until.as_secs());
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
            let password = STANDARD.encode(aws_lc_rs::hmac::sign(&key, username.as_bytes()));
            (username, Zeroizing::new(password))
        }
    }
}

/// A server with what it wants to see.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: IceServer,
    /// `None` only for [`IceKind::Stun`].
    pub(crate) credentials: Option<RelayCredentials>,
}

/// A server that can be spoken to now.
pub(super) enum Opened {
    /// By datagrams, to one of these addresses.
    Datagrams(Vec<SocketAddr>),
    /// By a connection.
    Stream { stream: Stream, local: SocketAddr, remote: SocketAddr },
}

impl Server {
    /// The name and the password for somebody else who is to use it for so long. A shared secret is never given away.
    pub(crate) fn lend(&self, now: SystemTime, valid: Duration) -> Option<(String, Zeroizing<String>)> {
        self.credentials.as_ref().map(|of| lasting(of, now, valid))
    }

    /// Resolves its name and, where it is spoken to over TCP, connects.
    pub(super) async fn open(&self, tls: Option<&Arc<rustls::ClientConfig>>) -> io::Result<Opened> {
        timeout(OPEN_TIME, self.connect(tls)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn connect(&self, tls: Option<&Arc<rustls::ClientConfig>>) -> io::Result<Opened> {
        let IceServer { kind, host, port } = &self.address;
        let all: Vec<SocketAddr> = lookup_host((host.as_str(), *port)).await?.collect();
        if kind.is_by_datagrams() {
            return Ok(Opened::Datagrams(all));
        }
        let tcp = TcpStream::connect(all.as_slice()).await?;
        tcp.set_nodelay(true)?;
        let (local, remote) = (tcp.local_addr()?, tcp.peer_addr()?);
        let stream: Stream = if *kind == IceKind::TurnTls {
            let tls = tls.ok_or_else(|| io::Error::other("this system names no authority to check certificates by"))?;
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

    /// The same as `printf %s "$U" | openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn a_shared_secret_gives_a_name_that_ends_and_its_password() {
        let secret =
            RelayCredentials::Secret { username: "kern".to_owned(), secret: Zeroizing::new("north".to_owned()) };
        let (name, password) = credentials(&secret, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        assert_eq!(name, "1700086400:kern");
        assert_eq!(password.as_str(), "Pd2p7vdyZSyL0Pbn9ha+kg3x8nM=");
        assert!(!format!("{secret:?}").contains("north"));
    }
}
