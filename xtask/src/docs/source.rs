//! What the program does not say of itself but its source does: the paths of the control door and
//! of the metrics door, read from the two files that list them.

use crate::program::Failed;
use std::fs;

/// The paths of the control door, and what each is.
pub(super) fn control() -> Result<Vec<(String, String)>, Failed> {
    let text = fs::read_to_string(crate::root().join("crates/comity-core/src/wire/control.rs"))?;
    let mut about = String::new();
    let mut paths = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("/// ") {
            about = format!("{about} {more}").trim_start().to_owned();
            continue;
        }
        let path = line.strip_prefix("pub const ").and_then(|rest| rest.split('"').nth(1));
        if let Some(path) = path.filter(|path| path.starts_with('/')) {
            paths.push((path.to_owned(), plain(&about)));
        }
        about.clear();
    }
    Ok(paths)
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
