//! libp2p peers that break the rules of gossip: what they do is counted by its cause, they are thrown out where it is
//! plain that they lie, and a node goes on serving the honest ones beside them.

use comity_tests::hostile::GROWTH_MAX;
use comity_tests::libp2p::{Foreign, Located, is_presence};
use comity_tests::lines::Lines;
use comity_tests::node::{Node, text};
use comity_tests::{PATIENCE, until};
use serde_json::{Value, json};
use std::time::Duration;

const TOPIC: &str = "CHORUS/coordination/v1";

/// In which what must not come would have come.
const SILENCE: Duration = Duration::from_secs(1);

/// A node, an honest js-libp2p peer, and a program of liars.
struct Scene {
    node: Node,
    at: Located,
    js: Foreign,
    honest: String,
    liars: Foreign,
    watching: Lines,
    memory: u64,
    said: u32,
}

impl Scene {
    fn set() -> Self {
        let node = Node::alone("ann", &[]);
        let at = Located::of(&node);
        let (mut js, liars) = (Foreign::javascript(), Foreign::liar());
        let honest = js.makes("honest");
        let watching = node.follow(&["watch", TOPIC]);
        let mut scene = Self { memory: 0, node, at, js, honest, liars, watching, said: 0 };
        scene.js.does(&json!({"as": "honest", "join": TOPIC}));
        scene.js.does(&json!({"as": "honest", "dial": scene.at.tcp}));
        scene.js.sees("honest", &scene.at.peer_id, TOPIC);
        until("sight", PATIENCE, || {
            scene.js.does(&json!({"as": "honest", "publish": TOPIC, "text": claim(&scene.honest, "is this seen?")}));
            scene.watching.next(Duration::from_millis(500))
        });
        scene.memory = scene.node.memory();
        scene
    }

    /// A liar of that name, which is connected and listens.
    fn liar(&mut self, name: &str) -> String {
        let id = self.liars.makes(name);
        self.liars.does(&json!({"as": name, "dial": self.at.tcp}));
        self.liars.does(&json!({"as": name, "subscribe": TOPIC}));
        id
    }

    /// Waits until the node has thrown it out.
    fn is_thrown_out(&mut self, name: &str) {
        self.liars.waits_for(&format!("end of {name}"), PATIENCE, |said| said["event"] == "gone" && said["at"] == name);
    }

    /// Waits until the node has counted so many messages that it dropped for this cause.
    fn dropped(&self, cause: &str, times: f64) {
        let figure = format!("comity_pubsub_dropped_messages_total{{cause=\"{cause}\"}}");
        until(cause, PATIENCE, || (self.node.figure(&figure) == times).then_some(()));
    }

    /// The claims that the node shows from now on, until nothing comes.
    fn shown(&mut self) -> Vec<String> {
        let lines = self.watching.during(SILENCE).into_iter().filter(|line| !is_presence(line));
        let claims = lines.map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
        claims.map(|message| text(&message["payload"]["data"]["agent_id"])).collect()
    }

    /// The honest one is heard and hears, as before; of lies it heard nothing; and the node is not much larger.
    fn goes_on(&mut self) {
        assert_eq!(self.js.all(SILENCE, |said| said["event"] == "message"), [Value::Null; 0], "no lie is passed on");
        self.said += 1;
        let words = format!("all is well {}", self.said);
        self.js.does(&json!({"as": "honest", "publish": TOPIC, "text": claim(&self.honest, &words)}));
        self.watching.wait_for("honest message", PATIENCE, |line| line.contains(&words).then_some(()));
        let data = json!({"task_id": 1, "agent_id": words}).to_string();
        self.node.says(&["send", TOPIC, &data, "--type", "task_claim"]);
        let heard = self.js.hears("honest", TOPIC);
        assert!(text(&heard["text"]).contains(&words), "{heard}");
        let memory = self.node.memory();
        assert!(memory < self.memory + GROWTH_MAX, "{memory} KiB, {} before", self.memory);
    }
}

