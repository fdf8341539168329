//! The graph of our own crates, as ARCHITECTURE.md draws it: dependencies point one way.

use super::{Finding, Text};

/// What each package may depend on, of our own packages.
const GRAPH: &[(&str, &[&str])] = &[
    ("comity-core", &[]),
    ("comity-client", &["comity-core"]),
    ("comity-index", &[]),
    ("comity", &["comity-core", "comity-index"]),
    ("comity-cli", &["comity", "comity-client", "comity-core"]),
    ("comity-sim", &["comity-core"]),
    ("comity-bench", &["comity", "comity-client", "comity-core", "comity-index", "comity-tests"]),
    ("comity-fuzz", &["comity", "comity-core"]),
    ("comity-tests", &[]),
    ("xtask", &[]),
];

/// What would let the world into the rules.
const NOT_IN_THE_RULES: &[&str] =
    &["axum", "getrandom", "hyper", "mdns-sd", "mio", "rand", "reqwest", "rmcp", "rustls", "socket2", "sqlx", "tokio"];

pub(super) fn graph(texts: &[Text]) -> Vec<Finding> {
    let manifests = texts.iter().filter(|text| text.path.ends_with("Cargo.toml"));
    manifests.filter_map(|text| Some((text, package(text)?))).flat_map(|(text, name)| edges(text, name)).collect()
}

fn edges(text: &Text, name: &str) -> Vec<Finding> {
    let allowed = GRAPH.iter().find(|(package, _)| *package == name).map(|(_, allowed)| *allowed);
    let finding = |line, message| Finding { check: "graph", path: text.path.clone(), line, weight: 1, message };
    let Some(allowed) = allowed else {
        return vec![finding(
            1,
            format!("the package {name} is not in the graph: add it to xtask/src/tidy/crates.rs and ARCHITECTURE.md"),
        )];
    };
    let mut findings = Vec::new();
    for (line, dependency) in dependencies(text) {
        let ours = GRAPH.iter().any(|(package, _)| *package == dependency);
        if ours && dependency != name && !allowed.contains(&dependency) {
            findings.push(finding(line, format!("{name} may not depend on {dependency}")));
        }
        if name == "comity-core" && NOT_IN_THE_RULES.contains(&dependency) {
            findings.push(finding(line, format!("{dependency} has no place in the rules")));
        }
    }
    findings
}

fn package(text: &Text) -> Option<&str> {
    let mut inside = text.text.lines().skip_while(|line| line.trim() != "[package]").skip(1);
    inside.find_map(|line| Some(line.strip_prefix("name")?.trim_start().strip_prefix('=')?.trim().trim_matches('"')))
}

/// The dependencies for use, not those for development, with their lines.
fn dependencies(text: &Text) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    text.lines().filter_map(move |(number, line)| {
        if line.starts_with('[') {
            inside = line.trim_matches(['[', ']']).split('.').next_back() == Some("dependencies")
                && !line.contains("workspace");
            return None;
        }
        let name = line.split(['.', '=', ' ']).next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        inside.then_some((number, name))
    })
}
