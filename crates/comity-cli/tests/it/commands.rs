//! Every command against running nodes, and the exit codes that programs rely on.

use crate::node::{Folder, Node, Running, failure, json, run, until, with_input};
use serde_json::{Value, json as value};
use std::io::{BufRead, BufReader};

#[test]
fn with_no_node_running_every_command_says_how_to_start_one() {
    let folder = Folder::new();
    let some_id = "00000000-0000-4000-8000-000000000000";
    let lines: [&[&str]; 13] = [
        &["peers"],
        &["trust"],
        &["send", "bob", "hi"],
        &["watch"],
        &["ask", "bob", "hi"],
        &["answer", "--exec", "cat"],
        &["inbox"],
        &["digest"],
        &["attention"],
        &["subscribe", "custom:x"],
        &["status"],
        &["why", some_id],
        &["mcp"],
    ];
    for line in lines {
        let (code, said) = failure(&folder.0, line);
        assert_eq!(code, 3, "{line:?}: {said}");
        assert!(said.contains("`comity up`"), "{line:?}: {said}");
    }
    let (code, said) = failure(&folder.0, &["doctor"]);
    assert_eq!(code, 3, "{said}");
}

#[test]
fn a_wrong_line_is_a_usage_error_and_needs_no_node() {
    let folder = Folder::new();
    for line in [&["peers", "extra"][..], &["send", "bob", "x", "--priority", "urgent"], &["up", "--log-format", "xml"]]
    {
        assert_eq!(failure(&folder.0, line).0, 2, "{line:?}");
    }
    assert!(!folder.0.exists(), "a wrong line makes no folder");
}

#[test]
fn completions_and_man_pages_need_no_node() {
    let folder = Folder::new();
    let bash = run(&folder.0, &["completions", "bash"]);
    assert!(String::from_utf8_lossy(&bash.stdout).contains("_comity"));
    let pages = folder.0.join("man");
    assert!(run(&folder.0, &["man", &pages.display().to_string()]).status.success());
    assert!(pages.join("comity.1").is_file() && pages.join("comity-send.1").is_file());
}

#[test]
fn config_show_says_where_each_value_comes_from() {
    let folder = Folder::new();
    let settings = json(&folder.0, &["config", "show", "--origin"]);
    let from_default = settings["settings"].as_array().expect("settings").iter().all(|one| one["origin"] == "default");
    assert!(from_default, "{settings}");
    let node = Node::up("shown", &[]);
    let settings = json(node.path(), &["config", "show"]);
    let find =
        |key: &str| settings["settings"].as_array().expect("settings").iter().find(|one| one["key"] == key).cloned();
    assert_eq!(find("mdns.enabled").expect("the key")["origin"], "--no-mdns");
}

#[test]
fn a_node_says_who_and_how_it_is() {
    let node = Node::up("solo", &["--capability", "search"]);
    let id = json(node.path(), &["id"]);
    assert_eq!((&id["id"], &id["name"]), (&node.ready["id"], &value!("solo")));
    assert!(id["node"].as_str().expect("a node id").starts_with("ed25519:"));
    let status = json(node.path(), &["status"]);
    assert_eq!(status["capabilities"], value!(["search"]));
    assert_eq!(status["attention_mode"], "focused");

    json(node.path(), &["status", "testing", "--progress", "0.5"]);
    assert_eq!(json(node.path(), &["status"])["status"], value!({ "working_on": "testing", "progress": 0.5 }));
    json(node.path(), &["status", "--clear"]);
    assert_eq!(json(node.path(), &["status"])["status"], Value::Null);

    json(node.path(), &["attention", "minimal"]);
    assert_eq!(json(node.path(), &["attention"])["mode"], "minimal");
    json(node.path(), &["subscribe", "custom:x", "--quiet"]);
    let subscriptions = json(node.path(), &["status"])["subscriptions"].clone();
    assert!(subscriptions.as_array().expect("a list").contains(&value!({ "channel": "custom:x", "quiet": true })));
    json(node.path(), &["unsubscribe", "custom:x"]);
    assert_eq!(failure(node.path(), &["unsubscribe", "custom:x"]).0, 4);

    let checkup = json(node.path(), &["doctor"]);
    assert!(checkup["checks"].as_array().expect("checks").iter().any(|check| check["name"] == "disk"), "{checkup}");
    let human = run(node.path(), &["status"]);
    assert!(!human.stdout.contains(&0x1b), "no colours where nobody sees them");
    assert_eq!(node.stop(), Some(0), "a clean stop is a success");
}

