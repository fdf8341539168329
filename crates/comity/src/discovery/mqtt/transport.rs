//! The bytes between this node and a broker: TCP, TLS or WebSocket. What they mean is the business of
//! [`super::connection`].

use super::connection::Loss;
use crate::config::{BrokerUrl, Mqtt, Transport};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as Failure, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use zeroize::Zeroizing;

/// How long all addresses of a broker together may take to answer; a part of what its welcome may.
const REACH_TIME: Duration = Duration::from_secs(6);

/// Most addresses of one broker that are tried.
const ADDRESSES_MAX: usize = 4;

/// Largest WebSocket message, bytes. It may hold many packets.
const MESSAGE_MAX: usize = 1024 * 1024;

/// A stream of bytes, encrypted or not.
trait Wire: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Wire for T {}

/// An open way to a broker.
pub(super) struct Pipe {
    form: Form,
    /// The broker's address.
    pub(super) remote: IpAddr,
    /// The address of this machine that the broker is reached from.
    pub(super) local: IpAddr,
}

enum Form {
    Stream(Box<dyn Wire>),
    WebSocket(Box<WebSocketStream<Box<dyn Wire>>>),
}

/// Why there is no way to a broker, though it may run.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// A file of the configuration cannot be read.
    #[error("{file} cannot be read as PEM: {cause}")]
    File { file: PathBuf, cause: rustls::pki_types::pem::Error },
    /// Nobody is trusted.
    #[error("there is no authority to check certificates by: set mqtt.ca_file")]
    NoAuthority,
    /// TLS does not take what was configured as this node's certificate and its key.
    #[error("{0}: check mqtt.cert_file and mqtt.key_file")]
    Certificate(rustls::Error),
    /// What answers at the URL is no WebSocket of MQTT.
    #[error("it answers with HTTP status {0}: check the path of its URL, and that it takes WebSockets there")]
    Upgrade(u16),
}

/// Opens a way to the broker.
pub(super) async fn open(url: &BrokerUrl, config: &Mqtt) -> Result<Pipe, Loss> {
    let stream = reach(&url.host, url.port).await?;
    stream.set_nodelay(true)?;
    let (remote, local) = (stream.peer_addr()?.ip(), stream.local_addr()?.ip());
    let wire: Box<dyn Wire> = if url.transport.is_tls() {
        let name = ServerName::try_from(url.host.clone()).map_err(io::Error::other)?;
        Box::new(TlsConnector::from(tls(config)?).connect(name, stream).await?)
    } else {
        Box::new(stream)
    };
    let form = match url.transport {
        Transport::Tcp | Transport::Tls => Form::Stream(wire),
        Transport::WebSocket | Transport::WebSocketTls => Form::WebSocket(Box::new(upgrade(url, wire).await?)),
    };
    Ok(Pipe { form, remote, local })
}

/// Tries each address of a host in turn: one that swallows what it is sent leaves time for the others.
async fn reach(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.take(ADDRESSES_MAX).collect();
    let share = REACH_TIME / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(why)) => failure = why,
            Err(late) => failure = late.into(),
        }
    }
    Err(failure)
}

async fn upgrade(url: &BrokerUrl, wire: Box<dyn Wire>) -> Result<WebSocketStream<Box<dyn Wire>>, Loss> {
    let whole = Zeroizing::new(format!("{url}{}", *url.query));
    let mut request = whole.as_str().into_client_request().map_err(io::Error::other)?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    let limits = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
    match client_async_with_config(request, wire, Some(limits)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Failure::Http(answer)) => Err(Unusable::Upgrade(answer.status().as_u16()).into()),
        Err(Failure::Io(failure)) => Err(failure.into()),
        Err(failure) => Err(io::Error::other(failure).into()),
    }
}

impl Pipe {
    /// Reads what comes next; safe to give up at any time.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<()> {
        match &mut self.form {
            Form::Stream(wire) => match wire.read_buf(buffer).await? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(()),
            },
            Form::WebSocket(socket) => loop {
                match socket.next().await {
                    Some(Ok(Message::Binary(bytes))) => {
                        buffer.extend_from_slice(&bytes);
                        return Ok(());
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(_)) | None => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Some(Err(failure)) => return Err(io::Error::other(failure)),
                }
            },
        }
    }

    /// Writes it all.
    pub(super) async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        match &mut self.form {
            Form::Stream(wire) => {
                wire.write_all(&bytes).await?;
                wire.flush().await
            }
            Form::WebSocket(socket) => socket.send(Message::Binary(bytes)).await.map_err(io::Error::other),
        }
    }

    /// Says that no more comes.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        match &mut self.form {
            Form::Stream(wire) => wire.shutdown().await,
            Form::WebSocket(socket) => socket.close().await.map_err(io::Error::other),
        }
    }
}

/// Made anew for every connection: certificates may have been renewed.
fn tls(config: &Mqtt) -> Result<Arc<ClientConfig>, Loss> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let builder = if config.verify {
        let roots = Arc::new(roots(config.ca.as_deref())?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider);
        builder.dangerous().with_custom_certificate_verifier(verifier.build().map_err(io::Error::other)?)
    } else {
        let any = AnyCertificate(provider.signature_verification_algorithms);
        builder.dangerous().with_custom_certificate_verifier(Arc::new(any))
    };
    let config = match &config.certificate {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|cause| unreadable(&files.key, cause))?;
            builder.with_client_auth_cert(certificates(&files.cert)?, key).map_err(Unusable::Certificate)?
        }
    };
    Ok(Arc::new(config))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, Loss> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(io::Error::other)?;
            }
        }
        None => {
            // What cannot be used of a system's store is no reason to refuse the rest.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(Unusable::NoAuthority.into());
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let chain = CertificateDer::pem_file_iter(file).map_err(|cause| unreadable(file, cause))?;
    chain.collect::<Result<_, _>>().map_err(|cause| unreadable(file, cause))
}

fn unreadable(file: &Path, cause: rustls::pki_types::pem::Error) -> Unusable {
    Unusable::File { file: file.to_owned(), cause }
}

/// Takes any certificate: only for brokers on this machine, which the configuration sees to.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
