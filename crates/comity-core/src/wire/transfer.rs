//! The packets of a file transfer, spoken from end to end between the two commands: text packets in JSON, and
//! binary packets that are pieces of the file in turn. What may be said when is in [`crate::transfer`].

use crate::wire::strict::{self, BadJson};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The version that is spoken here.
pub const VERSION: u32 = 1;

/// Largest piece of a file in one packet, bytes: as much as TLS and data channels carry well at once.
pub const CHUNK_MAX: usize = 64 * 1024;

/// Largest text packet, bytes: the longest path, escaped, and the first names of an offer fit.
pub const TEXT_MAX: usize = 32 * 1024;

/// Names that an offer shows, at most.
pub const NAMES_MAX: usize = 8;

/// Longest sentence about a failure, bytes. What is longer is cut.
const DETAIL_MAX: usize = 512;

/// What one side says to the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Say {
    /// The sender has this. A transfer that goes on after a break is offered again under its id.
    Offer {
        /// The version that the sender speaks.
        version: u32,
        /// Which transfer.
        transfer: Uuid,
        /// How many files and folders.
        files: u64,
        /// How many bytes in all.
        bytes: u64,
        /// Some of the names, to be shown.
        names: Vec<String>,
    },
    /// The receiver wants it.
    Accept {
        /// The version that the receiver speaks.
        version: u32,
    },
    /// The next file or folder of the offer.
    File {
        /// Its number, from 0, in order.
        file: u64,
        /// Its path, in the form `folder/name`.
        path: String,
        /// Its size in bytes; 0 for a folder.
        size: u64,
        /// Whether it is a folder.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        folder: bool,
        /// When it was changed last, Unix ms.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        modified: Option<u64>,
    },
    /// The receiver has so many bytes, and asks whether they are the beginning of this file. It does not say what they
    /// are: they may be of a file that the sender knows nothing of.
    Check {
        /// Which file.
        file: u64,
        /// How many bytes.
        upto: u64,
    },
    /// The answer.
    Checked {
        /// Which file.
        file: u64,
        /// The SHA-256 of so many bytes at the sender.
        sha256: Digest,
    },
    /// The sender still reads this file: the answer takes long, and comes.
    Reading {
        /// Which file.
        file: u64,
    },
    /// The receiver wants the content from here on.
    Take {
        /// Which file.
        file: u64,
        /// The first byte that is wanted.
        from: u64,
    },
    /// The receiver does not want it, or could not keep it; the others go on.
    Skip {
        /// Which file.
        file: u64,
        /// Why.
        why: Why,
    },
    /// All of the content was sent.
    End {
        /// Which file.
        file: u64,
        /// The SHA-256 of the whole file.
        sha256: Digest,
    },
    /// The file or folder stands under its name: its checksum held, and it is on the disk.
    Done {
        /// Which file.
        file: u64,
    },
    /// So many bytes of pieces were written, since the offer.
    Got {
        /// How many.
        bytes: u64,
    },
    /// There is no more to come. The receiver repeats it.
    Finish,
    /// It cannot go on.
    Failed {
        /// Why.
        why: Why,
        /// The same, in a sentence.
        detail: String,
    },
}

/// Why something is not taken, or does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Something of that name is there, and is kept.
    Exists,
    /// The name leaves the folder, or is none that is taken.
    Name,
    /// Something on the way to it is a link, a device, or no folder.
    Place,
    /// The receiver may not write there.
    Permission,
    /// The disk is full.
    DiskFull,
    /// The disk fails in another way.
    Disk,
    /// The checksum did not hold.
    Checksum,
    /// It is more than the receiver takes.
    TooLarge,
    /// Another transfer writes the same file.
    Busy,
    /// A person said no.
    Declined,
    /// The file changed while it was sent.
    Changed,
    /// The file cannot be read.
    Unreadable,
    /// The other side does not keep to the protocol.
    Protocol,
    /// Whoever ran the command stopped it.
    Stopped,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

impl Why {
    /// The same, in words, as what is said of a file or a transfer.
    pub fn text(self) -> &'static str {
        match self {
            Self::Exists => "something of that name is there already",
            Self::Name => "the name is not one that is taken",
            Self::Place => "a link, a device or a file is in the way",
            Self::Permission => "writing there is not permitted",
            Self::DiskFull => "the disk is full",
            Self::Disk => "the disk does not work",
            Self::Checksum => "the checksum does not hold",
            Self::TooLarge => "it is more than is taken there",
            Self::Busy => "another transfer writes the same file",
            Self::Declined => "it was declined",
            Self::Changed => "the file changed while it was sent",
            Self::Unreadable => "the file cannot be read",
            Self::Protocol => "what came is not the transfer protocol",
            Self::Stopped => "it was stopped",
            Self::Other => "for a reason that this version does not know",
        }
    }
}

