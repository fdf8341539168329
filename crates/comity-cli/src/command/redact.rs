//! `comity redact`: what would be taken out of a file before a node said it, by the rules that a node here would use.
//! No node is asked, and no secret is shown.

use super::config::{read, sources};
use super::place;
use crate::args::{Everywhere, Redact, Up};
use crate::exit::Failure;
use crate::page::{Look, Page, cell, clean, looking};
use comity_core::redact::{Finding, Place, Redactor, Severity};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write, stdin, stdout};
use std::path::Path;

/// Largest file, bytes: all of it is in memory.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Hashes are not shown, so that no key is needed for them.
const NO_KEY: [u8; 32] = [0; 32];

pub(crate) fn run(everywhere: &Everywhere, wanted: &Redact, page: &mut Page) -> Result<(), Failure> {
    let (config, _) = read(&sources(everywhere, place(everywhere)?.path(), &Up::default()))?;
    let rules = config.redaction.unwrap_or_default();
    let redactor = rules.redactor(NO_KEY).map_err(|bad| Failure::Usage(bad.to_string()))?;
    let text = contents(&wanted.file)?;
    let (clean, found) = redacted(&redactor, &text);
    if !wanted.check {
        return Ok(stdout().write_all(clean.unwrap_or(text).as_bytes())?);
    }
    tell(&text, &found, page)?;
    if found.is_empty() { Ok(()) } else { Err(Failure::Ill) }
}

fn contents(file: &Path) -> Result<String, Failure> {
    let name = || clean(&file.display().to_string());
    let cannot = |wrong: std::io::Error| Failure::Other(format!("{}: {wrong}", name()));
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        stdin().lock().take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    } else {
        File::open(file).map_err(cannot)?.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    }
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Failure::Usage(format!("{} has more than {BYTES_MAX} bytes", name())));
    }
    String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{} is not UTF-8 text", name())))
}

/// The text without secrets, if there were any, and what was found. A JSON document is looked at as one: what stands
/// under the name `password` is a secret whatever it is.
fn redacted(redactor: &Redactor, text: &str) -> (Option<String>, Vec<Finding>) {
    let mut found = Vec::new();
    if let Ok(document @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str::<Value>(text) {
        let clean = redactor.json(&document, &mut found).map(|clean| format!("{clean:#}\n"));
        return (clean, found);
    }
    let clean = redactor.text(text, &mut found).into_owned();
    ((!found.is_empty()).then_some(clean), found)
}

fn tell(text: &str, found: &[Finding], page: &mut Page) -> Result<(), Failure> {
    if page.json {
        let findings: Vec<Value> = found.iter().map(|finding| told(text, finding)).collect();
        return page.value(&json!({ "findings": findings }));
    }
    if found.is_empty() {
        return page.line("nothing would be taken out");
    }
    let row = |finding: &Finding| {
        let severity = finding.rule.severity;
        let look = if severity >= Severity::High { Look::Bad } else { Look::Warning };
        vec![cell(clean(&place_of(text, &finding.place))), looking(severity.name(), look), cell(&finding.rule.name)]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    page.table(&["WHERE", "SEVERITY", "RULE"], &rows)
}

fn told(text: &str, finding: &Finding) -> Value {
    let rule = &finding.rule;
    json!({
        "where": place_of(text, &finding.place), "rule": rule.name, "severity": rule.severity.name(), "tags": rule.tags,
    })
}

/// Line and column of a text, as editors count them; the JSON pointer of a document.
fn place_of(text: &str, place: &Place) -> String {
    match place {
        Place::Text(bytes) => {
            let before = &text[..bytes.start];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("{line}:{column}")
        }
        Place::Value(pointer) | Place::Within(pointer, _) => pointer.clone(),
        Place::Key(pointer) => format!("{pointer} (its name)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use comity_core::redact::Config;

    const SECRET: &str = "glpat-Zk3xQ9vW7tR2mN8pL4bY";

    fn looked_at(text: &str) -> (Option<String>, Vec<String>) {
        let redactor = Redactor::new(&Config::new(NO_KEY)).expect("the built-in rules");
        let (clean, found) = redacted(&redactor, text);
        (clean, found.iter().map(|finding| place_of(text, &finding.place)).collect())
    }

    #[test]
    fn a_text_is_told_by_line_and_column_and_a_document_by_pointer() {
        let (clean, places) = looked_at(&format!("one\nüé {SECRET}\n"));
        assert_eq!((clean.as_deref(), places), (Some("one\nüé [REDACTED]\n"), vec!["2:4".to_owned()]));
        let (clean, places) = looked_at("{\"db\": {\"password\": \"a\", \"host\": \"h\"}}");
        let clean: Value = serde_json::from_str(&clean.expect("a password")).expect("JSON");
        assert_eq!(clean, json!({ "db": { "password": "[REDACTED]", "host": "h" } }));
        assert_eq!(places, ["/db/password"]);
        assert_eq!(looked_at("nothing here\n"), (None, Vec::new()));
    }
}
