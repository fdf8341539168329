//! One file for each command, or for a few that are alike; here is only which is which.

mod answer;
mod ask;
mod bench;
mod broker;
mod browser;
mod channel;
mod claims;
mod config;
mod digest;
mod discover;
mod doctor;
mod federation;
mod inbox;
mod index;
mod journal;
mod key;
mod knowledge;
mod manual;
mod mcp;
mod mesh;
mod peers;
mod policy;
mod progress;
mod questions;
mod receive;
mod redact;
mod search;
mod send;
mod send_file;
mod settings;
mod status;
mod task;
mod tool;
mod topic;
mod trust;
mod up;
mod watch;
mod why;
mod worker;

use crate::args::{Command, Everywhere, Line};
use crate::exit::Failure;
use crate::page::Page;
use comity::home::Place;
use comity_client::Client;
use std::future::Future;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the command of this line.
pub(crate) fn run(line: Line) -> Result<(), Failure> {
    let Line { everywhere, command } = line;
    let mut page = Page::new(everywhere.json);
    let page = &mut page;
    match command {
        Command::Completions(wanted) => manual::completions(wanted),
        Command::Man(wanted) => manual::man(wanted, page),
        Command::ReadPdf => Ok(comity::reading::pdf::child(std::io::stdin().lock(), std::io::stdout().lock())?),
        Command::Up(flags) => up::run(&everywhere, flags, page),
        Command::Mcp(flags) => mcp::run(&everywhere, flags),
        Command::Config(wanted) => caller(config::run(&everywhere, wanted.command, page)),
        Command::Doctor => caller(doctor::run(&everywhere, page)),
        Command::Discover(flags) => caller(discover::discover(&everywhere, flags, page)),
        Command::Announce(flags) => caller(discover::announce(&everywhere, flags, page)),
        Command::FederationPeers(flags) => caller(discover::peers(&everywhere, flags, page)),
        Command::Redact(wanted) => redact::run(&everywhere, &wanted, page),
        Command::Broker(flags) => caller(broker::run(flags, page)),
        Command::Key { command } => key::run(&everywhere, &command, page),
        Command::Journal { command } => caller(journal::run(&everywhere, command, page)),
        Command::Channel { command } => caller(channel::run(&everywhere, command, page)),
        other => {
            let client = client(&everywhere)?;
            caller(ask_node(&client, other, page))
        }
    }
}

/// The commands that do nothing but talk to the running node.
async fn ask_node(client: &Client, command: Command, page: &mut Page) -> Result<(), Failure> {
    match command {
        Command::Peers(flags) => peers::run(client, flags, page).await,
        Command::Trust(wanted) => trust::run(client, wanted, page).await,
        Command::Send(wanted) => send::run(client, wanted, page).await,
        Command::Topic { command } => topic::run(client, command, page).await,
        Command::Role { command } => topic::role(client, command, page).await,
        Command::Project { command } => topic::project(client, command, page).await,
        Command::Room(wanted) => topic::room(client, wanted, page).await,
        Command::Claims { command } => claims::run(client, command, page).await,
        Command::Federation { command } => federation::run(client, command, page).await,
        Command::Index { command } => index::run(client, command, page).await,
        Command::Search(wanted) => search::run(client, wanted, page).await,
        Command::Know(wanted) => knowledge::know(client, wanted, page).await,
        Command::AskMesh(wanted) => knowledge::ask(client, wanted, page).await,
        Command::Mesh { command } => mesh::run(client, command, page).await,
        Command::Tool { command } => tool::run(client, command, page).await,
        Command::Task { command } => task::run(client, command, page).await,
        Command::Worker(flags) => worker::run(client, flags, page).await,
        Command::Policy { command } => policy::run(client, command, page).await,
        Command::SendFile(wanted) => send_file::run(client, wanted, page).await,
        Command::Receive(wanted) => receive::run(client, wanted, page).await,
        Command::Watch(wanted) => watch::run(client, wanted, page).await,
        Command::Ask(wanted) => ask::run(client, wanted, page).await,
        Command::Answer(flags) => answer::run(client, flags, page).await,
        Command::Inbox(flags) => inbox::run(client, flags, page).await,
        Command::Digest(flags) => digest::run(client, flags, page).await,
        Command::Attention(wanted) => settings::attention(client, wanted, page).await,
        Command::Subscribe(wanted) => settings::subscribe(client, wanted, page).await,
        Command::Unsubscribe(wanted) => settings::unsubscribe(client, wanted, page).await,
        Command::Status(wanted) => status::run(client, wanted, page).await,
        Command::Why(wanted) => why::run(client, wanted, page).await,
        Command::Id => status::id(client, page).await,
        Command::Code => browser::code(client, page).await,
        Command::Bench(wanted) => bench::run(client, wanted, page).await,
        Command::Up(_)
        | Command::Mcp(_)
        | Command::Config(_)
        | Command::Doctor
        | Command::Discover(_)
        | Command::Announce(_)
        | Command::FederationPeers(_)
        | Command::Broker(_)
        | Command::Redact(_)
        | Command::Journal { .. }
        | Command::Key { .. }
        | Command::Channel { .. }
        | Command::Completions(_)
        | Command::ReadPdf
        | Command::Man(_) => unreachable!("these are run without a node, above"),
    }
}

/// The data directory that the line, the environment or the usual place names.
fn place(everywhere: &Everywhere) -> Result<Place, Failure> {
    Place::find(everywhere.data_dir.as_deref()).map_err(|wrong| Failure::Other(wrong.to_string()))
}

/// A caller of the node in that directory.
fn client(everywhere: &Everywhere) -> Result<Client, Failure> {
    place(everywhere).map(|place| Client::new(place.path()))
}

/// Runs something that only waits for the node, on this thread.
fn caller(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(work);
    // A thread may still wait for standard input; nobody waits for that thread.
    runtime.shutdown_background();
    ended
}

/// Ends when somebody asks this process to stop: SIGINT or SIGTERM.
async fn stopped() -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
