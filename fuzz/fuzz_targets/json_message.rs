//! JSON messages: whatever is read must be written in both spellings and read the same again, and
//! a signature must still say the same.
#![no_main]

use comity_core::time::Timestamp;
use comity_core::wire::json::{self, Spelling};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let now = Timestamp::from_millis(1_782_000_000_000);
    let Ok(message) = json::decode(text, now) else { return };
    let proven = json::proven_key(&message);
    let again = json::decode(&json::encode(&message, Spelling::Design), now).expect("what was read is written well");
    assert_eq!(json::proven_key(&again), proven);
    assert_eq!(again.payload.to_value(), message.payload.to_value());
    let coded = json::decode(&json::encode(&message, Spelling::Coded), now).expect("what was read is written well");
    assert_eq!((coded.id, coded.from, coded.to, coded.kind), (message.id, message.from, message.to, message.kind));
    assert_eq!((coded.channel, coded.priority, coded.ttl), (message.channel, message.priority, message.ttl));
    assert_eq!((coded.timestamp, coded.reply_to), (message.timestamp, message.reply_to));
});
