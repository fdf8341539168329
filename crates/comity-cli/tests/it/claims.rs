//! `comity claims` between two nodes that know each other.

use crate::node::{Node, failure, json, run, until};
use serde_json::{Value, json};

fn said(node: &Node, arguments: &[&str]) -> String {
    let output = run(node.path(), arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Waits until the node knows a task of this id that is as wanted.
fn task(node: &Node, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    until("the task is as wanted", || {
        let list = json(node.path(), &["claims", "list"]);
        list["tasks"].as_array()?.iter().find(|task| task["id"] == id && wanted(task)).cloned()
    })
}

#[test]
fn a_task_goes_from_hand_to_hand_and_exit_codes_tell_whose_it_is() {
    let (alice, bob) = Node::pair();
    assert!(said(&alice, &["claims", "list"]).starts_with("No tasks"));
    assert_eq!(said(&alice, &["claims", "announce", "mow", "{\"title\":\"Mow the lawn\"}"]), "mow");
    let open = task(&bob, "mow", |task| task["content"]["title"] == "Mow the lawn");
    assert_eq!((&open["state"], &open["announcer_name"]), (&json!("open"), &json!("alice")));
    assert_eq!(said(&bob, &["claims", "take", "mow", "--wait"]), "mow is ours");
    // Who comes second is told by the code; so is who never claimed.
    let (code, sentence) = failure(alice.path(), &["claims", "take", "mow", "--wait"]);
    assert_eq!((code, sentence.contains("mow is not ours: bob does it")), (4, true), "{sentence}");
    assert_eq!(failure(alice.path(), &["claims", "done", "mow"]).0, 4);
    said(&bob, &["claims", "progress", "mow", "50%"]);
    task(&alice, "mow", |task| task["progress"]["progress"] == 0.5);
    let list = said(&alice, &["claims", "list"]);
    for word in ["mow", "alice", "assigned", "bob", "50 %", "Mow the lawn"] {
        assert!(list.contains(word), "{word}: {list}");
    }
    said(&bob, &["claims", "release", "mow"]);
    task(&alice, "mow", |task| task["state"] == "open");
    let stepped = json(alice.path(), &["claims", "take", "mow", "--wait"]);
    assert_eq!((&stepped["ours"], &stepped["task"]["mine"]), (&json!(true), &json!("held")));
    said(&alice, &["claims", "done", "mow", "40 square metres"]);
    task(&bob, "mow", |task| task["state"] == "completed" && task["report"] == "40 square metres");
    let (code, sentence) = failure(bob.path(), &["claims", "take", "dig"]);
    assert_eq!((code, sentence.contains("comity claims list")), (4, true), "{sentence}");
    // Without an id one is made.
    let id = said(&alice, &["claims", "announce", "dig a hole"]);
    task(&bob, &id, |task| task["content"] == "dig a hole");
    assert!(said(&alice, &["claims", "withdraw", &id]).ends_with("withdrawn"));
    task(&bob, &id, |task| task["state"] == "withdrawn");
    assert_eq!(failure(bob.path(), &["claims", "progress", "mow", "101%"]).0, 2);
}

#[test]
fn of_two_tasks_with_one_id_it_is_said_whose_is_meant() {
    let (alice, bob) = Node::pair();
    said(&alice, &["claims", "announce", "t", "hers"]);
    said(&bob, &["claims", "announce", "t", "his"]);
    for node in [&alice, &bob] {
        until("both are known", || {
            (json(node.path(), &["claims", "list"])["tasks"].as_array()?.len() == 2).then_some(())
        });
    }
    let (code, sentence) = failure(bob.path(), &["claims", "take", "t", "--wait"]);
    assert_eq!(code, 4);
    assert!(
        sentence.contains("alice (ed25519:") && sentence.contains("bob (") && sentence.contains("--of"),
        "{sentence}"
    );
    assert_eq!(said(&bob, &["claims", "take", "t", "--of", "alice", "--wait"]), "t is ours");
    said(&bob, &["claims", "fail", "t", "no spade", "--of", "alice"]);
    let hers = task(&alice, "t", |task| task["state"] == "failed");
    assert_eq!((&hers["announcer_name"], &hers["report"]), (&json!("alice"), &json!("no spade")));
    assert_eq!(said(&bob, &["claims", "take", "t", "--of", "bob", "--wait"]), "t is ours");
}
