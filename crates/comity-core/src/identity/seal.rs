//! Sealed messages: a payload that only one node can open. HPKE (RFC 9180) base mode, as
//! "Sealed messages" in `protocols/identity.md` says. Who wrote it is proved by the message's
//! signature or its link, not here.

use crate::envelope::{Address, Message};
use crate::id::NodeId;
use crate::identity::canonical;
use crate::identity::key::{self, KeyPair};
use crate::limits;
use crate::payload::Payload;
use crate::wire::compact;
use bytes::Bytes;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use serde_json::{Value, json};
use std::convert::Infallible;

const INFO: &[u8] = b"comity/seal/1";

/// Bytes of the encapsulated key that a sealed payload begins with.
const ENCAPSULATED: usize = 32;

/// Bytes of the authentication tag that it ends with.
const TAG: usize = 16;

/// Shortest sealed payload, bytes: of an empty one.
pub(crate) const SEALED_MIN: usize = ENCAPSULATED + TAG;

/// Why a message cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotSeal {
    /// The message has no id, which the seal must bind.
    #[error("a message without an id cannot be sealed")]
    NoId,
    /// The message is for somebody else than the node it is sealed for.
    #[error("the message is not addressed to the node it is sealed for")]
    WrongAddressee,
    /// It is sealed already.
    #[error("the message is sealed already")]
    Sealed,
    /// The key of the receiver is not usable.
    #[error("the receiver's key is not usable")]
    WeakKey,
    /// The payload is too large to be sealed.
    #[error("the payload is larger than {} bytes", limits::PAYLOAD_JSON_MAX - SEALED_MIN)]
    TooLarge,
}

/// Why a message cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotOpen {
    /// It is not sealed.
    #[error("the message is not sealed")]
    NotSealed,
    /// It was sealed for another key or by another sender, or its header or content was changed.
    #[error("the message was sealed for another key, or changed on the way")]
    Wrong,
    /// The content is not a payload.
    #[error("the sealed content is not a valid payload")]
    BadPayload,
}

/// Seals the payload for `to`. `entropy` must be 32 fresh random bytes, used for nothing else.
///
/// The timestamp is cut to whole seconds, which is all that a compact header carries, because the seal binds it. So are
/// id, channel, type, priority, ttl, `reply_to` and both keys: none may change afterwards. Sign after sealing.
pub fn seal(message: &mut Message, to: &NodeId, from: &KeyPair, entropy: [u8; 32]) -> Result<(), CannotSeal> {
    if message.id.is_none() {
        return Err(CannotSeal::NoId);
    }
    if message.to != Address::Peer(to.peer()) {
        return Err(CannotSeal::WrongAddressee);
    }
    if matches!(message.payload, Payload::Sealed(_)) {
        return Err(CannotSeal::Sealed);
    }
    let plain = message.payload.to_pack();
    if plain.len() > limits::PAYLOAD_JSON_MAX - SEALED_MIN {
        return Err(CannotSeal::TooLarge);
    }
    message.timestamp = message.timestamp.whole_seconds();
    let sealed = seal_bytes(&plain, &bound(message, &from.node(), to), to, entropy)?;
    message.payload = Payload::Sealed(Bytes::from(sealed));
    Ok(())
}

/// Seals bytes for `to`, bound to what both sides know. `entropy` must be 32 fresh random bytes.
pub(crate) fn seal_bytes(plain: &[u8], bound: &Value, to: &NodeId, entropy: [u8; 32]) -> Result<Vec<u8>, CannotSeal> {
    let public = key::sealing_key(to).map_err(|_| CannotSeal::WeakKey)?;
    let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&public).map_err(|_| CannotSeal::WeakKey)?;
    let (encapsulated, cipher) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        INFO,
        plain,
        &canonical::to_vec(bound),
        &mut Once(entropy),
    )
    .map_err(|_| CannotSeal::WeakKey)?;
    Ok([encapsulated.to_bytes().as_slice(), &cipher].concat())
}

/// Opens what was sealed for `key`, bound to this.
pub(crate) fn open_bytes(sealed: &[u8], bound: &Value, key: &KeyPair) -> Result<Vec<u8>, CannotOpen> {
    let (encapsulated, cipher) = sealed.split_at_checked(ENCAPSULATED).ok_or(CannotOpen::Wrong)?;
    let encapsulated =
        <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| CannotOpen::Wrong)?;
    let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(key.sealing_secret().as_slice())
        .map_err(|_| CannotOpen::Wrong)?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &secret,
        &encapsulated,
        INFO,
        cipher,
        &canonical::to_vec(bound),
    )
    .map_err(|_| CannotOpen::Wrong)
}

/// Opens what `from` sealed for `key`.
pub fn open(message: &Message, key: &KeyPair, from: &NodeId) -> Result<Payload, CannotOpen> {
    let Payload::Sealed(sealed) = &message.payload else { return Err(CannotOpen::NotSealed) };
    let plain = open_bytes(sealed, &bound(message, from, &key.node()), key)?;
    if plain.is_empty() {
        return Ok(Payload::Empty);
    }
    // Others may compress before they seal. A MessagePack value never begins like a zstd frame.
    let plain = if plain.starts_with(&compact::ZSTD_MAGIC) { compact::decompress(&plain) } else { Some(plain) };
    Payload::from_pack(plain.ok_or(CannotOpen::BadPayload)?).map_err(|_| CannotOpen::BadPayload)
}

