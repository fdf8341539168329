//! The flags of `comity mesh`.

use super::duration;
use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use std::time::Duration;

/// What to do with the registry of a mesh.
#[derive(Debug, Subcommand)]
pub(crate) enum Mesh {
    /// Make an enrolment token, by which nodes register the first time
    ///
    /// It is printed this once. Give it to a node as `MESH_API_KEY`, or in a file (`mesh.api_key_file`): the node gets an
    /// API key of its own for it.
    Enroll {
        /// How many nodes may enrol with it
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        uses: u32,
        /// How long it is good, as in `15m`, `24h`, `7d`
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = good_for)]
        expires: Duration,
    },
    /// List the nodes that are registered, with this node or with its registry
    Nodes,
    /// Take a node out of the registry, with its API key and the token that it came by, or take a token back
    Revoke {
        /// The node's name in the mesh, or the token's hash as `comity mesh enroll` showed it
        #[arg(value_name = "NODE|TOKEN-HASH", value_parser = NonEmptyStringValueParser::new())]
        what: String,
    },
}

/// A time of up to a year, in days too.
fn good_for(text: &str) -> Result<Duration, String> {
    let Some(days) = text.strip_suffix('d') else { return duration(text) };
    let days: u64 = days.parse().map_err(|_| "a time such as 15m, 24h or 7d is wanted".to_owned())?;
    match days {
        1..=365 => Ok(Duration::from_secs(days * 24 * 3600)),
        _ => Err("1 to 365 days are possible".to_owned()),
    }
}
