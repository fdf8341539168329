//! TLS for the one port: the node's self-signed certificate, the check of the other side by its
//! key alone, and which of two configurations answers a ClientHello.
//! It decides who holds a key, never who is trusted. See "TLS on the one port" in
//! `protocols/identity.md`.

use super::wire::Wire;
use comity_core::id::NodeId;
use comity_core::identity::key::KeyPair;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, PeerMisbehaved,
    ServerConfig, SignatureScheme,
};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_blocking;
use tokio::time::interval;
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, client, server};
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// The application protocol of links: both certificates are checked by key alone.
pub(crate) const ALPN_LINK: &[u8] = b"comity/1";

/// RFC 8410: the bytes before the seed in the PKCS#8 form of an Ed25519 key.
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The TLS of one node: cheap to clone, the same for every connection.
#[derive(Clone)]
pub(crate) struct Tls {
    link: Arc<ServerConfig>,
    web: Arc<ServerConfig>,
    connector: TlsConnector,
    origin: Option<Arc<Reloaded>>,
}

/// The certificate of the organisation, for browsers and other HTTPS clients (`tls.cert`, `tls.key`).
#[derive(Debug, Clone)]
pub(crate) struct OriginCertificate {
    /// The chain, PEM.
    pub(crate) cert: PathBuf,
    /// Its private key, PEM.
    pub(crate) key: PathBuf,
}

/// Why there can be no TLS: always our own configuration, found at start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadTls {
    /// The node's own certificate could not be made.
    #[error("the node certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// `tls.cert` or `tls.key` cannot be read as PEM.
    #[error("{path} cannot be read as PEM: {cause}")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What was found instead.
        cause: rustls::pki_types::pem::Error,
    },
    /// `tls.key` does not belong to `tls.cert`, or is of a kind that TLS cannot use.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] Error),
}

/// A TLS connection that somebody opened to this node.
pub(crate) struct Accepted {
    /// The connection.
    pub(crate) stream: server::TlsStream<Wire>,
    /// The key that the other side proved; always there on links.
    pub(crate) key: Option<NodeId>,
}

impl Tls {
    /// The TLS of the node with this key; browsers see `origin`, or the node's own certificate.
    pub(crate) fn new(key: &KeyPair, origin: Option<&OriginCertificate>) -> Result<Self, BadTls> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let own = Arc::new(SingleCertAndKey::from(own_certificate(key)?));
        let origin = origin.map(|origin| Reloaded::read(origin.clone(), &provider)).transpose()?.map(Arc::new);
        let web_certificate: Arc<dyn ResolvesServerCert> = match &origin {
            Some(origin) => Arc::clone(origin) as _,
            None => Arc::clone(&own) as _,
        };

        let mut link = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(ByKey))
            .with_cert_resolver(Arc::clone(&own) as _);
        link.alpn_protocols = vec![ALPN_LINK.to_vec()];
        link.send_tls13_tickets = 0; // a link proves its key anew every time

        let any = AnyCertificate(provider.signature_verification_algorithms);
        let mut web = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(any))
            .with_cert_resolver(web_certificate);
        web.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        web.send_tls13_tickets = 0; // no session outlives its connection, so none is kept

        let mut connect = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ByKey))
            .with_client_cert_resolver(own);
        connect.alpn_protocols = vec![ALPN_LINK.to_vec()];
        connect.resumption = rustls::client::Resumption::disabled();
        let connector = TlsConnector::from(Arc::new(connect));
        Ok(Self { link: Arc::new(link), web: Arc::new(web), connector, origin })
    }

    /// Looks every few seconds whether the organisation's certificate has changed, and shows the new one from then on,
    /// until the node stops. One that cannot be read leaves the old one in place, and is told of.
    pub(crate) async fn keep_fresh(self) {
        let mut looks = interval(LOOK_EVERY);
        while self.origin.is_some() {
            looks.tick().await;
            let tls = self.clone();
            // Err: it panicked, and the log says where.
            let _ = spawn_blocking(move || tls.look()).await;
        }
    }

    /// Looks now whether the organisation's certificate has changed.
    pub(crate) fn look(&self) {
        if let Some(origin) = &self.origin {
            origin.look();
        }
    }

    /// Answers a ClientHello: mutual and by key alone when it asks for a link, else as any HTTPS server.
    pub(crate) async fn accept(&self, wire: Wire) -> io::Result<Accepted> {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), wire).await?;
        let wants_link = start.client_hello().alpn().is_some_and(|mut names| names.any(|name| name == ALPN_LINK));
        let config = if wants_link { &self.link } else { &self.web };
        let stream = start.into_stream(Arc::clone(config)).await?;
        let key = stream.get_ref().1.peer_certificates().and_then(|chain| key_of(chain.first()?));
        Ok(Accepted { stream, key })
    }

    /// Opens a link's TLS; the other side has proved the key that is returned.
    pub(crate) async fn connect<S>(&self, wire: S, address: IpAddr) -> io::Result<(client::TlsStream<S>, NodeId)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.connector.connect(ServerName::IpAddress(address.into()), wire).await?;
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(ALPN_LINK) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, Error::NoApplicationProtocol));
        }
        let key = session.peer_certificates().and_then(|chain| key_of(chain.first()?));
        let key = key.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, Error::NoCertificatesPresented))?;
        Ok((stream, key))
    }
}

/// Whether a failed handshake leaves open that the other side speaks no TLS at all.
pub(crate) fn speaks_no_tls(failure: &io::Error) -> bool {
    let Some(cause) = failure.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return true; // it hung up on the ClientHello
    };
    matches!(cause, Error::InvalidMessage(_))
}

