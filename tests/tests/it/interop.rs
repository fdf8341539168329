//! Topics among other implementations of libp2p: js-libp2p and py-libp2p as they come, each with its own GossipSub.

use comity_tests::libp2p::{Foreign, Located, is_presence};
use comity_tests::lines::Lines;
use comity_tests::node::{Node, text};
use comity_tests::peers::output;
use comity_tests::{PATIENCE, until};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const COORDINATION: &str = "CHORUS/coordination/v1";
const META: &str = "hmmm/meta-discussion/v1";
const CONTEXT: &str = "CHORUS/context-feedback/v1";

/// In which it would be noticed that a message comes twice.
const TWICE: Duration = Duration::from_secs(1);

/// The design's own examples: the topic, and the message.
fn examples() -> Vec<(String, Value)> {
    let vectors = include_str!("../../../crates/comity-core/vectors/gossip.json");
    let vectors: Value = serde_json::from_str(vectors).expect("vectors are JSON");
    let messages = vectors["messages"].as_array().expect("there are some");
    messages.iter().map(|one| (text(&one["topic"]), one["message"].clone())).collect()
}

/// The same message, of this author and of now.
fn of(author: &str, message: &Value) -> Value {
    let mut message = message.clone();
    (message["from"], message["timestamp"]) = (author.into(), now().into());
    message
}

