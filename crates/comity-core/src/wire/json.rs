//! JSON messages, in the design's spelling and in the coded one; both are read, the first is
//! written unless a peer wants the other. See "Messages" in `protocols/local-network.md`. Whether
//! a message is fresh, wanted or admitted is decided by the rules, not here.

use crate::channel::Channel;
use crate::envelope::{Address, Kind, Message, More, Priority, Signed, Ttl};
use crate::id::{MessageId, NodeId, PeerId, decode_base64, encode_base64};
use crate::identity::canonical;
use crate::identity::key::KeyPair;
use crate::identity::seal::SEALED_MIN;
use crate::identity::signature::{self, BadSignature, Context};
use crate::limits;
use crate::payload::{BadPayload, Payload};
use crate::time::Timestamp;
use crate::wire::strict::{self, BadJsonReason};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Longest `topic`, `thread` or `traceparent`, bytes.
pub const TEXT_MAX: usize = 256;

/// What the optional body wrapper, and a group address, are called.
const WRAPPER: &str = "message";
const GROUP: &str = "group:";

/// Which of the two spellings to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// `type`, `to: "broadcast"`, lower-case names. With the signature, if there is one.
    Design,
    /// `msg_type`, `to: "Broadcast"`, variant names. Unsigned: peers that want it check nothing.
    Coded,
}

/// Why a JSON message was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (at {})", if pointer.is_empty() { "the top" } else { pointer })]
pub struct BadMessage {
    /// The field, as an RFC 6901 pointer into the body; empty for the whole body.
    pub pointer: String,
    /// What is wrong with it.
    pub reason: BadMessageReason,
}

/// What is wrong with a field of a JSON message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMessageReason {
    /// The body is not a JSON document that is read here.
    #[error(transparent)]
    Json(BadJsonReason),
    /// The field must be there.
    #[error("missing")]
    Missing,
    /// The field has another type or form.
    #[error("{0} is wanted")]
    Wanted(&'static str),
    /// The text is longer than allowed.
    #[error("longer than {TEXT_MAX} bytes")]
    TooLong,
    /// The payload cannot be taken.
    #[error(transparent)]
    Payload(BadPayload),
}

/// Reads a message: bare, or as `{"message":{…}}`. What it does not say is filled in: no id, written now, the priority
/// of its channel, the usual ttl.
pub fn decode(text: &[u8], now: Timestamp) -> Result<Message, BadMessage> {
    // The wrapper is not part of the message, so it does not count as a level.
    let value = strict::parse_within(text, limits::JSON_DEPTH_MAX + 1)
        .map_err(|bad| BadMessage { pointer: bad.pointer, reason: BadMessageReason::Json(bad.reason) })?;
    decode_value(value, now)
}

/// Reads a message that was already parsed: bare, or as `{"message":{…}}`.
pub fn decode_value(value: Value, now: Timestamp) -> Result<Message, BadMessage> {
    let (value, prefix) = unwrapped(value);
    if strict::depth(&value) > limits::JSON_DEPTH_MAX {
        let reason = BadMessageReason::Json(BadJsonReason::TooDeep);
        return Err(BadMessage { pointer: prefix.to_owned(), reason });
    }
    from_value(value, now).map_err(|bad| BadMessage { pointer: format!("{prefix}{}", bad.pointer), ..bad })
}

/// The id of a message that may be unreadable otherwise.
pub(crate) fn id_of(value: &Value) -> Option<MessageId> {
    let id = value.get("message").unwrap_or(value).get("id")?;
    Uuid::parse_str(id.as_str()?).ok().map(MessageId)
}

