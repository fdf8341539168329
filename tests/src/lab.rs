//! A network of its own: hosts in network namespaces on one bridge, made and removed by a test, so
//! that nothing of it reaches the machine's own network, and many can stand side by side.

use crate::folder::Folder;
use crate::lines::{Lines, signal_to};
use crate::{PATIENCE, peers};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How the names of all our namespaces begin; the process id of the test follows.
const PREFIX: &str = "ct";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A long way between two networks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cable {
    /// How long a packet takes, one way.
    pub delay: Duration,
    /// Of a hundred packets, so many are lost.
    pub loss_percent: u32,
}

/// Hosts on one bridge, or two at the ends of a long cable.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    hosts: usize,
    /// Held for what it does.
    _cable: Option<(Lines, Folder)>,
}

/// One of its hosts.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its network namespace.
    pub namespace: String,
    /// Its address.
    pub address: String,
}

impl Lab {
    /// That many hosts, `10.77.0.1` and up.
    pub fn bridge(hosts: usize) -> Self {
        sweep();
        let lab = Self { prefix: name_new(), hosts, _cable: None };
        let switch = lab.switch();
        ip(&["netns", "add", &switch]);
        // Where the kernel hands bridged frames to the firewall, that is switched off here.
        let _ = Command::new("ip")
            .args(["netns", "exec", &switch, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0"])
            .output();
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0"]);
        ip(&["-n", &switch, "link", "set", "br0", "up"]);
        (1..=hosts).for_each(|number| lab.plug_in(number));
        lab
    }

    /// Two hosts with nothing but this cable between them.
    pub fn apart(cable: Cable) -> Self {
        sweep();
        let mut lab = Self { prefix: name_new(), hosts: 2, _cable: None };
        let [one, other] = [1, 2].map(|number| lab.host(number).namespace);
        for namespace in [&one, &other] {
            ip(&["netns", "add", namespace]);
        }
        lab._cable = Some(long_cable(&one, &other, "eth0", cable));
        [1, 2].into_iter().for_each(|number| lab.set_up(number));
        lab
    }

    fn plug_in(&self, number: usize) {
        let Host { namespace, .. } = self.host(number);
        let (switch, port) = (self.switch(), format!("p{number}"));
        ip(&["netns", "add", &namespace]);
        ip(&[
            "link", "add", "name", "eth0", "netns", &namespace, "type", "veth", "peer", "name", &port, "netns", &switch,
        ]);
        ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"]);
        self.set_up(number);
    }

    /// Gives a host its addresses, once it has its cable.
    fn set_up(&self, number: usize) {
        let Host { namespace, address } = self.host(number);
        ip(&["-n", &namespace, "link", "set", "lo", "up"]);
        ip(&["-n", &namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        ip(&["-n", &namespace, "link", "set", "eth0", "up"]);
        ip(&["-n", &namespace, "route", "add", "224.0.0.0/4", "dev", "eth0"]);
    }

    fn switch(&self) -> String {
        format!("{}sw", self.prefix)
    }

    /// A host, from 1.
    pub fn host(&self, number: usize) -> Host {
        assert!((1..=self.hosts).contains(&number), "there is no host {number}");
        Host { namespace: format!("{}h{number}", self.prefix), address: format!("10.77.0.{number}") }
    }

    /// Cuts the cable of a host: its own interface stays up, and nothing passes.
    pub fn cut(&self, number: usize) {
        self.filter(&format!("cut{number}"), &format!("iifname \"p{number}\" drop\n oifname \"p{number}\" drop"));
    }

    /// Lets no TCP pass between two hosts: neither reaches a port of the other.
    pub fn close_ports(&self, one: usize, other: usize) {
        let between = |from: usize, to: usize| format!("iifname \"p{from}\" oifname \"p{to}\" meta l4proto tcp drop");
        self.filter(&format!("ports{one}x{other}"), &[between(one, other), between(other, one)].join("\n "));
    }

    /// Lets nothing pass between two hosts: others may still pass on what they say.
    pub fn part(&self, one: usize, other: usize) {
        let between = |from: usize, to: usize| format!("iifname \"p{from}\" oifname \"p{to}\" drop");
        self.filter(&format!("part{one}x{other}"), &[between(one, other), between(other, one)].join("\n "));
    }

    fn filter(&self, name: &str, rules: &str) {
        let rules = format!(
            "table bridge {name} {{\n chain pass {{\n type filter hook forward priority 0\n {rules}\n }}\n}}\n"
        );
        load_rules(&self.switch(), &rules);
    }

    /// Mends what [`Self::cut`] cut.
    pub fn mend(&self, number: usize) {
        ip(&["netns", "exec", &self.switch(), "nft", "delete", "table", "bridge", &format!("cut{number}")]);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        remove(&self.prefix);
    }
}

impl Host {
    /// A program on this host. Its process id is that of the command.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]);
        command
    }

    /// This command, on this host.
    pub fn run(&self, inner: &Command) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]);
        wrapped(command, inner)
    }
}