/// What time it is, as messages say it.
fn now() -> String {
    let printed = output(Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%S.%3NZ"]));
    printed.trim_end().to_owned()
}

/// What stands where a secret stood.
const MARK: &str = "[REDACTED]";

/// The members of a message that say for whom it is.
const FOR: [&str; 2] = ["to_roles", "required_expertise"];

/// The same message, for everybody.
fn for_all(message: &Value) -> Value {
    let mut message = message.clone();
    let members = message.as_object_mut().expect("an object");
    members.retain(|name, _| !FOR.contains(&name.as_str()));
    message
}

/// What is written where everybody who watches a node sees it.
const PROBE: &str = "interop/probe";

/// Watches all that comes to a node from now on: what a peer of this program says there is seen already.
fn watching(node: &Node, js: &mut Foreign) -> Lines {
    node.says(&["topic", "join", PROBE]);
    joined(js, PROBE, PROBE, &Located::of(node));
    let mut watching = node.follow(&["watch"]);
    until("sight", PATIENCE, || {
        js.does(&json!({"as": PROBE, "publish": PROBE, "text": "do you see this?"}));
        watching.next(Duration::from_millis(200))
    });
    js.does(&json!({"as": PROBE, "stop": true}));
    watching
}

/// The next message that this node was told, as `comity watch` shows it.
fn told(watching: &mut Lines, what: &str) -> Value {
    watching.wait_for(what, PATIENCE, |line| {
        let message: Value = serde_json::from_str(line).expect("one JSON object a line");
        (message["channel"] != PROBE && !is_presence(line)).then_some(message)
    })
}

/// Has the node say this as soon as somebody listens.
fn publishes(node: &Node, words: &[&str]) {
    until("listener", PATIENCE, || node.run(&[&["send"], words].concat()).status.success().then_some(()));
}

/// Makes a peer of that name, which listens to the topic and dials the node there; and its PeerId.
fn joined(js: &mut Foreign, name: &str, topic: &str, at: &Located) -> String {
    let id = js.makes(name);
    js.does(&json!({"as": name, "join": topic}));
    js.does(&json!({"as": name, "dial": at.tcp}));
    js.sees(name, &at.peer_id, topic);
    id
}

/// The words by which a person says what this message says.
fn words(topic: &str, message: &Value) -> Vec<String> {
    let mut words = ["send", topic, &message["data"].to_string(), "--type"].map(str::to_owned).to_vec();
    words.push(text(&message["type"]));
    let one = |flag: &str, name: &str| message[name].as_str().map(|value| vec![flag.to_owned(), value.to_owned()]);
    let singles = [("--priority", "priority"), ("--project", "project_id"), ("--thread", "thread_id")];
    words.extend(singles.into_iter().filter_map(|(flag, name)| one(flag, name)).flatten());
    for (flag, name) in [("--to-role", FOR[0]), ("--expertise", FOR[1])] {
        let each = message[name].as_array().into_iter().flatten();
        words.extend(each.flat_map(|value| [flag.to_owned(), text(value)]));
    }
    words
}

#[test]
fn all_types_of_messages_go_between_a_node_and_js_libp2p_both_ways() {
    let node = Node::alone("ann", &[]);
    let at = Located::of(&node);
    let mut js = Foreign::javascript();
    // One for each topic: a node shows twenty messages of one author at once, and then ten a second.
    let authors = [COORDINATION, META, CONTEXT].map(|topic| (topic, joined(&mut js, topic, topic, &at)));
    let author = |topic: &str| authors.iter().find(|(of, _)| *of == topic).expect("one of the three").1.clone();

    let mut seen = watching(&node, &mut js);
    for (topic, message) in examples() {
        let said = of(&author(&topic), &message);
        if FOR.iter().any(|name| said[name].is_array()) {
            // For roles that this node does not have: it passes it on and shows nobody.
            js.does(&json!({"as": topic, "publish": topic, "text": said.to_string()}));
        }
        let said = for_all(&said);
        js.does(&json!({"as": topic, "publish": topic, "text": said.to_string()}));
        let heard = told(&mut seen, &said["type"].to_string());
        assert_eq!(heard["payload"], said, "{heard}");
        let marks = ["channel", "via", "trust"].map(|name| text(&heard[name]));
        assert_eq!(marks, [&topic, "gossip", "verified"], "{heard}");
    }
    assert_eq!(seen.during(TWICE), [""; 0], "each comes once");

    for (topic, message) in examples() {
        let words = words(&topic, &message);
        node.says(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let heard = js.hears(&topic, &topic);
        assert_eq!((text(&heard["from"]), text(&heard["type"])), (at.peer_id.clone(), "signed".to_owned()));
        assert_eq!(heard["signature"], 64, "Ed25519");
        let said: Value = serde_json::from_str(&text(&heard["text"])).expect("JSON");
        for name in ["type", "data", "to_roles", "required_expertise", "priority", "project_id", "thread_id"] {
            assert_eq!(said[name], message[name], "{name} of {said}");
        }
        assert_eq!(said["from"], at.peer_id);
    }
    assert_eq!(js.all(TWICE, |said| said["event"] == "message"), [Value::Null; 0], "each comes once");
}

#[test]
fn a_node_starts_from_js_libp2p_and_is_reached_by_quic_and_large_messages_pass() {
    let mut js = Foreign::javascript();
    let listening = js.does(&json!({"make": "listening", "listen": true}));
    let [tcp, quic] = [0, 1].map(|at| text(&listening["addresses"][at]));
    let node = Node::alone_with("ann", &[("COMITY_GOSSIP_BOOTSTRAP", &tcp)]);
    let other = Node::alone_with("bob", &[("COMITY_GOSSIP_BOOTSTRAP", &quic)]);
    let topic = "interop/large";
    js.does(&json!({"as": "listening", "join": topic}));
    for node in [&node, &other] {
        node.says(&["topic", "join", topic]);
        js.sees("listening", &Located::of(node).peer_id, topic);
    }
    let mut seen_there = watching(&other, &mut js);
    publishes(&node, &[topic, "from a node, through js, to a node"]);
    assert_eq!(told(&mut seen_there, "what was passed on")["payload"], "from a node, through js, to a node");
    js.hears("listening", topic);

    js.makes("quic");
    js.does(&json!({"as": "quic", "join": topic}));
    js.does(&json!({"as": "quic", "dial": Located::of(&node).quic}));
    js.sees("quic", &Located::of(&node).peer_id, topic);
    publishes(&node, &[topic, "by QUIC"]);
    assert_eq!(js.hears("quic", topic)["text"], "by QUIC");
    js.hears("listening", topic);

    // As large as may be, and the next one right behind it.
    let mut seen = watching(&node, &mut js);
    let large = |letter: &str| json!([letter.repeat(256 * 1024 - 4)]);
    for letter in ["a", "b", "c"] {
        js.does(&json!({"as": "quic", "publish": topic, "text": large(letter).to_string()}));
    }
    for letter in ["a", "b", "c"] {
        assert!(told(&mut seen, "large message")["payload"] == large(letter), "{letter}");
    }
}

#[test]
fn js_and_python_hear_each_other_through_a_node_between_them() {
    let node = Node::alone("ann", &[]);
    let at = Located::of(&node);
    let (mut python, python_id) = Foreign::python();
    let mut js = Foreign::javascript();
    let js_id = joined(&mut js, "js", COORDINATION, &at);
    python.does(&json!({"join": COORDINATION}));
    python.does(&json!({"dial": at.tcp}));
    python.does(&json!({"heard_by": COORDINATION}));
    let mut seen = watching(&node, &mut js);
    let few = examples().into_iter().filter(|(topic, _)| topic == COORDINATION).map(|(_, message)| for_all(&message));
    for message in few.step_by(3) {
        let said = of(&js_id, &message);
        // The node has taken in by then that both listen, as it said to each what it listens to itself.
        js.does(&json!({"as": "js", "publish": COORDINATION, "text": said.to_string()}));
        let heard = python.waits_for("message of js", PATIENCE, |heard| heard["event"] == "message");
        assert_eq!(
            (&heard["from"], &heard["type"], text(&heard["text"])),
            (&js_id.clone().into(), &"signed".into(), said.to_string())
        );
        assert_eq!(told(&mut seen, "message of js")["payload"], said);

        let said = of(&python_id, &message);
        python.does(&json!({"publish": COORDINATION, "text": said.to_string()}));
        let heard = js.hears("js", COORDINATION);
        assert_eq!(
            (&heard["from"], &heard["type"], text(&heard["text"])),
            (&python_id.clone().into(), &"signed".into(), said.to_string())
        );
        assert_eq!(told(&mut seen, "message of py")["payload"], said);

        publishes(&node, &words(COORDINATION, &message)[1..].iter().map(String::as_str).collect::<Vec<_>>());
        for heard in
            [js.hears("js", COORDINATION), python.waits_for("message", PATIENCE, |heard| heard["event"] == "message")]
        {
            assert_eq!(heard["from"], at.peer_id);
        }
    }
    assert_eq!(seen.during(TWICE), [""; 0], "each comes once");
}

#[test]
fn authors_with_other_kinds_of_keys_are_heard_and_passed_on_and_not_called_verified() {
    let node = Node::alone("ann", &[]);
    let at = Located::of(&node);
    let mut js = Foreign::javascript();
    joined(&mut js, "reader", COORDINATION, &at);
    let mut seen = watching(&node, &mut js);
    for kind in ["RSA", "secp256k1"] {
        let id = text(&js.does(&json!({"make": kind, "key": kind}))["peer_id"]);
        js.does(&json!({"as": kind, "join": COORDINATION}));
        js.does(&json!({"as": kind, "dial": at.tcp}));
        js.sees(kind, &at.peer_id, COORDINATION);
        let said =
            json!({"type": "task_claim", "from": id, "timestamp": now(), "data": {"task_id": 15, "agent_id": kind}});
        js.does(&json!({"as": kind, "publish": COORDINATION, "text": said.to_string()}));
        assert_eq!(js.hears("reader", COORDINATION)["from"], id, "passed on");
        let heard = told(&mut seen, kind);
        assert_eq!((&heard["payload"], &heard["trust"]), (&said, &"unverified".into()), "{heard}");
    }
}

/// The `data` of the journal's entries of this type.
fn journaled(node: &Node, kind: &str) -> Vec<Value> {
    let entries = node.says(&["journal", "query", "--type", kind, "--json"]);
    entries.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["data"].clone()).collect()
}

/// The files below this folder in which this stands, or which cannot be read.
fn files_with(folder: &Path, wanted: &str) -> Vec<String> {
    let held = |file: &Path| {
        let bytes = std::fs::read(file).unwrap_or_default();
        bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes())
    };
    let entries = std::fs::read_dir(folder).expect("it can be read").map(|entry| entry.expect("an entry").path());
    let found = entries.flat_map(|path| {
        let is_ours = path.is_file() && held(&path);
        if path.is_dir() {
            files_with(&path, wanted)
        } else {
            Vec::from_iter(is_ours.then(|| path.display().to_string()))
        }
    });
    found.collect()
}

