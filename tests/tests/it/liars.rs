//! Nodes that prove a key and then break the rules: a peer in Python, written from the protocol's
//! text alone, opens real links to the built program and lies on them.

use comity_tests::PATIENCE;
use comity_tests::folder::Folder;
use comity_tests::hostile::{GROWTH_MAX, heard, scene, scene_on};
use comity_tests::http::get;
use comity_tests::lab::Lab;
use comity_tests::node::{Node, text};
use comity_tests::{peers, until};
use serde_json::{Value, json};
use std::time::Duration;

fn dropped(node: &Node, cause: &str) -> f64 {
    node.figure(&format!("comity_pubsub_dropped_messages_total{{cause=\"{cause}\"}}"))
}

#[test]
fn a_frame_cut_at_any_byte_or_with_a_false_length_ends_its_link_and_harms_nobody_else() {
    let node = Node::alone("ann", &[]);
    let bob = Node::alone("bob", &["--peer", &node.url()]);
    node.knows(&bob);
    let before = node.memory();
    let mut scene = scene(&["broken_frames", &node.port().to_string()]);
    let mut broken = 0;
    for name in ["cuts", "lies"] {
        let told = heard(&mut scene);
        assert_eq!((&told["scene"], &told["closed"]), (&name.into(), &told["frames"]), "{told}");
        broken += told["frames"].as_u64().expect("a number");
    }
    assert!(broken > 100, "{broken}");
    assert_eq!(heard(&mut scene)["fates"], json!(["inbox"]), "the frame itself was a good one");
    assert_eq!(node.turned_away("malformed"), broken as f64);
    let items = node.json(&["inbox", "--peek"]);
    assert_eq!(items["items"].as_array().map(Vec::len), Some(1), "no piece was read as a message: {items}");
    assert!(node.memory() < before + GROWTH_MAX, "{} KiB, {before} before", node.memory());
    node.knows(&bob);
}

#[test]
fn what_a_later_version_could_say_is_dropped_by_cause_and_the_rest_of_the_frame_is_read() {
    let node = Node::alone("ann", &[]);
    let mut scene = scene(&["unknown_values", &node.port().to_string()]);
    let told = heard(&mut scene);
    let fates = told["fates"].as_object().expect("fates by id");
    assert_eq!(fates[&text(&told["good"])], "inbox", "{told}");
    assert_eq!(fates.values().filter(|fate| **fate == "unreadable").count(), 6, "{told}");
    for cause in ["unknown_type", "unknown_priority", "unknown_flag", "unknown_channel", "bad_ttl", "bad_payload"] {
        assert_eq!(dropped(&node, cause), 1.0, "{cause}");
    }
    assert_eq!(dropped(&node, "bad_frame"), 2.0);
    assert_eq!(heard(&mut scene)["closed"], true);
    assert_eq!(node.turned_away("malformed"), 1.0);
}

#[test]
fn a_proven_key_lends_no_truth_to_what_it_says_of_sender_and_time() {
    let node = Node::alone("ann", &[]);
    let bob = Node::alone("bob", &["--peer", &node.url()]);
    node.knows(&bob);
    let told = heard(&mut scene(&["lies_in_messages", &node.port().to_string(), &bob.id()]));
    let fates = &told["fates"];
    assert_eq!((&fates["forged"], &fates["expired"]), (&"forged".into(), &"expired".into()), "{told}");
    assert_eq!(fates["future"], "from_the_future", "{told}");
    for fate in ["inbox", "forged", "duplicate", "expired", "from_the_future"] {
        assert_eq!(node.fates(fate), 1.0, "{fate}");
    }
    let items = node.json(&["inbox", "--peek"]);
    assert_eq!(items["items"].as_array().map(Vec::len), Some(1), "{items}");
}

#[test]
fn of_two_channels_with_one_hash_each_message_arrives_on_its_own() {
    let node = Node::alone("ann", &[]);
    let mut scene = scene(&["hash_collision", &node.port().to_string()]);
    let names = heard(&mut scene)["names"].clone();
    for name in names.as_array().into_iter().flatten() {
        node.says(&["subscribe", &text(name)]);
    }
    scene.say("go on");
    assert_eq!(heard(&mut scene)["scene"], "spoken");
    let inbox = node.json(&["inbox", "--peek"]);
    let items = inbox["items"].as_array().into_iter().flatten();
    let said: Vec<_> = items.map(|item| json!([item["message"]["channel"], item["message"]["payload"]])).collect();
    assert_eq!(said, [json!([names[0], "first"]), json!([names[1], "second"])], "{inbox}");
}

