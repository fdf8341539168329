//! The command line: every command and flag, and what `--help` and the man pages say of them.
//! What a command does is in `command/`.

mod channel;
mod claims;
mod files;
mod inbox;
mod index;
mod journal;
mod knowledge;
mod manual;
mod mesh;
mod mqtt;
mod redact;
mod send;
mod settings;
mod tasks;
mod tools;
mod topics;
mod up;

pub(crate) use channel::{ChannelCommand, Federation, Log as ChannelLog, VerifyChannel};
pub(crate) use claims::{Claims, Which};
pub(crate) use files::{Receive, SendFile};
pub(crate) use inbox::{Digest, Inbox};
pub(crate) use index::{Add, Index, Search};
pub(crate) use journal::{Follow, Journal, Query, Tail, Verify as VerifyJournal, Wanted};
pub(crate) use knowledge::{AskMesh, Know};
pub(crate) use manual::{Completions, Man};
pub(crate) use mesh::Mesh;
pub(crate) use mqtt::{Announce, Broker, Discover, FederationPeers};
pub(crate) use redact::Redact;
pub(crate) use send::{OneOf, Send, one_of};
pub(crate) use settings::{Attention, Key, Subscribe, Unsubscribe};
pub(crate) use tasks::{Submit, Task, Worker};
pub(crate) use tools::{Policy, Tool};
pub(crate) use topics::{Project, Role, Room, Topic};
pub(crate) use up::{LogFormat, Up};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};
use comity_core::wire::control::Name;
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// Peers that recognise one another without ceding control: find, talk, ask.
#[derive(Debug, Parser)]
#[command(name = "comity", version, after_help = EXIT_CODES, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Line {
    /// What applies to every command.
    #[command(flatten)]
    pub(crate) everywhere: Everywhere,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 it failed; 2 the command line is wrong; 3 no node is running there;
4 refused, or the peer, channel or message is not known; 5 no answer came in time.";

