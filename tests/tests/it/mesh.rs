//! Nodes that share what they know: each indexes documents of its own, real ones of this system, and all are found from
//! any of them by one question, which says who answered.

use crate::readme;
use comity_tests::folder::Folder;
use comity_tests::lines::Lines;
use comity_tests::node::Node;
use comity_tests::{PATIENCE, peers, until};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Nodes that have met, and trust each other.
pub(crate) fn acquainted(names: &[&str]) -> Vec<Node> {
    let nodes = met(names);
    for one in &nodes {
        for other in nodes.iter().filter(|other| other.id() != one.id()) {
            one.says(&["trust", &other.id()]);
        }
    }
    nodes
}

/// Nodes that have met.
fn met(names: &[&str]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for name in names {
        let peers: Vec<String> = nodes.iter().map(|node| node.url().replace("https://", "")).collect();
        let words: Vec<&str> = peers.iter().flat_map(|peer| ["--peer", peer]).collect();
        nodes.push(Node::alone(name, &words));
    }
    for one in &nodes {
        for other in nodes.iter().filter(|other| other.id() != one.id()) {
            one.knows(other);
        }
    }
    nodes
}

/// Files of this system's documentation, some megabytes of them, the same in every run.
fn documentation(part: usize) -> Folder {
    let folder = Folder::new();
    let mut packages: Vec<PathBuf> =
        std::fs::read_dir("/usr/share/doc").expect("Debian has it").flatten().map(|entry| entry.path()).collect();
    packages.sort();
    let copyright = packages.iter().filter(|package| package.join("copyright").is_file());
    for (number, package) in copyright.enumerate().filter(|(number, _)| number % 3 == part).take(60) {
        let name = package.file_name().expect("a name").to_string_lossy().into_owned();
        std::fs::copy(package.join("copyright"), folder.path().join(format!("{number}-{name}"))).expect("a copy");
    }
    folder
}

/// A document that no other is like.
fn marked(folder: &Path, words: &str) {
    std::fs::write(folder.join("marked.md"), format!("# {words}\n\n{words}\n")).expect("it is ours");
}

fn failed(answer: &Value) -> Vec<&str> {
    answer["nodes_failed"].as_array().expect("a list").iter().filter_map(|one| one["node"].as_str()).collect()
}

#[test]
fn the_chapter_of_the_readme_is_what_two_nodes_see() {
    let nodes = met(&["ann", "bob"]);
    let home = Folder::new();
    let notes = home.path().join("notes");
    std::fs::create_dir(&notes).expect("it is ours");
    std::fs::write(notes.join("bread.md"), "# Sourdough\n\nA sourdough starter wants flour, water and time.\n")
        .expect("it is ours");
    std::fs::write(notes.join("tea.txt"), "Green tea is brewed with water that does not boil.\n").expect("it is ours");
    std::env::set_current_dir(home.path()).expect("this process runs this test alone");
    let steps = readme::session("Share what you know, share the work");
    assert!(steps.len() > 4, "the chapter has a session");
    for readme::Step { terminal, command, prints } in &steps {
        let node = if terminal == "ann" { &nodes[0] } else { &nodes[1] };
        let words: Vec<&str> = command.split('"').enumerate().flat_map(quoted).skip(1).collect();
        let said = node.run(&words);
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let lines: Vec<String> = text.lines().map(untimed).filter(|line| !line.is_empty()).collect();
        let prints: Vec<String> = prints.iter().map(|line| untimed(line)).collect();
        assert!(said.status.success() && readme::matches(&prints, &lines), "{command}: {said:?}");
    }
}

/// The words of a command line with quotes.
fn quoted((place, part): (usize, &str)) -> Vec<&str> {
    if place % 2 == 1 { vec![part] } else { part.split_whitespace().collect() }
}

/// A line without how long it took.
fn untimed(line: &str) -> String {
    line.trim_end().split(", in ").next().unwrap_or_default().to_owned()
}

