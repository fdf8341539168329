//! A node as a process: started, asked by its own command, stopped or killed.

use crate::PATIENCE;
use crate::disk::Disk;
use crate::folder::Folder;
use crate::lab::Host;
use crate::lines::Lines;
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Ports for servers of tests.
const SERVED: std::ops::Range<u16> = 12_000..32_000;

/// The `comity` command with nothing of this machine's settings.
pub fn comity(words: &[&str]) -> Command {
    let program = std::env::var_os("TESTED_COMITY").map(PathBuf::from);
    let mut command = Command::new(program.expect("TESTED_COMITY is set: run these tests by `cargo xtask test`"));
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("COMITY_"));
    ours.for_each(|name| {
        command.env_remove(name);
    });
    command.env("HOME", "/nonexistent").env_remove("XDG_DATA_HOME").args(words);
    command
}

/// A running node with a data directory of its own.
#[derive(Debug)]
pub struct Node {
    process: Lines,
    place: Place,
    folder: Folder,
    name: String,
    /// The line that said it is ready.
    pub ready: String,
    /// What `comity status --json` said when it was ready.
    pub status: Value,
    metrics: u16,
}

/// Where a node runs, if not simply here.
#[derive(Debug)]
enum Place {
    Here,
    Host(Host),
    Disk(Disk),
    Files(u32),
    Logged(PathBuf),
}

impl Node {
    /// A node on loopback, which looks for nobody: peers are named by `--peer`.
    pub fn alone(name: &str, words: &[&str]) -> Self {
        Self::alone_in(Place::Here, Folder::new(), name, words, &[])
    }

    /// The same, with these environment variables.
    pub fn alone_with(name: &str, variables: &[(&str, &str)]) -> Self {
        Self::alone_in(Place::Here, Folder::new(), name, &[], variables)
    }

    /// A node on loopback with this configuration file.
    pub fn configured(name: &str, config: &str) -> Self {
        let folder = Folder::new();
        std::fs::write(folder.path().join("comity.toml"), config).expect("the folder is new");
        Self::alone_in(Place::Here, folder, name, &[], &[])
    }

    /// A node on loopback that the system allows so many files and sockets.
    pub fn with_files(name: &str, files: u32) -> Self {
        Self::alone_in(Place::Files(files), Folder::new(), name, &[], &[])
    }

    /// A node on loopback whose data directory is this disk, mounted on this folder.
    pub fn on_disk(disk: Disk, folder: Folder, name: &str) -> Self {
        Self::alone_in(Place::Disk(disk), folder, name, &[], &[])
    }

    /// A node on loopback that logs this into the file `log` of a folder.
    pub fn logged(name: &str, words: &[&str], filter: &str) -> (Self, Folder) {
        let folder = Folder::new();
        let place = Place::Logged(folder.path().join("log"));
        (Self::alone_in(place, Folder::new(), name, words, &[("COMITY_LOG", filter)]), folder)
    }

    fn alone_in(place: Place, folder: Folder, name: &str, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let metrics = free_port();
        let mut command = up(name, folder.path(), &[&["--no-mdns", "--port", "0"], words].concat());
        command.env("COMITY_HTTP_LISTEN", "127.0.0.1").env("COMITY_METRICS_PORT", metrics.to_string());
        command.envs(variables.iter().copied());
        Self::start(command, place, folder, name, metrics)
    }

    /// A node on a host of a lab, as anybody would start it.
    pub fn on(host: &Host, name: &str, words: &[&str]) -> Self {
        Self::on_with(host, name, words, &[])
    }

    /// The same, with these environment variables.
    pub fn on_with(host: &Host, name: &str, words: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::on_in(host, Folder::new(), name, words, variables)
    }

    /// The same, in this data directory.
    pub fn on_in(host: &Host, folder: Folder, name: &str, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = up(name, folder.path(), words);
        command.env("COMITY_METRICS_PORT", "8500").envs(variables.iter().copied());
        Self::start(command, Place::Host(host.clone()), folder, name, 8500)
    }

