//! The flags of the commands that show what waits, and what was only counted.

use clap::Args;

/// Flags of `comity inbox`.
#[derive(Debug, Args)]
pub(crate) struct Inbox {
    /// Go on, and show every item as it arrives
    #[arg(long)]
    pub(crate) follow: bool,
    /// Take nothing
    #[arg(long, conflicts_with = "ack")]
    pub(crate) peek: bool,
    /// Take these items, by their arrival numbers, and show nothing; without numbers: take what is shown
    #[arg(long, value_name = "ARRIVAL", num_args = 0.., value_delimiter = ',', conflicts_with = "follow")]
    pub(crate) ack: Option<Vec<u64>>,
    /// Only items that arrived later than this number
    #[arg(long, value_name = "ARRIVAL", default_value_t = 0)]
    pub(crate) after: u64,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) limit: u16,
}

/// Flags of `comity digest`.
#[derive(Debug, Args)]
pub(crate) struct Digest {
    /// Look only: the digest goes on growing
    #[arg(long)]
    pub(crate) peek: bool,
}
