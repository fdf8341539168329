//! The data directory on real files. Not its lock across machines: that is the file system's.

use super::*;
use crate::scratch::Scratch;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").mode() & 0o777
}

#[test]
fn the_first_start_makes_a_private_folder_and_a_private_key_that_stays() {
    let scratch = Scratch::new();
    let folder = scratch.path().join("deep/home");
    let home = Home::lock(&folder).expect("a home");
    let key = home.key().expect("a key");
    assert_eq!((mode(&folder), mode(&folder.join("node.key"))), (0o700, 0o600));
    assert_eq!(home.key().expect("the same key").node(), key.node());
    let left: Vec<_> = fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").file_name()).collect();
    assert_eq!(left.len(), 2, "no temporary file is left: {left:?}");
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    let scratch = Scratch::new();
    let home = Home::lock(&scratch.path().join("home")).expect("a home");
    let node = home.key().expect("a key").node();
    let path = home.folder().join("node.key");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("a mode");
    let error = home.key().expect_err("others can read it").to_string();
    assert!(error.contains(&format!("run: chmod 600 {}", path.display())), "{error}");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
    assert_eq!(home.key().expect("it is mended").node(), node);
}

#[test]
fn a_damaged_key_is_refused_and_not_replaced() {
    let scratch = Scratch::new();
    let home = Home::lock(&scratch.path().join("home")).expect("a home");
    for content in [&b""[..], b"hello", b"\xff\xfe", &[b'x'; 5000]] {
        write_atomically(&home.folder().join("node.key"), content).expect("a file");
        assert!(matches!(home.key(), Err(HomeError::NotAKey { .. })), "{content:?}");
        assert_eq!(fs::read(home.folder().join("node.key")).expect("a file"), content);
    }
}

#[test]
fn a_named_directory_that_is_held_names_the_process_that_holds_it() {
    let scratch = Scratch::new();
    let place = Place::Named(scratch.path().join("home"));
    let held = Home::open(&place).expect("a home").0;
    let error = Home::open(&place).expect_err("it is held").to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    drop(held);
    Home::open(&place).expect("it is free again");
}

#[test]
fn a_second_node_without_a_named_directory_takes_the_next_one_and_says_so() {
    let scratch = Scratch::new();
    let place = Place::Usual(scratch.path().join("comity"));
    let (first, no_notice) = Home::open(&place).expect("a home");
    let (second, notice) = Home::open(&place).expect("another");
    let (third, _) = Home::open(&place).expect("a third");
    assert_eq!(no_notice, None);
    assert_eq!(second.folder(), scratch.path().join("comity-2"));
    assert_eq!(third.folder(), scratch.path().join("comity-3"));
    assert!(notice.is_some_and(|notice| notice.contains("comity-2")));
    drop((first, second));
    assert_eq!(Home::open(&place).expect("the first is free").0.folder(), place.path());
}

#[test]
fn a_folder_of_somebody_else_is_never_changed() {
    let scratch = Scratch::new();
    let folder = scratch.path().join("photos");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("a mode");
    fs::write(folder.join("cat.jpg"), b"cat").expect("a file");
    let error = Home::lock(&folder).expect_err("it is not ours").to_string();
    assert!(error.contains("chmod 700"), "{error}");
    assert_eq!(mode(&folder), 0o755);
}

#[test]
fn a_file_in_the_place_of_the_folder_is_said() {
    let scratch = Scratch::new();
    let file = scratch.path().join("notes");
    fs::write(&file, b"mine").expect("a file");
    for path in [file.clone(), file.join("node")] {
        let error = Home::lock(&path).expect_err("it is a file").to_string();
        assert!(error.contains("--data-dir") && error.contains("notes"), "{error}");
    }
}

#[test]
fn the_usual_place_follows_the_environment() {
    let user = || Some(PathBuf::from("/home/ada"));
    let os = OsStr::new;
    let place = |named, home, xdg| choose(named, home, xdg, user()).expect("a place");
    assert_eq!(place(None, None, None), Place::Usual("/home/ada/.local/share/comity".into()));
    assert_eq!(place(None, None, Some(os("/data"))), Place::Usual("/data/comity".into()));
    assert_eq!(place(None, None, Some(os("relative"))), Place::Usual("/home/ada/.local/share/comity".into()));
    assert_eq!(place(None, Some(os("/env")), Some(os("/data"))), Place::Named("/env".into()));
    assert_eq!(place(Some(Path::new("/flag")), Some(os("/env")), None), Place::Named("/flag".into()));
    assert!(matches!(choose(None, None, None, None), Err(HomeError::NoUserHome)));
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_old_one_and_no_litter() {
    let scratch = Scratch::new();
    let taken = scratch.path().join("folder");
    fs::create_dir_all(taken.join("inside")).expect("a folder");
    write_atomically(&taken, b"new").expect_err("a folder cannot be replaced by a file");
    assert_eq!(fs::read_dir(scratch.path()).expect("a folder").count(), 1);
}
