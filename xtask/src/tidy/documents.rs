//! Checks of what is written for people: the paths and names in it exist.

use super::{Finding, Text};
use std::collections::BTreeSet;

/// The documents written by hand in which names of the program stand.
const WRITTEN: &[&str] = &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "deploy/README.md"];

/// Every path that a document names is there: from the root, or as the end of a longer path.
pub(super) fn paths_exist(texts: &[Text]) -> Vec<Finding> {
    let root = crate::root();
    let there = |name: &str| {
        let inside = format!("/{name}");
        let part =
            |text: &Text| if name.ends_with('/') { text.path.contains(&inside) } else { text.path.ends_with(&inside) };
        root.join(name).exists() || texts.iter().any(part)
    };
    let written = texts.iter().filter(|text| WRITTEN.contains(&text.path.as_str()));
    let mut findings = Vec::new();
    for (text, line, name) in written.flat_map(named) {
        if is_path(name) && !there(name) {
            findings.push(finding("path", text, line, format!("`{name}` is not there")));
        }
    }
    findings
}

/// A path from the root of the repository: a folder ends in `/`, a file in one of our extensions.
fn is_path(name: &str) -> bool {
    let file = [".rs", ".toml", ".md", ".txt", ".sh"].iter().any(|extension| name.ends_with(extension));
    let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-".contains(letter));
    let outside = name == "comity.toml" || name.starts_with('/') || name.contains("..");
    plain && !outside && (file || name.ends_with('/'))
}

/// Folders of one machine, which nobody else has. Written apart, so that this file does not name them.
const MACHINE: &[&str] = &[concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/")];

pub(super) fn no_machine_paths(texts: &[Text]) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Collections of texts are as other people write them.
    for text in texts.iter().filter(|text| !text.path.ends_with(".jsonl")) {
        for (number, line) in text.lines() {
            for folder in MACHINE.iter().filter(|folder| begins_a_path(line, folder)) {
                findings.push(finding("machine", text, number, format!("{folder} is a path of one machine")));
            }
        }
    }
    findings
}

/// Whether the folder stands in the line as the beginning of a path.
fn begins_a_path(line: &str, folder: &str) -> bool {
    let inside = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    line.match_indices(folder).any(|(at, _)| !line[..at].ends_with(inside))
}

/// HTTP paths, MCP tools, metrics and configuration keys in documents are those of the generated
/// reference in `docs/`, which `cargo xtask docs --check` compares with the program.
pub(super) fn what_is_named_exists(texts: &[Text]) -> Vec<Finding> {
    let reference: Vec<&Text> = texts.iter().filter(|text| text.path.starts_with("docs/")).collect();
    let known: BTreeSet<&str> = reference.iter().flat_map(|text| named(text)).map(|(_, _, name)| name).collect();
    if known.is_empty() {
        return Vec::new();
    }
    let sections: BTreeSet<&str> = known.iter().filter_map(|name| Some(key(name)?.0)).collect();
    let written = texts.iter().filter(|text| WRITTEN.contains(&text.path.as_str()));
    let mut findings = Vec::new();
    for (text, line, name) in written.flat_map(named) {
        let name = name.strip_prefix("GET ").or(name.strip_prefix("POST ")).unwrap_or(name);
        let of_the_program = (name.starts_with('/') && name.len() > 1)
            || name.starts_with("network_")
            || (name.starts_with("comity_") && !name.contains("::"))
            || key(name).is_some_and(|(section, _)| sections.contains(section));
        if of_the_program && !known.contains(name) {
            findings.push(finding("reference", text, line, format!("the program has no `{name}`")));
        }
    }
    findings
}

/// The section and the rest of a configuration key.
fn key(name: &str) -> Option<(&str, &str)> {
    let (section, rest) = name.split_once('.')?;
    let word = |word: &str| !word.is_empty() && word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    (word(section) && word(rest) && !is_path(name)).then_some((section, rest))
}

/// What stands between backquotes, outside fenced blocks, with its line.
fn named(text: &Text) -> impl Iterator<Item = (&Text, usize, &str)> {
    let mut fenced = false;
    let prose = text.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    prose.flat_map(move |(number, line)| line.split('`').skip(1).step_by(2).map(move |name| (text, number, name)))
}

fn finding(check: &'static str, text: &Text, line: usize, message: String) -> Finding {
    Finding { check, path: text.path.clone(), line, weight: 1, message }
}