#[test]
fn a_link_that_answers_no_ping_is_given_up_within_five_seconds() {
    let node = Node::alone("ann", &[]);
    let told = heard(&mut scene(&["silence", &node.port().to_string()]));
    assert!(told["closed"] == true && told["lived"].as_f64().is_some_and(|lived| lived < 5.0), "{told}");
    assert_eq!(node.figure("comity_p2p_links"), 0.0);
}

#[test]
fn a_card_served_from_another_address_brings_nobody_there() {
    let ann = Node::alone("ann", &[]);
    let folder = Folder::new();
    let status = get(&format!("{}/dashflow/status", ann.url()));
    let (whole, card) = (folder.path().join("status.json"), folder.path().join("card.json"));
    std::fs::write(&whole, &status.body).expect("it is ours");
    std::fs::write(&card, status.json()["card"].to_string()).expect("it is ours");
    let mut plain = scene(&["replays", "127.0.0.2", &whole.display().to_string()]);
    let mut keyed = scene(&["poses", "127.0.0.3", &card.display().to_string()]);
    let (plain_url, keyed_url) = (text(&heard(&mut plain)["ready"]), text(&heard(&mut keyed)["ready"]));

    let bob = Node::alone("bob", &["--peer", &plain_url, "--peer", &keyed_url, "--peer", &ann.url()]);
    bob.knows(&ann);
    plain.wait_for("question to the copy", PATIENCE, |line| line.contains("/dashflow/status").then_some(()));
    keyed.wait_for("end of the poser's link", PATIENCE, |line| line.contains("closed").then_some(()));
    assert!(bob.turned_away("hello") >= 1.0, "the poser's hello is counted");
    assert_eq!(bob.json(&["peers"])["peers"].as_array().map(Vec::len), Some(1), "there is one ann and nobody else");
    let seen = bob.peer(&ann.id()).expect("it is there").to_string();
    assert!(!seen.contains("127.0.0.2") && !seen.contains("127.0.0.3"), "{seen}");

    let mut inbox = ann.follow(&["inbox", "--follow"]);
    bob.says(&["send", "ann", "for your eyes", "--priority", "normal"]);
    inbox.wait_for("message", PATIENCE, |line| line.contains("for your eyes").then_some(()));
    // Ann goes, and her place stays empty: what is for her waits, and goes to no copy of her card.
    let id = ann.id();
    let (_, home) = ann.stop();
    bob.sees("ann offline", &id, PATIENCE, |peer| peer["presence"] == "offline");
    bob.run(&["send", &id, "still only for you", "--priority", "normal"]);
    let posted = plain.during(Duration::from_secs(2)).into_iter().chain(keyed.seen().iter().cloned());
    posted.for_each(|line| assert!(!line.contains("got") && !line.contains("message"), "{line}"));
    drop(home);
}

/// What a liar says of others: none of it may be dialled, whoever tells it from another machine.
const FORBIDDEN: [&str; 17] = [
    "http://127.0.0.1:7001",
    "http://[::1]:7001",
    "http://127.8.8.8:7001",
    "http://[::ffff:127.0.0.1]:7001",
    "http://0.0.0.0:7001",
    "http://169.254.169.254:80",
    "http://[fd00:ec2::254]:80",
    "http://[::ffff:169.254.169.254]:80",
    "http://100.100.100.200:80",
    "http://224.0.0.251:5353",
    "http://255.255.255.255:7001",
    "http://127.0.0.1:8500",
    "http://10.77.0.1:8500",
    "http://localhost:7001",
    "http://metadata.google.internal:80",
    "file:///etc/passwd",
    "http://10.77.0.1:0",
];

/// The entry of a list of peers.
fn entry(id: &str, name: &str, endpoint: &str) -> Value {
    json!({"id": id, "name": name, "version": "1", "capabilities": [], "endpoint": endpoint, "status": null})
}