/// What applies to every command.
#[derive(Debug, Args)]
pub(crate) struct Everywhere {
    /// The node's folder: its key, its database, its control socket
    #[arg(long, global = true, value_name = "DIR", env = "COMITY_HOME")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The configuration file [default: comity.toml in the node's folder]
    #[arg(long, global = true, value_name = "FILE", env = "COMITY_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Write JSON for programs: one value, or one a line for what goes on
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node here, until SIGINT or SIGTERM
    ///
    /// Prints one line when it is ready, with its name, its id and its addresses, and says goodbye
    /// to its peers when it is stopped.
    Up(Up),
    /// List the peers
    Peers(Peers),
    /// Find the peers that MQTT brokers tell of, with a node or without
    ///
    /// Asks the brokers of --broker, else those that are configured, else the one on this machine.
    /// Nothing is announced.
    #[command(name = "discover", alias = "federation:discover")]
    Discover(Discover),
    /// Announce this machine's key at MQTT brokers, until SIGINT or SIGTERM, without a node
    #[command(name = "announce", alias = "federation:announce")]
    Announce(Announce),
    /// List the peers that MQTT brokers tell of, or show how they come and go
    #[command(name = "federation:peers")]
    FederationPeers(FederationPeers),
    /// Run a small MQTT broker here, until SIGINT or SIGTERM
    ///
    /// It keeps nothing on disk, and asks nobody who they are. Prints one line when it is ready.
    Broker(Broker),
    /// Trust a peer: put its key on the list of known nodes, or take it off; or pin the key of another origin anew
    ///
    /// Known nodes may do what the node's policy opens to them, and reach it where `local.trust` lets
    /// in nobody else. Without a peer the list is shown. Compare the node id with the one that
    /// `comity id` prints over there, since anybody can take a name. With the name of an origin, as in `partner.example`,
    /// the key that it shows now counts from now on, whatever it was before.
    Trust(Trust),
    /// Say something to a peer, on a channel or on a topic
    ///
    /// A topic has a `/` in its name. A message of a type carries a JSON object there; without a type it is published
    /// as it is.
    Send(Send),
    /// Listen to topics of gossip, which spread from node to node without a broker
    Topic {
        /// What to do.
        #[command(subcommand)]
        command: Topic,
    },
    /// The node's role among others: what is addressed to it on topics reaches this node
    Role {
        /// What to do.
        #[command(subcommand)]
        command: Role,
    },
    /// Listen to projects, each of which is coordinated on a topic of its own
    Project {
        /// What to do.
        #[command(subcommand)]
        command: Project,
    },
    /// Listen to the room of an issue, or say something there
    ///
    /// The node listens to it from then on, also after restarts. Without a payload what is said there is shown until
    /// SIGINT or SIGTERM.
    Room(Room),
    /// Announce tasks, and claim those of others: each is done by one node
    ///
    /// Tasks and claims go by gossip. Whoever announced a task decides who of those that claim it does it, and
    /// announces it again when that node gives it back or was not heard of for a minute and a half. What nodes write
    /// is data: never a command.
    Claims {
        /// What to do.
        #[command(subcommand)]
        command: Claims,
    },
    /// Share channels with other origins: one signed line of events, which loses nothing
    ///
    /// The origin that makes a channel is its hub: it orders what members say. Say something with `comity send
    /// '!project:example.org' …`, and see what comes with `comity watch '!project:example.org'`. What other origins write
    /// is data: never a command.
    Channel {
        /// What to do.
        #[command(subcommand)]
        command: ChannelCommand,
    },
    /// Show what this node knows of other origins
    Federation {
        /// What to do.
        #[command(subcommand)]
        command: Federation,
    },
    /// Look into what the node has said and heard, prove it, and follow what others have
    ///
    /// The journal is written once and signed: whoever has this node's id can say of a copy of it, or a part, whether it
    /// is what this node wrote. Secrets are taken out before.
    Journal {
        /// What to do.
        #[command(subcommand)]
        command: Journal,
    },
    /// Index documents, so that they are found here and from other nodes
    ///
    /// The node turns each into a vector, and finds those that mean the same as a question. Nodes that are known here
    /// (`comity trust`) may search them; nodes that are not known are told nothing.
    Index {
        /// What to do.
        #[command(subcommand)]
        command: Index,
    },
    /// Search the documents of this node and of the nodes that it knows
    ///
    /// The answer says which nodes were asked, and which did not answer in time. What other nodes say of their documents
    /// is data, and not yours.
    Search(Search),
    /// Have this node know something, and tell the nodes that it knows
    ///
    /// The node signs it and keeps it; whoever has it may pass it on, and everybody can see who said it. There is no way
    /// to take it back, but `--id` replaces it. Secrets are taken out before.
    Know(Know),
    /// Ask this node and the nodes that it knows what they know of a topic
    ///
    /// Entries of that very topic come first, then those that are near. Each is signed by the node that says it, which is
    /// checked; whether it is true is not. The answer says which nodes did not answer in time.
    AskMesh(AskMesh),
    /// Nodes that register with one of them, and find each other by it
    ///
    /// Any node is the registry of a mesh that is started with `--coordinator`. Others register with it, by a token that
    /// it made or as nodes that it knows (`comity trust`), and say now and then that they are there.
    Mesh {
        /// What to do.
        #[command(subcommand)]
        command: Mesh,
    },
    /// List the tools of this node, and call them
    ///
    /// Tools are what the servers offer that the configuration names: MCP servers, HTTP endpoints, commands. Calls of
    /// this command are the owner's, and the policy does not bind them.
    Tool {
        /// What to do.
        #[command(subcommand)]
        command: Tool,
    },
    /// Put tasks into this node's queue, and see what becomes of them
    ///
    /// A task is a call of a tool, done once by a worker that has it: of this node, or of one that it knows. It survives
    /// restarts, and goes to another worker when the first one dies.
    Task {
        /// What to do.
        #[command(subcommand)]
        command: Task,
    },
    /// Do tasks of this node and of those that it knows, until SIGINT or SIGTERM
    ///
    /// Offers the tools of this node: whoever is known here (`comity trust`) may have them called with arguments of
    /// their own. --capability offers only some.
    Worker(Worker),
    /// Show who may call which tool of this node, and try it
    Policy {
        /// What to do.
        #[command(subcommand)]
        command: Policy,
    },
    /// Take the secrets out of a file, as a node does with all that it says, or say which there are
    ///
    /// By the rules that a node of this data directory would use; no node is asked. A JSON document is looked at as one.
    Redact(Redact),
    /// Send files and folders to a peer, where `comity receive` takes them
    ///
    /// Every file is checked by its SHA-256, and stands under its name over there only when it is whole. When the
    /// way breaks off it goes on as soon as it is back, and so does the same command when it is run again: nothing
    /// is sent twice. Links inside of folders, devices and pipes are left out.
    SendFile(SendFile),
    /// Take files that peers send, into a folder, until SIGINT or SIGTERM
    ///
    /// Files of known peers are taken (`comity trust`), of the peer that --from names, or of anyone. Nothing is
    /// written outside of the folder, and no name is taken that begins with a dot at the top. What is there already
    /// is replaced only when somebody at the terminal says so, or with --overwrite.
    Receive(Receive),
    /// Show messages as they come, without taking them
    ///
    /// Shows every message that the node admits, whatever the attention mode makes of it. A `?`
    /// behind a name says that no key was proven for the message, a `*` that the key is a known one.
    Watch(Watch),
    /// Ask a peer, and print its answer
    Ask(Ask),
    /// Let a program answer the queries of peers
    ///
    /// For every query the program is run by the shell: it reads the question (JSON) on its standard
    /// input and writes the answer on its standard output, as JSON or as plain text. The variables
    /// COMITY_QUERY, COMITY_FROM, COMITY_KEY and COMITY_TRUST say which query it is, who asks, with
    /// which proven key, and how far that peer can be trusted. A question is data from somebody
    /// else: never a command.
    Answer(Answer),
    /// Show what waits in the inbox, and take it
    ///
    /// On its own it shows the oldest items, and takes them once they are printed. With --peek
    /// nothing is taken. A `?` behind a name says that no key was proven for the message, a `*` that
    /// the key is a known one.
    Inbox(Inbox),
    /// Show what happened while nobody looked, and begin anew
    Digest(Digest),
    /// Show or change how much the node is interrupted
    Attention(Attention),
    /// Listen to a channel
    Subscribe(Subscribe),
    /// Listen to a channel no more
    Unsubscribe(Unsubscribe),
    /// Show how the node is, or say what it is doing
    Status(Status),
    /// Tell what became of a message
    Why(Why),
    /// Print the node's id
    Id,
    /// Change the key of a node that does not run
    Key {
        /// What to do.
        #[command(subcommand)]
        command: Key,
    },
    /// Look into the configuration
    Config(Config),
    /// Look whether everything works here, and say what to do if not
    Doctor,
    /// Print a code that opens a session at the node's port on this machine, once
    ///
    /// The page that the node serves there asks for it: a browser on this machine, which joins as a peer
    /// of its own. Programs post the code to /session and are given a cookie, or show the token in
    /// control/token.
    Code,
    /// Speak MCP on standard input and output, for the node that runs here
    Mcp(Mcp),
    /// Measure this node: how fast it answers here, and how fast its peers do
    Bench(Bench),
    /// Read a PDF on standard input, within bounds of memory and time
    #[command(name = "read-pdf", hide = true)]
    ReadPdf,
    /// Print the completions of a shell
    Completions(Completions),
    /// Write the man pages
    Man(Man),
}

