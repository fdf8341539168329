//! The contract with agents: the tools as they were reviewed, and arguments read strictly. Calls
//! over real connections are tested by `comity-cli`.

use super::shapes::{Ack, Look, ToAll, WhichPeers};
use super::tools::{NAMES, all};
use serde_json::json;

/// The tools as `tools/list` shows them. `COMITY_BLESS=1` writes the file anew, for review.
#[test]
fn the_tools_are_as_reviewed() {
    let now = serde_json::to_string_pretty(&all()).expect("tools are JSON") + "\n";
    if std::env::var_os("COMITY_BLESS").is_some() {
        return std::fs::write("src/door/mcp/tools.json", &now).expect("the file can be written");
    }
    let reviewed = include_str!("tools.json");
    assert!(now == reviewed, "the tools have changed: run with COMITY_BLESS=1 and review tools.json");
}

#[test]
fn every_tool_has_a_schema_for_what_it_takes_and_gives() {
    assert_eq!(all().iter().map(|tool| &*tool.name).collect::<Vec<_>>(), NAMES);
    for tool in all() {
        assert_eq!(tool.input_schema["type"], "object", "{}", tool.name);
        assert_eq!(tool.output_schema.expect("a schema")["type"], "object", "{}", tool.name);
    }
}

#[test]
fn an_unknown_priority_is_an_error_and_not_normal() {
    let message = json!({ "channel": "_bugs", "payload": {}, "priority": "urgent" });
    let wrong = serde_json::from_value::<ToAll>(message).expect_err("no such priority").to_string();
    assert!(wrong.contains("urgent") && wrong.contains("critical"), "{wrong}");
    let missing = serde_json::from_value::<ToAll>(json!({ "channel": "_bugs", "payload": {} }));
    assert!(missing.expect_err("it must be said").to_string().contains("priority"));
}

#[test]
fn what_is_left_out_has_the_default_of_the_protocol() {
    let peers: WhichPeers = serde_json::from_value(json!({})).expect("nothing is needed");
    assert!(peers.online_only && peers.capability.is_none());
    let look: Look = serde_json::from_value(json!({})).expect("nothing is needed");
    assert_eq!((look.limit, look.after), (10, None));
    let look: Look = serde_json::from_value(json!({ "ack": [3, 4] })).expect("numbers");
    assert!(matches!(look.ack, Some(Ack::These(numbers)) if numbers == [3, 4]));
    assert!(serde_json::from_value::<Look>(json!({ "limits": 3 })).is_err());
}
