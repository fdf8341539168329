//! How signals get to the other side before there is a connection: by HTTP to the address it names
//! (the shape of WHIP, RFC 9725), or sealed through a broker that both use.

use super::Broker;
use crate::link::Links;
use crate::link::post::{Unanswered, Whom};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use bytes::Bytes;
use comity_core::id::NodeId;
use comity_core::wire::signal::{FRAGMENT, HEADER, Kind, SDP, SDP_MAX, Signal};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the other side's port may take to answer an offer: longer than the answering side waits
/// for its servers.
const POST_TIME: Duration = Duration::from_secs(3);

/// How long a connection to that port may take where a broker is the other way: as long as the
/// longest way on earth takes. An address of another private network answers never.
const REACH_TIME: Duration = Duration::from_millis(300);

/// Where the signals of one session go.
#[derive(Debug, Clone)]
pub(super) enum Route {
    /// To this port and path; later signals to the resource that its answer named.
    Http { whom: Whom, path: String, resource: Option<String>, broker: Option<Broker> },
    /// Through the broker.
    Broker(Broker),
    /// Nowhere: the other side asks, and hears when it does.
    Asked,
}

/// How a signal was taken.
#[derive(Debug)]
pub(super) enum Signalled {
    /// It was answered.
    Answer { signal: Signal, resource: Option<String> },
    /// It is under way.
    Sent,
    /// It is under way through the broker, since the port could not be reached.
    SentByBroker(Broker),
    /// The other side's own offer goes first.
    Yield,
    /// It was not taken.
    Refused(String),
}

impl Route {
    /// Sends a signal.
    pub(super) async fn send(self, links: &Links, signal: &Signal) -> Signalled {
        match self {
            Self::Asked => Signalled::Sent,
            Self::Broker(broker) => by_broker(links, &broker, signal).await,
            Self::Http { whom, path, resource, broker } => {
                let reach = if broker.is_some() { REACH_TIME } else { POST_TIME };
                let posted =
                    timeout(POST_TIME, by_http(links, (whom, reach), &path, resource.as_deref(), signal)).await;
                match (posted.unwrap_or(Err(Unanswered::Unreachable)), broker) {
                    (Ok(signalled), _) => signalled,
                    (Err(Unanswered::Status(409)), _) if signal.kind == Kind::Offer => Signalled::Yield,
                    // Who answers, and refuses, says so once more by any other way.
                    (Err(Unanswered::Unreachable | Unanswered::WrongKey), Some(broker))
                        if signal.kind == Kind::Offer =>
                    {
                        match by_broker(links, &broker, signal).await {
                            Signalled::Sent => Signalled::SentByBroker(broker),
                            other => other,
                        }
                    }
                    (Err(unanswered), _) => Signalled::Refused(format!("its signaling address: {unanswered}")),
                }
            }
        }
    }
}

async fn by_broker(links: &Links, broker: &Broker, signal: &Signal) -> Signalled {
    let sealed = match signal.seal(links.0.handle.me().keys(), rand::random()) {
        Ok(sealed) => sealed,
        Err(refused) => return Signalled::Refused(refused.to_string()),
    };
    match broker.send((signal.to.peer(), sealed)).await {
        Ok(()) => Signalled::Sent,
        Err(_) => Signalled::Refused("the brokers are gone".to_owned()),
    }
}

async fn by_http(
    links: &Links,
    (whom, reach): (Whom, Duration),
    path: &str,
    resource: Option<&str>,
    signal: &Signal,
) -> Result<Signalled, Unanswered> {
    let (method, path, kind) = match (signal.kind, resource) {
        (Kind::Offer, None) => (Method::POST, path, SDP),
        (Kind::Offer, Some(resource)) => (Method::PATCH, resource, SDP),
        (Kind::Candidates, Some(resource)) => (Method::PATCH, resource, FRAGMENT),
        (Kind::End, Some(resource)) => (Method::DELETE, resource, SDP),
        _ => return Ok(Signalled::Sent),
    };
    let head = headers(signal.to_header(links.0.handle.me().keys()), kind);
    let body = Bytes::from(signal.sdp.clone());
    let tcp = timeout(reach, TcpStream::connect(whom.address)).await;
    let tcp = tcp.map_err(|_| Unanswered::Unreachable)?.map_err(|_| Unanswered::Unreachable)?;
    let (head, body) = links.call_over(tcp, whom, (method, path), head, body, SDP_MAX).await?;
    if body.is_empty() {
        return Ok(Signalled::Sent);
    }
    let Some(answer) = read(links, &head, &body, signal.to) else {
        return Ok(Signalled::Refused("its answer is not signed by its key".to_owned()));
    };
    let resource = head.get(header::LOCATION).and_then(|at| at.to_str().ok()).filter(|at| at.starts_with('/'));
    Ok(Signalled::Answer { signal: answer, resource: resource.map(str::to_owned) })
}

/// The signal of a request or an answer, if this key signed it.
fn read(links: &Links, head: &HeaderMap, body: &[u8], from: NodeId) -> Option<Signal> {
    let (header, sdp) = (head.get(HEADER)?.to_str().ok()?, std::str::from_utf8(body).ok()?);
    let handle = &links.0.handle;
    let read = Signal::from_header(header, sdp, &handle.me().node(), handle.now().wall);
    read.inspect_err(|refused| tracing::debug!(%refused, "an answer to a WebRTC offer"))
        .ok()
        .filter(|signal| signal.from == from)
}

/// What goes with a description over HTTP.
fn headers(signature: String, kind: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(signature) = HeaderValue::try_from(signature) {
        headers.insert(HeaderName::from_static(HEADER), signature);
    }
    headers
}
