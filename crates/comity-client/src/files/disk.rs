//! The folder that files are received into. Every name on the way is opened by itself, from the folder down, and
//! never through a link: nothing is read or written outside. A file that is not whole stands beside its place
//! under another name, and gets its own by one atomic step, which replaces nothing unless that was decided.

use comity_core::transfer::name::PART;
use comity_core::transfer::taking::{Found, Wanted};
use comity_core::wire::transfer::{Digest, Why};
use rustix::fs::{Access, AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// How much is hashed before others on this thread get their turn, bytes.
const HASH_AT_ONCE: usize = 1024 * 1024;

/// The folder that files are received into.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// Why a file is passed over, or why nothing can go on.
#[derive(Debug)]
pub(super) enum Refused {
    /// This one is not taken.
    Skip(Why),
    /// The disk fails.
    Disk(io::Error),
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO => Self::Skip(Why::Place),
            Errno::EXIST => Self::Skip(Why::Exists),
            Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => Self::Skip(Why::Name),
            Errno::WOULDBLOCK => Self::Skip(Why::Busy),
            Errno::ACCESS | Errno::PERM => Self::Skip(Why::Permission),
            other => Self::Disk(other.into()),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// What a failure of the disk is called between the sides.
pub(super) fn why(error: &io::Error) -> Why {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Why::DiskFull,
        _ => Why::Disk,
    }
}

/// The SHA-256 of the first bytes of a file.
pub(super) async fn hash_prefix(file: &mut File, upto: u64) -> io::Result<Sha256> {
    let mut hash = Sha256::new();
    file.seek(SeekFrom::Start(0))?;
    let mut left = upto;
    let mut buffer = vec![0; HASH_AT_ONCE.min(usize::try_from(upto).unwrap_or(HASH_AT_ONCE))];
    while left > 0 {
        let length = buffer.len().min(usize::try_from(left).unwrap_or(buffer.len()));
        file.read_exact(&mut buffer[..length])?;
        hash.update(&buffer[..length]);
        left -= length as u64;
        tokio::task::yield_now().await;
    }
    Ok(hash)
}

impl Folder {
    /// Opens a folder that its owner named; it is made if it is not there. One that cannot be written is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        rustix::fs::accessat(&folder, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?;
        Ok(Self(folder))
    }

    /// The folder below of these names, made if it is not there.
    fn enter(&self, names: &[String]) -> Result<OwnedFd, Refused> {
        let mut folder = self.0.try_clone()?;
        for name in names {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let open = || rustix::fs::openat(&folder, name.as_str(), flags, Mode::empty());
            let entered = match open() {
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(&folder, name.as_str(), Mode::from_raw_mode(0o777)) {
                        Ok(()) => {
                            // Else a crash takes it away again, with what was said to be on the disk in it.
                            rustix::fs::fsync(&folder)?;
                            open()
                        }
                        // Another transfer made it just now.
                        Err(Errno::EXIST) => open(),
                        Err(errno) => Err(errno),
                    }
                }
                other => other,
            }?;
            folder = entered;
        }
        Ok(folder)
    }

    /// What is there under a name: only looks, but for folders, which are made.
    pub(super) async fn look(&self, wanted: &Wanted) -> Result<Option<Found>, Refused> {
        if wanted.folder {
            self.enter(&wanted.parts)?;
            return Ok(Some(Found::Folder));
        }
        let (parent, name) = self.parent(wanted)?;
        match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
                return Err(Refused::Skip(Why::Place));
            }
            Ok(stat) if u64::try_from(stat.st_size) != Ok(wanted.size) => return Ok(Some(Found::Another)),
            Ok(_) => {}
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(&parent, name, flags, Mode::empty()) else {
            // It cannot be compared, so it is something else.
            return Ok(Some(Found::Another));
        };
        match hash_prefix(&mut File::from(file), wanted.size).await {
            Ok(hash) => Ok(Some(Found::Whole(Digest(hash.finalize().into())))),
            Err(_) => Ok(Some(Found::Another)),
        }
    }

    /// Sees that what was found as it should be is on the disk: who put it there may not have waited for that.
    pub(super) async fn keep(&self, wanted: &Wanted) -> Result<(), Refused> {
        if wanted.folder {
            return Ok(rustix::fs::fsync(self.enter(&wanted.parts)?)?);
        }
        let (parent, name) = self.parent(wanted)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
        let keeping = tokio::task::spawn_blocking(move || {
            rustix::fs::fsync(&file)?;
            Ok(rustix::fs::fsync(&parent)?)
        });
        keeping.await.unwrap_or_else(|_| Err(Refused::Disk(io::ErrorKind::Other.into())))
    }

    fn parent<'a>(&self, wanted: &'a Wanted) -> Result<(OwnedFd, &'a str), Refused> {
        let (name, above) = wanted.parts.split_last().ok_or(Refused::Skip(Why::Name))?;
        Ok((self.enter(above)?, name))
    }

    /// The part of a file, opened, locked and hashed; made if it is not there.
    pub(super) async fn part(&self, wanted: &Wanted, replace: bool) -> Result<Part, Refused> {
        let (parent, name) = self.parent(wanted)?;
        let beside = format!("{name}{PART}");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, beside.as_str(), flags, Mode::from_raw_mode(0o666))?;
        let stat = rustix::fs::fstat(&file)?;
        // A second name of a file would have that file changed as well.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
            return Err(Refused::Skip(Why::Place));
        }
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let still = rustix::fs::statat(&parent, beside.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        if !still.is_ok_and(|still| (still.st_dev, still.st_ino) == (stat.st_dev, stat.st_ino)) {
            return Err(Refused::Skip(Why::Busy));
        }
        let mut file = File::from(file);
        let mut length = file.metadata()?.len();
        if length > wanted.size {
            file.set_len(0)?;
            length = 0;
        }
        let hash = hash_prefix(&mut file, length).await?;
        let wanted = wanted.clone();
        Ok(Part { file: Some(file), parent, name: name.to_owned(), wanted, hash, length, replace, placed: false })
    }
}

