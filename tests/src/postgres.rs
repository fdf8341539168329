//! PostgreSQL, as it comes from Debian: a server of a test, on a socket in its folder.

use crate::PATIENCE;
use crate::folder::Folder;
use crate::lines::Lines;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    /// None after a crash.
    process: Option<Lines>,
    folder: Folder,
    /// Whether what it acknowledges is synced.
    fsync: &'static str,
}

impl Postgres {
    /// A server with no databases but its own. The machine does not crash here, and what was written is there without
    /// being synced.
    pub fn start() -> Self {
        Self::with("fsync=off")
    }

    /// A server that syncs, to be measured.
    pub fn synced() -> Self {
        Self::with("fsync=on")
    }

    fn with(fsync: &'static str) -> Self {
        let folder = Folder::new();
        if is_root() {
            let owned = Command::new("chown").arg("postgres:postgres").arg(folder.path()).status();
            assert!(owned.is_ok_and(|status| status.success()), "the user of PostgreSQL is missing");
        }
        let mut initdb = program("initdb");
        initdb.args(["--no-sync", "--username=comity", "--auth=trust", "--locale=C", "--encoding=UTF8", "-D"]);
        let made = initdb.arg(folder.path().join("data")).output().expect("PostgreSQL is installed (postgresql-15)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { process: None, folder, fsync };
        server.go();
        server
    }

    /// Starts the server, again after a crash, and waits until it takes connections.
    pub fn go(&mut self) {
        let mut server = Command::new("sh");
        server.args(["-c", r#"exec "$@" 2>&1"#, "sh"]);
        let mut postgres = program("postgres");
        postgres.arg("-D").arg(self.folder.path().join("data")).arg("-k").arg(self.folder.path());
        postgres.args(["-c", "listen_addresses=", "-c", "shared_buffers=32MB", "-c", self.fsync]);
        let mut process = Lines::start(&mut crate::lab::wrapped(server, &postgres));
        process.wait_for("PostgreSQL", PATIENCE, |line| line.contains("ready to accept connections").then_some(()));
        self.process = Some(process);
    }

    /// Ends the server as a crash does: nothing is finished, nothing written out.
    pub fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal("QUIT");
            process.ended(PATIENCE);
        }
    }

    /// The URL of a new database.
    pub fn database(&self, name: &str) -> String {
        let mut psql = program("psql");
        psql.arg("-h").arg(self.folder.path()).args(["-U", "comity", "-d", "postgres", "-qc"]);
        let made = psql.arg(format!("CREATE DATABASE {name}")).output().expect("psql is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        format!("postgres://comity@{}/{name}", self.folder.path().display().to_string().replace('/', "%2F"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once; what it leaves goes with its folder.
        self.crash();
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A program of PostgreSQL, which refuses to run as root, and which ends when this process does.
fn program(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]).env("LC_ALL", "C");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg(Path::new(PROGRAMS).join(name));
    command
}
