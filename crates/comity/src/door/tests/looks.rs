//! What a node shows of itself, and that every other path and method is refused properly.

use super::*;

#[tokio::test]
async fn a_status_is_what_the_protocol_says() {
    let home = Home::open().await;
    home.handle.ask(Ask::SetStatus(Some(json!({ "working_on": "tests", "progress": 0.25 })))).await;
    let reply = home.get("/dashflow/status").await;
    let status = reply.json();
    let names: Vec<_> = status.as_object().expect("an object").keys().map(String::as_str).collect();
    let wanted = [
        "id",
        "name",
        "version",
        "capabilities",
        "endpoint",
        "status",
        "peer_count",
        "queue_length",
        "uptime_seconds",
        "attention_mode",
        "card",
    ];
    assert_eq!((reply.status, names.as_slice()), (200, wanted.as_slice()));
    assert_eq!(status["id"], home.handle.me().peer().to_string());
    assert_eq!(status["status"]["working_on"], "tests");
    assert!(status["status"]["updated_at"].is_string());
    assert_eq!((&status["attention_mode"], &status["endpoint"]), (&json!("focused"), &json!("http://127.0.0.1:8400")));
    comity_core::wire::card::verify(&status["card"], home.handle.now().wall).expect("the card is signed");
    assert_eq!(reply.headers["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn peers_and_introspection_have_the_shapes_of_the_protocol() {
    let home = Home::open().await;
    assert_eq!(home.post(suggestion(Uuid::from_u128(7)).to_string()).await.status, 202);
    let peers = home.get("/dashflow/peers").await.json();
    assert_eq!(peers["total"], peers["peers"].as_array().expect("a list").len());
    assert!(peers["online"].is_number());
    let seen = home.get("/dashflow/introspect").await.json();
    assert_eq!(seen["queue_stats"]["length"], 1);
    assert_eq!(seen["queue_stats"]["by_priority"], json!({ "Critical": 0, "Normal": 1, "Background": 0 }));
    assert_eq!(seen["identity"]["key"], home.handle.me().node().to_string());
    assert!(seen.get("channels").is_none() && seen.get("links").is_none());
}

#[tokio::test]
async fn known_peers_are_shown_what_is_inside() {
    let home = Home::open().await;
    let ask = || home.ask(keyed([192, 168, 1, 5], 9), Request::get("/dashflow/introspect"), Body::empty());
    assert!(ask().await.json().get("channels").is_none());
    home.handle.ask(Ask::Know { key: node_id(9), known: true }).await;
    let seen = ask().await.json();
    assert_eq!(seen["channels"][0]["channel"], "_bugs");
    assert_eq!(seen["limits"]["body_bytes"], 1 << 20);
    assert_eq!(seen["transports"][0], json!({ "name": "mesh", "links": 0 }));
    assert_eq!(seen["links"], json!([]));
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems() {
    let home = Home::open().await;
    for path in ["/", "/dashflow", "/dashflow/status/", "/metrics", "/health", "/control/node", "/mcp", "/%00"] {
        assert_eq!(home.get(path).await.problem(), (404, "bad_request".to_owned()), "{path}");
    }
    for (method, path) in NETWORK {
        let reply = home.ask(neighbour(), Request::put(path), Body::empty()).await;
        assert_eq!(reply.problem().0, 405, "{path}");
        let allow = reply.headers["allow"].to_str().expect("text");
        assert!(allow.split(',').any(|allowed| allowed == method), "{path}: {allow}");
    }
}

#[tokio::test]
async fn every_listed_path_is_there() {
    let home = Home::open().await;
    for (method, path) in NETWORK {
        let reply = home.ask(neighbour(), Request::builder().method(method).uri(path), Body::empty()).await;
        assert!(!matches!(reply.status, 404 | 405), "{method} {path}: {reply:?}");
    }
    let document = home.get("/openapi.json").await;
    assert_eq!(
        (document.status, &document.headers["content-type"]),
        (200, &"application/json".parse().expect("a value"))
    );
    assert_eq!(document.text, openapi::written());
}

#[tokio::test]
async fn a_web_page_of_another_origin_gets_nothing_at_any_path() {
    let home = Home::open().await;
    for (method, path) in NETWORK {
        let request = || Request::builder().method(method).uri(path);
        let reply = home.ask(neighbour(), request().header("origin", "https://evil.example"), Body::empty()).await;
        assert_eq!(reply.problem(), (403, "forbidden".to_owned()), "{path}");
        assert_eq!(reply.headers["cross-origin-resource-policy"], "same-origin");
        let reply = home.ask(neighbour(), request().header("host", "evil.example"), Body::empty()).await;
        assert_eq!(reply.problem(), (421, "wrong_destination".to_owned()), "{path}");
    }
    let form = Request::post("/dashflow/message").header("content-type", "text/plain");
    assert_eq!(home.ask(neighbour(), form, suggestion(Uuid::nil()).to_string()).await.problem().0, 415);
}
