//! Inbox items and digests as they lie on disk: MessagePack arrays with the names of the wire. The
//! order of the fields is the format; a change of it is a step of the schema.

use bytes::Bytes;
use comity_core::channel::Channel;
use comity_core::envelope::{Address, Kind, Message, More, Priority, Received, Signed, Ttl, Via};
use comity_core::id::{MessageId, NodeId, PeerId};
use comity_core::identity::trust::Trust;
use comity_core::inbox::{Digest, Item, Sample};
use comity_core::payload::Payload;
use comity_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use uuid::Uuid;

/// Bytes that are not what this program wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a stored record")]
pub(super) struct BadRecord;

/// The ways by which a message comes.
const VIAS: [Via; 7] = [Via::Link, Via::Post, Via::Events, Via::Rpc, Via::Gossip, Via::Federation, Via::Own];

#[derive(Serialize, Deserialize)]
struct StoredItem<'a> {
    id: Option<Uuid>,
    from: Uuid,
    to: To,
    kind: Cow<'a, str>,
    channel: Cow<'a, str>,
    priority: Cow<'a, str>,
    timestamp: u64,
    ttl: u16,
    reply_to: Option<Uuid>,
    form: Form,
    payload: Bytes,
    more: Option<StoredMore<'a>>,
    trust: Cow<'a, str>,
    key: Option<[u8; 32]>,
    via: Cow<'a, str>,
    received_at: u64,
}

#[derive(Serialize, Deserialize)]
enum To {
    Broadcast,
    Group,
    Peer(Uuid),
}

#[derive(Serialize, Deserialize)]
enum Form {
    Empty,
    Json,
    Pack,
    Sealed,
}

#[derive(Serialize, Deserialize)]
struct StoredMore<'a> {
    topic: Option<Cow<'a, str>>,
    thread: Option<Cow<'a, str>>,
    traceparent: Option<Cow<'a, str>>,
    from_key: Option<[u8; 32]>,
    signature: Option<Bytes>,
    covered: Option<Bytes>,
}

/// An item without its arrival number, which is its row's.
pub(super) fn encode_item(received: &Received) -> Vec<u8> {
    let message = &received.message;
    let stored = StoredItem {
        id: message.id.map(|id| id.0),
        from: message.from.0,
        to: match message.to {
            Address::Broadcast => To::Broadcast,
            Address::Group => To::Group,
            Address::Peer(peer) => To::Peer(peer.0),
        },
        kind: message.kind.name().into(),
        channel: message.channel.name().into(),
        priority: message.priority.name().into(),
        timestamp: message.timestamp.millis(),
        ttl: message.ttl.seconds(),
        reply_to: message.reply_to.map(|id| id.0),
        form: match message.payload {
            Payload::Empty => Form::Empty,
            Payload::Json(_) => Form::Json,
            Payload::Pack(_) => Form::Pack,
            Payload::Sealed(_) => Form::Sealed,
        },
        payload: Bytes::copy_from_slice(message.payload.bytes()),
        more: message.more.as_deref().map(store_more),
        trust: received.trust.name().into(),
        key: received.key.map(|key| *key.as_bytes()),
        via: received.via.name().into(),
        received_at: received.received_at.millis(),
    };
    rmp_serde::to_vec(&stored).expect("MessagePack in memory has no way to fail")
}

/// The item of this row.
pub(super) fn decode_item(arrival: u64, content: &[u8]) -> Result<Item, BadRecord> {
    let stored: StoredItem<'_> = rmp_serde::from_slice(content).map_err(|_| BadRecord)?;
    let message = Message {
        id: stored.id.map(MessageId),
        from: PeerId(stored.from),
        to: match stored.to {
            To::Broadcast => Address::Broadcast,
            To::Group => Address::Group,
            To::Peer(peer) => Address::Peer(PeerId(peer)),
        },
        kind: find(Kind::ALL, Kind::name, &stored.kind)?,
        channel: Channel::new(&stored.channel).map_err(|_| BadRecord)?,
        priority: find(Priority::ALL, Priority::name, &stored.priority)?,
        timestamp: Timestamp::from_millis(stored.timestamp),
        ttl: Ttl::from_seconds(stored.ttl.into()).map_err(|_| BadRecord)?,
        reply_to: stored.reply_to.map(MessageId),
        payload: match stored.form {
            Form::Empty => Ok(Payload::Empty),
            Form::Json => Payload::from_json(stored.payload),
            Form::Pack => Payload::from_pack(stored.payload),
            Form::Sealed => Payload::from_sealed(stored.payload),
        }
        .map_err(|_| BadRecord)?,
        more: stored.more.map(restore_more).transpose()?.map(Box::new),
    };
    let received = Received {
        message,
        trust: find(TRUSTS, Trust::name, &stored.trust)?,
        key: stored.key.map(NodeId::from_bytes),
        via: find(VIAS, Via::name, &stored.via)?,
        received_at: Timestamp::from_millis(stored.received_at),
    };
    Ok(Item { arrival, received })
}

