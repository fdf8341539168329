//! Compact messages: the 32-byte header, its optional ids, and a MessagePack payload, many to a
//! frame. See "Compact message" in `protocols/local-network.md`. What cannot be said in a header
//! travels as `extended`, with the JSON message for payload.

use crate::channel::Channel;
use crate::envelope::{Address, Kind, Message, Priority, Ttl};
use crate::id::{MessageId, PeerId};
use crate::identity::seal::SEALED_MIN;
use crate::limits;
use crate::payload::Payload;
use crate::time::Timestamp;
use crate::wire::json::{self, Spelling};
use bytes::{BufMut, Bytes, BytesMut};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::borrow::Cow;
use std::cell::RefCell;
use uuid::Uuid;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe;

/// Bytes of the fixed part of the header.
pub const HEADER: usize = 32;

/// Most channel names in a table.
pub const CHANNELS_MAX: usize = 1024;

/// Most bytes that the payloads of one frame may become when they are decompressed: 64 times the frame. More is dropped
/// and counted, so that a frame of small lies cannot fill the memory.
pub const DECOMPRESSED_MAX: usize = 64 * limits::FRAME_MAX;

/// Payloads up to this size, bytes, are never compressed: it costs more than it saves.
const COMPRESS_ABOVE: usize = 1024;

/// What a zstd frame begins with.
pub(crate) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

const SEALED: u16 = 1;
const COMPRESSED: u16 = 2;
const ADDRESSED: u16 = 4;
const IDENTIFIED: u16 = 8;

/// The names by which one side of a link has named channels, found by their hash.
#[derive(Debug, Clone, Default)]
pub struct ChannelTable {
    names: HashMap<u32, Channel, FixedState>,
}

/// Why a channel is not in a table. Its messages travel as extended, so nothing is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Collision {
    /// Another name has the same hash, and was there first.
    #[error("another channel has the same hash")]
    Taken,
    /// The table holds [`CHANNELS_MAX`] names.
    #[error("the channel table is full")]
    Full,
}

/// A message that could not be read and carries an id, so that its sender can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable {
    /// How many messages that stand before it were read.
    pub after: usize,
    /// Its id.
    pub id: MessageId,
}

/// How many messages of a frame were dropped, by cause, and which.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Those with an id, in their order.
    pub unreadable: Vec<Unreadable>,
    /// A type that is not in the protocol.
    pub unknown_type: u32,
    /// A priority that is not in the protocol.
    pub unknown_priority: u32,
    /// A flag that is not in the protocol.
    pub unknown_flag: u32,
    /// A channel hash that the table did not name.
    pub unknown_channel: u32,
    /// A ttl above the limit.
    pub bad_ttl: u32,
    /// A payload that cannot be read.
    pub bad_payload: u32,
}

/// Why a frame is not a sequence of compact messages. The link is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokenFrame {
    /// There is nothing in it.
    #[error("an empty frame")]
    Empty,
    /// It is larger than [`limits::FRAME_MAX`].
    #[error("a frame of more than {} bytes", limits::FRAME_MAX)]
    TooLarge,
    /// A message is longer than what is left of the frame.
    #[error("a message that begins at byte {at} is cut short")]
    Cut {
        /// Where the message begins.
        at: usize,
    },
}

impl ChannelTable {
    /// Names a channel. The name that has a hash first keeps it.
    pub fn insert(&mut self, channel: Channel) -> Result<(), Collision> {
        match self.names.get(&channel.hash()) {
            Some(there) if *there == channel => Ok(()),
            Some(_) => Err(Collision::Taken),
            None if self.names.len() >= CHANNELS_MAX => Err(Collision::Full),
            None => {
                self.names.insert(channel.hash(), channel);
                Ok(())
            }
        }
    }

    /// The channel that was named with this hash.
    pub fn resolve(&self, hash: u32) -> Option<&Channel> {
        self.names.get(&hash)
    }

    /// The hash by which this channel can be named in a header.
    fn hash(&self, channel: &Channel) -> Option<u32> {
        let hash = channel.hash();
        (self.resolve(hash) == Some(channel)).then_some(hash)
    }
}