/// A file that is not whole yet.
pub(super) struct Part {
    /// `None` once it is being placed.
    file: Option<File>,
    parent: OwnedFd,
    name: String,
    pub(super) wanted: Wanted,
    hash: Sha256,
    length: u64,
    replace: bool,
    placed: bool,
}

impl Part {
    /// What there is of it.
    pub(super) fn found(&self) -> Found {
        if self.length == 0 {
            return Found::Nothing;
        }
        Found::Part(self.length, Digest(self.hash.clone().finalize().into()))
    }

    /// Goes on from here: from its end, or anew.
    pub(super) fn go_on(&mut self, from: u64) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if from != self.length {
            file.set_len(0)?;
            (self.length, self.hash) = (0, Sha256::new());
        }
        file.seek(SeekFrom::Start(self.length)).map(drop)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.write_all(bytes);
        match written {
            Ok(()) => {
                self.hash.update(bytes);
                self.length += bytes.len() as u64;
            }
            // What was written of it is not counted, and so is not in the way.
            Err(_) => drop(file.set_len(self.length)),
        }
        written
    }

    /// Puts it in its place if its checksum holds; it is on the disk then.
    pub(super) async fn place(mut self, sha256: Digest) -> Result<(), Refused> {
        if Digest(self.hash.clone().finalize().into()) != sha256 {
            self.remove();
            return Err(Refused::Skip(Why::Checksum));
        }
        // Writing to the disk may take long; others go on meanwhile.
        let placing = tokio::task::spawn_blocking(move || self.place_now());
        placing.await.unwrap_or_else(|_| Err(Refused::Disk(io::ErrorKind::Other.into())))
    }

    fn place_now(mut self) -> Result<(), Refused> {
        if let Some(file) = &self.file {
            if let Some(modified) =
                self.wanted.modified.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)))
            {
                // A file system that keeps no times is fine.
                let _ = file.set_modified(modified);
            }
            file.sync_all()?;
        }
        let (beside, name) = (format!("{}{PART}", self.name), self.name.as_str());
        let (from, to) = ((&self.parent, beside.as_str()), (&self.parent, name));
        if self.replace {
            rustix::fs::renameat(from.0, from.1, to.0, to.1)?;
        } else {
            match rustix::fs::renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE) {
                // File systems that cannot: a second name fails when there is one already.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                    rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty())?;
                    rustix::fs::unlinkat(from.0, from.1, AtFlags::empty())?;
                }
                other => other?,
            }
        }
        self.placed = true;
        Ok(rustix::fs::fsync(&self.parent)?)
    }

    fn remove(&mut self) {
        self.placed = true;
        // Err: somebody else removed it.
        let _ = rustix::fs::unlinkat(&self.parent, format!("{}{PART}", self.name).as_str(), AtFlags::empty());
    }
}

impl Drop for Part {
    /// What is empty keeps nothing that could go on.
    fn drop(&mut self) {
        if self.length == 0 && !self.placed {
            self.remove();
        }
    }
}
