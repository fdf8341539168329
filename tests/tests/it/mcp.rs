//! The fifteen tools, driven by the official clients in Python and TypeScript, over both transports,
//! and the official conformance suite.

use comity_tests::PATIENCE;
use comity_tests::folder::Folder;
use comity_tests::http::{curl, post};
use comity_tests::lines::Lines;
use comity_tests::node::Node;
use comity_tests::peers;
use serde_json::json;
use std::process::Command;

/// Two nodes that know each other, and a message in the first one's inbox.
fn two() -> (Node, Node) {
    let ann = Node::alone("ann", &[]);
    let bob = Node::alone("bob", &["--peer", &ann.url()]);
    ann.knows(&bob);
    bob.knows(&ann);
    let mut inbox = ann.follow(&["inbox", "--follow", "--peek"]);
    bob.says(&["send", "ann", r#"{"suggestion": "read me"}"#, "--type", "suggestion"]);
    inbox.next(PATIENCE).expect("it arrives");
    (ann, bob)
}

/// Lets a client drive all fifteen tools of the first node, then checks what the second one got.
fn drives_all_fifteen(client: impl FnOnce(&Node, &Node, &Folder) -> Command) {
    let (ann, bob) = two();
    let folder = Folder::new();
    let said = peers::output(&mut client(&ann, &bob, &folder));
    assert!(said.contains("all fifteen"), "{said}");
    let mut inbox = bob.follow(&["inbox", "--follow", "--peek"]);
    inbox.wait_for("message of the client", PATIENCE, |line| line.contains("from an agent").then_some(()));
    assert_eq!(ann.json(&["inbox", "--peek"])["items"], json!([]), "the client took it");
}

fn with_http<'a>(mut command: Command, ann: &Node, bob: &Node, how: impl IntoIterator<Item = &'a str>) -> Command {
    command.args(how).arg(format!("{}/mcp", ann.control_url())).env("TOKEN", ann.token()).env("PEER", bob.id());
    command
}

fn with_stdio<'a>(mut command: Command, ann: &Node, bob: &Node, how: impl IntoIterator<Item = &'a str>) -> Command {
    let program = std::env::var_os("TESTED_COMITY").expect("it is set");
    command.args(how).arg(program).args(["mcp", "--data-dir"]).arg(ann.data_dir()).env("PEER", bob.id());
    command
}

#[test]
fn the_python_client_drives_all_fifteen_tools_over_http() {
    drives_all_fifteen(|ann, bob, _| with_http(peers::python("mcp_client.py"), ann, bob, ["http"]));
}

#[test]
fn the_python_client_drives_all_fifteen_tools_over_stdio() {
    drives_all_fifteen(|ann, bob, _| with_stdio(peers::python("mcp_client.py"), ann, bob, ["stdio"]));
}

#[test]
fn the_typescript_client_drives_all_fifteen_tools_over_http() {
    drives_all_fifteen(|ann, bob, folder| {
        with_http(peers::javascript("mcp_client.mjs", folder), ann, bob, ["sdk", "http"])
    });
}

#[test]
fn the_typescript_client_drives_all_fifteen_tools_over_stdio() {
    drives_all_fifteen(|ann, bob, folder| {
        with_stdio(peers::javascript("mcp_client.mjs", folder), ann, bob, ["sdk", "stdio"])
    });
}

#[test]
fn the_newer_typescript_client_drives_all_fifteen_tools_over_http() {
    drives_all_fifteen(|ann, bob, folder| {
        with_http(peers::javascript("mcp_client.mjs", folder), ann, bob, ["client", "http"])
    });
}

#[test]
fn the_newer_typescript_client_drives_all_fifteen_tools_over_stdio() {
    drives_all_fifteen(|ann, bob, folder| {
        with_stdio(peers::javascript("mcp_client.mjs", folder), ann, bob, ["client", "stdio"])
    });
}

#[test]
fn the_conformance_suite_passes_but_for_what_the_node_does_not_offer() {
    let (node, folder) = (Node::alone("ann", &[]), Folder::new());
    let mut proxy = peers::javascript("proxy.mjs", &folder);
    let mut proxy = Lines::start(proxy.arg(node.control_url()).env("TOKEN", node.token()));
    let url = proxy.wait_for("address", PATIENCE, |line| line.strip_prefix("ready ").map(str::to_owned));
    let mut suite = peers::conformance();
    suite.args(["server", "--url", &format!("{url}/mcp"), "--expected-failures"]).arg(peers::file("conformance.yml"));
    peers::output(suite.arg("-o").arg(folder.path().join("results")).current_dir(folder.path()));
}

#[test]
fn the_control_door_wants_its_token_and_its_own_name() {
    let node = Node::alone("ann", &[]);
    let url = format!("{}/mcp", node.control_url());
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(post(&url, ping).status, 401);
    let token = format!("Authorization: Bearer {}", node.token());
    let json = "Content-Type: application/json";
    let from = |origin: &str| curl(&["-H", &token, "-H", json, "-H", origin, &url], Some(ping)).status;
    assert_eq!(from("Origin: https://evil.example"), 403);
    assert_eq!(from("Host: evil.example"), 421);
    assert_eq!(curl(&["-H", "Authorization: Bearer wrong", "-H", json, &url], Some(ping)).status, 401);
}

#[test]
fn mcp_without_a_node_says_how_to_start_one() {
    let folder = Folder::new();
    let output = comity_tests::node::comity(&["mcp", "--data-dir"]).arg(folder.path()).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("comity up") && told.contains("--up"), "{told}");
}
