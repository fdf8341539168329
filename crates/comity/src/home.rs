//! The data directory of a node: where it is, who may read it, the key in it, and the lock that
//! keeps two nodes out of one directory. It is not the database and not the configuration.
//! See "One key" in `protocols/identity.md`.

use comity_core::identity::key::KeyPair;
use rand::TryRngCore;
use rand::rngs::OsRng;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

mod pem;
mod rotation;
#[cfg(test)]
mod tests;

pub use rotation::Rotated;

/// Mode of the data directory: nobody but its owner may even list it.
const FOLDER_MODE: u32 = 0o700;

/// Mode of every file in it that holds a secret.
const SECRET_MODE: u32 = 0o600;

/// The mode bits that give anything to the group or to others.
const OTHERS: u32 = 0o077;

/// The folder of a node's journal in its data directory.
pub const JOURNAL: &str = "journal";

/// How many data directories one user may have by default: `comity`, `comity-2` and so on. More
/// than this on one machine is a script gone wild, not a person.
const HOMES_MAX: u32 = 64;

/// The largest key file that is read, bytes: a PEM file of an Ed25519 key has about 120.
const KEY_FILE_MAX: u64 = 4096;

/// Where a node's data directory is, and whether somebody chose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `--data-dir` or `COMITY_HOME` names it: this one or none.
    Named(PathBuf),
    /// Nobody named one: the usual directory, or the next free one beside it.
    Usual(PathBuf),
}

impl Place {
    /// The data directory to use: `named` (the `--data-dir` flag), else `$COMITY_HOME`, else
    /// `$XDG_DATA_HOME/comity`, else `~/.local/share/comity`.
    pub fn find(named: Option<&Path>) -> Result<Self, HomeError> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        choose(named, variable("COMITY_HOME").as_deref(), variable("XDG_DATA_HOME").as_deref(), std::env::home_dir())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        match self {
            Self::Named(path) | Self::Usual(path) => path,
        }
    }
}

fn choose(
    named: Option<&Path>,
    comity_home: Option<&OsStr>,
    xdg_data_home: Option<&OsStr>,
    user: Option<PathBuf>,
) -> Result<Place, HomeError> {
    if let Some(named) = named.or(comity_home.map(Path::new)) {
        return Ok(Place::Named(named.to_owned()));
    }
    // The XDG specification says that a relative path is to be ignored.
    let data = xdg_data_home.map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| user.map(|home| home.join(".local/share"))).ok_or(HomeError::NoUserHome)?;
    Ok(Place::Usual(data.join("comity")))
}

/// An open data directory, held by this process until it is dropped.
#[derive(Debug)]
pub struct Home {
    folder: PathBuf,
    /// The lock is the open file: the system lets go of it when the process ends, however it ends.
    _lock: File,
}

impl Home {
    /// Opens the data directory of `place`. When nobody named one and the usual one belongs to a
    /// running node, the next free one is taken (`…-2`, `…-3`) and the second value is the
    /// sentence that tells the user so.
    pub fn open(place: &Place) -> Result<(Self, Option<String>), HomeError> {
        match place {
            Place::Named(folder) => Ok((Self::lock(folder)?, None)),
            Place::Usual(base) => Self::open_or_next(base),
        }
    }

    fn open_or_next(base: &Path) -> Result<(Self, Option<String>), HomeError> {
        let holder = match Self::lock(base) {
            Err(HomeError::InUse { pid, .. }) => pid,
            first => return Ok((first?, None)),
        };
        for number in 2..=HOMES_MAX {
            let mut folder = base.as_os_str().to_owned();
            folder.push(format!("-{number}"));
            match Self::lock(Path::new(&folder)) {
                Err(HomeError::InUse { .. }) => {}
                other => {
                    let home = other?;
                    let (base, next) = (base.display(), home.folder.display());
                    let notice = format!(
                        "{base} belongs to a running node{}; this node uses {next} (talk to it with --data-dir {next})",
                        Pid(holder)
                    );
                    return Ok((home, Some(notice)));
                }
            }
        }
        Err(HomeError::TooMany { base: base.to_owned() })
    }