/// A SHA-256, in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Display for Digest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, out)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse_hex(&text).map(Self).ok_or_else(|| D::Error::custom("64 hexadecimal digits are wanted"))
    }
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Why a text packet was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSay {
    /// Longer than [`TEXT_MAX`].
    #[error("a text packet of more than {TEXT_MAX} bytes")]
    TooLong,
    /// Not JSON as it is read here.
    #[error(transparent)]
    Json(#[from] BadJson),
    /// None of the packets of this protocol.
    #[error("{0}")]
    Shape(String),
}

impl Say {
    /// Reads a text packet.
    pub fn parse(text: &[u8]) -> Result<Self, BadSay> {
        if text.len() > TEXT_MAX {
            return Err(BadSay::TooLong);
        }
        let mut said =
            serde_json::from_value(strict::parse(text)?).map_err(|wrong| BadSay::Shape(wrong.to_string()))?;
        match &mut said {
            Self::Offer { names, .. } => names.truncate(NAMES_MAX),
            Self::Failed { detail, .. } => cut(detail),
            _ => {}
        }
        Ok(said)
    }

    /// The packet as JSON text.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("its keys are all texts")
    }

    /// A failure with its sentence.
    pub fn failed(why: Why, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        cut(&mut detail);
        Self::Failed { why, detail }
    }

    /// What kind of packet it is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Offer { .. } => "offer",
            Self::Accept { .. } => "accept",
            Self::File { .. } => "file",
            Self::Check { .. } => "check",
            Self::Checked { .. } => "checked",
            Self::Reading { .. } => "reading",
            Self::Take { .. } => "take",
            Self::Skip { .. } => "skip",
            Self::End { .. } => "end",
            Self::Done { .. } => "done",
            Self::Got { .. } => "got",
            Self::Finish => "finish",
            Self::Failed { .. } => "failed",
        }
    }
}

fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(DETAIL_MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_again() {
        let sha256 = Digest(std::array::from_fn(|index| u8::try_from(index * 8).unwrap_or(0)));
        let id = Uuid::from_u128(7);
        for said in [
            Say::Offer { version: 1, transfer: id, files: 2, bytes: u64::MAX, names: vec!["a".to_owned()] },
            Say::File { file: 0, path: "a/b".to_owned(), size: 3, folder: false, modified: Some(5) },
            Say::File { file: 1, path: "a".to_owned(), size: 0, folder: true, modified: None },
            Say::Check { file: 0, upto: 2 },
            Say::Checked { file: 0, sha256 },
            Say::Skip { file: 1, why: Why::DiskFull },
            Say::Finish,
            Say::failed(Why::Stopped, "é".repeat(400)),
        ] {
            assert_eq!(Say::parse(said.encode().as_bytes()), Ok(said));
        }
        assert_eq!(Say::Take { file: 1, from: 2 }.encode(), r#"{"say":"take","file":1,"from":2}"#);
    }

    #[test]
    fn what_is_no_packet_is_refused_and_what_is_new_is_passed_over() {
        let refused = [
            "",
            "[]",
            r#"{"say":"dance"}"#,
            r#"{"say":"take","file":-1,"from":0}"#,
            r#"{"say":"take","file":1,"file":2,"from":0}"#,
            r#"{"say":"end","file":0,"sha256":"+f"}"#,
        ];
        for text in refused {
            assert!(Say::parse(text.as_bytes()).is_err(), "{text}");
        }
        let signs = format!(r#"{{"say":"end","file":0,"sha256":"{}"}}"#, "+1".repeat(32));
        assert!(Say::parse(signs.as_bytes()).is_err());
        assert_eq!(Say::parse(&vec![b' '; TEXT_MAX + 1]), Err(BadSay::TooLong));
        let later = r#"{"say":"skip","file":1,"why":"mood","colour":"red"}"#;
        assert_eq!(Say::parse(later.as_bytes()), Ok(Say::Skip { file: 1, why: Why::Other }));
    }
}
