//! Two Synapse homeservers on loopback that share a room: TLS between them with a certificate of their own, SQLite as
//! they come with it, and limits that no measurement meets.

use super::http::Http;
use super::site::until;
use super::{Duration, said};
use crate::figures::{Latency, cpu_time};
use crate::server::{Folder, free_port};
use hyper::Method;
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;

/// How many say something at once.
const AT_ONCE: usize = 16;

/// How many messages may be on their way, and some: a server shows a user 100 at once, and never those before them.
const AHEAD: usize = 80;

/// How long the last of them may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Limits that no measurement meets.
const UNLIMITED: &str = "{per_second: 1000000, burst_count: 1000000}";

/// Two homeservers and a room that a user of each is in.
pub(super) struct Homeservers {
    one: Homeserver,
    other: Homeserver,
    room: String,
}

/// What went for a while.
pub(super) struct Sustained {
    pub(super) rate: f64,
    pub(super) first_us: f64,
    pub(super) other_us: f64,
}

struct Homeserver {
    child: Child,
    name: String,
    client_port: u16,
    token: String,
    _folder: Folder,
}

impl Homeservers {
    /// Starts them; `None` where Synapse is not installed.
    pub(super) async fn start() -> Result<Option<Self>, String> {
        let Some(python) = std::env::var_os("BENCH_SYNAPSE_PYTHON").map(PathBuf::from) else { return Ok(None) };
        let (one, other) = (Homeserver::start(&python).await?, Homeserver::start(&python).await?);
        let mut http = one.http().await?;
        let wanted = json!({ "preset": "public_chat" });
        let made = http.ask(Method::POST, "/_matrix/client/v3/createRoom", &wanted).await?;
        let room = made["room_id"].as_str().ok_or("a room has no id")?.to_owned();
        let path = format!("/_matrix/client/v3/join/{}?server_name={}", escaped(&room), escaped(&one.name));
        other.http().await?.ask(Method::POST, &path, &json!({})).await?;
        Ok(Some(Self { one, other, room }))
    }

    fn path(&self, number: usize) -> String {
        format!("/_matrix/client/v3/rooms/{}/send/m.room.message/t{number}", escaped(&self.room))
    }

    /// How long messages take from a user of one until a user of the other is shown them, said one after the other.
    pub(super) async fn latency(&self, count: usize, apart: Duration) -> Result<Latency, String> {
        let (mut saying, mut syncing) = (self.one.http().await?, Sync::begin(&self.other, &self.room).await?);
        let mut times = Vec::with_capacity(count);
        let warm = count / 10;
        for number in 0..count + warm {
            let began = Instant::now();
            saying.ask(Method::PUT, &self.path(number), &message(number)).await?;
            while !syncing.next().await?.contains(&number) {}
            let took = began.elapsed();
            if number >= warm {
                times.push(took);
            }
            tokio::time::sleep(apart.saturating_sub(took)).await;
        }
        Ok(Latency::from_times(times))
    }

    /// Lets a user of one say as much as goes for so long, until a user of the other is shown what was said last. Some of
    /// what was before it may not be shown: a server that misses something when the next comes fetches it later, and
    /// does not tell those who follow.
    pub(super) async fn sustained(&self, time: Duration) -> Result<Sustained, String> {
        let (told, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut syncing = Sync::begin(&self.other, &self.room).await?;
        let before = (cpu_time(self.one.child.id()), cpu_time(self.other.child.id()));
        let began = Instant::now();
        let mut saying = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (told, seen, mut http) = (told.clone(), seen.clone(), self.one.http().await?);
            let path = self.path(0);
            saying.spawn(async move {
                while began.elapsed() < time {
                    let number = told.fetch_add(1, Ordering::Relaxed);
                    while number > seen.load(Ordering::Relaxed) + AHEAD {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    // The numbers of before were those of another measurement.
                    http.ask(Method::PUT, &format!("{path}-s{number}"), &message(number)).await?;
                }
                Ok::<_, String>(())
            });
        }
        let mut last = None;
        loop {
            let shown = syncing.next().await?.into_iter().max();
            seen.fetch_max(shown.unwrap_or(0), Ordering::Relaxed);
            if last.is_some() && shown >= last {
                break;
            }
            while let Some(ended) = saying.try_join_next() {
                ended.map_err(said)??;
            }
            if saying.is_empty() && last.is_none() {
                let number = told.fetch_add(1, Ordering::Relaxed);
                let path = format!("{}-last", self.path(0));
                self.one.http().await?.ask(Method::PUT, &path, &message(number)).await?;
                last = Some(number);
            }
            if began.elapsed() > time + PATIENCE {
                return Err("the second homeserver has not all in time".to_owned());
            }
        }
        let (count, elapsed) = (told.load(Ordering::Relaxed), began.elapsed());
        let each = |pid, before| cpu_time(pid).saturating_sub(before).as_secs_f64() * 1e6 / count as f64;
        Ok(Sustained {
            rate: count as f64 / elapsed.as_secs_f64(),
            first_us: each(self.one.child.id(), before.0),
            other_us: each(self.other.child.id(), before.1),
        })
    }
}

/// What a user is shown of a room, from now on.
struct Sync {
    http: Http,
    room: String,
    since: String,
}

impl Sync {
    async fn begin(homeserver: &Homeserver, room: &str) -> Result<Self, String> {
        let mut sync = Self { http: homeserver.http().await?, room: room.to_owned(), since: String::new() };
        sync.next().await?;
        Ok(sync)
    }

