//! Who reaches what of knowledge at the network door, and what is taken: entries that somebody has signed, and no others.

use super::*;
use axum::http::Request;
use comity_core::knowledge::Knowledge;
use comity_core::registry::profile::NodeName;
use comity_core::wire::control::{AskKnowledge, NewFact};
use comity_core::wire::mesh::knowledge::{Signed, read_found, read_pulled};

const NEAR: [u8; 4] = [192, 168, 1, 5];

/// A node that knows the key of seed 2.
async fn home() -> Home {
    let home = Home::with(|config| config.limits.requests_per_minute = 10_000).await;
    assert!(matches!(home.handle.ask(Ask::Know { key: node_id(2), known: true }).await, Answer::Done));
    home.handle.look().await;
    home
}

/// An entry signed by the node of this seed.
fn signed(seed: u8, id: &str) -> Signed {
    let key = KeyPair::from_seed([seed; 32]);
    let entry = Knowledge {
        id: id.to_owned(),
        topic: "weather".to_owned(),
        topic_basin: None,
        content: format!("{id} says rain"),
        source: None,
        confidence: 0.75,
        created: comity_core::time::Timestamp::from_millis(1_000).into(),
    };
    let node = key.node().to_string();
    Signed { signature: entry.sign(&node, &key), entry, source_node: NodeName::new(&node).ok() }
}

async fn share(home: &Home, body: impl Into<Body>) -> Reply {
    home.ask(keyed(NEAR, 2), Request::post("/mesh/knowledge/share"), body).await
}

async fn known(home: &Home) -> Vec<Signed> {
    let body = json!({ "topic": "weather", "limit": 1000 }).to_string();
    let got = home.ask(keyed(NEAR, 2), Request::post("/mesh/knowledge/request"), body).await;
    assert_eq!(got.status, 200, "{got:?}");
    read_found(got.text.as_bytes()).expect("an answer").items
}

#[tokio::test]
async fn knowledge_is_for_known_nodes_that_prove_their_key() {
    let home = home().await;
    let entry = String::from_utf8(signed(2, "k").write()).expect("text");
    for (caller, refused) in [(neighbour(), (401, "bad_signature")), (keyed(NEAR, 3), (403, "forbidden"))] {
        let (share, request) = (Request::post("/mesh/knowledge/share"), Request::post("/mesh/knowledge/request"));
        for (request, body) in [
            (share, entry.clone()),
            (request, json!({ "topic": "weather" }).to_string()),
            (Request::get("/mesh/knowledge/replicate"), String::new()),
        ] {
            let reply = home.ask(caller, request, body).await;
            assert_eq!(reply.problem(), (refused.0, refused.1.to_owned()));
        }
    }
    assert!(known(&home).await.is_empty(), "nothing of a stranger is kept");
}

