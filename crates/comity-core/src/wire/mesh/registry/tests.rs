//! Bodies there and back, each field that may be wrong, and bytes that were changed anywhere.

use super::*;
use crate::registry::drawn::{Dice, node};
use crate::registry::key::KeyHash;
use crate::registry::roster::{Config, Holder, Roster};
use crate::time::Now;

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn whole() -> Registration {
    let mut dice = Dice(1);
    Registration {
        capabilities: vec!["search".to_owned(), "übersetzen".to_owned()],
        basin_signature: dice.vector(256),
        centroids: (0..16).map(|_| dice.vector(256)).collect(),
        settings: Told { dim: Some(256), metric: Some("fisher-rao".to_owned()), ..Told::default() },
        key: Some(NodeId::from_bytes([7; 32])),
        ..node("ann \"1\"")
    }
}

fn kernel(text: &str) -> KernelNode {
    let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(1_782_000_000_123) };
    let mut roster = Roster::new(Config::default());
    let registration = Registration { node: name(text), ..whole() };
    roster.register(registration, Holder::ApiKey(KeyHash::from_bytes([0; 32])), now).unwrap();
    KernelNode::brief(roster.member(&name(text)).unwrap())
}

fn pointer(result: Result<impl std::fmt::Debug, BadBody>) -> String {
    match result.unwrap_err() {
        BadBody::Field { pointer, .. } => pointer,
        other => other.to_string().split(':').next().unwrap().to_owned(),
    }
}

fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

#[test]
fn a_registration_reads_as_it_was_written_to_the_last_bit_of_each_number() {
    assert_eq!(read_register(&write_register(&whole())), Ok(whole()));
    assert_eq!(read_register(&write_register(&node("a"))), Ok(node("a")));
    let exact = Registration { basin_signature: vec![0.1, 1e-45, f32::MAX, -0.3], ..node("a") };
    let text = String::from_utf8(write_register(&exact)).unwrap();
    assert!(
        text.contains("[0.1,1e-45,3.4028235e38,-0.3]") || text.contains("[0.1,1e-45,3.4028235e+38,-0.3]"),
        "{text}"
    );
    assert_eq!(read_register(text.as_bytes()), Ok(exact));
}

#[test]
fn what_is_wrong_with_a_registration_is_named() {
    for (field, value, wanted) in [
        ("node_id", json!(""), "/node_id"),
        ("node_id", json!("x".repeat(129)), "/node_id"),
        ("node_id", json!(7), "/node_id"),
        ("service_name", json!(null), "/service_name"),
        ("service_name", json!(""), "service_name"),
        ("endpoint", json!("ftp://a.test"), "/endpoint"),
        ("endpoint", json!("https://user@a.test"), "/endpoint"),
        ("endpoint", json!(format!("https://a.test/{}", "x".repeat(600))), "/endpoint"),
        ("capabilities", json!("search"), "/capabilities"),
        ("capabilities", json!([7]), "/capabilities"),
        ("capabilities", json!(vec!["x"; 65]), "capabilities"),
        ("basin_signature", json!("x"), "/basin_signature"),
        ("basin_signature", json!([1e39]), "/basin_signature"),
        ("basin_signature", json!(vec![0; 256]), "basin_signature"),
        ("basin_signature", json!(vec![1; 4097]), "/basin_signature"),
        ("centroids", json!([1, 2]), "/centroids"),
        ("centroids", json!(vec![[1]; 17]), "centroids"),
        ("dim", json!(-1), "/dim"),
        ("metric", json!(1), "/metric"),
        ("encoder", json!("x".repeat(129)), "encoder"),
        ("key", json!("ed25519:AAAA"), "/key"),
    ] {
        let mut body = self::value(&write_register(&whole()));
        body[field] = value;
        assert_eq!(pointer(read_register(body.to_string().as_bytes())), wanted);
    }
    assert!(matches!(read_register(b"{"), Err(BadBody::Json(_))));
    assert_eq!(pointer(read_register(b"[]")), "");
}

