//! Gossip messages, topics and PeerIds: what is read is written and read the same, and the words about tasks in it
//! are read, as they come and again with a signature that is right.
#![no_main]

use comity_core::id::{Libp2pId, encode_base64};
use comity_core::identity::key::KeyPair;
use comity_core::identity::signature::{self, Context};
use comity_core::topic::{Name, Topic, Topics};
use comity_core::wire::gossip::{self, BadGossip, Kind, body, task};
use comity_core::wire::strict;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|text: &[u8]| {
    let key = KeyPair::from_seed([1; 32]);
    let (me, topics) = (Libp2pId::from(key.node()), Topics::default());
    let anywhere = Topic::new("custom").expect("a topic");
    if let Ok(text) = std::str::from_utf8(text) {
        if let Ok(id) = text.parse::<Libp2pId>() {
            assert_eq!(id.to_string().parse().as_ref(), Ok(&id));
            assert_eq!(id.to_cid().parse().as_ref(), Ok(&id));
        }
        if let Ok(topic) = Topic::new(text) {
            let _ = topics.read(&topic);
        }
        if let Ok(name) = Name::new(text) {
            assert_eq!(Name::new(name.text()).as_ref(), Ok(&name));
        }
    }
    let _ = Libp2pId::from_bytes(text);
    // Whoever it says it is from, it is mine: so that what lies behind that check is reached.
    let Ok(mut value) = strict::parse(text) else { return };
    if value.is_object() && value.get("from").is_some_and(Value::is_string) {
        value["from"] = me.to_string().into();
    }
    let Ok(envelope) = gossip::decode(value.to_string().as_bytes(), &me, &topics, &anywhere) else { return };
    match gossip::encode(&envelope, &topics, &anywhere) {
        Ok(text) => assert_eq!(gossip::decode(&text, &me, &topics, &anywhere).as_ref(), Ok(&envelope)),
        // What is written may be longer than what was read: numbers and escapes.
        Err(bad) => assert!(matches!(bad, BadGossip::TooLarge { .. }), "{bad}"),
    }
    let _ = body::HelpRequest::from_data(&envelope.data);
    let _ = body::HelpResponse::from_data(&envelope.data);
    let _ = body::Availability::from_data(&envelope.data);
    let _ = task::read(&envelope);
    let names: &[&str] = match envelope.kind {
        Kind::TaskClaim => &["claimant", "task_id", "time"],
        _ => &["announcer", "assigned_to", "lease", "task_id", "time"],
    };
    let mut signed = envelope;
    for name in ["claimant", "announcer"] {
        signed.data.insert(name.to_owned(), key.node().to_string().into());
    }
    let members = names.iter().filter_map(|name| Some(((*name).to_owned(), signed.data.get(*name)?.clone())));
    let members = Value::Object(members.collect::<Map<_, _>>());
    signed.data.insert("sig".to_owned(), encode_base64(&signature::sign(&key, Context::Claim, &members)).into());
    let _ = task::read(&signed);
});
