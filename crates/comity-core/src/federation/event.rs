//! An event of a federated channel: what its author says, and the place that the hub gave it. See "Channels" in
//! `protocols/federation.md`. It is read and written in `wire/federation/event.rs`.

use super::{ChannelId, Origin};
use crate::id::{NodeId, decode_base64, encode_base64};
use crate::identity::canonical;
use crate::identity::key::KeyPair;
use crate::identity::signature::{self, BadSignature, Context};
use crate::time::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Bytes of an id.
const ID_LENGTH: usize = 20;

/// What every id begins with.
const ID_PREFIX: &str = "evt_";

/// The letters of an id (RFC 4648 base32, in lower case).
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// An event's id: the first 20 bytes of the hash of what its author says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId([u8; ID_LENGTH]);

/// A text that is no event's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an event's id: `evt_` and 32 letters of lower-case base32 are wanted")]
pub struct NotAnEventId;

/// What an author says: all members but those that a hub adds. Which they are is fixed by [`Self::id`].
#[derive(Debug, Clone, PartialEq)]
pub struct Authored {
    /// Its id.
    pub id: EventId,
    /// Where it is said.
    pub channel: ChannelId,
    /// What it is: a name such as `message`, or one of the channel's own, `naomi:…`.
    pub kind: String,
    /// Who says it.
    pub origin: Origin,
    /// The author's key; `None` where a hub attests it.
    pub key: Option<NodeId>,
    /// Which of the author's events on this channel it is, from 1; `None` where a hub attests it.
    pub author_seq: Option<u64>,
    /// When it was said, by the author's clock.
    pub at: Timestamp,
    /// The last event that the author had seen.
    pub prev_seen: Option<EventId>,
    /// Whether a hub attests it, for an author that signs no events: the id by which that author knows it. The hub's
    /// signature over its place is all that proves it.
    pub attested: Option<String>,
    /// The author's signature; `None` where a hub attests it.
    pub signature: Option<[u8; 64]>,
    /// What it says.
    pub data: Value,
    /// All that is signed, as it is signed (RFC 8785): the event without `sig`.
    pub signed: String,
    /// The same as its author wrote it, where it has numbers with a point or an exponent: signed, 1e19 has all its digits,
    /// and nobody reads an integer as large; 1.0 has no point, and is another type to some.
    pub written: Option<String>,
}

/// The place of an event in its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Its number, from 1.
    pub seq: u64,
    /// The event before it.
    pub prev: Option<EventId>,
    /// When the hub took it.
    pub at: Timestamp,
    /// How often the line has begun anew after a hub was lost.
    pub term: u64,
    /// The hub's key.
    pub key: NodeId,
    /// Its signature.
    pub signature: [u8; 64],
}

/// An event in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What its author says.
    pub authored: Authored,
    /// Where it stands.
    pub order: Order,
}

/// What an author is about to say.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// Where.
    pub channel: &'a ChannelId,
    /// What it is.
    pub kind: &'a str,
    /// Who.
    pub origin: &'a Origin,
    /// Which of the author's events it is; `None` for one that a hub attests.
    pub author_seq: Option<u64>,
    /// When.
    pub at: Timestamp,
    /// What it says.
    pub data: &'a Value,
    /// The last event that the author has seen.
    pub prev_seen: Option<EventId>,
    /// The author's own id of an event that a hub attests.
    pub attested: Option<&'a str>,
}

impl Authored {
    /// Signs an event, by its author.
    pub fn sign(key: &KeyPair, draft: &Draft<'_>) -> Self {
        let mut signed = Self::made(draft, Some(key.node()));
        signed.signature = Some(signature::sign_bytes(key, Context::Event, signed.signed.as_bytes()));
        signed
    }

    /// An event of an author that signs none; the hub that attests it says so by giving it a place.
    pub fn attest(draft: &Draft<'_>) -> Self {
        Self::made(draft, None)
    }

