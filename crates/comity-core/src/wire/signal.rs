//! What two nodes tell each other while a WebRTC connection is being set up: offers, answers and
//! candidates, signed so that the connection is its signer's whoever carried them. See "WebRTC" in
//! `protocols/mqtt-discovery.md` and "What is signed" in `protocols/identity.md`.
//!
//! Over HTTP the description is the body, and the rest goes into the header [`HEADER`]; over a
//! broker all of it is one JSON document, sealed for the receiver.

use crate::id::{NodeId, PeerId, decode_base64, encode_base64};
use crate::identity::key::KeyPair;
use crate::identity::seal::{self, CannotOpen, CannotSeal};
use crate::identity::signature::{self, BadSignature, Context};
use crate::time::Timestamp;
use crate::wire::strict::{self, BadJson};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::time::Duration;
use uuid::Uuid;

/// The HTTP header that carries what is signed: the JSON object in base64url.
pub const HEADER: &str = "comity-signal";

/// The media types of a description, and of a list of addresses (RFC 8840).
pub const SDP: &str = "application/sdp";
/// See [`SDP`].
pub const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Largest description or list of candidates, bytes: sixteen candidates fit many times.
pub const SDP_MAX: usize = 16 * 1024;

/// Candidates read of one description or list.
pub const CANDIDATES_MAX: usize = 32;

/// How far the clocks of both sides may differ.
const SKEW_MAX: Duration = Duration::from_secs(60);

/// What a signal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The description of the side that begins, or that begins anew.
    Offer,
    /// The other side's.
    Answer,
    /// More addresses of either side.
    Candidates,
    /// The connection is over, or will not be.
    End,
}

impl Kind {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::Candidates => "candidates",
            Self::End => "end",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Offer, Self::Answer, Self::Candidates, Self::End].into_iter().find(|kind| kind.name() == name)
    }
}

/// One signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// What it is.
    pub kind: Kind,
    /// The attempt it belongs to: chosen by the side that begins.
    pub session: Uuid,
    /// Who signed it.
    pub from: NodeId,
    /// Whom it is for.
    pub to: NodeId,
    /// When it was written.
    pub at: Timestamp,
    /// The description (RFC 8866), a list of candidates (RFC 8840), or why it ends.
    pub sdp: String,
}

/// Why a signal does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignal {
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] BadJson),
    /// A field is missing or has another type or form.
    #[error("{wanted} is wanted at {pointer}")]
    Field {
        /// The field, as an RFC 6901 pointer.
        pointer: &'static str,
        /// What should be there.
        wanted: &'static str,
    },
    /// The header is not base64url.
    #[error("the header {HEADER} is not base64url")]
    Header,
    /// The description is too long.
    #[error("a description is at most {SDP_MAX} bytes long")]
    TooLarge,
    /// The signature does not count.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// It is for another node.
    #[error("the signal is for another node")]
    WrongAddressee,
    /// It was written too long ago or in the future.
    #[error("the signal was written more than {} s before or after now", SKEW_MAX.as_secs())]
    Time,
    /// What was signed is not the description that came with it.
    #[error("the description is not the one that was signed")]
    OtherSdp,
    /// It was not sealed for this node by who says so.
    #[error(transparent)]
    Sealed(#[from] CannotOpen),
}

