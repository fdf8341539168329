//! Enrolment tokens and API keys: who may register, and by what a foreign node is known afterwards. Of each only the
//! SHA-256 is kept. Comity nodes prove themselves by their TLS keys and need none of this once they are enrolled. Where
//! it is kept is the body's business. See "Registry" and "Security" in `protocols/mesh.md`.

use super::profile::NodeName;
use crate::time::Timestamp;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// What every key and token begins with.
pub const PREFIX: &str = "cmt_";

/// Hexadecimal digits that follow: 32 bytes.
const DIGITS: usize = 64;

/// API keys that are kept: one for each of the nodes of a registry, and as many of nodes that are gone.
pub const KEYS_MAX: usize = 2 * super::roster::NODES_MAX;

/// Enrolment tokens that are open at a time: a person makes each.
pub const TOKENS_MAX: usize = 1000;

/// A key or token in plain. It is shown to whom it is made for, once, by [`Secret::expose`]; nothing else prints it, and
/// it is wiped from memory on drop.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`cmt_` and 64 hexadecimal digits are wanted")]
pub struct NotAKey;

/// What is kept of a key or token: the SHA-256 of its whole text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash([u8; 32]);

/// Whose an API key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The node that it is for; it can register no other.
    pub node: NodeName,
    /// When it was issued.
    pub at: Timestamp,
    /// The enrolment token that it was issued for, if that is known: with the key, that is taken back, too.
    pub token: Option<KeyHash>,
}

/// What an enrolment token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// How many nodes may still enrol with it.
    pub uses_left: u32,
    /// When it ends, by the wall clock.
    pub expires: Timestamp,
}

/// Why no key or token is given, or one does not count. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The token is not known: used up, taken back, or never made (401).
    #[error("the enrolment token is not known, or used up")]
    UnknownToken,
    /// The token has ended (401).
    #[error("the enrolment token has expired")]
    Expired,
    /// The node has a key: it is revoked first (409).
    #[error("the node has an API key already")]
    HasKey,
    /// There is no room (503).
    #[error("no more keys or tokens can be kept")]
    Full,
    /// The API key is another node's (403): a node can only write what is its own.
    #[error("the API key is another node's")]
    OtherNode,
}

/// All keys and tokens of a registry.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: BTreeMap<KeyHash, Issued>,
    by_node: BTreeMap<NodeName, KeyHash>,
    /// Those that are used up count for nothing, and go when another is made.
    tokens: BTreeMap<KeyHash, Token>,
}

impl Secret {
    /// The key that these fresh random bytes are; they must be used for nothing else.
    pub fn from_entropy(entropy: [u8; 32]) -> Self {
        let entropy = Zeroizing::new(entropy);
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + DIGITS));
        text.push_str(PREFIX);
        for byte in entropy.iter() {
            for half in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(half), 16).expect("four bits are one digit"));
            }
        }
        Self(text)
    }

    /// Reads a key as it is written: in lower case, nothing around it.
    ///
    /// # Errors
    /// [`NotAKey`].
    pub fn read(text: &str) -> Result<Self, NotAKey> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotAKey)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() == DIGITS && digits.bytes().all(is_digit) {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err(NotAKey)
        }
    }

    /// The text: for the one answer that shows it, and for the header that proves it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.hash().is(&other.hash())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

impl KeyHash {
    /// The hash that these bytes are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for the store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    fn is(&self, other: &Self) -> bool {
        let differing = self.0.iter().zip(other.0).fold(0, |differing, (one, other)| differing | (one ^ other));
        std::hint::black_box(differing) == 0
    }
}

/// The first bytes: enough to find a key in a list, too few to be one.
impl fmt::Display for KeyHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..INDEXED].iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Keyring {
    /// A keyring as it was kept. Of several keys of one node the last counts.
    pub fn restored(
        keys: impl IntoIterator<Item = (KeyHash, Issued)>,
        tokens: impl IntoIterator<Item = (KeyHash, Token)>,
    ) -> Self {
        let mut keyring = Self { tokens: tokens.into_iter().collect(), ..Self::default() };
        for (hash, issued) in keys {
            keyring.put(hash, issued);
        }
        keyring
    }

