//! The header that signs a request between origins, and the one that signs its answer. See "Signed requests" in
//! `protocols/federation.md`. It reads, writes and checks signatures; whose key counts, and what was there before,
//! is decided elsewhere.

use crate::federation::Origin;
use crate::id::{NodeId, decode_base64, encode_base64};
use crate::identity::canonical;
use crate::identity::key::KeyPair;
use crate::identity::signature::{self, BadSignature, Context};
use crate::time::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The header's name.
pub const HEADER: &str = "x-smcp-authorization";

/// Longest header that is read, bytes: what there is to say takes less than 800.
const LENGTH_MAX: usize = 2048;

/// The parameters there are.
const NAMES: [&str; 6] = ["origin", "destination", "key_id", "ts", "nonce", "sig"];

/// What a request's header says. The texts are kept as they were written, for so they are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Who asks.
    pub origin: Origin,
    /// Who is asked.
    pub destination: Origin,
    /// The key that signed.
    pub key: NodeId,
    /// When.
    pub at: Timestamp,
    /// What tells this request from every other of the minute.
    pub nonce: [u8; 16],
    key_id: Box<str>,
    nonce_text: Box<str>,
    signature: [u8; 64],
}

/// What of a request is signed besides the header.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, in upper case.
    pub method: &'a str,
    /// The target in origin form, exactly as the client wrote it.
    pub uri: &'a str,
    /// The hash of the raw body, also when it is empty.
    pub content: ContentHash,
}

/// The SHA-256 of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHash(pub [u8; 32]);

