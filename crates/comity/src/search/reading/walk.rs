//! The files below the paths that a user names, in an order that does not depend on the disk. Links
//! are not followed, hidden files and what a `.gitignore` names are left out. It opens no file.

use super::BYTES_MAX;
use ignore::{DirEntry, WalkBuilder};
use std::fs::{FileType, Metadata};
use std::io;
use std::iter::FusedIterator;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::vec;

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is: below the path that was named, as that was written.
    pub path: PathBuf,
    /// Its size, bytes.
    pub bytes: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

/// Why something below the named paths is left out. The walk goes on after it.
#[derive(Debug, thiserror::Error)]
pub enum WalkCause {
    /// A named path does not exist.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// A named path is a folder, and folders were not asked for.
    #[error("{} is a folder: name its files, or ask for all below it with --recursive", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
    },
    /// A link that stands in a folder: what it leads to is found where it is, if it is below.
    #[error("{} is a link, and links are not followed", path.display())]
    Link {
        /// The path.
        path: PathBuf,
    },
    /// Nothing that holds a document.
    #[error("{} is a {}, not a file", path.display(), what.as_str())]
    Special {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: Special,
    },
    /// It is larger than what is read.
    #[error("{} has {bytes} bytes, and at most {BYTES_MAX} are read", path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The system does not let us look at it.
    #[error("{} cannot be looked at: {cause}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

impl WalkCause {
    /// Its stable name, by which what is left out is counted.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Folder { .. } => "folder",
            Self::Link { .. } => "link",
            Self::Special { .. } => "special",
            Self::TooLarge { .. } => "too-large",
            Self::Io { .. } => "unreadable",
        }
    }

    /// Whether what the user named is at fault, and not something that merely lies below it.
    pub const fn is_the_users(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Folder { .. })
    }
}

/// What is neither file nor folder nor link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// A named pipe, whose reader would wait for a writer.
    Pipe,
    /// A socket.
    Socket,
    /// A device, whose reading may never end, or do something.
    Device,
}

impl Special {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pipe => "named pipe",
            Self::Socket => "socket",
            Self::Device => "device",
        }
    }

    fn of(what: FileType) -> Self {
        if what.is_fifo() {
            Self::Pipe
        } else if what.is_socket() {
            Self::Socket
        } else {
            Self::Device
        }
    }
}

/// The files below some paths, one after the other.
pub struct Walk {
    paths: vec::IntoIter<PathBuf>,
    recursive: bool,
    below: Option<ignore::Walk>,
}

impl Walk {
    /// Walks over `paths` in their order, and over the folders among them if `recursive`, by name.
    /// A path that is itself a link is followed, since somebody named it.
    pub fn over(paths: Vec<PathBuf>, recursive: bool) -> Self {
        Self { paths: paths.into_iter(), recursive, below: None }
    }

    /// What a named path is: a file at once, a folder from now on.
    fn begin(&mut self, path: PathBuf) -> Option<Result<Found, WalkCause>> {
        match std::fs::metadata(&path) {
            Ok(metadata) if !metadata.is_dir() => Some(found(path, &metadata)),
            Ok(_) if !self.recursive => Some(Err(WalkCause::Folder { path })),
            Ok(_) => {
                self.below = Some(all_below(&path));
                None
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Some(Err(WalkCause::Missing { path })),
            Err(cause) => Some(Err(WalkCause::Io { path, cause })),
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Found, WalkCause>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.below.as_mut().and_then(Iterator::next) {
                Some(entry) => {
                    if let Some(item) = entry.map_or_else(|cause| Some(Err(told(cause))), met) {
                        return Some(item);
                    }
                }
                None => {
                    self.below = None;
                    let path = self.paths.next()?;
                    if let Some(item) = self.begin(path) {
                        return Some(item);
                    }
                }
            }
        }
    }
}

impl FusedIterator for Walk {}

fn all_below(path: &Path) -> ignore::Walk {
    WalkBuilder::new(path)
        // What is left out must not depend on whether a repository was cloned or unpacked, nor on
        // who runs the walk.
        .require_git(false)
        .git_global(false)
        .sort_by_file_name(|one, other| one.cmp(other))
        .build()
}

/// What an entry of a folder is; `None` for folders, whose own entries follow.
fn met(entry: DirEntry) -> Option<Result<Found, WalkCause>> {
    let what = entry.file_type()?;
    if what.is_dir() || entry.depth() == 0 {
        return None;
    }
    if what.is_symlink() {
        return Some(Err(WalkCause::Link { path: entry.into_path() }));
    }
    let metadata = entry.metadata();
    let path = entry.into_path();
    Some(metadata.map_err(told).and_then(|metadata| found(path, &metadata)))
}

fn found(path: PathBuf, metadata: &Metadata) -> Result<Found, WalkCause> {
    if !metadata.is_file() {
        return Err(WalkCause::Special { path, what: Special::of(metadata.file_type()) });
    }
    let bytes = metadata.len();
    if bytes > BYTES_MAX {
        return Err(WalkCause::TooLarge { path, bytes });
    }
    match metadata.modified() {
        Ok(modified) => Ok(Found { path, bytes, modified }),
        Err(cause) => Err(WalkCause::Io { path, cause }),
    }
}

/// An error of the walk in our words.
fn told(error: ignore::Error) -> WalkCause {
    match error {
        ignore::Error::WithDepth { err, .. } => told(*err),
        ignore::Error::WithPath { path, err } => WalkCause::Io { path, cause: of_system(*err) },
        // A folder that cannot be listed is always named; this is for what the library adds later.
        other => WalkCause::Io { path: PathBuf::new(), cause: of_system(other) },
    }
}

fn of_system(error: ignore::Error) -> io::Error {
    let words = error.to_string();
    error.into_io_error().unwrap_or_else(|| io::Error::other(words))
}