fn store_more(more: &More) -> StoredMore<'_> {
    StoredMore {
        topic: more.topic.as_deref().map(Cow::from),
        thread: more.thread.as_deref().map(Cow::from),
        traceparent: more.traceparent.as_deref().map(Cow::from),
        from_key: more.from_key.map(|key| *key.as_bytes()),
        signature: more.signature.as_ref().map(|signed| Bytes::copy_from_slice(&signed.signature)),
        covered: more.signature.as_ref().map(|signed| Bytes::copy_from_slice(&signed.covered)),
    }
}

fn restore_more(stored: StoredMore<'_>) -> Result<More, BadRecord> {
    let signature = match (stored.signature, stored.covered) {
        (Some(signature), Some(covered)) => {
            let signature = signature.as_ref().try_into().map_err(|_| BadRecord)?;
            Some(Signed { signature, covered: covered.into() })
        }
        (None, None) => None,
        _ => return Err(BadRecord),
    };
    Ok(More {
        topic: stored.topic.map(Cow::into_owned),
        thread: stored.thread.map(Cow::into_owned),
        traceparent: stored.traceparent.map(Cow::into_owned),
        from_key: stored.from_key.map(NodeId::from_bytes),
        signature,
    })
}

/// Every trust, by whose name one is read.
const TRUSTS: [Trust; 3] = [Trust::Unverified, Trust::Verified, Trust::Known];

#[derive(Serialize, Deserialize)]
struct StoredDigest<'a> {
    since: u64,
    until: Option<u64>,
    by_kind: Vec<(Cow<'a, str>, u64)>,
    by_channel: Vec<(Cow<'a, str>, u64)>,
    evicted: u64,
    samples: Vec<StoredSample<'a>>,
    stride: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredSample<'a> {
    at: u64,
    from: Uuid,
    kind: Cow<'a, str>,
    channel: Cow<'a, str>,
    text: Cow<'a, str>,
    trust: Cow<'a, str>,
}

/// A digest.
pub(super) fn encode_digest(digest: &Digest) -> Vec<u8> {
    let stored = StoredDigest {
        since: digest.since.millis(),
        until: digest.until.map(Timestamp::millis),
        by_kind: digest.by_kind.iter().map(|(kind, count)| (kind.name().into(), *count)).collect(),
        by_channel: digest.by_channel.iter().map(|(channel, count)| (channel.name().into(), *count)).collect(),
        evicted: digest.evicted,
        samples: digest
            .samples
            .iter()
            .map(|sample| StoredSample {
                at: sample.at.millis(),
                from: sample.from.0,
                kind: sample.kind.name().into(),
                channel: sample.channel.name().into(),
                text: sample.text.as_str().into(),
                trust: sample.trust.name().into(),
            })
            .collect(),
        stride: digest.stride,
    };
    rmp_serde::to_vec(&stored).expect("MessagePack in memory has no way to fail")
}

/// The digest in these bytes.
pub(super) fn decode_digest(content: &[u8]) -> Result<Digest, BadRecord> {
    let stored: StoredDigest<'_> = rmp_serde::from_slice(content).map_err(|_| BadRecord)?;
    let kind = |name: &str| find(Kind::ALL, Kind::name, name);
    let channel = |name: &str| Channel::new(name).map_err(|_| BadRecord);
    let sample = |stored: &StoredSample<'_>| {
        Ok(Sample {
            at: Timestamp::from_millis(stored.at),
            from: PeerId(stored.from),
            trust: find(TRUSTS, Trust::name, &stored.trust)?,
            kind: kind(&stored.kind)?,
            channel: channel(&stored.channel)?,
            text: stored.text.clone().into_owned(),
        })
    };
    Ok(Digest {
        since: Timestamp::from_millis(stored.since),
        until: stored.until.map(Timestamp::from_millis),
        by_kind: stored.by_kind.iter().map(|(name, count)| Ok((kind(name)?, *count))).collect::<Result<_, _>>()?,
        by_channel: stored.by_channel.iter().map(|(name, n)| Ok((channel(name)?, *n))).collect::<Result<_, _>>()?,
        evicted: stored.evicted,
        samples: stored.samples.iter().map(sample).collect::<Result<_, _>>()?,
        stride: stored.stride.max(1),
    })
}

fn find<T: Copy, const N: usize>(all: [T; N], name_of: fn(T) -> &'static str, name: &str) -> Result<T, BadRecord> {
    all.into_iter().find(|one| name_of(*one) == name).ok_or(BadRecord)
}