fn from_value(value: Value, now: Timestamp) -> Result<Message, BadMessage> {
    let Value::Object(members) = value else { return Err(bad("", BadMessageReason::Wanted("an object"))) };
    let mut fields = Fields(members);
    let signature = fields.signature()?;
    let kind = fields.kind()?;
    let (to, group) = fields.to()?;
    let (channel, topic) = fields.channel(kind, group)?;
    let more = More {
        topic,
        thread: fields.text("thread")?,
        traceparent: fields.text("traceparent")?,
        from_key: fields.signer()?,
        signature,
    };
    let (id, timestamp) = (fields.uuid("id")?.map(MessageId), fields.timestamp()?);
    if more.signature.is_some() {
        // What is filled in here is not signed: whoever captured the message could send it for ever.
        id.ok_or_else(|| bad("id", BadMessageReason::Missing))?;
        timestamp.ok_or_else(|| bad("timestamp", BadMessageReason::Missing))?;
    }
    Ok(Message {
        id,
        from: fields.uuid("from")?.map(PeerId).ok_or_else(|| bad("from", BadMessageReason::Missing))?,
        to,
        kind,
        priority: fields.priority()?.unwrap_or_else(|| channel.priority()),
        channel,
        timestamp: timestamp.unwrap_or(now),
        ttl: fields.ttl()?,
        reply_to: fields.uuid("reply_to")?.map(MessageId),
        payload: fields.payload()?,
        more: (more != More::default()).then(|| Box::new(more)),
    })
}

/// The message as JSON text, without a wrapper.
pub fn encode(message: &Message, spelling: Spelling) -> Vec<u8> {
    to_value(message, spelling).to_string().into_bytes()
}

/// The message as a JSON value, without a wrapper. A signed message keeps the very fields that were signed.
pub fn to_value(message: &Message, spelling: Spelling) -> Value {
    let signed = message.more.as_ref().and_then(|more| more.signature.as_ref());
    match (spelling, signed) {
        (Spelling::Coded, _) => coded(message),
        (Spelling::Design, None) => design(message),
        (Spelling::Design, Some(signed)) => {
            // Canonical form loses the order of keys and the last digits of large integers, so it is the last resort:
            // for messages that were signed in the coded spelling, or with fields unknown here.
            let mut value = design(message);
            if canonical::to_vec(&value) != signed.covered {
                value = serde_json::from_slice(&signed.covered).unwrap_or_default();
            }
            value["sig"] = Value::String(encode_base64(&signed.signature));
            value
        }
    }
}

/// Signs the message as it would be written in the design's spelling. An earlier signature is replaced.
pub fn sign(message: &mut Message, key: &KeyPair) {
    let more = message.more.get_or_insert_default();
    more.from_key = Some(key.node());
    more.signature = None;
    let covered = canonical::to_vec(&design(message));
    let signature = signature::sign_bytes(key, Context::Message, &covered);
    message.more.get_or_insert_default().signature = Some(Signed { signature, covered });
}

/// The key that signed the message, if it is signed, its signature is right and `from` is that key's own id.
pub fn proven_key(message: &Message) -> Result<Option<NodeId>, BadSignature> {
    let Some(more) = &message.more else { return Ok(None) };
    let Some(signed) = &more.signature else { return Ok(None) };
    let key = more.from_key.ok_or(BadSignature::NoKey)?;
    signature::verify_bytes(&key, Context::Message, &signed.covered, &signed.signature)?;
    if key.peer() == message.from { Ok(Some(key)) } else { Err(BadSignature::NotTheSender) }
}

fn design(message: &Message) -> Value {
    let to = match &message.to {
        Address::Broadcast => "broadcast".to_owned(),
        Address::Group => format!("{GROUP}{}", message.channel),
        Address::Peer(peer) => peer.to_string(),
    };
    let names = [("to", Value::String(to)), ("type", message.kind.name().into())];
    spelt(message, names, message.priority.name())
}

fn coded(message: &Message) -> Value {
    let to = match &message.to {
        Address::Broadcast => json!("Broadcast"),
        Address::Group => json!({ "Channel": message.channel.name() }),
        Address::Peer(peer) => json!({ "Peer": peer.to_string() }),
    };
    let names = [("to", to), ("msg_type", coded_kind(message.kind).into())];
    spelt(message, names, coded_priority(message.priority))
}

