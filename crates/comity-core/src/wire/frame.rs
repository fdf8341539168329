//! The text frames of a link: `hello`, `channels`, `subscribe`, `unsubscribe`, `receipt`, `ping`,
//! `pong`, `call`, `goodbye`. See "Links" in `protocols/local-network.md`.

use crate::channel::Channel;
use crate::envelope::Message;
use crate::id::MessageId;
use crate::ledger::FateKind;
use crate::limits;
use crate::node::Boot;
use crate::time::Timestamp;
use crate::wire::compact;
use crate::wire::json::{self, BadMessage};
use crate::wire::strict::{self, BadJson};
use serde_json::{Value, json};
use uuid::Uuid;

/// Longest reason of a goodbye, bytes.
const REASON_MAX: usize = 1024;

/// Longest protocol version or UUID, bytes.
const NAME_MAX: usize = 64;

/// Most fates in one receipt; a receiver with more to tell sends several.
pub const FATES_MAX: usize = 4096;

/// A control frame of a link, apart from `hello`, which the body exchanges before the rules hear
/// of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// More channel names for the table by which compact messages name channels.
    Channels(Vec<Channel>),
    /// The sender listens to this channel from now on; without its background messages if `quiet`.
    Subscribe {
        /// The channel.
        channel: Channel,
        /// Leave out background messages.
        quiet: bool,
    },
    /// The sender listens to this channel no more.
    Unsubscribe(Channel),
    /// What became of messages.
    Receipt(Receipt),
    /// Are you there?
    Ping {
        /// Any number; the pong repeats it.
        nonce: u64,
        /// The sender's wall clock, Unix ms, by which the skew is measured.
        ts: u64,
    },
    /// Yes.
    Pong {
        /// The number of the ping.
        nonce: u64,
        /// The answering side's wall clock, Unix ms.
        ts: u64,
    },
    /// The sender of this frame wants a stream for files, and cannot dial: the side that dialled the link opens it,
    /// and names the call. The body answers it, not the rules.
    Call(Uuid),
    /// The sender leaves on purpose.
    Goodbye {
        /// Why, in its words.
        reason: String,
    },
}

/// What became of messages that came over a link. Both sides count the messages that carry an id,
/// in the order of the link: all up to `received` have arrived, and those without a fate of their
/// own were delivered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// How many messages with an id have been taken from this link so far.
    pub received: u64,
    /// The ones that were not simply delivered.
    pub fates: Vec<(MessageId, FateKind)>,
}

/// What a text frame of a link says.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// The first frame of either side.
    Hello(Hello),
    /// A control frame.
    Control(Frame),
    /// A message, as JSON.
    Message(Message),
}

/// The first frame of either side of a link.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// The sender's signed card, not yet checked.
    pub card: Value,
    /// The sender's start.
    pub boot: Boot,
    /// The protocol version it speaks.
    pub protocol: String,
    /// What it listens to, and whether without background messages.
    pub subscriptions: Vec<(Channel, bool)>,
    /// The channel names that its compact messages will use.
    pub channels: Vec<Channel>,
}

/// Why a text frame was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// Not JSON as it is read here.
    #[error(transparent)]
    Json(#[from] BadJson),
    /// A JSON message that was refused.
    #[error("{reason}")]
    Message {
        /// Its id, if that can be read.
        id: Option<MessageId>,
        /// What is wrong with it.
        reason: BadMessage,
    },
    /// A kind of frame that this version does not know: to be counted and passed over.
    #[error("an unknown kind of link frame")]
    Unknown,
    /// A field is missing, has another type, or is too long.
    #[error("{wanted} is wanted at {pointer}")]
    Field {
        /// The field, as an RFC 6901 pointer.
        pointer: &'static str,
        /// What should be there.
        wanted: &'static str,
    },
}

/// Reads a text frame. A message that does not say when it was written was written `now`.
pub fn parse(text: &[u8], now: Timestamp) -> Result<Incoming, BadFrame> {
    let value = strict::parse(text)?;
    let Some(link) = value.get("link") else {
        let id = json::id_of(&value);
        let message = json::decode_value(value, now).map_err(|reason| BadFrame::Message { id, reason })?;
        return Ok(Incoming::Message(message));
    };
    let fields = Fields(&value);
    let frame = match link.as_str() {
        Some("hello") => return fields.hello().map(Incoming::Hello),
        Some("channels") => Frame::Channels(fields.channels("/names")?),
        Some("subscribe") => Frame::Subscribe { channel: fields.channel()?, quiet: fields.quiet()? },
        Some("unsubscribe") => Frame::Unsubscribe(fields.channel()?),
        Some("receipt") => Frame::Receipt(Receipt { received: fields.number("/received")?, fates: fields.fates()? }),
        Some("ping") => Frame::Ping { nonce: fields.number("/nonce")?, ts: fields.number("/ts")? },
        Some("pong") => Frame::Pong { nonce: fields.number("/nonce")?, ts: fields.number("/ts")? },
        Some("call") => Frame::Call(fields.uuid("/call")?),
        Some("goodbye") => Frame::Goodbye { reason: fields.text("/reason", REASON_MAX)?.to_owned() },
        Some(_) => return Err(BadFrame::Unknown),
        None => return Err(BadFrame::Field { pointer: "/link", wanted: "a string" }),
    };
    Ok(Incoming::Control(frame))
}

