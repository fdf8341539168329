//! What a node says of itself over MQTT: peer info, capabilities and goodbyes, signed or as foreign
//! kernels send them. See "Announcements" in `protocols/mqtt-discovery.md`. It reads and writes;
//! whether what was said counts is decided in [`crate::announced`].

mod topic;

pub use topic::{About, BadPrefix, PREFIX, Topics};

use crate::id::{NodeId, decode_base64, encode_base64};
use crate::identity::canonical;
use crate::identity::key::KeyPair;
use crate::identity::signature::{self, BadSignature, Context};
use crate::limits;
use crate::time::Timestamp;
use crate::wire::strict::{self, BadJson};
use serde_json::{Map, Value};

/// Largest body of any topic, bytes.
pub const BODY_MAX: usize = 64 * 1024;

/// Longest URL, bytes: a longer one is refused, because a cut one leads elsewhere.
pub const URL_MAX: usize = 1024;

/// Below this a number of a foreign kernel's `lastSeen` is seconds, not milliseconds: the year 5138, and 1973.
const SECONDS_BELOW: f64 = 1e11;

/// Why a body was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnnouncement {
    /// More than [`BODY_MAX`] bytes.
    #[error("the body is larger than {BODY_MAX} bytes")]
    TooLarge,
    /// Not JSON, or not as it is wanted here.
    #[error(transparent)]
    Json(#[from] BadJson),
    /// A field is missing or has another type or form.
    #[error("{wanted} is wanted at {pointer}")]
    Field {
        /// The field, as an RFC 6901 pointer.
        pointer: &'static str,
        /// What should be there.
        wanted: &'static str,
    },
    /// The signature does not count.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

/// What a peer says of itself. Texts are as the writer gave them, cut: data, to be cleaned where they are shown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PeerInfo {
    /// Its id: the UUID of its key, or whatever a foreign kernel calls itself.
    pub id: String,
    /// Where it takes signaling.
    pub url: Option<String>,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// The protocols it serves.
    pub protocols: Vec<String>,
    /// The protocol version it speaks.
    pub protocol_version: Option<String>,
    /// What else it says: texts, numbers and booleans.
    pub metadata: Map<String, Value>,
    /// When it said so, by its own clock.
    pub last_seen: Option<Timestamp>,
    /// Its key, if it signed.
    pub key: Option<NodeId>,
    /// When it stops to count, by its own clock.
    pub expires_at: Option<Timestamp>,
    /// The connection to the broker by which it said so, if it signed.
    pub session: Option<String>,
}

/// The peer info as JSON, signed. The key is the signer's; the session must be there.
pub fn sign_info(info: &PeerInfo, key: &KeyPair) -> Value {
    sign(info_to_value(&PeerInfo { key: Some(key.node()), ..info.clone() }), key)
}

/// The peer info without a signature. What is absent is left out.
pub fn info_to_value(info: &PeerInfo) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    put("id", Some(info.id.clone().into()));
    put("url", info.url.clone().map(Value::from));
    put("capabilities", Some(info.capabilities.clone().into()));
    put("protocols", Some(info.protocols.clone().into()));
    put("protocolVersion", info.protocol_version.clone().map(Value::from));
    put("metadata", Some(info.metadata.clone().into()));
    put("lastSeen", info.last_seen.map(|time| time.to_string().into()));
    put("publicKey", info.key.map(|key| key.to_string().into()));
    put("expiresAt", info.expires_at.map(|time| time.to_string().into()));
    put("session", info.session.clone().map(Value::from));
    Value::Object(members)
}

/// A capability as JSON, signed.
pub fn sign_capability(capability: &str, version: &str, session: &str, key: &KeyPair) -> Value {
    sign(serde_json::json!({ "capability": capability, "version": version, "session": session }), key)
}

/// A goodbye as JSON, signed.
pub fn sign_goodbye(reason: &str, session: &str, key: &KeyPair) -> Value {
    sign(serde_json::json!({ "reason": reason, "session": session }), key)
}

fn sign(mut value: Value, key: &KeyPair) -> Value {
    let signature = signature::sign(key, Context::Announce, &value);
    value["sig"] = encode_base64(&signature).into();
    value
}

