//! The programs that are measured: each is started on loopback with a folder and a port of its own,
//! and ended with the value that stands for it.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a program may take until it can be used.
const READY_WITHIN: Duration = Duration::from_secs(10);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder that nobody else uses; removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A new name; whoever uses the folder makes it.
    pub(crate) fn new() -> Self {
        let name = format!("comity-bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Err: nobody made it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running program; killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    folder: Folder,
}

impl Server {
    /// nats-server, which keeps nothing.
    pub(crate) fn nats() -> Result<Self, String> {
        Self::start_nats("")
    }

    /// nats-server with a stream on disk: whatever it acknowledges is synced.
    pub(crate) fn jetstream() -> Result<Self, String> {
        Self::start_nats("jetstream { store_dir: \"FOLDER\", sync_interval: always }\n")
    }

    fn start_nats(more: &str) -> Result<Self, String> {
        let folder = Folder::new();
        let text = format!("listen: \"127.0.0.1:-1\"\nports_file_dir: \"FOLDER\"\n{more}");
        let config = write_config(&folder, &text)?;
        let mut child = quietly(Command::new(nats_server()).arg("-c").arg(config))?;
        let address = wait_for(&mut child, || nats_address(folder.path()))?;
        Ok(Self { child, address, folder })
    }

    /// mosquitto, which keeps nothing, drops nothing and sends at once.
    pub(crate) fn mosquitto() -> Result<Self, String> {
        let folder = Folder::new();
        // It cannot say which port it was given.
        let port = free_port()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let text =
            format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\n");
        let config = write_config(&folder, &text)?;
        let mut child = quietly(Command::new(found("mosquitto")).arg("-c").arg(config))?;
        wait_for(&mut child, || TcpStream::connect(address).ok())?;
        Ok(Self { child, address, folder })
    }

    /// `comity up` without mDNS, with these variables besides.
    pub(crate) fn comity(variables: &[(&str, &str)]) -> Result<Self, String> {
        let folder = Folder::new();
        let mut command = comity(folder.path())?;
        command.args(["--json", "up", "--no-mdns", "--port", "0"]).env("COMITY_HTTP_LISTEN", "127.0.0.1");
        let mut child = command.envs(variables.iter().copied()).spawn().map_err(|error| error.to_string())?;
        let line = first_line(&mut child)?;
        let ready: serde_json::Value = serde_json::from_str(&line).map_err(|_| format!("comity up said {line:?}"))?;
        let address = ready["addresses"][0].as_str().and_then(|url| url.strip_prefix("https://")?.parse().ok());
        Ok(Self { child, address: address.ok_or("comity up names no address")?, folder })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it keeps what it keeps.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The `comity` that was built beside this program, for the node in `folder`; its output is read.
pub(crate) fn comity(folder: &Path) -> Result<Command, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("comity");
    let mut command = Command::new(program);
    command.env("COMITY_HOME", folder).stdout(Stdio::piped()).stderr(Stdio::null());
    Ok(command)
}

/// A port on loopback that was free just now.
pub(crate) fn free_port() -> Result<u16, String> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    free.map(|address| address.port()).map_err(|error| error.to_string())
}

/// What a program whose output is read says first.
pub(crate) fn first_line(child: &mut Child) -> Result<String, String> {
    let output = child.stdout.take().ok_or("its output is not read")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
    Ok(line)
}

fn write_config(folder: &Folder, text: &str) -> Result<PathBuf, String> {
    let file = folder.path().join("config");
    let text = text.replace("FOLDER", &folder.path().to_string_lossy());
    let written = std::fs::create_dir_all(folder.path()).and_then(|()| std::fs::write(&file, text));
    written.map(|()| file).map_err(|error| error.to_string())
}

/// What the brokers say of their versions.
pub(crate) fn versions() -> String {
    let said = |program: PathBuf, flag| {
        let output = Command::new(program).arg(flag).output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
    };
    format!("{}; {}", said(nats_server(), "--version"), said(found("mosquitto"), "-h"))
}

/// Named by `cargo xtask bench`, which installs it.
fn nats_server() -> PathBuf {
    std::env::var_os("BENCH_NATS_SERVER").map_or_else(|| "nats-server".into(), PathBuf::from)
}

/// Debian keeps servers where the search path of users does not lead.
fn found(name: &str) -> PathBuf {
    let system = Path::new("/usr/sbin").join(name);
    if system.exists() { system } else { name.into() }
}

fn quietly(command: &mut Command) -> Result<Child, String> {
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let program = command.get_program().to_string_lossy().into_owned();
    started.map_err(|error| format!("{program} does not start ({error}); `cargo xtask bench` installs it"))
}

fn wait_for<T>(child: &mut Child, ready: impl Fn() -> Option<T>) -> Result<T, String> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        if let Some(ready) = ready() {
            return Ok(ready);
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("a server ended at its start: {status}"));
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            return Err("a server was not ready in time".to_owned());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn nats_address(folder: &Path) -> Option<SocketAddr> {
    let mut files = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let file = files.find(|path| path.extension().is_some_and(|extension| extension == "ports"))?;
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    ports["nats"][0].as_str()?.strip_prefix("nats://")?.parse().ok()
}
