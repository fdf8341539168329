//! Federation: headers, documents, events and bodies as they come, and events again with a right id and signatures, so that
//! what lies behind these is reached too.
#![no_main]

use comity_core::federation::verify::Verifier;
use comity_core::federation::{ChannelId, EventId, Order};
use comity_core::id::encode_base64;
use comity_core::identity::key::KeyPair;
use comity_core::identity::signature::{self, Context};
use comity_core::time::Timestamp;
use comity_core::wire::federation::authorization::Authorization;
use comity_core::wire::federation::well_known::WellKnown;
use comity_core::wire::federation::{body, event, proof};
use comity_core::wire::strict;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|text: &[u8]| {
    if let Ok(header) = std::str::from_utf8(text) {
        if let Ok(read) = Authorization::read(header) {
            assert_eq!(Authorization::read(&read.to_header()).map(|again| again.to_header()), Ok(read.to_header()));
        }
        let _ = header.parse::<ChannelId>();
    }
    let _ = WellKnown::read(text);
    let Ok(value) = strict::parse(text) else { return };
    let _ = event::read(&value);
    let _ = event::read_submitted(&value);
    let _ = proof::read(&value);
    let _ = serde_json::from_value::<body::Page>(value.clone());
    let _ = serde_json::from_value::<body::Heads>(value.clone());
    let _ = serde_json::from_value::<body::Members>(value.clone());
    let _ = serde_json::from_value::<body::Call>(value.clone());
    placed(value);
});

/// The same event with a right id, and signed by its author and its hub: it must be read, and read again the same, and a
/// verifier must take it or say why not.
fn placed(mut value: Value) {
    let key = KeyPair::from_seed([1; 32]);
    let Some(members) = value.as_object_mut() else { return };
    for name in ["id", "sig", "seq", "prev_event", "hub_ts", "term", "hub_key_id", "hub_sig"] {
        members.shift_remove(name);
    }
    members.insert("key_id".to_owned(), key.node().to_string().into());
    let id = EventId::of(members);
    members.insert("id".to_owned(), id.to_string().into());
    let Some(channel) = members.get("channel").and_then(Value::as_str).and_then(|text| text.parse::<ChannelId>().ok())
    else {
        return;
    };
    let sig = signature::sign(&key, Context::Event, &Value::Object(members.clone()));
    members.insert("sig".to_owned(), encode_base64(&sig).into());
    let order = Order::sign(&key, (&channel, id), (1, None), (Timestamp::from_millis(1), 1));
    for (name, member) in order.members() {
        members.insert(name.to_owned(), member);
    }
    let Ok(read) = event::read(&value) else { return };
    assert_eq!(event::read(&event::to_value(&read)).as_ref(), Ok(&read));
    assert_eq!(read.authored.verify(), Ok(()));
    let keys = json!({channel.hub().as_str(): [key.node().to_string()], read.authored.origin.as_str(): [key.node().to_string()]});
    let head = json!({"channel": channel.to_string(), "keys": keys});
    let mut verifier = Verifier::begin(&head).expect("a head");
    let _ = verifier.event(&value);
    let _ = verifier.end();
}
