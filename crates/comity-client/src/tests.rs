//! The client against a socket that answers what a test says.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// A data directory of this test alone; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("comity-client-{}-{name}", std::process::id()));
        std::fs::create_dir_all(folder.join(control::FOLDER)).expect("a folder can be made");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Answers one connection with these bytes, whatever it asks, and closes it.
fn answer_once(client: &Client, answer: String) {
    let listener = UnixListener::bind(client.socket()).expect("the socket can be bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody connects");
        let mut asked = [0; 4096];
        let _ = stream.read(&mut asked).await.expect("the request is read");
        stream.write_all(answer.as_bytes()).await.expect("the answer is written");
    });
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn with_no_node_running_the_error_says_how_to_start_one() {
    let folder = Folder::new("none");
    let refused = Client::new(&folder.0).node().await.expect_err("nobody is there");
    assert!(refused.to_string().ends_with("start one with `comity up`"), "{refused}");
    assert!(matches!(refused, Error::NoNode { .. }));
}

#[tokio::test]
async fn a_socket_left_behind_by_a_crash_is_no_node() {
    let folder = Folder::new("left");
    let client = Client::new(&folder.0);
    drop(UnixListener::bind(client.socket()).expect("the socket can be bound"));
    assert!(matches!(client.node().await, Err(Error::NoNode { .. })));
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_names_the_field() {
    let folder = Folder::new("refused");
    let client = Client::new(&folder.0);
    let problem =
        r#"{"type":"about:blank","status":400,"code":"bad_request","detail":"no such mode","pointer":"/mode"}"#;
    answer_once(&client, http("400 Bad Request", problem));
    let refused = client.set_attention(comity_core::inbox::Mode::Minimal).await.expect_err("it is refused");
    assert_eq!(refused.code(), Some("bad_request"));
    assert_eq!(refused.to_string(), "no such mode (at /mode)");
}

/// An inbox of so many items, which refuses to give more than [`PAGE`] at once.
async fn inbox_of(size: u64, listener: UnixListener) {
    let message = serde_json::json!({
        "from": Uuid::nil(), "to": "broadcast", "type": "error", "channel": "_bugs", "payload": 1, "priority": "normal",
        "timestamp": "2026-01-01T00:00:00Z", "ttl": 60, "trust": "verified", "via": "link",
        "received_at": "2026-01-01T00:00:00Z",
    });
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut asked = vec![0; 4096];
        let length = stream.read(&mut asked).await.expect("the request is read");
        let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
        let number = |name: &str| {
            let digits = asked.split(name).nth(1).expect("it is asked for").split(|c: char| !c.is_ascii_digit());
            digits.into_iter().next().and_then(|digits| digits.parse::<u64>().ok()).expect("a number")
        };
        let (after, limit) = (number("after="), number("limit="));
        assert!(limit <= PAGE as u64, "{limit}");
        let numbers = after + 1..=size.min(after + limit);
        let items: Vec<_> =
            numbers.map(|arrival| serde_json::json!({ "arrival": arrival, "message": message })).collect();
        let answer = http("200 OK", &serde_json::json!({ "items": items }).to_string());
        stream.write_all(answer.as_bytes()).await.expect("the answer is written");
    }
}

#[tokio::test]
async fn a_full_inbox_is_read_in_parts_that_fit_into_an_answer() {
    let folder = Folder::new("inbox");
    let client = Client::new(&folder.0);
    let listener = UnixListener::bind(client.socket()).expect("the socket can be bound");
    tokio::spawn(inbox_of(250, listener));
    for (after, limit, first, last, count) in
        [(0, 1000, 1, 250, 250), (0, 120, 1, 120, 120), (249, 1000, 250, 250, 1), (10, 100, 11, 110, 100)]
    {
        let items = client.inbox(after, limit).await.expect("it is read");
        let ends = (items[0].arrival, items[items.len() - 1].arrival, items.len());
        assert_eq!(ends, (first, last, count), "{limit} after {after}");
    }
}

#[tokio::test]
async fn a_stream_is_read_line_by_line_and_empty_lines_are_skipped() {
    let folder = Folder::new("lines");
    let client = Client::new(&folder.0);
    let lines = "\n\n{\"change\":\"lagged\",\"skipped\":1}\n\n{\"change\":\"lagged\",\"skipped\":2}\n";
    answer_once(&client, http("200 OK", lines));
    let mut changes = client.peer_changes().await.expect("the stream opens");
    for skipped in [1, 2] {
        let change = changes.next().await.expect("the line is read");
        assert_eq!(change, Some(control::PeerChange::Lagged { skipped }));
    }
    assert_eq!(changes.next().await.expect("the end is read"), None);
}

#[tokio::test]
async fn a_data_directory_with_a_very_long_path_is_reached() {
    let folder = Folder::new(&"long".repeat(40));
    let client = Client::new(&folder.0);
    let real = Folder::new("short");
    let socket = Client::new(&real.0).socket();
    answer_once(&Client::new(&real.0), http("200 OK", r#"{"settings":[]}"#));
    std::os::unix::fs::symlink(socket, client.socket()).expect("a link can be made");
    assert_eq!(client.settings().await.expect("the node answers"), Vec::new());
}
