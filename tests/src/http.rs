//! HTTP by curl: what anybody can say to a door, and what it answers.

use serde_json::Value;
use std::process::{Command, Stdio};

/// What a door answered.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers as they came, in lower case, one a line.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that this is a refusal as every door writes it, with this status and code.
    pub fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.headers.contains("content-type: application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{self:?}");
        assert_eq!(problem["status"], status, "{self:?}");
        problem
    }
}

/// `GET` this URL.
pub fn get(url: &str) -> Reply {
    curl(&[url], None)
}

/// `POST` this JSON.
pub fn post(url: &str, body: &str) -> Reply {
    curl(&["-H", "Content-Type: application/json", url], Some(body))
}

/// Runs curl with these arguments, and this body on its standard input.
pub fn curl(words: &[&str], body: Option<&str>) -> Reply {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--insecure", "--noproxy", "*", "--max-time", "60", "--include"]);
    if body.is_some() {
        command.args(["--data-binary", "@-", "-H", "Expect:"]);
    }
    reply(command.args(words), body)
}

/// Runs a curl command whose output includes the headers.
pub fn reply(command: &mut Command, body: Option<&str>) -> Reply {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("curl is installed");
    let mut input = child.stdin.take().expect("standard input is a pipe");
    // A door may refuse before it has read all.
    let _ = std::io::Write::write_all(&mut input, body.unwrap_or_default().as_bytes());
    drop(input);
    let output = child.wait_with_output().expect("it is our own child");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let (headers, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{command:?}: {told}\n{text}"));
    let status = headers.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("{command:?}: no status in {headers}"));
    Reply { status, headers: headers.to_lowercase(), body: body.to_owned() }
}
