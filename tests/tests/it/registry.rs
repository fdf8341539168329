//! The registry of a mesh: nodes that never saw each other register with one of them, by a token that a person made
//! there, and find each other by it; and what anybody with curl can say to it, from the text of the protocol alone.

use comity_tests::http::{Reply, curl};
use comity_tests::node::Node;
use comity_tests::{PATIENCE, until};
use serde_json::{Value, json};

/// A node that is a registry, also when it is started again.
fn coordinator() -> Node {
    Node::configured("registry", "[mesh]\ncoordinator = true\n")
}

fn token(registry: &Node, uses: u32) -> (String, String) {
    let made = registry.json(&["mesh", "enroll", "--uses", &uses.to_string(), "--expires", "7d"]);
    (text(&made["token"]), text(&made["hash"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text is wanted: {value}")).to_owned()
}

/// A node that registers there.
fn member(name: &str, registry: &Node, token: &str) -> Node {
    let url = registry.url();
    let variables = [("MESH_COORDINATOR_URL", url.as_str()), ("MESH_NODE_ID", name), ("MESH_API_KEY", token)];
    Node::alone_with(name, &variables)
}

/// The nodes that a node lists, by name: their states.
fn listed(node: &Node) -> Vec<(String, String)> {
    let all = node.json(&["mesh", "nodes"]);
    let nodes = all["nodes"].as_array().expect("a list");
    nodes.iter().map(|node| (text(&node["node_id"]), text(&node["state"]))).collect()
}

fn names(node: &Node) -> Vec<String> {
    listed(node).into_iter().map(|(name, _)| name).collect()
}

/// Says something to the registry by curl, as whoever has this key.
fn said(registry: &Node, words: &[&str], key: Option<&str>, body: Option<&Value>) -> Reply {
    let header = key.map(|key| format!("Authorization: Bearer {key}"));
    let mut all: Vec<&str> = vec!["-H", "Content-Type: application/json"];
    all.extend(header.iter().flat_map(|header| ["-H", header.as_str()]));
    let url = format!("{}{}", registry.url(), words.last().expect("a path"));
    all.extend(&words[..words.len() - 1]);
    all.push(&url);
    let body = body.map(Value::to_string);
    curl(&all, body.as_deref())
}

/// A node that registers there over TLS, by the coordinator's key: it is what lets the coordinator ask this node, too.
fn known_member(name: &str, registry: &Node, token: &str) -> Node {
    let (url, key) = (registry.url().replace("http://", "https://"), text(&registry.status["node"]));
    let config = format!("[mesh]\ncoordinator_url = {url:?}\ncoordinator_key = {key:?}\napi_key = {token:?}\n");
    let node = Node::configured(name, &config);
    registry.knows(&node);
    node
}

/// Gives a node a document of this title, and nothing else.
fn indexes(node: &Node, title: &str) {
    let notes = comity_tests::folder::Folder::new();
    std::fs::write(notes.path().join("marked.md"), format!("# {title}\n")).expect("it is ours");
    node.json(&["index", "add", &notes.path().join("marked.md").display().to_string()]);
}

fn kernel(name: &str) -> Value {
    let signature: Vec<f64> = (0..256).map(|number| f64::from(number) / 256.0).collect();
    json!({
        "node_id": name, "service_name": "kernel", "endpoint": "https://192.0.2.7:8400",
        "capabilities": ["search", "summarise"], "basin_signature": signature,
    })
}

#[test]
fn two_nodes_that_were_enrolled_by_a_token_find_each_other_by_the_registry() {
    let registry = coordinator();
    let (token, _) = token(&registry, 2);
    let ann = member("ann", &registry, &token);
    let bob = member("bob", &registry, &token);
    for (one, other) in [(&ann, &bob), (&bob, &ann), (&ann, &registry)] {
        one.knows(other);
    }
    // Who came first is told of others by its next heartbeat, and met them before.
    for (one, other) in [(&bob, &ann), (&bob, &registry), (&ann, &registry)] {
        let peer = one.peer(&other.id()).expect("it is known");
        assert!(peer["sources"].as_array().is_some_and(|from| from.contains(&json!("registry"))), "{peer}");
    }
    let own = names(&registry);
    assert!(own.len() == 3 && own.contains(&"ann".to_owned()) && own.contains(&"bob".to_owned()), "{own:?}");
    let kept = ann.data_dir().join("mesh.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&kept).expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600);

    // Without the token, which is used up, ann is who it was by the key that it kept.
    bob.stop();
    until("who leaves is out at once", PATIENCE, || (!names(&registry).contains(&"bob".to_owned())).then_some(()));
    until("others are told", PATIENCE, || (!listed(&ann).is_empty()).then_some(()));
    let registry = registry.killed_and_started_again();
    assert_eq!(names(&registry).iter().filter(|name| *name == "ann").count(), 1, "it is kept");
    assert!(listed(&registry).contains(&("ann".to_owned(), "fresh".to_owned())), "it has time to say so");
}

#[test]
fn the_calls_of_the_protocol_give_the_answers_of_the_protocol() {
    let registry = coordinator();
    let (token, _) = token(&registry, 2);
    let registered = said(&registry, &["/mesh/register"], Some(&token), Some(&kernel("k1")));
    assert_eq!(registered.status, 200, "{}", registered.body);
    let answer: Value = serde_json::from_str(&registered.body).expect("JSON");
    let key = text(&answer["api_key"]);
    assert!(key.len() == 68 && key.starts_with("cmt_"), "{answer}");
    assert_eq!((&answer["node_id"], &answer["heartbeat_interval_seconds"]), (&json!("k1"), &json!(30)));
    assert!(answer["nodes"].is_array(), "{answer}");

    let load = json!({ "running": 1, "queued": 2, "cpu": 0.5, "memory": 0.25 });
    let beat = json!({ "node_id": "k1", "load": load });
    let beaten = said(&registry, &["/mesh/heartbeat"], Some(&key), Some(&beat));
    assert_eq!(serde_json::from_str::<Value>(&beaten.body).expect("JSON")["ok"], true, "{}", beaten.body);
    let nodes: Value = serde_json::from_str(&said(&registry, &["/mesh/nodes"], Some(&key), None).body).expect("JSON");
    let found = nodes["nodes"].as_array().expect("a list").iter().find(|node| node["node_id"] == "k1");
    let found = found.unwrap_or_else(|| panic!("{nodes}"));
    for field in ["service_name", "endpoint", "capabilities"] {
        assert_eq!(found[field], kernel("k1")[field], "{field}");
    }
    assert_eq!(found["basin_signature"].as_array().map(Vec::len), Some(256));
    assert!(found["last_heartbeat"].is_string(), "{found}");
    let one: Value = serde_json::from_str(&said(&registry, &["/mesh/nodes/k1"], Some(&key), None).body).expect("JSON");
    assert_eq!(one["node_id"], "k1");

    let second = said(&registry, &["/mesh/register"], Some(&token), Some(&kernel("k2")));
    let other = text(&serde_json::from_str::<Value>(&second.body).expect("JSON")["api_key"]);
    let delete = |key: &str| said(&registry, &["-X", "DELETE", "/mesh/nodes/k1"], Some(key), None).status;
    assert_eq!(delete(&other), 403, "a node deletes only itself");
    assert_eq!(delete(&key), 200);
    assert_eq!(said(&registry, &["/mesh/heartbeat"], Some(&key), Some(&beat)).status, 404, "it registers again");
    assert_eq!(said(&registry, &["/mesh/register"], Some(&key), Some(&kernel("k1"))).status, 200);
    assert_eq!(said(&registry, &["/mesh/nodes"], None, None).status, 401);

    registry.says(&["mesh", "revoke", "k1"]);
    assert_eq!(said(&registry, &["/mesh/register"], Some(&key), Some(&kernel("k1"))).status, 401, "it is revoked");
    let registry = registry.killed_and_started_again();
    assert!(names(&registry).contains(&"k2".to_owned()) && !names(&registry).contains(&"k1".to_owned()));
    assert_eq!(
        said(&registry, &["/mesh/register"], Some(&key), Some(&kernel("k1"))).status,
        401,
        "also after a restart"
    );
    assert_eq!(said(&registry, &["/mesh/nodes/k2"], Some(&other), None).status, 200);
}

#[test]
fn a_node_with_an_api_key_finds_by_the_coordinator_what_the_nodes_of_the_mesh_have() {
    let registry = coordinator();
    let (token, _) = token(&registry, 2);
    let ann = known_member("ann", &registry, &token);
    indexes(&ann, "zephyrine quillwort");

    let registered = said(&registry, &["/mesh/register"], Some(&token), Some(&kernel("k1")));
    let k1 = text(&serde_json::from_str::<Value>(&registered.body).expect("JSON")["api_key"]);
    let question = json!({ "query": "zephyrine quillwort" });
    let answer = said(&registry, &["/mesh/query"], Some(&k1), Some(&question));
    let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!((&answer["nodes_queried"], &answer["nodes_failed"]), (&json!(2), &json!([])), "{answer}");
    assert_eq!(answer["results"][0]["title"], "zephyrine quillwort", "{answer}");
    assert_eq!(answer["results"][0]["source_node"], ann.status["node"], "{answer}");
    assert_eq!(said(&registry, &["/mesh/query"], Some(&token), Some(&question)).status, 401, "it is used up");
    assert_eq!(said(&ann, &["/mesh/query"], Some(&k1), Some(&question)).status, 401, "others know no API keys");
}

#[test]
fn a_coordinator_asks_the_nodes_near_whose_documents_a_question_lies() {
    let registry = coordinator();
    let (token, _) = token(&registry, 5);
    let titles = ["zephyrine quillwort", "basalt columns", "harbour pilotage", "sourdough starter"];
    let nodes = titles.map(|title| {
        let node = known_member(title.split(' ').next().expect("a word"), &registry, &token);
        indexes(&node, title);
        // What is indexed between two heartbeats is told by the next; at a start all is.
        node.killed_and_started_again()
    });
    let registered = said(&registry, &["/mesh/register"], Some(&token), Some(&kernel("k1")));
    let k1 = text(&serde_json::from_str::<Value>(&registered.body).expect("JSON")["api_key"]);
    until("the registry is told where documents lie", PATIENCE, || {
        let all: Value = serde_json::from_str(&said(&registry, &["/mesh/nodes"], Some(&k1), None).body).expect("JSON");
        let told = all["nodes"].as_array().expect("a list").iter().filter(|node| node["centroids"][0].is_array());
        (told.count() == titles.len()).then_some(())
    });
    for (title, node) in titles.iter().zip(&nodes) {
        registry.knows(node);
        let question = json!({ "query": title, "timeout_ms": 10_000 });
        let answer = said(&registry, &["/mesh/query"], Some(&k1), Some(&question));
        let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!((&answer["nodes_queried"], &answer["nodes_failed"]), (&json!(4), &json!([])), "{answer}");
        assert_eq!(answer["results"][0]["source_node"], node.status["node"], "{answer}");
    }
}

/// The bodies of the protocol, said by a kernel that has an API key and no key of a node.
#[test]
fn a_kernel_with_an_api_key_works_shares_and_follows_at_the_coordinator() {
    let registry = coordinator();
    let (token, _) = token(&registry, 2);
    let registered = said(&registry, &["/mesh/register"], Some(&token), Some(&kernel("k1")));
    let key = text(&registered.json()["api_key"]);
    let post = |path: &str, body: Value| said(&registry, &[path], Some(&key), Some(&body));
    let get = |path: &str| said(&registry, &[path], Some(&key), None);
    let good = |reply: Reply| {
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    };

    let task = json!({ "kind": "tool", "capability": "sum", "payload": { "of": [1, 2] } });
    let id = text(&good(post("/mesh/compute/tasks", task))["tasks"][0]["id"]);
    let given = good(post("/mesh/compute/claim", json!({ "capabilities": ["sum"] })));
    assert_eq!((&given["tasks"][0]["id"], &given["tasks"][0]["submitted_by"]), (&json!(id), &json!("k1")), "{given}");
    let done = json!({ "done": [{ "id": id, "token": given["tasks"][0]["token"], "result": { "sum": 3 } }] });
    assert_eq!(good(post("/mesh/compute/complete", done))["answers"][0]["state"], "succeeded");
    let kept = good(get(&format!("/mesh/compute/tasks/{id}")));
    assert_eq!((&kept["result"], &kept["worker"]), (&json!({ "sum": 3 }), &json!("k1")), "{kept}");
    assert_eq!(good(get("/mesh/compute/tasks"))["tasks"][0]["id"], json!(id));
    assert_eq!(good(get("/mesh/compute/available"))["nodes"][0]["node_id"], "k1");

    indexes(&registry, "zephyrine quillwort");
    let page = good(get("/mesh/sync"));
    assert_eq!(page["updates"][0]["source_node"], registry.status["node"], "{page}");
    registry.json(&["know", "tabs are refused", "--topic", "parser", "--confidence", "0.9"]);
    let found = good(post("/mesh/knowledge/request", json!({ "topic": "parser" })));
    let mut entry = found["knowledge"][0].clone();
    assert_eq!((&entry["content"], &entry["source_node"]), (&json!("tabs are refused"), &registry.status["node"]));
    assert_eq!(good(get("/mesh/knowledge/replicate"))["knowledge"][0], entry);
    assert_eq!(good(post("/mesh/knowledge/share", entry.clone()))["ok"], true, "whoever hands it over");
    entry.as_object_mut().expect("an object").remove("source_node");
    let unnamed = post("/mesh/knowledge/share", entry);
    assert_eq!((unnamed.status, &unnamed.json()["pointer"]), (422, &json!("/source_node")), "{unnamed:?}");
    let told = post("/mesh/basins/broadcast", json!([])).refused(401, "bad_signature");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("API key")), "{told}");

    // A key that nobody issued, and a token that is still good.
    let wrong = format!("cmt_{}", "0".repeat(64));
    for key in [wrong.as_str(), token.as_str()] {
        for path in ["/mesh/sync", "/mesh/knowledge/replicate", "/mesh/compute/available", "/mesh/compute/tasks"] {
            said(&registry, &[path], Some(key), None).refused(401, "bad_signature");
        }
        for path in ["/mesh/knowledge/share", "/mesh/knowledge/request", "/mesh/compute/tasks", "/mesh/compute/claim"] {
            said(&registry, &[path], Some(key), Some(&json!({}))).refused(401, "bad_signature");
        }
    }
    let (url, header) = (format!("{}/mesh/compute/claim", registry.url()), format!("Authorization: Bearer {key}"));
    let waiting = std::thread::spawn(move || {
        let wanted = json!({ "capabilities": ["late/run"], "wait_ms": 20_000 }).to_string();
        curl(&["-H", "Content-Type: application/json", "-H", &header, &url], Some(&wanted))
    });
    until("the kernel waits for work", PATIENCE, || {
        let workers = registry.json(&["task", "workers"]);
        (workers["nodes"][0]["capabilities"] == json!(["late/run"])).then_some(())
    });
    registry.says(&["mesh", "revoke", "k1"]);
    assert_eq!(get("/mesh/compute/available").status, 401, "it is revoked");
    let late = registry.json(&["task", "submit", "late/run"]);
    waiting.join().expect("it does not panic").refused(401, "bad_signature");
    // What it would have been given is others', and was no attempt.
    until("the task waits again", PATIENCE, || {
        let task = registry.json(&["task", "show", &text(&late["id"])]);
        (task["state"] == "queued" && task["attempts"] == 0).then_some(())
    });
}

#[test]
fn the_registry_shows_how_many_tasks_wait_in_a_node() {
    let registry = coordinator();
    let (token, _) = token(&registry, 2);
    let ann = known_member("ann", &registry, &token);
    for _ in 0..2 {
        ann.json(&["task", "submit", "nobody/does"]);
    }
    // What is queued between two heartbeats is told by the next; at a start all is.
    let _ann = ann.killed_and_started_again();
    until("the registry is told what waits", PATIENCE, || {
        let all = registry.json(&["mesh", "nodes"]);
        let mut nodes = all["nodes"].as_array().into_iter().flatten();
        nodes.any(|node| node["queued"] == 2 && node["running"] == 0).then_some(())
    });
}
