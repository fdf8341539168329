//! Who reaches what of the queue of tasks at the network door.

use super::*;
use axum::http::Request;

const NEAR: [u8; 4] = [192, 168, 1, 5];

/// A node that knows the keys of seeds 2 and 3.
async fn home() -> Home {
    let home = Home::with(|config| config.limits.requests_per_minute = 60).await;
    for seed in [2, 3] {
        assert!(matches!(home.handle.ask(Ask::Know { key: node_id(seed), known: true }).await, Answer::Done));
    }
    home.handle.look().await;
    home
}

async fn post(home: &Home, seed: u8, path: &str, body: Value) -> Reply {
    home.ask(keyed(NEAR, seed), Request::post(format!("/mesh/compute/{path}")), body.to_string()).await
}

/// A worker that fetches over TLS, without a key of its own.
fn tls() -> Caller {
    Caller { tls: true, ..neighbour() }
}

/// Registers a node of this name: its API key.
async fn enrolled(home: &Home, name: &str) -> String {
    let made = home.registry.invite(1, Duration::from_secs(60), home.handle.now()).await;
    let reply = register(home, made.expect("a token").0.expose(), name).await.json();
    reply["api_key"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

async fn register(home: &Home, token: &str, name: &str) -> Reply {
    let body = json!({
        "node_id": name, "service_name": "kernel", "endpoint": "https://192.0.2.7:8400", "capabilities": ["sum"],
        "basin_signature": vec![0.5; 256],
    });
    by_key(home, token, Request::post("/mesh/register"), body).await
}

async fn by_key(home: &Home, key: &str, request: axum::http::request::Builder, body: Value) -> Reply {
    home.ask(tls(), request.header("authorization", format!("Bearer {key}")), body.to_string()).await
}

async fn get(home: &Home, seed: u8, path: &str) -> Reply {
    home.ask(keyed(NEAR, seed), Request::get(format!("/mesh/compute/{path}")), Body::empty()).await
}

fn sum(payload: Value) -> Value {
    json!({ "kind": "tool", "capability": "sum", "payload": payload })
}

async fn submitted(home: &Home, seed: u8) -> String {
    let reply = post(home, seed, "tasks", sum(json!({ "of": [1, 2] }))).await.json();
    reply["tasks"][0]["id"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

/// What a worker takes, as (id, token).
async fn taken(home: &Home, seed: u8) -> Vec<(Value, Value)> {
    let reply = post(home, seed, "claim", json!({ "capabilities": ["sum"], "wanted": 9 })).await.json();
    let tasks = reply["tasks"].as_array().unwrap_or_else(|| panic!("{reply}"));
    tasks.iter().map(|task| (task["id"].clone(), task["token"].clone())).collect()
}

#[tokio::test]
async fn work_is_for_known_nodes_that_prove_their_key() {
    let home = home().await;
    let paths = NETWORK.iter().filter(|(_, path)| path.starts_with("/mesh/compute/"));
    for (method, path) in paths {
        for (caller, refused) in [(neighbour(), (401, "bad_signature")), (keyed(NEAR, 9), (403, "forbidden"))] {
            let request = Request::builder().method(*method).uri(*path);
            let reply = home.ask(caller, request, sum(json!(null)).to_string()).await;
            assert_eq!(reply.problem(), (refused.0, refused.1.to_owned()), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_task_goes_from_its_submitter_to_a_worker_and_back() {
    let home = home().await;
    let id = submitted(&home, 2).await;
    let leases = taken(&home, 3).await;
    assert_eq!(leases.len(), 1);
    let (task, token) = leases[0].clone();
    let said = json!({ "token": token, "fraction": 0.5, "line": "half" });
    let told = post(&home, 3, &format!("{id}/progress"), said).await.json();
    assert_eq!((&told["ok"], &told["id"]), (&json!(true), &json!(id)));
    let renewed = post(&home, 3, "renew", json!({ "leases": [{ "id": task, "token": token }] })).await.json();
    assert_eq!(renewed["answers"][0]["ok"], true, "{renewed}");
    assert_eq!(get(&home, 2, &format!("tasks/{id}")).await.json()["progress"], 0.5);
    let done = json!({ "done": [{ "id": task, "token": token, "result": { "sum": 3 } }] });
    assert_eq!(post(&home, 2, "complete", done.clone()).await.json()["answers"][0]["code"], "not_your_lease");
    assert_eq!(post(&home, 3, "complete", done).await.json()["answers"][0]["state"], "succeeded");
    let kept = get(&home, 2, &format!("tasks/{id}")).await.json();
    assert_eq!((&kept["result"], &kept["state"]), (&json!({ "sum": 3 }), &json!("succeeded")));
    assert_eq!(kept["submitted_by"], node_id(2).to_string());
    let nodes = get(&home, 2, "available").await.json();
    assert_eq!(nodes["nodes"][0]["node_id"], node_id(3).to_string());
}

#[tokio::test]
async fn a_peer_sees_and_takes_back_only_what_it_has_submitted() {
    let home = home().await;
    let id = submitted(&home, 2).await;
    assert_eq!(get(&home, 3, &format!("tasks/{id}")).await.problem().0, 404);
    assert_eq!(post(&home, 3, &format!("tasks/{id}/cancel"), json!({})).await.problem().0, 404);
    assert_eq!(get(&home, 3, "tasks").await.json()["tasks"], json!([]));
    let listed = get(&home, 2, "tasks?state=queued").await.json();
    assert_eq!((&listed["tasks"][0]["id"], &listed["next"]), (&json!(id), &Value::Null));
    assert_eq!(post(&home, 2, &format!("tasks/{id}/cancel"), json!({})).await.json()["state"], "cancelled");
    assert_eq!(post(&home, 2, &format!("tasks/{id}/cancel"), json!({})).await.json()["state"], "cancelled");
    assert!(taken(&home, 3).await.is_empty());
}

#[tokio::test]
async fn what_is_sent_twice_under_one_key_is_one_task_and_another_one_is_refused() {
    let home = home().await;
    let send = async |body: Value| {
        let request = Request::post("/mesh/compute/tasks").header("idempotency-key", "once");
        home.ask(keyed(NEAR, 2), request, body.to_string()).await
    };
    let first = send(sum(json!(1))).await.json();
    let again = send(sum(json!(1))).await.json();
    assert_eq!((&again["tasks"][0]["id"], &again["tasks"][0]["new"]), (&first["tasks"][0]["id"], &json!(false)));
    assert_eq!(send(sum(json!(2))).await.problem(), (409, "conflict".to_owned()));
    let both = send(json!([sum(json!(1)), sum(json!(2))])).await.json();
    assert_eq!(both["tasks"].as_array().map(Vec::len), Some(2), "{both}");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_named() {
    let home = home().await;
    for (path, body, status) in [
        ("tasks", json!(7), 400),
        ("tasks", json!([]), 422),
        ("tasks", json!({ "kind": "tool", "capability": "" }), 422),
        ("tasks", json!({ "kind": "tool", "capability": "x", "max_attempts": 0 }), 422),
        ("claim", json!({ "capabilities": [], "wanted": 0 }), 422),
        ("claim", json!({ "capabilities": "x" }), 400),
        ("complete", json!({ "done": [] }), 422),
        ("fail", json!({}), 400),
        ("nonsense/progress", json!({ "token": 1 }), 400),
    ] {
        assert_eq!(post(&home, 2, path, body.clone()).await.problem().0, status, "{path} {body}");
    }
    let large = home.ask(keyed(NEAR, 2), Request::post("/mesh/compute/claim"), "x".repeat(9 << 20)).await;
    assert_eq!(large.problem(), (413, "too_large".to_owned()));
}

#[tokio::test]
async fn workers_may_report_more_often_than_others_ask() {
    let home = home().await;
    let lease = json!({ "leases": [{ "id": Uuid::nil(), "token": 1 }] });
    for _ in 0..100 {
        assert_eq!(post(&home, 3, "renew", lease.clone()).await.status, 200);
    }
    let looks = async || get(&home, 3, "available").await.status;
    let mut refused = 0;
    for _ in 0..100 {
        refused += usize::from(looks().await == 429);
    }
    assert!((39..=40).contains(&refused), "{refused}");
}

#[tokio::test]
async fn a_node_with_an_api_key_works_by_its_registered_name_and_no_name_is_the_key_of_another() {
    let home = home().await;
    let (ann, bob) = (enrolled(&home, "ann").await, enrolled(&home, "bob").await);
    let sent = by_key(&home, &ann, Request::post("/mesh/compute/tasks"), sum(json!(1))).await.json();
    let id = sent["tasks"][0]["id"].as_str().unwrap_or_else(|| panic!("{sent}")).to_owned();
    let task = format!("/mesh/compute/tasks/{id}");
    assert_eq!(by_key(&home, &ann, Request::get(&task), json!({})).await.json()["submitted_by"], "ann");
    assert_eq!(by_key(&home, &bob, Request::get(&task), json!({})).await.problem().0, 404, "it is ann's");
    assert_eq!(get(&home, 2, &format!("tasks/{id}")).await.problem().0, 404);

    let claim = json!({ "capabilities": ["sum"] });
    let given = by_key(&home, &bob, Request::post("/mesh/compute/claim"), claim).await.json();
    let token = &given["tasks"][0]["token"];
    let done = json!({ "done": [{ "id": id, "token": token, "result": 7 }] });
    let other = by_key(&home, &ann, Request::post("/mesh/compute/complete"), done.clone()).await.json();
    assert_eq!(other["answers"][0]["code"], "not_your_lease", "{other}");
    let own = by_key(&home, &bob, Request::post("/mesh/compute/complete"), done).await.json();
    assert_eq!(own["answers"][0]["state"], "succeeded", "{own}");
    assert_eq!(get(&home, 2, "available").await.json()["nodes"][0]["node_id"], "bob");

    let made = home.registry.invite(1, Duration::from_secs(60), home.handle.now()).await.expect("a token").0;
    let posing = register(&home, made.expose(), &node_id(2).to_string()).await;
    assert_eq!(posing.problem(), (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn a_token_or_a_key_in_plain_does_no_work() {
    let home = home().await;
    let key = enrolled(&home, "ann").await;
    let token = home.registry.invite(1, Duration::from_secs(60), home.handle.now()).await.expect("a token").0;
    for (method, path) in NETWORK.iter().filter(|(_, path)| path.starts_with("/mesh/compute/")) {
        let request = || Request::builder().method(*method).uri(*path);
        let refused = by_key(&home, token.expose(), request(), sum(json!(null))).await;
        assert_eq!(refused.problem(), (401, "bad_signature".to_owned()), "{method} {path}");
        let plain = request().header("authorization", format!("Bearer {key}"));
        let plain = home.ask(neighbour(), plain, sum(json!(null)).to_string()).await;
        assert_eq!(plain.problem(), (403, "forbidden".to_owned()), "{method} {path}");
    }
}

#[tokio::test]
async fn a_worker_with_an_api_key_has_the_pace_of_workers() {
    let home = home().await;
    let key = enrolled(&home, "ann").await;
    let lease = json!({ "leases": [{ "id": Uuid::nil(), "token": 1 }] });
    for _ in 0..200 {
        let renewed = by_key(&home, &key, Request::post("/mesh/compute/renew"), lease.clone()).await;
        assert_eq!(renewed.status, 200, "{renewed:?}");
    }
    let mut refused = 0;
    for _ in 0..130 {
        refused +=
            usize::from(by_key(&home, &key, Request::get("/mesh/compute/available"), json!({})).await.status == 429);
    }
    assert_eq!(refused, 10, "others may ask 120 times a minute");
}
