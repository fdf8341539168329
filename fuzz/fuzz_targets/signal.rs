//! Signals of WebRTC connections: as they come, and again with a signature that is right, so that what
//! lies behind the signature is reached too.
#![no_main]

use comity_core::identity::key::KeyPair;
use comity_core::time::Timestamp;
use comity_core::wire::signal::{self, Kind, SDP_MAX, Signal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (ann, bob) = (KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32]));
    let (me, at) = (bob.node(), Timestamp::from_millis(1_700_000_000_000));
    let _ = Signal::open(bytes, &bob, ann.node().peer(), at);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Signal::from_header(text, "", &me, at);
    let (rest, candidates) = signal::split(text);
    assert!(candidates.iter().all(|candidate| candidate.starts_with("candidate:")));
    assert!(signal::split(&rest).1.is_empty());
    let _ = signal::attribute(text, "ice-ufrag");
    let session = "0f0f0f0f-0000-4000-8000-000000000007".parse().expect("a UUID");
    let offer = Signal { kind: Kind::Offer, session, from: ann.node(), to: me, at, sdp: text.to_owned() };
    let read = Signal::from_header(&offer.to_header(&ann), text, &me, at);
    assert_eq!(read.is_ok(), text.len() <= SDP_MAX);
    let sealed = offer.seal(&ann, [5; 32]).expect("a good key");
    assert_eq!(Signal::open(&sealed, &bob, ann.node().peer(), at).is_ok(), text.len() <= SDP_MAX);
});
