//! What a registry knows, in memory: who is there, by which keys, and what is not on disk yet. Each change says what is to
//! be written of it. Who asks is proved before (`registry/proof.rs`).

use super::proof::Asker;
use super::{Refused, Revoked};
use crate::store::registry::Write;
use comity_core::id::NodeId;
use comity_core::registry::key::{self, Issued, Keyring, Secret};
use comity_core::registry::pace::Pace;
use comity_core::registry::profile::{NodeName, Registration};
use comity_core::registry::roster::{self, Holder, Kept, Member, Proof, Roster};
use comity_core::time::{Now, Timestamp};
use std::collections::BTreeSet;

pub(super) struct Books {
    pub(super) roster: Roster,
    pub(super) keyring: Keyring,
    pub(super) pace: Pace<String>,
    /// Nodes that told by a heartbeat where their documents lie now, and which are not written yet.
    pub(super) moved: BTreeSet<NodeName>,
    /// When it was written last when nodes were heard.
    pub(super) written_at: Timestamp,
}

impl Books {
    /// A registration, with the key that was proved by TLS, and what is to be written of it. A node that enrols with a
    /// token gets its API key; the token is used only when all else is good.
    pub(super) fn register(
        &mut self,
        asker: &Asker,
        (registration, proved): (Registration, Option<NodeId>),
        entropy: [u8; 32],
        now: Now,
    ) -> Result<(Option<Secret>, Vec<Write>), Refused> {
        let name = registration.node.clone();
        let Asker::Token(token) = asker else {
            let holder = asker.speaks_for(&self.roster, &name)?;
            let is_held = self.roster.member(&name).is_some_and(|member| member.is_held_by(holder));
            if matches!(holder, Holder::Key(_)) && !is_held && self.keyring.key_of(&name).is_some() {
                return Err(roster::Refused::Held.into());
            }
            self.roster.register(registration, Proof { holder, key: proved }, now)?;
            return Ok((None, self.node(&name)));
        };
        if self.keyring.key_of(&name).is_some() {
            return Err(key::Refused::HasKey.into());
        }
        if self.roster.member(&name).is_some() {
            return Err(roster::Refused::Held.into());
        }
        let holder = Holder::ApiKey(Secret::from_entropy(entropy).hash());
        self.roster.register(registration, Proof { holder, key: proved }, now)?;
        let api_key = match self.keyring.enrol(token, &name, entropy, now.wall) {
            Ok(api_key) => api_key,
            Err(why) => {
                self.roster.remove(&name)?;
                return Err(why.into());
            }
        };
        let hash = token.hash();
        let mut writes = self.node(&name);
        writes.push(Write::Key(api_key.hash(), Issued { node: name, at: now.wall, token: Some(hash) }));
        let left = self.keyring.tokens().find(|(known, _)| **known == hash).map(|(_, token)| *token);
        writes.push(left.map_or(Write::TokenOut(hash), |token| Write::Token(hash, token)));
        Ok((Some(api_key), writes))
    }

    /// Makes an enrolment undone that the disk did not take: the token is as good as before.
    pub(super) fn undo(&mut self, name: &NodeName, api_key: &Secret) {
        // Else the owner revoked it meanwhile, and the token with it.
        if self.keyring.key_of(name) != Some(api_key.hash()) {
            return;
        }
        if let Some((_, Issued { token: Some(token), .. })) = self.keyring.revoke(name) {
            self.keyring.put_back(&token);
        }
        // Err: it was taken out meanwhile.
        let _ = self.roster.remove(name);
        self.moved.remove(name);
    }

    /// Takes back what the owner names, and what is to be written of it.
    pub(super) fn revoke(&mut self, what: &str) -> (Revoked, Vec<Write>) {
        let (mut revoked, mut writes) = (Revoked::default(), Vec::new());
        if let Ok(name) = NodeName::new(what) {
            if let Some((hash, issued)) = self.keyring.revoke(&name) {
                revoked.key = true;
                writes.push(Write::KeyOut(hash));
                // Else the node, which still has it, would enrol itself again.
                if let Some(token) = issued.token {
                    revoked.token = self.keyring.revoke_token(&token);
                    writes.push(Write::TokenOut(token));
                }
            }
            if self.roster.remove(&name).is_ok() {
                revoked.node = true;
                self.moved.remove(&name);
                writes.push(Write::NodeOut(name));
            }
        }
        let token = self.keyring.tokens().map(|(hash, _)| *hash).find(|hash| hash.to_string() == what);
        if let Some(hash) = token {
            revoked.token = self.keyring.revoke_token(&hash);
            writes.push(Write::TokenOut(hash));
        }
        (revoked, writes)
    }

    fn node(&self, name: &NodeName) -> Vec<Write> {
        self.roster.member(name).map(|member| Write::Node(Box::new(kept(member)))).into_iter().collect()
    }
}

/// A node as it is written.
pub(super) fn kept(member: &Member) -> Kept {
    let Member { registration, holder, is_key_proved, load, last_heartbeat, .. } = member;
    let registration = registration.clone();
    let (holder, is_key_proved, load, last_heartbeat) = (*holder, *is_key_proved, *load, *last_heartbeat);
    Kept { registration, holder, is_key_proved, load, last_heartbeat }
}