#[test]
fn a_list_of_loopback_and_metadata_addresses_is_not_dialled() {
    const LAST: &str = "0e0e0e0e-0000-4000-8000-000000000000";
    let lab = Lab::bridge(2);
    let (host, liar) = (lab.host(1), lab.host(2));
    let folder = Folder::new();
    let list = folder.path().join("peers.json");
    let endpoints = FORBIDDEN.iter().cycle().take(200).enumerate();
    let trap = |(number, endpoint)| entry(&format!("0d0d0d0d-0000-4000-8000-{number:012}"), "trap", endpoint);
    // The last one may be dialled, though nobody is there: when it was, all others had their chance.
    let last = entry(LAST, "last", "http://10.77.0.2:9");
    let all: Vec<Value> = endpoints.map(|(number, endpoint)| trap((number, *endpoint))).chain([last]).collect();
    std::fs::write(&list, Value::Array(all).to_string()).expect("it is ours");

    for address in ["169.254.169.254/32", "100.100.100.200/32"] {
        let mut add = host.command("ip");
        peers::output(add.args(["addr", "add", address, "dev", "lo"]));
    }
    let doors = ["traps", "0.0.0.0", "7001", "169.254.169.254", "80", "100.100.100.200", "80"];
    let mut traps = scene_on(&host, &doors);
    assert_eq!(heard(&mut traps)["scene"], "set");
    let mut teller = scene_on(&liar, &["tells", &liar.address, &list.display().to_string()]);
    let url = text(&heard(&mut teller)["ready"]);
    let node = Node::on(&host, "ann", &["--no-mdns", "--peer", &url]);
    teller.wait_for("question for peers", PATIENCE, |line| line.contains("/dashflow/peers").then_some(()));
    until("dial of the last entry", PATIENCE, || node.peer(LAST).filter(|peer| peer["presence"] == "unreachable"));

    let caught = traps.during(Duration::from_secs(1));
    assert!(caught.is_empty(), "{caught:?}");
    let peers = node.json(&["peers"]).to_string();
    assert!(!peers.contains("trap"), "nobody is listed who cannot be tried: {peers}");
}

#[test]
fn a_thousand_advertisements_of_one_id_and_txt_of_hostile_bytes_change_nothing() {
    let lab = Lab::bridge(3);
    let ann = Node::on(&lab.host(1), "ann", &[]);
    let bob = Node::on(&lab.host(2), "bob", &[]);
    ann.knows(&bob);
    let before = ann.memory();
    let (address, node) = (lab.host(3).address, text(&bob.status["node"]));
    let mut thief = scene_on(&lab.host(3), &["advertises", &address, &bob.id(), &node, "1000"]);
    assert_eq!(heard(&mut thief)["scene"], "advertised");
    let peers = until("the last advertisement", PATIENCE, || {
        Some(ann.json(&["peers"])).filter(|peers| peers.to_string().contains("mallory"))
    });
    let called =
        |name: &str| peers["peers"].as_array().into_iter().flatten().filter(|peer| peer["name"] == name).count();
    assert_eq!((called("bob"), called("thief")), (1, 0), "{peers}");
    for name in ["cloud", "inside"] {
        let named = peers["peers"].as_array().into_iter().flatten().find(|peer| peer["name"] == name);
        assert!(named.is_none_or(|peer| peer["addresses"].to_string().contains(&address)), "{named:?}");
    }
    let shown = ann.says(&["peers"]);
    assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{2066}']), "{shown:?}");
    ann.knows(&bob);
    let mut inbox = bob.follow(&["inbox", "--follow"]);
    ann.says(&["send", "bob", "are you there", "--priority", "normal"]);
    inbox.wait_for("message", PATIENCE, |line| line.contains("are you there").then_some(()));
    let twins = [&ann, &bob].map(|node| node.figure("comity_p2p_twin_present"));
    assert_eq!(twins, [0.0, 0.0], "an advertisement is no twin");
    assert!(ann.memory() < before + GROWTH_MAX, "{} KiB, {before} before", ann.memory());
    until("end of the alarm", PATIENCE, || (ann.figure("comity_p2p_links") == 1.0).then_some(()));
}
