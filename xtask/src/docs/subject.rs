//! The program that the reference is about: its words, and a node of its own with no peers, in a
//! folder that is removed afterwards.

use crate::program::{self, Failed};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a door may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// What `comity WORDS` prints.
pub(super) fn says(comity: &Path, words: &[&str]) -> Result<String, Failed> {
    program::output(&mut plain(comity, words))
}

/// The program with nothing of this machine's settings, in a terminal of a fixed width.
fn plain(comity: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(comity);
    command.env_clear().env("HOME", "/nonexistent").env("COLUMNS", "100").args(words);
    command
}

/// A node with no peers.
pub(super) struct Subject {
    comity: PathBuf,
    folder: PathBuf,
    node: Child,
    /// The address of its metrics door.
    pub(super) metrics: String,
    /// What `comity status --json` says.
    pub(super) status: Value,
}

impl Subject {
    pub(super) fn start(comity: &Path) -> Result<Self, Failed> {
        let folder = std::env::temp_dir().join(format!("comity-docs-{}", std::process::id()));
        let mut command = plain(comity, &["up", "--no-mdns", "--port", "0", "--name", "subject", "--data-dir"]);
        let metrics = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        command.env("COMITY_METRICS_PORT", metrics.port().to_string()).env("COMITY_HTTP_LISTEN", "127.0.0.1");
        let mut node = command.arg(&folder).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = node.stdout.take().expect("standard output is a pipe");
        let mut subject =
            Self { comity: comity.to_owned(), folder, node, metrics: metrics.to_string(), status: Value::Null };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.is_empty() {
            return Err(Failed("`comity up` ended before it was ready".to_owned()));
        }
        subject.status = subject.json(&["status", "--json"])?;
        Ok(subject)
    }

    /// What `comity WORDS` prints about this node, as JSON.
    pub(super) fn json(&self, words: &[&str]) -> Result<Value, Failed> {
        let mut command = plain(&self.comity, words);
        let text = program::output(command.arg("--data-dir").arg(&self.folder))?;
        serde_json::from_str(&text).map_err(|error| Failed(format!("`comity {}`: {error}", words.join(" "))))
    }

    /// The MCP tools it offers.
    pub(super) fn tools(&self) -> Result<Vec<Value>, Failed> {
        let mut command = plain(&self.comity, &["mcp", "--data-dir"]);
        let mut mcp = command.arg(&self.folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = mcp.stdin.take().expect("standard input is a pipe");
        let mut output = BufReader::new(mcp.stdout.take().expect("standard output is a pipe"));
        let client = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"docs","version":"1"}}"#;
        writeln!(input, r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{client}}}"#)?;
        output.read_line(&mut String::new())?;
        writeln!(input, r#"{{"jsonrpc":"2.0","method":"notifications/initialized"}}"#)?;
        writeln!(input, r#"{{"jsonrpc":"2.0","id":2,"method":"tools/list"}}"#)?;
        let mut line = String::new();
        output.read_line(&mut line)?;
        drop(input);
        mcp.wait()?;
        let answer: Value =
            serde_json::from_str(&line).map_err(|error| Failed(format!("tools/list: {error}: {line}")))?;
        Ok(answer["result"]["tools"].as_array().cloned().unwrap_or_default())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Both fail only when what they are to remove is gone already.
        let _ = self.node.kill();
        let _ = self.node.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The body of `GET http://ADDRESS/PATH`.
pub(super) fn get(address: &str, path: &str) -> Result<String, Failed> {
    let mut stream = TcpStream::connect(address).map_err(|error| Failed(format!("{address}: {error}")))?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
        _ => Err(Failed(format!("{address}{path} answered {}", answer.lines().next().unwrap_or("nothing")))),
    }
}