impl Signal {
    /// What is signed, with the signature.
    fn signed(&self, key: &KeyPair) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("sdp_sha256".into(), hex(&Sha256::digest(self.sdp.as_bytes())).into());
        if let Some(fingerprint) = fingerprint(&self.sdp) {
            members.insert("fingerprint".into(), fingerprint.into());
        }
        members.insert("from".into(), self.from.to_string().into());
        members.insert("to".into(), self.to.to_string().into());
        members.insert("session".into(), self.session.to_string().into());
        members.insert("kind".into(), self.kind.name().into());
        members.insert("ts".into(), self.at.millis().into());
        let signature = signature::sign(key, Context::Signal, &Value::Object(members.clone()));
        members.insert("sig".into(), encode_base64(&signature).into());
        members
    }

    /// The value of [`HEADER`]; the description goes beside it.
    pub fn to_header(&self, key: &KeyPair) -> String {
        encode_base64(Value::Object(self.signed(key)).to_string().as_bytes())
    }

    /// What the header and the body of an HTTP message say, if it is for `me` and written about now.
    pub fn from_header(header: &str, sdp: &str, me: &NodeId, now: Timestamp) -> Result<Self, BadSignal> {
        let bytes = decode_base64(header).ok_or(BadSignal::Header)?;
        Self::checked(&strict::parse(&bytes)?, sdp, me, now)
    }

    /// The whole signal, sealed for its receiver. `entropy` must be 32 fresh random bytes.
    pub fn seal(&self, key: &KeyPair, entropy: [u8; 32]) -> Result<Vec<u8>, CannotSeal> {
        let mut members = self.signed(key);
        members.insert("sdp".into(), self.sdp.clone().into());
        let plain = Value::Object(members).to_string();
        seal::seal_bytes(plain.as_bytes(), &bound(self.from.peer(), self.to.peer()), &self.to, entropy)
    }

    /// Opens what came for `key` under the name of `from`.
    pub fn open(sealed: &[u8], key: &KeyPair, from: PeerId, now: Timestamp) -> Result<Self, BadSignal> {
        let me = key.node();
        let value = strict::parse(&seal::open_bytes(sealed, &bound(from, me.peer()), key)?)?;
        let wanted = BadSignal::Field { pointer: "/sdp", wanted: "a string" };
        let sdp = value.get("sdp").and_then(Value::as_str).ok_or(wanted)?;
        let signal = Self::checked(&value, sdp, &me, now)?;
        // Whoever seals must be who signed: else a signal that was overheard could be sent on.
        if signal.from.peer() == from { Ok(signal) } else { Err(BadSignature::NotTheSender.into()) }
    }

    fn checked(value: &Value, sdp: &str, me: &NodeId, now: Timestamp) -> Result<Self, BadSignal> {
        if sdp.len() > SDP_MAX {
            return Err(BadSignal::TooLarge);
        }
        let text = |pointer: &'static str, wanted: &'static str| {
            value.pointer(pointer).and_then(Value::as_str).ok_or(BadSignal::Field { pointer, wanted })
        };
        let node = |pointer: &'static str| {
            let wanted = "`ed25519:` and 32 bytes in base64url";
            text(pointer, wanted)?.parse::<NodeId>().map_err(|_| BadSignal::Field { pointer, wanted })
        };
        let (pointer, wanted) = ("/kind", "`offer`, `answer`, `candidates` or `end`");
        let kind = Kind::parse(text(pointer, wanted)?).ok_or(BadSignal::Field { pointer, wanted })?;
        let (pointer, wanted) = ("/session", "a UUID");
        let session = text(pointer, wanted)?.parse().map_err(|_| BadSignal::Field { pointer, wanted })?;
        let (from, to) = (node("/from")?, node("/to")?);
        let ts = BadSignal::Field { pointer: "/ts", wanted: "Unix milliseconds" };
        let at = Timestamp::from_millis(value.get("ts").and_then(Value::as_u64).ok_or(ts)?);
        let (pointer, wanted) = ("/sig", "64 bytes in base64url");
        let sig = decode_base64(text(pointer, wanted)?).and_then(|bytes| bytes.try_into().ok());
        let sig = sig.ok_or(BadSignal::Field { pointer, wanted })?;
        if to != *me {
            return Err(BadSignal::WrongAddressee);
        }
        if at.since(now) > SKEW_MAX || now.since(at) > SKEW_MAX {
            return Err(BadSignal::Time);
        }
        let mut covered = Map::new();
        for name in ["sdp_sha256", "fingerprint", "from", "to", "session", "kind", "ts"] {
            covered.extend(value.get(name).map(|value| (name.to_owned(), value.clone())));
        }
        let hash = hex(&Sha256::digest(sdp.as_bytes()));
        let same = covered.get("sdp_sha256") == Some(&Value::from(hash))
            && covered.get("fingerprint").and_then(Value::as_str) == fingerprint(sdp);
        if !same {
            return Err(BadSignal::OtherSdp);
        }
        signature::verify(&from, Context::Signal, &Value::Object(covered), &sig)?;
        Ok(Self { kind, session, from, to, at, sdp: sdp.to_owned() })
    }
}

/// What the seal binds besides the content: by whom and for whom, as the topic says.
fn bound(from: PeerId, to: PeerId) -> Value {
    json!({ "channel": "signal", "from": from.to_string(), "to": to.to_string() })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The fingerprint of the DTLS certificate in a description, as it stands there: algorithm and hex.
pub fn fingerprint(sdp: &str) -> Option<&str> {
    lines(sdp).find_map(|line| line.strip_prefix("a=fingerprint:")).map(str::trim)
}

/// A description without its candidates, and those: each from `candidate:` on. At most
/// [`CANDIDATES_MAX`] are given.
pub fn split(sdp: &str) -> (String, Vec<&str>) {
    let mut rest = String::with_capacity(sdp.len());
    let mut candidates = Vec::new();
    for line in lines(sdp) {
        match line.strip_prefix("a=").filter(|line| line.starts_with("candidate:")) {
            Some(candidate) if candidates.len() < CANDIDATES_MAX => candidates.push(candidate.trim_end()),
            Some(_) => {}
            None if line == "a=end-of-candidates" => {}
            None => {
                rest.push_str(line);
                rest.push_str("\r\n");
            }
        }
    }
    (rest, candidates)
}

/// A list of candidates as RFC 8840 writes it: with the names of the session that they belong to.
pub fn fragment(ufrag: &str, password: &str, candidates: &[String]) -> String {
    let mut text = format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n");
    text.push_str("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n");
    for candidate in candidates {
        // Infallible: into a string.
        let _ = write!(text, "a={candidate}\r\n");
    }
    text
}

/// An attribute of a description or fragment: the rest of the first line `a=<name>:`.
pub fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    lines(sdp).find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
}

