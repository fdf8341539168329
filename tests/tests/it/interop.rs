//! Topics among other implementations of libp2p: js-libp2p and py-libp2p as they come, each with its own GossipSub.

use comity_tests::libp2p::{Foreign, Located, is_presence};
use comity_tests::lines::Lines;
use comity_tests::node::{Node, text};
use comity_tests::peers::output;
use comity_tests::{PATIENCE, until};
use serde_json::{Value, json};
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
