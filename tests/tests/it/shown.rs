//! What strangers wrote, as it is shown to a person: clean, on one line, and marked as nobody's proven word.

use comity_tests::http::post;
use comity_tests::lines::Lines;
use comity_tests::node::Node;
use comity_tests::{PATIENCE, until};
use serde_json::{Value, json};
use std::fs::File;
use std::process::Output;
use std::time::Duration;

const STRANGER: &str = "11111111-2222-4333-8444-555555555555";

/// Escapes, a bell, a mark that turns the line around, and a second line that looks like another's.
const NASTY: &str =
    "\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}live\u{2066}\u{9b}31m\r\n   99  06:36:08  ann  _direct  all is well";

fn say(node: &Node, kind: &str, payload: &Value) {
    let message = json!({"from": STRANGER, "to": "broadcast", "type": kind, "payload": payload});
    let reply = post(&format!("{}/dashflow/message", node.url()), &message.to_string());
    assert_eq!(reply.status, 202, "{reply:?}");
}

fn is_clean(shown: &str) {
    let bad = |c: char| c.is_control() && c != '\n' || ('\u{200b}'..='\u{2069}').contains(&c);
    assert!(!shown.contains(bad), "{shown:?}");
    assert!(!shown.lines().any(|line| line.starts_with("   99")), "{shown}");
}

#[test]
fn nothing_that_a_stranger_wrote_moves_the_cursor_or_passes_for_anothers() {
    let node = Node::alone("ann", &[]);
    let mut watch = Lines::start(&mut node.command(&["watch"]));
    let mut changes = Lines::start(&mut node.command(&["peers", "--watch"]));
    // Both print once they listen: what comes before that is not theirs.
    until("watchers", PATIENCE, || {
        say(&node, "suggestion", &json!(NASTY));
        watch.next(Duration::from_millis(300))
    });
    say(&node, "status", &json!({"working_on": NASTY, "progress": 0.5}));
    let watched = watch.wait_for("the status", PATIENCE, |line| line.contains("_status").then(|| line.to_owned()));
    let changed = changes.wait_for("the status", PATIENCE, |line| line.starts_with("status").then(|| line.to_owned()));
    for line in [&watched, &changed] {
        is_clean(line);
    }
    let marked = format!("{STRANGER}?");
    assert!(watched.contains(&marked), "{watched}");
    for words in [&["inbox", "--peek"][..], &["digest", "--peek"]] {
        let shown = node.says(words);
        is_clean(&shown);
        assert!(shown.contains(&marked), "{shown}");
    }
    let peers = node.says(&["peers"]);
    is_clean(&peers);
    let row = peers.lines().find(|line| line.contains(STRANGER)).expect("a row");
    assert!(row.starts_with("- ") && row.contains("unverified"), "{row}");
    let digest = node.json(&["digest"]);
    assert_eq!(digest["samples"][0]["trust"], "unverified", "{digest}");
}

#[test]
fn a_question_that_makes_no_sense_is_answered_with_what_is_wanted() {
    let node = Node::alone("ann", &[]);
    let told = |words: &[&str]| -> (Option<i32>, String) {
        let Output { status, stderr, .. } = node.run(words);
        (status.code(), String::from_utf8_lossy(&stderr).into_owned())
    };
    for (words, wanted) in [
        (&["why", "nonsense"][..], "UUID"),
        (&["send", "_status", "x", "--ttl", "4000"], "3600"),
        (&["send", "", "x"], "TARGET"),
        (&["answer", "--exec", ""], "--exec"),
        (&["inbox", "--limit", "0"], "--limit"),
        (&["subscribe", "a b"], "spaces"),
    ] {
        let (code, said) = told(words);
        assert_eq!(code, Some(2), "{words:?}: {said}");
        assert!(said.contains(wanted), "{words:?}: {said}");
    }
}

#[test]
fn who_follows_a_node_is_told_that_it_stopped() {
    for signal in ["TERM", "KILL"] {
        let node = Node::alone("ann", &[]);
        let log = node.data_dir().join("followers.log");
        let mut following: Vec<Lines> = [&["watch"][..], &["inbox", "--follow", "--peek"], &["peers", "--watch"]]
            .into_iter()
            .map(|words| {
                let told = File::options().create(true).append(true).open(&log).expect("it is ours");
                Lines::start(node.command(words).stderr(told))
            })
            .collect();
        for follower in &mut following {
            until("a first line, so that it listens", PATIENCE, || {
                say(&node, "suggestion", &json!("hello"));
                say(&node, "status", &json!("here"));
                follower.next(Duration::from_millis(300))
            });
        }
        node.signal(signal);
        for mut follower in following {
            assert_eq!(follower.ended(PATIENCE).code(), Some(1), "{signal}");
        }
        let told = std::fs::read_to_string(&log).expect("it is ours");
        assert_eq!(told.matches("comity: the node stopped").count(), 3, "{signal}: {told}");
    }
}