#[test]
fn what_each_node_has_indexed_is_found_by_all_and_who_does_not_answer_is_named() {
    let mut nodes = acquainted(&["ann", "bob", "cem"]);
    let marks = ["zephyrine quillwort", "obsidian marmalade", "thunderous cuckoopint"];
    for (number, (node, mark)) in nodes.iter().zip(marks).enumerate() {
        let folder = documentation(number);
        marked(folder.path(), mark);
        let place = folder.path().display().to_string();
        let indexed = node.json(&["index", "add", "--recursive", &place]);
        assert!(indexed["added"].as_u64().expect("a number") > 10, "{indexed}");
    }
    for node in &nodes {
        for (mark, owner) in marks.iter().zip(&nodes) {
            let answer = node.json(&["search", mark]);
            assert_eq!((&answer["nodes_queried"], failed(&answer).len()), (&Value::from(3), 0), "{answer}");
            let first = &answer["results"][0];
            assert_eq!(first["title"], *mark, "{answer}");
            assert_eq!(first["source_node"], owner.status["node"], "{answer}");
            assert!(answer["total_time_ms"].as_u64().expect("a number") < 1000, "{answer}");
        }
    }
    let only = nodes[0].json(&["search", marks[1], "--node", "bob"]);
    assert_eq!((&only["nodes_queried"], &only["results"][0]["title"]), (&Value::from(1), &Value::from(marks[1])));

    let cem = nodes.pop().expect("three");
    cem.signal("KILL");
    drop(cem);
    until("the answer says who is gone", PATIENCE, || {
        let answer = nodes[0].json(&["search", marks[2]]);
        let names = failed(&answer);
        assert!(names.is_empty() || names == ["cem"], "{answer}");
        let rest = answer["nodes_queried"] == 2 || names == ["cem"];
        rest.then(|| assert!(answer["results"].as_array().is_some_and(|results| !results.is_empty())))
    });
    let asked = nodes[0].json(&["search", marks[2], "--node", "cem"]);
    assert_eq!(failed(&asked), ["cem"], "{asked}");
}

#[test]
fn what_has_not_changed_is_not_read_again_and_what_is_gone_is_taken_out() {
    let node = Node::alone("ann", &[]);
    let folder = documentation(0);
    marked(folder.path(), "zephyrine quillwort");
    let place = folder.path().display().to_string();
    let add = || node.json(&["index", "add", "-r", &place, "--tag", "team=bread"]);
    let first = add();
    let all = first["added"].as_u64().expect("a number");
    let again = add();
    assert_eq!((&again["added"], &again["unchanged"]), (&Value::from(0), &Value::from(all)), "{again}");
    std::fs::remove_file(folder.path().join("marked.md")).expect("it was there");
    std::fs::write(folder.path().join("other.txt"), "obsidian marmalade").expect("it is ours");
    let changed = add();
    assert_eq!((&changed["added"], &changed["removed"]), (&Value::from(1), &Value::from(1)), "{changed}");

    let found = |words: &[&str]| node.json(&[&["search"], words].concat())["results"].clone();
    assert_eq!(found(&["obsidian marmalade"])[0]["title"], "other.txt");
    assert_eq!(found(&["obsidian marmalade", "--filter", "team=tea"]), Value::Array(Vec::new()));
    assert!(node.says(&["index", "ls", &place]).contains("other.txt"));
    let taken = node.json(&["index", "rm", &place]);
    assert_eq!(taken["removed"], all, "{taken}");
    assert_eq!(node.json(&["index", "stats"])["documents"], 0);

    let missing = node.run(&["index", "add", "/nonexistent"]);
    assert!(
        !missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("/nonexistent"),
        "{missing:?}"
    );
    add();
    // What was indexed survives a kill.
    let node = node.killed_and_started_again();
    assert_eq!(node.json(&["search", "obsidian marmalade"])["results"][0]["title"], "other.txt");
}

