//! Every command that the README names outside its session is run as it stands there, by somebody
//! who has two terminals on one machine. A command that this does not know how to run is an error.

use comity_tests::PATIENCE;
use comity_tests::folder::Folder;
use comity_tests::lab::{Host, Lab};
use comity_tests::lines::Lines;
use comity_tests::node::text;
use comity_tests::until;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Commands in `code` and in blocks of shell, in their order; the session has a test of its own.
fn commands() -> Vec<String> {
    let file = comity_tests::root().join("README.md");
    let readme = std::fs::read_to_string(file).expect("the README is there");
    let mut found: Vec<String> = Vec::new();
    let mut block = "";
    for line in readme.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            block = if block.is_empty() { if kind.is_empty() { "text" } else { kind } } else { "" };
        } else if block == "sh" {
            found.push(line.to_owned());
        } else if block.is_empty() {
            found.extend(line.split('`').skip(1).step_by(2).filter(|code| is_command(code)).map(str::to_owned));
        }
    }
    found
}

fn is_command(code: &str) -> bool {
    ["comity ", "cargo "].iter().any(|program| code.starts_with(program))
}

/// A person at a machine with two nodes.
struct Newcomer {
    host: Host,
    home: Folder,
    nodes: Vec<Lines>,
    /// What the first node is called.
    own_name: String,
    /// What the README calls NAME, MESSAGE and CMD.
    name: String,
    message: String,
    /// What the README calls TASK.
    task: String,
    /// The task that was put into the queue.
    queued: String,
    /// What was started and goes on.
    running: Vec<Lines>,
    broker: Option<Lines>,
}

impl Newcomer {
    fn shell(&self, line: &str) -> Command {
        let program = PathBuf::from(std::env::var_os("TESTED_COMITY").expect("it is set"));
        let path = format!("{}:{}", program.parent().expect("a folder").display(), std::env::var("PATH").expect("one"));
        let mut shell = self.host.command("bash");
        shell.args(["-c", &format!("exec {line}")]).env("PATH", path).env("HOME", self.home.path());
        shell.env_remove("XDG_DATA_HOME").stdin(Stdio::null()).current_dir(self.home.path());
        shell
    }

    /// The line with what the README leaves open filled in.
    fn filled(&self, line: &str) -> String {
        let line = line.replace("NAME", &self.name).replace("MESSAGE", &self.message).replace("CMD", "wc -w");
        let line = line.replace("TASK", &self.task).replace("FILE", "notes.txt");
        let received = self.received().display().to_string();
        let readme = comity_tests::root().join("README.md").display().to_string();
        line.replace("DIR", &received).replace("PATH...", &readme)
    }

    fn received(&self) -> PathBuf {
        self.home.path().join("received")
    }

    fn says(&self, line: &str) -> String {
        let output = self.shell(line).output().expect("bash is there");
        checked(line, &output)
    }

    /// The same command to the second node.
    fn second_says(&self, line: &str) -> String {
        self.says(&self.second(line))
    }

    fn second(&self, line: &str) -> String {
        format!("{line} --data-dir {}", self.home.path().join(".local/share/comity-2").display())
    }

    fn start(&mut self, line: &str) {
        self.running.push(Lines::start(&mut self.shell(line)));
    }

    fn started(&self, line: &str) -> Lines {
        let mut started = Lines::start(&mut self.shell(line));
        let ready = |line: &str| ["ready ", "announced"].iter().any(|word| line.starts_with(word)).then_some(());
        started.wait_for("ready line", PATIENCE, ready);
        started
    }

