//! JSON-RPC at the network door, by a client that others wrote.

use comity_tests::folder::Folder;
use comity_tests::node::Node;
use comity_tests::peers;
use serde_json::{Value, json};

#[test]
fn a_client_from_npm_looks_subscribes_and_sends() {
    let (node, folder) = (Node::alone("ann", &[]), Folder::new());
    let id = "0c0c0c0c-0000-4000-8000-000000000001";
    let message = json!({
        "id": id, "from": "11111111-2222-4333-8444-555555555555", "to": "broadcast", "type": "suggestion",
        "channel": "_suggestions", "payload": {"suggestion": "use less"},
    });
    let url = format!("{}/rpc", node.url().replace("http", "ws"));
    let printed = peers::output(peers::javascript("rpc.mjs", &folder).args([url, message.to_string()]));
    let said: Value = serde_json::from_str(printed.trim()).unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert_eq!((&said["status"]["id"], &said["status"]["name"]), (&node.status["id"], &"ann".into()));
    assert_eq!(said["peers"], json!({"peers": [], "total": 0, "online": 0}));
    assert_eq!(said["sent"], json!({"accepted": true, "message_id": id, "error": null}));
    assert_eq!(said["event"]["subscription"], said["subscription"]);
    let event = &said["event"]["event"];
    assert_eq!((&event["type"], &event["id"]), (&"message_received".into(), &id.into()), "{said}");
    assert_eq!((&said["again"]["code"], &said["again"]["data"]["code"]), (&json!(-32_000), &"replayed".into()));
    assert_eq!((&said["unknown"]["code"], &said["unsubscribed"]["unsubscribed"]), (&json!(-32_601), &true.into()));
    let inbox = node.json(&["inbox", "--peek"]);
    assert_eq!(inbox["items"][0]["message"]["via"], "rpc", "{inbox}");
}
