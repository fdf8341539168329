//! The flags of `comity know` and `comity ask-mesh`.

use super::duration;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use std::time::Duration;

/// Flags of `comity know`.
#[derive(Debug, Args)]
pub(crate) struct Know {
    /// What is known
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) fact: String,
    /// What it is about
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) topic: String,
    /// How sure that is: 0 to 1
    #[arg(long, value_name = "NUMBER", value_parser = share)]
    pub(crate) confidence: f64,
    /// Where it is from: an address, or a title
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// What this node said before under this id is replaced [default: a new one]
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) id: Option<String>,
    /// Tell nobody now; whoever asks this node is told
    #[arg(long)]
    pub(crate) local: bool,
}

/// Flags of `comity ask-mesh`.
#[derive(Debug, Args)]
pub(crate) struct AskMesh {
    /// About what
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) topic: String,
    /// Entries, at most
    #[arg(long, default_value_t = 10, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) limit: u64,
    /// How sure their nodes must be: 0 to 1
    #[arg(long, value_name = "NUMBER", value_parser = share)]
    pub(crate) min_confidence: Option<f64>,
    /// How long other nodes may take, as in `500ms`, `5s`
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Ask nobody but this node
    #[arg(long)]
    pub(crate) local: bool,
}

/// A number from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "a number from 0 to 1 is wanted".to_owned())
}