    /// Makes an enrolment token for so many nodes. `entropy` must be 32 fresh random bytes.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn invite(&mut self, token: Token, entropy: [u8; 32], now: Timestamp) -> Result<Secret, Refused> {
        self.tokens.retain(|_, token| token.expires > now && token.uses_left > 0);
        if self.tokens.len() >= TOKENS_MAX {
            return Err(Refused::Full);
        }
        let secret = Secret::from_entropy(entropy);
        self.tokens.insert(secret.hash(), token);
        Ok(secret)
    }

    /// Uses an enrolment token: the API key of a node that had none. `entropy` must be 32 fresh random bytes.
    ///
    /// # Errors
    /// [`Refused`]; then the token is as good as before.
    pub fn enrol(
        &mut self,
        token: &Secret,
        node: &NodeName,
        entropy: [u8; 32],
        now: Timestamp,
    ) -> Result<Secret, Refused> {
        let open = find(&self.tokens, &token.hash()).filter(|(_, token)| token.uses_left > 0);
        let (hash, expires) = open.map(|(hash, token)| (*hash, token.expires)).ok_or(Refused::UnknownToken)?;
        if expires <= now {
            self.tokens.remove(&hash);
            return Err(Refused::Expired);
        }
        let key = self.issue(Issued { node: node.clone(), at: now, token: Some(hash) }, entropy)?;
        if let Some(token) = self.tokens.get_mut(&hash) {
            token.uses_left = token.uses_left.saturating_sub(1);
        }
        Ok(key)
    }

    /// Takes a key as it was kept, or as another registry on the same store issued it. A node has one: the last counts.
    pub fn put(&mut self, hash: KeyHash, issued: Issued) {
        if let Some(old) = self.by_node.insert(issued.node.clone(), hash) {
            self.keys.remove(&old);
        }
        self.keys.insert(hash, issued);
    }

    /// Takes a token as it was kept, or as another registry on the same store made or left it.
    pub fn put_token(&mut self, hash: KeyHash, token: Token) {
        self.tokens.insert(hash, token);
    }

    /// Takes all tokens out.
    pub fn clear_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Takes out a key that another registry on the same store revoked.
    pub fn remove(&mut self, hash: &KeyHash) {
        if let Some(issued) = self.keys.remove(hash)
            && self.by_node.get(&issued.node) == Some(hash)
        {
            self.by_node.remove(&issued.node);
        }
    }

    /// The key of a node with what is kept of it, if it has one.
    pub fn issued(&self, node: &NodeName) -> Option<(KeyHash, &Issued)> {
        let hash = self.by_node.get(node)?;
        Some((*hash, self.keys.get(hash)?))
    }

    /// Whose key this is, and what is kept of it.
    pub fn find(&self, secret: &Secret) -> Option<(KeyHash, &NodeName)> {
        find(&self.keys, &secret.hash()).map(|(hash, issued)| (*hash, &issued.node))
    }

    /// The key of a node, if it has one.
    pub fn key_of(&self, node: &NodeName) -> Option<KeyHash> {
        self.by_node.get(node).copied()
    }

    /// Takes a node's key back, from this moment on: what is no longer good.
    pub fn revoke(&mut self, node: &NodeName) -> Option<(KeyHash, Issued)> {
        let hash = self.by_node.remove(node)?;
        self.keys.remove_entry(&hash)
    }

    /// Takes a token back: whether there was one that was good for something.
    pub fn revoke_token(&mut self, hash: &KeyHash) -> bool {
        self.tokens.remove(hash).is_some_and(|token| token.uses_left > 0)
    }

    /// All tokens that are not used up, by hash.
    pub fn tokens(&self) -> impl Iterator<Item = (&KeyHash, &Token)> {
        self.tokens.iter().filter(|(_, token)| token.uses_left > 0)
    }

    /// Makes the API key of a node that has none.
    fn issue(&mut self, issued: Issued, entropy: [u8; 32]) -> Result<Secret, Refused> {
        if self.by_node.contains_key(&issued.node) {
            return Err(Refused::HasKey);
        }
        if self.keys.len() >= KEYS_MAX {
            return Err(Refused::Full);
        }
        let secret = Secret::from_entropy(entropy);
        self.put(secret.hash(), issued);
        Ok(secret)
    }
}

