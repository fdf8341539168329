//! Work that is shared between nodes: what is submitted at one is done once, by the least loaded worker that can do it,
//! whoever is killed meanwhile.

use comity_tests::folder::Folder;
use comity_tests::lines::Lines;
use comity_tests::node::Node;
use comity_tests::{PATIENCE, until};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A tool that notes who has begun a job and who has done it, in a file outside, and waits until it may end.
fn config(effects: &Path, name: &str) -> String {
    let script = "echo begun $1 $2 >> \"$0\"; while [ -e \"$0.hold\" ]; do sleep 0.05; done; echo done $1 $2 >> \"$0\"";
    format!(
        "[tools.job]\nkind = \"command\"\n[tools.job.commands.run]\n\
         command = [\"sh\", \"-c\", '{script}', \"{}\", \"{name}\", \"--\", \"{{what}}\"]\ndescription = \"Does it.\"\n",
        effects.display()
    )
}

/// Nodes of these names, which know each other; all but the first have the tool.
struct Site {
    nodes: Vec<Node>,
    folder: Folder,
}

impl Site {
    fn of(names: &[&str]) -> Self {
        let folder = Folder::new();
        let effects = folder.path().join("effects");
        let mut nodes: Vec<Node> = Vec::new();
        for name in names {
            let peers: Vec<String> = nodes.iter().map(|node| format!("{:?}", node.url())).collect();
            let tool = if nodes.is_empty() { String::new() } else { config(&effects, name) };
            nodes.push(Node::configured(name, &format!("peers = [{}]\n{tool}", peers.join(", "))));
        }
        for one in &nodes {
            for other in nodes.iter().filter(|other| other.id() != one.id()) {
                one.knows(other);
                one.says(&["trust", &other.id()]);
            }
        }
        Self { nodes, folder }
    }

