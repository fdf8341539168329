//! Origins with names and certificates in a network of their own: a small DNS server that can change its answers, an
//! authority that only these hosts know, and nodes or other programs that speak for the origins.

use crate::folder::Folder;
use crate::lab::{Host, Lab};
use crate::lines::{Lines, signal_to};
use crate::node::Node;
use crate::{PATIENCE, peers, until};
use serde_json::Value;
use std::collections::BTreeMap;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Origins, each with a host, and the server that knows their names.
#[derive(Debug)]
pub struct Realm {
    names: BTreeMap<String, String>,
    folder: Folder,
    dns: Option<Lines>,
    lab: Lab,
    origins: Vec<String>,
}

/// A program in Python that speaks for an origin, written only from the protocol's text.
#[derive(Debug)]
pub struct Participant {
    process: Lines,
    state: PathBuf,
    host: Host,
    start: Vec<String>,
}

impl Realm {
    /// These origins, on hosts of their own; one more host answers for their names.
    pub fn of(origins: &[&str]) -> Self {
        let lab = Lab::bridge(origins.len() + 1);
        let folder = Folder::new();
        authority(folder.path());
        let mut realm = Self {
            names: BTreeMap::new(),
            folder,
            dns: None,
            lab,
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
        };
        for (number, origin) in origins.iter().enumerate() {
            certificate(realm.folder.path(), origin);
            let address = realm.lab.host(number + 1).address;
            realm.names.insert((*origin).to_owned(), address);
        }
        realm.start_dns();
        realm
    }

    fn start_dns(&mut self) {
        self.write_names();
        let host = self.lab.host(self.origins.len() + 1);
        let mut server = host.command("dnsmasq");
        server.args([
            "--no-daemon",
            "--no-resolv",
            "--no-hosts",
            "--no-poll",
            "--local-ttl=0",
            "--user=root",
            "--conf-file=/dev/null",
        ]);
        server.arg("--log-facility=-").arg(format!("--listen-address={}", host.address)).arg("--bind-interfaces");
        server.arg(format!("--addn-hosts={}", self.folder.path().join("hosts").display()));
        self.dns = Some(Lines::start(server.stderr(std::process::Stdio::null())));
        // Programs that `ip netns exec` runs read these in place of the machine's own.
        for number in 1..=self.origins.len() {
            let folder = Path::new("/etc/netns").join(self.lab.host(number).namespace);
            std::fs::create_dir_all(&folder).expect("root makes folders");
            let text = format!("nameserver {}\noptions timeout:1 attempts:2\n", host.address);
            std::fs::write(folder.join("resolv.conf"), text).expect("it is new");
        }
        let (asking, origin) = (self.lab.host(1), self.origins[0].clone());
        until("name", PATIENCE, || {
            let found = asking.command("getent").args(["hosts", &origin]).output().expect("getent is there");
            found.status.success().then_some(())
        });
    }

    fn write_names(&self) {
        let lines: Vec<String> = self.names.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
        std::fs::write(self.folder.path().join("hosts"), lines.concat()).expect("it is ours");
    }

    /// From now on a name leads to another address.
    pub fn rename(&mut self, name: &str, address: &str) {
        self.names.insert(name.to_owned(), address.to_owned());
        self.write_names();
        let dns = self.dns.as_ref().expect("it was started");
        signal_to(dns.pid(), "HUP");
        let (asking, wanted) = (self.lab.host(1), address.to_owned());
        until("changed name", PATIENCE, || {
            let found = asking.command("getent").args(["ahostsv4", name]).output().expect("getent is there");
            String::from_utf8_lossy(&found.stdout).contains(&wanted).then_some(())
        });
    }

    /// From now on these names lead to this address, too.
    pub fn also_name(&mut self, names: &[String], address: &str) {
        self.names.extend(names.iter().skip(1).map(|name| (name.clone(), address.to_owned())));
        self.rename(&names[0], address);
    }

    /// The network.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The number of an origin's host in the network.
    pub fn number(&self, origin: &str) -> usize {
        self.origins.iter().position(|known| known == origin).expect("an origin of this realm") + 1
    }

    /// The host of an origin.
    pub fn host(&self, origin: &str) -> Host {
        self.lab.host(self.number(origin))
    }

    /// A file of an origin: `crt` or `key`.
    pub fn file(&self, origin: &str, kind: &str) -> PathBuf {
        self.folder.path().join(format!("{origin}.{kind}"))
    }

    /// Gives an origin another certificate, in place of the one that it has.
    pub fn renew(&self, origin: &str) {
        certificate(self.folder.path(), origin);
    }

    /// The certificate of the authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A node that speaks for this origin, with these further variables.
    pub fn node(&self, origin: &str, variables: &[(&str, &str)]) -> Node {
        self.node_in(Folder::new(), origin, variables)
    }

