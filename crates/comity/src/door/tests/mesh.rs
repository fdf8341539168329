//! Who reaches what of the mesh at the network door, and what is wrong with a question.

use super::*;
use axum::http::Request;
use comity_core::basin::Record;
use comity_core::redact::{self, Redactor};
use comity_core::wire::control::NewDocument;
use comity_core::wire::mesh::sync::{Cursor, Source, read_page};

const NEAR: [u8; 4] = [192, 168, 1, 5];

/// A node that knows the key of seed 2, with some documents.
async fn home() -> Home {
    let home = Home::with(|config| config.limits.requests_per_minute = 10_000).await;
    assert!(matches!(home.handle.ask(Ask::Know { key: node_id(2), known: true }).await, Answer::Done));
    home.handle.look().await;
    let redactor = Redactor::new(&redact::Config::new([0; 32])).expect("the built-in rules are good");
    home.handle.redaction().set(Some(redactor));
    let document = |number: usize| NewDocument {
        url: Some(format!("https://example.org/{number}")),
        title: Some(format!("Number {number}")),
        text: Some(format!("word{number} and a token ghp_{}", "a1B2c3D4e5".repeat(4))),
        ..NewDocument::default()
    };
    let indexed = home.mesh.add((0..25).map(document).collect()).await.expect("indexed");
    assert_eq!((indexed.added, indexed.refused.len()), (25, 0));
    home
}

async fn query(home: &Home, body: &Value) -> Reply {
    home.ask(keyed(NEAR, 2), Request::post("/mesh/query"), body.to_string()).await
}

async fn page(home: &Home, query: &str) -> (Vec<Record>, String) {
    let got = home.ask(keyed(NEAR, 2), Request::get(format!("/mesh/sync{query}")), Body::empty()).await;
    assert_eq!(got.status, 200, "{got:?}");
    let source = Source { sender: None, named: &|_| None, now: home.handle.now().wall };
    let page = read_page(got.text.as_bytes(), source).expect("a page");
    assert_eq!(page.updates.bad_count, 0, "{:?}", page.updates.bad);
    (page.updates.records, page.next_cursor.expect("a cursor"))
}

#[tokio::test]
async fn the_mesh_is_for_known_nodes_that_prove_their_key() {
    let home = home().await;
    let body = json!({ "query": "word7" }).to_string();
    for (caller, refused) in [(neighbour(), (401, "bad_signature")), (keyed(NEAR, 3), (403, "forbidden"))] {
        for request in [Request::post("/mesh/query"), Request::get("/mesh/sync")] {
            let reply = home.ask(caller, request, body.clone()).await;
            assert_eq!(reply.problem(), (refused.0, refused.1.to_owned()));
            assert!(!reply.text.contains("word"), "{reply:?}");
        }
    }
    assert_eq!(query(&home, &json!({ "query": "word7" })).await.status, 200);
}

