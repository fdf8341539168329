//! How libp2p names peers: the multihash of a public key, as text in base58btc (`12D3KooW…`, `Qm…`) or as a CIDv1
//! (`bafz…`, `z…`). It says who is meant and proves nothing. See "One key" in `protocols/identity.md` and the libp2p
//! specification "Peer Ids and Keys".

use super::{NodeId, PeerId};
use std::fmt;
use std::str::FromStr;

/// Longest text of a PeerId, bytes: a CIDv1 of the longest multihash in base32 has 75.
const TEXT_MAX: usize = 80;

/// Longest public key that is its own multihash, bytes; a longer one is hashed.
const INLINE_MAX: usize = 42;

/// What the multihash of an Ed25519 key begins with. Multihash: identity (0x00), 36 bytes; protobuf: key type (field 1)
/// Ed25519 (1), key (field 2), 32 bytes.
const ED25519: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// What the multihash of a hashed key begins with: SHA-256, 32 bytes.
const SHA256: [u8; 2] = [0x12, 0x20];

/// What a CIDv1 of a libp2p key begins with: the version and the codec `libp2p-key`.
const CID: [u8; 2] = [0x01, 0x72];

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The name of a libp2p peer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Libp2pId(Key);

/// Each multihash is one of these and never both, so that equal names are equal values.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Ed25519(NodeId),
    /// The multihash of a key of another kind.
    Other(Box<[u8]>),
}

/// A text or bytes that name no libp2p peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a libp2p PeerId: base58btc (`12D3KooW…`) or a CIDv1 (`bafz…`) of a key's multihash is wanted")]
pub struct NotALibp2pId;

impl Libp2pId {
    /// The peer of this multihash.
    pub fn from_bytes(multihash: &[u8]) -> Result<Self, NotALibp2pId> {
        if let Some(key) = multihash.strip_prefix(&ED25519) {
            return key.try_into().map(|key| NodeId::from_bytes(key).into()).map_err(|_| NotALibp2pId);
        }
        let is_other = match multihash {
            [0x00, length, 0x08, kind, 0x12, ..] => {
                let is_whole = usize::from(*length) + 2 == multihash.len();
                is_whole && usize::from(*length) <= INLINE_MAX && *kind != ED25519[3]
            }
            _ => multihash.strip_prefix(&SHA256).is_some_and(|digest| digest.len() == 32),
        };
        if is_other { Ok(Self(Key::Other(multihash.into()))) } else { Err(NotALibp2pId) }
    }

    /// The multihash.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Key::Ed25519(node) => [ED25519.as_slice(), node.as_bytes()].concat(),
            Key::Other(multihash) => multihash.to_vec(),
        }
    }

    /// The node whose key it is, if it is an Ed25519 key.
    pub fn node(&self) -> Option<NodeId> {
        match &self.0 {
            Key::Ed25519(node) => Some(*node),
            Key::Other(_) => None,
        }
    }

    /// The UUID by which the local network knows the peer.
    pub fn peer(&self) -> PeerId {
        self.node().map_or_else(|| PeerId::of_foreign(&format!("libp2p:{self}")), |node| node.peer())
    }

    /// The same as a CIDv1 in base32, the newer way of writing it.
    pub fn to_cid(&self) -> String {
        format!("b{}", encode_base32(&[CID.as_slice(), &self.to_bytes()].concat()))
    }
}

impl From<NodeId> for Libp2pId {
    fn from(node: NodeId) -> Self {
        Self(Key::Ed25519(node))
    }
}

impl fmt::Display for Libp2pId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&encode_base58(&self.to_bytes()))
    }
}

impl fmt::Debug for Libp2pId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Libp2pId {
    type Err = NotALibp2pId;

    fn from_str(text: &str) -> Result<Self, NotALibp2pId> {
        if text.len() > TEXT_MAX {
            return Err(NotALibp2pId);
        }
        // No multihash of a key begins with `b` or `z` in base58: those of SHA-256 begin with `Qm`, the others with `1`.
        let multihash = match text.as_bytes() {
            [b'b', digits @ ..] => decode_base32(digits).and_then(of_cid),
            [b'z', digits @ ..] => decode_base58(digits).and_then(of_cid),
            digits => decode_base58(digits),
        };
        Self::from_bytes(&multihash.ok_or(NotALibp2pId)?)
    }
}

fn of_cid(cid: Vec<u8>) -> Option<Vec<u8>> {
    cid.strip_prefix(&CID).map(<[u8]>::to_vec)
}

/// Base58 in Bitcoin's alphabet: the bytes as one big number, leading zero bytes as `1`.
fn encode_base58(bytes: &[u8]) -> String {
    let digits = rebase::<256, 58>(bytes);
    let zeros = bytes.iter().take_while(|byte| **byte == 0).map(|_| '1');
    zeros.chain(digits.iter().rev().map(|digit| char::from(BASE58[usize::from(*digit)]))).collect()
}

fn decode_base58(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.iter().map(|letter| digit(BASE58, *letter)).collect::<Option<_>>()?;
    let zeros = digits.iter().take_while(|digit| **digit == 0).map(|_| 0);
    Some(zeros.chain(rebase::<58, 256>(&digits).into_iter().rev()).collect())
}

