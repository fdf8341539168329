//! One Ed25519 key pair and the forms derived from it: node id, peer UUID and the X25519 sealing keys.
//! See "One key" in `protocols/identity.md`. How libp2p names the key stands beside the node id; where
//! the seed is kept is the body's business.

use crate::id::{NodeId, PeerId};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use sha2::Sha256;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use zeroize::Zeroizing;

/// A node's key pair. Its secret is wiped from memory on drop and never shown by `Debug`.
#[derive(Clone)]
pub struct KeyPair {
    signing: SigningKey,
    node: NodeId,
    peer: PeerId,
}

/// Bytes that are no public key, or one of the few points that anybody can sign for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable public key")]
pub struct WeakKey;

impl KeyPair {
    /// The key pair of this secret seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let signing = SigningKey::from_bytes(&seed);
        let node = NodeId::from_bytes(signing.verifying_key().to_bytes());
        Self { signing, node, peer: node.peer() }
    }

    /// The public key, which is the node's id.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The UUID by which the local network knows this key.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Bytes that nobody tells without the secret, and from which it cannot be told: always the same for the same
    /// purpose, others for any other.
    pub fn secret_for<const LENGTH: usize>(&self, purpose: &str) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let hkdf = Hkdf::<Sha256>::new(Some(b"comity/secret/1"), self.signing.as_bytes());
        hkdf.expand(purpose.as_bytes(), &mut bytes).expect("HKDF gives up to 8,160 bytes");
        bytes
    }

    /// The secret seed: for the key file and the TLS certificate, for nothing else.
    pub fn seed(&self) -> &[u8; 32] {
        self.signing.as_bytes()
    }

    /// The secret X25519 scalar (not yet clamped) that opens what is sealed for this node.
    pub fn sealing_secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signing.to_scalar_bytes())
    }

    /// Signs bytes that already name their context; [`crate::identity::signature`] does that.
    pub(crate) fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.signing.sign(bytes).to_bytes()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("KeyPair").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Keys of which each thread keeps the points: reading one is a tenth of checking a signature, and whoever checks many
/// meets the same few.
const POINTS_MAX: usize = 16;

thread_local! {
    static POINTS: RefCell<VecDeque<(NodeId, VerifyingKey)>> = const { RefCell::new(VecDeque::new()) };
}

/// The public key as a point, unless it is none, or of small order.
pub(crate) fn verifying(node: &NodeId) -> Result<VerifyingKey, WeakKey> {
    POINTS.with_borrow_mut(|points| {
        if let Some((_, point)) = points.iter().find(|(known, _)| known == node) {
            return Ok(*point);
        }
        let point = VerifyingKey::from_bytes(node.as_bytes()).map_err(|_| WeakKey)?;
        if point.is_weak() {
            return Err(WeakKey);
        }
        points.truncate(POINTS_MAX - 1);
        points.push_front((*node, point));
        Ok(point)
    })
}

/// The X25519 public key for which messages to this node are sealed.
pub fn sealing_key(node: &NodeId) -> Result<[u8; 32], WeakKey> {
    verifying(node).map(|key| key.to_montgomery().to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_not_shown() {
        let key = KeyPair::from_seed([7; 32]);
        let shown = format!("{key:?}");
        assert!(shown.contains(&key.node().to_string()));
        assert!(!shown.contains("7, 7") && !shown.contains("0707"));
    }

    #[test]
    fn the_public_key_is_that_of_rfc_8032() {
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
            0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let key = KeyPair::from_seed(seed);
        assert_eq!(key.node().to_string(), "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(key.seed(), &seed);
        assert_eq!(key.node().peer(), key.peer());
    }

    #[test]
    fn what_is_secret_is_the_same_for_one_key_and_purpose_alone() {
        let key = KeyPair::from_seed([7; 32]);
        assert_eq!(key.secret_for::<8>("a"), KeyPair::from_seed([7; 32]).secret_for("a"));
        assert_ne!(key.secret_for::<8>("a"), key.secret_for("b"));
        assert_ne!(key.secret_for::<8>("a"), KeyPair::from_seed([8; 32]).secret_for("a"));
    }

    #[test]
    fn keys_of_small_order_are_refused() {
        assert_eq!(sealing_key(&NodeId::from_bytes([0; 32])), Err(WeakKey));
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(sealing_key(&NodeId::from_bytes(one)), Err(WeakKey));
    }
}