/// Why a header cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAuthorization {
    /// It is not a list of `name=value`.
    #[error("{HEADER}: name=value is wanted, with spaces or commas between, at byte {at}")]
    Syntax {
        /// Where, from 0.
        at: usize,
    },
    /// It is longer than any that says what there is to say.
    #[error("{HEADER}: longer than {LENGTH_MAX} bytes")]
    TooLong,
    /// A name is there twice.
    #[error("{HEADER}: a name is there twice, at byte {at}")]
    Twice {
        /// Where the second stands, from 0.
        at: usize,
    },
    /// A parameter is missing, without which nothing is proven.
    #[error("{HEADER}: {0} is missing")]
    Missing(&'static str),
    /// A parameter has another form.
    #[error("{HEADER}: {name} must be {wanted}")]
    Parameter {
        /// Which one.
        name: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
}

impl ContentHash {
    /// The hash of this body.
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }

    fn hex(self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Infallible: into a string.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl Authorization {
    /// Signs a request of `origin`. `nonce` must be 16 fresh random bytes.
    pub fn sign(
        key: &KeyPair,
        (origin, destination): (&Origin, &Origin),
        request: Request<'_>,
        (at, nonce): (Timestamp, [u8; 16]),
    ) -> Self {
        let mut signed = Self {
            origin: origin.clone(),
            destination: destination.clone(),
            key: key.node(),
            at,
            nonce,
            key_id: key.node().to_string().into(),
            nonce_text: encode_base64(&nonce).into(),
            signature: [0; 64],
        };
        signed.signature = signature::sign_bytes(key, Context::Request, &signed.covered(request));
        signed
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`BadAuthorization`] names the parameter.
    pub fn read(header: &str) -> Result<Self, BadAuthorization> {
        let said = Said::read(header)?;
        let origin = |name: &'static str| {
            let wanted = "an origin: a DNS name in lower case, and a port unless it is 443";
            said.text(name)?.parse().map_err(|_| BadAuthorization::Parameter { name, wanted })
        };
        let (origin, destination) = (origin("origin")?, origin("destination")?);
        let (name, wanted) = ("key_id", "`ed25519:` and 32 bytes in base64url");
        let key_id = said.text(name)?;
        let key = key_id.parse().map_err(|_| BadAuthorization::Parameter { name, wanted })?;
        let (name, wanted) = ("ts", "Unix milliseconds");
        let ts = said.text(name)?;
        let is_plain = ts.bytes().all(|byte| byte.is_ascii_digit()) && (ts == "0" || !ts.starts_with('0'));
        // Larger numbers are not the same in every reader of JSON.
        let ts: Option<u64> = ts.parse().ok().filter(|ts| is_plain && *ts <= 1 << 53);
        let at = Timestamp::from_millis(ts.ok_or(BadAuthorization::Parameter { name, wanted })?);
        let (name, wanted) = ("nonce", "16 bytes in base64url");
        let nonce_text = said.text(name)?;
        let nonce = decode_base64(nonce_text).and_then(|bytes| bytes.try_into().ok());
        let nonce = nonce.ok_or(BadAuthorization::Parameter { name, wanted })?;
        let (name, wanted) = ("sig", "64 bytes in base64url");
        let signature = decode_base64(said.text(name)?).and_then(|bytes| bytes.try_into().ok());
        let signature = signature.ok_or(BadAuthorization::Parameter { name, wanted })?;
        let (key_id, nonce_text) = (key_id.into(), nonce_text.into());
        Ok(Self { origin, destination, key, at, nonce, key_id, nonce_text, signature })
    }

    /// The header's value.
    pub fn to_header(&self) -> String {
        let Self { origin, destination, key_id, nonce_text, .. } = self;
        let (ts, sig) = (self.at.millis(), encode_base64(&self.signature));
        format!("origin={origin} destination={destination} key_id={key_id} ts={ts} nonce={nonce_text} sig={sig}")
    }

    /// Checks that the key it names signed this request.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, request: Request<'_>) -> Result<(), BadSignature> {
        signature::verify_bytes(&self.key, Context::Request, &self.covered(request), &self.signature)
    }

    /// The hash of what was signed: what an answer says it answers.
    pub fn request_hash(&self, request: Request<'_>) -> ContentHash {
        ContentHash::of(&self.covered(request))
    }

    fn covered(&self, request: Request<'_>) -> Vec<u8> {
        canonical::to_vec(&json!({
            "content_sha256": request.content.hex(),
            "destination": self.destination.as_str(),
            "key_id": &*self.key_id,
            "method": request.method,
            "nonce": &*self.nonce_text,
            "origin": self.origin.as_str(),
            "ts": self.at.millis(),
            "uri": request.uri,
        }))
    }

    /// Signs the answer to this request: the header's value. `me` is who was asked, and answers.
    pub fn sign_answer(&self, key: &KeyPair, me: &Origin, request: Request<'_>, answer: Answer) -> String {
        let covered = self.covered_answer(&answer, (me, &key.node().to_string()), request);
        let sig = encode_base64(&signature::sign(key, Context::Response, &covered));
        let (origin, nonce, ts, key) = (&self.origin, &self.nonce_text, answer.at.millis(), key.node());
        format!("origin={me} destination={origin} key_id={key} ts={ts} nonce={nonce} sig={sig}")
    }

    /// Checks the header of an answer to this request: that it is this destination's, for this origin and request, and
    /// that the key it names signed it. Gives that key, whose owner is for the caller to know, and when it was signed.
    ///
    /// # Errors
    /// [`BadAnswer`].
    pub fn check_answer(
        &self,
        header: &str,
        request: Request<'_>,
        status: u16,
        content: ContentHash,
    ) -> Result<(NodeId, Timestamp), BadAnswer> {
        let said = Self::read(header)?;
        let is_ours = said.origin == self.destination && said.destination == self.origin && said.nonce == self.nonce;
        if !is_ours {
            return Err(BadAnswer::Other);
        }
        let answer = Answer { status, content, at: said.at };
        let covered = self.covered_answer(&answer, (&said.origin, &said.key_id), request);
        signature::verify(&said.key, Context::Response, &covered, &said.signature)?;
        Ok((said.key, said.at))
    }

    fn covered_answer(&self, answer: &Answer, (me, key_id): (&Origin, &str), request: Request<'_>) -> Value {
        json!({
            "content_sha256": answer.content.hex(),
            "destination": self.origin.as_str(),
            "key_id": key_id,
            "nonce": &*self.nonce_text,
            "origin": me.as_str(),
            "request_sha256": self.request_hash(request).hex(),
            "status": answer.status,
            "ts": answer.at.millis(),
        })
    }
}

/// What of an answer is signed.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The hash of its raw body.
    pub content: ContentHash,
    /// When it was given.
    pub at: Timestamp,
}

