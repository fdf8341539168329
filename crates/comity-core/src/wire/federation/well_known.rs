//! What an origin says of itself at `/.well-known/smcp/server`: where it answers, by which key, and which keys it had
//! before. See "Discovery" in `protocols/federation.md`. Which key counts is decided in `federation/pin.rs`.

use crate::federation::Origin;
use crate::id::{NodeId, decode_base64, encode_base64};
use crate::identity::key::KeyPair;
use crate::identity::signature::{self, Context};
use crate::time::Timestamp;
use crate::wire::strict::{self, BadJson};
use serde_json::{Value, json};
use std::fmt;
use url::{Host, Url};

/// Where it is found.
pub const PATH: &str = "/.well-known/smcp/server";

/// Largest document, bytes.
pub const BYTES_MAX: usize = 64 * 1024;

/// Most keys before the present one.
pub const ROTATIONS_MAX: usize = 8;

/// The member of the document that has them.
pub const PREVIOUS: &str = "previous_keys";

/// Most components that are read, and longest name of one, bytes.
const COMPONENTS_MAX: usize = 32;
const COMPONENT_MAX: usize = 64;

/// Longest endpoint, bytes.
const ENDPOINT_MAX: usize = 512;

/// The version of the protocol.
pub const VERSION: &str = "1.0";

/// What there may be at an origin; the names are the original design's.
pub const COMPONENTS: [&str; 7] = ["paulina", "naomi", "roshumba", "gail", "judith", "kathy", "vendela"];

/// The document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WellKnown {
    /// Where the origin answers.
    pub endpoint: Endpoint,
    /// The version it speaks: of the same major version as [`VERSION`].
    pub version: String,
    /// What there is.
    pub components: Vec<String>,
    /// Its key.
    pub key: NodeId,
    /// Those it had before, in no order.
    pub rotations: Vec<Rotation>,
    /// What else it says of itself; not checked.
    pub card: Option<Value>,
}

/// Where an origin answers: a host that may have another name than the origin.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
}

/// A change of key, signed by the old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The old key.
    pub key: NodeId,
    /// The one that came after it.
    pub new_key: NodeId,
    /// What the old key signed before this still counts.
    pub until: Timestamp,
    until_text: String,
    signature: [u8; 64],
}

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWellKnown {
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] BadJson),
    /// It is too large.
    #[error("larger than {BYTES_MAX} bytes")]
    TooLarge,
    /// A field is missing or has another type or form.
    #[error("{wanted} is wanted at {pointer}")]
    Field {
        /// The field, as an RFC 6901 pointer.
        pointer: String,
        /// What should be there.
        wanted: &'static str,
    },
    /// It speaks another major version.
    #[error("it speaks another version of the protocol than {VERSION}")]
    Version,
}

impl WellKnown {
    /// Reads a document. No signature is checked.
    ///
    /// # Errors
    /// [`BadWellKnown`] names the field.
    pub fn read(text: &[u8]) -> Result<Self, BadWellKnown> {
        if text.len() > BYTES_MAX {
            return Err(BadWellKnown::TooLarge);
        }
        let value = strict::parse(text)?;
        let version = text_at(&value, "/version", "a version, such as 1.0")?;
        if version.split('.').next() != VERSION.split('.').next() {
            return Err(BadWellKnown::Version);
        }
        let endpoint = text_at(&value, "/endpoint", Endpoint::WANTED)?;
        let components = match value.get("components") {
            None => &[][..],
            Some(components) => {
                components.as_array().ok_or_else(|| field("/components", "a list of names"))?.as_slice()
            }
        };
        Ok(Self {
            endpoint: Endpoint::read(endpoint).ok_or_else(|| field("/endpoint", Endpoint::WANTED))?,
            version: version.to_owned(),
            components: components.iter().take(COMPONENTS_MAX).filter_map(component).collect(),
            key: node_at(&value, "/public_key")?,
            rotations: Rotation::read_all(&value)?,
            card: value.get("card").filter(|card| card.is_object()).cloned(),
        })
    }