/// Reads peer info. With a `sig` it must be right, and `key` and `session` are there; without one, `key` is not,
/// whatever the body claims.
pub fn read_info(body: &[u8]) -> Result<PeerInfo, BadAnnouncement> {
    let mut value = parse(body)?;
    let signature = take_signature(&mut value)?;
    let fields = Fields(&value);
    let mut info = fields.info()?;
    match signature {
        None => (info.key, info.session) = (None, None),
        Some(signature) => {
            let key = fields.key()?;
            signature::verify_bytes(&key, Context::Announce, &canonical::to_vec(&value), &signature)?;
            fields.must("/lastSeen", info.last_seen.is_some(), "a time")?;
            (info.key, info.session) = (Some(key), Some(fields.session()?));
        }
    }
    Ok(info)
}

/// Reads the goodbye of a peer that signs with this key: the session that it ends.
pub fn read_goodbye(body: &[u8], key: &NodeId) -> Result<String, BadAnnouncement> {
    let value = read_signed(body, key)?;
    let fields = Fields(&value);
    fields.must("/reason", fields.at("/reason").is_some_and(Value::is_string), "a string")?;
    fields.must_not(["/id", "/publicKey", "/capability"])?;
    fields.session()
}

/// Reads this capability of a peer that signs with this key: the session in which it has it.
pub fn read_capability(body: &[u8], capability: &str, key: &NodeId) -> Result<String, BadAnnouncement> {
    let value = read_signed(body, key)?;
    let fields = Fields(&value);
    let is_its = fields.at("/capability").and_then(Value::as_str) == Some(capability);
    fields.must("/capability", is_its, "the name in the topic")?;
    fields.must_not(["/id", "/publicKey", "/reason"])?;
    fields.session()
}

/// What a peer signed with this key. All that it announces is signed in one context, and anybody can publish it on
/// another topic: what kind it is must be looked at.
fn read_signed(body: &[u8], key: &NodeId) -> Result<Value, BadAnnouncement> {
    let mut value = parse(body)?;
    let wanted = BadAnnouncement::Field { pointer: "/sig", wanted: "64 bytes in base64url" };
    let signature = take_signature(&mut value)?.ok_or(wanted)?;
    signature::verify_bytes(key, Context::Announce, &canonical::to_vec(&value), &signature)?;
    Ok(value)
}

/// Whether a capability or a goodbye of a peer that signs nothing can be read: any JSON.
pub fn read_unsigned(body: &[u8]) -> Result<(), BadAnnouncement> {
    within(body)?;
    strict::parse(body)?;
    Ok(())
}

/// Whether a body claims to be signed; whether it is right is not looked at.
pub fn has_signature(body: &[u8]) -> bool {
    parse(body).is_ok_and(|value| value.get("sig").is_some())
}

fn within(body: &[u8]) -> Result<(), BadAnnouncement> {
    if body.len() > BODY_MAX { Err(BadAnnouncement::TooLarge) } else { Ok(()) }
}

fn parse(body: &[u8]) -> Result<Value, BadAnnouncement> {
    within(body)?;
    let value = strict::parse(body)?;
    if value.is_object() { Ok(value) } else { Err(BadAnnouncement::Field { pointer: "", wanted: "an object" }) }
}

fn take_signature(value: &mut Value) -> Result<Option<[u8; 64]>, BadAnnouncement> {
    let wanted = BadAnnouncement::Field { pointer: "/sig", wanted: "64 bytes in base64url" };
    let Some(signature) = value.as_object_mut().and_then(|members| members.shift_remove("sig")) else {
        return Ok(None);
    };
    let signature = signature.as_str().and_then(decode_base64).and_then(|bytes| bytes.try_into().ok());
    signature.map(Some).ok_or(wanted)
}

