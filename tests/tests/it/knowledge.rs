//! Nodes that tell each other what they know: a fact said at one is found from all, with who said it; what nobody signed
//! is not, and who does not answer is named.

use crate::mesh::acquainted;
use comity_tests::node::Node;
use comity_tests::{PATIENCE, until};
use serde_json::{Value, json};

const FACT: &str = "the parser cannot read tabs in front of keywords";

fn say(node: &Node, words: &[&str]) -> Value {
    node.json(&[&["know", FACT, "--topic", "parser", "--confidence", "0.9"], words].concat())
}

fn ask(node: &Node, words: &[&str]) -> Value {
    node.json(&[&["ask-mesh"], words].concat())
}

fn names(of: &Value) -> Vec<&str> {
    of.as_array().expect("a list").iter().filter_map(|one| one["node"].as_str()).collect()
}

#[test]
fn a_fact_said_on_one_node_is_found_from_the_others_with_its_signer_and_who_is_gone_is_named() {
    let mut nodes = acquainted(&["ann", "bob", "cem"]);
    let said = say(&nodes[0], &["--source", "https://example.org/parser"]);
    let mut taken: Vec<_> = said["taken_by"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    taken.sort_unstable();
    assert_eq!((taken, names(&said["not_taken"])), (vec!["bob", "cem"], Vec::new()), "{said}");
    let ann = nodes[0].status["node"].clone();
    for node in &nodes {
        // By its very topic, and by words that only its content has.
        for topic in ["Parser", "keywords"] {
            let answer = ask(node, &[topic]);
            let fact = &answer["knowledge"][0];
            assert_eq!(
                (&fact["content"], &fact["node"], &fact["name"]),
                (&json!(FACT), &ann, &json!("ann")),
                "{answer}"
            );
            assert_eq!((&fact["confidence"], &answer["nodes_queried"]), (&json!(0.9), &json!(3)), "{answer}");
            assert_eq!((names(&answer["nodes_failed"]), &answer["refused"]), (Vec::new(), &json!(0)), "{answer}");
        }
    }
    assert_eq!(ask(&nodes[1], &["parser", "--min-confidence", "0.95"])["knowledge"], json!([]));
    let shown = nodes[2].says(&["ask-mesh", "parser"]);
    let seen = |word: &str| assert!(shown.contains(word), "{word}: {shown}");
    [FACT, "ann", ann.as_str().expect("a key"), "0.90", "data", "3 of 3 nodes answered"].into_iter().for_each(seen);

    let gone = nodes.remove(0);
    gone.signal("KILL");
    drop(gone);
    until("the answer names who is gone, or does not count on it any more", PATIENCE, || {
        let answer = ask(&nodes[1], &["parser"]);
        assert_eq!(answer["knowledge"][0]["node"], ann, "what others hold of her word is found: {answer}");
        (names(&answer["nodes_failed"]) == ["ann"] || answer["nodes_queried"] == 2).then_some(())
    });
    // What bob holds of it survives a kill.
    let bob = nodes.remove(0).killed_and_started_again();
    let kept = ask(&bob, &["parser", "--local"]);
    assert_eq!((&kept["knowledge"][0]["node"], &kept["nodes_queried"]), (&ann, &json!(1)), "{kept}");
}

#[test]
fn a_word_that_is_said_again_replaces_the_first_everywhere_and_secrets_are_never_told() {
    let nodes = acquainted(&["ann", "bob"]);
    let first = say(&nodes[0], &["--local"]);
    assert_eq!((names(&first["not_taken"]), &first["taken_by"]), (Vec::new(), &json!([])));
    assert_eq!(ask(&nodes[1], &["parser", "--local"])["knowledge"], json!([]), "nobody was told");
    let id = first["fact"]["id"].as_str().expect("an id").to_owned();
    let token = format!("ghp_{}", "a1B2c3D4e5".repeat(4));
    let words = ["know", &format!("it can, with {token}"), "--topic", "parser", "--confidence", "1", "--id", &id];
    nodes[0].says(&words);
    let answer = ask(&nodes[1], &["parser"]);
    let all = answer["knowledge"].as_array().expect("a list");
    assert_eq!((all.len(), &all[0]["id"], &all[0]["confidence"]), (1, &json!(id), &json!(1.0)), "{answer}");
    assert!(all[0]["content"].as_str().is_some_and(|said| said.starts_with("it can")), "{answer}");
    assert!(!answer.to_string().contains("ghp_"), "{answer}");
    assert_eq!(all[0]["via"].as_array().map(Vec::len), Some(2), "both told it: {answer}");
}