    /// The numbers of the messages that came since.
    async fn next(&mut self) -> Result<Vec<usize>, String> {
        let since = if self.since.is_empty() { String::new() } else { format!("&since={}", escaped(&self.since)) };
        let filter = json!({ "room": { "timeline": { "limit": 100 } }, "presence": { "types": [] } });
        let path = format!("/_matrix/client/v3/sync?timeout=1000&filter={}{since}", escaped(&filter.to_string()));
        let shown = self.http.ask(Method::GET, &path, &Value::Null).await?;
        self.since = shown["next_batch"].as_str().ok_or("a sync says not where it ends")?.to_owned();
        let events = shown["rooms"]["join"][&self.room]["timeline"]["events"].as_array();
        let number = |event: &Value| Some(event["content"]["number"].as_u64()?.try_into().unwrap_or(usize::MAX));
        Ok(events.into_iter().flatten().filter_map(number).collect())
    }
}

impl Homeserver {
    async fn start(python: &Path) -> Result<Self, String> {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path()).map_err(said)?;
        let (server_port, client_port) = (free_port()?, free_port()?);
        let name = format!("localhost:{server_port}");
        certificate(folder.path())?;
        let config = folder.path().join("homeserver.yaml");
        std::fs::write(&config, configuration(folder.path(), &name, (server_port, client_port))).map_err(said)?;
        std::fs::write(folder.path().join("log.yaml"), "version: 1\nroot: {level: ERROR}\n").map_err(said)?;
        let synapse = |more: &[&str]| {
            let mut command = Command::new(python);
            command.args(["-m", "synapse.app.homeserver", "--config-path"]).arg(&config).args(more);
            command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
            command
        };
        let errors = folder.path().join("errors");
        let ended = synapse(&["--generate-keys"]).stderr(File::create(&errors).map_err(said)?).status();
        if !ended.map_err(said)?.success() {
            return Err(format!("Synapse makes no key: {}", std::fs::read_to_string(&errors).unwrap_or_default()));
        }
        let child = synapse(&[]).stderr(File::create(&errors).map_err(said)?).spawn().map_err(said)?;
        let mut homeserver = Self { child, name, client_port, token: String::new(), _folder: folder };
        until("Synapse", async || {
            let Ok(mut http) = Http::open(client_port, None).await else { return Ok(None) };
            Ok(http.ask(Method::GET, "/_matrix/client/versions", &Value::Null).await.ok().map(drop))
        })
        .await?;
        let user = json!({ "username": "user", "password": "none", "auth": { "type": "m.login.dummy" } });
        let made = Http::open(client_port, None).await?.ask(Method::POST, "/_matrix/client/v3/register", &user).await?;
        homeserver.token = made["access_token"].as_str().ok_or("a user has no token")?.to_owned();
        Ok(homeserver)
    }

    async fn http(&self) -> Result<Http, String> {
        Http::open(self.client_port, Some(&self.token)).await
    }
}

impl Drop for Homeserver {
    fn drop(&mut self) {
        // Both fail only when there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate for this machine, which the other side is told not to check.
fn certificate(folder: &Path) -> Result<(), String> {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    openssl.args(["-keyout", "tls.key", "-out", "tls.crt"]).current_dir(folder);
    let made = openssl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().map_err(said)?;
    if made.success() { Ok(()) } else { Err("openssl makes no certificate".to_owned()) }
}

fn configuration(folder: &Path, name: &str, (server_port, client_port): (u16, u16)) -> String {
    let folder = folder.display();
    format!(
        "server_name: \"{name}\"\n\
         pid_file: {folder}/pid\n\
         listeners:\n\
         \x20 - {{port: {server_port}, tls: true, type: http, bind_addresses: ['127.0.0.1'], \
              resources: [{{names: [federation], compress: false}}]}}\n\
         \x20 - {{port: {client_port}, tls: false, type: http, bind_addresses: ['127.0.0.1'], \
              resources: [{{names: [client], compress: false}}]}}\n\
         tls_certificate_path: {folder}/tls.crt\n\
         tls_private_key_path: {folder}/tls.key\n\
         federation_verify_certificates: false\n\
         federation_ip_range_blacklist: []\n\
         ip_range_blacklist: []\n\
         trusted_key_servers: []\n\
         suppress_key_server_warning: true\n\
         database: {{name: sqlite3, args: {{database: {folder}/homeserver.db}}}}\n\
         log_config: {folder}/log.yaml\n\
         media_store_path: {folder}/media\n\
         signing_key_path: {folder}/signing.key\n\
         macaroon_secret_key: bench\n\
         form_secret: bench\n\
         registration_shared_secret: bench\n\
         enable_registration: true\n\
         enable_registration_without_verification: true\n\
         report_stats: false\n\
         presence: {{enabled: false}}\n\
         filter_timeline_limit: -1\n\
         rc_message: {UNLIMITED}\n\
         rc_registration: {UNLIMITED}\n\
         rc_joins: {{local: {UNLIMITED}, remote: {UNLIMITED}}}\n\
         rc_federation: {{window_size: 1000, sleep_limit: 1000000, sleep_delay: 1, reject_limit: 1000000, \
              concurrent: 100}}\n\
         federation_rr_transactions_per_room_per_second: 1000000\n"
    )
}

/// A message with this number, of 100 bytes as those of our channels.
fn message(number: usize) -> Value {
    json!({ "msgtype": "m.text", "body": "x".repeat(70), "number": number })
}

/// A part of a URL.
fn escaped(text: &str) -> String {
    let letter = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(letter).collect()
}
