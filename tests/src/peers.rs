//! The real peers: Python and JavaScript programs in `tests/peers/`, run with the packages that
//! `cargo xtask test` installed.

use crate::folder::Folder;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

fn installed() -> PathBuf {
    let folder = std::env::var_os("TESTS_PEERS");
    folder.map(PathBuf::from).expect("TESTS_PEERS is set: run these tests by `cargo xtask test`")
}

/// A file of `tests/peers/`.
pub fn file(name: &str) -> PathBuf {
    crate::root().join("tests/peers").join(name)
}

/// A Python program of `tests/peers/`, or any other by its path.
pub fn python(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(installed().join("venv/bin/python"));
    // -P: the program's own folder is no place to import from.
    command.args(["-u", "-P"]).arg(file("").join(program)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A program that a Python package brings.
pub fn python_tool(name: &str) -> Command {
    Command::new(installed().join("venv/bin").join(name))
}

/// A JavaScript program of `tests/peers/`, run in this folder, from where it finds the packages.
pub fn javascript(program: &str, folder: &Folder) -> Command {
    let copy = folder.path().join(program);
    std::fs::copy(file(program), &copy).unwrap_or_else(|error| panic!("{program}: {error}"));
    let packages = folder.path().join("node_modules");
    if !packages.exists() {
        symlink(installed().join("node_modules"), packages).expect("the folder is new");
    }
    let mut command = node();
    command.arg(copy).current_dir(folder.path());
    command
}

/// The reference server of MCP, on standard input and output.
pub fn everything() -> Command {
    let mut command = node();
    command.arg(installed().join("node_modules/@modelcontextprotocol/server-everything/dist/index.js")).arg("stdio");
    command
}

/// The MCP conformance suite.
pub fn conformance() -> Command {
    let mut command = node();
    command.arg(installed().join("node_modules/.bin/conformance"));
    command
}

fn node() -> Command {
    Command::new(installed().join("node_modules/node/bin/node"))
}

/// Runs it to its end and gives what it printed; panics with all of it when it fails.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}