/// Flags of `comity peers`.
#[derive(Debug, Args)]
pub(crate) struct Peers {
    /// Go on, and show every change
    #[arg(long)]
    pub(crate) watch: bool,
    /// Only peers that can do this
    #[arg(long, value_name = "C")]
    pub(crate) capability: Option<String>,
}

/// Arguments of `comity trust`.
#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// The peer: name, UUID or node id; a node id may be of a node that was never met; or an origin
    pub(crate) peer: Option<String>,
    /// Take it off the list
    #[arg(long, requires = "peer")]
    pub(crate) remove: bool,
}

/// Arguments of `comity watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Only this peer, or this channel or topic, which the node then listens to; or a channel shared with other origins
    pub(crate) target: Option<String>,
}

/// Arguments of `comity ask`.
#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// The peer: name, UUID, node id or its first eight characters
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) peer: String,
    /// The question: valid JSON is taken as JSON, anything else as text; `-` reads standard input
    #[arg(allow_hyphen_values = true)]
    pub(crate) question: String,
    /// How long to wait, as in `500ms`, `30s`, `2m`
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// Flags of `comity answer`.
#[derive(Debug, Args)]
pub(crate) struct Answer {
    /// The program, as a shell command
    #[arg(long, value_name = "CMD", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) exec: String,
    /// How long the program may take for one answer
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = duration)]
    pub(crate) time_limit: Duration,
    /// How many programs may run at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) at_once: u16,
}

/// Arguments of `comity status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// What the node is doing, for its peers to see; JSON is taken as it is, `-` reads standard input
    #[arg(allow_hyphen_values = true)]
    pub(crate) set: Option<String>,
    /// How far it is, from 0 to 1
    #[arg(long, value_name = "0..1", requires = "set", value_parser = progress)]
    pub(crate) progress: Option<f64>,
    /// Nothing any more
    #[arg(long, conflicts_with = "set")]
    pub(crate) clear: bool,
}

/// Arguments of `comity why`.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The message's id, as `comity send` printed it
    #[arg(value_parser = message_id)]
    pub(crate) message: Uuid,
}

/// Commands of `comity config`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Config {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every setting: of the running node, or as a node started here would read it
    Show {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
    },
}

/// Flags of `comity mcp`.
#[derive(Debug, Args)]
pub(crate) struct Mcp {
    /// If no node is running, run one for as long as this command runs
    #[arg(long)]
    pub(crate) up: bool,
}

/// Arguments of `comity bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// A peer to be asked real queries, which whoever answers there will see
    pub(crate) peer: Option<String>,
    /// How many calls of the control door are measured
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) calls: u32,
    /// How many queries are put to PEER
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) queries: u32,
}

/// A value of a closed list, by its name.
fn named<T: Name>(text: &str) -> Result<T, String> {
    T::of(text).ok_or_else(|| format!("one of {} is wanted", T::choices()))
}

fn message_id(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| "a UUID such as `comity send` prints is wanted".to_owned())
}

/// A length of time as in `500ms`, `30s`, `2m`, `1h`; a bare number is seconds. At most a day.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time such as 500ms, 30s or 2m is wanted".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a time such as 500ms, 30s or 2m is wanted".to_owned())?;
    match number.saturating_mul(unit_ms) {
        0 => Err("more than nothing is wanted".to_owned()),
        ms if ms <= DAY_MS => Ok(Duration::from_millis(ms)),
        _ => Err("at most a day (24h) is possible".to_owned()),
    }
}

fn progress(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "a number from 0 to 1 is wanted".to_owned())?;
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("a number from 0 to 1 is wanted".to_owned()) }
}

#[cfg(test)]
mod tests;
