//! Vectors of knowledge: entries signed by fixed keys, as they are shared.

use comity_core::identity::canonical;
use comity_core::identity::key::KeyPair;
use comity_core::knowledge::{Created, Knowledge, widened};
use comity_core::registry::profile::NodeName;
use comity_core::time::Timestamp;
use comity_core::wire::mesh::knowledge::Signed;
use serde_json::{Value, json};

pub(crate) fn vectors() -> Value {
    let key = KeyPair::from_seed([1; 32]);
    let least = Knowledge {
        id: "k-1".to_owned(),
        topic: "weather".to_owned(),
        topic_basin: None,
        content: "It rains.".to_owned(),
        source: None,
        confidence: 1.0,
        created: Timestamp::from_millis(1_782_000_000_000).into(),
    };
    let full = Knowledge {
        id: "k-2".to_owned(),
        topic: "Übersicht: weather in Lisbon".to_owned(),
        // Numbers of 32 bits, in the shortest decimals that give them back.
        topic_basin: Some(widened(&[0.1, -0.7, 1e-7, 16_777_216.0, 1.175_494_4e-38])),
        content: "line\n\"quoted\"\u{7f}\u{202e} €".to_owned(),
        source: Some("https://example.org/ä".to_owned()),
        confidence: 0.85,
        created: Created::read("2026-06-21T02:00:00.1234567+02:00").unwrap(),
    };
    let nodes = ["ann", "node \"2\" é"];
    let signed = [least, full].into_iter().zip(nodes).map(|(entry, node)| {
        let signature = entry.sign(node, &key);
        let signed = Signed { entry, source_node: Some(NodeName::new(node).unwrap()), signature };
        let read = Signed::read(&signed.write()).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.entry.check(node, &key.node(), &read.signature), Ok(()));
        signed.to_value()
    });
    let signed: Vec<Value> = signed.collect();
    let mut covered = signed[1].clone();
    covered.as_object_mut().unwrap().retain(|name, _| name != "sig" && name != "source_node");
    covered["node"] = nodes[1].into();
    json!({
        "seed": "01".repeat(32),
        "canonical": String::from_utf8(canonical::to_vec(&covered)).unwrap(),
        "entries": signed,
    })
}