#[test]
fn copies_of_anothers_documents_follow_it_and_answer_for_it_while_it_is_away() {
    let ann = Node::alone("ann", &[]);
    let folder = Folder::new();
    marked(folder.path(), "zephyrine quillwort");
    std::fs::write(folder.path().join("other.txt"), "obsidian marmalade").expect("it is ours");
    let place = folder.path().display().to_string();
    ann.json(&["index", "add", "-r", &place]);

    let config = "[mesh]\nsources = { \"*\" = \"full\" }\n".to_owned();
    let bob = Node::configured("bob", &format!("peers = [\"{}\"]\n{config}", ann.url().replace("https://", "")));
    bob.knows(&ann);
    ann.knows(&bob);
    ann.says(&["trust", &bob.id()]);
    bob.says(&["trust", &ann.id()]);
    let copies = |wanted: u64| {
        until("copies", PATIENCE, || {
            let stats = bob.json(&["index", "stats"]);
            let source = &stats["sources"][0];
            (source["documents"] == wanted && source["node"] == ann.status["node"]).then_some(())
        });
    };
    // The interval is a minute: what changes is told.
    bob.says(&["index", "stats"]);
    copies(2);
    std::fs::remove_file(folder.path().join("other.txt")).expect("it was there");
    std::fs::write(folder.path().join("third.txt"), "thunderous cuckoopint").expect("it is ours");
    std::fs::write(folder.path().join("fourth.txt"), "a fourth document").expect("it is ours");
    ann.json(&["index", "add", "-r", &place]);
    copies(3);

    let both = bob.json(&["search", "thunderous cuckoopint", "--limit", "3"]);
    let first = &both["results"][0];
    assert_eq!((&first["title"], &first["source_node"]), (&Value::from("third.txt"), &ann.status["node"]), "{both}");
    assert_eq!(both["results"].as_array().map(Vec::len), Some(3), "a document and its copy are one: {both}");
    ann.signal("KILL");
    drop(ann);
    let alone = bob.json(&["search", "thunderous cuckoopint", "--limit", "3"]);
    assert_eq!(alone["results"][0]["title"], "third.txt", "{alone}");
    assert!(!alone.to_string().contains("obsidian"), "what was deleted there is gone here, too: {alone}");
}

#[test]
fn with_an_embedding_model_meanings_are_found_and_its_server_is_told_what_it_must_know_alone() {
    const TOKEN: &str = "a-token-of-the-model-server";
    let mut server = Lines::start(peers::python(peers::file("embeddings.py")).env("TOKEN", TOKEN));
    let port = server.next(PATIENCE).expect("it says its port");
    let config = |token: &str| {
        format!(
            "[mesh]\ndimension = 384\nencoder = \"http://127.0.0.1:{port}/v1\"\n\
             encoder_model = \"all-MiniLM-L6-v2\"\nencoder_token = \"{token}\"\n"
        )
    };
    let folder = Folder::new();
    for (name, text) in [
        ("discovery.txt", "mDNS peer discovery on the local network"),
        ("bread.txt", "Bake the bread at two hundred degrees"),
        ("music.txt", "The orchestra plays a symphony tonight"),
    ] {
        std::fs::write(folder.path().join(name), text).expect("it is ours");
    }
    let place = folder.path().display().to_string();
    let node = Node::configured("ann", &config(TOKEN));
    node.json(&["index", "add", "-r", &place]);
    for (asked, found) in [
        ("how do agents find each other by multicast", "discovery.txt"),
        ("cooking in the oven", "bread.txt"),
        ("a concert", "music.txt"),
    ] {
        let answer = node.json(&["search", asked]);
        assert_eq!(answer["results"][0]["title"], found, "{answer}");
    }
    assert_eq!(node.json(&["index", "stats"])["encoder"], "all-MiniLM-L6-v2");
    assert!(!node.says(&["config", "show"]).contains(TOKEN), "a token is never shown");

    let stranger = Node::configured("bob", &config("another"));
    let refused = stranger.run(&["index", "add", "-r", &place]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("embedding server") && said.contains("401"), "{said}");
    drop(server);
    let silent = node.run(&["search", "a concert"]);
    let said = String::from_utf8_lossy(&silent.stderr).into_owned();
    assert!(!silent.status.success() && said.contains("embedding server"), "{said}");
}

