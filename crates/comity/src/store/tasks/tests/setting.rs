//! What the tests stand on: a folder that goes away, a PostgreSQL cluster that goes away, and times that nobody waits
//! for.

use super::super::{Limits, Queue, Running};
use crate::store::link::ServerUrl;
use comity_core::task::{Leased, NewTask, Offer, TaskId};
use comity_core::time::Timestamp;
use comity_core::wire::mesh::task::{Done, Fault, Grip};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

pub(super) const DAY: u64 = 24 * 3600;

/// So many seconds after the beginning of a test.
pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
}

pub(super) fn plain(capability: &str, payload: &str) -> NewTask {
    NewTask::plain("echo", capability, payload.to_owned(), "submitter")
}

pub(super) fn grip(leased: &Leased) -> Grip {
    Grip { id: leased.id, token: leased.token }
}

pub(super) fn done(leased: &Leased, result: &str) -> Done {
    Done { grip: grip(leased), result: result.to_owned() }
}

pub(super) fn fault(leased: &Leased, cause: &str) -> Fault {
    Fault { grip: grip(leased), cause: cause.to_owned(), is_worth_another: true, is_begun: true }
}

/// Submits one task that must be taken in as a new one.
pub(super) async fn put(queue: &Queue, task: NewTask, now: Timestamp) -> TaskId {
    let mut answers = queue.submit(vec![task], now).await.expect("the queue answers");
    let submitted = answers.remove(0).expect("taken in");
    assert!(submitted.is_new);
    submitted.id
}

/// Claims so many as a worker of this name.
pub(super) async fn take(queue: &Queue, who: (&str, &str), wanted: usize, now: Timestamp) -> Vec<Leased> {
    queue.claim(who.0, &Offer::of([who.1]), wanted, now).await.expect("the queue answers").take()
}

/// A folder that is removed in the end.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("comity-tasks-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) async fn queue(&self) -> (Queue, Running) {
        Queue::in_file(&self.0.join("tasks.db"), Limits::default()).await.expect("a queue")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A PostgreSQL server of its own, on a socket in its folder.
pub(super) struct Server {
    folder: Folder,
    process: Option<Child>,
}

impl Server {
    pub(super) fn start() -> Self {
        let installed = Path::new(PROGRAMS).join("initdb").exists();
        assert!(installed, "these tests need PostgreSQL 15: apt-get install -y postgresql-15");
        let folder = Folder::new();
        if is_root() {
            let (user, group) = postgres_ids();
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("chown");
        }
        let mut initdb = program("initdb");
        initdb.args(["--no-sync", "--username=comity", "--auth=trust", "--locale=C", "--encoding=UTF8", "-D"]);
        let made = initdb.arg(folder.path().join("data")).output().expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { folder, process: None };
        server.go();
        server
    }

    /// Starts the server, and waits until it takes connections.
    pub(super) fn go(&mut self) {
        let mut postgres = program("postgres");
        postgres.arg("-D").arg(self.folder.path().join("data")).arg("-k").arg(self.folder.path());
        postgres.args(["-c", "listen_addresses=", "-c", "shared_buffers=32MB", "-c", "max_connections=40"]);
        // The machine does not crash, only the server does: what it wrote is there without being synced.
        postgres.args(["-c", "fsync=off"]);
        let mut process = postgres.stderr(Stdio::piped()).spawn().expect("postgres runs");
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let is_ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("ready to accept connections"));
        assert!(is_ready, "postgres ended");
        // What it says later is read away, so that it never waits for room.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        self.process = Some(process);
    }

    /// Ends the server as a crash does: nothing is finished, nothing written out.
    pub(super) fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            let pid = i32::try_from(process.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
            let _ = process.wait();
        }
    }

    fn url_of(&self, database: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://comity@{folder}/{database}")
    }

    /// A database of its own.
    pub(super) async fn database(&self, name: &str) -> ServerUrl {
        let options = sqlx::postgres::PgConnectOptions::from_str(&self.url_of("postgres")).expect("a URL");
        let mut connection = options.connect().await.expect("a connection");
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&mut connection).await.expect("a database");
        connection.close().await.expect("closed");
        self.url_of(name).parse().expect("a URL")
    }

    pub(super) async fn queue(&self, url: &ServerUrl) -> (Queue, Running) {
        Queue::on_server(url.clone(), Limits::default()).await.expect("a queue")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program of PostgreSQL, which refuses to run as root, and which ends when this process does.
fn program(name: &str) -> Command {
    let path = Path::new(PROGRAMS).join(name);
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]).stdout(Stdio::null()).env("LC_ALL", "C");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg(path);
    command
}

fn postgres_ids() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").expect("users");
    let user = users.lines().find_map(|line| line.strip_prefix("postgres:")).expect("a user postgres");
    let mut fields = user.split(':').skip(1).map(|field| field.parse().expect("a number"));
    (fields.next().expect("a user id"), fields.next().expect("a group id"))
}
