//! Two nodes with one queue in PostgreSQL, of which each is killed in the midst of the work: all tasks are done, and none
//! twice, as the file outside says that their effects go to.

use comity_tests::folder::Folder;
use comity_tests::lines::Lines;
use comity_tests::node::Node;
use comity_tests::postgres::Postgres;
use comity_tests::{PATIENCE, until};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How many tasks, where `COMITY_TASKS` does not say.
const TASKS: usize = 300;

/// A node on this database, with a tool whose effect is a line in a file: which task, by which lease.
fn node(name: &str, store: &str, effects: &Path) -> Node {
    let script = r#"echo "$COMITY_CALL_ID" >> "$0""#;
    Node::configured(
        name,
        &format!(
            "[mesh]\nstore = {store:?}\n[tools.job]\nkind = \"command\"\nconcurrent_per_caller = 8\n\
             [tools.job.commands.run]\ncommand = [\"sh\", \"-c\", '{script}', {effects:?}]\ndescription = \"Does it.\"\n"
        ),
    )
}

fn worker(node: &Node) -> Lines {
    let mut worker = node.follow(&["worker", "--slots", "4"]);
    worker.wait_for("worker", PATIENCE, |line| line.contains("ready").then_some(()));
    worker
}

/// Puts so many tasks into the queue, from this number on; each is acknowledged.
fn submit(node: &Node, numbers: std::ops::Range<usize>) {
    let folder = Folder::new();
    let (url, token) = (format!("{}/control/tasks", node.control_url()), node.token());
    let one = |number: usize| {
        let task = json!({
            "kind": "tool", "capability": "job/run", "payload": {}, "lease_seconds": 2, "max_attempts": 20,
            "idempotency_key": number.to_string(),
        });
        format!(
            "url = {url:?}\nheader = \"Authorization: Bearer {token}\"\njson = {:?}\nfail\nsilent\n",
            task.to_string()
        )
    };
    let requests: Vec<String> = numbers.map(one).collect();
    let file = folder.path().join("requests");
    std::fs::write(&file, requests.join("next\n")).expect("the folder is ours");
    let sent = Command::new("curl").arg("-K").arg(&file).output().expect("curl is installed");
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}

fn counts(node: &Node, state: &str) -> u64 {
    let all = node.json(&["task", "workers"]);
    let counts = all["tasks"].as_array().expect("a list").iter().filter(|one| one["state"] == state);
    counts.map(|one| one["tasks"].as_u64().expect("a number")).sum()
}

#[test]
fn of_two_nodes_with_one_queue_either_may_be_killed_and_all_is_done_once() {
    let tasks = std::env::var("COMITY_TASKS").ok().and_then(|count| count.parse().ok()).unwrap_or(TASKS);
    let patience = PATIENCE + Duration::from_millis(50) * u32::try_from(tasks).expect("a few");
    let server = Postgres::start();
    let store = server.database("tasks");
    let folder = Folder::new();
    let effects = folder.path().join("effects");
    let mut nodes = ["one", "two"].map(|name| Some(node(name, &store, &effects)));
    let [Some(one), Some(two)] = &nodes else { panic!("two") };
    submit(one, 0..tasks / 2);
    submit(two, tasks / 2..tasks);
    // Whoever was told yes and asks again gets the same tasks.
    submit(one, 0..10);
    let mut workers = vec![worker(one), worker(two)];
    let lines = || std::fs::read_to_string(&effects).unwrap_or_default().lines().count();
    for (which, share) in [(0, 4), (1, 2)] {
        until("work that is under way", patience, || (lines() > tasks / share).then_some(()));
        let node = nodes[which].take().expect("it is there").killed_and_started_again();
        workers.push(worker(&node));
        nodes[which] = Some(node);
    }
    let two = nodes[1].as_ref().expect("it is there");
    until("all of it", patience, || (counts(two, "succeeded") == tasks as u64).then_some(()));
    assert_eq!(counts(two, "failed") + counts(two, "queued") + counts(two, "running"), 0);
    // What is done twice is done by different leases, of which whatever the effect is on takes the first alone.
    let mut leases: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for line in std::fs::read_to_string(&effects).expect("there are some").lines() {
        let (id, lease) =
            line.strip_prefix("task:").and_then(|line| line.rsplit_once(':')).expect("a task and a lease");
        let is_new = leases.entry(id.to_owned()).or_default().insert(lease.parse().expect("a number"));
        assert!(is_new, "one lease had its effect twice: {line}");
    }
    assert_eq!(leases.len(), tasks, "each had its effect");
}