/// A claim of this author, as its own text says.
fn claim(author: &str, words: &str) -> String {
    message(author, "task_claim", &json!({"task_id": 1, "agent_id": words})).to_string()
}

fn message(author: &str, kind: &str, data: &Value) -> Value {
    json!({"type": kind, "from": author, "timestamp": now(), "data": data})
}

fn now() -> String {
    let date = &mut std::process::Command::new("date");
    comity_tests::peers::output(date.args(["--utc", "+%Y-%m-%dT%H:%M:%S.%3NZ"])).trim_end().to_owned()
}

#[test]
fn lies_in_messages_are_counted_by_cause_and_who_tells_many_is_heard_no_more() {
    let mut scene = Scene::set();
    let id = scene.liar("once");
    let honest = scene.honest.clone();
    let lies = [
        ("gossip_from", claim(&honest, "a lie")),
        ("gossip_topic", message(&id, "context_request", &json!({})).to_string()),
        ("gossip_too_large", claim(&id, &"x".repeat(300 * 1024))),
        ("gossip_unknown_type", message(&id, "task_theft", &json!({})).to_string()),
        ("gossip_json", "{\"type\":".to_owned()),
        ("gossip_schema", message(&id, "task_claim", &json!({"task_id": 1})).to_string()),
    ];
    for (cause, lie) in &lies {
        scene.liars.does(&json!({"as": "once", "say": lie, "topic": TOPIC}));
        scene.dropped(cause, 1.0);
    }
    // On topics of one's own, where anything else may be said.
    scene.node.says(&["topic", "join", "a/custom/one"]);
    scene.liars.does(&json!({"as": "once", "say": claim(&honest, "a lie"), "topic": "a/custom/one"}));
    scene.dropped("gossip_from", 2.0);
    scene.goes_on();

    scene.liar("slanderer");
    scene.liars.does(&json!({"as": "slanderer", "say": claim(&honest, "a lie"), "topic": TOPIC, "times": 12}));
    scene.is_thrown_out("slanderer");
    let forger = scene.liar("forger");
    scene
        .liars
        .does(&json!({"as": "forger", "say": claim(&forger, "a lie"), "topic": TOPIC, "forge": true, "times": 12}));
    scene.is_thrown_out("forger");
    let thief = scene.liar("thief");
    scene.liars.does(&json!({"as": "thief", "say": claim(&thief, "a lie"), "topic": TOPIC, "of": "once", "times": 12}));
    scene.is_thrown_out("thief");
    scene.goes_on();
    assert!(scene.node.turned_away("gossip_score") >= 3.0);

    let before = scene.node.turned_away("gossip_score");
    scene.liars.tries(&json!({"as": "thief", "dial": scene.at.tcp}));
    until("refusal", PATIENCE, || (scene.node.turned_away("gossip_score") > before).then_some(()));

    // A type of a later version is nobody's fault.
    let newer = scene.liar("newer");
    let unknown = message(&newer, "task_theft", &json!({})).to_string();
    scene.liars.does(&json!({"as": "newer", "say": unknown, "topic": TOPIC, "times": 30}));
    scene.dropped("gossip_unknown_type", 31.0);
    scene.liars.does(&json!({"as": "newer", "say": claim(&newer, "still heard"), "topic": TOPIC}));
    assert_eq!(scene.shown(), ["still heard"]);
    scene.js.hears("honest", TOPIC);
    scene.goes_on();
}

