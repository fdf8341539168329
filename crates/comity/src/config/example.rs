//! The example configuration file, written from the list of keys: every key with its explanation
//! and its default, all commented out, so that a copy of it changes nothing.

use super::tools;
use super::written::{Document, KEYS, Key, SECTIONS};
use serde_json::Value;

/// The text of `deploy/comity.toml`.
pub fn example() -> String {
    let mut out = String::from(
        "# Configuration of a Comity node. Every key is optional; what is written here is the default, or an example\n\
         # where the default is empty. The node reads `comity.toml` in its data directory, or the file of --config; then\n\
         # environment variables (COMITY_HTTP_PORT for http.port); then flags. A key that does not exist is an error.\n",
    );
    let defaults = serde_json::to_value(Document::default()).expect("a struct of texts and numbers is JSON");
    for (section, about) in SECTIONS {
        out.push('\n');
        about.iter().for_each(|line| comment(&mut out, line));
        if !section.is_empty() {
            out.push_str(&format!("[{section}]\n"));
        }
        for key in KEYS.iter().filter(|key| key.path.split_once('.').map_or("", |(section, _)| section) == *section) {
            out.push('\n');
            key.about.iter().for_each(|line| comment(&mut out, line));
            let name = key.path.rsplit('.').next().unwrap_or(key.path);
            out.push_str(&format!("# {name} = {}\n", shown(key, &defaults)));
        }
    }
    out.push('\n');
    // Without a space behind the `#`, as each table is only good as a whole.
    for line in tools::EXAMPLE.lines() {
        let is_setting = !line.is_empty() && !line.starts_with('#');
        out.push_str(&format!("{}{line}\n", if is_setting { "#" } else { "" }));
    }
    out
}

fn comment(out: &mut String, line: &str) {
    out.push_str("# ");
    out.push_str(line.trim());
    out.push('\n');
}

/// The default as TOML, which is the same as JSON for what is not empty.
fn shown(key: &Key, defaults: &Value) -> String {
    let pointer = format!("/{}", key.path.replace('.', "/"));
    match defaults.pointer(&pointer) {
        Some(value @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => value.to_string(),
        _ => key.example.to_owned(),
    }
}
