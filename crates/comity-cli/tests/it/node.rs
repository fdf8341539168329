//! Nodes and commands for the tests: each node has a folder of its own and ends with its test.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of one test; removed with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("comity-it-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The command with a folder and arguments, without anything of the tester's environment.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_comity"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("COMITY_") {
            command.env_remove(variable);
        }
    }
    command.args(arguments).arg("--data-dir").arg(folder).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the command runs")
}

/// Runs a command that must succeed and reads its JSON.
pub(crate) fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = run(folder, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}

/// The exit code of a command, and what it said on standard error.
pub(crate) fn failure(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = run(folder, arguments);
    (output.status.code().expect("it ended by itself"), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs a command with this on its standard input.
pub(crate) fn with_input(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = command(folder, arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// Waits until something is so.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A running node.
pub(crate) struct Node {
    pub(crate) folder: Folder,
    pub(crate) ready: Value,
    process: Child,
}

impl Node {
    /// Starts a node that finds nobody by itself, and waits until it is ready.
    pub(crate) fn up(name: &str, more: &[&str]) -> Self {
        Self::up_with(name, more, &[])
    }

    /// The same, with these in its environment.
    pub(crate) fn up_with(name: &str, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let arguments = [&["up", "--json", "--name", name, "--port", "0", "--no-mdns"], more].concat();
        let mut command = command(&folder.0, &arguments);
        // On loopback only: what other addresses this machine has is not the test's business.
        command.env("COMITY_HTTP_LISTEN", "127.0.0.1").envs(environment.iter().copied());
        let mut process = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says something");
        let ready = serde_json::from_str(&line).expect("the ready line is JSON");
        Self { folder, ready, process }
    }

    /// Two nodes that know each other.
    pub(crate) fn pair() -> (Self, Self) {
        let alice = Self::up("alice", &[]);
        let port = alice.port();
        let bob = Self::up("bob", &["--peer", &format!("http://127.0.0.1:{port}"), "--capability", "echo"]);
        for (node, other) in [(&alice, "bob"), (&bob, "alice")] {
            until("the peers know each other", || {
                let peers = json(node.path(), &["peers"]);
                let mut peers = peers["peers"].as_array()?.iter();
                peers.any(|peer| peer["name"] == other && peer["reach"] == "both").then_some(())
            });
        }
        (alice, bob)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder.0
    }

    pub(crate) fn port(&self) -> u16 {
        let address = self.ready["addresses"][0].as_str().expect("an address");
        address.rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok()).expect("a port")
    }

    pub(crate) fn id(&self) -> &str {
        self.ready["id"].as_str().expect("an id")
    }

    /// Stops it as a service manager would, and gives its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        terminate(&self.process);
        until("the node ends", || self.process.try_wait().expect("it can be waited for")).code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command that goes on; ends with its test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = command(folder, arguments);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        terminate(&self.0);
        let _ = self.0.wait();
    }
}

fn terminate(child: &Child) {
    let _ = Command::new("kill").arg(child.id().to_string()).status();
}