/// Bytes of a hash by which an entry is sought; the rest is compared in constant time.
const INDEXED: usize = 8;

fn find<'a, T>(table: &'a BTreeMap<KeyHash, T>, hash: &KeyHash) -> Option<(&'a KeyHash, &'a T)> {
    let (mut first, mut last) = (*hash, *hash);
    first.0[INDEXED..].fill(0);
    last.0[INDEXED..].fill(u8::MAX);
    table.range(first..=last).find(|(known, _)| known.is(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn issued(text: &str) -> Issued {
        Issued { node: name(text), at: at(0), token: None }
    }

    #[test]
    fn a_key_is_written_in_one_way_and_only_its_hash_tells_it() {
        let secret = Secret::from_entropy([0xab; 32]);
        assert_eq!(secret.expose(), format!("cmt_{}", "ab".repeat(32)));
        assert_eq!(Secret::read(secret.expose()).as_ref(), Ok(&secret));
        let whole = Sha256::digest(secret.expose());
        assert_eq!(secret.hash().as_bytes()[..], whole[..]);
        let upper = format!("cmt_{}", "AB".repeat(32));
        for text in ["", "cmt_", "ab", &secret.expose()[1..], &format!("{} ", secret.expose()), &upper] {
            assert_eq!(Secret::read(text), Err(NotAKey), "{text}");
        }
    }

    #[test]
    fn nothing_that_is_printed_has_a_key_in_it() {
        let mut keyring = Keyring::default();
        let key = keyring.issue(issued("a"), [0xab; 32]).unwrap();
        let printed = format!("{key:?} {keyring:?} {:?} {}", key.hash(), key.hash());
        assert!(!printed.contains("abab"), "{printed}");
        assert!(format!("{:?}", key.hash()).len() < 20, "nor the whole hash");
    }

    #[test]
    fn a_token_enrols_as_many_nodes_as_it_says_until_it_ends() {
        let mut keyring = Keyring::default();
        let token = keyring.invite(Token { uses_left: 2, expires: at(100) }, [1; 32], at(0)).unwrap();
        assert_eq!(keyring.find(&token), None, "a token is no key");
        let key = keyring.enrol(&token, &name("a"), [2; 32], at(1)).unwrap();
        assert_eq!(keyring.find(&key), Some((key.hash(), &name("a"))));
        assert_eq!(keyring.enrol(&token, &name("a"), [3; 32], at(2)), Err(Refused::HasKey));
        assert_eq!(keyring.enrol(&key, &name("b"), [3; 32], at(2)), Err(Refused::UnknownToken), "a key is no token");
        assert!(keyring.enrol(&token, &name("b"), [3; 32], at(2)).is_ok());
        assert_eq!(keyring.enrol(&token, &name("c"), [7; 32], at(3)), Err(Refused::UnknownToken), "it is used up");
        assert!(keyring.tokens().next().is_none() && !keyring.revoke_token(&token.hash()));
        let token = keyring.invite(Token { uses_left: 9, expires: at(100) }, [4; 32], at(0)).unwrap();
        assert_eq!(keyring.enrol(&token, &name("c"), [5; 32], at(100)), Err(Refused::Expired));
        let late = keyring.enrol(&token, &name("c"), [5; 32], at(0));
        assert_eq!(late, Err(Refused::UnknownToken), "also when the clock goes back");
        let token = keyring.invite(Token { uses_left: 9, expires: at(100) }, [6; 32], at(0)).unwrap();
        assert!(keyring.revoke_token(&token.hash()) && !keyring.revoke_token(&token.hash()));
        assert_eq!(keyring.enrol(&token, &name("c"), [5; 32], at(0)), Err(Refused::UnknownToken));
    }

    #[test]
    fn what_another_registry_says_of_keys_and_tokens_counts_here() {
        let mut keyring = Keyring::default();
        let (token, old, new) = (Secret::from_entropy([1; 32]), [2; 32], [3; 32]);
        keyring.put_token(token.hash(), Token { uses_left: 1, expires: at(100) });
        let key = keyring.enrol(&token, &name("a"), old, at(1)).unwrap();
        assert_eq!(keyring.issued(&name("a")).and_then(|(_, issued)| issued.token), Some(token.hash()));
        let other = Secret::from_entropy(new);
        keyring.put(other.hash(), issued("a"));
        assert!(keyring.find(&key).is_none(), "a node has one");
        keyring.remove(&key.hash());
        assert_eq!(keyring.key_of(&name("a")), Some(other.hash()), "the old one's end is not the new one's");
        keyring.remove(&other.hash());
        assert!(keyring.key_of(&name("a")).is_none() && keyring.find(&other).is_none());
        keyring.put_token(token.hash(), Token { uses_left: 1, expires: at(100) });
        assert!(keyring.enrol(&token, &name("b"), old, at(2)).is_ok(), "it is as it is said to be");
        keyring.clear_tokens();
        assert_eq!(keyring.enrol(&token, &name("c"), old, at(2)), Err(Refused::UnknownToken));
    }

    #[test]
    fn a_key_that_is_revoked_is_nobodys_and_its_node_may_have_another() {
        let mut keyring = Keyring::default();
        let old = keyring.issue(issued("a"), [1; 32]).unwrap();
        assert_eq!(keyring.issue(issued("a"), [2; 32]), Err(Refused::HasKey));
        assert_eq!(keyring.revoke(&name("a")), Some((old.hash(), issued("a"))));
        assert_eq!(keyring.revoke(&name("a")), None);
        assert_eq!(keyring.find(&old), None);
        let new = keyring.issue(issued("a"), [2; 32]).unwrap();
        assert_eq!(keyring.key_of(&name("a")), Some(new.hash()));
        let kept = Keyring::restored([(old.hash(), issued("a")), (new.hash(), issued("a"))], []);
        assert_eq!(kept.find(&new), Some((new.hash(), &name("a"))));
        assert_eq!(kept.find(&old), None, "of two the last counts");
    }

    #[test]
    fn keys_whose_hashes_begin_alike_are_told_apart() {
        let mut hash = [7; 32];
        let one = (KeyHash(hash), issued("a"));
        hash[31] = 8;
        let keyring = Keyring::restored([one, (KeyHash(hash), issued("b"))], []);
        assert_eq!(find(&keyring.keys, &KeyHash(hash)).unwrap().1.node, name("b"));
        hash[20] = 0;
        assert!(find(&keyring.keys, &KeyHash(hash)).is_none());
    }

    #[test]
    fn tokens_and_keys_are_bounded() {
        let mut keyring = Keyring::default();
        let entropy = |number: usize| {
            let mut entropy = [0; 32];
            entropy[..8].copy_from_slice(&number.to_le_bytes());
            entropy
        };
        let token = |seconds| Token { uses_left: 1, expires: at(seconds) };
        for number in 0..TOKENS_MAX {
            keyring.invite(token(10), entropy(number), at(0)).unwrap();
        }
        assert_eq!(keyring.invite(token(20), entropy(TOKENS_MAX), at(9)), Err(Refused::Full));
        assert!(keyring.invite(token(20), entropy(TOKENS_MAX), at(10)).is_ok(), "what has ended makes room");
        for number in 0..KEYS_MAX {
            keyring.issue(issued(&number.to_string()), entropy(number)).unwrap();
        }
        assert_eq!(keyring.issue(issued("late"), [9; 32]), Err(Refused::Full));
    }
}
