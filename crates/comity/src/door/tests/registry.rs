//! Who reaches what of the registry at the network door, and what is wrong with what they say.

use super::*;
use comity_core::registry::key::Secret;

const NEAR: [u8; 4] = [192, 168, 1, 5];

fn tls() -> Caller {
    Caller { tls: true, ..neighbour() }
}

fn kernel(name: &str) -> Value {
    json!({
        "node_id": name, "service_name": "kernel", "endpoint": "https://192.0.2.7:8400", "capabilities": ["search"],
        "basin_signature": vec![0.5; 256],
    })
}

async fn token(home: &Home) -> Secret {
    let made = home.registry.invite(100, Duration::from_secs(60), home.handle.now()).await;
    made.expect("a token").0
}

fn with_key(request: axum::http::request::Builder, key: &str) -> axum::http::request::Builder {
    request.header("authorization", format!("Bearer {key}"))
}

async fn register(home: &Home, caller: Caller, key: &str, body: impl Into<Body>) -> Reply {
    home.ask(caller, with_key(Request::post("/mesh/register"), key), body).await
}

#[tokio::test]
async fn a_node_enrols_says_that_it_is_there_and_takes_itself_out() {
    let home = Home::open().await;
    let token = token(&home).await;
    let registered = register(&home, tls(), token.expose(), kernel("a").to_string()).await.json();
    let key = registered["api_key"].as_str().expect("a key").to_owned();
    assert_eq!((&registered["node_id"], &registered["heartbeat_interval_seconds"]), (&json!("a"), &json!(30)));
    let beat = json!({ "node_id": "a", "load": { "running": 1, "queued": 0, "cpu": 0.5, "memory": 0.5 } });
    let beaten = home.ask(tls(), with_key(Request::post("/mesh/heartbeat"), &key), beat.to_string()).await;
    assert_eq!((beaten.status, &beaten.json()["ok"]), (200, &json!(true)));
    let nodes = home.ask(tls(), with_key(Request::get("/mesh/nodes"), &key), Body::empty()).await.json();
    assert_eq!(nodes["nodes"][0]["endpoint"], "https://192.0.2.7:8400");
    let again = register(&home, tls(), &key, kernel("a").to_string()).await.json();
    assert!(again.get("api_key").is_none(), "it is shown once");
    let out = home.ask(tls(), with_key(Request::delete("/mesh/nodes/a"), &key), Body::empty()).await;
    assert_eq!(out.status, 200);
    let gone = home.ask(tls(), with_key(Request::get("/mesh/nodes/a"), &key), Body::empty()).await;
    assert_eq!(gone.problem(), (404, "unknown_peer".to_owned()));
}

#[tokio::test]
async fn who_proves_nothing_gets_nothing_and_a_key_in_plain_is_refused() {
    let home = Home::open().await;
    let token = token(&home).await;
    let plain = register(&home, neighbour(), token.expose(), kernel("a").to_string()).await;
    assert_eq!(plain.problem(), (403, "forbidden".to_owned()));
    assert!(plain.json()["detail"].as_str().expect("a detail").contains("plain"), "{plain:?}");
    let bad = register(&home, tls(), &format!("cmt_{}", "0".repeat(64)), kernel("a").to_string()).await;
    assert_eq!(bad.problem(), (401, "bad_signature".to_owned()));
    for (caller, status) in [(neighbour(), 401), (keyed(NEAR, 3), 403)] {
        assert_eq!(home.ask(caller, Request::get("/mesh/nodes"), Body::empty()).await.problem().0, status);
    }
    assert!(matches!(home.handle.ask(Ask::Know { key: node_id(2), known: true }).await, Answer::Done));
    home.handle.look().await;
    let known = home.ask(keyed(NEAR, 2), Request::post("/mesh/register"), kernel("b").to_string()).await;
    assert_eq!(known.status, 200, "{known:?}");
    let used = register(&home, tls(), token.expose(), kernel("b").to_string()).await;
    assert_eq!((used.problem().0, &used.json()["pointer"]), (409, &json!("/node_id")));
}

#[tokio::test]
async fn what_is_wrong_with_a_registration_is_named() {
    let home = Home::open().await;
    let token = token(&home).await;
    let changed = |field: &str, value: Value| with(kernel("a"), field, value).to_string();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (body, status, pointer) in [
        (String::new(), 400, None),
        ("{".to_owned(), 400, None),
        (deep, 400, None),
        ("[]".to_owned(), 422, None),
        (changed("node_id", json!("")), 422, Some("/node_id")),
        (changed("node_id", json!("a\u{0}b")), 422, Some("/node_id")),
        (changed("endpoint", json!("ftp://x")), 422, Some("/endpoint")),
        (changed("endpoint", json!("https://user:pass@host")), 422, Some("/endpoint")),
        (changed("capabilities", json!(vec!["a"; 65])), 422, Some("/capabilities")),
        (changed("basin_signature", json!(["1"])), 422, Some("/basin_signature")),
        (changed("basin_signature", json!(vec![0.0; 256])), 422, Some("/basin_signature")),
        (changed("basin_signature", json!(vec![1.0; 5])), 409, Some("/dim")),
        (changed("dim", json!(512)), 409, Some("/dim")),
        (changed("metric", json!("euclid")), 409, Some("/metric")),
        (changed("projection", json!("simplex")), 409, Some("/projection")),
        (changed("encoder", json!("bert")), 409, Some("/encoder")),
    ] {
        let shown: String = body.chars().take(60).collect();
        let reply = register(&home, tls(), token.expose(), body).await;
        assert_eq!(reply.problem().0, status, "{shown}: {reply:?}");
        assert!(reply.text.len() < 2000, "{shown}");
        if let Some(pointer) = pointer {
            assert_eq!(reply.json()["pointer"], pointer, "{shown}: {reply:?}");
        }
    }
    assert!(home.registry.members(home.handle.now()).is_empty());
}

#[tokio::test]
async fn a_node_may_ask_120_times_a_minute_from_wherever_it_is() {
    let home = Home::open().await;
    let token = token(&home).await;
    let registered = register(&home, tls(), token.expose(), kernel("a").to_string()).await.json();
    let key = registered["api_key"].as_str().expect("a key");
    for number in 0..120_u8 {
        let from = Caller { address: SocketAddr::from(([10, 0, 0, number], 40_000)), key: None, tls: true };
        assert_eq!(home.ask(from, with_key(Request::get("/mesh/nodes"), key), Body::empty()).await.status, 200);
    }
    let refused = home.ask(tls(), with_key(Request::get("/mesh/nodes"), key), Body::empty()).await;
    assert_eq!(refused.problem(), (429, "rate_limited".to_owned()));
}
