//! The pages of the reference.

use super::source;
use super::subject::{self, Subject};
use crate::program::Failed;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Every page: its name in `docs/`, its text.
pub(super) fn pages(comity: &Path) -> Result<Vec<(&'static str, String)>, Failed> {
    let subject = Subject::start(comity)?;
    Ok(vec![
        ("commands.md", commands(comity)?),
        ("configuration.md", configuration(comity)?),
        ("doors.md", doors(&subject)?),
    ])
}

fn head(title: &str, about: &str) -> String {
    format!("# {title}\n\n{about} Written by `cargo xtask docs`.\n")
}

fn commands(comity: &Path) -> Result<String, Failed> {
    let mut page = head("Commands", "What `comity --help` says, command by command.");
    let all = subject::says(comity, &["--help"])?;
    section(&mut page, "comity", &all);
    for command in subcommands(&all) {
        let help = subject::says(comity, &[command, "--help"])?;
        section(&mut page, &format!("comity {command}"), &help);
        for under in subcommands(&help) {
            section(
                &mut page,
                &format!("comity {command} {under}"),
                &subject::says(comity, &[command, under, "--help"])?,
            );
        }
    }
    Ok(page)
}

fn section(page: &mut String, title: &str, help: &str) {
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    // Writing to a string cannot fail.
    let _ = write!(page, "\n## `{title}`\n\n```text\n{}\n```\n", lines.join("\n"));
}

/// The names under `Commands:`.
fn subcommands(help: &str) -> impl Iterator<Item = &str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help")
}

fn configuration(comity: &Path) -> Result<String, Failed> {
    let about = "Every key, the variable that sets it, and its value where nothing is configured. \
                 `deploy/comity.toml` says what each means.";
    let mut page = head("Configuration", about) + "\n| key | variable | default |\n| --- | --- | --- |\n";
    let settings = subject::says(comity, &["config", "show", "--json"])?;
    let settings: Value = serde_json::from_str(&settings).map_err(|error| Failed(format!("config show: {error}")))?;
    let unset = source::unset()?;
    for setting in settings["settings"].as_array().into_iter().flatten() {
        let key = setting["key"].as_str().unwrap_or_default();
        let variable = format!("COMITY_{}", key.replace('.', "_").to_uppercase());
        let value = setting["value"].as_str().map_or_else(|| setting["value"].to_string(), str::to_owned);
        let value = unset.get(key).filter(|_| value == "unset").unwrap_or(&value);
        let _ = writeln!(page, "| `{key}` | `{variable}` | {value} |");
    }
    Ok(page)
}

fn doors(subject: &Subject) -> Result<String, Failed> {
    let about = "What the program offers to whom: HTTP paths, MCP tools, metrics.";
    let mut page = head("Doors", about);
    let port = subject.status["endpoints"][0].as_str().and_then(|url| url.rsplit(':').next());
    let port = port.ok_or_else(|| Failed("the node names no endpoint".to_owned()))?;
    let description = subject::get(&format!("127.0.0.1:{}", port.trim_end_matches('/')), "/openapi.json")?;
    let description: Value =
        serde_json::from_str(&description).map_err(|error| Failed(format!("/openapi.json: {error}")))?;
    page += "\n## Network door\n\n| call | what it is |\n| --- | --- |\n";
    let mut calls = BTreeMap::new();
    for (path, methods) in description["paths"].as_object().into_iter().flatten() {
        for (method, call) in methods.as_object().into_iter().flatten().filter(|(name, _)| *name != "parameters") {
            let about = call["summary"].as_str().or(call["description"].as_str()).unwrap_or_default();
            let about = about.lines().next().unwrap_or_default();
            calls.insert((path.clone(), method.to_uppercase()), about.to_owned());
        }
    }
    for (path, method, who) in source::network()? {
        calls.entry((path, method)).or_insert_with(|| format!("For {who}."));
    }
    for ((path, method), about) in calls {
        let _ = writeln!(page, "| {method} `{path}` | {about} |");
    }
    page += "\n## Control door\n\nOn this machine only: a Unix socket, and loopback with the token of the data directory or a session.\n\n";
    page += "| path | what it is |\n| --- | --- |\n";
    for (path, about) in source::control()? {
        let _ = writeln!(page, "| `{path}` | {about} |");
    }
    page += "\n### MCP tools\n\n| tool | what it does |\n| --- | --- |\n";
    for tool in subject.tools()? {
        let about = tool["description"].as_str().unwrap_or_default().lines().next().unwrap_or_default();
        let _ = writeln!(page, "| `{}` | {about} |", tool["name"].as_str().unwrap_or_default());
    }
    let paths: Vec<_> = source::metrics()?.into_iter().map(|path| format!("`{path}`")).collect();
    let _ = write!(page, "\n## Metrics door\n\nOn loopback unless configured: {}.\n", paths.join(", "));
    page += "\n| metric | what it counts |\n| --- | --- |\n";
    for (name, about) in metrics(subject)? {
        let _ = writeln!(page, "| `{name}` | {about} |");
    }
    Ok(page)
}

/// Names and explanations of the metrics, in the order of their names.
fn metrics(subject: &Subject) -> Result<Vec<(String, String)>, Failed> {
    let text = subject::get(&subject.metrics, "/metrics")?;
    let help = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let mut metrics: BTreeMap<_, _> = help.map(|(name, about)| (name.to_owned(), about.to_owned())).collect();
    // A node that has just started has not counted everything that it can count.
    for (name, about) in source::counters()? {
        metrics.entry(name).or_insert(about);
    }
    Ok(metrics.into_iter().collect())
}
