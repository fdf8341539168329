//! The control door's port on loopback: who gets in, and that no web page does.

use crate::node::{Node, json};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;

/// One request with these header lines; the status and the whole response.
fn ask(node: &Node, line: &str, headers: &str, body: &str) -> (u16, String) {
    let url = node.ready["control_url"].as_str().expect("the port is open");
    let address = url.strip_prefix("http://").expect("plain HTTP on loopback");
    let host = if headers.contains("host:") { String::new() } else { format!("host: {address}\r\n") };
    let length = body.len();
    let request =
        format!("{line} HTTP/1.1\r\n{host}{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("it answers");
    let status = response.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, response)
}

fn token(node: &Node) -> String {
    std::fs::read_to_string(node.path().join("control/token")).expect("the node wrote it")
}

#[test]
fn only_the_token_or_a_session_opens_the_port() {
    let node = Node::up("port", &[]);
    let (status, response) = ask(&node, "GET /control/node", "", "");
    assert_eq!(status, 401, "{response}");
    assert!(response.contains("application/problem+json"), "{response}");
    let bearer = format!("authorization: Bearer {}\r\n", token(&node));
    assert_eq!(ask(&node, "GET /control/node", &bearer, "").0, 200);
    assert_eq!(ask(&node, &format!("GET /control/node?token={}", token(&node)), "", "").0, 401);
    assert_eq!(ask(&node, "POST /mcp", "content-type: application/json\r\n", "{}").0, 401);
}

#[test]
fn a_code_becomes_a_cookie_once() {
    let node = Node::up("browser", &[]);
    let code = json(node.path(), &["code"])["code"].as_str().expect("a code").to_owned();
    let (kind, body) = ("content-type: application/json\r\n", serde_json::json!({ "code": code }).to_string());
    let (status, response) = ask(&node, "POST /session", kind, &body);
    assert_eq!(status, 200, "{response}");
    let cookie = response.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let port = node.ready["control_url"].as_str().and_then(|url| url.rsplit(':').next()).expect("a port");
    assert!(cookie.starts_with(&format!("comity_session_{port}=")), "{cookie}");
    let cookie = format!("cookie: {}\r\n", cookie.split(';').next().expect("its value"));
    let embedded = format!("{cookie}sec-fetch-site: same-site\r\nsec-fetch-mode: no-cors\r\n");
    assert_eq!(ask(&node, "GET /control/messages?target=custom:evil", &embedded, "").0, 403, "a page on another port");
    assert!(!json(node.path(), &["status"])["subscriptions"].to_string().contains("custom:evil"));
    assert_eq!(ask(&node, "GET /control/node", &cookie, "").0, 200);
    assert_eq!(ask(&node, "POST /session", kind, &body).0, 401);
    let (status, _) = ask(&node, "POST /control/codes", &format!("{kind}{cookie}"), "{}");
    assert_eq!(status, 404, "codes are given over the Unix socket only");
}

#[test]
fn no_web_page_gets_past_the_guards() {
    let node = Node::up("guarded", &[]);
    let bearer = format!("authorization: Bearer {}\r\n", token(&node));
    let foreign = format!("{bearer}origin: https://evil.example\r\n");
    assert_eq!(ask(&node, "GET /control/node", &foreign, "").0, 403);
    let rebound = format!("{bearer}host: evil.example\r\n");
    assert_eq!(ask(&node, "GET /control/node", &rebound, "").0, 421);
    let form = format!("{bearer}content-type: text/plain\r\n");
    assert_eq!(ask(&node, "POST /control/subscribe", &form, r#"{"channel":"custom:x"}"#).0, 415);
}

#[test]
fn bad_bodies_are_refused_with_the_field() {
    let node = Node::up("strict", &[]);
    let headers = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", token(&node));
    for (path, body) in [
        ("PUT /control/attention", r#"{"mode":"asleep"}"#),
        ("PUT /control/attention", r#"{"mode":"minimal","mode":"realtime"}"#),
        ("POST /control/messages", r#"{"target":"_status"}"#),
        ("POST /control/messages", r#"{"target":"_status","payload":1,"ttl":3601}"#),
        ("POST /control/messages", r#"{"target":"_status","payload":1,"seal":true}"#),
        ("GET /control/inbox?limits=1", ""),
        ("GET /control/messages?channel=_status", ""),
        ("POST /control/subscribe", r#"{"channel":"a b"}"#),
        ("POST /control/subscribe", "not JSON"),
    ] {
        let (status, response) = ask(&node, path, &headers, body);
        assert_eq!(status, 400, "{body}: {response}");
        assert!(response.contains(r#""code":"bad_request""#), "{response}");
    }
    let thread = format!(r#"{{"target":"_status","payload":1,"thread":"{}"}}"#, "x".repeat(257));
    let (status, response) = ask(&node, "POST /control/messages", &headers, &thread);
    assert!(status == 422 && response.contains(r#""pointer":"/thread""#), "{response}");
    let large = format!(r#"{{"channel":"{}"}}"#, "x".repeat(1024 * 1024));
    assert_eq!(ask(&node, "POST /control/subscribe", &headers, &large).0, 413);
    assert_eq!(ask(&node, "GET /nothing", &headers, "").0, 404);
    assert_eq!(ask(&node, "DELETE /control/node", &headers, "").0, 405);
}

#[test]
fn whoever_fills_the_port_does_not_lock_the_owner_out() {
    let node = Node::up("filled", &[]);
    let url = node.ready["control_url"].as_str().expect("the port is open");
    let address = url.strip_prefix("http://").expect("plain HTTP on loopback");
    let held: Vec<_> = (0..300).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    assert_eq!(json(node.path(), &["status"])["name"], "filled");
    drop(held);
}

#[test]
fn mcp_is_spoken_over_http() {
    let node = Node::up("agents", &[]);
    let headers = format!(
        "authorization: Bearer {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n",
        token(&node)
    );
    let initialize = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } });
    let (status, response) = ask(&node, "POST /mcp", &headers, &initialize.to_string());
    assert_eq!(status, 200, "{response}");
    let data = response.lines().filter_map(|line| line.strip_prefix("data: ")).find(|data| data.contains("serverInfo"));
    let result: Value = serde_json::from_str(data.expect("an answer")).expect("JSON");
    assert_eq!(result["result"]["serverInfo"]["name"], "comity");
    assert_eq!(result["result"]["protocolVersion"], "2025-11-25");
}