/// The fields that both spellings share, around the two that they do not.
fn spelt(message: &Message, names: [(&str, Value); 2], priority: &str) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    let more = message.more.as_deref();
    let text = |text: &Option<String>| text.clone().map(Value::String);
    put("id", message.id.map(|id| id.to_string().into()));
    put("from", Some(message.from.to_string().into()));
    for (name, value) in names {
        put(name, Some(value));
    }
    put("channel", Some(message.channel.name().into()));
    put("topic", more.and_then(|more| text(&more.topic)));
    put("payload", Some(message.payload.to_value()));
    put("priority", Some(priority.into()));
    put("timestamp", Some(message.timestamp.to_string().into()));
    put("ttl", Some(message.ttl.seconds().into()));
    put("reply_to", message.reply_to.map(|id| id.to_string().into()));
    put("thread", more.and_then(|more| text(&more.thread)));
    put("traceparent", more.and_then(|more| text(&more.traceparent)));
    put("from_key", more.and_then(|more| more.from_key).map(|key| key.to_string().into()));
    Value::Object(members)
}

/// The name of a type in the coded spelling.
fn coded_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Status => "Status",
        Kind::Suggestion => "Suggestion",
        Kind::Bug => "BugReport",
        Kind::Error => "Error",
        Kind::Query => "Query",
        Kind::Response => "Response",
        Kind::Heartbeat => "Heartbeat",
        Kind::Extended => "Extended",
    }
}

/// The name of a priority in the coded spelling.
fn coded_priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Critical => "Critical",
        Priority::Normal => "Normal",
        Priority::Background => "Background",
    }
}

fn unwrapped(value: Value) -> (Value, &'static str) {
    match value {
        Value::Object(mut members) if members.len() == 1 && members.contains_key(WRAPPER) => {
            (members.remove(WRAPPER).unwrap_or_default(), "/message")
        }
        bare => (bare, ""),
    }
}

fn bad(field: &str, reason: BadMessageReason) -> BadMessage {
    let pointer = if field.is_empty() { String::new() } else { format!("/{field}") };
    BadMessage { pointer, reason }
}

/// The members of a message that is being read. `null` counts as absent, except in `payload`.
struct Fields(Map<String, Value>);

impl Fields {
    fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn string(&self, name: &str) -> Result<Option<&str>, BadMessage> {
        let wanted = || bad(name, BadMessageReason::Wanted("a string"));
        self.value(name).map(|value| value.as_str().ok_or_else(wanted)).transpose()
    }

    fn text(&self, name: &str) -> Result<Option<String>, BadMessage> {
        match self.string(name)? {
            Some(text) if text.len() > TEXT_MAX => Err(bad(name, BadMessageReason::TooLong)),
            text => Ok(text.map(str::to_owned)),
        }
    }

