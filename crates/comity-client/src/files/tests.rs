//! What is read for a transfer, and what is written: nothing outside the folder, nothing under its name before it
//! is whole, nothing replaced unless that was decided.

use super::disk::{Folder, Refused, why};
use super::*;
use comity_core::transfer::taking::{Found, Wanted};
use comity_core::wire::transfer::Digest;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of one test, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("comity-files-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("it is below")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.0.join(path)).ok()
    }

    fn folder(&self) -> Folder {
        Folder::open(&self.0.join("in")).expect("a folder")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn sha256(text: &str) -> Digest {
    Digest(Sha256::digest(text).into())
}

fn wanted(path: &str, size: usize) -> Wanted {
    let parts = path.split('/').map(str::to_owned).collect();
    Wanted { file: 0, parts, size: size as u64, folder: false, modified: Some(1_000_000_000_000) }
}

/// Receives this text as the file of this path.
async fn receive(folder: &Folder, path: &str, text: &str, replace: bool) -> Result<(), Refused> {
    let mut part = folder.part(&wanted(path, text.len()), replace).await?;
    part.go_on(0)?;
    part.write(text.as_bytes())?;
    part.place(sha256(text)).await
}

fn skipped(refused: Result<impl Sized, Refused>) -> Why {
    match refused.err().expect("it is refused") {
        Refused::Skip(why) => why,
        Refused::Disk(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_file_stands_under_its_name_only_once_it_is_whole() {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let mut part = folder.part(&wanted("a/b/c.txt", 6), false).await.expect("a part");
    assert_eq!(part.found(), Found::Nothing);
    part.go_on(0).expect("it begins");
    part.write(b"abc").expect("room");
    assert_eq!(scratch.read("in/a/b/c.txt"), None);
    drop(part);
    assert_eq!(scratch.read("in/a/b/c.txt.comity-part").as_deref(), Some("abc"), "it can go on");
    let mut part = folder.part(&wanted("a/b/c.txt", 6), false).await.expect("a part");
    assert_eq!(part.found(), Found::Part(3, sha256("abc")));
    part.go_on(3).expect("it goes on");
    part.write(b"def").expect("room");
    part.place(sha256("abcdef")).await.expect("it is whole");
    assert_eq!(scratch.read("in/a/b/c.txt").as_deref(), Some("abcdef"));
    assert_eq!(scratch.read("in/a/b/c.txt.comity-part"), None);
    let modified = fs::metadata(scratch.0.join("in/a/b/c.txt")).and_then(|found| found.modified()).expect("a time");
    assert_eq!(modified.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs(), 1_000_000_000);
}

#[tokio::test]
async fn a_wrong_checksum_leaves_nothing() {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let mut part = folder.part(&wanted("a", 3), false).await.expect("a part");
    part.write(b"abc").expect("room");
    assert_eq!(skipped(part.place(sha256("abd")).await), Why::Checksum);
    assert_eq!(fs::read_dir(scratch.0.join("in")).expect("a folder").count(), 0);
}

#[tokio::test]
async fn what_is_there_is_replaced_only_when_that_was_decided() {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    scratch.write("in/a", "mine");
    assert!(matches!(folder.look(&wanted("a", 4)).await, Ok(Some(Found::Whole(digest))) if digest == sha256("mine")));
    assert!(matches!(folder.look(&wanted("a", 5)).await, Ok(Some(Found::Another))));
    assert!(matches!(folder.look(&wanted("b", 5)).await, Ok(None)));
    assert_eq!(skipped(receive(&folder, "a", "yours", false).await), Why::Exists, "also when it came in between");
    assert_eq!(scratch.read("in/a").as_deref(), Some("mine"));
    receive(&folder, "a", "yours", true).await.expect("that was decided");
    assert_eq!(scratch.read("in/a").as_deref(), Some("yours"));
}

#[tokio::test]
async fn no_link_and_no_device_is_followed_or_written() {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    scratch.write("outside/secret", "mine");
    let inside = |name: &str| scratch.0.join("in").join(name);
    symlink(scratch.0.join("outside"), inside("link")).expect("a link");
    symlink(scratch.0.join("outside/secret"), inside("file")).expect("a link");
    symlink(scratch.0.join("outside/secret"), inside("a.comity-part")).expect("a link");
    fs::hard_link(scratch.0.join("outside/secret"), inside("b.comity-part")).expect("a second name");
    std::process::Command::new("mkfifo").arg(inside("c.comity-part")).status().expect("mkfifo is there");
    std::process::Command::new("mkfifo").arg(inside("pipe")).status().expect("mkfifo is there");
    for path in ["link/secret", "link/new", "pipe/x", "file/x"] {
        assert_eq!(skipped(folder.look(&wanted(path, 4)).await), Why::Place, "{path}");
        assert_eq!(skipped(receive(&folder, path, "evil", true).await), Why::Place, "{path}");
    }
    for path in ["file", "pipe", "link"] {
        assert_eq!(skipped(folder.look(&wanted(path, 4)).await), Why::Place, "{path}");
    }
    for path in ["a", "b", "c"] {
        assert_eq!(skipped(receive(&folder, path, "evil", false).await), Why::Place, "{path}");
    }
    receive(&folder, "file", "new", true).await.expect("the link itself is replaced");
    assert_eq!(scratch.read("outside/secret").as_deref(), Some("mine"));
    assert_eq!(fs::read_dir(scratch.0.join("outside")).expect("a folder").count(), 1);
}

#[tokio::test]
async fn two_transfers_never_write_the_same_file() {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let mut first = folder.part(&wanted("a", 3), false).await.expect("a part");
    assert_eq!(skipped(folder.part(&wanted("a", 3), false).await), Why::Busy);
    first.write(b"abc").expect("room");
    first.place(sha256("abc")).await.expect("it is whole");
    assert_eq!(scratch.read("in/a").as_deref(), Some("abc"));
}

#[test]
fn a_full_disk_has_its_own_name() {
    assert_eq!(why(&io::ErrorKind::StorageFull.into()), Why::DiskFull);
    assert_eq!(why(&io::ErrorKind::PermissionDenied.into()), Why::Disk);
}

#[test]
fn what_is_not_permitted_is_not_taken_for_something_in_the_way() {
    for errno in [rustix::io::Errno::ACCESS, rustix::io::Errno::PERM] {
        assert_eq!(skipped(Err::<(), _>(Refused::from(errno))), Why::Permission);
    }
}

#[test]
fn a_folder_is_sent_with_all_that_is_in_it_but_for_links() {
    let scratch = Scratch::new();
    scratch.write("top/b/c", "12345");
    scratch.write("top/a", "123");
    scratch.write("top/x.comity-part", "half");
    fs::create_dir(scratch.0.join("top/empty")).expect("a folder");
    symlink("/etc/passwd", scratch.0.join("top/link")).expect("a link");
    let plan = Plan::of(&[scratch.0.join("top")]).expect("it can be sent");
    let paths: Vec<_> = plan.sources.iter().map(|source| (source.entry.path.as_str(), source.entry.folder)).collect();
    assert_eq!(paths, [("top", true), ("top/a", false), ("top/b", true), ("top/b/c", false), ("top/empty", true)]);
    assert_eq!((plan.bytes(), plan.left_out.len()), (8, 2));
    let timed = |source: &Source| source.entry.modified.is_some() != source.entry.folder;
    assert!(plan.sources.iter().all(timed), "files have times, folders do not");
    let transfer = plan.transfer();
    let folder = fs::File::open(scratch.0.join("top/empty")).expect("it is there");
    folder.set_modified(std::time::UNIX_EPOCH).expect("it is ours");
    let again = Plan::of(&[scratch.0.join("top")]).expect("it can be sent");
    assert_eq!(again.transfer(), transfer, "the time of a folder makes no other transfer");
}

#[test]
fn what_cannot_be_sent_is_said_before_anything_is() {
    let scratch = Scratch::new();
    scratch.write("a/same", "1");
    scratch.write("b/same", "2");
    scratch.write(".hidden", "3");
    let refused = |paths: &[&str]| {
        let paths: Vec<_> = paths.iter().map(|path| scratch.0.join(path)).collect();
        Plan::of(&paths).expect_err("it cannot").to_string()
    };
    assert!(refused(&["a/same", "b/same"]).contains("same name"));
    assert!(refused(&["none"]).contains("none"));
    assert!(refused(&[".hidden"]).contains("dot"));
    assert!(Plan::of(&[Path::new("/dev/null").to_owned()]).is_err());
}

#[test]
fn a_file_that_changed_since_it_was_offered_is_noticed() {
    let scratch = Scratch::new();
    scratch.write("file", "12345");
    let path = scratch.0.join("file");
    let plan = Plan::of(std::slice::from_ref(&path)).expect("it can be sent");
    let is_still = || plan.sources[0].is_still(&fs::metadata(&path).expect("it is there"));
    assert!(is_still());
    let offered = fs::metadata(&path).and_then(|found| found.modified()).expect("a time");
    let touch = |time| fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(time));
    scratch.write("file", "54321");
    touch(offered + std::time::Duration::from_secs(1)).expect("it is ours");
    assert!(!is_still(), "of the same size, later");
    scratch.write("file", "123456");
    touch(offered).expect("it is ours");
    assert!(!is_still(), "of another size");
}
