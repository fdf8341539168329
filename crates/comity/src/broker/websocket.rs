//! The embedded broker's door for WebSockets: it takes connections and carries their bytes to the broker's
//! own port. The crate's door is not used: it waits for one upgrade after the other, so a connection that
//! says nothing shuts out all others, and it takes pages of any origin.

use futures_util::{SinkExt, StreamExt};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Where the broker is on this door.
const PATH: &str = "/mqtt";

/// Most connections at once.
const CONNECTIONS_MAX: usize = 256;

/// How long an upgrade may take.
const UPGRADE_TIME: Duration = Duration::from_secs(5);

/// Largest WebSocket message, bytes; it may hold several packets.
const MESSAGE_MAX: usize = 256 * 1024;

/// How much is carried at once towards a client, bytes.
const CARRIED_MAX: usize = 16 * 1024;

/// The pause after a connection could not be accepted: there are too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Carries between who comes here and the broker, until it is dropped.
pub(super) async fn serve(listener: TcpListener, broker: SocketAddr) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut carried = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let Ok(place) = room.clone().try_acquire_owned() else { continue };
                    carried.spawn(async move {
                        let _place = place;
                        if let Err(why) = carry(stream, broker).await {
                            tracing::debug!(%from, %why, "a WebSocket of the MQTT broker ended");
                        }
                    });
                }
                Err(why) => {
                    tracing::warn!(%why, "the MQTT broker takes no WebSocket now");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = carried.join_next() => {}
        }
    }
}

async fn carry(stream: TcpStream, broker: SocketAddr) -> io::Result<()> {
    let limits = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
    let upgrade = accept_hdr_async_with_config(stream, admit, Some(limits));
    let socket = timeout(UPGRADE_TIME, upgrade).await?.map_err(io::Error::other)?;
    let mut wire = TcpStream::connect(broker).await?;
    wire.set_nodelay(true)?;
    let (mut sink, mut source) = socket.split();
    let (mut read, mut write) = wire.split();
    let inward = async {
        while let Some(message) = source.next().await {
            match message.map_err(io::Error::other)? {
                Message::Binary(bytes) => write.write_all(&bytes).await?,
                Message::Ping(_) | Message::Pong(_) => {}
                // MQTT is binary; and Close is the end.
                _ => break,
            }
        }
        Ok(())
    };
    let outward = async {
        let mut bytes = vec![0; CARRIED_MAX];
        loop {
            match read.read(&mut bytes).await? {
                0 => return Ok(()),
                length => {
                    let message = Message::Binary(bytes[..length].to_vec().into());
                    sink.send(message).await.map_err(io::Error::other)?;
                }
            }
        }
    };
    tokio::select! {
        ended = inward => ended,
        ended = outward => ended,
    }
}

#[expect(clippy::result_large_err, reason = "the library wants it so")]
fn admit(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let refuse = |status| {
        let mut refused = ErrorResponse::new(None);
        *refused.status_mut() = status;
        refused
    };
    if request.uri().path() != PATH {
        return Err(refuse(StatusCode::NOT_FOUND));
    }
    if !is_welcome(request.headers()) {
        return Err(refuse(StatusCode::FORBIDDEN));
    }
    let asked = request.headers().get("Sec-WebSocket-Protocol").and_then(|names| names.to_str().ok());
    if asked.is_some_and(|names| names.split(',').any(|name| name.trim() == "mqtt")) {
        response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    }
    Ok(response)
}

/// Whether who asks is no page, or one of this machine or of the address that it asks at. A host name in common is not
/// enough: whoever owns a name can let it lead here.
fn is_welcome(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get("Origin") else { return true };
    let origin = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
    let Some(origin) = origin.as_ref().and_then(Uri::host) else { return false };
    let asked = headers.get("Host").and_then(|host| host.to_str().ok()).and_then(|host| host.parse::<Uri>().ok());
    match address(origin) {
        None => origin == "localhost",
        Some(ip) => ip.is_loopback() || asked.as_ref().and_then(Uri::host).and_then(address) == Some(ip),
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

/// How this process reaches its own broker.
pub(super) fn near(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::super::Broker;
    use super::*;
    use tokio_tungstenite::client_async;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// The first bytes that the broker says by a WebSocket to this page, or the status with which it is refused.
    async fn welcomed(door: SocketAddr, path: &str, origin: Option<&str>) -> Result<Vec<u8>, u16> {
        let stream = TcpStream::connect(door).await.expect("a connection");
        let mut request = format!("ws://{door}{path}").into_client_request().expect("a request");
        if let Some(origin) = origin {
            request.headers_mut().insert("Origin", origin.parse().expect("a header"));
        }
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
        let (mut socket, response) = match timeout(PATIENCE, client_async(request, stream)).await.expect("in time") {
            Ok(opened) => opened,
            Err(tokio_tungstenite::tungstenite::Error::Http(refused)) => return Err(refused.status().as_u16()),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(response.headers().get("Sec-WebSocket-Protocol").expect("agreed"), "mqtt");
        let hello = b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02ab".to_vec();
        socket.send(Message::Binary(hello.into())).await.expect("a packet");
        let answer = timeout(PATIENCE, socket.next()).await.expect("in time").expect("an answer").expect("a message");
        Ok(answer.into_data().to_vec())
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_holds_up_nobody_and_foreign_pages_are_refused() {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let broker = Broker::start(here, Some(here)).await.expect("a broker");
        let door = broker.websocket().expect("a door");
        let _silent = TcpStream::connect(door).await.expect("a connection");
        for origin in [None, Some("http://localhost:8000"), Some("https://127.0.0.1"), Some("http://[::1]:80")] {
            let answer = welcomed(door, PATH, origin).await.expect("welcome");
            assert_eq!((answer[0], answer[3]), (0x20, 0), "{origin:?}");
        }
        for origin in ["https://example.org", "null", "http://192.168.1.5", "http://localhost.example.org"] {
            assert_eq!(welcomed(door, PATH, Some(origin)).await, Err(403), "{origin}");
        }
        assert_eq!(welcomed(door, "/other", None).await, Err(404));
        let taken = Broker::start(here, Some(door)).await.err().expect("the port is taken");
        assert!(taken.to_string().contains(&door.to_string()), "{taken}");
        broker.stop().await;
    }

    #[test]
    fn a_page_may_ask_at_the_address_it_came_from_but_not_by_a_name() {
        let welcome = |origin: &str, host: &str| {
            let headers = [("origin", origin), ("host", host)]
                .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_str(value).expect("a value")));
            is_welcome(&HeaderMap::from_iter(headers))
        };
        assert!(welcome("http://192.168.1.5:8080", "192.168.1.5:9001"));
        assert!(!welcome("http://192.168.1.6", "192.168.1.5:9001"));
        assert!(!welcome("http://rebound.example", "rebound.example:9001"));
    }
}
