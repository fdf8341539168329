//! JSON-RPC over real sockets: what each method answers, and who may call it.

use super::streams::listening;
use super::*;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

struct Program(WebSocketStream<TcpStream>);

impl Program {
    async fn connect(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.expect("the node listens");
        let (socket, _) =
            tokio_tungstenite::client_async(format!("ws://{address}/rpc"), tcp).await.expect("a WebSocket");
        Self(socket)
    }

    async fn say(&mut self, text: impl Into<String>) {
        self.0.send(Frame::text(text.into())).await.expect("an open socket");
    }

    async fn frame(&mut self) -> Frame {
        timeout(PATIENCE, self.0.next()).await.expect("a frame in time").expect("an open socket").expect("a good frame")
    }

    async fn json(&mut self) -> Value {
        match self.frame().await {
            Frame::Text(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("text was wanted, not {other:?}"),
        }
    }

    /// The answer to this call.
    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.say(json!({ "jsonrpc": "2.0", "id": method, "method": method, "params": params }).to_string()).await;
        let answer = self.json().await;
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(method)), "{answer}");
        answer
    }

    /// The code, and the code of the problem, of the error that answers this call.
    async fn refused(&mut self, method: &str, params: Value) -> (i64, Value) {
        let answer = self.call(method, params).await;
        let error = &answer["error"];
        (error["code"].as_i64().unwrap_or_else(|| panic!("no error: {answer}")), error["data"]["code"].clone())
    }
}

#[tokio::test]
async fn status_and_peers_are_those_of_http() {
    let (home, address) = listening().await;
    let mut caller = Program::connect(address).await;
    let mut status = caller.call("status", json!([])).await["result"].take();
    let mut by_http = home.get("/dashflow/status").await.json();
    for status in [&mut status, &mut by_http] {
        status["uptime_seconds"] = 0.into();
    }
    assert_eq!(status, by_http);
    let peers = caller.call("peers", json!({})).await;
    assert_eq!(peers["result"], json!({ "peers": [], "total": 0, "online": 0 }));
}

#[tokio::test]
async fn messages_are_judged_as_those_that_are_posted() {
    let (home, address) = listening().await;
    let mut caller = Program::connect(address).await;
    let message = suggestion(Uuid::from_u128(5));
    let taken = caller.call("send", json!({ "message": message })).await;
    assert_eq!(taken["result"], json!({ "accepted": true, "message_id": message["id"], "error": null }));
    let again = caller.call("send", json!([message])).await;
    assert_eq!((&again["error"]["code"], &again["error"]["data"]["code"]), (&json!(-32_000), &json!("replayed")));
    assert_eq!(again["error"]["data"]["message_id"], message["id"]);
    let bare = caller.call("send", suggestion(Uuid::from_u128(5))).await;
    assert_eq!(bare["result"]["accepted"], true);
    let forged = with(signed(3, |_| {}), "payload", json!("another"));
    assert_eq!(caller.refused("send", json!([forged])).await, (-32_000, json!("bad_signature")));
    let wrong = with(suggestion(Uuid::from_u128(5)), "ttl", -1);
    assert_eq!(caller.refused("send", json!([wrong])).await, (-32_602, json!("bad_request")));
    assert_eq!(caller.refused("send", json!([])).await.0, -32_602);
    let inbox = home.inbox().await;
    assert_eq!(inbox.iter().map(|item| item.received.via.name()).collect::<Vec<_>>(), ["rpc", "rpc"]);
}

#[tokio::test]
async fn a_subscriber_is_told_of_what_it_asked_for_until_it_unsubscribes() {
    let (home, address) = listening().await;
    let mut caller = Program::connect(address).await;
    let bugs = caller.call("subscribe", json!({ "channels": ["_bugs"] })).await["result"]["subscription"].take();
    let status = caller.call("subscribe", json!([["_status"]])).await["result"]["subscription"].take();
    assert_ne!(bugs, status);
    assert_eq!(home.post(suggestion(Uuid::from_u128(5)).to_string()).await.status, 202);
    let bug = signed(3, |_| {});
    assert_eq!(home.post(bug.to_string()).await.status, 202);
    let told = caller.json().await;
    assert_eq!((&told["method"], &told["params"]["subscription"]), (&json!("event"), &bugs));
    let event = &told["params"]["event"];
    assert_eq!((&event["type"], &event["id"]), (&json!("message_received"), &bug["id"]));
    assert!(event.get("payload").is_none() && told.get("id").is_none(), "{told}");
    assert_eq!(caller.call("unsubscribe", json!([bugs])).await["result"], json!({ "unsubscribed": true }));
    assert_eq!(caller.refused("unsubscribe", json!([bugs])).await.0, -32_602);
    assert_eq!(home.post(signed(4, |_| {}).to_string()).await.status, 202);
    home.handle.ask(Ask::SetStatus(Some(json!({ "working_on": "tests" })))).await;
    let told = caller.json().await;
    assert_eq!((&told["params"]["subscription"], &told["params"]["event"]["type"]), (&status, &json!("status_update")));
}