/// The command that runs the other: its words, then those of the other, in the other's environment.
pub(crate) fn wrapped(mut command: Command, inner: &Command) -> Command {
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(folder) = inner.get_current_dir() {
        command.current_dir(folder);
    }
    command
}

/// How the names of a new network's namespaces begin.
pub(crate) fn name_new() -> String {
    format!("{PREFIX}{}x{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Loads rules of the firewall in a namespace.
pub(crate) fn load_rules(namespace: &str, rules: &str) {
    let mut nft = Command::new("ip");
    nft.args(["netns", "exec", namespace, "nft", "-f", "-"]);
    let mut nft = nft.stdin(std::process::Stdio::piped()).spawn().expect("nft is installed");
    std::io::Write::write_all(&mut nft.stdin.take().expect("a pipe"), rules.as_bytes()).expect("nft reads its rules");
    assert!(nft.wait().is_ok_and(|status| status.success()), "nft refused the rules:\n{rules}");
}

/// Joins `eth0` of a namespace and this port of another.
pub(crate) fn long_cable(one: &str, other: &str, port: &str, cable: Cable) -> (Lines, Folder) {
    let folder = Folder::new();
    let program = folder.path().join("vlink");
    peers::output(Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(peers::file("vlink.c")));
    let (delay, loss) = (cable.delay.as_micros().to_string(), (cable.loss_percent * 10_000).to_string());
    let mut running = Lines::start(Command::new(program).args([one, "eth0", other, port, &delay, &loss]));
    running.wait_for("cable", PATIENCE, |line| (line == "up").then_some(()));
    (running, folder)
}

/// Runs `ip`, which must succeed.
pub(crate) fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
}

fn namespaces() -> Vec<String> {
    let output = Command::new("ip").args(["netns", "list"]).output().expect("iproute2 is installed");
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    list.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Ends what runs in the namespaces that begin so, and removes them.
pub(crate) fn remove(prefix: &str) {
    for namespace in namespaces().iter().filter(|name| name.starts_with(prefix)) {
        let pids = Command::new("ip").args(["netns", "pids", namespace]).output();
        let pids = pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            // It may have ended in between.
            let _ = std::panic::catch_unwind(|| signal_to(pid, "KILL"));
        }
        let _ = Command::new("ip").args(["netns", "del", namespace]).output();
    }
}

/// Removes what tests left behind that were killed themselves.
pub(crate) fn sweep() {
    for name in namespaces() {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('x')).map(|(pid, _)| pid);
        let Some(pid) = owner.filter(|pid| pid.parse::<u32>().is_ok()) else { continue };
        if !std::path::Path::new("/proc").join(pid).exists() {
            remove(&format!("{PREFIX}{pid}x"));
        }
    }
}