/// The members of a body that is being read.
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn info(&self) -> Result<PeerInfo, BadAnnouncement> {
        let id = self.at("/id").and_then(Value::as_str).filter(|id| topic::is_id(id));
        let id = id.ok_or(BadAnnouncement::Field { pointer: "/id", wanted: "1 to 128 bytes without / + #" })?;
        Ok(PeerInfo {
            id: id.to_owned(),
            url: self.url()?,
            capabilities: self.texts("/capabilities")?,
            protocols: self.texts("/protocols")?,
            protocol_version: self.text("/protocolVersion")?,
            metadata: self.metadata()?,
            last_seen: self.time("/lastSeen")?,
            key: None,
            expires_at: self.time("/expiresAt")?,
            session: None,
        })
    }

    fn at(&self, pointer: &'static str) -> Option<&Value> {
        self.0.pointer(pointer)
    }

    fn must(&self, pointer: &'static str, there: bool, wanted: &'static str) -> Result<(), BadAnnouncement> {
        if there { Ok(()) } else { Err(BadAnnouncement::Field { pointer, wanted }) }
    }

    /// Refuses what belongs to another kind of body.
    fn must_not(&self, pointers: [&'static str; 3]) -> Result<(), BadAnnouncement> {
        pointers.into_iter().try_for_each(|pointer| self.must(pointer, self.at(pointer).is_none(), "nothing"))
    }

    fn key(&self) -> Result<NodeId, BadAnnouncement> {
        let key = self.at("/publicKey").and_then(Value::as_str).and_then(|text| text.parse().ok());
        key.ok_or(BadAnnouncement::Field { pointer: "/publicKey", wanted: "`ed25519:` and 32 bytes in base64url" })
    }

    fn session(&self) -> Result<String, BadAnnouncement> {
        let session = self.at("/session").and_then(Value::as_str);
        let session = session.filter(|text| (1..=limits::PEER_TEXT_MAX).contains(&text.len()));
        session
            .map(str::to_owned)
            .ok_or(BadAnnouncement::Field { pointer: "/session", wanted: "a string of 1 to 128 bytes" })
    }

    fn url(&self) -> Result<Option<String>, BadAnnouncement> {
        let wanted = BadAnnouncement::Field { pointer: "/url", wanted: "a string of at most 1024 bytes" };
        let read = |url: &Value| url.as_str().filter(|url| url.len() <= URL_MAX).map(str::to_owned).ok_or(wanted);
        self.at("/url").map(read).transpose()
    }

    fn text(&self, pointer: &'static str) -> Result<Option<String>, BadAnnouncement> {
        let wanted = BadAnnouncement::Field { pointer, wanted: "a string" };
        self.at(pointer).map(|text| text.as_str().map(kept).ok_or(wanted)).transpose()
    }

    fn texts(&self, pointer: &'static str) -> Result<Vec<String>, BadAnnouncement> {
        let wanted = BadAnnouncement::Field { pointer, wanted: "a list of strings" };
        let Some(list) = self.at(pointer) else { return Ok(Vec::new()) };
        let texts = list.as_array().ok_or(wanted.clone())?.iter();
        texts.map(|item| item.as_str().map(kept).ok_or(wanted.clone())).take(limits::PEER_LIST_MAX).collect()
    }

    fn time(&self, pointer: &'static str) -> Result<Option<Timestamp>, BadAnnouncement> {
        let wanted = BadAnnouncement::Field { pointer, wanted: "an RFC 3339 time" };
        self.at(pointer).map(|time| read_time(time).ok_or(wanted)).transpose()
    }

    /// The entries that are single values; nested ones are passed over.
    fn metadata(&self) -> Result<Map<String, Value>, BadAnnouncement> {
        let wanted = BadAnnouncement::Field { pointer: "/metadata", wanted: "an object" };
        let Some(entries) = self.at("/metadata") else { return Ok(Map::new()) };
        let entry = |(name, value): (&String, &Value)| {
            let value = match value {
                Value::String(text) => kept(text).into(),
                Value::Number(_) | Value::Bool(_) => value.clone(),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            };
            Some((kept(name), value))
        };
        Ok(entries.as_object().ok_or(wanted)?.iter().filter_map(entry).take(limits::PEER_LIST_MAX).collect())
    }
}

