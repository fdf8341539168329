//! The folder of a journal: which files are in it, what they are called, and who may open it. It knows no
//! entries.

use super::error::JournalError;
use comity_core::journal::Checkpoint;
use comity_core::wire::journal as wire;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Mode of the folder, as of the data directory.
const FOLDER_MODE: u32 = 0o700;

/// Mode of the files in it: they hold what people wrote.
const FILE_MODE: u32 = 0o600;

/// The largest checkpoint that is read, bytes: 64 hashes and a signature are less than half of that.
pub(super) const CHECKPOINT_MAX: u64 = 8 * 1024;

/// What a segment's name ends with.
const SEGMENT: &str = ".jsonl";

/// What the name of the file with a segment's hashes ends with.
const TILES: &str = ".tiles";

/// The names of the other files.
const LOCK: &str = "lock";
const CHECKPOINT: &str = "checkpoint.json";
const UNFINISHED: &str = "unfinished";

/// That this process, and no other, may write in a folder. The system lets go of it when the process ends.
#[derive(Debug)]
pub(super) struct Taken(File);

impl Drop for Taken {
    fn drop(&mut self) {
        // By name and not by closing the file: a program that is just being started holds that open a moment longer.
        // Err: closing it does the same.
        let _ = self.0.unlock();
    }
}

/// A folder with a journal.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder if it is missing, and takes it for this process: the lock is the open file.
    pub(super) fn take(&self) -> Result<Taken, JournalError> {
        match DirBuilder::new().mode(FOLDER_MODE).create(&self.0) {
            // What is in a folder is only as safe as its own name.
            Ok(()) => self.0.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(cause) => Err(cause),
        }
        .map_err(JournalError::at(&self.0))?;
        let path = self.0.join(LOCK);
        let failed = JournalError::at(&path);
        let lock = writable().truncate(false).open(&path).map_err(&failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Taken(lock)),
            Err(TryLockError::WouldBlock) => Err(JournalError::InUse { folder: self.0.clone() }),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }

    /// The segment that begins with this entry.
    pub(super) fn segment(&self, first: u64) -> PathBuf {
        self.0.join(format!("{first:020}{SEGMENT}"))
    }

    /// The file with the hashes of that segment.
    pub(super) fn tiles(&self, first: u64) -> PathBuf {
        self.0.join(format!("{first:020}{TILES}"))
    }

    /// The first entries of all segments, in order.
    pub(super) fn segments(&self) -> Result<Vec<u64>, JournalError> {
        let failed = JournalError::at(&self.0);
        let mut segments = Vec::new();
        for item in fs::read_dir(&self.0).map_err(&failed)? {
            let name = item.map_err(&failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SEGMENT));
            segments.extend(number.filter(|number| number.len() == 20).and_then(|number| number.parse::<u64>().ok()));
        }
        segments.sort_unstable();
        Ok(segments)
    }

    /// Opens a segment to be written, made if it is missing.
    pub(super) fn open_segment(&self, first: u64) -> io::Result<File> {
        writable().truncate(false).open(self.segment(first))
    }

    /// Opens the hashes of a segment to be written, made if they are missing.
    pub(super) fn open_tiles(&self, first: u64) -> io::Result<File> {
        writable().truncate(false).open(self.tiles(first))
    }

    /// Removes a segment and its hashes.
    pub(super) fn remove_segment(&self, first: u64) -> io::Result<()> {
        let gone = |removed: io::Result<()>| match removed {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        gone(fs::remove_file(self.segment(first)))?;
        gone(fs::remove_file(self.tiles(first)))
    }

    /// Makes sure that files that were made, renamed or removed stay so.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync(&self.0)
    }

    /// The text of the checkpoint, without its end; `None` when there is none.
    pub(super) fn checkpoint(&self) -> Result<Option<Vec<u8>>, JournalError> {
        let path = self.0.join(CHECKPOINT);
        let failed = JournalError::at(&path);
        match fs::metadata(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(failed(cause)),
            // What is too long is no checkpoint, and is not read.
            Ok(about) if about.len() > CHECKPOINT_MAX => return Ok(Some(Vec::new())),
            Ok(_) => {}
        }
        let mut text = fs::read(&path).map_err(failed)?;
        if text.pop() != Some(b'\n') {
            text.clear();
        }
        Ok(Some(text))
    }

    /// Puts a checkpoint in the place of the one before, so that after a crash one of the two is there.
    pub(super) fn put_checkpoint(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let mut text = wire::write_checkpoint(checkpoint);
        text.push(b'\n');
        self.put(CHECKPOINT, &text)
    }

    /// Puts a file in the place of the one before of that name, so that after a crash one of the two is there.
    pub(super) fn put(&self, name: &str, text: &[u8]) -> io::Result<()> {
        let unfinished = self.0.join(UNFINISHED);
        let mut file = writable().truncate(true).open(&unfinished)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.0.join(name))?;
        self.sync()
    }

    /// Whether the disk takes so many bytes now.
    pub(super) fn try_disk(&self, bytes: usize) -> io::Result<()> {
        let unfinished = self.0.join(UNFINISHED);
        let tried = writable().truncate(true).open(&unfinished).and_then(|mut file| {
            file.write_all(&vec![0; bytes])?;
            file.sync_all()
        });
        // Err: it is written over the next time.
        let _ = fs::remove_file(&unfinished);
        tried
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn writable() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(FILE_MODE);
    options
}