/// Why an answer proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// Its header cannot be read.
    #[error(transparent)]
    Header(#[from] BadAuthorization),
    /// It is another's, or of another request.
    #[error("the answer is signed for another request")]
    Other,
    /// The signature does not count.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

/// The parameters of a header, by their place in [`NAMES`].
#[derive(Default)]
struct Said([Option<String>; NAMES.len()]);

impl Said {
    fn read(header: &str) -> Result<Self, BadAuthorization> {
        if header.len() > LENGTH_MAX {
            return Err(BadAuthorization::TooLong);
        }
        let mut said = Self::default();
        let mut names: Vec<String> = Vec::new();
        let mut rest = Rest { text: header, at: 0 };
        while rest.begin() {
            let at = rest.at;
            let name = rest.name()?.to_ascii_lowercase();
            let value = rest.value()?;
            if names.contains(&name) {
                return Err(BadAuthorization::Twice { at });
            }
            if let Some(place) = NAMES.iter().position(|known| *known == name) {
                said.0[place] = Some(value);
            }
            names.push(name);
        }
        Ok(said)
    }

    fn text(&self, name: &'static str) -> Result<&str, BadAuthorization> {
        let place = NAMES.iter().position(|known| *known == name);
        place.and_then(|place| self.0[place].as_deref()).ok_or(BadAuthorization::Missing(name))
    }
}

/// What is left to read of a header.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    /// Skips what stands between parameters; whether there is one more.
    fn begin(&mut self) -> bool {
        self.take_while(|byte| matches!(byte, b' ' | b'\t' | b','));
        self.at < self.text.len()
    }

    fn name(&mut self) -> Result<&'a str, BadAuthorization> {
        let name = self.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if name.is_empty() || self.next() != Some(b'=') {
            return Err(BadAuthorization::Syntax { at: self.at });
        }
        self.at += 1;
        Ok(name)
    }

    fn value(&mut self) -> Result<String, BadAuthorization> {
        if self.next() != Some(b'"') {
            let value = self.take_while(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b'"'));
            let ends = matches!(self.next(), None | Some(b' ' | b'\t' | b','));
            return if ends { Ok(value.to_owned()) } else { Err(BadAuthorization::Syntax { at: self.at }) };
        }
        let mut value = String::new();
        loop {
            self.at += 1;
            let piece =
                self.take_while(|byte| (byte.is_ascii_graphic() || byte == b' ') && !matches!(byte, b'"' | b'\\'));
            value.push_str(piece);
            match self.next() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    let escaped = self.next().filter(|byte| byte.is_ascii_graphic() || *byte == b' ');
                    value.push(char::from(escaped.ok_or(BadAuthorization::Syntax { at: self.at })?));
                }
                _ => return Err(BadAuthorization::Syntax { at: self.at }),
            }
        }
        self.at += 1;
        let ends = matches!(self.next(), None | Some(b' ' | b'\t' | b','));
        if ends { Ok(value) } else { Err(BadAuthorization::Syntax { at: self.at }) }
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|byte| wanted(*byte)).count();
        self.at += length;
        &rest[..length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"a":1}"#;

    fn keys() -> (KeyPair, KeyPair) {
        (KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32]))
    }

    fn origins() -> (Origin, Origin) {
        ("alpha.test".parse().expect("an origin"), "beta.test:8443".parse().expect("an origin"))
    }

    fn request() -> Request<'static> {
        Request { method: "POST", uri: "/federation/v1/call?x=%2F", content: ContentHash::of(BODY) }
    }

    fn signed() -> Authorization {
        let ((alpha, beta), at) = (origins(), Timestamp::from_millis(1_700_000_000_000));
        Authorization::sign(&keys().0, (&alpha, &beta), request(), (at, [7; 16]))
    }

    #[test]
    fn a_header_reads_as_it_was_written_in_any_of_its_spellings() {
        let (signed, header) = (signed(), signed().to_header());
        let quoted: Vec<String> = header.split(' ').filter_map(|pair| pair.split_once('=')).map(quote).collect();
        let spellings = [
            header.clone(),
            header.replace(' ', ","),
            header.replace(' ', " , \t"),
            format!("  {header} ,"),
            format!("{header} more=\"of \\\"it\\\"\", sig2=x"),
            quoted.join(", "),
        ];
        for spelling in spellings {
            let read = Authorization::read(&spelling).expect(&spelling);
            assert_eq!(read, signed, "{spelling}");
            assert_eq!(read.verify(request()), Ok(()));
        }
    }

    fn quote((name, value): (&str, &str)) -> String {
        format!("{}=\"{value}\"", name.to_uppercase())
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let header = signed().to_header();
        for name in NAMES {
            let without: Vec<&str> = header.split(' ').filter(|pair| !pair.starts_with(&format!("{name}="))).collect();
            assert_eq!(Authorization::read(&without.join(" ")), Err(BadAuthorization::Missing(name)));
            let junk = format!("{} {name}=%", without.join(" "));
            assert!(
                matches!(Authorization::read(&junk), Err(BadAuthorization::Parameter { name: named, .. }) if named == name)
            );
            let twice = format!("{header} {}=x", name.to_uppercase());
            assert_eq!(Authorization::read(&twice), Err(BadAuthorization::Twice { at: header.len() + 1 }));
        }
        for ts in ["-1", "+1", "01", "1.5", "1e3", "9007199254740993", "99999999999999999999"] {
            let header = header.replace("ts=1700000000000", &format!("ts={ts}"));
            assert!(
                matches!(Authorization::read(&header), Err(BadAuthorization::Parameter { name: "ts", .. })),
                "{ts}"
            );
        }
        for (text, at) in
            [("origin", 6), ("=x", 0), ("a=\"x", 4), ("a=\"x\"y", 5), ("a=\"\\", 4), ("a=é", 2), ("a=x\"", 3)]
        {
            assert_eq!(Authorization::read(text), Err(BadAuthorization::Syntax { at }), "{text}");
        }
        assert_eq!(Authorization::read(&"a".repeat(LENGTH_MAX + 1)), Err(BadAuthorization::TooLong));
    }

    #[test]
    fn a_signature_is_good_for_its_own_request_alone() {
        let signed = signed();
        let wrong = Err(BadSignature::Wrong);
        assert_eq!(signed.verify(Request { method: "PUT", ..request() }), wrong);
        assert_eq!(signed.verify(Request { uri: "/federation/v1/call?x=/", ..request() }), wrong);
        assert_eq!(signed.verify(Request { content: ContentHash::of(b""), ..request() }), wrong);
        let header = signed.to_header();
        let (bob, nonce) = (keys().1.node().to_string(), encode_base64(&[8; 16]));
        for (part, other) in [
            ("origin=alpha", "origin=gamma"),
            ("destination=beta", "destination=gamma"),
            ("ts=17", "ts=18"),
            (&*signed.key_id, &*bob),
            (&*signed.nonce_text, &*nonce),
        ] {
            let read = Authorization::read(&header.replace(part, other)).expect("a header");
            assert_eq!(read.verify(request()), wrong, "{other}");
        }
    }

    #[test]
    fn an_answer_is_good_for_its_own_request_status_and_body_alone() {
        let (signed, (_, beta), bob) = (signed(), origins(), keys().1);
        let (body, at) = (ContentHash::of(b"{}"), Timestamp::from_millis(1_700_000_000_100));
        let header = signed.sign_answer(&bob, &beta, request(), Answer { status: 200, content: body, at });
        assert_eq!(signed.check_answer(&header, request(), 200, body), Ok((bob.node(), at)));
        let wrong = Err(BadAnswer::Signature(BadSignature::Wrong));
        assert_eq!(signed.check_answer(&header, request(), 403, body), wrong);
        assert_eq!(signed.check_answer(&header, request(), 200, ContentHash::of(b"")), wrong);
        assert_eq!(signed.check_answer(&header, Request { uri: "/", ..request() }, 200, body), wrong);
        let ((alpha, beta), at) = (origins(), signed.at);
        let other = Authorization::sign(&keys().0, (&alpha, &beta), request(), (at, [8; 16]));
        assert_eq!(other.check_answer(&header, request(), 200, body), Err(BadAnswer::Other));
    }
}
