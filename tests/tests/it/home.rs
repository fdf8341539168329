//! Data directories: one node in each, a second node beside the first, and a key that others could read.

use comity_tests::PATIENCE;
use comity_tests::folder::Folder;
use comity_tests::lines::Lines;
use comity_tests::node::{Node, comity, free_port, up};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn mode(path: &Path) -> u32 {
    let found = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    found.permissions().mode() & 0o777
}

/// A start that must fail.
fn fails(mut command: Command) -> (Output, String) {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{output:?}");
    (output, told)
}

fn quiet(name: &str, folder: &Path) -> Command {
    let mut command = up(name, folder, &["--no-mdns", "--port", "0"]);
    command.env("COMITY_HTTP_LISTEN", "127.0.0.1").env("COMITY_METRICS_PORT", free_port().to_string());
    command
}

#[test]
fn nobody_else_can_read_what_is_in_the_data_directory() {
    let node = Node::alone("ann", &[]);
    let folder = node.data_dir();
    assert_eq!((mode(folder), mode(&folder.join("control"))), (0o700, 0o700));
    assert_eq!(mode(&folder.join("control/token")), 0o600);
    for entry in fs::read_dir(folder).expect("it is ours") {
        let path = entry.expect("it is ours").path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn a_second_node_in_the_same_directory_is_refused() {
    let node = Node::alone("ann", &[]);
    let (_, told) = fails(quiet("bob", node.data_dir()));
    assert!(told.contains(&node.data_dir().display().to_string()), "{told}");
    assert_eq!(node.json(&["id"])["name"], "ann", "the first goes on");
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_way_to_mend_it() {
    let (status, folder) = Node::alone("ann", &[]).stop();
    assert!(status.success(), "{status}");
    let names = fs::read_dir(folder.path()).expect("it is ours");
    let key = names
        .map(|entry| entry.expect("it is ours").path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("key")));
    let key = key.expect("a key file");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("it is ours");
    let (_, told) = fails(quiet("ann", folder.path()));
    assert!(told.contains("chmod") && told.contains(&key.display().to_string()), "{told}");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("it is ours");
    let mut node = Lines::start(&mut quiet("ann", folder.path()));
    node.wait_for("ready line", PATIENCE, |line| line.contains("ready").then_some(()));
}

#[test]
fn a_second_node_of_one_user_gets_its_own_directory_and_says_so() {
    let user = Folder::new();
    let start = || {
        let mut command = comity(&["up", "--no-mdns", "--port", "0"]);
        command.env("HOME", user.path()).env("COMITY_HTTP_LISTEN", "127.0.0.1");
        command.env("COMITY_METRICS_PORT", free_port().to_string());
        command
    };
    let mut first = Lines::start(&mut start());
    first.wait_for("ready line", PATIENCE, |line| line.contains("ready").then_some(()));
    let log = user.path().join("second.log");
    let mut second = start();
    second.stderr(fs::File::create(&log).expect("it is ours"));
    let mut second = Lines::start(&mut second);
    second.wait_for("ready line", PATIENCE, |line| line.contains("ready").then_some(()));
    let told = fs::read_to_string(&log).expect("it is ours");
    let base = user.path().join(".local/share");
    let folders = fs::read_dir(&base).expect("the usual place").count();
    assert_eq!(folders, 2, "{told}");
    assert!(told.contains(&base.display().to_string()), "it says where: {told}");
}

#[test]
fn an_unknown_key_in_the_configuration_names_the_nearest() {
    let folder = Folder::new();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("it is ours");
    fs::write(folder.path().join("comity.toml"), "[http]\nprot = 8400\n").expect("it is ours");
    let (output, told) = fails(quiet("ann", folder.path()));
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("prot") && told.contains("port"), "{told}");
}

#[test]
fn every_setting_says_where_it_comes_from() {
    let node = Node::alone("ann", &[]);
    let settings = node.json(&["config", "show", "--origin"]);
    let origin = |key: &str| {
        let mut all = settings["settings"].as_array().into_iter().flatten();
        all.find(|one| one["key"] == key).map(|one| one["origin"].to_string()).unwrap_or_default()
    };
    assert!(origin("name").contains("--name"), "{}", origin("name"));
    assert!(origin("http.listen").contains("COMITY_HTTP_LISTEN"), "{}", origin("http.listen"));
    assert!(origin("inbox.items").contains("default"), "{}", origin("inbox.items"));
}