/// The associated data: what must stay as it was when the message was sealed. What is absent is left out.
fn bound(message: &Message, from: &NodeId, to: &NodeId) -> Value {
    let mut bound = json!({
        "channel": message.channel.name(),
        "from_key": from.to_string(),
        "priority": message.priority.name(),
        "timestamp": message.timestamp.to_string(),
        "to_key": to.to_string(),
        "ttl": message.ttl.seconds(),
        "type": message.kind.name(),
    });
    for (name, id) in [("id", message.id), ("reply_to", message.reply_to)] {
        if let Some(id) = id {
            bound[name] = Value::String(id.to_string());
        }
    }
    bound
}

/// The generator that HPKE draws its one ephemeral key from: the entropy the caller gave.
struct Once([u8; 32]);

impl TryRng for Once {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        assert_eq!(out.len(), self.0.len(), "DHKEM(X25519) draws 32 bytes, once");
        out.copy_from_slice(&std::mem::take(&mut self.0));
        Ok(())
    }
}

impl TryCryptoRng for Once {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use crate::envelope::{Kind, Priority, Ttl};
    use crate::id::MessageId;
    use crate::time::Timestamp;
    use uuid::Uuid;

    fn pair() -> (KeyPair, KeyPair) {
        (KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32]))
    }

    fn message(from: &KeyPair, to: &KeyPair) -> Message {
        Message {
            id: Some(MessageId(Uuid::from_u128(7))),
            from: from.peer(),
            to: Address::Peer(to.peer()),
            kind: Kind::Query,
            channel: Channel::new("_direct").expect("a name"),
            priority: Priority::Normal,
            timestamp: Timestamp::from_millis(1_700_000_000_999),
            ttl: Ttl::DEFAULT,
            reply_to: None,
            payload: Payload::from_value(&json!({"secret": 42})).expect("small"),
            more: None,
        }
    }

    #[test]
    fn only_the_node_it_is_sealed_for_can_open_it() {
        let (from, to) = pair();
        let mut message = message(&from, &to);
        seal(&mut message, &to.node(), &from, [9; 32]).expect("sealed");
        assert_eq!(message.timestamp.millis() % 1000, 0);
        let opened = open(&message, &to, &from.node()).expect("opened");
        assert_eq!(opened.to_value(), json!({"secret": 42}));
        assert_eq!(open(&message, &from, &from.node()), Err(CannotOpen::Wrong));
        assert_eq!(open(&message, &to, &to.node()), Err(CannotOpen::Wrong));
    }

    #[test]
    fn a_changed_header_or_content_cannot_be_opened() {
        let (from, to) = pair();
        let mut sealed = message(&from, &to);
        seal(&mut sealed, &to.node(), &from, [9; 32]).expect("sealed");
        let changes: [fn(&mut Message); 7] = [
            |message| message.id = Some(MessageId(Uuid::from_u128(8))),
            |message| message.kind = Kind::Response,
            |message| message.priority = Priority::Critical,
            |message| message.ttl = Ttl::MAX,
            |message| message.reply_to = Some(MessageId(Uuid::from_u128(1))),
            |message| message.channel = Channel::new("_debug").expect("a name"),
            |message| message.timestamp = message.timestamp + std::time::Duration::from_secs(1),
        ];
        for change in changes {
            let mut changed = sealed.clone();
            change(&mut changed);
            assert_eq!(open(&changed, &to, &from.node()), Err(CannotOpen::Wrong));
        }
        let bytes = sealed.payload.bytes().to_vec();
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x40;
            sealed.payload = Payload::from_sealed(bytes).expect("small");
            assert_eq!(open(&sealed, &to, &from.node()), Err(CannotOpen::Wrong), "byte {at}");
        }
        for end in 0..bytes.len() {
            sealed.payload = Payload::from_sealed(bytes[..end].to_vec()).expect("small");
            assert_eq!(open(&sealed, &to, &from.node()), Err(CannotOpen::Wrong), "cut at {end}");
        }
    }

    #[test]
    fn what_cannot_be_bound_is_not_sealed() {
        let (from, to) = pair();
        let weak = NodeId::from_bytes([0; 32]);
        let seal_to = |message: &mut Message, node: &NodeId| seal(message, node, &from, [9; 32]);
        let mut one = Message { id: None, ..message(&from, &to) };
        assert_eq!(seal_to(&mut one, &to.node()), Err(CannotSeal::NoId));
        let mut one = Message { to: Address::Broadcast, ..message(&from, &to) };
        assert_eq!(seal_to(&mut one, &to.node()), Err(CannotSeal::WrongAddressee));
        let mut one = Message { to: Address::Peer(weak.peer()), ..message(&from, &to) };
        assert_eq!(seal_to(&mut one, &weak), Err(CannotSeal::WeakKey));
        let mut one = message(&from, &to);
        assert_eq!(open(&one, &to, &from.node()), Err(CannotOpen::NotSealed));
        seal_to(&mut one, &to.node()).expect("sealed");
        assert_eq!(seal_to(&mut one, &to.node()), Err(CannotSeal::Sealed));
    }
}
