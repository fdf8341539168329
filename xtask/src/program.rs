//! Running other programs: every one is printed before it runs.

use serde_json::Value;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Why a task ended; the sentence is for whoever ran it.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// A program in the root of the repository.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(crate::root());
    command
}

/// What cargo tells the programs that it runs of the package they are of. A cargo that is run by them must not be
/// told: some packages, ring among them, are built again whenever it changes.
const OF_A_PACKAGE: &[&str] = &["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

/// The cargo that runs this task.
pub(crate) fn cargo() -> Command {
    let mut cargo = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| OF_A_PACKAGE.iter().any(|start| name.starts_with(start))) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Builds what the words say, and says where the program of this name is.
pub(crate) fn build(name: &str, words: &[&str]) -> Result<PathBuf, Failed> {
    built(name, cargo().arg("build").args(words))
}

/// The same, by a cargo that was already told what to build, and how.
pub(crate) fn built(name: &str, cargo: &mut Command) -> Result<PathBuf, Failed> {
    cargo.arg("--message-format=json-render-diagnostics");
    let messages = output(cargo.stderr(Stdio::inherit()))?;
    let mut executables = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    let named = executables.rfind(|path| path.file_stem().is_some_and(|stem| stem == name));
    named.ok_or_else(|| Failed(format!("cargo built no {name}")))
}

/// Prints the command, runs it, and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<(), Failed> {
    let line = line(command);
    println!("$ {line}");
    let status = command.status().map_err(|error| Failed(format!("`{line}` did not start: {error}")))?;
    if status.success() { Ok(()) } else { Err(Failed(format!("`{line}` failed: {status}"))) }
}

/// What the command prints on standard output; it fails with what it says on standard error.
pub(crate) fn output(command: &mut Command) -> Result<String, Failed> {
    let line = line(command);
    let output = command.stdin(Stdio::null()).output().map_err(|error| Failed(format!("`{line}`: {error}")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Failed(format!("`{line}` failed: {}\n{why}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Where a program of this name is on the search path.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let system = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    std::env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|file| file.is_file())
}