fn lines(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.split('\n').map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=candidate:1 1 udp 9 10.0.0.1 5 typ host\r\na=ice-ufrag:abcd\r\na=fingerprint:sha-256 AA:BB\r\na=end-of-candidates\r\n";

    fn now() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    fn keys() -> (KeyPair, KeyPair) {
        (KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32]))
    }

    fn offer() -> Signal {
        let (ann, bob) = keys();
        let session = Uuid::from_u128(7);
        Signal { kind: Kind::Offer, session, from: ann.node(), to: bob.node(), at: now(), sdp: SDP.to_owned() }
    }

    #[test]
    fn a_signal_reads_as_it_was_written_by_either_way() {
        let (ann, bob) = keys();
        let (me, signal) = (bob.node(), offer());
        assert_eq!(Signal::from_header(&signal.to_header(&ann), SDP, &me, now()), Ok(signal.clone()));
        let sealed = signal.seal(&ann, [5; 32]).expect("sealed");
        assert_eq!(Signal::open(&sealed, &bob, ann.node().peer(), now()), Ok(signal.clone()));
        let end = Signal { kind: Kind::End, sdp: String::new(), ..signal };
        assert_eq!(Signal::from_header(&end.to_header(&ann), "", &me, now()), Ok(end));
    }

    #[test]
    fn it_counts_for_its_addressee_its_description_and_its_minute_only() {
        let (ann, bob) = keys();
        let (me, header) = (bob.node(), offer().to_header(&ann));
        let read = |sdp: &str, me: &NodeId, now| Signal::from_header(&header, sdp, me, now);
        assert_eq!(read(SDP, &ann.node(), now()), Err(BadSignal::WrongAddressee));
        assert_eq!(read(&SDP.replace("BB", "BC"), &me, now()), Err(BadSignal::OtherSdp));
        assert_eq!(read(SDP, &me, now() + Duration::from_secs(61)), Err(BadSignal::Time));
        assert!(read(SDP, &me, now() + Duration::from_secs(59)).is_ok());
        assert_eq!(read(&"x".repeat(SDP_MAX + 1), &me, now()), Err(BadSignal::TooLarge));
        let forged = Signal { from: me, ..offer() }.to_header(&ann);
        assert_eq!(Signal::from_header(&forged, SDP, &me, now()), Err(BadSignature::Wrong.into()));
    }

    #[test]
    fn what_was_overheard_cannot_be_sent_on_under_another_name() {
        let (ann, bob) = keys();
        let sealed = offer().seal(&ann, [5; 32]).expect("sealed");
        let eve = KeyPair::from_seed([3; 32]);
        assert!(matches!(Signal::open(&sealed, &bob, eve.node().peer(), now()), Err(BadSignal::Sealed(_))));
        assert!(matches!(Signal::open(&sealed, &eve, ann.node().peer(), now()), Err(BadSignal::Sealed(_))));
        assert!(matches!(Signal::open(&[], &bob, ann.node().peer(), now()), Err(BadSignal::Sealed(_))));
    }

    #[test]
    fn a_description_is_taken_apart_and_candidates_are_written_as_a_fragment() {
        let (rest, candidates) = split(SDP);
        assert_eq!(candidates, ["candidate:1 1 udp 9 10.0.0.1 5 typ host"]);
        assert!(!rest.contains("candidate") && rest.ends_with("a=fingerprint:sha-256 AA:BB\r\n"), "{rest}");
        assert_eq!((attribute(SDP, "ice-ufrag"), attribute(SDP, "ice-pwd")), (Some("abcd"), None));
        let fragment = fragment("u", "p", &["candidate:1".to_owned()]);
        assert_eq!(split(&fragment).1, ["candidate:1"]);
        assert_eq!(attribute(&fragment, "ice-pwd"), Some("p"));
        let many = "a=candidate:1\n".repeat(100);
        assert_eq!(split(&many).1.len(), CANDIDATES_MAX);
    }
}
