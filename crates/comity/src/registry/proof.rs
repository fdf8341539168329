//! Who asks the registry something: by an API key or an enrolment token over TLS or loopback, or by the key of its TLS
//! connection. What each may do is decided where it is asked.

use super::Refused;
use comity_core::id::NodeId;
use comity_core::registry::key::{self, Keyring, Secret};
use comity_core::registry::profile::NodeName;
use comity_core::registry::roster::{Holder, Roster};
use comity_core::time::Timestamp;

const UNKNOWN_KEY: &str = "this key is not known here: an enrolment token is wanted";

/// What a caller shows.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// What stands in `Authorization`, if anything does.
    pub(crate) authorization: Option<String>,
    /// Whether nobody in between could read it: TLS, or loopback.
    pub(crate) is_private: bool,
    /// The key that it proved by TLS.
    pub(crate) key: Option<NodeId>,
    /// Whether this node knows that key.
    pub(crate) is_known: bool,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Asker {
    /// A node, by its API key.
    Node(NodeName, Holder),
    /// Whoever has this key, which it proved by TLS.
    Key {
        /// The key.
        key: NodeId,
        /// Whether this node knows it. One that it does not know speaks for the nodes that it already holds, and for no
        /// new name.
        is_known: bool,
    },
    /// Somebody with an enrolment token, which is good for registering alone.
    Token(Secret),
}

impl Asker {
    /// By what it is counted, and known to others: a node's name, or its key. No name reads as a key that its node did not
    /// prove when it registered.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Node(name, _) => name.to_string(),
            Self::Key { key, .. } => key.to_string(),
            Self::Token(token) => token.hash().to_string(),
        }
    }

    /// For whom the roster takes it, when it speaks for this node.
    pub(super) fn speaks_for(&self, roster: &Roster, node: &NodeName) -> Result<Holder, Refused> {
        match self {
            Self::Node(name, holder) if name == node => Ok(*holder),
            Self::Node(..) => Err(key::Refused::OtherNode.into()),
            Self::Key { key, is_known } => {
                let by = Holder::Key(*key);
                match roster.member(node) {
                    Some(member) if member.is_held_by(by) => Ok(by),
                    Some(_) => {
                        Err(Refused::NotTheirs("this name is another node's: a node can only write what is its own"))
                    }
                    None if *is_known => Ok(by),
                    None => Err(Refused::NotTheirs(UNKNOWN_KEY)),
                }
            }
            Self::Token(_) => Err(Refused::Unproven("an enrolment token is good for registering alone")),
        }
    }

    /// What it proved, if it may see who is there.
    pub(crate) fn sees(&self) -> Result<Holder, Refused> {
        match self {
            Self::Token(_) => Err(Refused::Unproven("an enrolment token is good for registering alone")),
            Self::Node(_, holder) => Ok(*holder),
            Self::Key { key, .. } => Ok(Holder::Key(*key)),
        }
    }
}

/// Who shows this.
pub(super) fn prove(shown: &Shown, keyring: &Keyring, roster: &Roster, now: Timestamp) -> Result<Asker, Refused> {
    let Some(authorization) = &shown.authorization else {
        let key =
            shown.key.ok_or(Refused::Unproven("Authorization: Bearer <API key> is wanted, or a node's TLS key"))?;
        let is_known = shown.is_known;
        let is_member = || roster.all().any(|member| member.is_held_by(Holder::Key(key)));
        return if is_known || is_member() {
            Ok(Asker::Key { key, is_known })
        } else {
            Err(Refused::NotTheirs(UNKNOWN_KEY))
        };
    };
    if !shown.is_private {
        return Err(Refused::NotTheirs(
            "keys are taken over TLS or loopback only: this one was sent in plain, replace it",
        ));
    }
    let bearer = authorization.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let wanted = Refused::Unproven("Authorization: Bearer and `cmt_` with 64 hexadecimal digits is wanted");
    let secret = bearer.and_then(|(_, secret)| Secret::read(secret.trim()).ok()).ok_or(wanted)?;
    if let Some((hash, name)) = keyring.find(&secret) {
        return Ok(Asker::Node(name.clone(), Holder::ApiKey(hash)));
    }
    let hash = secret.hash();
    match keyring.tokens().find(|(known, _)| **known == hash) {
        Some((_, token)) if token.expires > now => Ok(Asker::Token(secret)),
        Some(_) => Err(key::Refused::Expired.into()),
        None => Err(Refused::Unproven("this API key is not known here: it was revoked or never issued, or used up")),
    }
}
