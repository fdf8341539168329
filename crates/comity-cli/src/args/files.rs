//! The flags of the commands that send and receive files.

use super::duration;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `comity send-file`.
#[derive(Debug, Args)]
pub(crate) struct SendFile {
    /// The peer: name, UUID, node id or its first eight characters
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) peer: String,
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// How long after a break it is tried to go on, as in `30s`, `10m`
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub(crate) retry_for: Duration,
}

/// Flags of `comity receive`.
#[derive(Debug, Args, Clone)]
pub(crate) struct Receive {
    /// The folder; it is made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) into: PathBuf,
    /// Only from this peer, known or not: name, UUID or node id
    #[arg(long, value_name = "PEER", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) from: Option<String>,
    /// From everybody whose key is proven; for peers that are not known somebody is asked
    #[arg(long, conflicts_with = "from")]
    pub(crate) from_anyone: bool,
    /// Ask nobody whether files of unknown peers are taken: take them
    #[arg(long)]
    pub(crate) yes: bool,
    /// Replace files that are there, without asking
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Keep files that are there, without asking
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) keep: bool,
    /// The most that one transfer may bring, as in `500M`, `2G`
    #[arg(long, value_name = "SIZE", default_value = "16G", value_parser = size)]
    pub(crate) max_size: u64,
    /// End after one transfer, with its exit code; one that breaks off is waited for again, and others are declined
    /// while one is received
    #[arg(long)]
    pub(crate) once: bool,
}

/// A number of bytes as in `500`, `64K`, `500M`, `2G`, `1T`, in powers of 1,024.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let power = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err("a size such as 64K, 500M or 2G is wanted".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a size such as 64K, 500M or 2G is wanted".to_owned())?;
    number.checked_mul(1024_u64.pow(power)).ok_or_else(|| "that is more than there can be".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("64K", 65_536), ("2G", 2 << 30), ("1TiB", 1 << 40), ("5MB", 5 << 20)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "-1", "1.5G", "1X", "99999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
