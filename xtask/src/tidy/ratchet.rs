//! The recorded exceptions, `xtask/ratchet.txt`: a check, a path and how much of it is excepted,
//! one a line. The file only shrinks: a finding above its record fails, and so does a record that
//! is larger than what is there.

use super::{Finding, Ratchet};
use crate::program::Failed;
use std::collections::BTreeMap;
use std::fs;

const FILE: &str = "xtask/ratchet.txt";
const HEAD: &str = "\
# Exceptions to `cargo xtask tidy`: check, path, how much. This file may only shrink:
# `cargo xtask tidy --ratchet` lowers it to what is there.
";

type Records = BTreeMap<(String, String), usize>;

/// What is left after the recorded exceptions, one line each.
pub(super) fn apply(findings: Vec<Finding>, mode: Ratchet) -> Result<Vec<String>, Failed> {
    let file = crate::root().join(FILE);
    let records = read(&fs::read_to_string(&file).unwrap_or_default())?;
    let lowered = lower(&records, &findings);
    if mode == Ratchet::Lower {
        fs::write(&file, write(&lowered))?;
        return Ok(judge(findings, &lowered));
    }
    Ok(judge(findings, &records))
}

/// The records of this text.
pub(super) fn read(text: &str) -> Result<Records, Failed> {
    let mut records = Records::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let wrong = || Failed(format!("{FILE}: `{line}` is not a check, a path and a number"));
        let [check, path, most] = line.split_whitespace().collect::<Vec<_>>()[..] else { return Err(wrong()) };
        records.insert((check.to_owned(), path.to_owned()), most.parse().map_err(|_| wrong())?);
    }
    Ok(records)
}

fn write(records: &Records) -> String {
    let lines = records.iter().map(|((check, path), most)| format!("{check} {path} {most}\n"));
    HEAD.to_owned() + &lines.collect::<String>()
}

fn sums(findings: &[Finding]) -> Records {
    let mut sums = Records::new();
    for finding in findings {
        *sums.entry((finding.check.to_owned(), finding.path.clone())).or_default() += finding.weight;
    }
    sums
}

/// The records, nowhere above what is there.
pub(super) fn lower(records: &Records, findings: &[Finding]) -> Records {
    let sums = sums(findings);
    let kept = records.iter().filter_map(|(what, most)| Some((what.clone(), *most.min(sums.get(what)?))));
    kept.collect()
}

/// What the records do not except, and records that except more than there is.
pub(super) fn judge(findings: Vec<Finding>, records: &Records) -> Vec<String> {
    let sums = sums(&findings);
    let mut lines: Vec<String> = Vec::new();
    for finding in findings {
        let what = (finding.check.to_owned(), finding.path.clone());
        if sums.get(&what) > records.get(&what) {
            lines.push(format!("{}:{}: {} [{}]", finding.path, finding.line, finding.message, finding.check));
        }
    }
    for (what @ (check, path), most) in records {
        let now = sums.get(what).copied().unwrap_or_default();
        if now < *most {
            lines.push(format!(
                "{FILE}: {check} {path} excepts {most} where {now} is left: `cargo xtask tidy --ratchet`"
            ));
        }
    }
    lines
}