    /// The same, in this data directory.
    pub fn node_in(&self, folder: Folder, origin: &str, variables: &[(&str, &str)]) -> Node {
        let text = |path: PathBuf| path.display().to_string();
        let (crt, key, ca) = (text(self.file(origin, "crt")), text(self.file(origin, "key")), text(self.authority()));
        let mut all = vec![
            ("COMITY_FEDERATION_ORIGIN", origin),
            ("COMITY_FEDERATION_NETWORKS", "10.77.0.0/24"),
            ("COMITY_FEDERATION_CA_FILE", &ca),
            ("COMITY_TLS_CERT", &crt),
            ("COMITY_TLS_KEY", &key),
            ("COMITY_GOSSIP_ENABLED", "false"),
        ];
        all.extend_from_slice(variables);
        Node::on_in(
            &self.host(origin),
            folder,
            origin.split('.').next().unwrap_or(origin),
            &["--no-mdns", "--port", "443"],
            &all,
        )
    }

    /// The program in Python that speaks for this origin.
    pub fn participant(&self, origin: &str) -> Participant {
        self.participant_with(origin, &[])
    }

    /// The same, with these further arguments.
    pub fn participant_with(&self, origin: &str, more: &[&str]) -> Participant {
        let (host, state) = (self.host(origin), self.folder.path().join(format!("{origin}.state")));
        let text = |path: PathBuf| path.display().to_string();
        let start = [
            "serve",
            "--origin",
            origin,
            "--listen",
            &format!("{}:443", host.address),
            "--cert",
            &text(self.file(origin, "crt")),
            "--key",
            &text(self.file(origin, "key")),
            "--ca",
            &text(self.authority()),
            "--heads-every",
            "1",
            "--retry-max",
            "1",
        ];
        let start: Vec<String> = start.iter().chain(more).map(|word| (*word).to_owned()).collect();
        let process = Participant::started(&host, &state, &start);
        Participant { process, state, host, start }
    }
}

impl Drop for Realm {
    fn drop(&mut self) {
        for number in 1..=self.origins.len() {
            let _ = std::fs::remove_dir_all(Path::new("/etc/netns").join(self.lab.host(number).namespace));
        }
    }
}

impl Participant {
    fn started(host: &Host, state: &Path, start: &[String]) -> Lines {
        let mut command = peers::python("participant");
        command.args(start).arg("--state").arg(state);
        let process = Lines::start(&mut host.run(&command));
        until("control socket", PATIENCE, || state.join("control").exists().then_some(()));
        let this = |words: &[&str]| participant(state, words).output().expect("python is there");
        until("participant", PATIENCE, || this(&["status"]).status.success().then_some(()));
        process
    }

    /// Has it do something; what it prints, a value a line. It must succeed.
    pub fn does(&self, words: &[&str]) -> Vec<Value> {
        let printed = peers::output(&mut participant(&self.state, words));
        printed.lines().map(|line| serde_json::from_str(line).expect("JSON, one a line")).collect()
    }

    /// Attacks an origin; the last answer.
    pub fn attacks(&self, name: &str, target: &str, more: &[&str]) -> Value {
        let words = [&["attack", name, "--target", target], more].concat();
        self.does(&words).pop().expect("an answer")
    }

    /// Kills it, and starts it again with what it has on disk.
    pub fn killed_and_started_again(&mut self) {
        self.process.signal("KILL");
        self.process.ended(PATIENCE);
        let _ = std::fs::remove_file(self.state.join("control"));
        self.process = Self::started(&self.host, &self.state, &self.start);
    }
}

fn participant(state: &Path, words: &[&str]) -> Command {
    let mut command = peers::python("participant");
    command.args(words).arg("--state").arg(state);
    command
}

/// An authority of its own: `ca.crt` and `ca.key`.
fn authority(folder: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=tests", "-keyout", "ca.key", "-out", "ca.crt"]).current_dir(folder);
    peers::output(&mut openssl);
}

/// A certificate for a name, signed by the authority: `<name>.crt` and `<name>.key`.
pub(crate) fn certificate(folder: &Path, name: &str) {
    let mut request = Command::new("openssl");
    request.args(["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"]);
    request.arg(format!("/CN={name}")).args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.csr")]);
    peers::output(request.current_dir(folder));
    std::fs::write(folder.join(format!("{name}.ext")), format!("subjectAltName=DNS:{name}\n")).expect("it is ours");
    let mut signing = Command::new("openssl");
    signing.args(["x509", "-req", "-in", &format!("{name}.csr"), "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2"]);
    signing.args(["-CAcreateserial", "-extfile", &format!("{name}.ext"), "-out", &format!("{name}.crt")]);
    peers::output(signing.current_dir(folder));
}