    /// A string field that must parse, if it is there.
    fn parsed<T>(
        &self,
        name: &str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, BadMessage> {
        let refused = || bad(name, BadMessageReason::Wanted(wanted));
        self.string(name)?.map(|text| parse(text).ok_or_else(refused)).transpose()
    }

    fn uuid(&self, name: &str) -> Result<Option<Uuid>, BadMessage> {
        self.parsed(name, "a UUID", |text| Uuid::parse_str(text).ok())
    }

    fn timestamp(&self) -> Result<Option<Timestamp>, BadMessage> {
        self.parsed("timestamp", "an RFC 3339 time", Timestamp::parse)
    }

    fn signer(&self) -> Result<Option<NodeId>, BadMessage> {
        self.parsed("from_key", "`ed25519:` and 32 bytes in base64url", |text| text.parse().ok())
    }

    fn priority(&self) -> Result<Option<Priority>, BadMessage> {
        self.parsed("priority", "critical, normal or background", |text| {
            Priority::ALL.into_iter().find(|one| one.name() == text || coded_priority(*one) == text)
        })
    }

    fn kind(&self) -> Result<Kind, BadMessage> {
        let name = if self.value("type").is_none() && self.value("msg_type").is_some() { "msg_type" } else { "type" };
        const WANTED: &str = "status, suggestion, bug, error, query, response, heartbeat or extended";
        self.parsed(name, WANTED, |text| {
            Kind::ALL.into_iter().find(|kind| kind.name() == text || coded_kind(*kind) == text)
        })?
        .ok_or_else(|| bad(name, BadMessageReason::Missing))
    }

    /// Whom it is for, and the channel if that names one.
    fn to(&self) -> Result<(Address, Option<Channel>), BadMessage> {
        const WANTED: &str = "broadcast, group:<channel> or a peer's UUID";
        let refused = |field: &str| bad(field, BadMessageReason::Wanted(WANTED));
        let peer = |field: &str, text: &str| match Uuid::parse_str(text) {
            Ok(uuid) => Ok((Address::Peer(PeerId(uuid)), None)),
            Err(_) => Err(refused(field)),
        };
        let group = |field: &str, name: &str| match Channel::new(name) {
            Ok(channel) => Ok((Address::Group, Some(channel))),
            Err(_) => Err(bad(field, BadMessageReason::Wanted("a channel name"))),
        };
        match self.value("to") {
            None => Err(bad("to", BadMessageReason::Missing)),
            Some(Value::String(text)) if text == "broadcast" || text == "Broadcast" => Ok((Address::Broadcast, None)),
            Some(Value::String(text)) => match text.strip_prefix(GROUP) {
                Some(name) => group("to", name),
                None => peer("to", text),
            },
            Some(Value::Object(members)) if members.len() == 1 => match (members.get("Channel"), members.get("Peer")) {
                (Some(Value::String(name)), None) => group("to/Channel", name),
                (None, Some(Value::String(text))) => peer("to/Peer", text),
                _ => Err(refused("to")),
            },
            Some(_) => Err(refused("to")),
        }
    }

    /// The channel, and the topic if that did not name it.
    fn channel(&self, kind: Kind, group: Option<Channel>) -> Result<(Channel, Option<String>), BadMessage> {
        let wanted = "a channel name of 1 to 128 bytes without spaces";
        let topic = self.text("topic")?;
        if let Some(channel) = self.parsed("channel", wanted, |name| Channel::new(name).ok())?.or(group) {
            return Ok((channel, topic));
        }
        match topic {
            Some(name) if name.starts_with('_') || name.starts_with("custom:") => match Channel::new(&name) {
                Ok(channel) => Ok((channel, None)),
                Err(_) => Err(bad("topic", BadMessageReason::Wanted(wanted))),
            },
            topic => Ok((Channel::of_kind(kind), topic)),
        }
    }

    fn ttl(&self) -> Result<Ttl, BadMessage> {
        let Some(value) = self.value("ttl") else { return Ok(Ttl::DEFAULT) };
        let seconds = value.as_u64().and_then(|seconds| Ttl::from_seconds(seconds).ok());
        seconds.ok_or_else(|| bad("ttl", BadMessageReason::Wanted("0 to 3600 seconds, a whole number")))
    }

    fn payload(&mut self) -> Result<Payload, BadMessage> {
        match self.0.get("payload") {
            None | Some(Value::Null) => Ok(Payload::Empty),
            Some(value) => match sealed(value) {
                Some(bytes) => Payload::from_sealed(bytes),
                None => Payload::from_value(value),
            }
            .map_err(|reason| bad("payload", BadMessageReason::Payload(reason))),
        }
    }

    /// Takes `sig` out, together with what it covers.
    fn signature(&mut self) -> Result<Option<Signed>, BadMessage> {
        const WANTED: &str = "64 bytes in base64url";
        let signature = self.parsed("sig", WANTED, |text| decode_base64(text)?.try_into().ok())?;
        self.0.shift_remove("sig");
        let Some(signature) = signature else { return Ok(None) };
        // The members change hands instead of being copied: canonical form wants a Value.
        let value = Value::Object(std::mem::take(&mut self.0));
        let covered = canonical::to_vec(&value);
        if let Value::Object(members) = value {
            self.0 = members;
        }
        Ok(Some(Signed { signature, covered }))
    }
}

/// The bytes of a sealed payload: an object that has only `sealed`, base64url, long enough to be one.
fn sealed(value: &Value) -> Option<Vec<u8>> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    decode_base64(members.get("sealed")?.as_str()?).filter(|bytes| bytes.len() >= SEALED_MIN)
}

#[cfg(test)]
mod tests;