/// What js-libp2p hears next of this type about this task.
fn captured(js: &mut Foreign, kind: &str, task: &str) -> Value {
    let said = |heard: &Value| serde_json::from_str::<Value>(&text(&heard["text"])).expect("JSON");
    let heard = js.waits_for(kind, PATIENCE, |heard| {
        heard["event"] == "message" && said(heard)["type"] == kind && said(heard)["data"]["task_id"] == task
    });
    said(&heard)
}

#[test]
fn a_secret_is_on_no_wire_in_no_journal_and_no_log_and_what_comity_signs_holds() {
    const SECRET: &str = "sk-Zk3xQ9vW7tR2mN8pL4bY";
    let (ann, anns_log) = Node::logged("ann", &[], "comity=trace");
    let (bob, bobs_log) = Node::logged("bob", &["--peer", &ann.url()], "comity=trace");
    ann.knows(&bob);
    bob.knows(&ann);
    let mut js = Foreign::javascript();
    joined(&mut js, "js", COORDINATION, &Located::of(&ann));
    let mut bobs = bob.follow(&["watch", COORDINATION]);

    // As people write it, and what else they may write beside it.
    let said = |data: Value| publishes(&ann, &[COORDINATION, &data.to_string(), "--type", "task_progress"]);
    said(json!({ "token": SECRET }));
    let heard = js.hears("js", COORDINATION);
    assert_eq!(serde_json::from_str::<Value>(&text(&heard["text"])).expect("JSON")["data"], json!({"token": MARK}));
    said(json!({ "task_id": "t-1", "note": format!("I used {SECRET}"), "env": [{ "name": "KEY", "value": SECRET }] }));
    let clean =
        json!({ "task_id": "t-1", "note": format!("I used {MARK}"), "env": [{ "name": "KEY", "value": MARK }] });
    assert_eq!(captured(&mut js, "task_progress", "t-1")["data"], clean);
    // Gossip promises no order.
    let are_both = |mut said: Vec<Value>| {
        said.sort_by_key(|data| data["token"].is_null());
        assert_eq!(said, [json!({"token": MARK}), clean.clone()]);
    };
    are_both((0..2).map(|_| told(&mut bobs, "what ann said")["payload"]["data"].clone()).collect());
    for node in [&ann, &bob] {
        let entries =
            until("journal", PATIENCE, || Some(journaled(node, "task_progress")).filter(|entries| entries.len() == 2));
        are_both(entries.iter().map(|entry| entry["data"].clone()).collect());
    }

    // What Comity signs is whole on the wire, is believed, and is in no journal.
    ann.says(&["claims", "announce", "t-9", &json!({ "title": "Mow", "password": "swordfish" }).to_string()]);
    let announced = captured(&mut js, "task_announcement", "t-9");
    assert_eq!((&announced["data"]["title"], &announced["data"]["password"]), (&"Mow".into(), &MARK.into()));
    until("task", PATIENCE, || bob.says(&["claims", "list"]).contains("Mow").then_some(()));
    assert_eq!(bob.says(&["claims", "take", "t-9", "--wait"]).trim_end(), "t-9 is ours");
    let claim = captured(&mut js, "task_claim", "t-9")["data"].clone();
    let assigned = captured(&mut js, "task_progress", "t-9")["data"].clone();
    assert_eq!((&assigned["assigned_to"], &assigned["announcer"]), (&claim["claimant"], &claim["announcer"]));
    for (kind, data) in [("task_claimed", claim), ("task_progress", assigned)] {
        assert_eq!(text(&data["sig"]).len(), 86, "64 bytes in base64url: {data}");
        let mut kept = data.clone();
        kept["sig"] = MARK.into();
        for node in [&ann, &bob] {
            until("journal", PATIENCE, || {
                journaled(node, kind).iter().any(|entry| entry["data"] == kept).then_some(())
            });
            assert_eq!(files_with(&node.data_dir().join("journal"), &text(&data["sig"])), [""; 0]);
        }
    }
    let log = std::fs::read_to_string(anns_log.path().join("log")).expect("it is text");
    let audit = log.lines().find(|line| line.contains("a secret was taken out")).expect("the log says so");
    for part in ["hash=", "place=\"/token\"", "message_type=\"task_progress\"", &format!("topic=\"{COORDINATION}\"")] {
        assert!(audit.contains(part), "{part}: {audit}");
    }
    let folders = [anns_log.path(), bobs_log.path(), ann.data_dir(), bob.data_dir()];
    for secret in [SECRET, "swordfish"] {
        assert_eq!(folders.map(|folder| files_with(folder, secret)).concat(), [""; 0]);
    }
}
