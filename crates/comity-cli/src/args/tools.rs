//! The flags of `comity tool` and `comity policy`.

use super::duration;
use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use std::time::Duration;

/// What to do with tools.
#[derive(Debug, Subcommand)]
pub(crate) enum Tool {
    /// List the tools of this node, and how its tool servers are; or those of another origin
    List {
        /// Go on, and list them again whenever they have changed
        #[arg(long)]
        watch: bool,
        /// List the tools that this origin opens to this node's
        #[arg(long, conflicts_with = "watch")]
        origin: Option<String>,
    },
    /// Let the MCP clients of this machine see and call a tool of another origin, as it is now
    ///
    /// It prints what the tool says of itself, which is another origin's and no advice, and asks whether it is approved.
    /// When it says something else later, it is neither seen nor called until it is approved again. Without a tool it
    /// lists those that are approved.
    Approve {
        /// The other origin's tool server, ORIGIN/SERVER
        #[arg(requires = "tool", value_parser = NonEmptyStringValueParser::new())]
        server: Option<String>,
        /// The tool
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        tool: Option<String>,
        /// Approve it without asking
        #[arg(long, short, conflicts_with = "withdraw", requires = "tool")]
        yes: bool,
        /// Take the approval back
        #[arg(long, requires = "tool")]
        withdraw: bool,
    },
    /// Call a tool, and print its result
    ///
    /// Progress is shown on standard error. The result is what the tool prints: data, and not yours.
    Call {
        /// The tool server, as `comity tool list` names it; of another origin `ORIGIN/SERVER`
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        server: String,
        /// The tool
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        tool: String,
        /// Its arguments, a JSON object; `-` reads standard input [default: none]
        #[arg(long, value_name = "JSON")]
        params: Option<String>,
        /// How long it may take, as in `500ms`, `30s`, `2m` [default: as long as its server allows]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,
    },
}

/// What to do with the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Print the rules, as the running node has them
    Show,
    /// Say what the rules make of a call, which is not run
    ///
    /// Exit code 0 when it is allowed, 4 when it is refused.
    Test {
        /// Who calls: an origin such as beta.test, or `client:` and the name of an MCP client
        #[arg(value_name = "ORIGIN", value_parser = NonEmptyStringValueParser::new())]
        caller: String,
        /// The tool server
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        server: String,
        /// The tool
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        tool: String,
        /// The arguments, a JSON object; `-` reads standard input [default: whether there may be a call at all]
        #[arg(long, value_name = "JSON")]
        params: Option<String>,
    },
}