    /// The document.
    pub fn to_value(&self) -> Value {
        let rotations: Vec<Value> = self.rotations.iter().map(Rotation::to_value).collect();
        let mut value = json!({
            "endpoint": self.endpoint.to_string(),
            "version": self.version,
            "components": self.components,
            "public_key": self.key.to_string(),
            "previous_keys": rotations,
        });
        if let Some(card) = &self.card {
            value["card"] = card.clone();
        }
        value
    }
}

fn component(value: &Value) -> Option<String> {
    value.as_str().filter(|name| name.len() <= COMPONENT_MAX).map(str::to_owned)
}

impl Rotation {
    /// Signs a change of key.
    pub fn sign(old: &KeyPair, new_key: NodeId, origin: &Origin, until: Timestamp) -> Self {
        let until_text = until.to_string();
        let mut rotation = Self { key: old.node(), new_key, until, until_text, signature: [0; 64] };
        rotation.signature = signature::sign(old, Context::Rotation, &rotation.covered(origin));
        rotation
    }

    /// Whether the old key signed it, for this origin.
    pub fn is_signed(&self, origin: &Origin) -> bool {
        signature::verify(&self.key, Context::Rotation, &self.covered(origin), &self.signature).is_ok()
    }

    fn covered(&self, origin: &Origin) -> Value {
        json!({
            "key": self.key.to_string(),
            "new_key": self.new_key.to_string(),
            "origin": origin.as_str(),
            "until": self.until_text,
        })
    }

    /// A rotation as it stands in the document, and is kept.
    pub fn to_value(&self) -> Value {
        json!({
            "key": self.key.to_string(),
            "new_key": self.new_key.to_string(),
            "until": self.until_text,
            "sig": encode_base64(&self.signature),
        })
    }

    /// The rotations in a document, as [`PREVIOUS`]; none where there is no such member. No signature is checked.
    ///
    /// # Errors
    /// [`BadWellKnown`] names the field.
    pub fn read_all(document: &Value) -> Result<Vec<Self>, BadWellKnown> {
        let rotations = match document.get(PREVIOUS) {
            None => &[][..],
            Some(rotations) => rotations.as_array().ok_or_else(|| field("/previous_keys", "a list"))?.as_slice(),
        };
        if rotations.len() > ROTATIONS_MAX {
            return Err(field("/previous_keys", "a list of at most 8 keys"));
        }
        (0..rotations.len()).map(|at| Self::read(document, at)).collect()
    }

    fn read(document: &Value, at: usize) -> Result<Self, BadWellKnown> {
        let pointer = |name: &str| format!("/previous_keys/{at}/{name}");
        let (until, wanted) = (pointer("until"), "a time (RFC 3339)");
        let until_text = text_at(document, &until, wanted)?.to_owned();
        let time = Timestamp::parse(&until_text).ok_or_else(|| field(&until, wanted))?;
        let (sig, wanted) = (pointer("sig"), "64 bytes in base64url");
        let signature = decode_base64(text_at(document, &sig, wanted)?).and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            key: node_at(document, &pointer("key"))?,
            new_key: node_at(document, &pointer("new_key"))?,
            until: time,
            until_text,
            signature: signature.ok_or_else(|| field(&sig, wanted))?,
        })
    }
}

fn field(pointer: &str, wanted: &'static str) -> BadWellKnown {
    BadWellKnown::Field { pointer: pointer.to_owned(), wanted }
}

fn text_at<'a>(value: &'a Value, pointer: &str, wanted: &'static str) -> Result<&'a str, BadWellKnown> {
    value.pointer(pointer).and_then(Value::as_str).ok_or_else(|| field(pointer, wanted))
}

fn node_at(value: &Value, pointer: &str) -> Result<NodeId, BadWellKnown> {
    let wanted = "`ed25519:` and 32 bytes in base64url";
    text_at(value, pointer, wanted)?.parse().map_err(|_| field(pointer, wanted))
}

impl Endpoint {
    const WANTED: &'static str = "a URL (https://host:port) without user, query and fragment";

    /// Reads a URL; `None` when it leads to no origin.
    pub fn read(text: &str) -> Option<Self> {
        let mut url = Url::parse(text).ok().filter(|_| text.len() <= ENDPOINT_MAX)?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        let is_whole = url.query().is_none() && url.fragment().is_none() && url.has_host();
        let is_http = matches!(url.scheme(), "https" | "http");
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        (is_plain && is_whole && is_http).then_some(Self { url })
    }

