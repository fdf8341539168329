//! The requests to a registry, and the API key by which they are proven: kept in a file of this user's alone, and shown to
//! that registry and no other.

use crate::config::Coordinator;
use crate::federation::http::{Answer, Http};
use crate::home::write_atomically;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use bytes::Bytes;
use comity_core::registry::key::Secret;
use comity_core::registry::profile::{NodeName, Registration};
use comity_core::registry::roster::{Heartbeat, NODES_MAX};
use comity_core::wire::mesh::reading::ANSWER_BYTES_MAX;
use comity_core::wire::mesh::registry::{self as wire, KernelNode, Registered, path};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::lookup_host;
use url::Host;

/// How long one request may take, a large list included.
const REQUEST_TIME: Duration = Duration::from_secs(20);

/// Longest wait that a registry may ask for.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// Longest sentence of a registry's refusal that is shown, bytes.
const DETAIL_MAX: usize = 256;

/// Pages of a list that are asked for: those of a full registry whose nodes have vectors of 256 numbers, and half of the
/// requests that a node has in a minute.
const PAGES_MAX: usize = 60;

/// The largest key file that is read, bytes.
const KEPT_MAX: u64 = 8 * 1024;

/// What went wrong with the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What is wrong, for people.
    pub(super) sentence: String,
    /// How long it is to be left alone.
    pub(super) wait: Duration,
    /// Whether this node is to register again.
    pub(super) is_lost: bool,
}

/// Who asks the registry.
pub(super) struct Asking {
    http: Http,
    coordinator: Coordinator,
    name: NodeName,
    /// Where the API key is kept.
    file: PathBuf,
    /// What proved this node last.
    proof: Option<Secret>,
}

impl Asking {
    pub(super) fn new(http: Http, coordinator: Coordinator, name: NodeName, file: PathBuf) -> Self {
        Self { http, coordinator, name, file, proof: None }
    }

    /// Registers, with the first proof that is taken: the key that is kept, what the configuration has, the TLS key alone.
    pub(super) async fn register(&mut self, said: &Registration) -> Result<Duration, Trouble> {
        let url = self.coordinator.endpoint.to_string();
        let kept = kept(&self.file, &url, &self.name);
        let mut proofs: Vec<Option<Secret>> = Vec::new();
        for proof in [kept, self.coordinator.secret.clone()] {
            if proof.is_some() && !proofs.contains(&proof) {
                proofs.push(proof);
            }
        }
        if proofs.is_empty() || self.coordinator.key.is_some() {
            proofs.push(None);
        }
        let body = Bytes::from(wire::write_register(said));
        let mut refused = None;
        for proof in proofs {
            let answer = self.ask(Method::POST, path::REGISTER, (body.clone(), proof.as_ref())).await?;
            if answer.status.is_success() {
                return self.registered(&answer, proof);
            }
            let is_unproven = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            let trouble = trouble(&answer);
            if !is_unproven {
                return Err(trouble);
            }
            refused = refused.or(Some(trouble));
        }
        Err(refused.expect("there is at least one proof, and it was refused"))
    }

    fn registered(&mut self, answer: &Answer, proof: Option<Secret>) -> Result<Duration, Trouble> {
        let read = Registered::read(&answer.body, &self.name);
        let (registered, _) = read.map_err(|bad| plain(format!("its answer cannot be read: {bad}")))?;
        self.proof = registered.api_key.clone().or(proof);
        if let Some(key) = &registered.api_key {
            let url = self.coordinator.endpoint.to_string();
            let kept = json!({ "url": url, "node_id": self.name.as_str(), "api_key": key.expose() });
            if let Err(cause) = write_atomically(&self.file, kept.to_string().as_bytes()) {
                // It is registered now, and would have no key after a restart.
                tracing::error!(%cause, "the API key of this node cannot be kept: look at the disk of the data directory");
            }
        }
        Ok(registered.interval)
    }

    /// Says that this node is there: whether others came, went or changed.
    pub(super) async fn beat(&self, beat: &Heartbeat) -> Result<bool, Trouble> {
        let body = Bytes::from(wire::write_heartbeat(&self.name, beat));
        let answer = self.good(Method::POST, path::HEARTBEAT, body).await?;
        let read = wire::read_beaten(&answer.body);
        Ok(read.map_err(|bad| plain(format!("its answer cannot be read: {bad}")))?.peers_changed)
    }

    /// Who is there.
    pub(super) async fn list(&self) -> Result<Vec<KernelNode>, Trouble> {
        let (mut nodes, mut after) = (Vec::new(), None::<NodeName>);
        // Pages of a registry that never ends its list are not followed for ever.
        for _ in 0..PAGES_MAX {
            let query = after.as_ref().map(|after| {
                let pairs =
                    url::form_urlencoded::Serializer::new(String::new()).append_pair("after", after.as_str()).finish();
                format!("?{pairs}")
            });
            let target = format!("{}{}", path::NODES, query.unwrap_or_default());
            let answer = self.good(Method::GET, &target, Bytes::new()).await?;
            let read = wire::read_nodes(&answer.body);
            let (page, next) = read.map_err(|bad| plain(format!("its list cannot be read: {bad}")))?;
            if page.refused > 0 {
                tracing::warn!(nodes = page.refused, "some of the nodes of a registry cannot be read");
            }
            nodes.extend(page.items);
            after = next.filter(|_| nodes.len() < NODES_MAX);
            if after.is_none() {
                break;
            }
        }
        if after.is_some() {
            tracing::warn!(nodes = nodes.len(), "the list of a registry goes on, and is not read further");
        }
        nodes.truncate(NODES_MAX);
        Ok(nodes)
    }

