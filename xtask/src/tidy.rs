//! `cargo xtask tidy`: the habits of this repository that a program can check. Each check is a
//! function from the repository's files to findings; what is excepted stands in `ratchet.txt`.
//! Lints of the language are not here: they are in `Cargo.toml` and `clippy.toml`.

mod crates;
mod documents;
mod ratchet;
mod rust;
#[cfg(test)]
mod tests;

use crate::program::{self, Failed};
use std::fs;

/// What happens to the recorded exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ratchet {
    /// They stay; one that is no longer needed is a finding.
    Keep,
    /// They become what is there now, where that is less.
    Lower,
}

/// A text file of the repository.
struct Text {
    /// Its path from the root.
    path: String,
    text: String,
}

impl Text {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether all of it is tests, or tools that are no part of the product.
    fn is_test(&self) -> bool {
        let folder =
            |name: &str| self.path.starts_with(&format!("{name}/")) || self.path.contains(&format!("/{name}/"));
        folder("tests") || self.path.ends_with("/tests.rs")
    }

    /// The lines before the tests at the end of the file.
    fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = |line: &str| line == "mod tests {" || (line.starts_with("mod ") && line.ends_with("tests {"));
        let all = if self.is_test() { 0 } else { usize::MAX };
        self.lines().take_while(move |(_, line)| !tests(line)).take(all)
    }
}

/// A habit that was not kept.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    check: &'static str,
    path: String,
    line: usize,
    /// How much of an exception it needs: 1, or the length of a file that is too long.
    weight: usize,
    message: String,
}

/// A check's name, and the check.
type Check = (&'static str, fn(&[Text]) -> Vec<Finding>);

const CHECKS: &[Check] = &[
    ("head", rust::heads),
    ("length", rust::lengths),
    ("name", rust::names),
    ("purity", rust::purity),
    ("serde", rust::serialized_only_at_the_edge),
    ("allow", rust::exceptions_are_expected),
    ("unfinished", rust::nothing_unfinished),
    ("sleep", rust::tests_await_events),
    ("one-binary", rust::one_integration_binary),
    ("graph", crates::graph),
    ("path", documents::paths_exist),
    ("machine", documents::no_machine_paths),
    ("reference", documents::what_is_named_exists),
];

pub(crate) fn run(mode: Ratchet) -> Result<(), Failed> {
    let texts = texts()?;
    let findings: Vec<Finding> = CHECKS.iter().flat_map(|(_, check)| check(&texts)).collect();
    let left = ratchet::apply(findings, mode)?;
    for line in &left {
        println!("{line}");
    }
    if left.is_empty() {
        println!("tidy: {} files, {} checks", texts.len(), CHECKS.len());
        return Ok(());
    }
    Err(Failed(format!("{} habits were not kept", left.len())))
}

/// Every text file that is, or would be, in the repository.
fn texts() -> Result<Vec<Text>, Failed> {
    let root = crate::root();
    let mut git = program::program("git");
    let names = program::output(git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    let mut paths: Vec<&str> =
        names.split('\0').filter(|path| !path.is_empty() && !path.ends_with("Cargo.lock")).collect();
    paths.sort_unstable();
    paths.dedup();
    let texts = paths.into_iter().filter_map(|path| {
        let text = fs::read_to_string(root.join(path)).ok()?;
        Some(Text { path: path.to_owned(), text })
    });
    Ok(texts.collect())
}