impl Dropped {
    /// All causes together.
    pub fn total(&self) -> u32 {
        self.by_cause().iter().map(|(_, count)| count).sum()
    }

    /// Every cause, named as it is counted.
    pub fn by_cause(&self) -> [(&'static str, u32); 6] {
        [
            ("unknown_type", self.unknown_type),
            ("unknown_priority", self.unknown_priority),
            ("unknown_flag", self.unknown_flag),
            ("unknown_channel", self.unknown_channel),
            ("bad_ttl", self.bad_ttl),
            ("bad_payload", self.bad_payload),
        ]
    }
}

/// Appends the message to a frame; `false`, and nothing appended, when it does not fit in a compact message in any way
/// and must be sent as a JSON text frame. `table` holds the names this side has sent. `group:<channel>` arrives as
/// broadcast, which means the same, and the milliseconds of the timestamp are cut.
pub fn encode(message: &Message, table: &ChannelTable, out: &mut BytesMut) -> bool {
    plain(message, table, out) || extended(message, table, out)
}

/// Reads the messages of a frame and appends them to `out`, sharing the frame's memory. What cannot be understood is
/// dropped and counted; what stands before a broken place is read. `table` holds the names the other side has sent.
pub fn decode(
    frame: &Bytes,
    table: &ChannelTable,
    now: Timestamp,
    out: &mut Vec<Message>,
) -> Result<Dropped, BrokenFrame> {
    if frame.is_empty() {
        return Err(BrokenFrame::Empty);
    }
    if frame.len() > limits::FRAME_MAX {
        return Err(BrokenFrame::TooLarge);
    }
    let before = out.len();
    let mut reading = Reading { frame, table, now, dropped: Dropped::default(), decompressed: 0 };
    let mut at = 0;
    while at < frame.len() {
        let raw = Raw::parse(&frame[at..]).ok_or(BrokenFrame::Cut { at })?;
        match (reading.message(&raw, at), raw.id) {
            (Some(message), _) => out.push(message),
            (None, Some(id)) => reading.dropped.unreadable.push(Unreadable { after: out.len() - before, id }),
            (None, None) => {}
        }
        at += raw.end;
    }
    Ok(reading.dropped)
}

/// A message in a header of its own, if every part of it has a place there.
fn plain(message: &Message, table: &ChannelTable, out: &mut BytesMut) -> bool {
    let Some(code) = code(message.kind).filter(|_| message.more.is_none()) else { return false };
    let Some(hash) = table.hash(&message.channel) else { return false };
    let silent = message.kind == Kind::Heartbeat;
    if (silent && !message.payload.is_empty()) || message.timestamp.seconds() == u32::MAX {
        return false;
    }
    let pack = message.payload.to_pack();
    let sealed = matches!(message.payload, Payload::Sealed(_));
    // What is sealed looks random: it does not compress.
    let (wire, compressed) = if sealed { (Cow::Borrowed(&*pack), false) } else { compress(&pack) };
    let (recipient, mut flags) = match message.to {
        Address::Peer(peer) => (Some(peer), ADDRESSED),
        Address::Broadcast | Address::Group => (None, 0),
    };
    flags |= if sealed { SEALED } else { 0 } | if compressed { COMPRESSED } else { 0 };
    let identified = message.id.is_some() || message.reply_to.is_some();
    flags |= if identified { IDENTIFIED } else { 0 };
    let header = Header { code, hash, flags, recipient };
    header.write(message, &wire, out)
}

/// A message as the JSON payload of an `extended` one.
fn extended(message: &Message, table: &ChannelTable, out: &mut BytesMut) -> bool {
    let json = json::encode(message, Spelling::Design);
    let (wire, compressed) = compress(&json);
    let hash = table.hash(&message.channel).unwrap_or(0);
    // The id stands in the header too: a receiver that cannot read the payload can still name it.
    let identified = if message.id.is_some() || message.reply_to.is_some() { IDENTIFIED } else { 0 };
    let flags = identified | if compressed { COMPRESSED } else { 0 };
    Header { code: EXTENDED, hash, flags, recipient: None }.write(message, &wire, out)
}

/// The parts of a header that are not simply the message's.
struct Header {
    code: u8,
    hash: u32,
    flags: u16,
    recipient: Option<PeerId>,
}

impl Header {
    fn write(&self, message: &Message, payload: &[u8], out: &mut BytesMut) -> bool {
        let Ok(length) = u16::try_from(payload.len()) else { return false };
        out.reserve(HEADER + 48 + payload.len());
        out.put_u8(self.code);
        out.put_u8(match message.priority {
            Priority::Background => 0,
            Priority::Normal => 1,
            Priority::Critical => 2,
        });
        out.put_slice(message.from.0.as_bytes());
        out.put_u16_le(message.ttl.seconds());
        out.put_u32_le(self.hash);
        out.put_u32_le(message.timestamp.seconds());
        out.put_u16_le(length);
        out.put_u16_le(self.flags);
        if let Some(peer) = self.recipient {
            out.put_slice(peer.0.as_bytes());
        }
        if self.flags & IDENTIFIED != 0 {
            for id in [message.id, message.reply_to] {
                out.put_slice(id.map_or(Uuid::nil(), |id| id.0).as_bytes());
            }
        }
        out.put_slice(payload);
        true
    }
}

/// One message of a frame as it stands there.
struct Raw<'a> {
    code: u8,
    priority: u8,
    from: PeerId,
    ttl: u16,
    hash: u32,
    seconds: u32,
    flags: u16,
    recipient: Option<PeerId>,
    id: Option<MessageId>,
    reply_to: Option<MessageId>,
    payload: &'a [u8],
    /// Where the payload begins, and the message ends, from its first byte.
    begin: usize,
    end: usize,
}

