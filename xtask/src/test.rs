//! `cargo xtask test`: everything that the tests need, then every test.

use crate::peers::{self, Missing};
use crate::program::{self, Failed};
use std::path::PathBuf;

pub(crate) fn run(words: &[&str]) -> Result<(), Failed> {
    let (flags, filters): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with("--"));
    if let Some(unknown) = flags.iter().find(|flag| **flag != "--offline") {
        return Err(Failed(format!("there is no flag {unknown}: only --offline")));
    }
    let missing = Missing::look()?;
    let lines = missing.lines();
    if !flags.is_empty() {
        return if lines.is_empty() {
            println!("Nothing is missing.");
            Ok(())
        } else {
            Err(Failed(format!("missing here:\n  {}\n`cargo xtask test` installs them", lines.join("\n  "))))
        };
    }
    if !lines.is_empty() {
        println!("Installing what the tests need:\n  {}", lines.join("\n  "));
        missing.install()?;
    }
    let comity = build()?;
    if filters.is_empty() {
        // Minutes when it is built for the first time, which would disturb the tests beside it.
        crate::image::build(crate::image::Profile::Dev)?;
    }
    let mut nextest = program::cargo();
    // None of these begins with COMITY_: that is configuration, of which the program knows every key.
    nextest.args(["nextest", "run", "--workspace"]).args(&filters);
    nextest.env("TESTED_COMITY", comity).env("TESTS_PEERS", peers::folder()?);
    nextest.env("TESTS_XTASK", std::env::current_exe()?);
    program::run(&mut nextest)?;
    if filters.is_empty() {
        program::run(program::cargo().args(["test", "--workspace", "--doc", "--quiet"]))?;
    }
    Ok(())
}

/// Builds the command and says where it is.
pub(crate) fn build() -> Result<PathBuf, Failed> {
    program::build("comity", &["--package", "comity-cli"])
}