#[test]
fn what_is_sent_waits_in_the_inbox_until_it_is_taken() {
    let (alice, bob) = Node::pair();
    let sent = json(alice.path(), &["send", "bob", r#"{"text":"hi"}"#, "--channel", "custom:talk"]);
    assert_eq!(sent["to"], bob.ready["id"]);
    let items = until("the message arrives", || {
        let inbox = json(bob.path(), &["inbox", "--peek"]);
        inbox["items"].as_array().filter(|items| !items.is_empty()).cloned()
    });
    let message = &items[0]["message"];
    assert_eq!((&message["id"], &message["payload"]), (&sent["id"], &value!({ "text": "hi" })));
    assert_eq!((&message["from_name"], &message["trust"]), (&value!("alice"), &value!("verified")));

    let id = sent["id"].as_str().expect("an id");
    until("alice is told", || {
        let why = json(alice.path(), &["why", id]);
        why["fates"].as_array()?.iter().any(|step| step["fate"] == "inbox").then_some(())
    });
    let arrival = items[0]["arrival"].to_string();
    json(bob.path(), &["inbox", "--ack", &arrival]);
    assert_eq!(json(bob.path(), &["inbox"])["items"], value!([]));
}

#[test]
fn a_node_that_admits_known_peers_only_is_reached_once_it_trusts() {
    let bob = Node::up_with("bob", &[], &[("COMITY_LOCAL_TRUST", "known")]);
    let alice = Node::up("alice", &["--peer", &format!("http://127.0.0.1:{}", bob.port())]);
    let bob_at = || {
        let peers = json(alice.path(), &["peers"]);
        peers["peers"].as_array()?.iter().find(|peer| peer["name"] == "bob").cloned()
    };
    until("bob turns alice away", || {
        let trouble = bob_at()?["trouble"].as_str()?.to_owned();
        trouble.contains("known peers").then_some(())
    });
    let key = json(alice.path(), &["id"])["node"].as_str().expect("a node id").to_owned();
    assert_eq!(json(bob.path(), &["trust", &key])["key"], key.as_str());
    let let_in = until("alice is let in", || {
        let peers = json(bob.path(), &["peers"]);
        // What she says by gossip may be there before she has said her name.
        let is_alice = |peer: &&Value| peer["presence"] == "online" && peer["name"] == "alice";
        peers["peers"].as_array()?.iter().find(is_alice).cloned()
    });
    assert_eq!((&let_in["name"], &let_in["trust"]), (&value!("alice"), &value!("known")));
    assert_eq!(json(bob.path(), &["trust"])["known"][0]["name"], "alice");

    json(bob.path(), &["trust", "alice", "--remove"]);
    assert_eq!(json(bob.path(), &["trust"])["known"], value!([]));
    let out = json(bob.path(), &["peers"])["peers"][0].clone();
    assert_eq!((&out["presence"], &out["trust"]), (&value!("unreachable"), &value!("verified")));
    assert_eq!(failure(bob.path(), &["trust", "nobody"]).0, 4);
    assert_eq!(failure(bob.path(), &["trust", "bob"]).0, 2, "itself");
}

#[test]
fn a_sealed_message_arrives_opened() {
    let (alice, bob) = Node::pair();
    json(alice.path(), &["send", "bob", "secret", "--sealed"]);
    let items = until("the message arrives", || {
        json(bob.path(), &["inbox", "--peek"])["items"].as_array().filter(|items| !items.is_empty()).cloned()
    });
    assert_eq!(items[0]["message"]["payload"], "secret");
    assert_eq!(failure(alice.path(), &["send", "_status", "secret", "--sealed"]).0, 2);
}

#[test]
fn a_program_answers_the_questions_of_peers() {
    let (alice, bob) = Node::pair();
    let (code, said) = failure(alice.path(), &["ask", "bob", "2+2", "--timeout", "5s"]);
    assert_eq!(code, 4, "nobody answers there: {said}");
    let _answerer = Running::start(bob.path(), &["answer", "--exec", "cat"]);
    let answer = until("bob answers", || {
        let asked = run(alice.path(), &["ask", "bob", r#"{"q":"2+2"}"#, "--json"]);
        asked.status.success().then(|| serde_json::from_slice::<Value>(&asked.stdout).expect("JSON"))
    });
    assert_eq!(answer["payload"], value!({ "q": "2+2" }));
    let slow = Running::start(alice.path(), &["answer", "--exec", "sleep 30"]);
    let (code, said) = until("alice is slow", || {
        let ended = failure(bob.path(), &["ask", "alice", "hello", "--timeout", "1s"]);
        (ended.0 != 4).then_some(ended)
    });
    assert_eq!(code, 5, "{said}");
    drop(slow);
}

#[test]
fn a_watcher_sees_what_comes_and_takes_nothing() {
    let (alice, bob) = Node::pair();
    let mut watching = Running::start(bob.path(), &["watch", "custom:news", "--json"]);
    until("bob listens to the channel", || {
        let subscriptions = json(bob.path(), &["status"])["subscriptions"].clone();
        subscriptions.as_array()?.iter().any(|one| one["channel"] == "custom:news").then_some(())
    });
    until("alice knows that bob listens", || {
        let sent = json(alice.path(), &["send", "custom:news", "first", "--priority", "normal"]);
        (sent["peers"] == 1).then_some(())
    });
    let mut line = String::new();
    BufReader::new(watching.0.stdout.as_mut().expect("it is piped")).read_line(&mut line).expect("a line");
    let message: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((&message["payload"], &message["channel"]), (&value!("first"), &value!("custom:news")));
    until("it is in the inbox all the same", || {
        (json(bob.path(), &["inbox", "--peek"])["items"][0]["message"]["payload"] == "first").then_some(())
    });
}

#[test]
fn a_payload_is_read_from_standard_input() {
    let (alice, bob) = Node::pair();
    let sent = with_input(alice.path(), &["send", bob.id(), "-", "--json"], "line one\nline two\n");
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let payload = until("the message arrives", || {
        json(bob.path(), &["inbox", "--peek"])["items"][0]["message"]["payload"].as_str().map(str::to_owned)
    });
    assert_eq!(payload, "line one\nline two");
}

#[test]
fn nothing_is_cut_off_what_is_shown_only_once() {
    let (alice, bob) = Node::pair();
    let long = format!("{}the end", "x".repeat(5000));
    assert!(with_input(alice.path(), &["send", "bob", "-"], &long).status.success());
    let text = |arguments: &[&str]| String::from_utf8(run(bob.path(), arguments).stdout).expect("text");
    until("the message arrives", || text(&["inbox", "--peek"]).contains("xxx").then_some(()));
    assert!(!text(&["inbox", "--peek"]).contains("the end"), "a look is short");
    let taken = text(&["inbox"]);
    assert!(taken.contains(&long), "{taken}");

    let program = r"printf 'one\ttwo\033[31m\n'; printf 'y%.0s' $(seq 500); printf '\nend\n'";
    let _answerer = Running::start(bob.path(), &["answer", "--exec", program]);
    let answer = until("bob answers", || {
        let asked = run(alice.path(), &["ask", "bob", "hello"]);
        asked.status.success().then(|| String::from_utf8(asked.stdout).expect("text"))
    });
    assert_eq!(answer, format!("one\ttwo[31m\n{}\nend\n", "y".repeat(500)));
}

#[test]
fn whom_nobody_knows_is_refused_with_advice() {
    let node = Node::up("alone", &[]);
    let (code, said) = failure(node.path(), &["send", "nobody", "hi"]);
    assert_eq!(code, 4);
    assert!(said.contains("no peer nobody is known here") && said.contains("`comity peers`"), "{said}");
    let (code, _) = failure(node.path(), &["why", "00000000-0000-4000-8000-000000000000"]);
    assert_eq!(code, 4);
    let (code, _) = failure(node.path(), &["send", "alone", "hi"]);
    assert_eq!(code, 2, "a node does not write to itself");
}

#[test]
fn a_digest_counts_what_nobody_was_interrupted_by() {
    let (alice, bob) = Node::pair();
    json(alice.path(), &["send", "_suggestions", r#"{"suggestion":"rest"}"#, "--priority", "background"]);
    let digest = until("it is counted", || {
        let digest = json(bob.path(), &["digest", "--peek"]);
        (digest["by_type"]["suggestion"] == 1).then_some(digest)
    });
    assert!(digest["text"].as_str().expect("a text").contains("1 suggestion"), "{digest}");
    json(bob.path(), &["digest"]);
    assert_eq!(json(bob.path(), &["digest"])["by_type"]["suggestion"], Value::Null);
}

#[test]
fn bench_measures_the_node_and_a_peer() {
    let (alice, _bob) = Node::pair();
    let results = json(alice.path(), &["bench", "bob", "--calls", "20", "--queries", "3"]);
    let results = results["results"].as_array().expect("results");
    assert_eq!(results[0]["count"], 20);
    assert!(results.iter().all(|result| result["max_us"].as_u64().is_some()), "{results:?}");
}
