//! The arguments of `comity redact`.

use clap::Args;
use std::path::PathBuf;

/// Arguments of `comity redact`.
#[derive(Debug, Args)]
pub(crate) struct Redact {
    /// The file, as text or as one JSON document; `-` reads standard input
    pub(crate) file: PathBuf,
    /// Say what would be taken out, and where, and never what it is; nothing is written then, and the exit code is 1 if
    /// anything would be
    #[arg(long)]
    pub(crate) check: bool,
}
