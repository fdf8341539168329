//! `comity mcp` as an agent uses it: JSON-RPC lines on standard input and output.

use crate::node::{Folder, Node, command, json, until};
use serde_json::{Value, json as value};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// An agent in conversation with a node.
struct Agent {
    process: Child,
    says: Option<ChildStdin>,
    hears: BufReader<ChildStdout>,
    asked: u64,
}

impl Agent {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = command(folder, arguments);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let says = process.stdin.take();
        let hears = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut agent = Self { process, says, hears, asked: 0 };
        let client = value!({ "name": "test-agent", "version": "1" });
        let begin = value!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
        let server = agent.ask("initialize", &begin);
        assert_eq!(server["result"]["serverInfo"]["name"], "comity", "{server}");
        agent.say(&value!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        agent
    }

    fn say(&mut self, message: &Value) {
        let says = self.says.as_mut().expect("it is open");
        writeln!(says, "{message}").expect("it reads");
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.say(&value!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let mut line = String::new();
            assert!(self.hears.read_line(&mut line).expect("it writes") > 0, "it ended");
            let answer: Value = serde_json::from_str(&line).expect("JSON lines only");
            if answer["id"] == id {
                return answer;
            }
        }
    }

    /// What a tool gives; it must work.
    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.ask("tools/call", &value!({ "name": tool, "arguments": arguments }));
        assert_ne!(answer["result"]["isError"], true, "{tool}: {answer}");
        answer["result"]["structuredContent"].clone()
    }

    /// What a tool says when it refuses.
    fn refusal(&mut self, tool: &str, arguments: Value) -> String {
        let answer = self.ask("tools/call", &value!({ "name": tool, "arguments": arguments }));
        assert_eq!(answer["result"]["isError"], true, "{tool}: {answer}");
        answer["result"]["content"][0]["text"].as_str().expect("a text").to_owned()
    }

    /// Says all, and waits for the end.
    fn end(mut self) -> Option<i32> {
        drop(self.says.take());
        until("it ends", || self.process.try_wait().expect("it can be waited for")).code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_agent_uses_all_fifteen_tools() {
    let (alice, bob) = Node::pair();
    let mut agent = Agent::start(alice.path(), &["mcp"]);
    let first = agent.ask("tools/list", &value!({}))["result"]["tools"].clone();
    assert_eq!(first.as_array().expect("tools").len(), 15);
    assert_eq!(agent.ask("tools/list", &value!({}))["result"]["tools"], first, "the same every time");

    assert_eq!(agent.call("network_status", value!({}))["id"], alice.ready["id"]);
    let peers = agent.call("network_peers", value!({ "capability": "echo" }));
    assert_eq!((&peers["total"], &peers["peers"][0]["id"]), (&value!(1), &bob.ready["id"]));
    assert_eq!(peers["peers"][0]["trust"], "verified");

    let to_bob = value!({ "peer_id": bob.id(), "channel": "custom:talk", "payload": { "text": "hi" } });
    let sent = agent.call("network_send_message", to_bob);
    let mut other = Agent::start(bob.path(), &["mcp"]);
    let inbox = until("it arrives", || {
        let inbox = other.call("network_inbox", value!({}));
        (!inbox["items"].as_array()?.is_empty()).then_some(inbox)
    });
    assert_eq!((&inbox["items"][0]["id"], &inbox["items"][0]["trust"]), (&sent["message_id"], &value!("verified")));
    assert_eq!(other.call("network_inbox", value!({ "ack": true }))["acknowledged"][0], inbox["items"][0]["arrival"]);
    assert_eq!(other.call("network_inbox", value!({}))["items"], value!([]));

    assert_eq!(other.call("network_subscribe", value!({ "channel": "custom:x" }))["subscribed"], true);
    until("the broadcast finds its listener", || {
        let message = value!({ "channel": "custom:x", "payload": 1, "priority": "background" });
        (agent.call("network_broadcast", message)["peers"] == 1).then_some(())
    });
    until("it is counted", || {
        let digest = other.call("network_digest", value!({ "clear": false }));
        digest["by_channel"]["custom:x"].as_u64()
    });
    assert_eq!(other.call("network_unsubscribe", value!({ "channel": "custom:x" }))["subscribed"], false);
    assert_eq!(other.call("network_set_attention", value!({ "mode": "minimal" }))["mode"], "minimal");
    assert_eq!(json(bob.path(), &["attention"])["mode"], "minimal");
    let bread =
        value!({ "text": "A sourdough starter wants flour.", "title": "Bread", "metadata": { "team": "bread" } });
    let indexed = other.call("mesh_index", bread.clone());
    assert_eq!(
        (&indexed["outcome"], other.call("mesh_index", bread)["outcome"].as_str()),
        (&value!("added"), Some("unchanged"))
    );
    let found = other.call("mesh_search", value!({ "query": "sourdough", "filter": { "team": "bread" } }));
    assert_eq!(found["results"][0]["doc_id"], indexed["doc_id"]);
    let fact = value!({ "topic": "bread", "content": "it wants salt", "confidence": 0.9 });
    let shared = other.call("knowledge_share", fact);
    let known = other.call("knowledge_request", value!({ "topic": "bread" }));
    assert_eq!((&known["knowledge"][0]["id"], &known["knowledge"][0]["trust"]), (&shared["id"], &value!("own")));

    let submitted = agent.call("task_submit", value!({ "capability": "words/say", "idempotency_key": "once" }));
    assert_eq!((&submitted["new"], &submitted["workers"]), (&value!(true), &value!(0)));
    let again = agent.call("task_submit", value!({ "capability": "words/say", "idempotency_key": "once" }));
    assert_eq!((&again["id"], &again["new"]), (&submitted["id"], &value!(false)));
    let status = agent.call("task_status", value!({ "id": submitted["id"] }));
    assert_eq!((&status["state"], &status["attempts"]), (&value!("queued"), &value!(0)));
    assert_eq!(other.end(), Some(0));
}

#[test]
fn a_tool_that_refuses_says_why() {
    let node = Node::up("refusing", &[]);
    let mut agent = Agent::start(node.path(), &["mcp"]);
    let urgent = value!({ "channel": "_bugs", "payload": {}, "priority": "urgent" });
    assert!(agent.refusal("network_broadcast", urgent).contains("critical"));
    let nobody = value!({ "peer_id": "nobody", "channel": "_bugs", "payload": {} });
    assert!(agent.refusal("network_send_message", nobody).starts_with("unknown_peer:"));
    assert!(agent.refusal("network_send_message", value!({})).contains("peer_id"));
    assert!(agent.refusal("network_inbox", value!({ "limit": 0 })).contains("/limit"));
    assert_eq!(agent.ask("tools/call", &value!({ "name": "network_fly" }))["error"]["code"], -32602);
}

#[test]
fn an_agent_that_begins_wrongly_is_told_that_the_node_goes_on() {
    let node = Node::up("wrong", &[]);
    let mut command = command(node.path(), &["mcp"]);
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut says = process.stdin.take().expect("it is piped");
    let list = value!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    writeln!(says, "{list}").expect("it reads");
    let ended = process.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("`initialize`") && !said.contains("stopped"), "{said}");
}