    /// Opens and locks exactly this directory, made if it is missing.
    pub fn lock(folder: &Path) -> Result<Self, HomeError> {
        make_private(folder)?;
        let path = folder.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(SECRET_MODE)
            .open(&path)
            .map_err(|cause| HomeError::Io { path: path.clone(), cause })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(HomeError::InUse { folder: folder.to_owned(), pid: read_pid(&mut lock) });
            }
            Err(TryLockError::Error(cause)) => return Err(HomeError::NoLocks { folder: folder.to_owned(), cause }),
        }
        write_pid(&mut lock).map_err(|cause| HomeError::Io { path, cause })?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// The directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The key of this node: read from `node.key`, or made on the first start. The file is PKCS#8
    /// in PEM, which `openssl pkey` reads and `openssl genpkey -algorithm ed25519` writes.
    pub fn key(&self) -> Result<KeyPair, HomeError> {
        match stored_key(&self.folder)? {
            Some(key) => Ok(key),
            None => make_key(&self.folder.join("node.key")),
        }
    }

    /// The configuration file, whether or not there is one.
    pub fn config(&self) -> PathBuf {
        self.folder.join("comity.toml")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.folder.join("comity.db")
    }

    /// The database of federation.
    pub fn federation(&self) -> PathBuf {
        self.folder.join("federation.db")
    }

    /// The database of tasks.
    pub fn tasks(&self) -> PathBuf {
        self.folder.join("tasks.db")
    }

    /// The folder of the index.
    pub fn index(&self) -> PathBuf {
        self.folder.join("index")
    }

    /// The database of the registry of a mesh.
    pub fn registry(&self) -> PathBuf {
        self.folder.join("registry.db")
    }

    /// The API key by which this node is registered with a registry, and with which.
    pub fn mesh_key(&self) -> PathBuf {
        self.folder.join("mesh.key")
    }

    /// The folder of the journal.
    pub fn journal(&self) -> PathBuf {
        self.folder.join(JOURNAL)
    }

    /// The folder of the control door (socket and token), made with mode 0700 if it is missing.
    pub fn control(&self) -> Result<PathBuf, HomeError> {
        let folder = self.folder.join("control");
        make_private(&folder)?;
        Ok(folder)
    }
}

/// The key in a data directory, whoever uses that now; `None` when there is none yet.
///
/// # Errors
/// [`HomeError`] when the file is no key, or others can read it.
pub fn stored_key(folder: &Path) -> Result<Option<KeyPair>, HomeError> {
    let path = folder.join("node.key");
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(HomeError::Io { path, cause }),
    };
    let failed = |cause| HomeError::Io { path: path.clone(), cause };
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() || about.len() > KEY_FILE_MAX {
        return Err(HomeError::NotAKey { path });
    }
    if about.mode() & OTHERS != 0 {
        return Err(HomeError::KeyReadable { path, mode: about.mode() & 0o777 });
    }
    let mut text = Zeroizing::new(String::new());
    match file.read_to_string(&mut text) {
        Ok(_) => {}
        Err(cause) if cause.kind() == io::ErrorKind::InvalidData => return Err(HomeError::NotAKey { path }),
        Err(cause) => return Err(failed(cause)),
    }
    let seed = pem::decode(&text).ok_or_else(|| HomeError::NotAKey { path: path.clone() })?;
    Ok(Some(KeyPair::from_seed(*seed)))
}

/// Writes a file so that at every moment either the old or the new content is there, whole and on
/// disk: a temporary file beside it, synced, then renamed over it. Nobody but the owner can read it.
pub fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".{:08x}.tmp", rand::random::<u32>()));
    let temporary = folder.join(temporary);
    let written =
        OpenOptions::new().write(true).create_new(true).mode(SECRET_MODE).open(&temporary).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            File::open(folder)?.sync_all()
        });
    if written.is_err() {
        // The original failure is the one to report; a left-over temporary file is harmless.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn make_key(path: &Path) -> Result<KeyPair, HomeError> {
    let (key, text) = new_key()?;
    write_atomically(path, text.as_bytes()).map_err(|cause| HomeError::Io { path: path.to_owned(), cause })?;
    Ok(key)
}