    fn made(draft: &Draft<'_>, key: Option<NodeId>) -> Self {
        let own: [(&str, Option<Value>); 9] = [
            ("channel", Some(draft.channel.to_string().into())),
            ("type", Some(draft.kind.into())),
            ("origin", Some(draft.origin.as_str().into())),
            ("key_id", key.map(|key| key.to_string().into())),
            ("origin_server_ts", Some(draft.at.millis().into())),
            ("author_seq", draft.author_seq.map(Value::from)),
            ("prev_seen", draft.prev_seen.map(|prev| prev.to_string().into())),
            ("attested", draft.attested.map(|_| true.into())),
            ("submitted_id", draft.attested.map(Value::from)),
        ];
        let own = own.iter().filter_map(|(name, member)| Some((*name, member.as_ref()?)));
        let Form { id, signed, written } = Form::of(own.chain([("data", draft.data)]));
        Self {
            id,
            channel: draft.channel.clone(),
            kind: draft.kind.to_owned(),
            origin: draft.origin.clone(),
            key,
            author_seq: draft.author_seq,
            at: draft.at,
            prev_seen: draft.prev_seen,
            attested: draft.attested.map(str::to_owned),
            signature: None,
            data: draft.data.clone(),
            signed,
            written,
        }
    }

    /// Checks that the key it names signed it, if it is not attested. Whose key that is, is for the caller to know; the id
    /// was checked when it was read.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self) -> Result<(), BadSignature> {
        match (&self.key, &self.signature) {
            (Some(key), Some(signature)) => {
                signature::verify_bytes(key, Context::Event, self.signed.as_bytes(), signature)
            }
            _ if self.attested.is_some() => Ok(()),
            _ => Err(BadSignature::Wrong),
        }
    }
}

impl Order {
    /// Signs a place: by the channel's hub.
    pub fn sign(
        key: &KeyPair,
        (channel, id): (&ChannelId, EventId),
        (seq, prev): (u64, Option<EventId>),
        (at, term): (Timestamp, u64),
    ) -> Self {
        let mut order = Self { seq, prev, at, term, key: key.node(), signature: [0; 64] };
        order.signature = signature::sign_bytes(key, Context::Order, order.covered(channel, id).as_bytes());
        order
    }

    /// Checks that the key it names gave this event this place. Whose key that is, is for the caller to know.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, channel: &ChannelId, id: EventId) -> Result<(), BadSignature> {
        signature::verify_bytes(&self.key, Context::Order, self.covered(channel, id).as_bytes(), &self.signature)
    }

    /// What is signed of it, in RFC 8785 form: nothing in it is written with escapes.
    fn covered(&self, channel: &ChannelId, id: EventId) -> String {
        let Self { seq, prev, at, term, key, .. } = self;
        let (hub, at, prev) = (channel.hub(), at.millis(), Quoted(*prev));
        format!(
            "{{\"channel\":\"{channel}\",\"hub\":\"{hub}\",\"hub_key_id\":\"{key}\",\"hub_ts\":{at},\"id\":\"{id}\",\
             \"prev_event\":{prev},\"seq\":{seq},\"term\":{term}}}"
        )
    }

    /// The members that a hub adds to an event, in JSON, each after a comma.
    pub(crate) fn text(&self) -> String {
        let Self { seq, prev, at, term, key, signature } = self;
        let (at, prev, signature) = (at.millis(), Quoted(*prev), encode_base64(signature));
        format!(
            ",\"seq\":{seq},\"prev_event\":{prev},\"hub_ts\":{at},\"term\":{term},\"hub_key_id\":\"{key}\",\
             \"hub_sig\":\"{signature}\""
        )
    }
}

/// An event's id in JSON, or null.
struct Quoted(Option<EventId>);

impl fmt::Display for Quoted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(id) => write!(out, "\"{id}\""),
            None => out.write_str("null"),
        }
    }
}

/// What an author says, as text, and its id.
pub(crate) struct Form {
    pub(crate) id: EventId,
    pub(crate) signed: String,
    pub(crate) written: Option<String>,
}

impl Form {
    /// Of these members, each once, and without `id` itself.
    pub(crate) fn of<'a>(members: impl Iterator<Item = (&'a str, &'a Value)>) -> Self {
        const ID: &str = "id";
        let mut members: Vec<_> = members.collect();
        members.sort_unstable_by(|(one, _), (other, _)| canonical::order(one, other));
        // A type and an origin always come after it.
        let (mut text, mut place_of_id) = (b"{".to_vec(), 1);
        for (name, member) in &members {
            if text.len() > 1 {
                text.push(b',');
            }
            canonical::write_text(&mut text, name);
            text.push(b':');
            canonical::write(&mut text, member);
            if canonical::order(name, ID).is_lt() {
                place_of_id = text.len() + 1;
            }
        }
        text.push(b'}');
        let id = EventId::of(&text);
        let mut signed = String::from_utf8(text).expect("JSON is text");
        signed.insert_str(place_of_id, &format!("\"{ID}\":\"{id}\","));
        let written = members.iter().any(|(_, member)| has_double(member)).then(|| {
            let members = members.iter().map(|(name, member)| format!(",{}:{member}", Value::from(*name)));
            format!("{{\"{ID}\":\"{id}\"{}}}", members.collect::<String>())
        });
        Self { id, signed, written }
    }
}

