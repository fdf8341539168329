//! Two nodes on one PostgreSQL. With one queue: each is killed in the midst of the work, and all tasks are done, none twice,
//! as the file outside says that their effects go to. With one registry: they act as one, and each goes on without the
//! other.

use comity_tests::folder::Folder;
use comity_tests::http::{Reply, curl};
use comity_tests::lines::Lines;
use comity_tests::node::Node;
use comity_tests::postgres::Postgres;
use comity_tests::{PATIENCE, until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How many tasks, where `COMITY_TASKS` does not say.
const TASKS: usize = 300;

/// A coordinator on this database, with a tool whose effect is a line in a file: which task, by which lease.
fn node(name: &str, store: &str, effects: &Path) -> Node {
    let script = r#"echo "$COMITY_CALL_ID" >> "$0""#;
    Node::configured(
        name,
        &format!(
            "[mesh]\ncoordinator = true\nstore = {store:?}\n[tools.job]\nkind = \"command\"\nconcurrent_per_caller = 8\n\
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

/// A coordinator on this database.
fn coordinator(name: &str, store: &str) -> Node {
    Node::configured(name, &format!("[mesh]\ncoordinator = true\nstore = {store:?}\n"))
}

fn token(registry: &Node, uses: u32) -> String {
    let made = registry.json(&["mesh", "enroll", "--uses", &uses.to_string()]);
    made["token"].as_str().expect("a token").to_owned()
}

/// Registers a node there, as whoever has this key: the status, and the API key if it gets one.
fn register(url: &str, name: &str, key: &str) -> (u16, Option<String>) {
    let body =
        json!({ "node_id": name, "service_name": "kernel", "endpoint": "https://192.0.2.7", "capabilities": [] });
    let reply = said(url, "/mesh/register", key, &body);
    let answer: Value = serde_json::from_str(&reply.body).expect("JSON");
    (reply.status, answer["api_key"].as_str().map(str::to_owned))
}

fn said(url: &str, path: &str, key: &str, body: &Value) -> Reply {
    let (url, header) = (format!("{url}{path}"), format!("Authorization: Bearer {key}"));
    curl(&["-H", "Content-Type: application/json", "-H", &header, &url], Some(&body.to_string()))
}

fn beats(node: &Node, name: &str, key: &str) -> u16 {
    said(&node.url(), "/mesh/heartbeat", key, &json!({ "node_id": name })).status
}

fn listed(node: &Node) -> BTreeSet<String> {
    let all = node.json(&["mesh", "nodes"]);
    let nodes = all["nodes"].as_array().expect("a list").iter();
    nodes.map(|node| node["node_id"].as_str().expect("a name").to_owned()).collect()
}

/// Two that ask at once, each at its own coordinator.
fn at_once(asked: [(&Node, &str, &str); 2]) -> [(u16, Option<String>); 2] {
    std::thread::scope(|scope| {
        asked
            .map(|(node, name, key)| (node.url(), name.to_owned(), key.to_owned()))
            .map(|(url, name, key)| scope.spawn(move || register(&url, &name, &key)))
            .map(|one| one.join().expect("it ends"))
    })
}

#[test]
fn two_coordinators_on_one_database_act_as_one_and_each_goes_on_without_the_other() {
    let server = Postgres::start();
    let store = server.database("registry");
    let (one, two) = (coordinator("one", &store), coordinator("two", &store));
    for node in [&one, &two] {
        until("each sees the other", PATIENCE, || (listed(node).len() == 2).then_some(()));
    }

    let made = token(&one, 1);
    let (status, key) = until("the other knows the token", PATIENCE, || {
        let registered = register(&two.url(), "k1", &made);
        (registered.0 != 401).then_some(registered)
    });
    let key = key.unwrap_or_else(|| panic!("{status}"));
    until("both know its key", PATIENCE, || (beats(&one, "k1", &key) == 200).then_some(()));
    assert!(listed(&one).contains("k1") && listed(&two).contains("k1"));

    for round in 0..5 {
        let (once, name) = (token(&one, 1), format!("race{round}"));
        until("both know the token", PATIENCE, || (register(&two.url(), "k1", &once).0 == 409).then_some(()));
        let [first, second] = at_once([(&one, &format!("{name}-a"), &once), (&two, &format!("{name}-b"), &once)]);
        let mut statuses = [first.0, second.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401], "a token for one node lets one in");
        let twice = token(&one, 2);
        until("both know the token", PATIENCE, || (register(&two.url(), "k1", &twice).0 == 409).then_some(()));
        let [first, second] = at_once([(&one, &name, &twice), (&two, &name, &twice)]);
        let mut statuses = [first.0, second.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "a name is one node's");
    }

    one.json(&["mesh", "revoke", "k1"]);
    until("the key is good nowhere", PATIENCE, || (beats(&two, "k1", &key) == 401).then_some(()));
    assert!(!listed(&two).contains("k1"));

    let mut key = None;
    let one = one.killed_changed_and_started_again(|_| {
        key = register(&two.url(), "k2", &token(&two, 1)).1;
    });
    let key = key.expect("the other goes on");
    assert_eq!(beats(&one, "k2", &key), 200, "what happened meanwhile is known");
    assert!(listed(&one).contains("k2"));
}