#[tokio::test]
async fn strangers_see_no_payloads_and_subscriptions_are_bounded() {
    let (_home, address) = listening().await;
    let mut caller = Program::connect(address).await;
    assert_eq!(caller.refused("subscribe", json!({ "payload": true })).await, (-32_000, json!("forbidden")));
    for wrong in
        [json!({ "channels": "_bugs" }), json!({ "channels": ["a b"] }), json!({ "payload": 1 }), json!({ "x": 1 })]
    {
        assert_eq!(caller.refused("subscribe", wrong).await.0, -32_602);
    }
    for _ in 0..16 {
        assert!(caller.call("subscribe", json!([])).await["result"]["subscription"].is_u64());
    }
    assert_eq!(caller.refused("subscribe", json!([])).await, (-32_000, json!("conflict")));
}

#[tokio::test]
async fn batches_are_answered_together_and_notifications_not_at_all() {
    let (_home, address) = listening().await;
    let mut caller = Program::connect(address).await;
    caller.say(r#"{"jsonrpc":"2.0","method":"status"}"#).await;
    caller.say(r#"[{"jsonrpc":"2.0","method":"status"},{"jsonrpc":"2.0","method":"nothing"}]"#).await;
    caller.say(r#"[{"jsonrpc":"2.0","method":"peers","id":1},{"jsonrpc":"2.0","method":"peers"},7,{"jsonrpc":"2.0","method":"nothing","id":2}]"#).await;
    let answers = caller.json().await;
    let ids: Vec<_> = answers.as_array().expect("a batch").iter().map(|answer| &answer["id"]).collect();
    assert_eq!(ids, [&json!(1), &Value::Null, &json!(2)]);
    assert_eq!((&answers[1]["error"]["code"], &answers[2]["error"]["code"]), (&json!(-32_600), &json!(-32_601)));
    caller.say("{").await;
    assert_eq!(caller.json().await["error"]["code"], -32_700);
    caller.0.send(Frame::binary(vec![1])).await.expect("an open socket");
    let Frame::Close(Some(close)) = caller.frame().await else { panic!("it goes on") };
    assert_eq!(close.code, CloseCode::Unsupported);
}

#[tokio::test]
async fn whom_nobody_admits_does_not_get_in_and_pace_counts_each_call() {
    let upgrade = || {
        let request = Request::get("/rpc").header("connection", "upgrade").header("upgrade", "websocket");
        request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    let home = Home::with(|config| config.admission = Admission::Verified).await;
    let reply = home.ask(neighbour(), upgrade(), Body::empty()).await;
    assert_eq!(reply.problem(), (401, "bad_signature".to_owned()));
    let foreign = upgrade().header("origin", "https://evil.example");
    assert_eq!(home.ask(keyed([192, 168, 1, 5], 9), foreign, Body::empty()).await.problem().0, 403);
    let plain = Request::get("/rpc");
    assert_eq!(home.ask(keyed([192, 168, 1, 5], 9), plain, Body::empty()).await.problem().0, 426);
    let slow = Home::with(|config| config.limits.requests_per_minute = 5).await;
    let source = Source { address: [192, 168, 1, 5].into(), key: None };
    let mut config = Config::from(&crate::config::Config::default());
    config.limits.requests_per_minute = 5;
    let door = Door::new(slow.handle.clone(), config);
    let mut client = crate::door::rpc::client::Client::new(door, source);
    let mut last = String::new();
    for _ in 0..6 {
        last = client.hear(br#"{"jsonrpc":"2.0","method":"status","id":1}"#).await.expect("an answer");
    }
    assert!(last.contains("rate_limited") && last.contains("retry_after"), "{last}");
}

#[tokio::test]
async fn a_node_that_leaves_says_so_to_its_callers() {
    let (home, address) = listening().await;
    let mut caller = Program::connect(address).await;
    caller.call("status", json!([])).await;
    home.stop.cancel();
    let Frame::Close(Some(close)) = caller.frame().await else { panic!("it goes on") };
    assert_eq!(close.code, CloseCode::Away);
}