#[test]
fn a_policy_keeps_tools_from_an_agent() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).expect("a folder");
    let file = folder.0.join("comity.toml");
    std::fs::write(&file, "[mcp]\nclients = { test-agent = \"network_status\" }\n").expect("a file");
    let node = Node::up("strict", &["--config", &file.display().to_string()]);
    let mut agent = Agent::start(node.path(), &["mcp"]);
    let tools = agent.ask("tools/list", &value!({}))["result"]["tools"].clone();
    assert_eq!(tools.as_array().expect("tools").len(), 1);
    agent.call("network_status", value!({}));
    assert!(agent.refusal("network_digest", value!({})).starts_with("forbidden:"));
}

#[test]
fn mcp_starts_a_node_when_asked_to() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).expect("a folder");
    std::fs::set_permissions(&folder.0, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("a mode");
    std::fs::write(folder.0.join("comity.toml"), "[mdns]\nenabled = false\n[http]\nport = 0\n").expect("a file");
    let mut agent = Agent::start(&folder.0, &["mcp", "--up"]);
    let id = agent.call("network_status", value!({}))["id"].clone();
    assert_eq!(json(&folder.0, &["id"])["id"], id, "commands reach it too");
    assert_eq!(agent.end(), Some(0));
    assert_eq!(crate::node::failure(&folder.0, &["id"]).0, 3, "it has gone with the agent");
}