#[tokio::test]
async fn a_question_is_answered_with_the_nearest_documents_and_without_secrets() {
    let home = home().await;
    let answer = query(&home, &json!({ "query": "word7", "limit": 3 })).await.json();
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), 3);
    assert_eq!(results[0]["url"], "https://example.org/7");
    assert_eq!(results[0]["title"], "Number 7");
    assert_eq!(results[0]["source_node"], home.handle.me().node().to_string());
    assert!(results[0]["snippet"].as_str().expect("a snippet").contains("word7"), "{answer}");
    assert!(!answer.to_string().contains("ghp_"), "{answer}");
    assert!(results[0]["mesh_score"].as_f64() > results[1]["mesh_score"].as_f64());
    let counted = (&answer["nodes_queried"], &answer["nodes_failed"], &answer["metric"]);
    assert_eq!(counted, (&json!(1), &json!([]), &json!("fisher-rao")));

    let me = home.handle.me().node().to_string();
    let answer = query(&home, &json!({ "query": "word7", "include_nodes": [me, "nobody"] })).await.json();
    assert_eq!((&answer["nodes_queried"], &answer["nodes_failed"][0]["node"]), (&json!(2), &json!("nobody")));
    let answer = query(&home, &json!({ "query": "word7", "include_nodes": ["nobody"] })).await.json();
    assert_eq!(answer["results"], json!([]), "who is not asked does not answer");
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_named() {
    let home = home().await;
    let long = "word ".repeat(20_000);
    for (body, status, pointer) in [
        (json!({}), 422, "/query"),
        (json!({ "query": "a", "basin": [1.0] }), 422, "/basin"),
        (json!({ "query": " " }), 422, "/query"),
        (json!({ "query": long }), 422, "/query"),
        (json!({ "query": "!!!" }), 422, "/query"),
        (json!({ "basin": [1.0, 2.0] }), 422, "/basin"),
        (json!({ "basin": vec![0.0; 256] }), 422, "/basin"),
        (json!({ "query": "a", "limit": 1_000_000_000 }), 422, "/limit"),
        (json!({ "query": "a", "limit": 0 }), 422, "/limit"),
        (json!({ "query": "a", "timeout_ms": -1 }), 422, "/timeout_ms"),
        (json!({ "query": "a", "filter": { "a b": 1 } }), 422, "/filter"),
        (json!({ "query": "a", "filter": [] }), 422, "/filter"),
        (json!({ "query": "a", "include_nodes": "b" }), 422, "/include_nodes"),
    ] {
        let reply = query(&home, &body).await;
        assert_eq!((reply.problem().0, reply.json()["pointer"].clone()), (status, json!(pointer)), "{body}");
    }
    for body in ["", "[]", "{\"query\":\"a\",\"query\":\"b\"}", "{\"basin\":[1e999]}", "{\"basin\":[NaN]}"] {
        let reply = home.ask(keyed(NEAR, 2), Request::post("/mesh/query"), body.to_owned()).await;
        assert!(matches!(reply.problem().0, 400 | 422), "{body}: {reply:?}");
    }
    let large = home.ask(keyed(NEAR, 2), Request::post("/mesh/query"), "x".repeat(300 * 1024)).await;
    assert_eq!(large.problem(), (413, "too_large".to_owned()));
}

#[tokio::test]
async fn a_walk_by_cursor_gives_every_signed_document_once_and_then_only_what_changes() {
    let home = home().await;
    let (mut cursor, mut names) = (String::new(), Vec::new());
    loop {
        let (records, next) = page(&home, &format!("?since={cursor}&limit=4")).await;
        let is_end = records.is_empty();
        for record in records {
            record.check(&Settings::default(), &home.handle.me().node()).expect("signed by this node");
            names.push(record.doc_id.to_string());
        }
        assert!(!is_end || next == cursor, "the end stays where it is");
        cursor = next;
        if is_end {
            break;
        }
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 25);
    let gone = names[3].parse().expect("a name");
    assert_eq!(home.mesh.remove(vec![gone]).await.expect("removed"), 1);
    let (records, _) = page(&home, &format!("?since={cursor}")).await;
    assert_eq!(records.len(), 1);
    assert!(records[0].deleted && records[0].doc_id.as_str() == names[3]);
    assert_eq!(page(&home, "?since=2000-01-01T00:00:00Z").await.0.len(), 25);
}

#[tokio::test]
async fn a_cursor_of_another_log_says_to_start_over_and_one_that_is_none_is_refused() {
    let home = home().await;
    let get = async |query: &str| {
        home.ask(keyed(NEAR, 2), Request::get(format!("/mesh/sync?{query}")), Body::empty()).await.problem()
    };
    let (_, cursor) = page(&home, "").await;
    let foreign = Cursor { log: 1, after: 3 };
    assert_eq!(get(&format!("since={foreign}")).await, (410, "expired".to_owned()));
    let own: Cursor = cursor.parse().expect("a cursor");
    let beyond = Cursor { after: own.after + 1, ..own };
    assert_eq!(get(&format!("since={beyond}")).await, (410, "expired".to_owned()));
    for wrong in ["since=x", "since=AAAA", "limit=0", "limit=x", "limit=10001", "more=1"] {
        assert_eq!(get(wrong).await, (400, "bad_request".to_owned()), "{wrong}");
    }
}
