//! The stream of events over real sockets: WebSocket and server-sent events.

use super::*;
use crate::link;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// A node that listens, and its address.
pub(super) async fn listening() -> (Home, SocketAddr) {
    let home = Home::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let (router, tls, stop) = (home.router.clone(), home.tls.clone().into(), home.stop.clone());
    let counters = home.handle.counters().clone();
    tokio::spawn(link::listen(vec![listener], tls, router, link::Limits::default(), counters, stop));
    (home, address)
}

struct Watching(WebSocketStream<TcpStream>);

impl Watching {
    /// Watches, and reads the status that comes first.
    async fn start(address: SocketAddr, query: &str) -> Self {
        let tcp = TcpStream::connect(address).await.expect("the node listens");
        let url = format!("ws://{address}/dashflow/events{query}");
        let (socket, _) = tokio_tungstenite::client_async(url, tcp).await.expect("a WebSocket");
        let mut this = Self(socket);
        let status = this.json().await;
        assert!(status["attention_mode"].is_string() && status.get("type").is_none(), "{status}");
        this
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

    /// The next frame of this type; acks and events may come in either order.
    async fn next(&mut self, wanted: &str) -> Value {
        loop {
            let frame = self.json().await;
            if frame["type"] == wanted {
                return frame;
            }
        }
    }

    async fn say(&mut self, text: impl Into<String>) {
        self.0.send(Frame::text(text.into())).await.expect("an open socket");
    }

    async fn closed(&mut self) -> CloseCode {
        loop {
            if let Frame::Close(close) = self.frame().await {
                return close.expect("a reason").code;
            }
        }
    }
}

#[tokio::test]
async fn a_watcher_sees_messages_for_everybody_without_payload_and_never_directed_ones() {
    let (home, address) = listening().await;
    let mut watching = Watching::start(address, "").await;
    let directed = with(suggestion(Uuid::from_u128(5)), "to", home.handle.me().peer().to_string());
    assert_eq!(home.post(directed.to_string()).await.status, 202);
    let public = suggestion(Uuid::from_u128(5));
    assert_eq!(home.post(public.to_string()).await.status, 202);
    let event = watching.next("message_received").await;
    let wanted = json!({
        "type": "message_received", "seq": event["seq"], "id": public["id"], "from": public["from"],
        "msg_type": "suggestion", "channel": "_suggestions", "priority": "normal",
    });
    assert_eq!(event, wanted);
}

#[tokio::test]
async fn text_frames_are_messages_and_are_answered() {
    let (home, address) = listening().await;
    let mut watching = Watching::start(address, "").await;
    let message = suggestion(Uuid::from_u128(5));
    watching.say(json!({ "message": message }).to_string()).await;
    let ack = watching.next("ack").await;
    assert_eq!(ack, json!({ "type": "ack", "accepted": true, "message_id": message["id"], "error": null }));
    watching.say("{").await;
    let ack = watching.next("ack").await;
    assert_eq!((&ack["accepted"], &ack["code"], &ack["status"]), (&json!(false), &json!("bad_request"), &json!(400)));
    watching.say(message.to_string()).await;
    assert_eq!(watching.next("ack").await["code"], "replayed");
    assert_eq!(home.inbox().await.len(), 1);
}

#[tokio::test]
async fn a_watcher_sees_only_the_channels_it_asks_for() {
    let (home, address) = listening().await;
    let mut watching = Watching::start(address, "?channels=_bugs,_status").await;
    assert_eq!(home.post(suggestion(Uuid::from_u128(5)).to_string()).await.status, 202);
    home.handle.ask(Ask::SetStatus(Some(json!({ "working_on": "tests", "progress": 1 })))).await;
    let event = watching.json().await;
    assert_eq!((&event["type"], &event["working_on"]), (&json!("status_update"), &json!("tests")));
    assert_eq!(home.post(signed(3, |_| {}).to_string()).await.status, 202);
    let event = watching.next("message_received").await;
    assert_eq!(event["channel"], "_bugs");
    assert!(event["seq"].as_u64() > Some(2), "numbers count what was left out: {event}");
}

#[tokio::test]
async fn whoever_breaks_the_rules_of_the_stream_is_told_why_it_ends() {
    let (_home, address) = listening().await;
    let mut binary = Watching::start(address, "").await;
    binary.0.send(Frame::binary(vec![1, 2, 3])).await.expect("an open socket");
    assert_eq!(binary.closed().await, CloseCode::Unsupported);
    let mut large = Watching::start(address, "").await;
    large.say("x".repeat((1 << 20) + 1)).await;
    assert_eq!(large.closed().await, CloseCode::Size);
}

#[tokio::test]
async fn a_node_that_leaves_closes_its_watchers() {
    let (home, address) = listening().await;
    let mut watching = Watching::start(address, "").await;
    home.stop.cancel();
    assert_eq!(watching.closed().await, CloseCode::Away);
}

#[tokio::test]
async fn known_peers_see_payloads_and_how_far_to_trust_them() {
    let home = Home::open().await;
    home.handle.ask(Ask::Know { key: node_id(9), known: true }).await;
    let request = Request::get("/dashflow/events?payload=1").header("accept", "text/event-stream");
    let mut request = request.header("host", "localhost").body(Body::empty()).expect("a request");
    request.extensions_mut().insert(keyed([192, 168, 1, 5], 9));
    let response = home.router.clone().oneshot(request).await.expect("routers do not fail");
    let mut stream = response.into_body().into_data_stream();
    assert_eq!(home.post(signed(3, |_| {}).to_string()).await.status, 202);
    let mut text = String::new();
    while !text.contains("\"payload\"") {
        let chunk = timeout(PATIENCE, stream.next()).await.expect("in time").expect("an open stream").expect("a chunk");
        text.push_str(std::str::from_utf8(&chunk).expect("text"));
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).find(|data| data.contains("payload"));
    let event: Value = serde_json::from_str(data.expect("an event")).expect("JSON");
    assert_eq!((&event["payload"], &event["trust"]), (&json!({ "bug": "a leak" }), &json!("verified")));
    assert_eq!((&event["key"], &event["via"]), (&json!(node_id(3).to_string()), &json!("post")));
}

#[tokio::test]
async fn who_is_no_longer_known_sees_payloads_no_longer() {
    let home = Home::open().await;
    let know = async |known| drop(home.handle.ask(Ask::Know { key: node_id(9), known }).await);
    know(true).await;
    let request = Request::get("/dashflow/events?payload=1").header("accept", "text/event-stream");
    let mut request = request.header("host", "localhost").body(Body::empty()).expect("a request");
    request.extensions_mut().insert(keyed([192, 168, 1, 5], 9));
    let response = home.router.clone().oneshot(request).await.expect("routers do not fail");
    let mut stream = response.into_body().into_data_stream();
    let status = timeout(PATIENCE, stream.next()).await.expect("in time").expect("an open stream");
    assert!(status.expect("a chunk").starts_with(b"event: status"));
    know(false).await;
    // It is asked about once for every comment that keeps the stream open.
    let over = async { while stream.next().await.is_some() {} };
    timeout(Duration::from_secs(30), over).await.expect("the stream ends");
}

#[tokio::test]
async fn a_watcher_whom_nobody_admits_any_more_is_told_so() {
    let home = Home::open().await;
    let source = Source { address: [192, 168, 1, 5].into(), key: Some(node_id(9)) };
    let mut config = Config::from(&crate::config::Config::default());
    config.admission = Admission::Known;
    let door = Door::new(home.handle.clone(), config);
    assert!(!door.may_watch(source, false).await);
    home.handle.ask(Ask::Know { key: node_id(9), known: true }).await;
    assert!(door.may_watch(source, true).await);
}

#[tokio::test]
async fn server_sent_events_begin_with_the_status_and_carry_type_and_number() {
    let (home, address) = listening().await;
    let mut tcp = TcpStream::connect(address).await.expect("the node listens");
    let request =
        "GET /dashflow/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nlast-event-id: 7\r\n\r\n";
    tcp.write_all(request.as_bytes()).await.expect("an open socket");
    let mut text = String::new();
    let mut read_until = async |wanted: &str| {
        while !text.contains(wanted) {
            let mut chunk = [0; 4096];
            let read = timeout(PATIENCE, tcp.read(&mut chunk)).await.expect("in time").expect("an open socket");
            assert!(read > 0, "closed after {text}");
            text.push_str(std::str::from_utf8(&chunk[..read]).expect("text"));
        }
        text.clone()
    };
    let head = read_until("event: status\ndata: {\"id\":").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/event-stream"), "{head}");
    assert_eq!(home.post(suggestion(Uuid::from_u128(5)).to_string()).await.status, 202);
    let all = read_until("\"type\":\"message_received\"").await;
    assert!(all.contains("event: message_received\nid: "), "{all}");
}

#[tokio::test]
async fn a_hundred_watchers_see_every_event_once_and_in_order() {
    let (home, address) = listening().await;
    let mut watchers = Vec::new();
    for _ in 0..100 {
        watchers.push(Watching::start(address, "?channels=_status").await);
    }
    for step in 0..50 {
        home.handle.ask(Ask::SetStatus(Some(json!({ "working_on": step.to_string() })))).await;
    }
    for watcher in &mut watchers {
        for step in 0..50 {
            assert_eq!(watcher.json().await["working_on"], step.to_string());
        }
    }
}
