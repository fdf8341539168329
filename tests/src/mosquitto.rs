//! Eclipse Mosquitto, as it comes from Debian: a broker of a test, and its own client that listens.

use crate::PATIENCE;
use crate::folder::Folder;
use crate::lab::Host;
use crate::lines::Lines;
use crate::node::free_port;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a broker listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For anybody.
    Plain,
    /// For user `ann` with the password `s3cret`, who may do all under the prefix; and for `bob` (`hunter2`), who may
    /// only read.
    Passwords,
    /// By TLS, for clients with a certificate of its authority.
    Tls,
    /// By WebSockets, for anybody.
    WebSocket,
}

/// A running broker.
#[derive(Debug)]
pub struct Mosquitto {
    process: Lines,
    folder: Folder,
    kind: Kind,
    address: String,
    port: u16,
    host: Option<Host>,
}

impl Mosquitto {
    /// A broker on loopback.
    pub fn start(kind: Kind) -> Self {
        Self::start_in(Folder::new(), kind, "127.0.0.1", free_port(), None)
    }

    /// A broker for anybody on a host of a lab.
    pub fn on(host: &Host) -> Self {
        Self::start_in(Folder::new(), Kind::Plain, &host.address, 1883, Some(host))
    }

    fn start_in(folder: Folder, kind: Kind, address: &str, port: u16, host: Option<&Host>) -> Self {
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut config = format!(
            "persistence false\nlog_dest stdout\nuser root\nlistener {port} {address}\nallow_anonymous {}\n",
            kind != Kind::Passwords
        );
        match kind {
            Kind::Plain => {}
            // Mosquitto 2.0.11 ends when all its listeners are for WebSockets.
            Kind::WebSocket => {
                config.push_str(&format!("protocol websockets\nlistener {} 127.0.0.1\n", free_port()));
            }
            Kind::Passwords => {
                for (user, password, create) in [("ann", "s3cret", "-c"), ("bob", "hunter2", "-b")] {
                    let words = ["-b", create, &at("passwords"), user, password];
                    let words: &[&str] = if create == "-b" { &words[1..] } else { &words };
                    crate::peers::output(Command::new("mosquitto_passwd").args(words));
                }
                let rules = "user ann\ntopic readwrite mindgit/#\nuser bob\ntopic read mindgit/#\n";
                std::fs::write(at("rules"), rules).expect("the folder is ours");
                config.push_str(&format!("password_file {}\nacl_file {}\n", at("passwords"), at("rules")));
            }
            Kind::Tls => {
                certificates(folder.path(), "DNS:localhost,IP:127.0.0.1", &["server", "client"]);
                config.push_str(&format!(
                    "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n",
                    at("ca.crt"),
                    at("server.crt"),
                    at("server.key")
                ));
            }
        }
        std::fs::write(at("broker.conf"), config).expect("the folder is ours");
        let mut command = host.map_or_else(|| Command::new("stdbuf"), |host| host.command("stdbuf"));
        let mut process = Lines::start(command.args(["-oL", "mosquitto", "-c", &at("broker.conf")]));
        process.wait_for("running broker", PATIENCE, |line| line.contains(" running").then_some(()));
        Self { process, folder, kind, address: address.to_owned(), port, host: host.cloned() }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let scheme = match self.kind {
            Kind::Plain | Kind::Passwords => "mqtt",
            Kind::Tls => "mqtts",
            Kind::WebSocket => "ws",
        };
        format!("{scheme}://{}:{}", self.address, self.port)
    }

    fn command(&self, program: &str) -> Command {
        match &self.host {
            Some(host) => host.command(program),
            None => Command::new(program),
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A file of it, as in `ca.crt`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends it, and gives the way to start it again at the same place.
    pub fn away(mut self) -> impl FnOnce() -> Self {
        self.process.signal("TERM");
        self.process.ended(PATIENCE);
        let Self { folder, kind, address, port, host, .. } = self;
        move || Self::start_in(folder, kind, &address, port, host.as_ref())
    }

    /// Everything that is published from now on, and before that what is kept: topic, whether it was kept, and body.
    pub fn listener(&self) -> Lines {
        self.subscribe("%t %r %p")
    }

    /// The same, whatever the bytes: topic, and body in hexadecimal.
    pub fn capture(&self) -> Lines {
        self.subscribe("%t %x")
    }

    fn subscribe(&self, form: &str) -> Lines {
        let port = self.port.to_string();
        let words = ["-oL", "mosquitto_sub", "-V", "5", "-h", &self.address, "-p", &port, "-t", "#", "-F", form, "-d"];
        let mut lines = Lines::start(self.command("stdbuf").args(words));
        lines.wait_for("subscription", PATIENCE, |line| line.contains("SUBACK").then_some(()));
        lines
    }
}

/// Two authorities (`ca.crt` and `other.crt`), and certificates of these common names by the first, all for these
/// alternative names.
pub(crate) fn certificates(folder: &Path, alternatives: &str, names: &[&str]) {
    let openssl = |words: &[&str]| {
        crate::peers::output(Command::new("openssl").args(words).current_dir(folder));
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    for authority in ["ca", "other"] {
        let (subject, key_file, certificate) =
            (format!("/CN={authority}"), format!("{authority}.key"), format!("{authority}.crt"));
        let words = ["req", "-x509", "-days", "2", "-subj", &subject, "-keyout", &key_file, "-out", &certificate];
        openssl(&[&words[..], &key[..]].concat());
    }
    let extensions = format!("subjectAltName={alternatives}\nextendedKeyUsage=serverAuth,clientAuth\n");
    std::fs::write(folder.join("extensions"), extensions).expect("the folder is ours");
    for name in names {
        let (key_file, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        let subject = format!("/CN={name}");
        openssl(&[&["req", "-subj", &subject, "-keyout", &key_file, "-out", &request], &key[..]].concat());
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-out",
            &certificate,
            "-extfile",
            "extensions",
        ]);
    }
}