#[test]
fn what_was_said_before_is_shown_once_whoever_says_it_again() {
    let mut scene = Scene::set();
    let id = scene.liar("parrot");
    scene.liar("echo");
    scene.liars.does(&json!({"as": "parrot", "say": claim(&id, "first"), "topic": TOPIC, "number": 7}));
    scene.liars.does(&json!({"as": "parrot", "again": "parrot", "times": 500}));
    scene.liars.does(&json!({"as": "echo", "again": "parrot", "times": 500}));
    // Another text by the number of the first.
    scene.liars.does(&json!({"as": "parrot", "say": claim(&id, "second"), "topic": TOPIC, "number": 7}));
    // What was signed long ago.
    let old = json!({"type": "task_claim", "from": id, "timestamp": "2026-01-01T00:00:00Z", "data": {"task_id": 1, "agent_id": "old"}});
    scene.liars.does(&json!({"as": "parrot", "say": old.to_string(), "topic": TOPIC, "number": 6}));
    let old = json!({"type": "task_announcement", "from": id, "timestamp": "2026-01-01T00:00:00Z", "data": {}, "to_roles": ["nobody"]});
    scene.liars.does(&json!({"as": "parrot", "say": old.to_string(), "topic": TOPIC, "number": 5}));
    assert_eq!(scene.shown(), ["first"]);
    assert!(text(&scene.js.hears("honest", TOPIC)["text"]).contains("first"));
    scene.goes_on();
}

#[test]
fn floods_of_topics_grafts_and_frames_end_with_their_sender() {
    let mut scene = Scene::set();
    scene.liar("joiner");
    scene.liars.does(&json!({"as": "joiner", "topics": 5000}));
    scene.is_thrown_out("joiner");
    assert_eq!(scene.node.turned_away("gossip_topics"), 1.0);
    scene.liar("grafter");
    scene.liars.tries(&json!({"as": "grafter", "graft": TOPIC, "times": 1000}));
    scene.is_thrown_out("grafter");
    assert!(scene.node.turned_away("gossip_score") >= 2.0);
    scene.liar("giant");
    scene.liars.tries(&json!({"as": "giant", "frame": 8 * 1024 * 1024}));
    scene.goes_on();
}

#[test]
fn what_nobody_asked_for_is_not_held() {
    let mut scene = Scene::set();
    let id = scene.liar("talker");
    scene
        .liars
        .does(&json!({"as": "talker", "say": claim(&id, "nobody asked"), "topic": "nobody/listens", "times": 30}));
    scene.dropped("gossip_not_joined", 30.0);
    // It may have left that topic a moment ago: that is no fault.
    scene.liars.does(&json!({"as": "talker", "say": claim(&id, "still heard"), "topic": TOPIC}));
    assert_eq!(scene.shown(), ["still heard"]);
    scene.js.hears("honest", TOPIC);
    scene.goes_on();
}

#[test]
fn connections_that_go_no_further_than_their_first_byte_keep_nobody_out_for_long() {
    let mut scene = Scene::set();
    scene.liars.does(&json!({"half": 400, "port": scene.node.port()}));
    until("refusal", PATIENCE, || (scene.node.turned_away("gossip_full") >= 1.0).then_some(()));
    scene.js.makes("late");
    scene.js.does(&json!({"as": "late", "join": TOPIC}));
    until("connection", PATIENCE, || {
        scene.js.tries(&json!({"as": "late", "dial": scene.at.tcp}))["failed"].is_null().then_some(())
    });
    scene.js.sees("late", &scene.at.peer_id, TOPIC);
    assert!(scene.node.turned_away("gossip_handshake") >= 1.0, "those that did not go on were cut");
    scene.goes_on();
}

#[test]
fn a_crowd_that_takes_all_places_keeps_those_out_who_come_and_not_those_whom_the_node_dials() {
    let mut scene = Scene::set();
    let taken = scene.liars.does(&json!({"crowd": 110, "dial": scene.at.tcp, "subscribe": TOPIC}));
    assert!(taken["inside"].as_u64().is_some_and(|inside| (90..110).contains(&inside)), "{taken}");
    assert!(scene.node.turned_away("gossip_full") >= 1.0);
    let bob = Node::alone("bob", &["--peer", &scene.node.url()]);
    let mut at_bob = bob.follow(&["watch", TOPIC]);
    until("message to bob", PATIENCE, || {
        scene.js.does(&json!({"as": "honest", "publish": TOPIC, "text": claim(&scene.honest, "to bob")}));
        at_bob.next(Duration::from_millis(500)).filter(|line| line.contains("to bob"))
    });
    scene.shown();
    scene.goes_on();
}
