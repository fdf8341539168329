//! What is recorded of a secret that was found: the rule, the place, and a keyed hash by which the same secret
//! is known again. Never the secret. How a record is written is the journal's business.

use super::rule::Severity;
use crate::time::Timestamp;
use hkdf::hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// HMAC-SHA-256 of a secret: equal for the same secret under the same key, and no use to who has not the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditHash(pub [u8; 32]);

impl fmt::Display for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditHash({self})")
    }
}

/// The hash by which audit records know a secret.
pub fn audit_hash(key: &[u8; 32], secret: &str) -> AuditHash {
    AuditKey::new(key).hash(secret)
}

/// The key with its first block already taken, so that a hash costs two blocks less.
#[derive(Clone)]
pub(super) struct AuditKey(Hmac<Sha256>);

impl AuditKey {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    pub(super) fn hash(&self, secret: &str) -> AuditHash {
        let mut mac = self.0.clone();
        mac.update(secret.as_bytes());
        AuditHash(mac.finalize().into_bytes().into())
    }
}

/// What a rule is called, and how bad its findings are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleName {
    /// Its name, unique among all.
    pub name: String,
    /// How bad it is when such a secret gets out.
    pub severity: Severity,
    /// What it belongs to.
    pub tags: Vec<String>,
}

/// A secret that was found and replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule that found it; of several, the one that says most.
    pub rule: Arc<RuleName>,
    /// Where it stood.
    pub place: Place,
    /// By which it is known again.
    pub hash: AuditHash,
}

/// Where a secret stood. A pointer goes through keys as they are after redaction, and a long one is cut (`…`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// These bytes of the text.
    Text(Range<usize>),
    /// The whole value at this JSON pointer (RFC 6901).
    Value(String),
    /// These bytes of the string at this JSON pointer.
    Within(String, Range<usize>),
    /// The key of the member at this JSON pointer.
    Key(String),
}

/// What a text or document belongs to; goes with every record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    /// What gave it: a door, the log, the journal.
    pub source: String,
    /// The topic or channel, empty where there is none.
    pub topic: String,
    /// The type of the message, empty where there is none.
    pub message_type: String,
}

/// One record of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// When it was found.
    pub at: Timestamp,
    /// What it was found in.
    pub labels: Arc<Labels>,
    /// What was found.
    pub finding: Finding,
}

impl Audit {
    /// The records of what was found in one text or document.
    pub fn of(labels: Labels, at: Timestamp, found: Vec<Finding>) -> impl Iterator<Item = Self> {
        let labels = Arc::new(labels);
        found.into_iter().map(move |finding| Self { at, labels: Arc::clone(&labels), finding })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_hmac_sha_256() {
        // RFC 4231 has no key of 32 bytes; this is what OpenSSL makes of one.
        let hash = audit_hash(&[0x0b; 32], "Hi There");
        assert_eq!(hash.to_string(), "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7");
        assert_ne!(hash, audit_hash(&[0x0c; 32], "Hi There"));
    }
}
