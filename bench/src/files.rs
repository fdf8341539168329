//! How fast files go from node to node over a link of 100 Mbit/s and 20 ms each way: two network namespaces
//! with a cable between them (`tests/peers/vlink.c`). Needs root, iproute2 and a C compiler.

use crate::server::{Folder, comity, first_line};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How large the file is, MiB.
const SIZE: usize = 64;

/// How often each kind of link is measured.
const ROUNDS: usize = 3;

/// What the link carries, Mbit/s.
const RATE: f64 = 100.0;

/// How long a packet takes, one way, microseconds.
const DELAY: &str = "20000";

/// How long nodes may take to be linked.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the cable is described.
const CABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/peers/vlink.c");

/// Prints a line for each kind of link.
pub(crate) fn run() -> Result<(), String> {
    println!("{:<44} {:>9} {:>9}  {:>7}  goal", "what", "MB/s", "Mbit/s", "of link");
    for (kind, by_broker) in [("mesh", false), ("WebRTC", true)] {
        let mut seconds = Vec::new();
        for _ in 0..ROUNDS {
            seconds.push(measure(by_broker)?.as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        let bytes = (SIZE << 20) as f64;
        let (rate, what) = (bytes / seconds[ROUNDS / 2], format!("file of {SIZE} MiB, {kind}, {RATE} Mbit/s, 20 ms"));
        let (megabits, share) = (rate * 8.0 / 1e6, rate * 8.0 / 1e6 / RATE);
        println!("{what:<44} {:>9.1} {megabits:>9.1}  {:>6.0}%  >= 80%", rate / 1e6, share * 100.0);
    }
    Ok(())
}

/// A program that is running; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when there is nothing left to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two namespaces with a cable between them, removed when dropped.
struct Link {
    names: [String; 2],
    cable: Option<Running>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cable = None;
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

fn sh(line: &str) -> Result<(), String> {
    let made = Command::new("sh").args(["-ec", line]).status().map_err(|error| error.to_string())?;
    if made.success() { Ok(()) } else { Err(format!("this failed: {line}")) }
}

impl Link {
    fn new(folder: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let vlink = folder.join("vlink").display().to_string();
        sh(&format!("cc -O2 -o {vlink} {CABLE}"))?;
        let names = ["a", "b"].map(|end| format!("cb{}{end}", std::process::id()));
        let [one, other] = names.clone();
        let mut link = Self { names, cable: None };
        sh(&format!("ip netns add {one}; ip netns add {other}"))?;
        let cable = Command::new(vlink).args([&one, "t0", &other, "t0", DELAY, "0"]).stdin(Stdio::piped()).spawn();
        link.cable = Some(Running(cable.map_err(|error| error.to_string())?));
        for (number, name) in link.names.iter().enumerate() {
            sh(&format!(
                "for try in $(seq 50); do ip -n {name} link show t0 >/dev/null 2>&1 && break; sleep 0.1; done; \
                 ip -n {name} link set lo up; ip -n {name} addr add 10.88.0.{}/24 dev t0; \
                 ip -n {name} link set t0 up; \
                 ip netns exec {name} tc qdisc add dev t0 root tbf rate {RATE}mbit burst 64kbit latency 50ms",
                number + 1
            ))?;
        }
        Ok(link)
    }

    /// `comity` with these words, at this end.
    fn comity(&self, end: usize, home: &Path, words: &[&str]) -> Result<Command, String> {
        let inner = comity(home)?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[end]]).arg(inner.get_program()).args(words);
        command.env("COMITY_HOME", home).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(command)
    }

    fn start(&self, end: usize, home: &Path, words: &[&str]) -> Result<Running, String> {
        let mut running = Running(self.comity(end, home, words)?.spawn().map_err(|error| error.to_string())?);
        let line = first_line(&mut running.0)?;
        if line.is_empty() { Err(format!("comity {} said nothing", words[0])) } else { Ok(running) }
    }

    fn says(&self, end: usize, home: &Path, words: &[&str]) -> Result<String, String> {
        let output = self.comity(end, home, words)?.output().map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// How long one file takes, from the start of the command that sends it to its end.
fn measure(by_broker: bool) -> Result<Duration, String> {
    let folder = Folder::new();
    let link = Link::new(folder.path())?;
    let homes = [folder.path().join("a"), folder.path().join("b")];
    let mut running = Vec::new();
    let found = if by_broker {
        running.push(link.start(0, &homes[0], &["broker", "--listen", "10.88.0.1:1883"])?);
        [["--broker", "mqtt://10.88.0.1:1883"], ["--broker", "mqtt://10.88.0.1:1883"]]
    } else {
        [["--peer", "http://10.88.0.2:8400"], ["--peer", "http://10.88.0.1:8400"]]
    };
    for end in 0..2 {
        let up = ["up", "--name", ["ann", "bob"][end], "--no-mdns", found[end][0], found[end][1]];
        running.push(link.start(end, &homes[end], &up)?);
    }
    let id = |end: usize| -> Result<String, String> {
        let said: serde_json::Value = serde_json::from_str(&link.says(end, &homes[end], &["id", "--json"])?)
            .map_err(|error| error.to_string())?;
        Ok(said["id"].as_str().unwrap_or_default().to_owned())
    };
    let (ann, bob) = (id(0)?, id(1)?);
    let deadline = Instant::now() + PATIENCE;
    while !link.says(1, &homes[1], &["status", "--json"])?.contains(&format!("\"peer\":\"{ann}\"")) {
        if Instant::now() > deadline {
            return Err("the nodes were not linked in time".to_owned());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let file = folder.path().join("file");
    sh(&format!("head -c {} /dev/urandom > {}", SIZE << 20, file.display()))?;
    let into = folder.path().join("in").display().to_string();
    running.push(link.start(1, &homes[1], &["receive", "--json", "--once", "--from", &ann, "--into", &into])?);
    let began = Instant::now();
    let mut sending = link.comity(0, &homes[0], &["send-file", &bob, &file.display().to_string(), "--json"])?;
    let sent = sending.output().map_err(|error| error.to_string())?;
    let took = began.elapsed();
    sh(&format!("cmp {} {into}/file", file.display()))?;
    if sent.status.success() { Ok(took) } else { Err("the file was not sent".to_owned()) }
}