/// The Ed25519 key of a certificate; `None` when it has another kind of key, or is no certificate.
fn key_of(certificate: &CertificateDer<'_>) -> Option<NodeId> {
    let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
    let info = parsed.public_key();
    let bytes: [u8; 32] = info.subject_public_key.data.as_ref().try_into().ok()?;
    let ours = rest.is_empty() && info.algorithm.algorithm == OID_SIG_ED25519;
    ours.then(|| NodeId::from_bytes(bytes))
}

/// Checks a TLS 1.3 signature strictly: small-order keys, which anybody could sign for, are refused.
fn check_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    if signed.scheme != SignatureScheme::ED25519 {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let node = key_of(certificate).ok_or(CertificateError::BadEncoding)?;
    if signs(node, message, signed.signature()) {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

fn signs(node: NodeId, message: &[u8], signature: &[u8]) -> bool {
    let key = VerifyingKey::from_bytes(node.as_bytes());
    let signature = Signature::from_slice(signature);
    matches!((key, signature), (Ok(key), Ok(signature)) if key.verify_strict(message, &signature).is_ok())
}

/// Takes any certificate with an Ed25519 key: names and dates say nothing, the signature all.
#[derive(Debug)]
struct ByKey;

impl ServerCertVerifier for ByKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        key_of(end_entity).map(|_| ServerCertVerified::assertion()).ok_or(CertificateError::BadEncoding.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for ByKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        key_of(end_entity).map(|_| ClientCertVerified::assertion()).ok_or(CertificateError::BadEncoding.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Asks HTTPS clients for a certificate and requires none; one with a node key proves that key,
/// any other proves nothing that this node knows, and does no harm.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match key_of(certificate) {
            Some(_) => check_signature(message, certificate, signed),
            None => rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match key_of(certificate) {
            Some(_) => check_signature(message, certificate, signed),
            None => rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// The node's certificate: its key, signed by itself; the rest is there because X.509 wants it.
pub(super) fn own_certificate(key: &KeyPair) -> Result<CertifiedKey, BadTls> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, key.node().to_string());
    let certificate = params.self_signed(&CertificateKey::new(key))?;

    let mut pkcs8 = Zeroizing::new(PKCS8_PREFIX.to_vec());
    pkcs8.extend_from_slice(key.seed());
    let signer = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signer))
}

/// How often is looked whether the organisation's certificate has changed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The organisation's certificate, as it was read last.
#[derive(Debug)]
struct Reloaded {
    files: OriginCertificate,
    // A lock and not a message: TLS asks in the middle of a handshake.
    current: RwLock<Arc<CertifiedKey>>,
    /// What the files were when they were looked at last.
    seen: Mutex<Stamps>,
}

/// When each of the two files was changed, and how long it is.
type Stamps = [Option<(SystemTime, u64)>; 2];

impl Reloaded {
    fn read(files: OriginCertificate, provider: &CryptoProvider) -> Result<Self, BadTls> {
        let seen = Mutex::new(stamps(&files));
        let current = RwLock::new(Arc::new(read_origin(&files, provider)?));
        Ok(Self { files, current, seen })
    }

    fn look(&self) {
        let now = stamps(&self.files);
        let before = std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), now);
        if now == before || now.contains(&None) {
            return;
        }
        match read_origin(&self.files, &aws_lc_rs::default_provider()) {
            Ok(certified) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                tracing::info!("the certificate of tls.cert has changed, and is shown from now on");
            }
            Err(bad) => {
                tracing::error!(%bad, "tls.cert or tls.key has changed and cannot be used: the old certificate stays");
            }
        }
    }
}

impl ResolvesServerCert for Reloaded {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn stamps(files: &OriginCertificate) -> Stamps {
    let stamp = |path: &PathBuf| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    [stamp(&files.cert), stamp(&files.key)]
}

fn read_origin(origin: &OriginCertificate, provider: &CryptoProvider) -> Result<CertifiedKey, BadTls> {
    let bad_cert = |cause| BadTls::Pem { path: origin.cert.clone(), cause };
    let chain = CertificateDer::pem_file_iter(&origin.cert).map_err(bad_cert)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(bad_cert)?;
    let key =
        PrivateKeyDer::from_pem_file(&origin.key).map_err(|cause| BadTls::Pem { path: origin.key.clone(), cause })?;
    Ok(CertifiedKey::from_der(chain, key, provider)?)
}

/// The node key as `rcgen` wants to see it.
struct CertificateKey {
    secret: SigningKey,
    public: [u8; 32],
}

impl CertificateKey {
    fn new(key: &KeyPair) -> Self {
        Self { secret: SigningKey::from_bytes(key.seed()), public: *key.node().as_bytes() }
    }
}

impl rcgen::PublicKeyData for CertificateKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for CertificateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(ed25519_dalek::Signer::sign(&self.secret, message).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_certificate_carries_the_node_key() {
        let key = KeyPair::from_seed([5; 32]);
        let certified = own_certificate(&key).expect("a certificate");
        assert_eq!(key_of(&certified.cert[0]), Some(key.node()));
        assert_eq!(key_of(&CertificateDer::from(&certified.cert[0][1..])), None);
        certified.keys_match().expect("the key of the certificate");
    }

    #[test]
    fn a_key_that_anybody_can_sign_for_proves_nothing() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1; // R neutral, S zero: right for every message under the neutral key
        assert!(!signs(NodeId::from_bytes(neutral), b"anything", &signature));
    }
}
