//! What every HTTP door asks of a request before anything else looks at it: that no web page of
//! another origin sent it, that it was meant for this node, and who is really calling when a proxy
//! stands between. See "Doors" and "Trust" in `protocols/identity.md`.

use super::problem::{Code, Problem};
use crate::link::{Caller, SIGNALING};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, FORWARDED, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use comity_core::id::NodeId;
use comity_core::wire::signal::SDP;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The name that every machine has for itself.
const LOCALHOST: &str = "localhost";

/// What a browser says of where the page is that asks (W3C Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Older spelling of `Forwarded`, addresses only.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Where somebody calls from when a proxy hides it: an address that nobody has and that counts as
/// public, so that only known peers are admitted from it.
const HIDDEN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Most hops of proxies that are followed; further ones are not believed.
const HOPS_MAX: usize = 8;

/// Answers are for the one who asked, as what they say they are: a page of another origin cannot
/// embed them, and no browser guesses another type.
const ANSWER_HEADERS: [(&str, &str); 2] =
    [("cross-origin-resource-policy", "same-origin"), ("x-content-type-options", "nosniff")];

/// The router behind the guards; they come before its routes and fallbacks.
pub(crate) fn guard(router: Router, names: Names) -> Router {
    router.layer(middleware::from_fn_with_state(Arc::new(names), pass))
}

/// Under which names a door answers, and which web pages may talk to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// Host names of this node, lower case, besides `localhost` and every IP literal.
    pub(crate) hosts: Vec<String>,
    /// Origins of other web pages that may talk to it, as browsers write them, lower case.
    pub(crate) origins: Vec<String>,
    /// Whether both come from the configuration, so that it helps to list more there.
    pub(crate) configured: bool,
}

impl Names {
    /// The names of a door on loopback: `localhost` and addresses, and no other web page.
    pub(crate) fn loopback() -> Self {
        Self::default()
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let host = self.host(uri, headers)?;
        self.origin(headers, &host)
    }

    /// The authority that the request is for, if it is one of this node's.
    fn host(&self, uri: &Uri, headers: &HeaderMap) -> Result<Authority, Problem> {
        let mut hosts = headers.get_all(HOST).iter();
        let written = match (hosts.next(), hosts.next()) {
            (None, _) => None,
            (Some(host), None) => Some(parse_host(host)?),
            (Some(_), Some(_)) => return Err(Problem::bad_request("there is more than one Host")),
        };
        // HTTP/2 has the authority in the URI, as HTTP/1.1 has when the client thinks we are a proxy.
        let all = [uri.authority().cloned(), written];
        let foreign = |authority: &&Authority| !self.is_own(authority.host());
        if all.iter().flatten().find(foreign).is_some() {
            let detail = if self.configured {
                "this node has no such name; ask by IP address, or list the name in http.hosts"
            } else {
                "this node has no such name; ask by IP address"
            };
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, Code::WrongDestination, detail));
        }
        all.into_iter().flatten().next().ok_or_else(|| Problem::bad_request("Host is missing"))
    }

    fn is_own(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = host.strip_suffix('.').unwrap_or(&host);
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        bare.parse::<IpAddr>().is_ok() || name == LOCALHOST || self.hosts.iter().any(|own| own == name)
    }

    fn origin(&self, headers: &HeaderMap, host: &Authority) -> Result<(), Problem> {
        let ours = |origin: &HeaderValue| {
            let Ok(origin) = origin.to_str().map(str::to_ascii_lowercase) else { return false };
            let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let same = authority.is_some_and(|authority| authority == host.as_str().to_ascii_lowercase());
            same || self.origins.contains(&origin)
        };
        // A page that only embeds an answer sends no Origin, but where it is; and to a browser another
        // port of one address is the same site, with the same cookies.
        let elsewhere = |site: &HeaderValue| matches!(site.as_bytes(), b"same-site" | b"cross-site");
        let embedded = !headers.contains_key(ORIGIN) && headers.get_all(SEC_FETCH_SITE).iter().any(elsewhere);
        if !embedded && headers.get_all(ORIGIN).iter().all(ours) {
            return Ok(());
        }
        Err(Problem::forbidden(if self.configured {
            "this web page may not talk to this node; list its origin in http.origins"
        } else {
            "this web page may not talk to this node"
        }))
    }
}

