//! The redactor beside a corpus made without knowledge of its rules: texts with one secret each, and texts that
//! only look so. At least 99 of 100 secrets must go, and at most 1 of 100 lookalikes may change.

use comity_core::redact::{Config, Redactor};
use serde_json::Value;
use std::collections::BTreeMap;

const SECRETS: &str = include_str!("corpus/secrets.jsonl");
const LOOKALIKES: &str = include_str!("corpus/lookalikes.jsonl");
/// By another author, who saw neither the rules nor the first corpus.
const UNSEEN_SECRETS: &str = include_str!("corpus/unseen_secrets.jsonl");
const UNSEEN_LOOKALIKES: &str = include_str!("corpus/unseen_lookalikes.jsonl");

/// How many of a kind were right, and what was wrong.
#[derive(Default)]
struct Tally {
    right: usize,
    wrong: Vec<String>,
}

fn lines(corpus: &str) -> Vec<Value> {
    let lines = corpus.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'l>(line: &'l Value, field: &str) -> &'l str {
    line[field].as_str().unwrap()
}

/// Counts by kind, and fails below so many right of 100.
fn check(corpus: &str, percent_min: f64, is_right: impl Fn(&Redactor, &Value) -> Result<(), String>) {
    let redactor = Redactor::new(&Config::new([1; 32])).unwrap();
    let mut kinds: BTreeMap<String, Tally> = BTreeMap::new();
    for line in lines(corpus) {
        let tally = kinds.entry(text(&line, "kind").to_owned()).or_default();
        match is_right(&redactor, &line) {
            Ok(()) => tally.right += 1,
            Err(wrong) => tally.wrong.push(wrong),
        }
    }
    let right: usize = kinds.values().map(|tally| tally.right).sum();
    let all: usize = right + kinds.values().map(|tally| tally.wrong.len()).sum::<usize>();
    assert!(all > 0, "the corpus is empty");
    let percent = right as f64 * 100.0 / all as f64;
    for (kind, tally) in kinds.iter().filter(|(_, tally)| !tally.wrong.is_empty()) {
        println!("{kind}: {} of {} wrong", tally.wrong.len(), tally.wrong.len() + tally.right);
        tally.wrong.iter().for_each(|wrong| println!("    {wrong}"));
    }
    println!("{right} of {all} right, {percent:.2} of 100, in {} kinds", kinds.len());
    assert!(percent >= percent_min, "{percent:.2} of 100 right, {percent_min} are wanted");
}

fn goes(redactor: &Redactor, line: &Value) -> Result<(), String> {
    let out = redactor.text(text(line, "text"), &mut Vec::new());
    let stays = out.contains(text(line, "secret"));
    if stays { Err(format!("{:?} stays in {out:?}", text(line, "secret"))) } else { Ok(()) }
}

fn is_spared(redactor: &Redactor, line: &Value) -> Result<(), String> {
    let mut found = Vec::new();
    let out = redactor.text(text(line, "text"), &mut found);
    let rules: Vec<&str> = found.iter().map(|finding| finding.rule.name.as_str()).collect();
    if out == text(line, "text") { Ok(()) } else { Err(format!("{rules:?} in {out:?}")) }
}

#[test]
fn secrets_go() {
    check(SECRETS, 99.0, goes);
    check(UNSEEN_SECRETS, 99.0, goes);
}

#[test]
fn lookalikes_stay() {
    check(LOOKALIKES, 99.0, is_spared);
    check(UNSEEN_LOOKALIKES, 99.0, is_spared);
}