impl<'a> Raw<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEADER>()?;
        let two = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let four = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let flags = two(30);
        let mut from = [0; 16];
        from.copy_from_slice(&head[2..18]);
        let (recipient, rest) = uuid_if(flags & ADDRESSED != 0, rest)?;
        let (id, rest) = uuid_if(flags & IDENTIFIED != 0, rest)?;
        let (reply_to, rest) = uuid_if(flags & IDENTIFIED != 0, rest)?;
        let payload = rest.get(..usize::from(two(28)))?;
        let begin = bytes.len() - rest.len();
        let named = |uuid: Option<Uuid>| uuid.filter(|uuid| !uuid.is_nil()).map(MessageId);
        Some(Self {
            code: head[0],
            priority: head[1],
            from: PeerId(Uuid::from_bytes(from)),
            ttl: two(18),
            hash: four(20),
            seconds: four(24),
            flags,
            recipient: recipient.map(PeerId),
            id: named(id),
            reply_to: named(reply_to),
            payload,
            begin,
            end: begin + payload.len(),
        })
    }
}

fn uuid_if(there: bool, bytes: &[u8]) -> Option<(Option<Uuid>, &[u8])> {
    if !there {
        return Some((None, bytes));
    }
    let (uuid, rest) = bytes.split_first_chunk()?;
    Some((Some(Uuid::from_bytes(*uuid)), rest))
}

/// A frame that is being read.
struct Reading<'a> {
    frame: &'a Bytes,
    table: &'a ChannelTable,
    now: Timestamp,
    dropped: Dropped,
    decompressed: usize,
}