/// A number's digits to another base: most significant first in, least significant first out, without leading zeros.
fn rebase<const FROM: u32, const TO: u32>(digits: &[u8]) -> Vec<u8> {
    let mut number: Vec<u8> = Vec::new();
    for digit in digits {
        let mut carry = u32::from(*digit);
        for place in &mut number {
            carry += u32::from(*place) * FROM;
            *place = least(carry % TO);
            carry /= TO;
        }
        while carry > 0 {
            number.push(least(carry % TO));
            carry /= TO;
        }
    }
    number
}

fn least(digit: u32) -> u8 {
    digit.to_le_bytes()[0]
}

/// Base32 of RFC 4648 in lower case without padding, as CIDs write it.
fn encode_base32(bytes: &[u8]) -> String {
    let (mut text, mut held, mut bits) = (String::new(), 0u32, 0);
    for byte in bytes {
        (held, bits) = (held << 8 | u32::from(*byte), bits + 8);
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(BASE32[(held >> bits & 31) as usize]));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(BASE32[(held << (5 - bits) & 31) as usize]));
    }
    text
}

/// Reads base32; bits left over must be zero, so that one name has one text.
fn decode_base32(text: &[u8]) -> Option<Vec<u8>> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0u32, 0);
    for letter in text {
        (held, bits) = (held << 5 | u32::from(digit(BASE32, *letter)?), bits + 5);
        if bits >= 8 {
            bits -= 8;
            bytes.push(least(held >> bits));
            held &= (1 << bits) - 1;
        }
    }
    (bits < 5 && held == 0).then_some(bytes)
}

fn digit(alphabet: &[u8], letter: u8) -> Option<u8> {
    alphabet.iter().position(|one| *one == letter).and_then(|place| u8::try_from(place).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Libp2pId {
        text.parse().unwrap_or_else(|_| panic!("{text} is a PeerId"))
    }

    #[test]
    fn the_examples_of_libp2p_read_and_write_the_same() {
        // The specification's example of an RSA key, in both forms.
        let rsa = id("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N");
        assert_eq!(rsa.to_cid(), "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe");
        assert_eq!(id(&rsa.to_cid()), rsa);
        assert_eq!((rsa.node(), rsa.to_bytes().len()), (None, 34));
        // An Ed25519 and a secp256k1 key of its examples.
        let ed25519 = id("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA");
        let node = ed25519.node().expect("an Ed25519 key");
        assert_eq!(Libp2pId::from(node), ed25519);
        assert_eq!(ed25519.peer(), node.peer());
        assert_eq!(id(&ed25519.to_cid()), ed25519);
        let secp256k1 = id("16Uiu2HAmPPBbfuxVEoJiphaxFbRuNWWp1Ss3NmPSmpTAeJbKMfkx");
        assert_eq!((secp256k1.node(), secp256k1.to_bytes().len()), (None, 39));
        for one in [rsa, ed25519, secp256k1] {
            assert_eq!(id(&one.to_string()), one);
            assert_eq!(Libp2pId::from_bytes(&one.to_bytes()), Ok(one.clone()));
            let base58_cid = format!("z{}", encode_base58(&[CID.as_slice(), &one.to_bytes()].concat()));
            assert_eq!(id(&base58_cid), one);
        }
    }

    #[test]
    fn the_key_of_the_specification_has_its_name() {
        // The Ed25519 public key of the specification's test vectors.
        let key = "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
        let key: Vec<u8> =
            (0..32).map(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).expect("hexadecimal")).collect();
        let node = NodeId::from_bytes(key.try_into().expect("32 bytes"));
        assert_eq!(Libp2pId::from(node).to_string(), "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq");
    }

    #[test]
    fn base58_and_base32_are_those_of_their_specifications() {
        assert_eq!(encode_base58(&[0, 0, 1]), "112");
        assert_eq!(encode_base58(b"hello world"), "StV1DL6CwTryKyV");
        assert_eq!(decode_base58(b"StV1DL6CwTryKyV").as_deref(), Some(b"hello world".as_slice()));
        // RFC 4648, section 10.
        for (plain, text) in [("", ""), ("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foobar", "mzxw6ytboi")] {
            assert_eq!(encode_base32(plain.as_bytes()), text);
            assert_eq!(decode_base32(text.as_bytes()).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(decode_base32(b"mz"), None, "bits that mean nothing");
    }

    #[test]
    fn what_names_no_peer_is_refused() {
        let good = Libp2pId::from(NodeId::from_bytes([7; 32]));
        let text = good.to_string();
        let short = encode_base58(&good.to_bytes()[..37]);
        let long = encode_base58(&[good.to_bytes(), vec![0]].concat());
        let other_codec = format!("b{}", encode_base32(&[&[0x01, 0x55], good.to_bytes().as_slice()].concat()));
        let spaced = format!(" {text}");
        let over = "1".repeat(TEXT_MAX + 1);
        for bad in ["", "1", "b", "z", "Qm", "12D3KooW0", "ed25519:AAAA", &short, &long, &other_codec, &spaced, &over] {
            assert_eq!(bad.parse::<Libp2pId>(), Err(NotALibp2pId), "{bad}");
        }
        // An Ed25519 key under its hash, and one that is too long to be inline.
        assert_eq!(Libp2pId::from_bytes(&[SHA256.as_slice(), &[1; 31]].concat()), Err(NotALibp2pId));
        assert_eq!(
            Libp2pId::from_bytes(&[&[0x00, 43, 0x08, 0x02, 0x12], [0; 40].as_slice()].concat()),
            Err(NotALibp2pId)
        );
    }
}