/// RFC 3339, or a number as foreign kernels write it: milliseconds or seconds since 1970.
pub(in crate::wire) fn read_time(time: &Value) -> Option<Timestamp> {
    match time {
        Value::String(text) => Timestamp::parse(text),
        Value::Number(number) => {
            let number = number.as_f64().filter(|number| *number >= 0.0)?;
            let millis = if number < SECONDS_BELOW { number * 1000.0 } else { number };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates, and is not negative"
            )]
            let millis = millis as u64;
            Some(Timestamp::from_millis(millis))
        }
        _ => None,
    }
}

/// As much of a text as is kept of a peer.
fn kept(text: &str) -> String {
    text[..text.floor_char_boundary(limits::PEER_TEXT_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn info() -> PeerInfo {
        PeerInfo {
            id: KeyPair::from_seed([3; 32]).peer().to_string(),
            url: Some("https://192.168.1.5:8400".to_owned()),
            capabilities: vec!["search".to_owned()],
            protocols: vec!["webrtc-data".to_owned()],
            protocol_version: Some("1.0.0".to_owned()),
            metadata: Map::from_iter([("uptime".to_owned(), json!(7)), ("version".to_owned(), json!("0.1"))]),
            last_seen: Some(Timestamp::from_millis(1_700_000_000_000)),
            key: None,
            expires_at: Some(Timestamp::from_millis(1_700_000_090_000)),
            session: Some("s-1".to_owned()),
        }
    }

    fn bytes(value: &Value) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    fn refused(value: &Value) -> BadAnnouncement {
        read_info(&bytes(value)).expect_err("must be refused")
    }

    #[test]
    fn signed_info_reads_as_it_was_written_and_whoever_changes_it_breaks_it() {
        let key = KeyPair::from_seed([3; 32]);
        let good = sign_info(&info(), &key);
        assert_eq!(read_info(&bytes(&good)), Ok(PeerInfo { key: Some(key.node()), ..info() }));
        for (field, change) in [("url", json!("https://10.0.0.1:1")), ("session", json!("s-2")), ("later", json!(1))] {
            let mut value = good.clone();
            value[field] = change;
            assert_eq!(refused(&value), BadSignature::Wrong.into(), "{field}");
        }
        let mut unsigned = good;
        unsigned.as_object_mut().expect("an object").shift_remove("sig");
        let read = read_info(&bytes(&unsigned)).expect("unsigned");
        assert_eq!((read.key, read.session), (None, None), "a key that signed nothing is a claim");
    }

    #[test]
    fn a_foreign_kernel_may_say_as_little_as_it_does() {
        let least = json!({"id": "kitchen", "url": "http://10.0.0.7:9000", "capabilities": ["a"],
            "metadata": {"cores": 2, "gpu": false, "nested": {"x": 1}}, "lastSeen": 1_700_000_000});
        let read = read_info(&bytes(&least)).expect("foreign");
        assert_eq!((read.id.as_str(), read.last_seen), ("kitchen", info().last_seen));
        assert_eq!(Value::Object(read.metadata), json!({"cores": 2, "gpu": false}));
        let millis = json!({"id": "kitchen", "lastSeen": 1_700_000_000_000_u64});
        assert_eq!(read_info(&bytes(&millis)).expect("foreign").last_seen, info().last_seen);
    }

    #[test]
    fn errors_name_the_field() {
        for (field, wrong) in [
            ("/id", json!("a/b")),
            ("/id", json!("")),
            ("/url", json!("u".repeat(URL_MAX + 1))),
            ("/capabilities", json!([1])),
            ("/protocols", json!("webrtc-data")),
            ("/protocolVersion", json!(1)),
            ("/metadata", json!([])),
            ("/lastSeen", json!("yesterday")),
            ("/expiresAt", json!({})),
            ("/sig", json!("AA")),
        ] {
            let mut value = json!({"id": "kitchen"});
            value[&field[1..]] = wrong;
            assert!(matches!(refused(&value), BadAnnouncement::Field { pointer, .. } if pointer == field), "{field}");
        }
        let key = KeyPair::from_seed([3; 32]);
        for (field, without) in
            [("/session", PeerInfo { session: None, ..info() }), ("/lastSeen", PeerInfo { last_seen: None, ..info() })]
        {
            let value = sign_info(&without, &key);
            assert!(matches!(refused(&value), BadAnnouncement::Field { pointer, .. } if pointer == field), "{field}");
        }
    }

    #[test]
    fn hostile_bodies_are_refused_or_cut() {
        assert_eq!(read_info(&vec![b' '; BODY_MAX + 1]), Err(BadAnnouncement::TooLarge));
        assert_eq!(read_unsigned(&vec![b' '; BODY_MAX + 1]), Err(BadAnnouncement::TooLarge));
        assert!(matches!(read_info(b"not JSON"), Err(BadAnnouncement::Json(_))));
        assert!(matches!(read_info(br#"{"id":"a","id":"b"}"#), Err(BadAnnouncement::Json(_))));
        assert!(matches!(refused(&json!([])), BadAnnouncement::Field { .. }));
        let large = json!({"id": "kitchen", "capabilities": vec!["é".repeat(200); 40],
            "metadata": (0..100).map(|n| (n.to_string(), json!("v".repeat(300)))).collect::<Map<_, _>>()});
        let read = read_info(&bytes(&large)).expect("cut");
        assert_eq!((read.capabilities.len(), read.capabilities[0].len()), (limits::PEER_LIST_MAX, 128));
        assert_eq!(read.metadata.len(), limits::PEER_LIST_MAX);
    }

    #[test]
    fn a_capability_and_a_goodbye_count_only_with_the_key_of_their_peer() {
        let (key, other) = (KeyPair::from_seed([3; 32]), KeyPair::from_seed([4; 32]));
        let (capability, goodbye) = (sign_capability("search", "1", "s-1", &key), sign_goodbye("stop", "s-1", &key));
        let wrong = Err(BadSignature::Wrong.into());
        assert_eq!(read_capability(&bytes(&capability), "search", &key.node()), Ok("s-1".to_owned()));
        assert_eq!(read_capability(&bytes(&capability), "search", &other.node()), wrong);
        assert_eq!(read_goodbye(&bytes(&goodbye), &key.node()), Ok("s-1".to_owned()));
        assert_eq!(read_goodbye(&bytes(&goodbye), &other.node()), wrong);
        let unsigned = bytes(&json!({"reason": "stop", "session": "s-1"}));
        assert!(matches!(read_goodbye(&unsigned, &key.node()), Err(BadAnnouncement::Field { pointer: "/sig", .. })));
        assert!(read_unsigned(&unsigned).is_ok() && read_unsigned(b"1").is_ok() && read_unsigned(b"x").is_err());
    }

    #[test]
    fn what_was_signed_as_one_kind_is_not_read_as_another() {
        let key = KeyPair::from_seed([3; 32]);
        let field = |refused: Result<String, BadAnnouncement>| match refused {
            Err(BadAnnouncement::Field { pointer, .. }) => pointer,
            other => panic!("{other:?}"),
        };
        let announcement = sign_info(&info(), &key);
        let capability = sign_capability("search", "1", "s-1", &key);
        let goodbye = sign_goodbye("stop", "s-1", &key);
        let signed = |value: Value| bytes(&sign(value, &key));
        let several = ["id", "publicKey", "capability"]
            .map(|name| signed(json!({"reason": "stop", "session": "s-1", name: "search"})));
        for body in [bytes(&announcement), bytes(&capability), signed(json!({"reason": 1, "session": "s-1"}))] {
            assert_eq!(field(read_goodbye(&body, &key.node())), "/reason");
        }
        for (body, pointer) in several.iter().zip(["/id", "/publicKey", "/capability"]) {
            assert_eq!(field(read_goodbye(body, &key.node())), pointer);
        }
        for (body, pointer) in [
            (bytes(&announcement), "/capability"),
            (bytes(&goodbye), "/capability"),
            (signed(json!({"capability": "search", "session": "s-1", "reason": "stop"})), "/reason"),
        ] {
            assert_eq!(field(read_capability(&body, "search", &key.node())), pointer);
        }
        assert_eq!(field(read_capability(&bytes(&capability), "pay", &key.node())), "/capability");
        for value in [capability, goodbye] {
            assert!(matches!(refused(&value), BadAnnouncement::Field { pointer: "/id", .. }));
        }
    }
}