#[test]
fn a_model_that_hangs_and_a_node_that_stands_still_are_named_when_the_question_has_no_more_time() {
    let mut server = Lines::start(peers::python(peers::file("embeddings.py")).env("TOKEN", "token"));
    let port = server.next(PATIENCE).expect("it says its port");
    let config = format!(
        "[mesh]\ndimension = 384\nencoder = \"http://127.0.0.1:{port}/v1\"\n\
         encoder_model = \"all-MiniLM-L6-v2\"\nencoder_token = \"token\"\n"
    );
    let ann = Node::configured("ann", &config);
    let bob = Node::configured("bob", &format!("peers = [\"{}\"]\n{config}", ann.url().replace("https://", "")));
    for (one, other) in [(&ann, &bob), (&bob, &ann)] {
        one.knows(other);
        one.says(&["trust", &other.id()]);
    }
    let folder = Folder::new();
    marked(folder.path(), "zephyrine quillwort");
    bob.json(&["index", "add", "-r", &folder.path().display().to_string()]);
    // Far below the minute that a model has for what is indexed, and above what a slow machine makes of half of it.
    let ask = || ann.json(&["search", "zephyrine quillwort", "--timeout", "4s"]);
    let whole = ask();
    assert_eq!((&whole["results"][0]["source_node"], failed(&whole).len()), (&bob.status["node"], 0), "{whole}");

    bob.signal("STOP");
    let partial = ask();
    bob.signal("CONT");
    assert_eq!((failed(&partial), &partial["nodes_queried"]), (vec!["bob"], &Value::from(2)), "{partial}");

    server.signal("STOP");
    let none = ask();
    server.signal("CONT");
    let causes = none["nodes_failed"].to_string();
    let mut names = failed(&none);
    names.sort_unstable();
    assert_eq!(names, ["ann", "bob"], "{none}");
    assert!(causes.contains("its encoder did not answer in time"), "{none}");
    assert!(none["total_time_ms"].as_u64().expect("a number") < 20_000, "{none}");
}

#[test]
fn programs_of_the_original_design_index_and_ask_at_the_control_port_with_curl() {
    let nodes = acquainted(&["ann", "bob"]);
    let curl = |node: &Node, words: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-H", &format!("Authorization: Bearer {}", node.token())]).args(words);
        let printed = peers::output(&mut curl);
        serde_json::from_str::<Value>(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    };
    let at = |node: &Node, path: &str| format!("{}{path}", node.control_url());
    let json = ["-H", "Content-Type: application/json", "-d"];
    let (ann, bob) = (&nodes[0], &nodes[1]);
    let one =
        r#"{"url":"https://example.org/1","title":"Alders","text":"alder birch cedar","metadata":{"kind":"tree"}}"#;
    let indexed = curl(ann, &[&json[..], &[one, &at(ann, "/mesh/basins")]].concat());
    assert_eq!(indexed["added"], 1, "{indexed}");
    let lines = "{\"doc_id\":\"two\",\"text\":\"rye wheat oats\"}\n\n{\"text\":\"nameless\"}\n";
    let lines =
        curl(ann, &["-H", "Content-Type: application/x-ndjson", "--data-binary", lines, &at(ann, "/mesh/basins")]);
    assert_eq!((&lines["added"], &lines["refused"][0]["field"]), (&Value::from(1), &Value::from("doc_id")), "{lines}");

    let asked = r#"{"query":"cedar alder","limit":5,"timeout_ms":2000}"#;
    let answer = curl(bob, &[&json[..], &[asked, &at(bob, "/mesh/query")]].concat());
    let first = &answer["results"][0];
    assert_eq!((&first["url"], &first["source_node"]), (&Value::from("https://example.org/1"), &ann.status["node"]));
    assert_eq!(
        (&answer["nodes_queried"], &answer["metric"]),
        (&Value::from(2), &Value::from("fisher-rao")),
        "{answer}"
    );

    let deleted = curl(ann, &["-X", "DELETE", &at(ann, "/mesh/basins/two")]);
    assert_eq!(deleted["removed"], 1, "{deleted}");
    let again = curl(ann, &["-X", "DELETE", &at(ann, "/mesh/basins/two")]);
    assert_eq!(again["status"], 404, "{again}");
    let refused = curl(bob, &[&json[..], &[r#"{"query":"a","limit":1000000000}"#, &at(bob, "/mesh/query")]].concat());
    assert_eq!((&refused["status"], &refused["pointer"]), (&Value::from(400), &Value::from("/limit")), "{refused}");
}