    /// Runs one command of the README, and looks whether it did what the README says.
    fn run(&mut self, line: &str) {
        let line = self.filled(line);
        let mut words = line.split_whitespace().skip(1);
        let (name, first) = (words.next().expect("a command has a name"), words.next().unwrap_or_default());
        match name {
            // These want a second organisation: `federation.rs` runs them.
            "channel" | "federation" => {}
            "send" | "watch" | "trust" if first.starts_with("'!") || first == "beta.test" => {}
            "send" | "watch" if first.contains('/') => self.gossips(&line),
            "topic" | "role" | "project" | "room" | "claims" | "journal" => self.gossips(&line),
            "worker" => self.start(&self.second(&line)),
            "task" => self.queues(&line, first),
            "redact" => self.redacts(&line),
            "index" | "search" => self.searches(&line, first),
            "know" => assert!(self.says(&line).contains("known as")),
            "ask-mesh" => assert!(self.says(&line).contains("cannot read tabs")),
            "broker" => self.broker = Some(self.started(&line)),
            "up" if line.contains("--broker") => {
                if line.contains("embedded") {
                    // It wants the same port.
                    self.broker = None;
                }
                let node = self.started(&line);
                self.running.push(node);
            }
            "announce" | "federation:announce" => {
                let announcing = self.started(&line);
                self.running.push(announcing);
            }
            "discover" | "federation:discover" | "federation:peers" => {
                until("announced peer", PATIENCE, || self.says(&line).contains("signed").then_some(()));
            }
            "up" => assert_eq!(self.nodes.len(), 2, "they run"),
            "peers" => until("the other node", PATIENCE, || self.says(&line).contains(&self.name).then_some(())),
            "send" => {
                self.message = text(&self.json(&line)["id"]);
                until("message", PATIENCE, || self.second_says("comity inbox").contains("hello").then_some(()));
            }
            "watch" => self.watches(&line),
            "inbox" => assert!(self.says(&line).contains("look here")),
            "answer" => self.start(&self.second(&line)),
            "ask" => until("answer", PATIENCE, || {
                let output = self.shell(&line).output().expect("bash is there");
                (String::from_utf8_lossy(&output.stdout).trim() == "2").then_some(())
            }),
            "mcp" => self.speaks_mcp(&line),
            "trust" if line.ends_with(&self.name) => {
                self.second_says(&format!("comity trust {}", self.own_name));
            }
            "receive" => self.start(&self.second(&line)),
            "send-file" => until("file", PATIENCE, || {
                let sent = self.shell(&line).output().expect("bash is there").status.success();
                sent.then(|| assert!(self.received().join("README.md").exists()))
            }),
            "trust" => assert!(self.says(&line).contains("No node is on the list")),
            "why" => assert!(self.says(&line).contains("inbox")),
            "attention" => assert!(self.says(&line).contains("minimal")),
            "digest" => assert!(self.says(&line).starts_with("Since last check")),
            "code" => {
                let page = self.says(&format!("curl -sSf {}", text(&self.json(&line)["page"])));
                assert!(page.contains("<title>Comity"), "{page}");
            }
            "doctor" => assert!(!self.says(&line).contains("FAILS")),
            "config" => assert!(self.says(&line).contains("http.port")),
            "install" | "run" => built_by(&line, &self.host),
            other => panic!("the README names `comity {other}`, and nobody runs it here"),
        }
    }

    /// Shows what comes, until something is said.
    fn watches(&mut self, line: &str) {
        self.start(line);
        until("what is said, shown", PATIENCE, || {
            self.second_says("comity send _suggestions 'look here'");
            let watch = self.running.last_mut().expect("it was started");
            let shown = watch.during(std::time::Duration::from_millis(300));
            shown.iter().find(|line| line.contains("look here")).map(drop)
        });
    }

    /// Runs a command about topics, tasks or the journal: the second node has the role and takes the task.
    fn gossips(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().skip(1).collect();
        match (words[0], words[1]) {
            ("topic", "list") => assert!(self.says(line).contains("/p2p/")),
            ("topic" | "project", "join") => assert!(self.says(line).contains(words[2])),
            ("watch" | "room", _) => self.start(&self.second(line)),
            ("send", topic) => {
                until("listener", PATIENCE, || {
                    self.shell(line).output().expect("bash is there").status.success().then_some(())
                });
                let heard = || self.second_says("comity journal tail --lines 100").contains(topic);
                until("what was said, heard", PATIENCE, || heard().then_some(()));
            }
            ("role", "set") => assert!(self.second_says(line).contains("CHORUS/roles/senior_developer/v1")),
            ("claims", "announce") => self.task = self.says(line).trim().to_owned(),
            ("claims", "take") => {
                let knows = || self.second_says("comity claims list").contains(&self.task);
                until("task", PATIENCE, || knows().then_some(()));
                assert!(self.second_says(line).contains("is ours"));
            }
            ("claims", "done") => assert!(self.second_says(line).contains("done")),
            ("claims", "list") => {
                until("end of the task", PATIENCE, || self.says(line).contains("done").then_some(()));
            }
            ("journal", "follow") => {
                let mut copy = Lines::start(&mut self.shell(line));
                copy.wait_for("copy", PATIENCE, |line| line.starts_with("current").then_some(()));
                self.running.push(copy);
            }
            ("journal", "verify") => assert!(self.says(line).contains("nothing is wrong")),
            ("journal", "tail" | "query") => assert!(self.says(line).contains("task_claimed")),
            ("journal", "export") => {
                self.says(line);
                let copy = std::fs::read_to_string(self.home.path().join("journal.jsonl")).expect("it was written");
                assert!(copy.contains("task_claimed"), "{copy}");
            }
            other => panic!("the README names {other:?}, and nobody runs it here"),
        }
    }

    /// Runs a command about documents.
    fn searches(&self, line: &str, first: &str) {
        let notes = self.home.path().join("notes");
        std::fs::create_dir_all(&notes).expect("it is ours");
        std::fs::write(notes.join("bread.md"), "# Bread\n\nA sourdough starter wants flour.\n").expect("it is ours");
        match first {
            "add" if line.ends_with(" add") => drop(self.says(&format!("{line} --recursive notes"))),
            "add" => drop(self.says(line)),
            "ls" => assert!(self.says(line).contains("bread.md")),
            "rm" => assert!(self.says(&format!("{line} notes/bread.md")).contains("1 taken out")),
            "--json" => assert!(self.says(&format!("{line} sourdough")).contains("\"results\"")),
            _ => assert!(self.says(line).contains("bread.md"), "{line}"),
        }
    }

