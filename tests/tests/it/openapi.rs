//! The description of the network door, and schemathesis trying to prove it wrong.

use comity_tests::folder::Folder;
use comity_tests::http::get;
use comity_tests::node::Node;
use comity_tests::peers;

#[test]
fn the_description_is_openapi_3_1_and_names_the_calls_of_the_protocol() {
    let node = Node::alone("ann", &[]);
    let description = get(&format!("{}/openapi.json", node.url())).json();
    assert!(description["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
    for path in ["status", "peers", "message", "introspect", "events"] {
        assert!(description["paths"].get(format!("/dashflow/{path}")).is_some(), "{path}");
    }
}

#[test]
fn schemathesis_finds_no_answer_that_the_description_does_not_promise() {
    let folder = Folder::new();
    // The limits are for strangers on a network; here one of them asks thousands of things.
    // A coordinator has all that is described.
    let node = Node::alone_with(
        "ann",
        &[("COMITY_LIMITS_REQUESTS_PER_MINUTE", "1000000"), ("COMITY_MESH_COORDINATOR", "true")],
    );
    let mut schemathesis = peers::python_tool("schemathesis");
    schemathesis.env("SCHEMATHESIS_HOOKS", peers::file("schemathesis_hooks.py"));
    schemathesis.args(["run", &format!("{}/openapi.json", node.url()), "--max-examples", "30", "--seed", "1"]);
    schemathesis.args(["--no-color", "--request-timeout", "10", "--exclude-path", "/dashflow/events"]);
    // A message of the right shape is still refused when it is for another peer, seen before or expired.
    schemathesis.args(["--exclude-checks", "positive_data_acceptance"]);
    schemathesis.args(["--exclude-path", "/dashflow/link"]).current_dir(folder.path());
    peers::output(&mut schemathesis);
    assert_eq!(get(&format!("{}/dashflow/status", node.url())).status, 200, "it lives on");
}