    /// Says that this node leaves.
    pub(super) async fn leave(&self) -> Result<(), Trouble> {
        let name: String = url::form_urlencoded::byte_serialize(self.name.as_str().as_bytes()).collect();
        let target = path::NODE.replace("{id}", &name.replace('+', "%20"));
        self.good(Method::DELETE, &target, Bytes::new()).await.map(drop)
    }

    /// The address of the registry, as far as it is known: where what it tells comes from.
    pub(super) async fn address(&self) -> Option<IpAddr> {
        match self.coordinator.endpoint.host() {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(name) => {
                let found = lookup_host((name, self.coordinator.endpoint.port())).await;
                found.ok()?.next().map(|address| address.ip())
            }
        }
    }

    async fn good(&self, method: Method, target: &str, body: Bytes) -> Result<Answer, Trouble> {
        let answer = self.ask(method, target, (body, self.proof.as_ref())).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(trouble(&answer)) }
    }

    async fn ask(
        &self,
        method: Method,
        target: &str,
        (body, proof): (Bytes, Option<&Secret>),
    ) -> Result<Answer, Trouble> {
        let uri: Uri = format!("{}{target}", self.coordinator.endpoint)
            .parse()
            .map_err(|_| plain("its URL cannot be asked".to_owned()))?;
        let mut headers = HeaderMap::new();
        if method == Method::POST {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(proof) = proof {
            let bearer = HeaderValue::from_str(&format!("Bearer {}", proof.expose()));
            let mut bearer = bearer.map_err(|_| plain("the API key cannot be sent".to_owned()))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let answer = self.http.request((method, uri), headers, body, (REQUEST_TIME, ANSWER_BYTES_MAX)).await;
        answer.map_err(|why| plain(why.to_string()))
    }
}

fn plain(sentence: String) -> Trouble {
    Trouble { sentence, wait: Duration::ZERO, is_lost: false }
}

/// What a refusal says: its status, and the sentence of its problem document, which is data.
fn trouble(answer: &Answer) -> Trouble {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let detail = body.as_ref().and_then(|body| body["detail"].as_str()).unwrap_or_default();
    let detail: String = detail[..detail.floor_char_boundary(DETAIL_MAX)].chars().filter(|c| !c.is_control()).collect();
    let seconds = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let is_lost = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND);
    let sentence = match detail.as_str() {
        "" => format!("it answers {}", answer.status),
        detail => format!("it answers {}: {detail}", answer.status.as_u16()),
    };
    Trouble { sentence, wait: Duration::from_secs(seconds.unwrap_or(0)).min(WAIT_MAX), is_lost }
}

/// The API key that is kept for this name at this registry.
fn kept(file: &Path, url: &str, name: &NodeName) -> Option<Secret> {
    if std::fs::metadata(file).ok()?.len() > KEPT_MAX {
        return None;
    }
    let kept: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let is_for_it = kept["url"] == url && kept["node_id"] == name.as_str();
    Secret::read(kept["api_key"].as_str().filter(|_| is_for_it)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_key_is_shown_to_the_registry_that_gave_it_and_to_no_other() {
        let folder = Scratch::new();
        let file = folder.path().join("mesh.key");
        let (secret, name) = (Secret::from_entropy([1; 32]), NodeName::new("a").expect("a name"));
        let url = "https://one.example:8400";
        assert_eq!(kept(&file, url, &name), None);
        let written = json!({ "url": url, "node_id": "a", "api_key": secret.expose() }).to_string();
        write_atomically(&file, written.as_bytes()).expect("it is ours");
        assert_eq!(kept(&file, url, &name), Some(secret));
        assert_eq!(kept(&file, "https://other.example:8400", &name), None);
        assert_eq!(kept(&file, url, &NodeName::new("b").expect("a name")), None);
        std::fs::write(&file, "cmt_").expect("it is ours");
        assert_eq!(kept(&file, url, &name), None);
    }

    #[test]
    fn a_refusal_is_told_within_bounds_and_says_whether_to_register_again() {
        let answer = |status: u16, body: Value| Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("90000"))]),
            body: body.to_string().into(),
        };
        let lost = trouble(&answer(404, json!({ "detail": "who\u{7}?" })));
        assert_eq!((lost.sentence.as_str(), lost.is_lost), ("it answers 404: who?", true));
        let late = trouble(&answer(429, json!({ "detail": "ü".repeat(9000) })));
        assert!(late.sentence.len() < 300 && !late.is_lost && late.wait == WAIT_MAX, "{late:?}");
    }
}
