//! The one port: TLS beside HTTP, the limits, slow clients, and the end.

use super::*;
use crate::link::listen::Seats;
use serde_json::{Value, json};
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

fn hasty() -> Limits {
    Limits { head: Duration::from_millis(300), body: Duration::from_millis(300), ..Limits::default() }
}

async fn connect(side: &Side) -> TcpStream {
    TcpStream::connect(side.address).await.expect("somebody listens")
}

/// Sends text and reads until the other side hangs up.
async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.expect("an open connection");
    ending(stream).await
}

async fn ending(mut stream: impl AsyncRead + Unpin) -> String {
    let mut answer = Vec::new();
    // Err: it was reset, which is an ending too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end in time");
    String::from_utf8_lossy(&answer).into_owned()
}

fn get_who() -> &'static str {
    "GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
}

fn body_of(answer: &str) -> Value {
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    serde_json::from_str(body).expect("JSON")
}

/// Takes whatever certificate the server shows, and shows one of its own if it has one.
fn browser(alpn: &[u8], own: Option<rustls::sign::CertifiedKey>) -> TlsConnector {
    #[derive(Debug)]
    struct Credulous;
    impl rustls::client::danger::ServerCertVerifier for Credulous {
        fn verify_server_cert(
            &self,
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &[rustls::pki_types::CertificateDer<'_>],
            _: &rustls::pki_types::ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            vec![rustls::SignatureScheme::ED25519, rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous));
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(own))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    TlsConnector::from(Arc::new(config))
}

type Secure = tokio_rustls::client::TlsStream<TcpStream>;

async fn browse(side: &Side, alpn: &[u8]) -> std::io::Result<Secure> {
    browse_as(side, alpn, None).await
}

async fn browse_as(side: &Side, alpn: &[u8], own: Option<rustls::sign::CertifiedKey>) -> std::io::Result<Secure> {
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    browser(alpn, own).connect(name, connect(side).await).await
}

/// A certificate of the usual kind for the web, with its key, in PEM.
fn web_certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["node.example".to_owned()]).expect("a name");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

#[tokio::test]
async fn plain_http_and_tls_share_the_port() {
    let side = Side::start(1).await;
    let plain = body_of(&talk(connect(&side).await, get_who()).await);
    assert_eq!(plain, json!({ "key": null, "tls": false, "ip": "127.0.0.1" }));
    let secure = browse(&side, b"http/1.1").await.expect("a handshake without a client certificate");
    assert_eq!(body_of(&talk(secure, get_who()).await), json!({ "key": null, "tls": true, "ip": "127.0.0.1" }));
    side.end().await;
}

#[tokio::test]
async fn http_2_is_spoken_over_tls() {
    let side = Side::start(1).await;
    let stream = browse(&side, b"h2").await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.expect("HTTP/2");
    let speaking = tokio::spawn(connection);
    let request = hyper::Request::get("https://localhost/who").body(String::new()).expect("a request");
    assert_eq!(sender.send_request(request).await.expect("an answer").status(), 200);
    drop(sender);
    speaking.await.expect("no panic").expect("a clean end");
    side.end().await;
}

#[tokio::test]
async fn a_client_certificate_with_a_node_key_proves_it_and_another_does_no_harm() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let side = Side::start(1).await;
    let node = tls::own_certificate(&key(2)).expect("a certificate");
    let proven = browse_as(&side, b"http/1.1", Some(node)).await.expect("a handshake");
    assert_eq!(body_of(&talk(proven, get_who()).await)["key"], key(2).node().to_string());

    let (certificate, secret) = web_certificate();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
    let secret = PrivateKeyDer::from_pem_slice(secret.as_bytes()).expect("PEM");
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let other = rustls::sign::CertifiedKey::from_der(vec![certificate], secret, &provider).expect("a pair");
    let unproven = browse_as(&side, b"http/1.1", Some(other)).await.expect("a handshake");
    assert_eq!(body_of(&talk(unproven, get_who()).await)["key"], Value::Null);
    side.end().await;
}

