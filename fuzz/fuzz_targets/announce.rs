//! MQTT announcements and topics: as they come, and again with a signature that is right, so that
//! what lies behind the signature is reached too.
#![no_main]

use comity_core::id::encode_base64;
use comity_core::identity::key::KeyPair;
use comity_core::identity::signature::{self, Context};
use comity_core::wire::announce::{self, PREFIX, Topics};
use comity_core::wire::strict;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let key = KeyPair::from_seed([1; 32]);
    if let Ok(topic) = std::str::from_utf8(text) {
        let topics = Topics::new(PREFIX).expect("a prefix");
        let _ = topics.read(topic);
        let _ = topics.read(&format!("{PREFIX}/{topic}"));
        let _ = Topics::new(topic);
    }
    let _ = announce::read_info(text);
    let _ = announce::read_goodbye(text, &key.node());
    let _ = announce::read_capability(text, "search", &key.node());
    let _ = announce::read_unsigned(text);
    let Ok(mut value) = strict::parse(text) else { return };
    let Some(members) = value.as_object_mut() else { return };
    members.shift_remove("sig");
    members.insert("publicKey".to_owned(), key.node().to_string().into());
    value["sig"] = encode_base64(&signature::sign(&key, Context::Announce, &value)).into();
    if let Ok(read) = announce::read_info(value.to_string().as_bytes()) {
        let again = announce::sign_info(&read, &key).to_string();
        assert_eq!(announce::read_info(again.as_bytes()).as_ref(), Ok(&read));
    }
});
