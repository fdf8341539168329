//! Cards: as they come, and again with a signature that is right, so that what lies behind the
//! signature is reached too.
#![no_main]

use comity_core::id::encode_base64;
use comity_core::identity::key::KeyPair;
use comity_core::identity::signature::{self, Context};
use comity_core::time::Timestamp;
use comity_core::wire::{card, strict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let now = Timestamp::from_millis(1_782_000_000_000);
    let Ok(mut value) = strict::parse(text) else { return };
    let _ = card::verify(&value, now);
    let key = KeyPair::from_seed([1; 32]);
    let Some(members) = value.as_object_mut() else { return };
    members.shift_remove("sig");
    members.insert("node".to_owned(), key.node().to_string().into());
    value["sig"] = encode_base64(&signature::sign(&key, Context::Card, &value)).into();
    if let Ok(read) = card::verify(&value, now) {
        assert_eq!(card::verify(&card::sign(&read, &key), now).as_ref(), Ok(&read));
    }
});