/// A new key, and as it stands in its file.
fn new_key() -> Result<(KeyPair, Zeroizing<String>), HomeError> {
    let mut seed = Zeroizing::new([0; 32]);
    OsRng.try_fill_bytes(&mut *seed).map_err(|_| HomeError::NoRandomness)?;
    Ok((KeyPair::from_seed(*seed), pem::encode(&seed)))
}

/// Makes the folder with mode 0700. One that is there already is closed to others only when it is
/// visibly ours (empty, or with a node's files in it), so that a mistyped path never changes the
/// mode of a directory that somebody else needs.
fn make_private(folder: &Path) -> Result<(), HomeError> {
    let failed = |cause| HomeError::Io { path: folder.to_owned(), cause };
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            HomeError::NotAFolder { path: folder.to_owned() }
        }
        _ => failed(cause),
    })?;
    if fs::metadata(folder).map_err(failed)?.mode() & OTHERS == 0 {
        return Ok(());
    }
    let ours = ["node.key", "lock", "comity.toml"].iter().any(|file| folder.join(file).exists());
    if !ours && fs::read_dir(folder).map_err(failed)?.next().is_some() {
        return Err(HomeError::FolderOpen { folder: folder.to_owned() });
    }
    fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE)).map_err(failed)
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// A process in a sentence: ` (process 12)`, or nothing when it is not known.
#[derive(Debug)]
struct Pid(Option<u32>);

impl fmt::Display for Pid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |pid| write!(out, " (process {pid})"))
    }
}

/// Why a data directory cannot be used. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// There is no `HOME`, so the usual place is not known.
    #[error("no home directory is known for this user: name a data directory with --data-dir or COMITY_HOME")]
    NoUserHome,
    /// Another running node holds it.
    #[error(
        "{} belongs to a running node{}: stop that node, or give this one another directory with --data-dir",
        folder.display(), Pid(*pid)
    )]
    InUse {
        /// The data directory.
        folder: PathBuf,
        /// The process that holds it, when it could be read.
        pid: Option<u32>,
    },
    /// Every directory that a node may take by itself is held.
    #[error("{} and the {} directories beside it all belong to running nodes", base.display(), HOMES_MAX - 1)]
    TooMany {
        /// The usual data directory.
        base: PathBuf,
    },
    /// The file system cannot lock files, so two nodes could not be told apart.
    #[error("{} is on a file system without file locks ({cause}): choose a local directory with --data-dir", folder.display())]
    NoLocks {
        /// The data directory.
        folder: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The directory is open to others and holds files that are not a node's.
    #[error(
        "{} holds files that are not a node's and others can read it: choose another directory, or run: chmod 700 {0}",
        folder.display()
    )]
    FolderOpen {
        /// The directory.
        folder: PathBuf,
    },
    /// There is no key that could be changed.
    #[error("{} is not there: no node has run here yet", path.display())]
    NoKey {
        /// Where it would be.
        path: PathBuf,
    },
    /// What is kept of the keys before cannot be read.
    #[error("{} is not as it was written: restore it, or remove it, and others will have to trust this node anew", path.display())]
    NotRotations {
        /// The file.
        path: PathBuf,
    },
    /// It, or something on the way to it, is a file.
    #[error("{} cannot be a data directory, because there is a file: name another one with --data-dir", path.display())]
    NotAFolder {
        /// The data directory.
        path: PathBuf,
    },
    /// Others can read the key, so it may be known to them.
    #[error(
        "others can read the key file {} (mode {mode:04o}): run: chmod 600 {0} (and make a new key if somebody may have copied it)",
        path.display()
    )]
    KeyReadable {
        /// The key file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is there but holds no Ed25519 key.
    #[error(
        "{} is not an Ed25519 key in PEM (PKCS#8): put the right file back from a backup, or move it away for a new key and so a new identity",
        path.display()
    )]
    NotAKey {
        /// The key file.
        path: PathBuf,
    },
    /// The system gave no random bytes for a new key.
    #[error("the system has no random numbers to make a key from")]
    NoRandomness,
    /// The system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}