    fn start(command: Command, place: Place, folder: Folder, name: &str, metrics: u16) -> Self {
        let mut process = Lines::start(&mut match &place {
            Place::Here => command,
            Place::Host(host) => host.run(&command),
            Place::Disk(disk) => disk.run(&command),
            Place::Logged(log) => {
                let mut redirected = Command::new("sh");
                redirected.args(["-c", r#"log=$1; shift; exec "$@" 2>>"$log""#, "sh"]).arg(log);
                crate::lab::wrapped(redirected, &command)
            }
            Place::Files(files) => {
                let mut limited = Command::new("prlimit");
                limited.arg(format!("--nofile={files}:{files}"));
                crate::lab::wrapped(limited, &command)
            }
        });
        let ready = process.wait_for("ready line", PATIENCE, |line| line.contains("ready").then(|| line.to_owned()));
        let name = name.to_owned();
        let mut node = Self { process, place, folder, name, ready, status: Value::Null, metrics };
        node.status = node.json(&["status"]);
        node
    }

    /// Its UUID.
    pub fn id(&self) -> String {
        text(&self.status["id"])
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Its network door on loopback, as in `http://127.0.0.1:8400`.
    pub fn url(&self) -> String {
        let port = self.port();
        format!("http://127.0.0.1:{port}")
    }

    /// The port of its network door.
    pub fn port(&self) -> u16 {
        let endpoint = text(&self.status["endpoints"][0]);
        let port = endpoint.trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse().ok());
        port.unwrap_or_else(|| panic!("no port in {endpoint}"))
    }

    /// Its metrics door.
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.metrics)
    }

    /// Its control door on loopback.
    pub fn control_url(&self) -> String {
        text(&self.status["control_url"]).trim_end_matches('/').to_owned()
    }

    /// The token of its control door.
    pub fn token(&self) -> String {
        let file = self.folder.path().join("control/token");
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().to_owned()
    }

    /// A figure of its metrics, by its name and labels as they are written there; 0 if it was never counted.
    pub fn figure(&self, name: &str) -> f64 {
        let mut curl = match &self.place {
            Place::Host(host) => host.command("curl"),
            Place::Here | Place::Disk(_) | Place::Files(_) | Place::Logged(_) => Command::new("curl"),
        };
        curl.args(["--silent", "--show-error", "--fail", &format!("{}/metrics", self.metrics_url())]);
        let metrics = crate::peers::output(&mut curl);
        let figure = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        figure.unwrap_or(0.0)
    }

    /// How often a door of peers refused a request with this code.
    pub fn refusals(&self, code: &str) -> f64 {
        let name = "comity_errors_refused_requests_total";
        self.figure(&format!("{name}{{door=\"network\",code=\"{code}\"}}"))
    }

    /// How many connections were refused or cut for this cause.
    pub fn turned_away(&self, cause: &str) -> f64 {
        self.figure(&format!("comity_system_refused_connections_total{{cause=\"{cause}\"}}"))
    }

    /// How many messages that came here met this fate.
    pub fn fates(&self, fate: &str) -> f64 {
        self.figure(&format!("comity_pubsub_message_fates_total{{direction=\"in\",fate=\"{fate}\"}}"))
    }

