//! Checks of Rust files, by their text: heads, lengths, names, and what the rules may not do.

use super::{Finding, Text};

/// Longest production part of a file, lines. More than a noun's worth has a second noun in it.
const PRODUCTION_MAX: usize = 500;

/// Longest file with its tests, lines. Never excepted.
const FILE_MAX: usize = 800;

/// Words that say nothing about what a file or a type is.
const EMPTY_WORDS: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "misc", "manager", "handler", "handlers", "service", "services"];

/// What the rules never touch: the world, the time, chance, and collections in random order.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Utc::now",
    "Local::now",
    "Instant::now",
    "SystemTime::now",
    "new_v4()",
    "now_v7()",
    "thread_rng",
    "OsRng",
    "tokio::",
];

/// What marks work that was not done.
const UNFINISHED: &[&str] = &["todo!(", "unimplemented!(", "FIXME", "XXX", "TODO"];

fn rust(texts: &[Text]) -> impl Iterator<Item = &Text> {
    texts.iter().filter(|text| text.is_rust())
}

fn finding(check: &'static str, text: &Text, line: usize, message: impl Into<String>) -> Finding {
    Finding { check, path: text.path.clone(), line, weight: 1, message: message.into() }
}

pub(super) fn heads(texts: &[Text]) -> Vec<Finding> {
    let headless = rust(texts).filter(|text| !text.text.starts_with("//!"));
    headless.map(|text| finding("head", text, 1, "begin the file with `//!`: what it is, and what it is not")).collect()
}

pub(super) fn lengths(texts: &[Text]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for text in rust(texts) {
        let (production, all) = (text.production().count(), text.lines().count());
        if all > FILE_MAX {
            findings.push(finding(
                "length",
                text,
                FILE_MAX,
                format!("{all} lines: {FILE_MAX} with tests at most, split it"),
            ));
        } else if production > PRODUCTION_MAX {
            let message =
                format!("{production} lines before its tests: {PRODUCTION_MAX} at most, find the second noun in it");
            findings.push(Finding { weight: production, ..finding("length", text, PRODUCTION_MAX, message) });
        }
    }
    findings
}

pub(super) fn names(texts: &[Text]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for text in texts {
        // What systemd calls its files is not ours to choose.
        let path = text.path.strip_suffix(".service").unwrap_or(&text.path);
        let words = path.split(['/', '_', '-', '.']);
        for word in words.filter(|word| EMPTY_WORDS.contains(word)) {
            findings.push(finding("name", text, 1, format!("`{word}` in a path says nothing: name the thing")));
        }
    }
    for text in rust(texts) {
        for (number, line) in text.lines() {
            let Some(name) = type_named(line) else { continue };
            for word in camel_words(name).filter(|word| EMPTY_WORDS.contains(&word.as_str())) {
                findings.push(finding(
                    "name",
                    text,
                    number,
                    format!("`{word}` in the type `{name}` says nothing: name the thing"),
                ));
            }
        }
    }
    findings
}

/// The name of the type that this line defines. What a trait calls its own types is not ours to choose.
fn type_named(line: &str) -> Option<&str> {
    if line.starts_with(' ') && line.trim_start().starts_with("type ") {
        return None;
    }
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
    if !matches!(words.next()?, "struct" | "enum" | "trait" | "type" | "union") {
        return None;
    }
    words.next()?.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
}

/// The words of a name in camel case, in lower case.
fn camel_words(name: &str) -> impl Iterator<Item = String> {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        match words.last_mut() {
            Some(word) if !letter.is_uppercase() => word.push(letter),
            _ => words.push(letter.to_lowercase().collect()),
        }
    }
    words.into_iter()
}

pub(super) fn purity(texts: &[Text]) -> Vec<Finding> {
    let rules = rust(texts).filter(|text| text.path.starts_with("crates/comity-core/src/"));
    rules.flat_map(|text| containing("purity", text, text.production(), IMPURE, "has no place in the rules")).collect()
}

pub(super) fn serialized_only_at_the_edge(texts: &[Text]) -> Vec<Finding> {
    let inside = |text: &&Text| text.path.starts_with("crates/comity-core/src/") && !text.path.contains("/src/wire/");
    let words = ["serde::", "Serialize", "Deserialize"];
    let message = "belongs in wire/: convert at the edge";
    rust(texts).filter(inside).flat_map(|text| containing("serde", text, text.production(), &words, message)).collect()
}

pub(super) fn exceptions_are_expected(texts: &[Text]) -> Vec<Finding> {
    let words = [concat!("#[", "allow("), concat!("#![", "allow(")];
    let message = "hides more than it says: write #[expect(…, reason = \"…\")]";
    rust(texts).flat_map(|text| containing("allow", text, text.lines(), &words, message)).collect()
}

pub(super) fn nothing_unfinished(texts: &[Text]) -> Vec<Finding> {
    let ours = |text: &&Text| !text.path.starts_with("xtask/src/tidy");
    let message = "is unfinished: do it, or leave it out";
    rust(texts)
        .filter(ours)
        .flat_map(|text| containing("unfinished", text, text.lines(), UNFINISHED, message))
        .collect()
}

pub(super) fn tests_await_events(texts: &[Text]) -> Vec<Finding> {
    // A clock that stands still until somebody sleeps is no real waiting.
    let stands = |text: &Text| text.text.contains("start_paused") || text.text.contains("time::pause()");
    let words = |text: &Text| {
        if stands(text) {
            vec![concat!("thread::", "sleep(")]
        } else {
            vec![concat!("thread::", "sleep("), concat!("time::", "sleep(")]
        }
    };
    let message = "in a test: wait for the event instead";
    let tests = rust(texts).filter(|text| text.is_test() && !text.path.starts_with("xtask/"));
    tests.flat_map(|text| containing("sleep", text, text.lines(), &words(text), message)).collect()
}

pub(super) fn one_integration_binary(texts: &[Text]) -> Vec<Finding> {
    let stray = |text: &&Text| match text.path.split('/').collect::<Vec<_>>().as_slice() {
        ["crates", _, "tests", file] => file.ends_with(".rs"),
        ["crates", _, "tests", folder, "main.rs"] => *folder != "it",
        _ => false,
    };
    let message = "is a second integration binary: make it a module of tests/it/main.rs";
    rust(texts).filter(stray).map(|text| finding("one-binary", text, 1, message)).collect()
}

/// A finding for each line of code (not of comment) that contains one of the words.
fn containing<'a>(
    check: &'static str,
    text: &'a Text,
    lines: impl Iterator<Item = (usize, &'a str)>,
    words: &[&str],
    message: &str,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.trim_start().starts_with("//")) {
        for word in words.iter().filter(|word| line.contains(**word)) {
            findings.push(finding(check, text, number, format!("`{}` {message}", word.trim_end_matches('('))));
        }
    }
    findings
}
