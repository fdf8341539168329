//! What is sent: the files and folders that somebody named, and all that is in them.

use super::Broken;
use comity_core::transfer::giving::Entry;
use comity_core::transfer::{FILES_MAX, name};
use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use uuid::Uuid;

/// The namespace of the ids of transfers.
const TRANSFERS: Uuid = Uuid::from_u128(0x8d3f_5a41_9d0c_5f6e_b1a7_2c44_e0d9_7713);

/// A file or folder to be sent, and where it is here.
#[derive(Debug, Clone)]
pub struct Source {
    /// What the receiver is told of it.
    pub entry: Entry,
    /// Where it is.
    pub path: PathBuf,
}

impl Source {
    /// Whether a file is as it was when it was offered, as far as its size and its time of change tell.
    pub(super) fn is_still(&self, found: &Metadata) -> bool {
        found.len() == self.entry.size && modified(found) == self.entry.modified
    }
}

/// When a file was changed last, Unix ms.
fn modified(found: &Metadata) -> Option<u64> {
    let since = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// All that is sent.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The files and folders, folders before what is in them.
    pub sources: Vec<Source>,
    /// What is there and is not sent: links, devices, pipes and sockets.
    pub left_out: Vec<PathBuf>,
    /// What is in a folder and cannot be read, and why. It is not sent.
    pub unreadable: Vec<(PathBuf, String)>,
}

impl Plan {
    /// Looks at what is named. A link that is named is followed; those inside of folders are left out.
    pub fn of(named: &[PathBuf]) -> Result<Self, Broken> {
        let mut plan = Self::default();
        let mut tops = BTreeSet::new();
        for path in named {
            let found = fs::metadata(path).map_err(|source| unreadable(path, source))?;
            let top = top_name(path)?;
            if !tops.insert(top.clone()) {
                let sentence = format!("two of the paths would have the same name there: {top}");
                return Err(Broken::Unsendable(sentence));
            }
            if !found.is_file() && !found.is_dir() {
                let sentence = format!("{} is neither a file nor a folder", path.display());
                return Err(Broken::Unsendable(sentence));
            }
            if found.is_file() {
                fs::File::open(path).map_err(|source| unreadable(path, source))?;
            } else {
                fs::read_dir(path).map_err(|source| unreadable(path, source))?;
            }
            plan.add(path, &top, &found)?;
        }
        Ok(plan)
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.entry.size).sum()
    }

    /// The id of a transfer of this: the same command has the same, so that it takes over from one that was cut off.
    pub fn transfer(&self) -> Uuid {
        let mut described = String::new();
        for Source { entry, .. } in &self.sources {
            described.push_str(&format!("{}\0{}\0{:?}\n", entry.path, entry.size, entry.modified));
        }
        Uuid::new_v5(&TRANSFERS, described.as_bytes())
    }

    fn add(&mut self, path: &Path, at: &str, found: &Metadata) -> Result<(), Broken> {
        if self.sources.len() as u64 >= FILES_MAX {
            let sentence = format!("more than {FILES_MAX} files and folders: send an archive of them instead");
            return Err(Broken::Unsendable(sentence));
        }
        name::parts(at).map_err(|bad| Broken::Unsendable(format!("{}: {bad}", path.display())))?;
        let folder = found.is_dir();
        let size = if folder { 0 } else { found.len() };
        // The time of a folder is that of the last change inside, and nobody sets it over there.
        let modified = if folder { None } else { modified(found) };
        let entry = Entry { path: at.to_owned(), size, folder, modified };
        self.sources.push(Source { entry, path: path.to_owned() });
        if folder { self.add_inside(path, at) } else { Ok(()) }
    }

    fn add_inside(&mut self, path: &Path, at: &str) -> Result<(), Broken> {
        let listed = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut inside = match listed {
            Ok(inside) => inside,
            Err(wrong) => {
                self.unreadable.push((path.to_owned(), wrong.to_string()));
                return Ok(());
            }
        };
        inside.sort_by_key(fs::DirEntry::file_name);
        for one in inside {
            let path = one.path();
            let found = match one.metadata() {
                Ok(found) => found,
                Err(wrong) => {
                    self.unreadable.push((path, wrong.to_string()));
                    continue;
                }
            };
            let Some(name) = one.file_name().to_str().map(str::to_owned) else {
                let sentence = format!("the name of {} is no UTF-8", path.display());
                return Err(Broken::Unsendable(sentence));
            };
            // What a transfer to here has left behind is nobody's file yet.
            if (!found.is_file() && !found.is_dir()) || name.ends_with(name::PART) {
                self.left_out.push(path);
                continue;
            }
            if found.is_file()
                && let Err(wrong) = fs::File::open(&path)
            {
                self.unreadable.push((path, wrong.to_string()));
                continue;
            }
            self.add(&path, &format!("{at}/{name}"), &found)?;
        }
        Ok(())
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> Broken {
    Broken::Read { path: path.to_owned(), source }
}

/// The name under which a path that somebody typed appears: also for `.` and `..`.
fn top_name(path: &Path) -> Result<String, Broken> {
    let whole = fs::canonicalize(path).map_err(|source| unreadable(path, source))?;
    let name = path.file_name().or(whole.file_name());
    let nameless = || Broken::Unsendable(format!("{} has no name to be sent under", path.display()));
    name.and_then(|name| name.to_str()).map(str::to_owned).ok_or_else(nameless)
}
