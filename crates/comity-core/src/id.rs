//! The names of things: node ids, peer UUIDs, message ids, and the small numbers by which the
//! rules and the body mean the same link, listener or question. See `protocols/identity.md`.

mod libp2p;

pub use libp2p::{Libp2pId, NotALibp2pId};

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// The namespace of every peer UUID, fixed by the protocol.
const PEER_NAMESPACE: Uuid = uuid::uuid!("6f3c9a52-6c1d-5b7e-9d0a-8f5e2b1c4d70");

/// What every node id begins with.
const NODE_PREFIX: &str = "ed25519:";

/// A node's Ed25519 public key, which is also its name: written `ed25519:` and base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// The id that these 32 public-key bytes are.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw public key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight characters of the key: for eyes only, never a map key.
    pub fn short(&self) -> String {
        let mut text = encode_base64(&self.0);
        text.truncate(8);
        text
    }

    /// The UUID by which the local network knows this key (UUIDv5 of the 32 bytes).
    pub fn peer(&self) -> PeerId {
        PeerId(Uuid::new_v5(&PEER_NAMESPACE, &self.0))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{NODE_PREFIX}{}", encode_base64(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A text that is not a node id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a node id: `ed25519:` and 32 bytes in base64url are wanted")]
pub struct NotANodeId;

impl FromStr for NodeId {
    type Err = NotANodeId;

    fn from_str(text: &str) -> Result<Self, NotANodeId> {
        let key = text.strip_prefix(NODE_PREFIX).ok_or(NotANodeId)?;
        let bytes = decode_base64(key).ok_or(NotANodeId)?;
        bytes.try_into().map(Self).map_err(|_| NotANodeId)
    }
}

/// A peer's UUID on the local network: derived from its key, or a foreign peer's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub Uuid);

impl PeerId {
    /// The UUID of a peer that has no key, from the id it goes by elsewhere
    /// (`mqtt:<prefix>:<id>`, `libp2p:<PeerId>`).
    pub fn of_foreign(foreign_id: &str) -> Self {
        Self(Uuid::new_v5(&PEER_NAMESPACE, foreign_id.as_bytes()))
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// The id of one message, unique for as long as anybody remembers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub Uuid);

impl fmt::Display for MessageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// One live link of this node; given by the body, never used twice in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// One attempt to reach a peer; given by the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub u64);

/// Somebody in this process, or behind a door, who listens; given by the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u64);

/// A question put to the rules that is answered exactly once; given by the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Base64url without padding, as every key, signature and nonce is written.
pub fn encode_base64(bytes: &[u8]) -> String {
    general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64 in either alphabet, padded or not; `None` when it is neither.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    URL.decode(text).or_else(|_| STANDARD.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_is_read_in_either_alphabet_padded_or_not() {
        let id = NodeId::from_bytes([0xfb; 32]);
        let standard = general_purpose::STANDARD.encode([0xfb; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(format!("ed25519:{standard}").parse(), Ok(id));
        assert_eq!("ed25519:AAAA".parse::<NodeId>(), Err(NotANodeId));
        assert_eq!(standard.parse::<NodeId>(), Err(NotANodeId));
    }
}
