//! The flags of the commands that print what shells and manuals want of this command.

use clap::Args;
use std::path::PathBuf;

/// Arguments of `comity completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Arguments of `comity man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Where to write one page for every command; without it `comity(1)` is printed
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}
