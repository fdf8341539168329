//! `cargo xtask docs`: the reference in `docs/`, written from what the built program says of
//! itself: its help, its configuration, its doors; and from the two files that list paths which it
//! does not describe. `docs/rpc.md`, `docs/journal.md`, `docs/tools.md` and `docs/federation.md` are
//! written by hand.

mod page;
mod source;
mod subject;

use crate::program::Failed;
use crate::test;
use std::fs;
use std::path::PathBuf;

/// What to do with the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Write them.
    Write,
    /// Compare them with what is there.
    Compare,
}

pub(crate) fn run(wanted: Wanted) -> Result<(), Failed> {
    let comity = std::env::var_os("TESTED_COMITY").map(PathBuf::from).map_or_else(test::build, Ok)?;
    let folder = crate::root().join("docs");
    let mut stale = Vec::new();
    for (name, text) in page::pages(&comity)? {
        let file = folder.join(name);
        match wanted {
            Wanted::Write => {
                fs::create_dir_all(&folder)?;
                fs::write(&file, text)?;
            }
            Wanted::Compare => stale.extend(difference(name, &fs::read_to_string(&file).unwrap_or_default(), &text)),
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(Failed(format!(
        "{}\nthe program says something else than docs/: `cargo xtask docs` writes it anew",
        stale.join("\n")
    )))
}

/// The first line in which two texts differ.
fn difference(name: &str, written: &str, said: &str) -> Option<String> {
    let longest = written.lines().count().max(said.lines().count());
    let line = |text: &str, index| text.lines().nth(index).map(str::to_owned);
    let index = (0..longest).find(|index| line(written, *index) != line(said, *index))?;
    let shown = |text: &str| line(text, index).unwrap_or_else(|| "(nothing)".to_owned());
    Some(format!("docs/{name}:{}: `{}`, but the program says `{}`", index + 1, shown(written), shown(said)))
}
