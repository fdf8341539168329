//! What a registry knows, in memory: who is there, by which keys, and what is not written yet. Each change says what is to
//! be written of it, and can be made undone. Who asks is proved before (`registry/proof.rs`).

use super::proof::Asker;
use super::{Refused, Revoked};
use crate::store::registry::{Others, Restored, Write};
use comity_core::id::NodeId;
use comity_core::registry::key::{self, Issued, KeyHash, Keyring, Secret, TOKENS_MAX, Token};
use comity_core::registry::pace::Pace;
use comity_core::registry::profile::{NodeName, Registration};
use comity_core::registry::roster::{self, Holder, Kept, Member, Proof, Roster};
use comity_core::time::{Now, Timestamp};
use std::collections::BTreeSet;

/// How a node, its key and the tokens were before a change.
pub(super) struct Image {
    node: Option<Was>,
    tokens: Vec<(KeyHash, Token)>,
}

/// How a node was.
struct Was {
    name: NodeName,
    member: Option<Kept>,
    key: Option<(KeyHash, Issued)>,
}

pub(super) struct Books {
    pub(super) roster: Roster,
    pub(super) keyring: Keyring,
    pub(super) pace: Pace<String>,
    /// Nodes that told by a heartbeat where their documents lie now, and which are not written yet.
    pub(super) moved: BTreeSet<NodeName>,
    /// Nodes that were heard here since that was written last.
    pub(super) heard: BTreeSet<NodeName>,
    /// This node, which is written where other coordinators are to see it.
    pub(super) itself: Option<NodeName>,
    /// Whether there are others on the same store.
    pub(super) is_shared: bool,
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
            self.heard.insert(name.clone());
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
        self.heard.insert(name.clone());
        let hash = token.hash();
        let mut writes = self.node(&name);
        writes.push(Write::Key(api_key.hash(), Issued { node: name, at: now.wall, token: Some(hash) }));
        let left = self.keyring.tokens().find(|(known, _)| **known == hash).map(|(_, token)| *token);
        writes.push(left.map_or(Write::TokenOut(hash), |token| Write::Token(hash, token)));
        Ok((Some(api_key), writes))
    }

    /// Makes an enrolment token, and what is to be written of it.
    pub(super) fn invite(
        &mut self,
        token: Token,
        entropy: [u8; 32],
        now: Timestamp,
    ) -> Result<(Secret, Vec<Write>), Refused> {
        let before: Vec<KeyHash> = self.keyring.tokens().map(|(hash, _)| *hash).collect();
        let secret = self.keyring.invite(token, entropy, now)?;
        // Those that were over made room.
        let still: BTreeSet<KeyHash> = self.keyring.tokens().map(|(hash, _)| *hash).collect();
        let over = before.into_iter().filter(|hash| !still.contains(hash)).take(TOKENS_MAX);
        let writes = over.map(Write::TokenOut).chain([Write::Token(secret.hash(), token)]).collect();
        Ok((secret, writes))
    }

    /// Takes a node out, and what is to be written of that.
    pub(super) fn remove(&mut self, asker: &Asker, name: &NodeName) -> Result<Vec<Write>, Refused> {
        let by = asker.speaks_for(&self.roster, name)?;
        let member = self.roster.member(name).ok_or(roster::Refused::Unknown)?;
        if !member.is_held_by(by) {
            return Err(Refused::NotTheirs("a node takes out only itself"));
        }
        self.roster.remove(name)?;
        self.moved.remove(name);
        Ok(vec![Write::NodeOut(name.clone())])
    }

    /// Registers this node itself, or says that it is still there.
    pub(super) fn register_itself(&mut self, said: Registration, key: NodeId, now: Now) -> Result<(), Refused> {
        let name = said.node.clone();
        let is_new = self.roster.member(&name).is_none_or(|member| member.registration != said);
        self.roster.register(said, Holder::Key(key), now)?;
        if self.is_shared {
            self.heard.insert(name.clone());
            if is_new {
                self.moved.insert(name.clone());
            }
        }
        self.itself = Some(name);
        Ok(())
    }

    /// Which nodes were heard here, when, and where their documents lie now: what is to be written, which counts as
    /// written from now on. [`Books::put_unwritten`] takes that back.
    pub(super) fn take_unwritten(&mut self, now: Timestamp) -> Vec<Write> {
        self.written_at = now;
        let heard = std::mem::take(&mut self.heard);
        let moved = std::mem::take(&mut self.moved);
        let last = |name: NodeName| self.roster.member(&name).map(|member| (name, member.last_heartbeat));
        let heard = heard.into_iter().filter_map(last).collect();
        let nodes = moved.iter().flat_map(|name| self.node(name));
        nodes.chain([Write::Heard(heard, now)]).collect()
    }

    /// This was not written: what is only to be written now and then is due again. A node that is out by now is passed
    /// over then.
    pub(super) fn put_unwritten(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Node(kept) => {
                    self.moved.insert(kept.registration.node);
                }
                Write::Heard(heard, _) => {
                    self.heard.extend(heard.into_iter().map(|(name, _)| name));
                    self.written_at = Timestamp::default();
                }
                _ => {}
            }
        }
    }

    /// How it is now: this node, if one is meant, and all tokens.
    pub(super) fn image(&self, node: Option<NodeName>) -> Image {
        let node = node.map(|name| {
            let key = self.keyring.issued(&name).map(|(hash, issued)| (hash, issued.clone()));
            let member = self.roster.member(&name).map(kept);
            Was { name, member, key }
        });
        Image { node, tokens: self.keyring.tokens().map(|(hash, token)| (*hash, *token)).collect() }
    }

    /// Makes it as it was.
    pub(super) fn put_back(&mut self, Image { node, tokens }: Image, now: Now) {
        self.keyring.clear_tokens();
        tokens.into_iter().for_each(|(hash, token)| self.keyring.put_token(hash, token));
        let Some(Was { name, member, key }) = node else { return };
        match key {
            Some((hash, issued)) => self.keyring.put(hash, issued),
            None => drop(self.keyring.revoke(&name)),
        }
        match member {
            Some(member) => self.restore(member, now),
            None => self.forget(&name),
        }
    }

    /// Takes what others have changed.
    pub(super) fn take(&mut self, others: Others, now: Now) {
        match others {
            Others::Changed(writes) => writes.into_iter().for_each(|write| self.take_one(write, now)),
            Others::All(all) => self.take_all(all, now),
        }
    }

    fn take_one(&mut self, write: Write, now: Now) {
        match write {
            Write::Node(kept) => self.restore(*kept, now),
            Write::NodeOut(name) => self.forget(&name),
            Write::Heard(heard, _) => heard.iter().for_each(|(name, at)| self.roster.noticed(name, *at, now)),
            Write::Key(hash, issued) => self.keyring.put(hash, issued),
            Write::KeyOut(hash) => self.keyring.remove(&hash),
            Write::Token(hash, token) => self.keyring.put_token(hash, token),
            Write::TokenOut(hash) => drop(self.keyring.revoke_token(&hash)),
        }
    }

    fn take_all(&mut self, all: Restored, now: Now) {
        self.keyring = Keyring::restored(all.keys, all.tokens);
        let names: BTreeSet<NodeName> = all.nodes.iter().map(|kept| kept.registration.node.clone()).collect();
        let here = self.roster.all().map(|member| &member.registration.node);
        let out = here.filter(|name| !names.contains(name) && self.itself.as_ref() != Some(name));
        out.cloned().collect::<Vec<_>>().iter().for_each(|name| self.forget(name));
        all.nodes.into_iter().for_each(|kept| self.restore(kept, now));
    }

    /// Takes a node as it is kept; where its documents lie it may have said here since.
    pub(super) fn restore(&mut self, mut kept: Kept, now: Now) {
        let name = kept.registration.node.clone();
        if self.itself.as_ref() == Some(&name) {
            return;
        }
        if let Some(member) = self.roster.member(&name).filter(|_| self.moved.contains(&name)) {
            kept.registration.basin_signature.clone_from(&member.registration.basin_signature);
            kept.registration.centroids.clone_from(&member.registration.centroids);
        }
        if let Err(why) = self.roster.restore(kept, now) {
            tracing::warn!(node = %name, %why, "a node of the registry is not restored");
        }
    }

    fn forget(&mut self, name: &NodeName) {
        // Err: it is not there.
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