    /// Its host: a name or an address.
    pub fn host(&self) -> Host<&str> {
        self.url.host().expect("read() wants one")
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().expect("http and https have one")
    }

    /// Whether it is without TLS.
    pub fn is_plain(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// The target of a request, in origin form: what is asked for, below this endpoint's path.
    pub fn target(&self, path: &str) -> String {
        format!("{}{path}", self.url.path().trim_end_matches('/'))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> WellKnown {
        let (old, new) = (KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32]));
        let origin = "alpha.test".parse().expect("an origin");
        let until = Timestamp::from_millis(1_700_000_000_000);
        WellKnown {
            endpoint: Endpoint::read("https://node.alpha.test:8400/comity/").expect("a URL"),
            version: VERSION.to_owned(),
            components: vec!["naomi".to_owned()],
            key: new.node(),
            rotations: vec![Rotation::sign(&old, new.node(), &origin, until)],
            card: Some(json!({"name": "ann"})),
        }
    }

    #[test]
    fn a_document_reads_as_it_was_written() {
        let (document, origin) = (document(), "alpha.test".parse().expect("an origin"));
        let read = WellKnown::read(document.to_value().to_string().as_bytes()).expect("a document");
        assert_eq!(read, document);
        assert!(read.rotations[0].is_signed(&origin));
        assert!(!read.rotations[0].is_signed(&"beta.test".parse().expect("an origin")));
        let least = json!({"endpoint": "https://a.test", "version": "1.3", "public_key": document.key.to_string()});
        assert!(WellKnown::read(least.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let named = |pointer: &str, value: Value| {
            let mut document = document().to_value();
            *document.pointer_mut(pointer).expect("a member") = value;
            match WellKnown::read(document.to_string().as_bytes()) {
                Err(BadWellKnown::Field { pointer, .. }) => pointer,
                other => panic!("{pointer}: {other:?}"),
            }
        };
        for (pointer, value) in [
            ("/endpoint", json!("ftp://a.test")),
            ("/endpoint", json!("https://user@a.test")),
            ("/endpoint", json!("https://a.test?x")),
            ("/endpoint", json!("https://a.test#x")),
            ("/endpoint", json!("https:")),
            ("/endpoint", json!("a.test")),
            ("/endpoint", json!(format!("https://a.test/{}", "x".repeat(ENDPOINT_MAX)))),
            ("/version", json!(1)),
            ("/components", json!("naomi")),
            ("/public_key", json!("ed25519:AAAA")),
            ("/previous_keys", json!(vec![json!({}); 9])),
            ("/previous_keys/0/key", json!(null)),
            ("/previous_keys/0/new_key", json!(1)),
            ("/previous_keys/0/until", json!("soon")),
            ("/previous_keys/0/sig", json!("AA")),
        ] {
            assert_eq!(named(pointer, value), pointer);
        }
        let mut other = document().to_value();
        other["version"] = json!("2.0");
        assert_eq!(WellKnown::read(other.to_string().as_bytes()), Err(BadWellKnown::Version));
        assert_eq!(WellKnown::read(&vec![b' '; BYTES_MAX + 1]), Err(BadWellKnown::TooLarge));
        assert!(matches!(WellKnown::read(b"[]"), Err(BadWellKnown::Field { .. })));
        assert!(matches!(WellKnown::read(b"{"), Err(BadWellKnown::Json(_))));
    }

    #[test]
    fn an_endpoint_says_where_and_below_which_path() {
        let endpoint = document().endpoint;
        assert_eq!((endpoint.host(), endpoint.port()), (Host::Domain("node.alpha.test"), 8400));
        assert_eq!(endpoint.target("/federation/v1/call"), "/comity/federation/v1/call");
        assert_eq!(endpoint.to_string(), "https://node.alpha.test:8400/comity");
        let plain = Endpoint::read("http://127.1").expect("a URL");
        assert_eq!((plain.host(), plain.port()), (Host::Ipv4([127, 0, 0, 1].into()), 80), "as a resolver reads it");
        assert!(plain.is_plain() && plain.target("/x") == "/x");
    }
}