#[test]
fn a_node_of_a_list_has_the_fields_of_the_protocol() {
    let written = value(&kernel("a").write());
    let fields: Vec<&String> = written.as_object().unwrap().keys().collect();
    let wanted = ["node_id", "service_name", "endpoint", "capabilities", "basin_signature", "last_heartbeat", "key"];
    assert_eq!(fields, wanted);
    assert_eq!(written["last_heartbeat"], "2026-06-21T00:00:00.123Z");
    assert_eq!(written["basin_signature"].as_array().unwrap().len(), 256);
    assert_eq!(KernelNode::read(&kernel("a").write()), Ok(kernel("a")));
    let foreign = json!({"node_id": "b", "service_name": "s", "endpoint": "http://10.0.0.1:80", "capabilities": [],
        "basin_signature": vec![0.5; 256], "last_heartbeat": "2026-06-21T02:00:00.123456789+02:00", "more": {}});
    assert!(KernelNode::read(foreign.to_string().as_bytes()).is_ok());
}

#[test]
fn the_answer_to_a_registration_reads_as_it_was_written() {
    let answer = Registered {
        node: name("a"),
        api_key: Some(Secret::from_entropy([0xab; 32])),
        interval: Duration::from_secs(30),
        nodes: vec![kernel("b"), kernel("c")],
    };
    let written = answer.write();
    assert_eq!(Registered::read(&written, &name("a")), Ok((answer, 0)));
    assert_eq!(pointer(Registered::read(&written, &name("z"))), "/node_id");
    let read = |body: Value| Registered::read(body.to_string().as_bytes(), &name("a"));
    let (least, refused) = read(json!({"nodes": [{"node_id": "b"}, 7]})).unwrap();
    assert_eq!((least.api_key, least.interval, least.nodes, refused), (None, INTERVAL, vec![], 2));
    for seconds in [json!(0), json!(-1), json!(1e300), json!("30"), json!(3601)] {
        assert_eq!(pointer(read(json!({"heartbeat_interval_seconds": seconds}))), "/heartbeat_interval_seconds");
    }
    let bad = read(json!({"api_key": "cmt_secret"}));
    assert!(!format!("{bad:?}").contains("secret"), "what may be a key is not repeated");
    assert_eq!(pointer(bad), "/api_key");
}