#[tokio::test]
async fn browsers_see_the_origins_certificate_and_links_the_nodes() {
    let folder = crate::scratch::Scratch::new();
    let origin = OriginCertificate { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    assert!(matches!(Tls::new(&key(1), Some(&origin)), Err(tls::BadTls::Pem { .. })));
    let (certificate, secret) = web_certificate();
    std::fs::write(&origin.cert, &certificate).expect("a file");
    std::fs::write(&origin.key, &secret).expect("a file");
    let tls = Tls::new(&key(1), Some(&origin)).expect("TLS of a good pair");
    let side = Side::over(1, Limits::default(), tls.clone()).await;
    let pem = <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice;
    let is_shown = async |certificate: &str| {
        tls.look();
        let stream = browse(&side, b"http/1.1").await.expect("a handshake");
        let shown = stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone();
        assert_eq!(shown, pem(certificate.as_bytes()).expect("PEM"));
    };
    is_shown(&certificate).await;
    // A new one is shown as soon as both halves are there; one that cannot be read is not.
    let (renewed, secret) = web_certificate();
    std::fs::write(&origin.cert, &renewed).expect("a file");
    is_shown(&certificate).await;
    std::fs::write(&origin.key, &secret).expect("a file");
    is_shown(&renewed).await;
    std::fs::write(&origin.cert, "nothing").expect("a file");
    is_shown(&renewed).await;
    let caller = Side::start(2).await;
    let whom = Whom { address: side.address, key: Some(side.key.node()) };
    assert!(caller.links.fetch(whom, "/who").await.is_ok());
    side.end().await;
    caller.end().await;
}

#[tokio::test]
async fn a_link_needs_a_client_certificate() {
    let side = Side::start(1).await;
    let ask = "GET /dashflow/link HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
               sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let ask_once = ask.replace("connection: upgrade", "connection: upgrade, close");
    assert!(talk(connect(&side).await, &ask_once).await.starts_with("HTTP/1.1 401"));
    let Ok(mut refused) = browse(&side, b"comity/1").await else { return side.end().await };
    // TLS 1.3: the client learns after its own last word that its empty certificate was refused.
    assert!(refused.read(&mut [0; 1]).await.is_err());
    side.end().await;
}

#[tokio::test]
async fn slow_clients_are_cut() {
    let side = Side::with(1, hasty()).await;
    for opening in ["", "G", "PRI * HT", "GET /who HTTP/1.1\r\nhost:", "\u{16}\u{3}\u{1}"] {
        assert_eq!(talk(connect(&side).await, opening).await, "", "{opening:?}");
    }
    assert_eq!(side.refused(Cause::Slow), 5);
    let slow_body = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf";
    let answer = talk(connect(&side).await, slow_body).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer:?}");
    side.end().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_working_one_is_not() {
    let side = Side::with(1, hasty()).await;
    let mut stream = connect(&side).await;
    for _ in 0..4 {
        let ask = "GET /who HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.expect("an open connection");
        let count = stream.read(&mut [0; 4096]).await.expect("an answer");
        assert!(count > 0);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    ending(stream).await;
    side.end().await;
}

#[tokio::test]
async fn heads_and_bodies_have_a_largest_size() {
    let side = Side::start(1).await;
    let head = format!("GET /who HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(17 * 1024));
    assert!(talk(connect(&side).await, &head).await.starts_with("HTTP/1.1 431"));
    let body = |length: usize| {
        let text = "z".repeat(length);
        format!("POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{text}")
    };
    assert!(talk(connect(&side).await, &body(1024 * 1024)).await.starts_with("HTTP/1.1 200"));
    assert!(talk(connect(&side).await, &body(1024 * 1024 + 1)).await.starts_with("HTTP/1.1 413"));
    side.end().await;
}

#[tokio::test]
async fn a_full_port_turns_newcomers_away_until_somebody_leaves() {
    let side = Side::with(1, Limits { connections: 2, ..Limits::default() }).await;
    let (first, second) = (connect(&side).await, connect(&side).await);
    assert_eq!(ending(connect(&side).await).await, "");
    assert_eq!(side.refused(Cause::Full), 1);
    drop(first);
    let mut admitted = false;
    for _ in 0..100 {
        let mut again = connect(&side).await;
        let asked = again.write_all(get_who().as_bytes()).await;
        admitted = asked.is_ok() && !ending(again).await.is_empty();
        if admitted {
            break;
        }
    }
    assert!(admitted);
    drop(second);
    side.end().await;
}

#[test]
fn one_address_cannot_take_all_seats_but_loopback_may() {
    let seats = Seats::new(Limits { connections: 100, per_address: 2, ..Limits::default() });
    let (peer, mapped): (IpAddr, IpAddr) =
        ("10.0.0.1".parse().expect("an address"), "::ffff:10.0.0.1".parse().expect("an address"));
    let held = (seats.take(peer), seats.take(mapped));
    assert!(matches!(seats.take(peer), Err(Cause::FullAddress)));
    assert!(seats.take("10.0.0.2".parse().expect("an address")).is_ok());
    let own: Vec<_> = (0..50).map(|_| seats.take("127.0.0.1".parse().expect("an address"))).collect();
    assert!(own.iter().all(Result::is_ok));
    drop(held);
    assert!(seats.take(peer).is_ok());
}

#[tokio::test]
async fn a_stopped_port_lets_go_of_idle_connections() {
    let side = Side::start(1).await;
    let mut idle = connect(&side).await;
    idle.write_all(b"GET /who HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("an open connection");
    assert!(idle.read(&mut [0; 4096]).await.expect("an answer") > 0);
    let silent = connect(&side).await;
    side.end().await;
    assert_eq!(ending(idle).await, "");
    assert_eq!(ending(silent).await, "");
}
