//! A web page of another origin in a real browser: it can neither read nor drive any door.

use comity_tests::folder::Folder;
use comity_tests::node::Node;
use comity_tests::peers;
use serde_json::{Value, json};

#[test]
fn a_page_of_another_origin_can_neither_read_nor_drive_any_door() {
    let (node, folder) = (Node::alone("ann", &[]), Folder::new());
    let code = node.json(&["code"])["code"].as_str().expect("a code").to_owned();
    let mut chromium = peers::javascript("page.mjs", &folder);
    chromium.args([
        node.url(),
        node.metrics_url(),
        node.control_url(),
        code,
        folder.path().join("profile").display().to_string(),
    ]);
    let printed = peers::output(&mut chromium);
    let printed: Value = serde_json::from_str(printed.trim()).unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert_eq!(printed["own"], json!({"session": 200, "node": 200, "name": "ann"}), "a page of the node's own reads");
    let tried = printed["tried"].as_array().expect("a list");
    assert!(tried.len() >= 80, "the page tried too little: {printed}");
    for attempt in tried {
        assert_eq!(attempt["read"], false, "the page could read: {attempt}");
        assert_eq!(attempt["open"], false, "the page has a connection: {attempt}");
    }
    assert_eq!(node.json(&["inbox", "--peek"])["items"], json!([]), "nothing was said to the node");
    let status = node.json(&["status"]);
    assert_eq!((&status["attention_mode"], &status["status"]), (&"focused".into(), &Value::Null));
    assert!(!status["subscriptions"].to_string().contains("custom:evil"), "{status}");
}