#[test]
fn a_heartbeat_reads_as_it_was_written() {
    let load = Load { running: 2, queued: 1, cpu: 0.25, memory: 1.0 };
    let beat =
        Heartbeat { load: Some(load), basin_signature: Some(vec![0.1; 3]), centroids: Some(vec![vec![-0.7; 3]]) };
    assert_eq!(read_heartbeat(&write_heartbeat(&name("a"), &beat)), Ok((name("a"), beat)));
    let least = (name("a"), Heartbeat::default());
    assert_eq!(read_heartbeat(&write_heartbeat(&least.0, &least.1)), Ok(least));
    for (body, wanted) in [
        (r#"{"load":{}}"#, "/node_id"),
        (r#"{"node_id":"a","load":7}"#, "/load"),
        (r#"{"node_id":"a","load":{"running":-1}}"#, "/load/running"),
        (r#"{"node_id":"a","load":{"cpu":1.5}}"#, "load"),
        (r#"{"node_id":"a","load":{"memory":"x"}}"#, "/load/memory"),
        (r#"{"node_id":"a","basin_signature":[0,0]}"#, "basin_signature"),
        (r#"{"node_id":"a","centroids":[[]]}"#, "centroids"),
    ] {
        assert_eq!(pointer(read_heartbeat(body.as_bytes())), wanted, "{body}");
    }
    let since = Timestamp::from_millis(1_782_000_000_000);
    for (text, peers_changed) in [(write_beaten(None), false), (write_beaten(Some(since)), true)] {
        assert_eq!(read_beaten(&text), Ok(Beaten { ok: true, peers_changed }));
    }
    for (body, peers_changed) in [("7", true), ("true", true), ("false", false), ("null", false)] {
        let body = format!("{{\"ok\":true,\"peers_changed_since\":{body}}}");
        assert_eq!(read_beaten(body.as_bytes()).map(|beaten| beaten.peers_changed), Ok(peers_changed));
    }
    assert_eq!(pointer(read_beaten(b"{}")), "/ok");
}

#[test]
fn a_list_reads_as_it_was_written_and_one_bad_node_does_not_spoil_it() {
    let nodes = [kernel("a"), kernel("b")];
    let (read, next) = read_nodes(&write_nodes(&nodes, Some(&name("b")))).unwrap();
    assert_eq!((read.items, read.refused, next), (nodes.to_vec(), 0, Some(name("b"))));
    let mut list = value(&write_nodes(&nodes, None));
    list["nodes"][0]["endpoint"] = json!("javascript:alert(1)");
    let (read, next) = read_nodes(list.to_string().as_bytes()).unwrap();
    assert_eq!((read.items, read.refused, next), (vec![kernel("b")], 1, None));
    assert_eq!(pointer(Err::<(), _>(read.first_refused.unwrap())), "/nodes/0/endpoint");
    let bare = list["nodes"].to_string();
    assert_eq!(read_nodes(bare.as_bytes()).unwrap().0.items, [kernel("b")], "a bare list will do");
    assert_eq!(read_nodes(b"{\"nodes\":null}").unwrap().0.items, []);
    let many = format!("[{}0]", "0,".repeat(NODES_MAX));
    assert_eq!(read_nodes(many.as_bytes()).unwrap_err(), BadBody::TooMany { list: "nodes", most: NODES_MAX });
    assert_eq!(Page::read(None, None), Ok(Page { after: None, limit: PAGE_MAX }));
    assert_eq!(pointer(Page::read(None, Some("501"))), "/limit");
    assert_eq!(pointer(Page::read(Some(""), None)), "/after");
}

#[test]
fn a_page_of_whole_nodes_fits_into_what_is_read() {
    let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(0) };
    let mut roster = Roster::new(Config::default());
    roster.register(whole(), Holder::ApiKey(KeyHash::from_bytes([0; 32])), now).unwrap();
    let one = KernelNode::whole(roster.member(&whole().node).unwrap());
    assert_eq!(one.centroids.len(), 16);
    let bytes = one.write().len();
    assert!(bytes * PAGE_MAX < super::super::reading::ANSWER_BYTES_MAX, "{bytes}");
    assert!(kernel("a").write().len() * NODES_MAX < super::super::reading::ANSWER_BYTES_MAX, "and all in brief");
}

#[test]
fn bytes_that_were_changed_anywhere_are_read_or_refused_and_nothing_else() {
    let list = write_nodes(&[KernelNode { basin_signature: vec![0.5; 4], ..kernel("a") }], Some(&name("a")));
    let body = write_register(&Registration { basin_signature: vec![0.5; 4], centroids: vec![], ..whole() });
    let mut dice = Dice(11);
    for _ in 0..4000 {
        for text in [&list, &body] {
            let mut text = text.clone();
            for _ in 0..=dice.below(3) {
                let at = dice.below(text.len());
                match dice.below(3) {
                    0 => text[at] = dice.roll() as u8,
                    1 => text.truncate(at.max(1)),
                    _ => text.insert(at, b"[]{},:\"0-"[dice.below(9)]),
                }
            }
            if let Ok((read, _)) = read_nodes(&text) {
                assert!(read.items.iter().all(|node| KernelNode::read(&node.write()).as_ref() == Ok(node)));
            }
            if let Ok(read) = read_register(&text) {
                assert_eq!(read_register(&write_register(&read)), Ok(read));
            }
        }
    }
}