impl Frame {
    /// The frame as JSON text.
    pub fn encode(&self) -> String {
        match self {
            Self::Channels(names) => json!({"link": "channels", "names": names_of(names)}),
            Self::Subscribe { channel, quiet } => {
                json!({"link": "subscribe", "channel": channel.name(), "quiet": quiet})
            }
            Self::Unsubscribe(channel) => json!({"link": "unsubscribe", "channel": channel.name()}),
            Self::Receipt(Receipt { received, fates }) => {
                let fates: Vec<_> = fates.iter().map(|(id, fate)| json!([id.to_string(), fate.name()])).collect();
                json!({"link": "receipt", "received": received, "fates": fates})
            }
            Self::Ping { nonce, ts } => json!({"link": "ping", "nonce": nonce, "ts": ts}),
            Self::Pong { nonce, ts } => json!({"link": "pong", "nonce": nonce, "ts": ts}),
            Self::Call(call) => json!({"link": "call", "call": call.to_string()}),
            Self::Goodbye { reason } => json!({"link": "goodbye", "reason": reason}),
        }
        .to_string()
    }
}

impl Hello {
    /// The frame as JSON text.
    pub fn encode(&self) -> String {
        let subscription = |(channel, quiet): &(Channel, bool)| json!({"channel": channel.name(), "quiet": quiet});
        json!({
            "link": "hello",
            "protocol": self.protocol,
            "boot": self.boot.0.to_string(),
            "card": self.card,
            "channels": names_of(&self.channels),
            "subscriptions": self.subscriptions.iter().map(subscription).collect::<Vec<_>>(),
        })
        .to_string()
    }
}

fn names_of(channels: &[Channel]) -> Vec<&str> {
    channels.iter().map(Channel::name).collect()
}

/// The members of a control frame that is being read, by pointer.
struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    fn hello(&self) -> Result<Hello, BadFrame> {
        let boot = self.uuid("/boot")?;
        let card = self.0.get("card").filter(|card| card.is_object());
        Ok(Hello {
            card: card.cloned().ok_or(BadFrame::Field { pointer: "/card", wanted: "an object" })?,
            boot: Boot(boot),
            protocol: self.text("/protocol", NAME_MAX)?.to_owned(),
            subscriptions: self.subscriptions()?,
            channels: self.channels("/channels")?,
        })
    }

    fn subscriptions(&self) -> Result<Vec<(Channel, bool)>, BadFrame> {
        const POINTER: &str = "/subscriptions";
        let items = self.items(POINTER, limits::SUBSCRIPTIONS_MAX, "at most 256 subscriptions")?;
        let subscription = |item| Ok((Fields(item).channel()?, Fields(item).quiet()?));
        items.iter().map(subscription).collect()
    }

    fn channels(&self, pointer: &'static str) -> Result<Vec<Channel>, BadFrame> {
        let wanted = "at most 1,024 channel names";
        let names = self.items(pointer, compact::CHANNELS_MAX, wanted)?;
        let channel = |name: &Value| name.as_str().and_then(|name| Channel::new(name).ok());
        names.iter().map(|name| channel(name).ok_or(BadFrame::Field { pointer, wanted })).collect()
    }

    /// Fates of names that a later version made up read as nothing: they are passed over.
    fn fates(&self) -> Result<Vec<(MessageId, FateKind)>, BadFrame> {
        let wanted = "at most 4,096 pairs of message id and fate";
        let mut fates = Vec::new();
        for pair in self.items("/fates", FATES_MAX, wanted)? {
            let texts = (pair.get(0).and_then(Value::as_str), pair.get(1).and_then(Value::as_str));
            let (Some(id), Some(fate)) = texts else { return Err(BadFrame::Field { pointer: "/fates", wanted }) };
            let id = Uuid::parse_str(id).map_err(|_| BadFrame::Field { pointer: "/fates", wanted })?;
            fates.extend(FateKind::parse(fate).map(|fate| (MessageId(id), fate)));
        }
        Ok(fates)
    }

    fn items(&self, pointer: &'static str, most: usize, wanted: &'static str) -> Result<&'a [Value], BadFrame> {
        let items = self.0.pointer(pointer).and_then(Value::as_array).filter(|items| items.len() <= most);
        items.map(Vec::as_slice).ok_or(BadFrame::Field { pointer, wanted })
    }

    fn channel(&self) -> Result<Channel, BadFrame> {
        let channel = self.0.get("channel").and_then(Value::as_str).and_then(|name| Channel::new(name).ok());
        channel.ok_or(BadFrame::Field { pointer: "/channel", wanted: "a channel name" })
    }

    fn quiet(&self) -> Result<bool, BadFrame> {
        let Some(quiet) = self.0.get("quiet") else { return Ok(false) };
        quiet.as_bool().ok_or(BadFrame::Field { pointer: "/quiet", wanted: "true or false" })
    }

    fn uuid(&self, pointer: &'static str) -> Result<Uuid, BadFrame> {
        let text = self.text(pointer, NAME_MAX)?;
        Uuid::parse_str(text).map_err(|_| BadFrame::Field { pointer, wanted: "a UUID" })
    }

    fn number(&self, pointer: &'static str) -> Result<u64, BadFrame> {
        let number = self.0.pointer(pointer).and_then(Value::as_u64);
        number.ok_or(BadFrame::Field { pointer, wanted: "a whole number" })
    }

    fn text(&self, pointer: &'static str, most: usize) -> Result<&'a str, BadFrame> {
        let text = self.0.pointer(pointer).and_then(Value::as_str).filter(|text| text.len() <= most);
        text.ok_or(BadFrame::Field { pointer, wanted: "a short text" })
    }
}

#[cfg(test)]
mod tests;
