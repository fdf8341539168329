//! What the program does not say of itself but its source does: the paths of the doors, metrics that
//! a fresh node has nothing to say of, and what holds where nothing is configured. Read from the files
//! that list them.

use crate::program::Failed;
use std::collections::HashMap;
use std::fs;

/// The paths of the control door, and what each is.
pub(super) fn control() -> Result<Vec<(String, String)>, Failed> {
    let text = fs::read_to_string(crate::root().join("crates/comity-core/src/wire/control.rs"))?;
    let mut about = String::new();
    let (mut paths, mut names) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("/// ") {
            about = format!("{about} {more}").trim_start().to_owned();
            continue;
        }
        let named = line.strip_prefix("pub const ").and_then(|rest| Some((rest.split(':').next()?, rest)));
        let path = named.and_then(|(name, rest)| Some((name, rest.split('"').nth(1)?)));
        if let Some((name, path)) = path.filter(|(_, path)| path.starts_with('/')) {
            names.push((format!("`{name}`"), format!("`{path}`")));
            paths.push((path.to_owned(), plain(&about)));
        }
        about.clear();
    }
    // A constant's name says nothing to who reads the reference.
    for (_, about) in &mut paths {
        *about = names.iter().fold(std::mem::take(about), |about, (name, path)| about.replace(name, path));
    }
    Ok(paths)
}

/// What the network door offers, as its list says: paths, methods, and to whom.
pub(super) fn network() -> Result<Vec<(String, String, String)>, Failed> {
    let text = fs::read_to_string(crate::root().join("crates/comity/src/door/mod.rs"))?;
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | "));
    let rows = rows.skip_while(|row| !row.starts_with("network |")).take_while(|row| !row.starts_with("metrics |"));
    let mut calls = Vec::new();
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [.., who, paths, _] = cells.as_slice() else { continue };
        let mut method = "GET";
        for call in paths.split('`').skip(1).step_by(2) {
            let path = call.split_once(' ').map_or(call, |(verb, path)| {
                method = verb;
                path
            });
            calls.push((path.to_owned(), method.to_owned(), (*who).to_owned()));
        }
    }
    Ok(calls)
}

/// Counters and what they count, by the names that are scraped once they have counted something.
pub(super) fn counters() -> Result<Vec<(String, String)>, Failed> {
    let text = fs::read_to_string(crate::root().join("crates/comity/src/observe/counters.rs"))?;
    let is_counter = |field: &str| {
        let typed = text.lines().map(str::trim).find_map(|line| line.strip_prefix(&format!("{field}: ")));
        typed.is_some_and(|kind| kind.starts_with("Counter") || kind.contains(", Counter>"))
    };
    let (mut help, mut counters) = ("", Vec::new());
    for line in text.lines() {
        let words: Vec<_> = line.split('"').collect();
        if line.contains("let help = ") {
            help = words.get(1).copied().unwrap_or_default();
        } else if line.contains("registry.register(") && words.len() > 2 {
            let field = line.split("this.").nth(1).and_then(|rest| rest.split('.').next()).unwrap_or_default();
            if is_counter(field) {
                let about = words.get(3).copied().unwrap_or(help);
                counters.push((format!("comity_{}_total", words[1]), format!("{about}.")));
            }
        }
    }
    Ok(counters)
}

/// What holds for a key that nobody sets, as the sample configuration says after "Unset:".
pub(super) fn unset() -> Result<HashMap<String, String>, Failed> {
    let text = fs::read_to_string(crate::root().join("deploy/comity.toml"))?;
    let (mut section, mut about) = (String::new(), String::new());
    let mut keys = HashMap::new();
    for line in text.lines() {
        let said = line.strip_prefix("# ");
        let key = said.and_then(|said| said.split_once(" = ")).map(|(key, _)| key);
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned() + ".";
        } else if let Some(key) = key.filter(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_')) {
            let rule = about.split_once("nset: ").map(|(_, rest)| rest);
            if let Some(rule) = rule.and_then(|rule| rule.split([';', '.']).next()) {
                keys.insert(format!("{section}{key}"), rule.trim().to_owned());
            }
        }
        about = said.map_or_else(String::new, |said| format!("{about} {said}"));
    }
    Ok(keys)
}

/// Without the links that only rustdoc follows.
fn plain(about: &str) -> String {
    about.replace("[`super::", "`").replace("[`", "`").replace("`]", "`")
}

/// The paths of the metrics door.
pub(super) fn metrics() -> Result<Vec<String>, Failed> {
    let text = fs::read_to_string(crate::root().join("crates/comity/src/door/mod.rs"))?;
    let door = text.split("fn metrics(").nth(1).and_then(|rest| rest.split("\n}").next());
    let door = door.ok_or_else(|| Failed("door/mod.rs has no function `metrics`".to_owned()))?;
    Ok(door.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect())
}
