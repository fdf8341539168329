//! What a message carries, in the form it came in: JSON text, MessagePack, or sealed bytes.
//! Checked once where it enters, turned into another form only when somebody wants it.

use crate::limits;
use crate::wire::{pack, strict};
use bytes::Bytes;
use serde_json::Value;
use std::borrow::Cow;

/// A message's content. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Nothing at all, as in a heartbeat; reads as JSON `null`.
    Empty,
    /// Valid JSON text, at most [`limits::PAYLOAD_JSON_MAX`] bytes.
    Json(JsonText),
    /// Valid MessagePack with string keys and no extension types.
    Pack(PackBytes),
    /// HPKE: the 32-byte encapsulated key, then the ciphertext.
    Sealed(Bytes),
}

/// JSON text that was checked: one value, no duplicate keys, not too deep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonText(Bytes);

/// MessagePack that was checked: one value, string keys, no extension types, not too deep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackBytes(Bytes);

/// Why a payload was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPayload {
    /// Not one valid value of its form.
    #[error("the payload is not valid {0}")]
    Malformed(&'static str),
    /// More bytes than [`limits::PAYLOAD_JSON_MAX`].
    #[error("the payload is larger than {} bytes", limits::PAYLOAD_JSON_MAX)]
    TooLarge,
}

impl Payload {
    /// A payload of this value.
    pub fn from_value(value: &Value) -> Result<Self, BadPayload> {
        if strict::depth(value) > limits::PAYLOAD_DEPTH_MAX {
            return Err(BadPayload::Malformed("JSON: nested too deeply"));
        }
        Self::bounded(Bytes::from(value.to_string())).map(|text| Self::Json(JsonText(text)))
    }

    /// A payload of JSON text that somebody else wrote.
    pub fn from_json(text: impl Into<Bytes>) -> Result<Self, BadPayload> {
        let text = Self::bounded(text.into())?;
        strict::parse_within(&text, limits::PAYLOAD_DEPTH_MAX).map_err(|_| BadPayload::Malformed("JSON"))?;
        Ok(Self::Json(JsonText(text)))
    }

    /// A payload of MessagePack bytes that somebody else wrote.
    pub fn from_pack(bytes: impl Into<Bytes>) -> Result<Self, BadPayload> {
        let bytes = Self::bounded(bytes.into())?;
        pack::check(&bytes).map_err(|_| BadPayload::Malformed("MessagePack"))?;
        Ok(Self::Pack(PackBytes(bytes)))
    }

    /// A sealed payload: the encapsulated key and the ciphertext.
    pub fn from_sealed(bytes: impl Into<Bytes>) -> Result<Self, BadPayload> {
        Self::bounded(bytes.into()).map(Self::Sealed)
    }

    /// The same content in memory of its own: what came in a frame shares the whole frame's memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        match self {
            Self::Empty => Self::Empty,
            Self::Json(JsonText(text)) => Self::Json(JsonText(copy(text))),
            Self::Pack(PackBytes(bytes)) => Self::Pack(PackBytes(copy(bytes))),
            Self::Sealed(bytes) => Self::Sealed(copy(bytes)),
        }
    }

    /// The bytes as they are held.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Json(JsonText(bytes)) | Self::Pack(PackBytes(bytes)) | Self::Sealed(bytes) => bytes,
        }
    }

    /// The number of bytes held.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The content as a JSON value; sealed content reads `{"sealed":"<base64url>"}`.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Empty => Value::Null,
            Self::Json(JsonText(text)) => serde_json::from_slice(text).expect("JsonText was checked when it was made"),
            Self::Pack(PackBytes(bytes)) => pack::to_value(bytes),
            Self::Sealed(bytes) => serde_json::json!({ "sealed": crate::id::encode_base64(bytes) }),
        }
    }

    /// The content as MessagePack, for a compact message. Sealed bytes are themselves.
    pub fn to_pack(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Empty => Cow::Borrowed(&[]),
            Self::Json(_) => Cow::Owned(pack::from_value(&self.to_value())),
            Self::Pack(PackBytes(bytes)) | Self::Sealed(bytes) => Cow::Borrowed(bytes),
        }
    }

    fn bounded(bytes: Bytes) -> Result<Bytes, BadPayload> {
        if bytes.len() > limits::PAYLOAD_JSON_MAX { Err(BadPayload::TooLarge) } else { Ok(bytes) }
    }
}
