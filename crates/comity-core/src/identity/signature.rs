//! What is signed, under which context, and how it is checked: strictly, so that all nodes agree.
//! See "What is signed" in `protocols/identity.md`.

use crate::id::NodeId;
use crate::identity::canonical;
use crate::identity::key::{self, KeyPair};
use ed25519_dalek::Signature;
use serde_json::Value;

/// What a signature is for. There is no other; a signature of one is never good for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Context {
    /// A node's card.
    Card,
    /// A message.
    Message,
    /// An MQTT announcement.
    Announce,
    /// A signal of a connection being set up.
    Signal,
    /// A federation request.
    Request,
    /// A federation response.
    Response,
    /// A federated event.
    Event,
    /// The order a hub gave to events.
    Order,
    /// A change of key.
    Rotation,
    /// A basin of the mesh.
    Basin,
    /// A piece of knowledge.
    Knowledge,
    /// A tree head of a journal.
    Journal,
    /// A claim on a task.
    Claim,
    /// A candidacy.
    Candidate,
    /// A vote.
    Vote,
    /// A grant of a resource.
    Grant,
}

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// The key is no public key, or one that anybody can sign for.
    #[error("the key is not usable")]
    WeakKey,
    /// There is a signature and no `from_key`.
    #[error("there is a signature, and no from_key to check it with")]
    NoKey,
    /// The key did not sign this.
    #[error("the signature is wrong")]
    Wrong,
    /// The key signed it, and `from` is somebody else.
    #[error("from is not the id of the key that signed")]
    NotTheSender,
}

impl Context {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Card,
        Self::Message,
        Self::Announce,
        Self::Signal,
        Self::Request,
        Self::Response,
        Self::Event,
        Self::Order,
        Self::Rotation,
        Self::Basin,
        Self::Knowledge,
        Self::Journal,
        Self::Claim,
        Self::Candidate,
        Self::Vote,
        Self::Grant,
    ];

    /// The text that is signed before the content.
    pub fn name(self) -> &'static str {
        match self {
            Self::Card => "comity/card/1",
            Self::Message => "comity/message/1",
            Self::Announce => "comity/announce/1",
            Self::Signal => "comity/signal/1",
            Self::Request => "comity/request/1",
            Self::Response => "comity/response/1",
            Self::Event => "comity/event/1",
            Self::Order => "comity/order/1",
            Self::Rotation => "comity/rotation/1",
            Self::Basin => "comity/basin/1",
            Self::Knowledge => "comity/knowledge/1",
            Self::Journal => "comity/journal/1",
            Self::Claim => "comity/claim/1",
            Self::Candidate => "comity/candidate/1",
            Self::Vote => "comity/vote/1",
            Self::Grant => "comity/grant/1",
        }
    }
}

/// Signs a value: its RFC 8785 form, under this context.
pub fn sign(key: &KeyPair, context: Context, value: &Value) -> [u8; 64] {
    sign_bytes(key, context, &canonical::to_vec(value))
}

/// Signs bytes that are already in RFC 8785 form.
pub fn sign_bytes(key: &KeyPair, context: Context, canonical: &[u8]) -> [u8; 64] {
    key.sign(&signed_bytes(context, canonical))
}

/// Checks the signature of a value.
pub fn verify(node: &NodeId, context: Context, value: &Value, signature: &[u8; 64]) -> Result<(), BadSignature> {
    verify_bytes(node, context, &canonical::to_vec(value), signature)
}

/// Checks the signature of bytes that are already in RFC 8785 form.
pub fn verify_bytes(
    node: &NodeId,
    context: Context,
    canonical: &[u8],
    signature: &[u8; 64],
) -> Result<(), BadSignature> {
    let key = key::verifying(node).map_err(|_| BadSignature::WeakKey)?;
    key.verify_strict(&signed_bytes(context, canonical), &Signature::from_bytes(signature))
        .map_err(|_| BadSignature::Wrong)
}

fn signed_bytes(context: Context, canonical: &[u8]) -> Vec<u8> {
    [context.name().as_bytes(), &[0], canonical].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_signature_is_good_for_its_own_key_context_and_content_only() {
        let (key, other) = (KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32]));
        let value = json!({"b": 1, "a": [true, null]});
        let good = sign(&key, Context::Card, &value);
        assert_eq!(verify(&key.node(), Context::Card, &value, &good), Ok(()));
        assert_eq!(verify(&key.node(), Context::Card, &json!({"a": [true, null], "b": 1.0}), &good), Ok(()));
        assert_eq!(verify(&other.node(), Context::Card, &value, &good), Err(BadSignature::Wrong));
        assert_eq!(verify(&key.node(), Context::Message, &value, &good), Err(BadSignature::Wrong));
        assert_eq!(verify(&key.node(), Context::Card, &json!({"b": 2}), &good), Err(BadSignature::Wrong));
    }

    #[test]
    fn a_signature_with_an_s_beyond_the_group_order_is_refused() {
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let key = KeyPair::from_seed([1; 32]);
        let mut signature = sign(&key, Context::Card, &json!({}));
        let mut carry = 0;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert_eq!(verify(&key.node(), Context::Card, &json!({}), &signature), Err(BadSignature::Wrong));
    }

    #[test]
    fn a_key_of_small_order_signs_nothing() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let node = NodeId::from_bytes(identity);
        assert_eq!(verify(&node, Context::Card, &json!({}), &signature), Err(BadSignature::WeakKey));
    }

    #[test]
    fn every_context_has_its_own_name() {
        let names: std::collections::BTreeSet<_> = Context::ALL.iter().map(|context| context.name()).collect();
        assert_eq!(names.len(), Context::ALL.len());
    }
}