async fn pass(State(names): State<Arc<Names>>, request: Request, next: Next) -> Response {
    let mut response = match names.check(request.uri(), request.headers()) {
        Ok(()) if request.method() == Method::POST => match no_form(request.uri(), request.headers()) {
            Ok(()) => next.run(request).await,
            Err(problem) => refuse_body(problem, request, next).await,
        },
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    for (name, value) in ANSWER_HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The answer to a POST of another type: that, unless the path is unknown or takes no POST at all.
/// Which of them it is say the routes, asked with a method that none of them has.
async fn refuse_body(problem: Problem, mut request: Request, next: Next) -> Response {
    let Ok(nobody_has) = Method::from_bytes(b"ROUTE") else { return problem.into_response() };
    *request.method_mut() = nobody_has;
    let response = next.run(request).await;
    let takes_post =
        response.headers().get(ALLOW).is_some_and(|methods| methods.as_bytes().windows(4).any(|m| m == b"POST"));
    match response.status() {
        StatusCode::NOT_FOUND => response,
        StatusCode::METHOD_NOT_ALLOWED if !takes_post => response,
        _ => problem.into_response(),
    }
}

fn parse_host(host: &HeaderValue) -> Result<Authority, Problem> {
    let authority =
        Authority::try_from(host.as_bytes()).map_err(|_| Problem::bad_request("Host is not a host name"))?;
    if authority.as_str().contains('@') { Err(Problem::bad_request("Host is not a host name")) } else { Ok(authority) }
}

/// No form and no simple request of a web page has these types: to send one, a page must be asked
/// about first, and is refused.
fn no_form(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let wanted = if uri.path() == SIGNALING { SDP } else { "application/json" };
    let is_wanted = |value: &HeaderValue| {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let is_lines = wanted == "application/json" && essence.eq_ignore_ascii_case("application/x-ndjson");
        essence.eq_ignore_ascii_case(wanted) || is_lines
    };
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(one), None) if is_wanted(one) => Ok(()),
        _ => {
            let detail = format!("Content-Type: {wanted} is wanted");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::BadRequest, &detail))
        }
    }
}

/// Who brings a request, as far as the connection and the proxies in between can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    /// The address.
    pub(crate) address: IpAddr,
    /// The key proven by the client's certificate. A proxy's key is never its client's.
    pub(crate) key: Option<NodeId>,
}

impl Source {
    /// Who calls: the other end of the connection, or whom a trusted proxy names. Headers that claim
    /// a proxy where none is trusted make the call a public one.
    pub(crate) fn of(caller: &Caller, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let forwarded = |name: &HeaderName| headers.contains_key(name);
        if !forwarded(&FORWARDED) && !forwarded(&X_FORWARDED_FOR) {
            return Self { address: caller.address.ip(), key: caller.key };
        }
        Self { address: client(caller.address.ip(), headers, trusted), key: None }
    }
}

fn client(nearest: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let chains = [hops(headers, &FORWARDED, forwarded_for), hops(headers, &X_FORWARDED_FOR, |hop| address(hop.trim()))];
    let mut clients = chains.into_iter().flatten().map(|chain| beyond(nearest, chain, trusted));
    let first = clients.next().unwrap_or(HIDDEN);
    // A proxy that writes one header may pass the other on as it came: only what agrees is believed.
    if clients.all(|other| other == first) { first } else { HIDDEN }
}

/// The first address, from here outwards, that is no trusted proxy.
fn beyond(nearest: IpAddr, chain: Vec<Option<IpAddr>>, trusted: &[IpNet]) -> IpAddr {
    let is_proxy = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_proxy(&nearest) {
        return HIDDEN;
    }
    let outward = chain.into_iter().rev().take(HOPS_MAX);
    outward.map(|hop| hop.unwrap_or(HIDDEN)).find(|address| !is_proxy(address)).unwrap_or(HIDDEN)
}

/// The hops that a header names, the client first; `None` for the whole when the header is absent.
fn hops(headers: &HeaderMap, name: &HeaderName, read: impl Fn(&str) -> Option<IpAddr>) -> Option<Vec<Option<IpAddr>>> {
    headers.contains_key(name).then(|| {
        let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default());
        lines.flat_map(|line| line.split(',')).map(read).collect()
    })
}

/// The address in `for=` of one element of `Forwarded` (RFC 7239).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for")).map(|(_, value)| value);
    let value = values.next()?;
    address(value.trim().trim_matches('"'))
}

/// An address with or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip())).ok()?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests;