#[tokio::test]
async fn an_entry_counts_by_its_signature_whoever_hands_it_over() {
    let home = home().await;
    assert_eq!(share(&home, signed(2, "own").write()).await.json(), json!({ "ok": true }));
    assert_eq!(share(&home, signed(7, "passed on").write()).await.status, 200);
    let unnamed = Signed { source_node: None, ..signed(2, "unnamed") };
    assert_eq!(share(&home, unnamed.write()).await.status, 200, "who hands it over has signed it");
    let mut all = known(&home).await;
    all.sort_by(|one, other| one.entry.id.cmp(&other.entry.id));
    assert_eq!(all, [signed(2, "own"), signed(7, "passed on"), signed(2, "unnamed")]);

    let mut changed = signed(7, "changed");
    changed.entry.content.push('!');
    let mut renamed = signed(2, "renamed");
    renamed.source_node = signed(7, "").source_node;
    let foreign = Signed { source_node: None, ..signed(7, "foreign") };
    let mut nobody = signed(2, "nobody");
    nobody.source_node = NodeName::new("bob").ok();
    for (entry, pointer) in [(changed, "/sig"), (renamed, "/sig"), (foreign, "/sig"), (nobody, "/source_node")] {
        let reply = share(&home, entry.write()).await;
        assert_eq!((reply.problem().0, reply.json()["pointer"].clone()), (422, json!(pointer)), "{entry:?}");
    }
    assert_eq!(known(&home).await.len(), 3);
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_named() {
    let home = home().await;
    let whole = signed(2, "k").to_value();
    for (field, value, status) in [
        ("confidence", json!(1.5), 422),
        ("confidence", json!("NaN"), 422),
        ("id", json!(""), 422),
        ("id", json!("x".repeat(129)), 422),
        ("content", json!("x".repeat(64 * 1024 + 1)), 422),
        ("topic_basin", json!([]), 422),
        ("created", json!("today"), 422),
        ("sig", json!("AAAA"), 422),
    ] {
        let mut body = whole.clone();
        body[field] = value;
        assert_eq!(share(&home, body.to_string()).await.problem().0, status, "{field}");
    }
    let text = whole.to_string();
    let bare = text.replace("0.75", "NaN");
    assert_ne!(bare, text);
    let twice = text.replacen('{', "{\"id\":\"k\",", 1);
    for body in [bare, twice, text.replace("0.75", "1e999"), String::new(), "[]".to_owned(), "{".repeat(100_000)] {
        let status = share(&home, body).await.problem().0;
        assert!(matches!(status, 400 | 422), "{status}");
    }
    assert_eq!(share(&home, "x".repeat(2 * 1024 * 1024)).await.problem(), (413, "too_large".to_owned()));
    for (body, pointer) in [
        (json!({}), "/topic"),
        (json!({ "topic": "a", "topic_basin": [1.0] }), "/topic"),
        (json!({ "topic": "a", "limit": 0 }), "/limit"),
        (json!({ "topic": "a", "min_confidence": 2 }), "/min_confidence"),
        (json!({ "topic_basin": [0.0] }), "/topic_basin"),
    ] {
        let reply = home.ask(keyed(NEAR, 2), Request::post("/mesh/knowledge/request"), body.to_string()).await;
        assert_eq!((reply.problem().0, reply.json()["pointer"].clone()), (422, json!(pointer)), "{body}");
    }
    assert!(known(&home).await.is_empty());
}

#[tokio::test]
async fn all_that_is_kept_is_read_page_by_page_and_a_cursor_of_another_log_says_to_start_over() {
    let home = home().await;
    for number in 0..7 {
        assert_eq!(share(&home, signed(2 + number % 3, &format!("k{number}")).write()).await.status, 200);
    }
    let get = async |query: &str| {
        home.ask(keyed(NEAR, 2), Request::get(format!("/mesh/knowledge/replicate?{query}")), Body::empty()).await
    };
    let (mut cursor, mut ids) = (String::new(), Vec::new());
    loop {
        let page = read_pulled(get(&format!("cursor={cursor}&batch_size=3")).await.text.as_bytes()).expect("a page");
        cursor = page.next_cursor.expect("a cursor");
        if page.entries.items.is_empty() {
            break;
        }
        ids.extend(page.entries.items.into_iter().map(|signed| signed.entry.id));
    }
    assert_eq!(ids, ["k0", "k1", "k2", "k3", "k4", "k5", "k6"]);
    let foreign = comity_core::wire::mesh::sync::Cursor { log: 1, after: 3 };
    assert_eq!(get(&format!("cursor={foreign}")).await.problem(), (410, "expired".to_owned()));
    for wrong in ["cursor=x", "batch_size=0", "batch_size=1001", "more=1"] {
        assert_eq!(get(wrong).await.problem(), (400, "bad_request".to_owned()), "{wrong}");
    }
}

#[tokio::test]
async fn what_somebody_here_says_is_signed_and_found_and_confidence_is_a_share() {
    let home = home().await;
    let fact = NewFact {
        topic: "weather".to_owned(),
        content: "the station is on the roof".to_owned(),
        confidence: 1.0,
        source: Some("a note".to_owned()),
        ..NewFact::default()
    };
    let said = home.mesh.knowledge().say(fact.clone()).await.expect("said");
    assert_eq!((said.fact.node, said.taken_by.len()), (node_id(1).to_string(), 0));
    let all = known(&home).await;
    all[0].entry.check(&node_id(1).to_string(), &node_id(1), &all[0].signature).expect("signed by this node");
    for confidence in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
        assert!(home.mesh.knowledge().say(NewFact { confidence, ..fact.clone() }).await.is_err(), "{confidence}");
    }
    for (topic, content) in [("", "x"), ("x", " "), (&*"x".repeat(257), "x")] {
        let fact = NewFact { topic: topic.to_owned(), content: content.to_owned(), ..fact.clone() };
        assert!(home.mesh.knowledge().say(fact).await.is_err(), "{topic}");
    }
    let near = AskKnowledge { topic: "station".to_owned(), ..AskKnowledge::default() };
    let found = home.mesh.knowledge().ask(near).await.expect("an answer");
    assert_eq!((found.knowledge.len(), found.knowledge[0].trust.as_str()), (1, "own"), "found by its content");
}

#[tokio::test]
async fn the_coordinator_that_this_node_registers_with_reads_and_hands_nothing_over() {
    let home = Home::with(|config| config.coordinator = Some(node_id(5))).await;
    let entry = String::from_utf8(signed(5, "k").write()).expect("text");
    for (request, body, status) in [
        (Request::get("/mesh/sync"), String::new(), 200),
        (Request::get("/mesh/knowledge/replicate"), String::new(), 200),
        (Request::get("/mesh/compute/available"), String::new(), 200),
        (Request::post("/mesh/knowledge/request"), json!({ "topic": "weather" }).to_string(), 200),
        (Request::post("/mesh/knowledge/share"), entry, 403),
        (Request::get("/mesh/compute/tasks"), String::new(), 403),
        (Request::post("/mesh/basins/broadcast"), "[]".to_owned(), 403),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(home.ask(keyed(NEAR, 5), request, body).await.status, status, "{shown}");
    }
}