/// Whether there is a number with a point or an exponent in a value.
fn has_double(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_double),
        Value::Object(members) => members.values().any(has_double),
        Value::Number(number) => number.is_f64(),
        _ => false,
    }
}

impl EventId {
    /// The id of what an author says: all members but `id` and `sig`, in RFC 8785 form.
    pub fn of(canonical: &[u8]) -> Self {
        let hash = Sha256::digest(canonical);
        Self(hash[..ID_LENGTH].try_into().expect("a hash has 32 bytes"))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; ID_LENGTH] {
        &self.0
    }

    /// The id of these bytes.
    pub fn from_bytes(bytes: [u8; ID_LENGTH]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(ID_PREFIX)?;
        for five in self.0.chunks_exact(5) {
            let bits = five.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
            for place in (0..8).rev() {
                let letter = usize::try_from(bits >> (5 * place) & 31).expect("below 32");
                write!(out, "{}", char::from(LETTERS[letter]))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<Self, NotAnEventId> {
        let letters = text.strip_prefix(ID_PREFIX).ok_or(NotAnEventId)?.as_bytes();
        if letters.len() != ID_LENGTH / 5 * 8 {
            return Err(NotAnEventId);
        }
        let mut bytes = [0; ID_LENGTH];
        for (five, eight) in bytes.chunks_exact_mut(5).zip(letters.chunks_exact(8)) {
            let mut bits = 0u64;
            for letter in eight {
                let value = LETTERS.iter().position(|known| known == letter).ok_or(NotAnEventId)?;
                bits = bits << 5 | value as u64;
            }
            five.copy_from_slice(&bits.to_be_bytes()[3..]);
        }
        Ok(Self(bytes))
    }
}

/// Reads a signature as it is written in an event.
pub(crate) fn read_signature(text: &str) -> Option<[u8; 64]> {
    decode_base64(text).and_then(|bytes| bytes.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_base32() {
        let mut bytes = [0; 20];
        bytes[..6].copy_from_slice(b"foobar");
        let id = EventId(bytes);
        assert_eq!(id.to_string(), "evt_mzxw6ytboiaaaaaaaaaaaaaaaaaaaaaa");
        assert_eq!(id.to_string().parse(), Ok(id));
        let all: [u8; 20] = std::array::from_fn(|at| u8::try_from(at * 13 % 256).expect("a byte"));
        assert_eq!(EventId(all).to_string().parse(), Ok(EventId(all)));
        for text in [
            "evt_",
            "mzxw6ytboiaaaaaaaaaaaaaaaaaaaaaa",
            "evt_MZXW6YTBOIAAAAAAAAAAAAAAAAAAAAAA",
            "evt_1zxw6ytboiaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(text.parse::<EventId>(), Err(NotAnEventId), "{text}");
        }
    }

    #[test]
    fn a_place_is_signed_for_one_event_of_one_channel() {
        let key = KeyPair::from_seed([1; 32]);
        let channel: ChannelId = "!a:alpha.test".parse().expect("a channel");
        let (id, other) = (EventId([1; 20]), EventId([2; 20]));
        let order = Order::sign(&key, (&channel, id), (1, None), (Timestamp::from_millis(5), 1));
        assert_eq!(order.verify(&channel, id), Ok(()));
        let wrong = Err(BadSignature::Wrong);
        assert_eq!(order.verify(&channel, other), wrong);
        assert_eq!(order.verify(&"!b:alpha.test".parse().expect("a channel"), id), wrong);
        for changed in [
            Order { seq: 2, ..order },
            Order { prev: Some(other), ..order },
            Order { term: 2, ..order },
            Order { at: Timestamp::from_millis(6), ..order },
        ] {
            assert_eq!(changed.verify(&channel, id), wrong);
        }
    }
}