    /// The memory that its process holds, in KiB, as the system says.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).expect("Linux says so")
    }

    /// The processor time that its process has taken, as the system says, in ticks of 10 ms.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.pid())).expect("it runs");
        let after_name = stat.rsplit(')').next().expect("a state");
        let ticks: u64 =
            after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// A command to this node.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = comity(words);
        command.arg("--data-dir").arg(self.folder.path());
        match &self.place {
            Place::Disk(disk) => disk.run(&command),
            Place::Here | Place::Host(_) | Place::Files(_) | Place::Logged(_) => command,
        }
    }

    /// The disk of a node that was started on one.
    pub fn disk(&self) -> &Disk {
        match &self.place {
            Place::Disk(disk) => disk,
            Place::Here | Place::Host(_) | Place::Files(_) | Place::Logged(_) => {
                panic!("{} has no disk of its own", self.name)
            }
        }
    }

    /// What such a command does.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the program is there")
    }

    /// What such a command prints; it must succeed.
    pub fn says(&self, words: &[&str]) -> String {
        crate::peers::output(&mut self.command(words))
    }

    /// The same, as JSON.
    pub fn json(&self, words: &[&str]) -> Value {
        let printed = self.says(&[words, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("comity {words:?}: {error}: {printed}"))
    }

    /// A command to this node that goes on, line by line as JSON.
    pub fn follow(&self, words: &[&str]) -> Lines {
        Lines::start(&mut self.command(&[words, &["--json"]].concat()))
    }

    /// What this node knows of the peer with this id.
    pub fn peer(&self, id: &str) -> Option<Value> {
        let peers = self.json(&["peers"]);
        peers["peers"].as_array().into_iter().flatten().find(|peer| peer["id"] == id).cloned()
    }

    /// Waits until what this node knows of this peer is as wanted, looking after every change.
    pub fn sees(&self, what: &str, id: &str, within: Duration, wanted: impl Fn(&Value) -> bool) {
        let mut changes = self.follow(&["peers", "--watch"]);
        if self.peer(id).is_some_and(|peer| wanted(&peer)) {
            return;
        }
        self.sees_in(&mut changes, what, id, within, wanted);
    }

    /// The same, in a stream of changes that began earlier.
    pub fn sees_in(
        &self,
        changes: &mut Lines,
        what: &str,
        id: &str,
        within: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) {
        changes.wait_for(what, within, |line| {
            let change: Value = serde_json::from_str(line).expect("changes are JSON, one a line");
            let named = change["peer"]["id"] == id || change["id"] == id;
            let as_wanted = if change["peer"].is_object() {
                wanted(&change["peer"])
            } else {
                self.peer(id).is_some_and(|peer| wanted(&peer))
            };
            (named && as_wanted).then_some(())
        });
    }

    /// Waits until this node and the other know each other: verified, reachable both ways.
    pub fn knows(&self, other: &Self) {
        // A key may be proven, for gossip, before the card that has the name has come.
        self.sees("verified peer, reachable both ways", &other.id(), PATIENCE, |peer| {
            let is_there = peer["presence"] == "online" && peer["name"] != "";
            peer["trust"] == "verified" && peer["reach"] == "both" && is_there
        });
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Asks it to stop, and waits until it has; its data directory is handed back.
    pub fn stop(self) -> (ExitStatus, Folder) {
        self.process.signal("TERM");
        self.stop_after_signal()
    }

    /// Kills it, and starts it again, on loopback, in the same data directory.
    pub fn killed_and_started_again(self) -> Self {
        self.killed_changed_and_started_again(|_| {})
    }

    /// The same; meanwhile something is done with its data directory.
    pub fn killed_changed_and_started_again(mut self, change: impl FnOnce(&Path)) -> Self {
        self.process.signal("KILL");
        self.process.ended(PATIENCE);
        change(self.folder.path());
        Self::alone_in(self.place, self.folder, &self.name, &[], &[])
    }

    /// Waits until it has stopped, after a signal that asked for it.
    pub fn stop_after_signal(mut self) -> (ExitStatus, Folder) {
        (self.process.ended(PATIENCE), self.folder)
    }
}

/// `comity up` in this folder.
pub fn up(name: &str, folder: &Path, words: &[&str]) -> Command {
    let mut command = comity(&["up", "--name", name]);
    command.args(words).arg("--data-dir").arg(folder);
    command
}

/// A text in JSON.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text is wanted: {value}")).to_owned()
}

/// A port of loopback that nobody uses. It is below those that the system gives to connections, which would else be
/// given to one of the other tests before it is used; and what another process of tests tries first is elsewhere.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % u32::from(u16::MAX)) as u16;
    let tried = (0..SERVED.len()).map(|_| first.wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)));
    let mut ports = tried.map(|number| SERVED.start + number % (SERVED.end - SERVED.start));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}