    fn effects(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("effects")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn hold(&self) -> PathBuf {
        let hold = self.folder.path().join("effects.hold");
        std::fs::write(&hold, "").expect("the folder is ours");
        hold
    }

    /// The effects, as soon as one is this.
    fn has(&self, effect: &str) {
        until(effect, PATIENCE, || self.effects().iter().any(|one| one == effect).then_some(()));
    }
}

/// A worker that waits for work, as the node that keeps the tasks sees it.
fn worker(node: &Node, keeper: &Node, slots: usize) -> Lines {
    let mut worker = node.follow(&["worker", "--slots", &slots.to_string()]);
    worker.wait_for("worker", PATIENCE, |line| line.contains("ready").then_some(()));
    let key = node.status["node"].clone();
    until("worker that waits", PATIENCE, || {
        let state = keeper.json(&["task", "workers"]);
        let mut nodes = state["nodes"].as_array().into_iter().flatten();
        nodes.any(|one| one["node_id"] == key && one["slots_free"] == slots).then_some(())
    });
    worker
}

fn submit(node: &Node, what: &str, words: &[&str]) -> String {
    let params = json!({ "what": what }).to_string();
    let queued = node.json(&[&["task", "submit", "job/run", "--params", &params], words].concat());
    queued["id"].as_str().unwrap_or_else(|| panic!("{queued}")).to_owned()
}

fn stands(node: &Node, id: &str, state: &str) -> Value {
    until(state, PATIENCE, || {
        let task = node.json(&["task", "show", id]);
        (task["state"] == state).then_some(task)
    })
}

#[test]
fn a_task_runs_on_the_least_loaded_of_two_and_elsewhere_once_when_that_worker_is_killed() {
    let site = Site::of(&["ann", "bob", "cem"]);
    let [ann, bob, cem] = site.nodes.as_slice() else { panic!("three") };
    let hold = site.hold();
    let alone = submit(ann, "early", &["--lease", "2s"]);
    assert_eq!(ann.json(&["task", "show", &alone])["state"], "queued", "nobody can do it yet");
    ann.says(&["task", "cancel", &alone]);
    let small = worker(bob, ann, 1);
    let large = worker(cem, ann, 4);
    let id = submit(ann, "it", &["--lease", "2s"]);
    site.has("begun cem --");
    let task = stands(ann, &id, "running");
    assert_eq!(task["worker"], cem.status["node"], "{task}");
    large.signal("KILL");
    site.has("begun bob --");
    std::fs::remove_file(hold).expect("it was there");
    let task = stands(ann, &id, "succeeded");
    assert_eq!((&task["attempts"], &task["worker"]), (&json!(2), &bob.status["node"]), "{task}");
    let done: Vec<String> = site.effects().into_iter().filter(|line| line.starts_with("done")).collect();
    assert_eq!(done, ["done bob --"], "once in effect");
    // The journal says which attempt it was.
    let journal = bob.says(&["journal", "tail", "--lines", "50", "--json"]);
    assert!(journal.contains(&format!("task:{id}:2")), "{journal}");
    drop(small);
}

#[test]
fn a_task_that_is_cancelled_while_it_runs_stops_and_what_fails_is_dead_until_it_is_queued_again() {
    let site = Site::of(&["ann", "bob"]);
    let [ann, bob] = site.nodes.as_slice() else { panic!("two") };
    let hold = site.hold();
    let _worker = worker(bob, ann, 2);
    let id = submit(ann, "it", &[]);
    site.has("begun bob --");
    ann.says(&["task", "cancel", &id]);
    stands(ann, &id, "cancelled");
    std::fs::remove_file(hold).expect("it was there");

    // Without its argument the tool refuses the call, and no other attempt would help.
    let broken = ann.json(&["task", "submit", "run"])["id"].as_str().expect("an id").to_owned();
    let task = stands(ann, &broken, "failed");
    assert!(task["error"].to_string().contains("bad_params"), "{task}");
    let dead = ann.json(&["task", "dead"]);
    assert_eq!((&dead["id"], &dead["attempts"]), (&json!(broken), &json!(1)));
    ann.says(&["task", "requeue", &broken]);
    stands(ann, &broken, "failed");
    ann.says(&["task", "discard", &broken]);
    assert!(!ann.run(&["task", "show", &broken]).status.success());

    let params = json!({ "what": "x" }).to_string();
    let waited = ann.run(&["task", "submit", "run", "--params", &params, "--wait"]);
    assert!(waited.status.success(), "{waited:?}");
    let done: Vec<String> = site.effects().into_iter().filter(|line| line.starts_with("done")).collect();
    assert_eq!(done.len(), 1, "what was cancelled did not go on: {done:?}");
}

#[test]
fn what_was_acknowledged_survives_a_kill_of_its_node_and_is_done_once() {
    let site = Site::of(&["ann", "bob"]);
    let Site { mut nodes, folder } = site;
    let (bob, ann) = (nodes.remove(1), nodes.remove(0));
    let ids: Vec<String> = (0..20).map(|number| submit(&ann, "it", &["--key", &number.to_string()])).collect();
    // It comes back at another port, and finds Bob by his.
    let peers = format!("peers = [{:?}]\n", bob.url());
    let ann = ann.killed_changed_and_started_again(|folder| {
        std::fs::write(folder.join("comity.toml"), peers).expect("it is ours");
    });
    assert_eq!(submit(&ann, "it", &["--key", "7"]), ids[7], "the same key is the same task");
    let mut worker = bob.follow(&["worker", "--slots", "8"]);
    worker.wait_for("worker", PATIENCE, |line| line.contains("ready").then_some(()));
    for id in &ids {
        // The worker does more at once than the tool takes of one caller: that is waited for, and is no attempt.
        let task = stands(&ann, id, "succeeded");
        assert_eq!(task["attempts"], 1, "{task}");
    }
    let effects = std::fs::read_to_string(folder.path().join("effects")).expect("there are some");
    assert_eq!(effects.lines().filter(|line| line.starts_with("done")).count(), 20);
    worker.signal("TERM");
    assert!(worker.ended(PATIENCE).success());
}

#[test]
fn strangers_are_given_no_work_and_do_none() {
    let folder = Folder::new();
    let ann = Node::alone("ann", &[]);
    let config = config(&folder.path().join("effects"), "eve");
    let eve = Node::configured("eve", &format!("peers = [{:?}]\n{config}", ann.url()));
    ann.knows(&eve);
    // Eve trusts Ann, and asks her; Ann does not know Eve.
    eve.says(&["trust", &ann.id()]);
    let mut worker = eve.follow(&["worker"]);
    worker.wait_for("worker", PATIENCE, |line| line.contains("ready").then_some(()));
    let id = submit(&ann, "it", &[]);
    until("refusal", PATIENCE, || (ann.refusals("forbidden") > 0.0).then_some(()));
    assert_eq!(ann.json(&["task", "show", &id])["state"], "queued");
    assert_eq!(ann.json(&["task", "workers"])["nodes"], json!([]));
    let told = ann.run(&["task", "submit", "job/run"]);
    assert!(String::from_utf8_lossy(&told.stderr).contains("the task waits"), "{told:?}");
}