    /// Runs a command about the queue of tasks. Nobody here has the tool: `compute.rs` has tasks done.
    fn queues(&mut self, line: &str, first: &str) {
        let line = line.replace(" ID", &format!(" {}", self.queued));
        match first {
            "submit" => self.queued = self.says(&line).trim().to_owned(),
            "list" => assert!(self.says(&line).contains(&self.queued)),
            "watch" => self.start(&line),
            "cancel" => assert!(self.says(&line).contains("cancelled")),
            "workers" => assert!(self.says(&line).contains("words/say")),
            "dead" => assert!(self.says(&line).contains("No tasks")),
            _ => {
                let output = self.shell(&line).output().expect("bash is there");
                assert!(String::from_utf8_lossy(&output.stderr).contains("only a task that failed"), "{output:?}");
            }
        }
    }

    fn redacts(&self, line: &str) {
        std::fs::write(self.home.path().join("notes.txt"), "password = \"correct horse 77\"\n").expect("it is ours");
        let output = self.shell(line).output().expect("bash is there");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{printed}");
        assert!(printed.contains("password") && !printed.contains("correct horse"), "{printed}");
    }

    fn json(&self, line: &str) -> Value {
        let printed = self.says(&format!("{line} --json"));
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{line}: {error}: {printed}"))
    }

    fn speaks_mcp(&self, line: &str) {
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "newcomer", "version": "1"}}});
        let mut mcp = Lines::start(&mut self.shell(line));
        mcp.say(&hello.to_string());
        mcp.wait_for("answer", PATIENCE, |line| line.contains("serverInfo").then_some(()));
    }
}

fn checked(line: &str, output: &Output) -> String {
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The two commands of cargo, with what was built for the tests: another profile, nothing fetched.
fn built_by(line: &str, host: &Host) {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let root = comity_tests::root();
    let folder = Folder::new();
    let path = folder.path().display();
    let line = line.replacen("cargo", &format!("{cargo} --offline --locked"), 1).replace(" --release", "");
    let start = |line: &str| {
        let mut shell = host.command("bash");
        shell.args(["-c", &format!("exec {line}")]).current_dir(&root).env("COMITY_HOME", folder.path().join("node"));
        // A person's shell does not say what package of ours it is; ring, for one, is built again when that changes.
        let of_this_package =
            |(name, _): &(String, String)| name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR";
        for (name, _) in std::env::vars().filter(of_this_package) {
            shell.env_remove(name);
        }
        shell
    };
    if line.contains(" install ") {
        let output = start(&format!("{line} --debug --root {path}")).output().expect("bash is there");
        checked(&line, &output);
        let version = Command::new(folder.path().join("bin/comity")).arg("--version").output().expect("it is there");
        assert!(checked("comity --version", &version).starts_with("comity "));
    } else {
        let mut node = Lines::start(&mut start(&line));
        node.wait_for("ready line", PATIENCE * 6, |line| line.starts_with("ready ").then_some(()));
    }
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    let commands = commands();
    assert!(commands.len() >= 12, "{commands:?}");
    let lab = Lab::bridge(1);
    let (host, home) = (lab.host(1), Folder::new());
    let (nodes, running, name, message) = (Vec::new(), Vec::new(), String::new(), String::new());
    let (own_name, task, queued) = (String::new(), String::new(), String::new());
    let mut newcomer = Newcomer { host, home, nodes, own_name, name, message, task, queued, running, broker: None };
    for _ in 0..2 {
        let mut node = Lines::start(&mut newcomer.shell("comity up"));
        let ready = node.wait_for("ready line", PATIENCE, |line| line.strip_prefix("ready ").map(str::to_owned));
        newcomer.own_name.clone_from(&newcomer.name);
        newcomer.name = ready.split_whitespace().next().expect("a name").to_owned();
        newcomer.nodes.push(node);
    }
    // What names a message comes after the message.
    let (later, first): (Vec<_>, Vec<_>) = commands.iter().partition(|line| line.contains("MESSAGE"));
    for line in first.iter().chain(&later) {
        newcomer.run(line);
    }
}

#[test]
fn the_code_in_the_readme_is_part_of_an_example_that_is_built() {
    let root = comity_tests::root();
    let lines = |file: &str| -> Vec<String> {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        text.lines().map(|line| line.trim().to_owned()).collect()
    };
    let readme = lines("README.md");
    let blocks: Vec<_> = readme.split(|line| line.starts_with("```")).skip(1).step_by(2).collect();
    let starts = readme.iter().filter(|line| line.starts_with("```")).step_by(2);
    let (example, mut found) = (lines("crates/comity/examples/say_and_listen.rs"), 0);
    for (block, _) in blocks.iter().zip(starts).filter(|(_, start)| *start == "```rust") {
        assert!(example.windows(block.len()).any(|lines| lines == *block), "{block:?}");
        found += 1;
    }
    assert_eq!(found, 1, "the README has one block of Rust");
}
