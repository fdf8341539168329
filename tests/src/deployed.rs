//! What `deploy/` says, as it is: its files at the places where an operator puts them, in a mount
//! namespace of their own, on a host of a lab, so that the usual ports and paths are free.

use crate::PATIENCE;
use crate::folder::Folder;
use crate::lab::{Host, wrapped};
use crate::lines::Lines;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounts each pair of its words, up to `--`, and becomes the command after that.
const MOUNT: &str =
    "while [ \"$1\" != -- ]; do mount --bind \"$1\" \"$2\" || exit 1; shift 2; done; shift; exec \"$@\"";

/// A file of `deploy/`.
pub fn file(name: &str) -> PathBuf {
    crate::root().join("deploy").join(name)
}

/// What is written in it.
pub fn text(name: &str) -> String {
    let file = file(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The command, to which each of these files or folders is at another place that exists. Its process id stays.
pub fn placed(places: &[(&Path, &str)], inner: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", MOUNT, "sh"]);
    for (from, to) in places {
        command.arg(from).arg(to);
    }
    command.arg("--");
    wrapped(command, inner)
}

/// What an operator puts in `/etc/mosquitto` of a server: `mosquitto-server.conf` with the port for client
/// certificates, `mosquitto.acl`, certificates and passwords; all as root's, and for group mosquitto to read.
#[derive(Debug)]
pub struct BrokerSettings {
    folder: PathBuf,
}

impl BrokerSettings {
    /// In a folder in this one, for a server that is called so, with client certificates of these common names.
    pub fn new(inside: &Folder, server: &str, clients: &[&str]) -> Self {
        let folder = inside.path().join("mosquitto");
        std::fs::create_dir_all(folder.join("certs")).expect("the folder is ours");
        crate::mosquitto::certificates(&folder, server, &[&["server"], clients].concat());
        let settings = Self { folder };
        for (from, to) in [("server.crt", "server.crt"), ("server.key", "server.key"), ("ca.crt", "clients.crt")] {
            let read = std::fs::read_to_string(settings.file(from)).expect("it was made");
            settings.write(&format!("certs/{to}"), &read);
        }
        settings.write("mosquitto.conf", &uncommented(&text("mosquitto-server.conf")));
        settings.write("acl", &text("mosquitto.acl"));
        settings.write("passwords", "");
        settings
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).expect("the folder is ours");
        self.hand_over(name);
    }

    fn hand_over(&self, name: &str) {
        for words in [["chgrp", "mosquitto"], ["chmod", "640"]] {
            crate::peers::output(Command::new(words[0]).arg(words[1]).arg(self.file(name)));
        }
    }

    /// A file of it, as in `ca.crt`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Lets a user in.
    pub fn user(&self, name: &str, password: &str) {
        let mut passwd = Command::new("mosquitto_passwd");
        crate::peers::output(passwd.arg("-b").arg(self.file("passwords")).args([name, password]));
        self.hand_over("passwords");
    }

    /// Mosquitto with it, on a host.
    pub fn start(&self, host: &Host) -> Lines {
        mosquitto(host, &[(&self.folder, "/etc/mosquitto")])
    }
}

/// Mosquitto on a host, with its configuration where it expects it.
pub fn mosquitto(host: &Host, places: &[(&Path, &str)]) -> Lines {
    let mut broker = Command::new("stdbuf");
    // What it says goes where it can be waited for.
    broker.args(["-oL", "-eL", "sh", "-c", "exec mosquitto -c /etc/mosquitto/mosquitto.conf 2>&1"]);
    let mut process = Lines::start(&mut host.run(&placed(places, &broker)));
    process.wait_for("running broker", PATIENCE, |line| line.ends_with(" running").then_some(()));
    process
}

/// coturn on a host as its own user, with this as its configuration.
pub fn coturn(host: &Host, folder: &Folder, config: &str) -> Lines {
    let file = folder.path().join("turnserver.conf");
    std::fs::write(&file, config).expect("the folder is ours");
    let mut relay = Command::new("setpriv");
    relay.args(["--reuid", "turnserver", "--regid", "turnserver", "--init-groups", "stdbuf", "-oL", "turnserver"]);
    relay.args(["-c", "/etc/turnserver.conf", "--pidfile="]);
    let process = Lines::start(&mut host.run(&placed(&[(&file, "/etc/turnserver.conf")], &relay)));
    crate::until("relay that answers", PATIENCE, || {
        // It asks once, and waits for ever for an answer that was not given yet.
        let mut ask = host.command("timeout");
        let asked = ask.args(["1", "stdbuf", "-oL", "turnutils_stunclient", &host.address]).output();
        let asked = asked.expect("coturn's tools are there");
        String::from_utf8_lossy(&asked.stdout).contains("reflexive addr").then_some(())
    });
    process
}

/// A configuration with the lines that are made for being uncommented: those whose # has no space after it.
pub fn uncommented(text: &str) -> String {
    let setting = |line: &str| {
        let rest = line.strip_prefix('#').filter(|rest| rest.starts_with(|letter: char| letter.is_ascii_lowercase()));
        format!("{}\n", rest.unwrap_or(line))
    };
    text.lines().map(setting).collect()
}