impl Reading<'_> {
    /// The message that begins at this byte of the frame; `None` when it was dropped and counted.
    fn message(&mut self, raw: &Raw<'_>, at: usize) -> Option<Message> {
        if raw.flags & !(SEALED | COMPRESSED | ADDRESSED | IDENTIFIED) != 0 {
            self.dropped.unknown_flag += 1;
            return None;
        }
        if raw.code == EXTENDED {
            let message = self.extended(raw);
            self.dropped.bad_payload += u32::from(message.is_none());
            return message;
        }
        let Some(kind) = kind(raw.code) else {
            self.dropped.unknown_type += 1;
            return None;
        };
        let priority = match raw.priority {
            0 => Priority::Background,
            1 => Priority::Normal,
            2 => Priority::Critical,
            _ => {
                self.dropped.unknown_priority += 1;
                return None;
            }
        };
        let Some(channel) = self.table.resolve(raw.hash) else {
            self.dropped.unknown_channel += 1;
            return None;
        };
        let Ok(ttl) = Ttl::from_seconds(raw.ttl.into()) else {
            self.dropped.bad_ttl += 1;
            return None;
        };
        let Some(payload) = self.payload(raw, kind, at) else {
            self.dropped.bad_payload += 1;
            return None;
        };
        Some(Message {
            id: raw.id,
            from: raw.from,
            to: raw.recipient.map_or(Address::Broadcast, Address::Peer),
            kind,
            channel: channel.clone(),
            priority,
            timestamp: Timestamp::from_millis(u64::from(raw.seconds) * 1000),
            ttl,
            reply_to: raw.reply_to,
            payload,
            more: None,
        })
    }

    fn payload(&mut self, raw: &Raw<'_>, kind: Kind, at: usize) -> Option<Payload> {
        if raw.payload.is_empty() && raw.flags & (SEALED | COMPRESSED) == 0 {
            return Some(Payload::Empty);
        }
        if kind == Kind::Heartbeat {
            return None;
        }
        let shared = || self.frame.slice(at + raw.begin..at + raw.end);
        if raw.flags & SEALED != 0 {
            // Compressed or not shows when it is opened.
            return Payload::from_sealed(shared()).ok().filter(|sealed| sealed.len() >= SEALED_MIN);
        }
        if raw.flags & COMPRESSED != 0 {
            return Payload::from_pack(self.decompress(raw.payload)?).ok();
        }
        Payload::from_pack(shared()).ok()
    }

    fn extended(&mut self, raw: &Raw<'_>) -> Option<Message> {
        if raw.flags & COMPRESSED == 0 {
            return json::decode(raw.payload, self.now).ok();
        }
        json::decode(&self.decompress(raw.payload)?, self.now).ok()
    }

    fn decompress(&mut self, wire: &[u8]) -> Option<Vec<u8>> {
        let size = decompressed_size(wire)?;
        self.decompressed += size;
        if self.decompressed > DECOMPRESSED_MAX { None } else { inflate(wire, size) }
    }
}

/// The type code of the JSON message in a payload.
const EXTENDED: u8 = 0xff;

fn code(kind: Kind) -> Option<u8> {
    match kind {
        Kind::Heartbeat => Some(0x01),
        Kind::Status => Some(0x02),
        Kind::Suggestion => Some(0x03),
        Kind::Bug => Some(0x04),
        Kind::Error => Some(0x05),
        Kind::Query => Some(0x10),
        Kind::Response => Some(0x11),
        Kind::Extended => None,
    }
}

fn kind(code: u8) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| self::code(*kind) == Some(code))
}

thread_local! {
    // A zstd context is worth a megabyte of setting up; it keeps nothing from one payload to the next.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(1).ok());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

/// The bytes as they travel, and whether they are compressed: only when that saves a tenth.
fn compress(bytes: &[u8]) -> (Cow<'_, [u8]>, bool) {
    if bytes.len() <= COMPRESS_ABOVE || bytes.len() > limits::FRAME_MAX {
        return (Cow::Borrowed(bytes), false);
    }
    let small = COMPRESSOR.with_borrow_mut(|zstd| zstd.as_mut().and_then(|zstd| zstd.compress(bytes).ok()));
    match small {
        Some(small) if small.len() <= bytes.len() / 10 * 9 => (Cow::Owned(small), true),
        _ => (Cow::Borrowed(bytes), false),
    }
}

/// What zstd made smaller, if it is one frame of at most [`limits::FRAME_MAX`] bytes.
pub(crate) fn decompress(wire: &[u8]) -> Option<Vec<u8>> {
    inflate(wire, decompressed_size(wire)?)
}

/// The size that the zstd frame says it becomes; the limit when it does not say.
fn decompressed_size(wire: &[u8]) -> Option<usize> {
    let told = zstd_safe::get_frame_content_size(wire).ok()?;
    let size = told.map_or(Some(limits::FRAME_MAX), |size| usize::try_from(size).ok())?;
    (size <= limits::FRAME_MAX).then_some(size)
}

fn inflate(wire: &[u8], size: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|zstd| zstd.as_mut().and_then(|zstd| zstd.decompress(wire, size).ok()))
}

#[cfg(test)]
mod tests;
